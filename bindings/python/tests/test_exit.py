"""How a process ends that still has calls under way. Bindings with threads of their own that enter
the interpreter die here with SIGABRT, in some runs of many; others hang in the destructor of a
run-time that waits for a name look-up. So each script runs many times, and neither its exit status
nor its stderr may show that there is native code at all.

AGENTCORE_TEST_EXIT_RUNS says how many runs there are in all (150).
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import LINUX, POSIX, Script

if TYPE_CHECKING:
    from pathlib import Path

    from agentcore_client.testing import LocalDataPlane

pytestmark = POSIX

RUNS = int(os.environ.get("AGENTCORE_TEST_EXIT_RUNS", "150"))


class Case(NamedTuple):
    code: str
    status: int = 0
    # The last line of Python's own traceback.
    says: str = ""


SLOW = '{"mode": "stream", "tokens": 1000, "delay_ms": 5}'
FAST = '{"mode": "stream", "tokens": 100000}'
SILENT = '{"mode": "silent"}'

# A function that gives a client whose name look-up never ends. The C library reads the file of
# HOSTALIASES for each name without a dot, and nobody ever writes into this one; that it can be
# opened for writing means that the look-up has arrived there.
LOOK_UP = """
def nowhere():
    return dict(endpoint_url="http://nowhere", allow_http_hosts=["nowhere"],
                timeouts=Timeouts(connect=3600))

def look_up_is_under_way():
    while True:
        try:
            return os.open(os.environ["HOSTALIASES"], os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.005)
"""

CASES = {
    "in_a_stream": Case(f"""
stream = make().stream({SLOW})
next(stream)
"""),
    "in_a_loop_over_a_stream": Case(
        f"""
for n, event in enumerate(make().stream({FAST})):
    if n == 300:
        sys.exit(3)
""",
        3,
    ),
    "unclosed_client": Case("""
client = make()
assert client.invoke({"prompt": "Hi"}).status == 200
"""),
    "stream_in_a_cycle": Case(f"""
gc.disable()
class Holder: pass
holder = Holder()
holder.itself = holder
holder.client = make()
holder.stream = holder.client.stream({SLOW})
next(holder.stream)
del holder
"""),
    "exception_in_a_stream": Case(
        f"""
with make().stream({SLOW}) as stream:
    next(stream)
    1 / 0
""",
        1,
        "ZeroDivisionError: division by zero",
    ),
    "unclosed_and_exception": Case(
        f"""
stream = make().stream({SLOW})
next(stream)
raise KeyError("x")
""",
        1,
        "KeyError: 'x'",
    ),
    "sys_exit_0": Case(f"""
stream = make().stream({SLOW})
next(stream)
sys.exit(0)
"""),
    "daemon_threads_in_calls": Case(f"""
client = make()
here = threading.Barrier(9)
def read():
    stream = client.stream({SLOW})
    next(stream)
    here.wait()
    for event in stream: pass
def wait():
    stream = client.stream({SILENT})
    here.wait()
    next(stream)
for n in range(8):
    threading.Thread(target=[read, wait][n % 2], daemon=True).start()
here.wait()
"""),
    "daemon_threads_in_a_flood": Case(f"""
client = make()
here = threading.Barrier(5)
def read():
    stream = client.stream({FAST})
    next(stream)
    here.wait()
    while True:
        for event in stream: pass
        stream = client.stream({FAST})
for n in range(4):
    threading.Thread(target=read, daemon=True).start()
here.wait()
time.sleep(0.05)
"""),
    "asyncio_in_a_stream": Case(f"""
import asyncio
async def main():
    stream = await make_async().stream({SLOW})
    await anext(stream)
asyncio.run(main())
"""),
    "asyncio_global_stream": Case(
        f"""
import asyncio
async def main():
    global stream, loop
    loop = asyncio.get_running_loop()
    stream = await make_async().stream({SLOW})
    await anext(stream)
asyncio.run(main())
sys.exit(3)
""",
        3,
    ),
    "asyncio_exception": Case(
        f"""
import asyncio
async def main():
    async with make_async().stream({SLOW}) as stream:
        async for event in stream:
            1 / 0
asyncio.run(main())
""",
        1,
        "ZeroDivisionError: division by zero",
    ),
    "asyncio_pending_task": Case(f"""
import asyncio
async def read(client):
    async for event in await client.stream({SLOW}): pass
async def main():
    client = make_async()
    tasks = [asyncio.create_task(read(client)) for _ in range(3)]
    tasks.append(asyncio.create_task(client.invoke({{"mode": "slow", "delay_ms": 5000}})))
    globals()["tasks"] = tasks
    await asyncio.sleep(0.03)
asyncio.run(main())
"""),
    "asyncio_16_live_streams": Case(f"""
import asyncio
async def main():
    global streams, client
    client = make_async()
    streams = await asyncio.gather(*[client.stream({FAST}) for _ in range(16)])
    await asyncio.gather(*[anext(stream) for stream in streams])
asyncio.run(main())
"""),
    # Without asyncio.run nobody cancels the tasks, nor closes the loop.
    "asyncio_loop_left_as_it_is": Case(f"""
import asyncio
loop = asyncio.new_event_loop()
client = make_async()
async def read():
    async for event in await client.stream({SLOW}): here.set_result(None) if not here.done() else 0
here = loop.create_future()
task = loop.create_task(read())
loop.run_until_complete(here)
# Python says so where a task is destroyed that is pending; that is not what this is about.
task._log_destroy_pending = False
"""),
}

LOOK_UP_CASES = {
    "look_up_in_a_daemon_thread": Case("""
client = make(**nowhere())
threading.Thread(target=client.invoke, args=["Hi"], daemon=True).start()
look_up_is_under_way()
"""),
    "look_up_left_by_an_exception": Case(
        """
def alarm(*_): raise LookupError("enough")
signal.signal(signal.SIGALRM, alarm)
def ring():
    look_up_is_under_way()
    os.kill(os.getpid(), signal.SIGALRM)
threading.Thread(target=ring, daemon=True).start()
make(**nowhere()).invoke("Hi")
""",
        1,
        "LookupError: enough",
    ),
    "look_up_in_asyncio": Case(
        """
import asyncio
async def main():
    task = asyncio.create_task(make_async(**nowhere()).invoke("Hi"))
    await asyncio.to_thread(look_up_is_under_way)
    assert not task.done()
asyncio.run(main())
sys.exit(3)
""",
        3,
    ),
}

# Nothing of native code, and nothing that Python says when something went wrong behind it.
NEVER = ("panicked", "fatal", "Exception ignored", "never awaited", "abort")


def check(case: Case, script: Script) -> None:
    done: subprocess.CompletedProcess[str] = script.end(case.status)
    if case.says:
        lines = done.stderr.splitlines()
        assert lines[0] == "Traceback (most recent call last):", done.stderr
        assert lines[-1] == case.says, done.stderr
        assert not any(word.lower() in done.stderr.lower() for word in NEVER), done.stderr
    else:
        assert done.stderr == ""


def check_often(plane: LocalDataPlane, case: Case, code: str, environment: dict[str, str]) -> None:
    runs = -(-RUNS // (len(CASES) + len(LOOK_UP_CASES)))
    # Side by side, because a process that has to share its core ends in other orders.
    with ThreadPoolExecutor(max_workers=4) as pool:
        for done in [
            pool.submit(lambda: check(case, Script(plane, code, environment))) for _ in range(runs)
        ]:
            done.result()


@pytest.mark.parametrize("name", CASES)
def test_a_process_ends_as_its_script_says(local_data_plane: LocalDataPlane, name: str) -> None:
    check_often(local_data_plane, CASES[name], CASES[name].code, {})


@LINUX
@pytest.mark.parametrize("name", LOOK_UP_CASES)
def test_a_name_look_up_does_not_hold_up_the_end(
    local_data_plane: LocalDataPlane, name: str, tmp_path: Path
) -> None:
    fifo = tmp_path / "aliases"
    os.mkfifo(fifo)
    case = LOOK_UP_CASES[name]
    check_often(local_data_plane, case, LOOK_UP + case.code, {"HOSTALIASES": str(fifo)})
