"""How a loop goes on with those whose answers arrive together, in one call of its reader."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from agentcore_client import AsyncAgentCoreClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from agentcore_client.testing import LocalDataPlane

name: ContextVar[str] = ContextVar("name")


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop() if request.param == "asyncio" else uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def client(local_data_plane: LocalDataPlane) -> Iterator[AsyncAgentCoreClient]:
    with_plane = AsyncAgentCoreClient(**local_data_plane.client_options())
    yield with_plane
    with_plane.close()


def answer_together(
    loop: asyncio.AbstractEventLoop,
    plane: LocalDataPlane,
    client: AsyncAgentCoreClient,
    tasks: list[asyncio.Task[Any]],
    *then: Callable[[], Awaitable[Any]],
) -> None:
    """Tasks that call, and go on with `then` in the very same turn of the loop."""

    async def one(number: int, then: Callable[[], Awaitable[Any]]) -> Any:
        name.set(f"task {number}")
        await client.invoke({"mode": "slow", "delay_ms": 400})
        return await then()

    async def main() -> None:
        tasks.extend(asyncio.ensure_future(one(n, then)) for n, then in enumerate(then))
        while plane.count_posts() < len(tasks):
            await asyncio.sleep(0.01)
        # The loop does not run, and the answers arrive.
        time.sleep(0.8)
        await asyncio.sleep(0.1)

    loop.run_until_complete(main())


def test_each_goes_on_as_its_own_task_in_its_own_context(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, loop: asyncio.AbstractEventLoop
) -> None:
    async def who() -> tuple[str, asyncio.Task[Any] | None]:
        return name.get(), asyncio.current_task()

    tasks: list[asyncio.Task[Any]] = []
    answer_together(loop, local_data_plane, client, tasks, *[who] * 5)
    seen = loop.run_until_complete(asyncio.gather(*tasks))
    assert seen == [(f"task {n}", task) for n, task in enumerate(tasks)]


def test_all_are_on_their_way_before_one_goes_on(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, loop: asyncio.AbstractEventLoop
) -> None:
    """It may turn the loop itself until another is done, as notebooks do."""
    tasks: list[asyncio.Task[Any]] = []

    async def others_wait() -> int:
        waiting: list[asyncio.Future[Any] | None] = [
            getattr(task, "_fut_waiter", None) for task in tasks
        ]
        return sum(future is not None and not future.done() for future in waiting)

    answer_together(loop, local_data_plane, client, tasks, *[others_wait] * 4)
    assert loop.run_until_complete(asyncio.gather(*tasks)) == [0] * 4


@pytest.mark.parametrize("together", [1, 4])
def test_one_may_turn_the_loop_until_the_others_are_done(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, together: int
) -> None:
    """As loops that are patched for notebooks do, within a task's step."""
    loop: Any = asyncio.new_event_loop()
    tasks: list[asyncio.Task[Any]] = []
    turned: list[str] = []

    async def turn_it() -> str:
        if not turned:
            turned.append(name.get())
            me, deadline = asyncio.current_task(), time.monotonic() + 10
            assert me is not None
            asyncio.tasks._leave_task(loop, me)
            own = loop.create_task(client.invoke({"prompt": "from within"}))
            while not all(task.done() for task in [*tasks, own] if task is not me):
                assert time.monotonic() < deadline, "the others never go on"
                loop.call_later(0.1, bool)
                loop._run_once()
            asyncio.tasks._enter_task(loop, me)
            assert own.result().text == "You said: from within."
        return name.get()

    try:
        answer_together(loop, local_data_plane, client, tasks, *[turn_it] * together)
        results = loop.run_until_complete(asyncio.gather(*tasks))
    finally:
        loop.close()
    assert (results, len(turned)) == ([f"task {n}" for n in range(together)], 1)


def test_one_may_cancel_another_that_was_answered_along_with_it(
    local_data_plane: LocalDataPlane, client: AsyncAgentCoreClient, loop: asyncio.AbstractEventLoop
) -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def cancel_others() -> str:
        me = asyncio.current_task()
        cancelled = [task.cancel() for task in tasks if task is not me and not task.done()]
        return f"cancelled {sum(cancelled)}"

    answer_together(loop, local_data_plane, client, tasks, *[cancel_others] * 3)
    results = loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    assert [type(result) for result in results].count(asyncio.CancelledError) == 2
    assert "cancelled 2" in results
    assert local_data_plane.count_posts() == 3


@pytest.mark.parametrize("last_word", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_loop_keeps_nobody_elses_answer(
    local_data_plane: LocalDataPlane,
    client: AsyncAgentCoreClient,
    loop: asyncio.AbstractEventLoop,
    last_word: type[BaseException],
) -> None:
    ended: list[str] = []

    async def end_it_once() -> str:
        if not ended:
            ended.append(name.get())
            raise last_word
        return name.get()

    tasks: list[asyncio.Task[Any]] = []
    with pytest.raises(last_word):
        answer_together(loop, local_data_plane, client, tasks, *[end_it_once] * 4)
    # On asyncio the loop has ended in the middle of the turn, on uvloop at its end.
    results = loop.run_until_complete(
        asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    )
    assert [type(result) for result in results].count(last_word) == 1
    told = [result for result in results if isinstance(result, str)]
    assert sorted([*ended, *told]) == [f"task {n}" for n in range(4)]
