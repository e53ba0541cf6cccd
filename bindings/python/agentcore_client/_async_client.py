"""The client for asyncio."""

from __future__ import annotations

from asyncio import FIRST_COMPLETED, CancelledError, Future, wait

from . import _native
from ._async_stream import AsyncAgentStream, StreamRequest
from ._client import BaseClient, asks_for_stop
from ._errors import AgentCoreError, CredentialsError
from ._logging import emit
from ._loop import LoopQueue, running
from ._options import encode_payload
from ._response import InvokeResponse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sys
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, TypeVar

    from .types import InvokeOptions, Payload, StopOptions, StreamOptions

    if sys.version_info >= (3, 11):
        from typing import Self, Unpack
    else:
        from typing_extensions import Self, Unpack

    Outcome = TypeVar("Outcome", _native.Response, _native.Stream, bool)


class AsyncAgentCoreClient(BaseClient):
    """Calls one agent runtime from asyncio. Takes the arguments of `AgentCoreClient`.

    `credentials` and `bearer_token` may be async callables, too; others are called in the loop's
    executor, so that a slow one does not stall the loop. One client may serve several event loops,
    one after the other and side by side. Cancelling a call closes its connection at once.
    """

    __slots__ = ()

    _may_await = True

    async def invoke(
        self, payload: Payload, *, session_id: str | None = None, **options: Unpack[InvokeOptions]
    ) -> InvokeResponse:
        """Asks the agent and waits for the whole answer. See `AgentCoreClient.invoke`."""
        given = self._prepared(options)
        loop, queue = running()
        call = self._native.start_invoke(queue.native, encode_payload(payload), session_id, given)
        return InvokeResponse(await self._outcome(call, loop, queue))

    def stream(
        self, payload: Payload, *, session_id: str | None = None, **options: Unpack[StreamOptions]
    ) -> StreamRequest:
        """Asks the agent and gives its answer as it arrives. See `AgentCoreClient.stream`.

        Await it for an `AsyncAgentStream`, or enter it: `async with client.stream(…) as stream`.
        """
        return StreamRequest(lambda: self._open(payload, session_id, options))

    async def _open(
        self, payload: Payload, session_id: str | None, options: StreamOptions
    ) -> AsyncAgentStream:
        options = options.copy()
        stop = self._stop_quietly if asks_for_stop(options) else None
        given = self._prepared(options)
        loop, queue = running()
        call = self._native.start_stream(queue.native, encode_payload(payload), session_id, given)
        return AsyncAgentStream(await self._outcome(call, loop, queue), stop)

    async def stop_session(self, session_id: str, **options: Unpack[StopOptions]) -> None:
        """Ends a session. See `AgentCoreClient.stop_session`."""
        if self._provider is not None:
            self._provider.refuse_recursion()
        loop, queue = running()
        call = self._native.start_stop_session(queue.native, session_id, dict(options))
        await self._outcome(call, loop, queue)

    async def aclose(self) -> None:
        """Closes idle connections and open streams, at once; also those of siblings."""
        self.close()

    async def _outcome(
        self,
        call: _native.PendingCall[Outcome],
        loop: AbstractEventLoop,
        queue: LoopQueue,
    ) -> Outcome:
        """What comes of a call that was started just now.

        The queue begins it, if others begin along with it, and hands over a whole answer by itself.
        """
        token = call.token
        future: Future[Outcome | None] = Future(loop=loop)
        queue.waiting[token] = call, future
        try:
            outcome = await future
            while outcome is None:
                done = call.poll()
                if isinstance(done, _native.Question):
                    return await self._finish_asking(call, done, loop, queue)
                if done is None:
                    await queue.wait(loop, token)
                outcome = done
            return outcome
        except BaseException:
            queue.forget(token)
            call.abort()
            raise

    async def _finish_asking(
        self,
        call: _native.PendingCall[Outcome],
        question: _native.Question,
        loop: AbstractEventLoop,
        queue: LoopQueue,
    ) -> Outcome:
        """What comes of a call that has its provider asked."""
        assert self._provider is not None
        asking: Task[Any] | None = None
        cause: BaseException | None = None
        done: _native.Question | Outcome | None = question
        try:
            while True:
                if isinstance(done, _native.Question):
                    question, cause = done, None
                    if self._provider.needs_no_io():
                        cause = _answer(question, self._provider.ask)
                    else:
                        asking = loop.create_task(self._provider.ask_in(loop))
                elif done is not None:
                    return done
                elif asking is None:
                    await queue.wait(loop, call.token)
                else:
                    # A call does not wait for its provider longer than its time limits allow.
                    ready = queue.wait(loop, call.token)
                    await wait((asking, ready), return_when=FIRST_COMPLETED)
                if asking is not None and asking.done():
                    cause = _answer(question, asking.result)
                    asking = None
                done = call.poll()
        except CredentialsError as error:
            if cause is not None:
                error.__cause__ = cause
            raise
        finally:
            if asking is not None:
                # What it still has to say concerns nobody.
                asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
                asking.cancel()

    async def _stop_quietly(self, session_id: str) -> None:
        """The stop behind a stream that was closed: whoever closes it must not fail over that."""
        try:
            await self.stop_session(session_id)
        except AgentCoreError as error:
            emit("WARN", f"could not stop the session: {error}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _answer(question: _native.Question, ask: Callable[[], Any]) -> BaseException | None:
    """Hands over what a provider gives; else gives back what it raises.

    That may be secret: it goes along as the cause, not in a message.
    """
    try:
        question.answer(ask())
    except (Exception, CancelledError) as error:
        question.fail()
        return error
    return None
