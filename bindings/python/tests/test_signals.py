"""Signals. Ctrl-C must end a call that waits in native code, and close its connection; a process
that was stopped, by a debugger or a frozen Lambda, must go on where it was, and find out which of
its connections are dead by then.

All of it in processes of their own: a signal for pytest itself would not prove much.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from support import LINUX, POSIX, Script, connections, disconnects, of_kind, run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from agentcore_client.testing import LocalDataPlane

pytestmark = POSIX

# A call that waits looks ten times a second, a relay twice; the rest is for machines that are busy.
SOON = 2.0

WAITS = {
    "stream": """
with client.stream({"mode": "silent"}) as stream:
    waiting()
    next(stream)
""",
    "for": """
with client.stream({"mode": "silent"}) as stream:
    waiting()
    for event in stream: pass
""",
    "invoke": """
waiting()
client.invoke({"mode": "slow", "delay_ms": 60000})
""",
    "head": """
waiting()
client.stream({"mode": "silent", "head_delay_ms": 60000})
""",
    "relay": """
import socket
from agentcore_client.apigateway import WebSocketRelay
# A gateway that takes a post and never says what became of it.
with socket.create_server(("127.0.0.1", 0)) as gateway:
    port = gateway.getsockname()[1]
    relay = WebSocketRelay(
        client, secret=b"s" * 32, second_stage="never", endpoint_url=f"http://127.0.0.1:{port}",
        payload=lambda *_: {"mode": "silent"},
    )
    about = {"routeKey": "$default", "apiId": "a", "stage": "s", "connectionId": "c="}
    waiting()
    relay.handle({"requestContext": {**about, "messageId": "m"}, "body": '{"prompt": "Hi"}'})
""",
    "asyncio_stream": """
async def main():
    async with aclient.stream({"mode": "silent"}) as stream:
        waiting()
        await anext(stream)
asyncio.run(main())
""",
    "asyncio_invoke": """
async def main():
    waiting()
    await aclient.invoke({"mode": "slow", "delay_ms": 60000})
asyncio.run(main())
""",
}

FRAME = """
import asyncio
client, aclient = make(), make_async()
{handler}
def waiting():
    say("waiting")
try:
{waits}
except {error} as error:
    say("raised", type(error).__name__)
else:
    say("not raised")
sys.stdin.readline()
say("then", client.invoke({{"prompt": "Hi"}}).text)
async def main():
    say("then", (await aclient.invoke({{"prompt": "Hi"}})).text)
asyncio.run(main())
"""

ALARM = """
class Alarm(Exception): pass
def handler(*_): raise Alarm
signal.signal(signal.SIGINT, handler)
"""


def frame(waits: str, error: str = "KeyboardInterrupt", handler: str = "") -> str:
    indented = "\n".join(f"    {line}" for line in waits.splitlines())
    return FRAME.format(waits=indented, error=error, handler=handler)


def interrupt(plane: LocalDataPlane, code: str, raised: str) -> None:
    script = Script(plane, code)
    assert script.line() == "waiting"
    wait_until(lambda: plane.count_posts() == 1)
    # It is at the data plane, and a moment later it waits for the answer.
    time.sleep(0.15)
    os.kill(script.pid, signal.SIGINT)
    since = time.monotonic()
    assert script.line() == f"raised {raised}"
    assert time.monotonic() - since < SOON, "that is no wait in slices"
    # While the script blocks in `readline`.
    disconnects(plane)
    script.tell()
    done = script.end()
    assert done.stdout.splitlines() == ["then You said: Hi."] * 2
    assert done.stderr == ""


@pytest.mark.parametrize("name", WAITS)
def test_ctrl_c_ends_a_call_and_closes_its_connection(
    local_data_plane: LocalDataPlane, name: str
) -> None:
    interrupt(local_data_plane, frame(WAITS[name]), "KeyboardInterrupt")


@pytest.mark.parametrize("name", ["stream", "invoke", "head", "asyncio_stream", "asyncio_invoke"])
def test_what_a_handler_raises_ends_a_call(local_data_plane: LocalDataPlane, name: str) -> None:
    interrupt(local_data_plane, frame(WAITS[name], "Alarm", ALARM), "Alarm")


@LINUX
def test_ctrl_c_ends_a_name_look_up(local_data_plane: LocalDataPlane, tmp_path: Path) -> None:
    """The look-up itself cannot be interrupted: it is left behind."""
    # The C library reads this file for each name without a dot, and nobody writes into it.
    fifo = tmp_path / "aliases"
    os.mkfifo(fifo)
    code = """
nowhere = make(endpoint_url="http://nowhere", allow_http_hosts=["nowhere"],
               timeouts=Timeouts(connect=3600))
try:
    say("waiting")
    nowhere.invoke("Hi")
except KeyboardInterrupt:
    say("raised")
say(make().invoke({"prompt": "Hi"}).text)
"""
    script = Script(local_data_plane, code, {"HOSTALIASES": str(fifo)})
    assert script.line() == "waiting"
    opened: list[int] = []

    def is_read() -> bool:
        try:
            opened.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    wait_until(is_read)
    os.kill(script.pid, signal.SIGINT)
    since = time.monotonic()
    assert script.line() == "raised"
    assert time.monotonic() - since < SOON
    assert script.end().stdout == "You said: Hi.\n"
    os.close(opened[0])


def test_a_handler_that_raises_nothing_ends_nothing(local_data_plane: LocalDataPlane) -> None:
    """Every system call that waits is interrupted by it. The handler runs meanwhile, not after."""
    out = run(
        local_data_plane,
        """
rung = []
signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
client = make()
with client.stream({"mode": "stream", "tokens": 10, "delay_ms": 150}) as stream:
    events = [event.text for event in stream]
assert client.invoke({"mode": "slow", "delay_ms": 500}).status == 200
signal.setitimer(signal.ITIMER_REAL, 0)
assert events == [f"token{n} " for n in range(10)]
say(len(rung) >= 5)
import asyncio
rung.clear()
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
async def main():
    async with make_async().stream({"mode": "stream", "tokens": 10, "delay_ms": 50}) as stream:
        assert [event.text async for event in stream] == events
asyncio.run(main())
signal.setitimer(signal.ITIMER_REAL, 0)
say(len(rung) >= 5)
""",
    )
    assert out.split() == ["True", "True"]
    assert local_data_plane.count_posts() == 3


@pytest.mark.parametrize(
    "source",
    ["map(lambda event: event.text, stream)", "stream.text_deltas()", "stream.iter_bytes()"],
    ids=["events", "texts", "bytes"],
)
def test_a_stream_goes_on_after_an_exception_of_a_handler(
    local_data_plane: LocalDataPlane, source: str
) -> None:
    """The read was interrupted, not the stream: what comes next is what would have come."""
    out = run(
        local_data_plane,
        ALARM
        + """
def at_reads(_, frame):
    # Not here, where an item may have been handed over already.
    if frame.f_code.co_filename != "<string>": raise Alarm
signal.signal(signal.SIGALRM, at_reads)
with make().stream({"mode": "stream", "tokens": 60, "delay_ms": 20}) as stream:
    texts, rung = [], 0
    items = SOURCE
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.13)
    while True:
        try:
            item = next(items, None)
        except Alarm:
            rung += 1
            continue
        if item is None: break
        if isinstance(item, str): texts.append(item)
        else: texts += [json.loads(event[6:]) for event in item.split(b"\\n\\n") if event]
    signal.setitimer(signal.ITIMER_REAL, 0)
say(texts == [f"token{n} " for n in range(60)], rung >= 3)
""".replace("SOURCE", source),
    )
    assert out.split() == ["True", "True"]


def test_what_an_exception_kept_back_has_not_been_seen(local_data_plane: LocalDataPlane) -> None:
    out = run(
        local_data_plane,
        ALARM
        + """
def at_a_read(_, frame):
    # Not here, where the event may have been handed over already.
    if frame.f_code.co_filename == "<string>": return
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise Alarm
signal.signal(signal.SIGALRM, at_a_read)
for _ in range(5):
    texts = []
    with make().stream({"mode": "stream", "tokens": 60, "delay_ms": 20}) as stream:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        try:
            while True:
                event = next(stream)
                texts.append(event.text)
        except Alarm: pass
        say(stream.events_seen == len(texts) < 60)
    say(stream.events_seen == len(texts))
""",
    )
    assert set(out.split()) == {"True"}


def test_ctrl_c_reaches_a_main_thread_that_joins_threads_with_calls(
    local_data_plane: LocalDataPlane,
) -> None:
    """Threads besides the main one wait without looking; they must not keep it from looking."""
    script = Script(
        local_data_plane,
        """
client = make()
def work():
    with client.stream({"mode": "silent"}) as stream: next(stream)
threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
for thread in threads: thread.start()
say("waiting")
try:
    for thread in threads: thread.join()
except KeyboardInterrupt:
    say("raised")
""",
    )
    assert script.line() == "waiting"
    wait_until(lambda: local_data_plane.count_posts() == 4)
    os.kill(script.pid, signal.SIGINT)
    since = time.monotonic()
    assert script.line() == "raised"
    assert time.monotonic() - since < SOON
    script.end()


def test_ctrl_c_while_answers_are_handed_over_is_raised(local_data_plane: LocalDataPlane) -> None:
    """Its handler runs where Python's own code goes on: in the loop that wakes the call's task."""
    script = Script(
        local_data_plane,
        """
import asyncio
class Loop(asyncio.SelectorEventLoop):
    def call_soon(self, *args, **options):
        # Called by native code, which `_wake` called.
        if sys._getframe(1).f_code.co_name == "_wake":
            signal.raise_signal(signal.SIGINT)
        return super().call_soon(*args, **options)
loop = Loop()
loop.call_later(20, loop.stop)
try:
    loop.run_until_complete(make_async().invoke({"prompt": "Hi"}))
except BaseException as error:
    say("raised", type(error).__name__)
""",
    )
    assert script.end().stdout == "raised KeyboardInterrupt\n"


def test_ctrl_c_within_the_turn_of_a_call_is_raised_and_the_call_goes_on(
    local_data_plane: LocalDataPlane,
) -> None:
    script = Script(
        local_data_plane,
        """
import asyncio
loop = asyncio.SelectorEventLoop()
client = make_async()
texts, interrupts, raised, amid = [], 0, 0, 0
def soon():
    signal.setitimer(signal.ITIMER_REAL, 0.002)
def handler(_, frame):
    global interrupts, amid
    # In a task it would be the task's to end by, and in the middle of waking one nobody's.
    if frame.f_code.co_name == "_wake":
        interrupts += 1
        raise KeyboardInterrupt
    amid += frame.f_back is not None and frame.f_back.f_code.co_name == "_wake"
    soon()
signal.signal(signal.SIGALRM, handler)
async def ask(number):
    for turn in range(40):
        texts.append((await client.invoke({"prompt": str(number)})).text)
async def main():
    await asyncio.gather(*(ask(number) for number in range(8)))
asking = loop.create_task(main())
soon()
while not asking.done():
    try:
        loop.run_until_complete(asking)
    except KeyboardInterrupt:
        raised += 1
        soon()
signal.setitimer(signal.ITIMER_REAL, 0)
# The moment of waking itself is left; what takes time is the turn before it.
say(len(texts), interrupts - raised, interrupts >= amid)
""",
    )
    assert script.end().stdout == "320 0 True\n"


# -- stopped processes -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_stream_goes_on_after_the_process_was_stopped(
    local_data_plane: LocalDataPlane, kind: str
) -> None:
    read = {
        "sync": """
with make().stream({"mode": "stream", "tokens": 100, "delay_ms": 10}) as stream:
    say("begun", next(stream).text)
    texts = [event.text for event in stream]
""",
        "asyncio": """
import asyncio
async def main():
    async with make_async().stream({"mode": "stream", "tokens": 100, "delay_ms": 10}) as stream:
        say("begun", (await anext(stream)).text)
        return [event.text async for event in stream]
texts = asyncio.run(main())
""",
    }
    script = Script(
        local_data_plane, read[kind] + 'say(texts == [f"token{n} " for n in range(1, 100)])'
    )
    assert script.line() == "begun token0"
    for pause in (0.3, 0.05, 1.0):
        os.kill(script.pid, signal.SIGSTOP)
        time.sleep(pause)
        os.kill(script.pid, signal.SIGCONT)
        time.sleep(0.05)
    assert script.end().stdout == "True\n"
    assert local_data_plane.count_posts() == 1


def test_time_limits_survive_a_stop(local_data_plane: LocalDataPlane) -> None:
    """A call that waits while the process is stopped ends by its answer, which is there by then."""
    script = Script(
        local_data_plane,
        """
client = make(timeouts=Timeouts(first_byte=20))
say("waiting")
say(client.invoke({"mode": "slow", "delay_ms": 300}).status)
""",
    )
    assert script.line() == "waiting"
    wait_until(lambda: local_data_plane.count_posts() == 1)
    os.kill(script.pid, signal.SIGSTOP)
    time.sleep(1)
    os.kill(script.pid, signal.SIGCONT)
    assert script.end().stdout == "200\n"


CALLS = 50


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
@pytest.mark.parametrize("stopped", [False, True])
def test_connections_that_were_closed_meanwhile_are_not_used(
    local_data_plane: LocalDataPlane, kind: str, stopped: bool
) -> None:
    """The data plane closes each connection after its answer. A call that goes out on a dead one
    would fail, or be sent twice."""
    calls = {
        "sync": """
client = make(retry="never")
for _ in range(calls):
    sys.stdin.readline()
    assert client.invoke({"prompt": "Hi"}).text == "You said: Hi."
    say("called")
""",
        # The loop does not turn while it blocks in `readline`.
        "asyncio": """
import asyncio
async def main():
    client = make_async(retry="never")
    for _ in range(calls):
        sys.stdin.readline()
        assert (await client.invoke({"prompt": "Hi"})).text == "You said: Hi."
        say("called")
asyncio.run(main())
""",
    }
    local_data_plane.add_fault(close_idle_after_ms=2, repeat=CALLS)
    script = Script(local_data_plane, f"calls = {CALLS}" + calls[kind])
    for call in range(1, CALLS + 1):
        script.tell()
        assert script.line() == "called"
        if stopped:
            os.kill(script.pid, signal.SIGSTOP)
        wait_until(lambda: len(of_kind(local_data_plane, "connection_closed")) >= call)  # noqa: B023
        if stopped:
            os.kill(script.pid, signal.SIGCONT)
    assert script.end().stderr == ""
    assert local_data_plane.count_posts() == CALLS
    posts = of_kind(local_data_plane, "request")
    assert len(connections(posts)) == CALLS


def test_connections_that_are_closed_at_any_moment_cost_no_call(
    local_data_plane: LocalDataPlane,
) -> None:
    """The same without waiting for the close: some calls meet it in the middle. What was not
    written is sent on another connection, what may have arrived never is."""
    calls = 200
    local_data_plane.add_fault(close_idle_after_ms=3, repeat=calls)
    out = run(
        local_data_plane,
        f"calls = {calls}"
        + """
client, failed = make(), 0
for n in range(calls):
    time.sleep(n % 8 / 1000)
    try:
        assert client.invoke({"prompt": "Hi"}).text == "You said: Hi."
    except AgentCoreError as error:
        assert error.delivery == "unknown", error
        failed += 1
say(failed)
""",
    )
    answered = of_kind(local_data_plane, "complete")
    assert len(answered) + int(out) >= calls
    assert len(answered) <= local_data_plane.count_posts() <= calls
