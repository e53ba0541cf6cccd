"""Answers passed on to a browser as server-sent events: what every Python web framework needs.

    from agentcore_client.web import EVENT_STREAM_HEADERS, EventStream, public_error, read_json

For WSGI (Flask, Django) `EventStream` is the body of an answer; for ASGI see
`agentcore_client.starlette`. No framework is imported here.
"""

from __future__ import annotations

import json
from collections import deque
from math import ceil
from threading import Condition, Thread
from typing import TYPE_CHECKING, NamedTuple, cast

from ._errors import AgentCoreError, ClosedError, ProtocolError, TooLargeError, refused
from ._logging import emit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Protocol

    from ._native import AgentEvent
    from ._stream import AgentStream

    class Readable(Protocol):
        """What a request's body can be read from, such as `wsgi.input`."""

        def read(self, size: int, /) -> bytes: ...


__all__ = [
    "EVENT_STREAM_HEADERS",
    "EventStream",
    "PublicError",
    "public_error",
    "read_json",
    "text_field",
]

EVENT_STREAM_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}
"""The headers of an answer that is server-sent events: nobody on the way may hold them back."""

HEARTBEAT = b": heartbeat\n\n"
END = b"event: end\ndata: {}\n\n"
MAX_BODY = 1_000_000

# How much may wait between the thread that reads and the server that writes.
_WAITING = 64


class PublicError(NamedTuple):
    """The part of an error that is meant for whoever called the backend; see `public_error`."""

    status: int
    """The HTTP status to answer with."""
    headers: dict[str, str]
    """Those of the answer: its type, and `retry-after` where the service gave one."""
    body: str
    """JSON, `{"error": {…}}`: `code`, `message` (a sentence for people, the same for each code),
    `delivery`, and where they apply `serviceCode`, `field` and `retryAfter` (milliseconds)."""


def public_error(error: AgentCoreError) -> PublicError:
    """What may be told of an error to somebody outside, such as a browser.

    The error's own message, session and request id stay inside: they are for the log.
    """
    status, message = _told(error)
    told: dict[str, Any] = {
        "code": "".join(
            f"_{c}" if at and c.isupper() else c for at, c in enumerate(error.kind)
        ).upper(),
        "message": message,
        "delivery": error.delivery,
    }
    # An agent may put whatever it likes there.
    if error.kind == "Service" and error.service_code is not None:
        told["serviceCode"] = error.service_code
    if error.field is not None:
        told["field"] = error.field
    headers = {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    if error.retry_after is not None:
        told["retryAfter"] = round(error.retry_after * 1000)
        headers["retry-after"] = str(ceil(error.retry_after))
    return PublicError(status, headers, json.dumps({"error": told}))


_LOGIN = "Please log in again."
_TOLD = {
    "InvalidInput": (400, "The request is not valid."),
    "Credentials": (500, "The server may not call the agent."),
    "Connect": (503, "The agent cannot be reached."),
    "Timeout": (504, "The agent took too long."),
    "Service": (502, "The agent's service refused the call or failed."),
    "Agent": (502, "The agent failed."),
    "StreamInterrupted": (502, "The answer broke off."),
    "TooLarge": (502, "The answer is too large."),
    "Protocol": (502, "The agent's answer makes no sense."),
    "Closed": (503, "The server is shutting down."),
    "Internal": (500, "The server failed."),
}
# The service's refusals that mean the same to the backend's own caller.
_REFUSALS = {
    400: "The request is not valid.",
    401: _LOGIN,
    403: "This is not allowed.",
    409: "The session is busy.",
    429: "There are too many requests.",
}


def _told(error: AgentCoreError) -> tuple[int, str]:
    if error.field == "bearer_token":
        # A caller's token that was passed on and has expired, or is none.
        return 401, _LOGIN
    if error.kind in ("Service", "Credentials") and error.status in _REFUSALS:
        return error.status, _REFUSALS[error.status]
    if error.kind == "TooLarge" and error.delivery == "not_sent":
        return 413, "The request is too large."
    return _TOLD.get(error.kind, _TOLD["Internal"])


def read_json(body: Readable, *, max_bytes: int = MAX_BODY) -> Any:
    """The JSON in a request's body, e.g. Flask's `request.stream`.

    Raises `TooLargeError` (413 for `public_error`) for a body that is larger, `InvalidInputError`
    (400) for one that is no JSON; its `field` then is `body`.
    """
    data = bytearray()
    while chunk := body.read(min(max_bytes + 1 - len(data), 65536)):
        data += chunk
        check_size(len(data), max_bytes)
    return parse_json(data)


def text_field(body: object, name: str) -> str:
    """The text in a member of what `read_json` gave; `InvalidInputError` (400) if there is none."""
    value = cast("dict[str, object]", body).get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise refused(name, "absent, empty or no text", "needs text")
    return value


def check_size(size: int, most: int) -> None:
    if size > most:
        message = f"body: more than {most} bytes; raise max_bytes if that is what you expect"
        raise TooLargeError(message, delivery="not_sent", field="body")


def parse_json(data: bytes | bytearray) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        # Without its cause, which quotes the body.
        raise refused("body", "not JSON", "needs JSON") from None


def check_heartbeat(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"heartbeat must be seconds, not {type(seconds).__name__}")
    if not 1 <= seconds <= 3600:
        raise refused("heartbeat", f"{seconds} s", "needs 1 to 3600 seconds")
    return seconds


def frame(event: AgentEvent, text_only: bool) -> bytes | None:
    """The event as it is passed on; `None` if it has no text and only that is wanted."""
    if text_only:
        text = event.text
        return (
            None if text is None else f"data: {json.dumps(text, ensure_ascii=False)}\n\n".encode()
        )
    data = event.to_sse()
    if data is None:
        message = "the answer is neither events, JSON nor text: pass its bytes on with iter_bytes"
        raise ProtocolError(message, delivery="accepted")
    return data


def refusal(error: AgentCoreError) -> PublicError:
    """The HTTP error for one that comes before the first byte; the log is told in full."""
    told = public_error(error)
    emit("WARN" if told.status >= 500 else "INFO", f"answered with {told.status}: {error}")
    return told


def frame_error(error: AgentCoreError) -> bytes:
    """The event that tells of an error, which the log is told in full."""
    emit("WARN", f"an answer that is passed on failed: {error}")
    return f"event: error\ndata: {public_error(error).body}\n\n".encode()


class EventStream:
    """An answer as server-sent events: the body of a WSGI answer, an iterator of `bytes`.

        stream = client.stream({"prompt": prompt}, session_id=session)
        return EventStream(stream, heartbeat=15), EVENT_STREAM_HEADERS   # in a Flask view

    The agent's events with their names, ids and data, a JSON answer as one event, text by pieces.
    Behind them stands `event: end` after a proper end, or else `event: error` with the JSON of
    `public_error`. No header of the agent's is passed on, nor the session id.

    A WSGI server closes it when it cannot write any more, and that ends the invocation. It only
    finds out when it writes: without a heartbeat, a browser that leaves while the agent is silent
    is noticed at the agent's next word.

    Args:
        stream: What `AgentCoreClient.stream` gave. It is closed with this.
        text_only: Pass on only what the agent says, each piece an event with a JSON string.
        heartbeat: Seconds of silence, 1 or more, after which a comment is sent, so that proxies do
            not cut the connection and a browser that left is noticed. Costs a thread per stream.
    """

    def __init__(
        self, stream: AgentStream, *, text_only: bool = False, heartbeat: float | None = None
    ) -> None:
        self._frames = _Frames(stream, text_only)
        self._heartbeat = check_heartbeat(heartbeat)
        self._pump: _Pump | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._heartbeat is None:
            return next(self._frames)
        if self._pump is None:
            self._pump = _Pump(self._frames)
        return self._pump.next(self._heartbeat)

    def close(self) -> None:
        """Closes the connection to the agent at once."""
        self._frames.close()
        if self._pump is not None:
            self._pump.close()

    def __del__(self) -> None:
        # A server that forgets to close it must not leave its thread waiting for ever.
        if getattr(self, "_pump", None) is not None:
            self.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Frames:
    """What is passed on of a stream, the end included."""

    def __init__(self, stream: AgentStream, text_only: bool) -> None:
        self._stream = stream
        self._text_only = text_only
        self._over = False
        # By whoever reads it, maybe from another thread.
        self._closed = False

    def close(self) -> None:
        self._closed = self._over = True
        self._stream.close()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        try:
            for event in self._stream:
                data = frame(event, self._text_only)
                if data is not None:
                    return data
        except AgentCoreError as error:
            if self._closed and isinstance(error, ClosedError):
                raise StopIteration from None
            self._over = True
            self._stream.close()
            return frame_error(error)
        self._over = True
        return END


class _Pump:
    """Reads in a thread of its own, so that waiting can have a limit."""

    def __init__(self, frames: _Frames) -> None:
        self._changed = Condition()
        self._waiting: deque[bytes] = deque()
        self._over = False
        self._failed: BaseException | None = None
        Thread(target=self._run, args=(frames,), name="agentcore-sse", daemon=True).start()

    def _run(self, frames: _Frames) -> None:
        try:
            for data in frames:
                with self._changed:
                    self._changed.wait_for(lambda: self._over or len(self._waiting) < _WAITING)
                    if self._over:
                        return
                    self._waiting.append(data)
                    self._changed.notify_all()
        except BaseException as error:
            self._failed = error
        finally:
            self.close()

    def next(self, limit: float) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._waiting, limit)
            if self._waiting:
                data = self._waiting.popleft()
                self._changed.notify_all()
                return data
            if self._failed is not None:
                raise self._failed
            if self._over:
                raise StopIteration
            return HEARTBEAT

    def close(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
