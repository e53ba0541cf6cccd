"""Cancelling and closing under asyncio. A read that is cancelled must not take an event with it,
and whatever lets go of a call must close its connection by that alone: most tests here block the
loop's thread right afterwards, with the garbage collector off, while the data plane watches.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
import pytest
import uvloop
from agentcore_client import (
    AgentCoreClient,
    AsyncAgentCoreClient,
    ClosedError,
    ConnectError,
    RequestTimeoutError,
    Timeouts,
)
from support import HANG, POSIX, Script, disconnects, of_kind, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator

    from agentcore_client import AsyncAgentStream
    from agentcore_client.testing import LocalDataPlane

    T = TypeVar("T")

    class Run(Protocol):
        def __call__(self, main: Coroutine[Any, Any, T], /) -> T: ...


SILENT = {"mode": "silent"}
FLOOD = {"mode": "stream", "tokens": 100_000}


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine to its end, on each kind of loop."""
    if request.param == "uvloop":
        return uvloop.run
    return asyncio.run


@pytest.fixture
def client(local_data_plane: LocalDataPlane) -> Iterator[AsyncAgentCoreClient]:
    client = AsyncAgentCoreClient(**local_data_plane.client_options())
    yield client
    client.close()


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def soon(what: Awaitable[T]) -> T:
    return await asyncio.wait_for(what, HANG)


async def arrived(plane: LocalDataPlane, count: int = 1) -> None:
    """Waits, beside the loop, until so many requests are at the data plane."""
    await asyncio.to_thread(wait_until, lambda: plane.count_posts() >= count)


# -- a cancelled read ------------------------------------------------------------------------------


def test_reads_that_time_out_lose_and_repeat_nothing(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    chance = random.Random(7)

    async def main() -> tuple[list[str | None], int]:
        stream = await client.stream({"mode": "stream", "tokens": 300, "delay_ms": 2})
        texts: list[str | None] = []
        timed_out = 0
        while True:
            try:
                # The pace of the events is 2 to 3 ms: some are cancelled before, some after an
                # event arrived, and some in the very same turn of the loop.
                event = await asyncio.wait_for(stream.__anext__(), chance.uniform(0, 0.005))
            except (TimeoutError, asyncio.TimeoutError):
                timed_out += 1
            except StopAsyncIteration:
                return texts, timed_out
            else:
                texts.append(event.text)

    texts, timed_out = run(main())
    assert texts == [f"token{n} " for n in range(300)]
    assert timed_out > 20, "or this shows nothing"


@pytest.mark.parametrize("of", ["text_deltas", "iter_bytes"])
def test_cancelled_reads_of_texts_and_bytes_go_on(
    client: AsyncAgentCoreClient, run: Run, of: str
) -> None:
    """An async generator is finished by its first cancellation, which then looks like the end."""

    async def main() -> tuple[str, int]:
        stream = await client.stream({"mode": "stream", "tokens": 40, "delay_ms": 5})
        items: AsyncIterator[str | bytes] = (
            stream.text_deltas() if of == "text_deltas" else stream.iter_bytes()
        )
        got: list[str] = []
        timed_out = 0
        while True:
            try:
                item = await asyncio.wait_for(anext(items), 0.002)
            except (TimeoutError, asyncio.TimeoutError):
                timed_out += 1
            except StopAsyncIteration:
                assert stream.end == "complete"
                return "".join(got), timed_out
            else:
                got.append(item if isinstance(item, str) else item.decode())

    got, timed_out = run(main())
    told = [f"token{n} " for n in range(40)]
    if of == "iter_bytes":
        told = [f'data: "{token}"\n\n' for token in told]
    assert got == "".join(told)
    assert timed_out > 10, "or this shows nothing"


def test_a_read_that_is_cancelled_in_the_turn_of_its_event_gives_it_to_the_next(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    """The event is there and the future is done, but the task had no turn yet."""

    async def main() -> list[str | None]:
        stream = await client.stream({"mode": "stream", "tokens": 20, "delay_ms": 10})
        texts: list[str | None] = []
        while True:
            reading = asyncio.ensure_future(stream.__anext__())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not reading.done():
                # Long enough for an event to arrive, which the loop learns in its next turn.
                await asyncio.to_thread(threading.Event().wait, 0.01)
                reading.cancel()
            try:
                texts.append((await reading).text)
            except asyncio.CancelledError:
                pass
            except StopAsyncIteration:
                return texts

    assert run(main()) == [f"token{n} " for n in range(20)]


# -- what lets go of a call closes its connection --------------------------------------------------


@pytest.mark.usefixtures("no_gc")
def test_a_cancelled_invoke_hangs_up(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    async def main() -> None:
        task = asyncio.create_task(client.invoke({"mode": "slow", "delay_ms": 60_000}))
        await arrived(local_data_plane)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        disconnects(local_data_plane)

    run(main())
    assert local_data_plane.count_posts() == 1


def test_of_calls_begun_together_one_that_is_cancelled_at_once_is_never_sent(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    """All but the first get their turn when the queue next hands over."""

    async def main() -> None:
        # With connections at hand, a turn is all that sending takes.
        await asyncio.gather(*[client.invoke({}) for _ in range(5)])
        calls = [asyncio.ensure_future(client.invoke({"prompt": str(n)})) for n in range(4)]
        await asyncio.sleep(0)
        calls[2].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        failed = [type(answer) for answer in answers if isinstance(answer, BaseException)]
        assert failed == [asyncio.CancelledError]
        assert calls[2].cancelled()

    run(main())
    assert local_data_plane.count_posts() == 5 + 3


def test_calls_begun_together_are_sent_in_their_order(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    """A stop that overtook the call before it would leave a session running."""

    async def main() -> None:
        await asyncio.gather(*[client.invoke({}) for _ in range(5)])
        session = "s" * 40
        await asyncio.gather(
            client.invoke({"prompt": "first"}),
            client.invoke({"prompt": "second"}, session_id=session),
            client.stop_session(session),
            # The stop ends the second.
            return_exceptions=True,
        )

    run(main())
    paths = [entry["target"].split("?")[0] for entry in of_kind(local_data_plane, "request")]
    sent = [path.rpartition("/")[2] for path in paths]
    assert sent[5:] == ["invocations", "invocations", "stopruntimesession"]


def test_of_calls_begun_together_each_fails_by_itself(
    local_data_plane: LocalDataPlane, run: Run
) -> None:
    options = local_data_plane.client_options()
    options["endpoint_url"] = "http://127.0.0.1:9"

    async def main() -> list[object]:
        async with AsyncAgentCoreClient(**options) as client:
            calls = [client.invoke({"prompt": str(n)}) for n in range(4)]
            return list(await asyncio.gather(*calls, return_exceptions=True))

    failures = run(main())
    assert [type(failure) for failure in failures] == [ConnectError] * 4
    assert len({id(failure) for failure in failures}) == 4


@pytest.mark.usefixtures("no_gc")
def test_an_invoke_that_times_out_hangs_up(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    async def main() -> None:
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(client.invoke({"mode": "slow", "delay_ms": 60_000}), 0.2)
        disconnects(local_data_plane)

    run(main())
    assert local_data_plane.count_posts() == 1


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("entered", [False, True])
def test_a_stream_that_is_cancelled_before_its_head_hangs_up(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run, entered: bool
) -> None:
    async def main() -> None:
        async def read() -> None:
            request = client.stream({"mode": "silent", "head_delay_ms": 60_000})
            if entered:
                async with request:
                    pass
            else:
                await request

        task = asyncio.create_task(read())
        await arrived(local_data_plane)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        disconnects(local_data_plane)

    run(main())
    assert of_kind(local_data_plane, "disconnect")[0]["phase"] == "head"


@pytest.mark.usefixtures("no_gc")
def test_a_task_that_is_cancelled_within_async_with_hangs_up(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    async def main() -> None:
        inside = asyncio.Event()

        async def read() -> None:
            async with client.stream(SILENT) as stream:
                inside.set()
                async for _ in stream:
                    pass

        task = asyncio.create_task(read())
        await soon(inside.wait())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        disconnects(local_data_plane)

    run(main())
    assert of_kind(local_data_plane, "disconnect")[0]["phase"] == "body"


async def _aclose(stream: AsyncAgentStream) -> None:
    await stream.aclose()


async def _close(stream: AsyncAgentStream) -> None:
    stream.close()


async def _leave(stream: AsyncAgentStream) -> None:
    async with stream:
        pass


async def _fail(stream: AsyncAgentStream) -> None:
    with pytest.raises(ZeroDivisionError):
        async with stream:
            _ = 1 / 0


async def _break(stream: AsyncAgentStream) -> None:
    async for _ in stream:
        break
    await stream.aclose()


WAYS = {"aclose": _aclose, "close": _close, "leave": _leave, "fail": _fail, "break": _break}


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_close_hangs_up(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run, way: str
) -> None:
    async def main() -> None:
        stream = await client.stream({"mode": "stream", "tokens": 10_000, "delay_ms": 10})
        await WAYS[way](stream)
        disconnects(local_data_plane)
        assert stream.closed and stream.end == "closed"
        with pytest.raises(ClosedError):
            await soon(stream.__anext__())
        await stream.aclose()
        stream.close()

    run(main())


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("after_a_read", [False, True])
def test_a_stream_that_nobody_holds_any_more_hangs_up(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run, after_a_read: bool
) -> None:
    async def main() -> None:
        stream = await client.stream(SILENT)
        if after_a_read:
            try:
                await asyncio.wait_for(stream.__anext__(), 0.05)
            except (TimeoutError, asyncio.TimeoutError):
                pass
        del stream
        if after_a_read:
            # Python itself holds what was cancelled: from 3.12 on until the task's next turn, and
            # in a cycle. A stream that was not cancelled needs neither.
            await asyncio.sleep(0)
            gc.collect()
        disconnects(local_data_plane)

    run(main())


def test_silence_after_a_cancelled_read_is_not_idle(client: AsyncAgentCoreClient, run: Run) -> None:
    async def main() -> None:
        ask = {"mode": "stream", "tokens": 2, "delay_ms": 1_000}
        stream = await client.stream(ask, timeouts=Timeouts(idle=0.4))
        assert (await stream.__anext__()).text == "token0 "
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(stream.__anext__(), 0.01)
        await asyncio.sleep(0.8)
        # Silent for twice as long as the limit, of which no read has waited for more than a moment.
        assert (await soon(stream.__anext__())).text == "token1 "
        stream.close()

    run(main())


def test_cancelled_reads_wait_for_the_limit_together(
    client: AsyncAgentCoreClient, run: Run
) -> None:
    async def main() -> None:
        stream = await client.stream(SILENT, timeouts=Timeouts(idle=0.5))
        for _ in range(100):
            try:
                await asyncio.wait_for(stream.__anext__(), 0.1)
            except RequestTimeoutError as error:
                assert (error.limit, stream.end) == ("idle", "idle_timeout")
                return
            except (TimeoutError, asyncio.TimeoutError):
                pass
        pytest.fail("10 s of reading are half a second")

    run(main())


def test_cancelled_reads_of_many_loops_wait_for_the_limit_together(
    local_data_plane: LocalDataPlane,
) -> None:
    client = AsyncAgentCoreClient(**local_data_plane.client_options())

    async def begin() -> AsyncAgentStream:
        return await client.stream(SILENT, timeouts=Timeouts(idle=0.5))

    async def read(stream: AsyncAgentStream) -> str:
        try:
            await asyncio.wait_for(stream.__anext__(), 0.1)
        except RequestTimeoutError as error:
            return str(error.limit)
        except (TimeoutError, asyncio.TimeoutError):
            pass
        return "nothing"

    stream = asyncio.run(begin())
    outcomes = (asyncio.run(read(stream)) for _ in range(100))
    assert next(outcome for outcome in outcomes if outcome != "nothing") == "idle"


# What a process does last before it blocks, sync and asyncio alike.
LAST_CALLS = {
    "sync_close": """
stream = make().stream({"mode": "silent"})
stream.close()
""",
    "sync_with": """
with make().stream({"mode": "silent"}): pass
""",
    "sync_del": """
gc.disable()
stream = make().stream({"mode": "silent"})
del stream
""",
    "sync_client": """
client = make()
stream = client.stream({"mode": "silent"})
client.close()
""",
    "aclose": """
import asyncio
async def main():
    stream = await make_async().stream({"mode": "silent"})
    await stream.aclose()
    say("closed")
    sys.stdin.readline()
asyncio.run(main())
""",
    "async_with": """
import asyncio
async def main():
    async with make_async().stream({"mode": "silent"}): pass
    say("closed")
    sys.stdin.readline()
asyncio.run(main())
""",
    "async_client": """
import asyncio
async def main():
    client = make_async()
    stream = await client.stream({"mode": "silent"})
    await client.aclose()
    say("closed")
    sys.stdin.readline()
asyncio.run(main())
""",
}


@POSIX
@pytest.mark.parametrize("last", LAST_CALLS)
def test_closing_needs_no_later_call_to_take_effect(
    local_data_plane: LocalDataPlane, last: str
) -> None:
    code = LAST_CALLS[last]
    if "asyncio" not in code:
        code += "say('closed')\nsys.stdin.readline()\n"
    script = Script(local_data_plane, code)
    assert script.line() == "closed"
    try:
        disconnects(local_data_plane)
        assert script.process.poll() is None, "its end would close everything"
    finally:
        script.tell()
        done = script.end()
    assert done.stderr == ""


# -- closing what others use -----------------------------------------------------------------------


@pytest.mark.usefixtures("no_gc")
def test_closing_the_client_closes_its_streams(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    async def main() -> None:
        sibling = client.with_options(retry="never")
        streams = [await client.stream(SILENT), await sibling.stream(SILENT)]
        waiting = asyncio.ensure_future(streams[0].__anext__())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await client.aclose()
        disconnects(local_data_plane, 2)
        with pytest.raises(ClosedError):
            await soon(waiting)
        for stream in streams:
            with pytest.raises(ClosedError):
                await soon(stream.__anext__())
        for closed in (client, sibling):
            assert closed.closed
            with pytest.raises(ClosedError) as raised:
                await closed.invoke({"prompt": "Hi"})
            assert raised.value.delivery == "not_sent"
        await client.aclose()

    run(main())
    assert local_data_plane.count_posts() == 2


@pytest.mark.parametrize("by_client", [False, True])
def test_a_pending_read_learns_that_its_stream_was_closed(
    client: AsyncAgentCoreClient, run: Run, by_client: bool
) -> None:
    async def main() -> None:
        stream = await client.stream(SILENT)
        waiting = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        if by_client:
            client.close()
        else:
            await stream.aclose()
        with pytest.raises(ClosedError):
            await soon(waiting)

    run(main())


def test_a_pending_read_learns_that_another_thread_closed_its_stream(
    client: AsyncAgentCoreClient, run: Run
) -> None:
    async def main() -> None:
        stream = await client.stream(SILENT)
        waiting = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0.02)
        await asyncio.to_thread(stream.close)
        with pytest.raises(ClosedError):
            await soon(waiting)

    run(main())


def test_a_stream_that_was_closed_gives_nothing_that_came_before(
    client: AsyncAgentCoreClient, run: Run
) -> None:
    """Events arrive together and are handed over one by one: those that wait go, too."""

    async def main() -> None:
        stream = await client.stream(FLOOD)
        events = stream.__aiter__()
        # So that several have arrived.
        await asyncio.to_thread(threading.Event().wait, 0.1)
        await anext(events)
        await stream.aclose()
        with pytest.raises(ClosedError):
            await soon(anext(events))

    run(main())


def test_a_sync_loop_over_a_stream_ends_where_it_is_closed(
    local_data_plane: LocalDataPlane,
) -> None:
    with AgentCoreClient(**local_data_plane.client_options()) as client:
        stream = client.stream(FLOOD)
        threading.Event().wait(0.1)
        seen = 0
        with pytest.raises(ClosedError):
            for _ in stream:
                seen += 1
                stream.close()
        assert seen == 1
        stream = client.stream(FLOOD)
        threading.Event().wait(0.1)
        chunks = stream.iter_bytes()
        next(chunks)
        stream.close()
        with pytest.raises(ClosedError):
            next(chunks)


def test_two_tasks_cannot_read_one_stream(client: AsyncAgentCoreClient, run: Run) -> None:
    async def main() -> None:
        async with client.stream({"mode": "stream", "tokens": 3, "delay_ms": 300}) as stream:
            await soon(stream.__anext__())
            # The next is far away.
            first = asyncio.ensure_future(stream.__anext__())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await soon(stream.__anext__())
            await soon(first)
            assert [event.text async for event in stream][-1] == "token2 ", "and it goes on"

    run(main())


# -- loops -----------------------------------------------------------------------------------------


def texts(count: int) -> list[str]:
    return [f"token{n} " for n in range(count)]


def test_one_client_serves_loops_in_a_row(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    async def main() -> list[str]:
        async with client.stream({"mode": "stream", "tokens": 5, "delay_ms": 1}) as stream:
            return [text async for text in stream.text_deltas()]

    for _ in range(3):
        assert run(main()) == texts(5)
    opened = of_kind(local_data_plane, "connection_opened")
    assert len(opened) == 1, "the connection outlives the loop"


def test_one_client_serves_loops_side_by_side(
    client: AsyncAgentCoreClient, run: Run, local_data_plane: LocalDataPlane
) -> None:
    """Loops come and go in several threads, which share what the package knows of loops."""
    failed: list[BaseException] = []

    async def main() -> None:
        async with client.stream({"mode": "stream", "tokens": 2}) as stream:
            assert [text async for text in stream.text_deltas()] == texts(2)
        assert (await client.invoke({"prompt": "Hi"})).text == "You said: Hi."

    def work() -> None:
        try:
            for _ in range(40):
                run(main())
        except BaseException as error:
            failed.append(error)

    before = sys.getswitchinterval()
    # Threads change as often as they can.
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * HANG)
            assert not thread.is_alive(), "hangs"
    finally:
        sys.setswitchinterval(before)
    assert not failed, failed
    assert local_data_plane.count_posts() == 4 * 40 * 2


def test_a_stream_may_move_to_another_loop(client: AsyncAgentCoreClient, run: Run) -> None:
    async def begin() -> AsyncAgentStream:
        stream = await client.stream({"mode": "stream", "tokens": 20, "delay_ms": 5})
        assert (await anext(stream)).text == "token0 "
        return stream

    async def go_on(stream: AsyncAgentStream) -> list[str | None]:
        return [event.text async for event in stream]

    stream = run(begin())
    assert run(go_on(stream)) == texts(20)[1:]


def test_a_stream_whose_loop_was_closed_in_the_middle_of_a_read_goes_on_in_another(
    client: AsyncAgentCoreClient, run: Run
) -> None:
    async def begin() -> tuple[AsyncAgentStream, asyncio.Task[object]]:
        stream = await client.stream({"mode": "stream", "tokens": 3, "delay_ms": 300})
        assert (await anext(stream)).text == "token0 "
        reading: asyncio.Task[object] = asyncio.create_task(stream.__anext__())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        return stream, reading

    async def go_on(stream: AsyncAgentStream) -> str | None:
        return (await anext(stream)).text

    loop = asyncio.new_event_loop()
    # Python's own complaint about the task.
    loop.set_exception_handler(lambda *_: None)
    stream, reading = loop.run_until_complete(begin())
    loop.close()
    assert run(go_on(stream)) == "token1 "
    # Its end, long after.
    del reading, loop
    gc.collect()
    assert run(go_on(stream)) == "token2 "
    with pytest.raises(StopAsyncIteration):
        run(go_on(stream))


def test_a_fast_stream_does_not_keep_the_loop_for_itself(
    client: AsyncAgentCoreClient, run: Run
) -> None:
    async def main() -> None:
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        seen = 0
        async with client.stream({"mode": "stream", "tokens": 20_000}) as stream:
            async for _ in stream:
                seen += 1
        ticker.cancel()
        assert seen == 20_000
        assert turns >= 20_000 / 256, "each batch of events lets others have a turn"

    run(main())


def test_anyio_scopes_cancel_and_go_on(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient
) -> None:
    async def main() -> None:
        async with client.stream({"mode": "stream", "tokens": 60, "delay_ms": 3}) as stream:
            got: list[str | None] = []
            for pause in itertools.cycle([0.001, 0.002, 0.004]):
                with anyio.move_on_after(pause):
                    try:
                        got.append((await stream.__anext__()).text)
                    except StopAsyncIteration:
                        break
            assert got == texts(60)
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.1):
                async with client.stream(SILENT) as stream:
                    await stream.__anext__()
        disconnects(local_data_plane)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(client.invoke, {"mode": "slow", "delay_ms": 60_000})
            await arrived(local_data_plane, 7)
            group.cancel_scope.cancel()
        disconnects(local_data_plane, 6)

    anyio.run(main, backend="asyncio")


def test_a_cancelled_call_leaves_nothing_behind(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, run: Run
) -> None:
    """A connection whose answer was not read must not serve the next call."""

    async def main() -> None:
        for _ in range(10):
            try:
                await asyncio.wait_for(client.invoke({"mode": "slow", "delay_ms": 20}), 0.02)
            except (TimeoutError, asyncio.TimeoutError):
                pass
            answer = await client.invoke({"prompt": "Hi"})
            assert answer.text == "You said: Hi."

    run(main())
    # Ten answers, and what was sent of the calls that were cancelled: nothing twice.
    assert 10 <= local_data_plane.count_posts() <= 20


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_a_loop_that_is_closed_takes_its_unfinished_calls_with_it(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, kind: str
) -> None:
    async def main() -> asyncio.Task[object]:
        call = client.invoke({"mode": "slow", "delay_ms": 60_000})
        task: asyncio.Task[object] = asyncio.ensure_future(call)
        await arrived(local_data_plane)
        return task

    loop = uvloop.new_event_loop() if kind == "uvloop" else asyncio.new_event_loop()
    # Python's own complaint about the task.
    loop.set_exception_handler(lambda *_: None)
    task = loop.run_until_complete(main())
    loop.close()
    gone = weakref.ref(loop)
    del task, loop
    gc.collect()
    assert gone() is None
    disconnects(local_data_plane)
