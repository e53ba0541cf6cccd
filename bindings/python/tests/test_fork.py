"""os.fork, as gunicorn's preload, multiprocessing and process pools do it. A child shares its
parent's sockets and pollers: what it does with them, or what Python does for it at its exit, the
parent feels. So a child must make connections of its own, leave the inherited ones alone, and
leave no trace in the parent, however it ends.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support import POSIX, Script, connections, disconnects, of_kind, run, wait_until

if TYPE_CHECKING:
    from agentcore_client.testing import LocalDataPlane

# Python says that forking is dangerous where there are threads. It is right: that is the point.
pytestmark = [POSIX, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

FRAME = """
import asyncio, faulthandler, traceback, warnings
warnings.simplefilter("ignore")

def fork(work, leave=lambda: os._exit(0)):
    pid = os.fork()
    if pid == 0:
        # A child that hangs shall say where, and not outlive its test.
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(20)
        try:
            work()
        except SystemExit:
            raise  # a grandchild that leaves
        except BaseException:
            traceback.print_exc()
            os._exit(9)
        leave()
        os._exit(8)
    return pid

def reap(*pids):
    for pid in pids:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == 0, status

def ask(client, prompt):
    assert client.invoke({"prompt": prompt}).text == f"You said: {prompt}.", prompt

def ask_async(client, prompt):
    async def main():
        answer = await asyncio.wait_for(client.invoke({"prompt": prompt}), 20)
        assert answer.text == f"You said: {prompt}.", prompt
    asyncio.run(main())

TOKENS = [f"token{n} " for n in range(60)]
def open_stream(client):
    stream = client.stream({"mode": "stream", "tokens": 60, "delay_ms": 10})
    assert next(stream).text == TOKENS[0]
    return stream

def read_on(stream):
    assert [event.text for event in stream] == TOKENS[1:]
    assert stream.end == "complete"

def is_closed(read):
    try:
        read()
    except ClosedError as error:
        assert "fork" in str(error), error
    else:
        raise AssertionError("the child could use it")
"""

# A parent with a warm pool and a stream that is half read.
WARM = """
client, aclient = make(), make_async()
stream = open_stream(client)
ask(client, "parent 1")
ask_async(aclient, "parent 2")
"""

# It goes on as if nothing had happened.
GO_ON = """
ask(client, "parent 3")
read_on(stream)
ask(client, "parent 4")
ask_async(aclient, "parent 5")
say("done")
"""


def prompts(plane: LocalDataPlane, whose: str) -> list[dict[str, Any]]:
    def prompt(entry: dict[str, Any]) -> str:
        body: dict[str, Any] = json.loads(entry["body_text"])
        return str(body.get("prompt", "parent's stream"))

    return [entry for entry in of_kind(plane, "request") if prompt(entry).startswith(whose)]


def check(plane: LocalDataPlane, child: str, children: int) -> None:
    out = run(plane, FRAME + WARM + child + GO_ON)
    assert out.splitlines()[-1] == "done"
    theirs = connections(prompts(plane, "parent"))
    assert len(theirs) == 3, "the stream's, another sync one and that of asyncio: used again"
    assert len(prompts(plane, "child")) == children
    assert not theirs & connections(prompts(plane, "child")), "a child used its parent's socket"
    assert not of_kind(plane, "disconnect", "bad_request")


USES = {
    "nothing": ("pass", 0),
    "sync": ("ask(client, 'child 1'); ask(client, 'child 2')", 2),
    "asyncio": ("ask_async(aclient, 'child 1'); ask_async(aclient, 'child 2')", 2),
    "both": ("ask(client, 'child 1'); ask_async(aclient, 'child 2')", 2),
    "sibling": ("ask(client.with_options(retry='never'), 'child 1')", 1),
    "new_client": ("ask(make(), 'child 1'); ask_async(make_async(), 'child 2')", 2),
    "stream": ("is_closed(lambda: next(stream)); is_closed(lambda: list(stream.iter_bytes()))", 0),
    "close": ("client.close(); aclient.close(); stream.close(); ask(make(), 'child 1')", 1),
    "delete": (
        "global client, aclient, stream; del client, aclient, stream; gc.collect();"
        " ask(make(), 'child 1')",
        1,
    ),
    "threads": (
        "threads = [threading.Thread(target=ask, args=(client, f'child {n}')) for n in range(8)];"
        " [thread.start() for thread in threads]; [thread.join() for thread in threads]",
        8,
    ),
    "own_streams": ("[read_on(open_stream(client)) for _ in range(2)]", 0),
}

LEAVES = {
    "os._exit": "os._exit(0)",
    "sys.exit": "sys.exit(0)",
    "gc_and_sys.exit": "(gc.collect(), sys.exit(0))",
}


@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("use", USES)
def test_a_child_leaves_its_parent_alone(
    local_data_plane: LocalDataPlane, use: str, leave: str
) -> None:
    code, children = USES[use]
    child = f"""
def work():
    {code}
reap(fork(work, lambda: {LEAVES[leave]}))
"""
    if use == "own_streams":
        out = run(local_data_plane, FRAME + WARM + child + GO_ON)
        assert out == "done\n"
        return
    check(local_data_plane, child, children)


def test_an_async_stream_goes_on_in_the_parent(local_data_plane: LocalDataPlane) -> None:
    """Forked while no loop runs: Python's own loops do not survive a fork within them."""
    out = run(
        local_data_plane,
        FRAME
        + """
client = make_async()
loop = asyncio.new_event_loop()
async def begin():
    stream = await client.stream({"mode": "stream", "tokens": 60, "delay_ms": 10})
    assert (await anext(stream)).text == TOKENS[0]
    return stream
stream = loop.run_until_complete(begin())
async def read():
    return [event.text async for event in stream]
def work():
    is_closed(lambda: asyncio.run(read()))
    ask_async(client, "child")
    stream.close()
    client.close()
for leave in (lambda: os._exit(0), lambda: sys.exit(0)):
    reap(fork(work, leave))
assert loop.run_until_complete(read()) == TOKENS[1:]
loop.close()
say("done")
""",
    )
    assert out == "done\n"
    assert not of_kind(local_data_plane, "disconnect")


def test_a_pending_async_call_goes_on_in_the_parent(local_data_plane: LocalDataPlane) -> None:
    """A child that drops what its parent waits for must not wake, or take, the parent's."""
    out = run(
        local_data_plane,
        FRAME
        + """
client = make_async()
loop = asyncio.new_event_loop()
async def begin():
    task = asyncio.ensure_future(client.invoke({"mode": "slow", "delay_ms": 700}))
    await asyncio.sleep(0.1)
    return task
task = loop.run_until_complete(begin())
def work():
    global task
    task._log_destroy_pending = False
    del task
    gc.collect()
    ask_async(client, "child")
reap(fork(work, lambda: os._exit(0)))
async def finish():
    return (await task).status
say(loop.run_until_complete(finish()))
""",
    )
    assert out == "200\n"
    assert not of_kind(local_data_plane, "disconnect")


def test_a_child_that_goes_on_with_its_parents_loop_takes_nothing(
    local_data_plane: LocalDataPlane,
) -> None:
    """It has the loop, the queue, the calls and the descriptors, and wakes when its parent does."""
    out = run(
        local_data_plane,
        FRAME
        + """
client = make_async()
async def main():
    await asyncio.gather(*[client.invoke({"prompt": "warm"}) for _ in range(5)])
    stream = await client.stream({"mode": "stream", "tokens": 60, "delay_ms": 10})
    async def read():
        return [event.text async for event in stream]
    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0.1)
    calls = [asyncio.ensure_future(client.invoke({"prompt": f"parent {n}"})) for n in range(4)]
    # The first is sent, the others are begun.
    await asyncio.sleep(0)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        ends = await asyncio.gather(reading, *calls, return_exceptions=True)
        for end in ends:
            assert isinstance(end, ClosedError), repr(end)
        os._exit(0)
    # The child goes first.
    time.sleep(0.3)
    answers = await asyncio.wait_for(asyncio.gather(*calls), 20)
    assert [answer.text for answer in answers] == [f"You said: parent {n}." for n in range(4)]
    assert await asyncio.wait_for(reading, 20) == TOKENS
    reap(pid)
asyncio.run(main())
say("done")
""",
    )
    assert out == "done\n"
    assert len(prompts(local_data_plane, "parent ")) == 4
    assert not of_kind(local_data_plane, "disconnect", "bad_request")


def test_a_child_forked_while_a_reader_lets_others_go_first(
    local_data_plane: LocalDataPlane,
) -> None:
    """It has the queue in hand already, and must not wait there for what its parent gets."""
    out = run(
        local_data_plane,
        FRAME
        + """
client = make_async()
async def main():
    while True:
        stream = await client.stream({"mode": "stream", "tokens": 2, "delay_ms": 3000})
        # What has arrived is taken without waiting, so the next reader lets others go first.
        time.sleep(0.3)
        said = [(await stream.__anext__()).text]
        if stream._eager:
            break
        await stream.aclose()
    reading = asyncio.ensure_future(stream.__anext__())
    pids = []
    async def forker():
        pids.append(os.fork())
        if pids[0] == 0:
            # Before its parent gets the next.
            signal.alarm(2)
            try:
                await reading
            except ClosedError:
                os._exit(0)
            os._exit(9)
    await asyncio.ensure_future(forker())
    said.append((await reading).text)
    said += [event.text async for event in stream]
    assert said == TOKENS[:2], said
    reap(*pids)
asyncio.run(main())
say("done")
""",
    )
    assert out == "done\n"


def test_grandchildren(local_data_plane: LocalDataPlane) -> None:
    child = """
def deeper(depth):
    ask(client, f"child {depth}")
    ask_async(aclient, f"child {depth}")
    is_closed(lambda: next(stream))
    mine = open_stream(make())
    if depth < 4:
        reap(fork(lambda: deeper(depth + 1), lambda: sys.exit(0)))
        ask(client, f"child {depth}")
    read_on(mine)
reap(fork(lambda: deeper(1), lambda: sys.exit(0)))
"""
    out = run(local_data_plane, FRAME + WARM + child + GO_ON)
    assert out == "done\n"
    assert len(prompts(local_data_plane, "child")) == 4 * 2 + 3
    assert not of_kind(local_data_plane, "disconnect", "bad_request")


def test_children_one_after_the_other(local_data_plane: LocalDataPlane) -> None:
    child = """
for n in range(20):
    reap(fork(lambda: (ask(client, f"child {n}"), ask_async(aclient, f"child {n}"))))
"""
    check(local_data_plane, child, 40)


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_fork_while_other_threads_are_in_calls(local_data_plane: LocalDataPlane, kind: str) -> None:
    """Whatever lock they hold, nobody will ever release it in the child."""
    ask = {"sync": "ask(client, prompt)", "asyncio": "ask_async(aclient, prompt)"}[kind]
    out = run(
        local_data_plane,
        FRAME
        + f"""
client, aclient = make(), make_async()
stop = threading.Event()
failed = []
def work(prompt):
    {ask}
def busy(n):
    try:
        while not stop.is_set(): work(f"parent {{n}}")
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=busy, args=(n,), daemon=True) for n in range(6)]
for thread in threads: thread.start()
for n in range(40):
    reap(fork(lambda: (ask(client, "child"), ask_async(aclient, "child"))))
stop.set()
for thread in threads: thread.join(20)
assert not any(thread.is_alive() for thread in threads)
assert not failed, failed
say("done")
""",
    )
    assert out == "done\n"
    assert len(prompts(local_data_plane, "child")) == 80
    assert not of_kind(local_data_plane, "disconnect", "bad_request")


def test_fork_while_another_thread_looks_up_what_is_looked_up_once(
    local_data_plane: LocalDataPlane,
) -> None:
    """`json.loads`, here: a child looks it up itself, and waits for no thread that it hasn't."""
    out = run(
        local_data_plane,
        FRAME
        + """
import types

class Slow(types.ModuleType):
    def __getattr__(self, name):
        if name == "loads" and threading.current_thread() is not threading.main_thread():
            looks.set()
            forked.wait(20)
        return getattr(json, name)

looks, forked = threading.Event(), threading.Event()
response = make().invoke({"mode": "json", "prompt": "x"})
sys.modules["json"] = Slow("json")
thread = threading.Thread(target=response.json, daemon=True)
thread.start()
assert looks.wait(20)
pid = fork(lambda: response.json())
reap(pid)
forked.set()
thread.join(20)
assert response.json() == json.loads(response.body)
say("done")
""",
    )
    assert out == "done\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(local_data_plane: LocalDataPlane, method: str) -> None:
    """Fork inherits the client; the others make their own, and pickle the answers."""
    code = (
        FRAME
        + f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
client, aclient = make(), make_async()
stream = open_stream(client)
ask(client, "parent 1")
ask_async(aclient, "parent 2")
context = multiprocessing.get_context("{method}")
"""
        + (
            """
def work(n):
    ask(client, f"child {n}")
    ask_async(aclient, f"child {n}")
    try:
        client.invoke({"mode": "error_before"})
    except RuntimeClientError as error:
        return error
process = context.Process(target=work, args=(0,))
process.start()
process.join(20)
assert process.exitcode == 0, process.exitcode
with ProcessPoolExecutor(2, mp_context=context) as pool:
    errors = list(pool.map(work, range(4)))
assert all(type(error) is RuntimeClientError and error.status == 424 for error in errors)
"""
            if method == "fork"
            else """
# What another interpreter can import without this script.
with ProcessPoolExecutor(2, mp_context=context) as pool:
    ids = list(pool.map(SessionId.derive_guessable, ["a", "b"], ["c", "d"]))
assert ids == [SessionId.derive_guessable("a", "c"), SessionId.derive_guessable("b", "d")]
"""
        )
        + GO_ON
    )
    assert run(local_data_plane, code) == "done\n"
    assert not of_kind(local_data_plane, "disconnect", "bad_request")


def test_workers_that_share_a_preloaded_client(local_data_plane: LocalDataPlane) -> None:
    """As gunicorn's --preload: made and used before the fork, then called by all at once."""
    out = run(
        local_data_plane,
        FRAME
        + """
from concurrent.futures import ThreadPoolExecutor
client, aclient = make(), make_async()
ask(client, "parent")
ask_async(aclient, "parent")
def worker(number):
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: ask(client, f"child {number} {n}"), range(20)))
    async def main():
        names = [f"child {number} {n}" for n in range(20)]
        answers = await asyncio.gather(*[aclient.invoke({"prompt": name}) for name in names])
        assert [answer.text for answer in answers] == [f"You said: {name}." for name in names]
    asyncio.run(main())
reap(*[fork(lambda: worker(number), lambda: sys.exit(0)) for number in range(4)])
ask(client, "parent")
ask_async(aclient, "parent")
say("done")
""",
    )
    assert out == "done\n"
    assert len(prompts(local_data_plane, "child")) == 4 * 40
    assert len(connections(prompts(local_data_plane, "parent"))) == 2
    assert not of_kind(local_data_plane, "disconnect", "bad_request")


@pytest.mark.parametrize("kind", ["sync", "asyncio", "client", "cancel"])
def test_the_parent_hangs_up_although_a_child_has_the_socket_too(
    local_data_plane: LocalDataPlane, kind: str
) -> None:
    """Closing a descriptor says nothing to the other side while a child holds a copy of it."""
    ends = {
        "sync": ("stream = client.stream({'mode': 'silent'})", "stream.close()"),
        "client": ("stream = client.stream({'mode': 'silent'})", "client.close()"),
        "asyncio": (
            "loop = asyncio.new_event_loop()\n"
            "async def begin(): return await aclient.stream({'mode': 'silent'})\n"
            "stream = loop.run_until_complete(begin())",
            "stream.close()",
        ),
        "cancel": (
            "loop = asyncio.new_event_loop()\n"
            "async def begin():\n"
            "    task = loop.create_task(aclient.invoke({'mode': 'slow', 'delay_ms': 60000}))\n"
            "    await asyncio.sleep(0.3)\n"
            "    return task\n"
            "task = loop.run_until_complete(begin())",
            "task.cancel()\n"
            "async def end():\n"
            "    try: await task\n"
            "    except asyncio.CancelledError: pass\n"
            "loop.run_until_complete(end())",
        ),
    }
    begin, end = ends[kind]
    script = Script(
        local_data_plane,
        FRAME
        + f"""
client, aclient = make(), make_async()
{begin}
pid = fork(sys.stdin.readline)
{end}
say("closed")
reap(pid)
say("done")
""",
    )
    assert script.line() == "closed"
    try:
        disconnects(local_data_plane, limit=5)
        assert script.process.poll() is None
    finally:
        script.tell()
    assert script.end().stdout == "done\n"


def test_a_child_keeps_no_idle_connection_of_its_parent_open(
    local_data_plane: LocalDataPlane,
) -> None:
    script = Script(
        local_data_plane,
        FRAME
        + """
client = make()
ask(client, "parent")
pid = fork(sys.stdin.readline)
client.close()
say("closed")
reap(pid)
""",
    )
    assert script.line() == "closed"
    try:
        wait_until(lambda: of_kind(local_data_plane, "connection_closed"), 5)
    finally:
        script.tell()
    script.end()


def test_a_child_that_leaves_a_stream_behind_neither_fails_nor_stops_its_session(
    local_data_plane: LocalDataPlane,
) -> None:
    code = """
client = make()
with client.stream({"mode": "stream", "tokens": 60, "delay_ms": 10}, stop_on_close=True) as stream:
    assert next(stream).text == TOKENS[0]
    session, headers = stream.session_id, stream.headers
    pid = os.fork()
    if pid == 0:
        assert (stream.session_id, stream.headers, stream.status) == (session, headers, 200)
        assert (stream.end, stream.closed) == (None, False)
        assert session in repr(stream), stream
        sys.exit(0)
    reap(pid)
    read_on(stream)
say("done")
"""
    assert run(local_data_plane, FRAME + code).splitlines()[-1] == "done"
    stops = [e for e in of_kind(local_data_plane, "request") if "stop" in e["target"].lower()]
    assert not stops


def test_a_child_hands_over_nothing_that_its_parent_has_taken(
    local_data_plane: LocalDataPlane,
) -> None:
    """What came in one piece was taken in one go: each event of it is the parent's to hand over."""
    out = run(
        local_data_plane,
        FRAME
        + """
client = make()
chunks = ['data: "a"\\n\\ndata: "b"\\n\\n']
raw = {"mode": "raw", "content_type": "text/event-stream", "chunks": chunks}
with client.stream(raw) as stream:
    assert next(stream).text == "a"
    def work():
        try: say("child", next(stream).text)
        except ClosedError: pass
    reap(fork(work))
    say(next(stream).text, next(stream, None), stream.events_seen)
""",
    )
    assert out == "b None 2\n"
