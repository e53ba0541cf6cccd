"""An answer while it arrives, read by the calling thread."""

from __future__ import annotations

import os
from operator import attrgetter, length_hint
from weakref import WeakSet

from ._ids import SessionId
from ._response import Head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

    from ._native import AgentEvent, Stream
    from .types import StreamEnd


# What can be taken of a stream: indices into what has been.
EVENTS, CHUNKS = 0, 1

# The ends at which it was this side that hung up on an agent which may go on.
HUNG_UP = ("closed", "idle_timeout", "total_timeout", "too_large")


# Those whose events must not be handed over a second time, by a forked child.
_live: WeakSet[StreamHead] = WeakSet()


def _forked() -> None:
    for stream in list(_live):
        stream._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class StreamHead(Head):
    """What is known of a stream besides its events; the same for both kinds of stream."""

    __slots__ = ("__weakref__", "_forgotten", "_native", "_taken")

    _native: Stream

    def __init__(self, native: Stream) -> None:
        self._native = native
        # What has been taken from the socket and not been handed over yet. It is put there by the
        # native half, since between that and any line here a signal's handler may raise.
        self._taken: list[Iterator[Any]] = [iter(()), iter(())]
        # Events that were taken and never handed over.
        self._forgotten = 0
        _live.add(self)

    @property
    def end(self) -> StreamEnd | None:
        """How the stream ended; `None` while it goes on."""
        return self._native.end

    @property
    def closed(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._native.end is not None

    @property
    def events_seen(self) -> int:
        """Events handed over so far."""
        return self._native.events_seen - length_hint(self._taken[EVENTS]) - self._forgotten

    def _forget(self) -> None:
        """What was taken before is not handed over any more, nor by a loop that is under way."""
        for _ in self._taken[EVENTS]:
            self._forgotten += 1
        for _ in self._taken[CHUNKS]:
            pass

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(session_id={str(self.session_id)!r}, end={self.end!r})"


class AgentStream(StreamHead):
    """An answer while it arrives: an iterator of `AgentEvent`.

    Events are handed over as soon as they are complete. A stream that breaks raises: an exhausted
    loop means that the answer ended properly. Leaving its `with` block closes the connection at
    once; that does not stop the agent, which `stop_session` does.

    One thread may read it at a time; `close` may be called from any.
    """

    __slots__ = ("_stop",)

    def __init__(self, native: Stream, stop: Callable[[SessionId], None] | None) -> None:
        super().__init__(native)
        self._stop = stop

    # No generators below: what a signal's handler raises would be their end, and look like the
    # answer's.

    def __iter__(self) -> Iterator[AgentEvent]:
        return self

    def __next__(self) -> AgentEvent:
        while True:
            event: AgentEvent
            for event in self._taken[EVENTS]:
                return event
            # A loop, since another thread may close the stream, and thereby empty what is ready, at
            # any time: that must not look like the end.
            self._native.next_events(self._taken)

    def text_deltas(self) -> Iterator[str]:
        """What the agent says, as it says it, without the events that carry no text."""
        # `filter` drops what is `None`; a text is never empty.
        return filter(None, map(attrgetter("text"), self))

    def iter_bytes(self) -> Iterator[bytes]:
        """The answer's raw bytes as they arrive, in place of events.

        Take it before the first event: what has been received and decoded already is not repeated.
        """
        return _Chunks(self)

    def _next_chunk(self) -> bytes:
        while True:
            chunk: bytes
            for chunk in self._taken[CHUNKS]:
                return chunk
            self._native.next_bytes(self._taken)

    def close(self) -> None:
        """Closes the connection at once. Reading it afterwards raises `ClosedError`."""
        self._native.close()
        self._forget()
        stop, self._stop = self._stop, None
        if stop is not None and self.end in HUNG_UP:
            stop(self.session_id)

    def __enter__(self) -> AgentStream:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Chunks:
    __slots__ = ("_stream",)

    def __init__(self, stream: AgentStream) -> None:
        self._stream = stream

    def __iter__(self) -> _Chunks:
        return self

    def __next__(self) -> bytes:
        return self._stream._next_chunk()
