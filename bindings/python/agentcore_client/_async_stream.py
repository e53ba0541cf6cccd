"""An answer while it arrives, read by an event loop."""

from __future__ import annotations

from asyncio import Future, sleep

from . import _native
from ._loop import running
from ._stream import CHUNKS, EVENTS, HUNG_UP, StreamHead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
        Iterator,
    )
    from types import TracebackType
    from typing import Any

    from ._ids import SessionId
    from ._native import AgentEvent


class AsyncAgentStream(StreamHead):
    """An answer while it arrives: an async iterator of `AgentEvent`.

    Events are handed over as soon as they are complete. A stream that breaks raises: an exhausted
    loop means that the answer ended properly. Cancelling a read (`asyncio.wait_for`) loses nothing:
    the next read goes on. Leaving its `async with` block closes the connection at once; that does
    not stop the agent, which `stop_session` does.

    One task may read it at a time.
    """

    __slots__ = ("_eager", "_reading", "_stop")

    def __init__(
        self, native: _native.Stream, stop: Callable[[SessionId], Awaitable[None]] | None
    ) -> None:
        super().__init__(native)
        self._stop = stop
        # The loop that reads it now.
        self._reading: AbstractEventLoop | None = None
        self._eager = False

    def __aiter__(self) -> AsyncIterator[AgentEvent]:
        return self

    def __anext__(self) -> Coroutine[Any, Any, AgentEvent]:
        return self._next(EVENTS, _native.Stream.take_events)

    def text_deltas(self) -> AsyncIterator[str]:
        """What the agent says, as it says it, without the events that carry no text."""
        return _TextDeltas(self)

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """The answer's raw bytes as they arrive, in place of events.

        Take it before the first event: what has been received and decoded already is not repeated.
        """
        return _Chunks(self)

    # One coroutine for all of it: what waits for a token is a coroutine for each stream.
    async def _next(
        self,
        kind: int,
        take: Callable[[_native.Stream, _native.ReadyQueue, list[Iterator[Any]], bool], int | None],
    ) -> Any:
        """The next item of a kind, of what has been taken or else of what arrives."""
        reader = self._reading
        # One that waits on a loop that was closed never goes on.
        if reader is not None and not reader.is_closed():
            raise RuntimeError("the stream is being read by another task")
        for item in self._taken[kind]:
            return item
        loop, queue = running()
        self._reading = loop
        try:
            # Only who comes straight from the loop can go by what was left there.
            must_ask = self._eager
            if must_ask:
                # A sender that is faster than its reader must not keep the loop for itself. Before
                # anything is taken, so that nothing is lost if this is cancelled.
                await sleep(0)
            self._eager = True
            while True:
                # At the end it raises. A close by another thread, which empties what was taken, is
                # told by asking again.
                token = take(self._native, queue.native, self._taken, must_ask)
                if token is not None:
                    self._eager = False
                    future: Future[None] = Future(loop=loop)
                    # What arrives is put where it is looked for first, whoever looks then.
                    queue.waiting[token] = self._native, future, self._taken, kind
                    try:
                        await future
                    except BaseException:
                        queue.forget(token)
                        # Nobody knows how long ago a loop was closed.
                        if self._reading is loop and not loop.is_closed():
                            self._native.rest()
                        raise
                for item in self._taken[kind]:
                    return item
                must_ask = True
        finally:
            if self._reading is loop:
                self._reading = None

    def close(self) -> None:
        """Closes the connection at once. Reading it afterwards raises `ClosedError`.

        Unlike `aclose` it does not wait for the stop that `stop_on_close` asks for, and sends none.
        """
        self._native.close()
        self._forget()

    async def aclose(self) -> None:
        """Closes the connection at once, before anything is awaited."""
        self.close()
        stop, self._stop = self._stop, None
        if stop is not None and self.end in HUNG_UP:
            await stop(self.session_id)

    async def __aenter__(self) -> AsyncAgentStream:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


# No async generators: their first cancelled read would be their end, and look like the answer's.


class _TextDeltas:
    __slots__ = ("_stream",)

    def __init__(self, stream: AsyncAgentStream) -> None:
        self._stream = stream

    def __aiter__(self) -> _TextDeltas:
        return self

    async def __anext__(self) -> str:
        while True:
            text = (await self._stream.__anext__()).text
            if text is not None:
                return text


class _Chunks:
    __slots__ = ("_stream",)

    def __init__(self, stream: AsyncAgentStream) -> None:
        self._stream = stream

    def __aiter__(self) -> _Chunks:
        return self

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self._stream._next(CHUNKS, _native.Stream.take_bytes)


class StreamRequest:
    """A stream to be: await it, or enter it with `async with`, once. Nothing is sent before."""

    __slots__ = ("_open_stream", "_stream")

    def __init__(self, open_stream: Callable[[], Awaitable[AsyncAgentStream]]) -> None:
        self._open_stream: Callable[[], Awaitable[AsyncAgentStream]] | None = open_stream
        self._stream: AsyncAgentStream | None = None

    def _open(self) -> Awaitable[AsyncAgentStream]:
        open_stream, self._open_stream = self._open_stream, None
        if open_stream is None:
            # Awaiting it and entering it, too, would ask the agent twice.
            raise RuntimeError("this stream was opened already; to ask again, call stream() again")
        return open_stream()

    def __await__(self) -> Generator[Any, Any, AsyncAgentStream]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncAgentStream:
        self._stream = await self._open()
        return self._stream

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            await self._stream.aclose()
