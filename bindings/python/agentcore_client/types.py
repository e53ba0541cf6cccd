"""Types for your own annotations. Nothing here is needed, or imported, at run time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict

from ._options import Timeouts

Payload = (
    Mapping[str, Any] | Sequence[Any] | str | bytes | bytearray | memoryview | int | float | None
)
"""`bytes` and their like go as they are, a `str` as a JSON string, the rest as JSON."""

Retry = Literal["never", "default", "idempotent"]
"""When a call is sent again. `"default"`: only where it certainly did not run. `"idempotent"`: for
an agent that may safely run twice, also after a reset and 500 to 504."""

TextFormat = Literal[
    "auto", "json_string", "raw", "strands", "converse", "ag_ui", "text_object", "none"
]
"""Which of an agent framework's shapes carries the text. `"auto"` finds out."""

PolicyAction = Literal[
    "InvokeAgentRuntime",
    "InvokeAgentRuntimeForUser",
    "InvokeAgentRuntimeWithWebSocketStream",
    "InvokeAgentRuntimeWithWebSocketStreamForUser",
    "InvokeAgentRuntimeCommand",
    "InvokeAgentRuntimeCommandShell",
    "InvokeAgentRuntimeProxy",
    "StopRuntimeSession",
    "GetAgentCard",
]
"""An IAM action on a runtime, for `RuntimeArn.invoke_policy`. The actions with `ForUser` are for
calls with a user id, besides the action of the call itself."""

StreamEnd = Literal[
    "complete",
    "agent_error",
    "truncated",
    "idle_timeout",
    "total_timeout",
    "too_large",
    "protocol_error",
    "closed",
]
"""How a stream ended."""


class CredentialsLike(Protocol):
    """AWS credentials, e.g. botocore's, which are frozen at each signing, so that refresh works."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


CredentialsSource = CredentialsLike | Callable[[], CredentialsLike | Awaitable[CredentialsLike]]
"""Async callables are for `AsyncAgentCoreClient`."""

TokenSource = str | Callable[[], str | Awaitable[str]]
"""Async callables are for `AsyncAgentCoreClient`."""


class InvokeOptions(TypedDict, total=False):
    """What an invocation may be given besides its payload and session."""

    user_id: str | None
    """An opaque user id of 1 to 1024 characters, for the agent's outbound identity. Needs the IAM
    action `InvokeAgentRuntimeForUser` as well."""
    headers: Mapping[str, str] | None
    """Headers of your own; they reach the agent only if the runtime's allow-list names them."""
    content_type: str | None
    """The payload's; `application/json` unless said otherwise."""
    accept: str | None
    """The content types wanted; `application/json, text/event-stream` unless said otherwise."""
    traceparent: str | None
    """W3C trace context, at most 128 characters. OpenTelemetry's current span otherwise, if any."""
    tracestate: str | None
    """W3C trace state, at most 512 characters."""
    baggage: str | None
    """W3C baggage, at most 8192 characters."""
    x_amzn_trace_id: str | None
    """X-Ray's trace header. Never taken from the environment: with `Sampled=0` the runtime writes
    no spans."""
    mcp_session_id: str | None
    """`Mcp-Session-Id`: for MCP servers, this and not the runtime session routes the call."""
    mcp_protocol_version: str | None
    mcp_method: str | None
    mcp_name: str | None
    timeouts: Timeouts | None
    """Other time limits for this call."""
    retry: Retry | None
    """Another retry policy for this call."""
    text_format: TextFormat | None
    """Another text format for this call."""


class StreamOptions(InvokeOptions, total=False):
    """What a streamed invocation may be given besides."""

    stop_on_close: bool
    """Whether closing the stream before its end also stops the session. Without it, an agent goes
    on when nobody listens any more."""


class StopOptions(TypedDict, total=False):
    """What a stop may be given besides its session."""

    timeouts: Timeouts | None
    retry: Retry | None
