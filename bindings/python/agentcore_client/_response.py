"""A whole answer, and the head that it has in common with one that arrives as a stream."""

from __future__ import annotations

from ._errors import ProtocolError
from ._ids import SessionId

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._native import Response


class Head:
    """What an answer says before its body."""

    __slots__ = ()

    _native: Any  # what has session_id, status and headers; each kind says what it is

    @property
    def session_id(self) -> SessionId:
        """The runtime session of the answer. Keep it to go on in the same session."""
        return SessionId._trusted(self._native.session_id)

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        status: int = self._native.status
        return status

    @property
    def headers(self) -> Mapping[str, str]:
        """All headers of the answer, names in lower case, the trace headers among them."""
        headers: Mapping[str, str] = self._native.headers
        return headers

    @property
    def content_type(self) -> str | None:
        """Content type of the answer."""
        return self.headers.get("content-type")

    @property
    def request_id(self) -> str | None:
        """The service's request id."""
        return self.headers.get("x-amzn-requestid")

    @property
    def session_endpoint_url(self) -> str | None:
        """Where this one session can be reached directly, if the runtime opens ports for that.

        An `https` URL or nothing; never send it credentials without looking at its host.
        """
        url = self.headers.get("x-amzn-bedrock-agentcore-runtime-session-endpoint-url")
        return url if url is not None and url.startswith("https://") else None


class InvokeResponse(Head):
    """A whole answer. A streamed one has been collected."""

    __slots__ = ("_native",)

    _native: Response

    def __init__(self, native: Response) -> None:
        self._native = native

    @property
    def body(self) -> bytes:
        """The raw body."""
        return self._native.body

    @property
    def text(self) -> str | None:
        """What the agent said.

        A JSON string unquoted, the deltas of a stream joined, plain text as it is; `None` where the
        answer carries no text, e.g. a JSON object of the agent's own shape.
        """
        return self._native.text

    @property
    def end(self) -> str:
        """How the answer ended: always `"complete"`, or there would have been an error."""
        return self._native.end

    def json(self) -> Any:
        """The body as JSON. Raises `ProtocolError` where it is none."""
        try:
            return self._native.json()
        except ProtocolError as error:
            error.status, error.session_id = self.status, self.session_id
            error.request_id = self.request_id
            raise

    def __repr__(self) -> str:
        return (
            f"InvokeResponse(status={self.status}, session_id={str(self.session_id)!r},"
            f" content_type={self.content_type!r}, body=<{self._native.body_length} bytes>)"
        )
