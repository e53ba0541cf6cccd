"""The client, and what it shares with the one for asyncio."""

from __future__ import annotations

from sys import modules

from . import _native
from ._auth import native_auth
from ._errors import AgentCoreError
from ._ids import RuntimeArn
from ._logging import emit
from ._options import encode_payload
from ._response import InvokeResponse
from ._stream import AgentStream
from ._trace import add_current_trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sys
    from collections.abc import Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Any

    from ._auth import Provider
    from ._options import Limits, Timeouts
    from .types import (
        CredentialsSource,
        InvokeOptions,
        Payload,
        Retry,
        StopOptions,
        StreamOptions,
        TextFormat,
        TokenSource,
    )

    if sys.version_info >= (3, 11):
        from typing import Self, Unpack
    else:
        from typing_extensions import Self, Unpack


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def asks_for_stop(options: StreamOptions) -> bool:
    """Takes `stop_on_close` out of the options: the core has no part in it."""
    asked = options.pop("stop_on_close", False)
    if not isinstance(asked, bool):
        raise TypeError(f"stop_on_close must be a bool, not {type(asked).__name__}")
    return asked


class BaseClient:
    """What both clients have in common: how they are made."""

    __slots__ = ("__weakref__", "_native", "_propagate_baggage", "_provider")

    _native: _native.Client
    _provider: Provider | None
    _propagate_baggage: bool
    # Whether providers may be async.
    _may_await = False

    def __init__(
        self,
        runtime_arn: str | None = None,
        *,
        agent_id: str | None = None,
        account_id: str | None = None,
        qualifier: str | None = None,
        region: str | None = None,
        credentials: CredentialsSource | None = None,
        bearer_token: TokenSource | None = None,
        endpoint_url: str | None = None,
        invocation_url: str | None = None,
        local_url: str | None = None,
        allow_http_hosts: Sequence[str] | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        limits: Limits | None = None,
        text_format: TextFormat | None = None,
        use_fips: bool | None = None,
        use_dualstack: bool | None = None,
        ca_bundle: str | PathLike[str] | None = None,
        proxy: str | None = None,
        user_agent: str | None = None,
        propagate_baggage: bool = False,
    ) -> None:
        auth, self._provider = native_auth(credentials, bearer_token, self._may_await)
        if not isinstance(propagate_baggage, bool):
            raise TypeError(
                f"propagate_baggage must be a bool, not {type(propagate_baggage).__name__}"
            )
        self._propagate_baggage = propagate_baggage
        if ca_bundle is not None and hasattr(ca_bundle, "__fspath__"):
            import os

            ca_bundle = os.fsdecode(ca_bundle)
        options = {
            "agent_id": agent_id,
            "account_id": account_id,
            "qualifier": qualifier,
            "region": region,
            "endpoint_url": endpoint_url,
            "invocation_url": invocation_url,
            "local_url": local_url,
            "allow_http_hosts": allow_http_hosts,
            "timeouts": timeouts,
            "retry": retry,
            "limits": limits,
            "text_format": text_format,
            "use_fips": use_fips,
            "use_dualstack": use_dualstack,
            "ca_bundle": ca_bundle,
            "proxy": proxy,
            "user_agent": user_agent,
        }
        self._native = _native.Client(runtime_arn, auth, _given(options))

    @property
    def runtime_arn(self) -> RuntimeArn | None:
        """The runtime that is called; `None` for a local agent or a whole invocation URL."""
        arn = self._native.runtime_arn
        return None if arn is None else RuntimeArn(arn)

    @property
    def qualifier(self) -> str | None:
        """The endpoint name that is called; `None` stands for the service's `DEFAULT`."""
        return self._native.qualifier

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._native.closed

    def with_options(
        self,
        *,
        qualifier: str | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        limits: Limits | None = None,
        text_format: TextFormat | None = None,
    ) -> Self:
        """A sibling with other options on the same connections and credentials.

        Closing one of them closes them all.
        """
        options = {
            "qualifier": qualifier,
            "timeouts": timeouts,
            "retry": retry,
            "limits": limits,
            "text_format": text_format,
        }
        sibling = type(self).__new__(type(self))
        sibling._native = self._native.sibling(_given(options))
        sibling._provider = self._provider
        sibling._propagate_baggage = self._propagate_baggage
        return sibling

    def close(self) -> None:
        """Closes idle connections and open streams, at once; also those of siblings.

        Calls under way in other threads or tasks finish; new ones raise `ClosedError`, and so do
        streams, after the events that they have received already.
        """
        self._native.close()

    def _prepared(self, options: Any) -> dict[str, Any]:
        """The options of a call, with what holds for every call."""
        if self._provider is not None:
            self._provider.refuse_recursion()
        # Where nobody has imported OpenTelemetry, there is no current span.
        if "opentelemetry.trace" in modules:
            add_current_trace(options, self._propagate_baggage)
        given: dict[str, Any] = options
        return given

    def __repr__(self) -> str:
        name = type(self).__name__
        if not hasattr(self, "_native"):
            return f"{name}(not made)"
        if self.closed:
            return f"{name}(closed)"
        arn, qualifier = self._native.runtime_arn, self._native.qualifier
        return f"{name}({arn!r}, qualifier={qualifier!r})"


class AgentCoreClient(BaseClient):
    """Calls one agent runtime. Threads may share it; a forked process gets connections of its own.

    Nothing is looked up or connected before the first call. An argument beats the environment, with
    one exception: `AGENTCORE_LOCAL_URL` (a local agent, called without credentials) overrides even
    an explicit ARN, so that development needs no code change.

    Args:
        runtime_arn: The ARN of the runtime, or of its endpoint
            (`…:runtime/{id}/runtime-endpoint/{name}`, whose name then is the qualifier). Default:
            `AGENT_RUNTIME_ARN`.
        agent_id: In place of an ARN, together with `account_id` and a region.
        account_id: Twelve digits.
        qualifier: The runtime endpoint's name, which points to a version. Default:
            `AGENT_RUNTIME_QUALIFIER`, else the service takes `DEFAULT`.
        region: The region, where no ARN gives it. One that contradicts the ARN is refused.
        credentials: AWS credentials: `Credentials`, botocore's (frozen at each signing), or a
            callable that gives either. Default: `AGENTCORE_BEARER_TOKEN` if it is set, else the AWS
            default chain: environment, profiles and SSO, web identity, ECS, EC2.
        bearer_token: For a runtime with a JWT authorizer: a token, or a callable that gives one and
            is asked at every attempt.
        endpoint_url: Another base URL; the operation's path stays behind it. For proxies, gateways
            and the local data plane.
        invocation_url: The whole URL of the invocation, to which nothing is appended: a custom
            domain, with a bearer token; or an AWS Lambda function URL, which is signed for Lambda.
        local_url: A local agent container, e.g. `http://127.0.0.1:8080`, called unsigned.
        allow_http_hosts: Hosts besides loopback that may be called over plain http.
        timeouts: The time limits of every call.
        retry: When calls are sent again: `"default"` (only where they certainly did not run),
            `"never"`, or `"idempotent"` for an agent that may safely run twice.
        limits: Size limits.
        text_format: Which of an agent framework's shapes carries the text; found out otherwise.
        use_fips: Whether to use the FIPS endpoint. Default: `AWS_USE_FIPS_ENDPOINT`.
        use_dualstack: Whether to use the dual-stack endpoint. Default:
            `AWS_USE_DUALSTACK_ENDPOINT`.
        ca_bundle: A file of PEM certificates to trust in place of the system's. Default:
            `AWS_CA_BUNDLE`.
        proxy: An http proxy for https targets, `http://[user:password@]host:port`; an empty one
            switches the environment's off. Default: `HTTPS_PROXY`, with `NO_PROXY`.
        user_agent: Added to the `user-agent`, such as `my-service/1.2`.
        propagate_baggage: Whether OpenTelemetry's current baggage is sent along, too.

    Raises:
        InvalidInputError: If an argument breaks a rule; it names the argument.
    """

    __slots__ = ()

    def invoke(
        self, payload: Payload, *, session_id: str | None = None, **options: Unpack[InvokeOptions]
    ) -> InvokeResponse:
        """Asks the agent and waits for the whole answer. A streamed answer is collected.

        Args:
            payload: A dict, list, number, bool or `None` becomes JSON, a `str` a JSON string;
                `bytes`, `bytearray` and `memoryview` go as they are.
            session_id: The runtime session. Without one a new one is begun; the answer names it.
            **options: See `agentcore_client.types.InvokeOptions`: `user_id`, `headers`,
                `content_type`, `accept`, `traceparent`, `tracestate`, `baggage`, `x_amzn_trace_id`,
                `mcp_session_id`, `mcp_protocol_version`, `mcp_method`, `mcp_name`, `timeouts`,
                `retry`, `text_format`.

        Raises:
            AgentCoreError: Of every kind; an error that the agent reports inside its stream is one,
                too. `delivery` says whether the agent may have run.
        """
        given = self._prepared(options)
        return InvokeResponse(self._native.invoke(encode_payload(payload), session_id, given))

    def stream(
        self, payload: Payload, *, session_id: str | None = None, **options: Unpack[StreamOptions]
    ) -> AgentStream:
        """Asks the agent and gives its answer as it arrives, from its head on.

        Args:
            payload: As for `invoke`.
            session_id: As for `invoke`.
            **options: As for `invoke`, and `stop_on_close`: whether closing the stream before its
                end also stops the session.

        Raises:
            AgentCoreError: As `invoke`; what goes wrong after the head comes out of the stream.
        """
        stop = self._stop_quietly if asks_for_stop(options) else None
        given = self._prepared(options)
        native = self._native.stream(encode_payload(payload), session_id, given)
        return AgentStream(native, stop)

    def stop_session(self, session_id: str, **options: Unpack[StopOptions]) -> None:
        """Ends a session: its agent stops and its memory goes. The id stays valid, starting afresh.

        Args:
            session_id: The runtime session.
            **options: `timeouts` and `retry` for this call.

        Raises:
            ResourceNotFoundException: If no such session runs, or no longer.
            AgentCoreError: As `invoke`.
        """
        if self._provider is not None:
            self._provider.refuse_recursion()
        self._native.stop_session(session_id, dict(options))

    def _stop_quietly(self, session_id: str) -> None:
        """The stop behind a stream that was closed: whoever closes it must not fail over that."""
        try:
            self.stop_session(session_id)
        except AgentCoreError as error:
            emit("WARN", f"could not stop the session: {error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
