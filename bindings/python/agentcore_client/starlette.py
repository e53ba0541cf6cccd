"""Answers passed on to a browser by Starlette and FastAPI.

    from agentcore_client.starlette import EventStreamResponse, error_response, read_json

    app.add_exception_handler(AgentCoreError, error_response)

    @app.post("/ask")
    async def ask(request: Request) -> EventStreamResponse:
        question = await read_json(request)
        return EventStreamResponse(agent.stream({"prompt": question["prompt"]}), heartbeat=15)

Starlette is imported here and nowhere else; this package does not depend on it.
"""

from __future__ import annotations

from asyncio import FIRST_COMPLETED, Lock, create_task, get_running_loop, sleep, wait
from typing import TYPE_CHECKING

from starlette.responses import Response

from ._async_stream import AsyncAgentStream
from ._errors import AgentCoreError
from .web import (
    END,
    EVENT_STREAM_HEADERS,
    HEARTBEAT,
    MAX_BODY,
    check_heartbeat,
    check_size,
    frame,
    frame_error,
    parse_json,
    refusal,
)

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Mapping
    from typing import Any

    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from ._async_stream import StreamRequest

__all__ = ["EventStreamResponse", "error_response", "read_json"]


class EventStreamResponse(Response):
    """An answer as server-sent events, which ends the invocation when the browser leaves: at once,
    also while the agent is silent or has not begun to answer.

    The agent's events with their names, ids and data, a JSON answer as one event, text by pieces.
    Behind them stands `event: end` after a proper end, or else `event: error` with the JSON of
    `agentcore_client.web.public_error`. What fails before the first byte is an HTTP error with the
    same JSON. No header of the agent's is passed on, nor the session id.

    Leaving does not stop the agent; `stream(…, stop_on_close=True)` does. A HEAD, which Starlette
    routes like a GET, gets the headers and asks no agent.

    Args:
        stream: What `AsyncAgentCoreClient.stream` gives, best not awaited: then the browser may
            leave, and heartbeats keep it, while the agent has not begun.
        text_only: Pass on only what the agent says, each piece an event with a JSON string.
        heartbeat: Seconds of silence, 1 or more, after which a comment is sent, since proxies cut
            connections that are quiet. With the first one the status is out: what fails later is an
            `event: error`.
        headers: More headers; they win over those set here.
        background: As for any response of Starlette's.
    """

    def __init__(
        self,
        stream: StreamRequest | AsyncAgentStream,
        *,
        text_only: bool = False,
        heartbeat: float | None = None,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        self._stream = stream
        self._text_only = text_only
        self._heartbeat = check_heartbeat(heartbeat)
        self.status_code = 200
        self.background = background
        given = {name.lower(): value for name, value in (headers or {}).items()}
        self.init_headers({**EVENT_STREAM_HEADERS, **given})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        out = _Out(self, send)
        if scope.get("method") == "HEAD":
            await self._head_only(out)
        else:
            await self._pass_on(out, receive)
        if self.background is not None:
            await self.background()

    async def _head_only(self, out: _Out) -> None:
        if isinstance(self._stream, AsyncAgentStream):
            await self._stream.aclose()
        try:
            await out.start()
            await out.finish(b"")
        except _Gone:
            pass

    async def _pass_on(self, out: _Out, receive: Receive) -> None:
        tasks: list[Task[None]] = [create_task(self._relay(out)), create_task(_left(receive))]
        if self._heartbeat is not None:
            tasks.append(create_task(out.beat(self._heartbeat)))
        try:
            await wait(tasks, return_when=FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # A relay that is cancelled closes the connection to the agent before anything else.
            await wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                if not isinstance(error, _Gone):
                    raise error

    async def _relay(self, out: _Out) -> None:
        try:
            async with self._stream as stream:
                await out.start()
                async for event in stream:
                    data = frame(event, self._text_only)
                    if data is not None:
                        await out.send(data)
            await out.finish(END)
        except AgentCoreError as error:
            await out.fail(error)


async def _left(receive: Receive) -> None:
    """Returns when the browser has left, whatever it still sends before."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Gone(Exception):
    """The browser left, which a write found out."""


class _Out:
    """The answer's way out. Whoever writes has it alone."""

    def __init__(self, response: EventStreamResponse, send: Send) -> None:
        self._response = response
        self._send = send
        self._lock = Lock()
        self._since = get_running_loop().time()
        self._over = False
        self.started = False

    async def _write(self, body: bytes, more: bool = True) -> None:
        await self._to_server({"type": "http.response.body", "body": body, "more_body": more})
        self._since = get_running_loop().time()

    async def _to_server(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError as error:
            raise _Gone from error

    async def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        message = {"type": "http.response.start", "status": status, "headers": headers}
        async with self._lock:
            await self._to_server(message)

    async def start(self) -> None:
        # Whoever sets this has the lock next: nothing is awaited in between.
        if not self.started:
            self.started = True
            await self._head(self._response.status_code, self._response.raw_headers)

    async def send(self, body: bytes) -> None:
        async with self._lock:
            await self._write(body)

    async def finish(self, body: bytes) -> None:
        async with self._lock:
            self._over = True
            await self._write(body, more=False)

    async def fail(self, error: AgentCoreError) -> None:
        """An HTTP error in place of the answer, or an event where that has begun."""
        if self.started:
            await self.finish(frame_error(error))
            return
        # A heartbeat that is due while the head goes out must not get into the JSON.
        self.started = self._over = True
        status, headers, body = refusal(error)
        headers["content-length"] = str(len(body))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._head(status, raw)
        await self.finish(body.encode())

    async def beat(self, every: float) -> None:
        """Sends a comment whenever nothing was sent for so long; never ends by itself."""
        loop = get_running_loop()
        while True:
            await sleep(self._since + every - loop.time())
            if loop.time() < self._since + every:
                continue
            await self.start()
            async with self._lock:
                if not self._over:
                    await self._write(HEARTBEAT)


async def read_json(request: Request, *, max_bytes: int = MAX_BODY) -> Any:
    """The JSON in a request's body, which is not read further than `max_bytes`.

    Raises `TooLargeError` (413 for `error_response`) for a body that is larger, `InvalidInputError`
    (400) for one that is no JSON; its `field` then is `body`.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        check_size(len(data), max_bytes)
    return parse_json(data)


async def error_response(request: Request, error: Exception) -> Response:
    """An exception handler: what `public_error` tells of an `AgentCoreError`, as an answer."""
    if not isinstance(error, AgentCoreError):
        raise error
    status, headers, body = refusal(error)
    return Response(body, status, headers)
