"""The Lambda function behind an API Gateway WebSocket API, as a whole.

    from agentcore_client import AgentCoreClient
    from agentcore_client.apigateway import WebSocketRelay

    relay = WebSocketRelay(AgentCoreClient(), secret=os.environ["AGENTCORE_RELAY_SECRET"])
    handler = relay.handle

A message `{"prompt": "Hi", "conversation": "c1"}` comes in, the agent is asked, and its answer goes
out to the socket while it arrives, as JSON frames: `start`, `delta`, `end`, or `error`. The Rust
module `agentcore_client::apigateway` describes all of them, and how the relay behaves.
"""

from __future__ import annotations

from ._client import AgentCoreClient
from ._errors import AgentCoreError
from ._logging import emit
from ._native import Relay
from ._options import _seconds, encode_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from typing import Any, Literal

    from .types import Payload

__all__ = ["Message", "Refused", "WebSocketRelay"]


class Refused(Exception):
    """Raised by a hook for a message that is not wanted. Its text is shown to the client."""


class Message:
    """A message on its way to the agent, for a payload hook.

    Attributes:
        body: What the client sent, as JSON.
        connection_id: The socket.
        principal: Who sent it, where the relay knows that.
        conversation: The conversation that the client named.
        session_id: The runtime session that will answer.
    """

    __slots__ = ("body", "connection_id", "conversation", "principal", "session_id")

    body: Any
    connection_id: str
    principal: str | None
    conversation: str | None
    session_id: str

    def __init__(self, **members: Any) -> None:
        for name in self.__slots__:
            setattr(self, name, members[name])

    def __repr__(self) -> str:
        return f"Message(connection_id={self.connection_id!r}, session_id={self.session_id!r})"


class WebSocketRelay:
    """The function behind a WebSocket API. Made once, when the function starts.

    Args:
        client: Calls the agent. With AWS credentials it also signs what goes to API Gateway and
            Lambda; with a bearer token, the function's own role does.
        secret: What sessions, tokens and second-stage events are sealed with: at least 16 random
            bytes, the same in every copy of the function. Default: `AGENTCORE_RELAY_SECRET`.
        allowed_origins: The origins whose pages may connect, such as `https://chat.example.com`;
            others get 403, and so does who sends none. Without this, every page may.
        subprotocols: The subprotocols that are taken up when a client offers one.
        routes: The route keys whose messages go to the agent. Default: `$default` alone.
        principal: Who sends a message: the name of a member of what the API's authorizer said, such
            as `"principalId"`, or a callable that finds it in the event; a message without one is
            refused. It must tell users apart, since who has the same principal can name the same
            conversations. By default nobody is known, and a connection has conversations of its
            own.
        payload: Makes the agent's payload of a message: `payload(body, message)`. Default:
            `{"prompt": …}`.
        claims_table: A DynamoDB table, of the relay's region, that keeps a second-stage event from
            being answered twice, whichever copy of the function it comes to: its key is `nonce`, a
            text, and `expires` may be its time to live. The function needs `dynamodb:PutItem` on
            it. Without it, or a `claim`, a rare duplicate is possible.
        claim: In place of a table: says whether a second-stage event comes for the first time, by
            its number: `claim(nonce)`, `True` once for all copies of the function, else `False`.
            No hook is a coroutine function.
        format: `"json"` for frames, or `"text"` for the agent's text alone.
        end_marker: What `"text"` ends with when the answer is complete.
        forward_events: Whether events without text are passed on, too, such as those of tools.
        heartbeat: How long the relay may be silent, in seconds; a client that has left is noticed
            this soon. Default: 5.
        margin: How long before the function's time is up an answer is cut, to end it properly, in
            seconds. Default: 5, and at most half of the time that there is.
        second_stage: Whether a second, asynchronous invocation of the function relays the answer,
            since API Gateway waits no longer than 29 seconds: `"auto"` (in Lambda), `"always"` or
            `"never"`.
        resume_lifetime: How long a `resume` token is good, in seconds. Default: 8 hours.
        anyone_resumes: Whether who holds a `resume` token of somebody unknown may go on with it.
            Otherwise such tokens are tied to their connection.
        trust_client_session_ids: Whether clients may name runtime sessions, as `sessionId`; ids
            that the service would refuse are derived into good ones. Whoever guesses an id is in
            its session.
        region: The API's region. Default: `AWS_REGION`, else the runtime's.
        endpoint_url: Where `/@connections` is, such as `https://ws.example.com/chat` for a custom
            domain; the stage is not added.

    Raises:
        InvalidInputError: If an argument breaks a rule; it names the argument.
    """

    __slots__ = ("_claim", "_native", "_payload", "_principal")

    def __init__(
        self,
        client: AgentCoreClient,
        *,
        secret: str | bytes | None = None,
        allowed_origins: Sequence[str] | None = None,
        subprotocols: Sequence[str] | None = None,
        routes: Sequence[str] | None = None,
        principal: str | Callable[[dict[str, Any]], str | None] | None = None,
        payload: Callable[[Any, Message], Payload] | None = None,
        claims_table: str | None = None,
        claim: Callable[[str], bool] | None = None,
        format: Literal["json", "text"] = "json",
        end_marker: str | None = None,
        forward_events: bool = False,
        heartbeat: float | timedelta | None = None,
        margin: float | timedelta | None = None,
        second_stage: Literal["auto", "always", "never"] = "auto",
        resume_lifetime: float | timedelta | None = None,
        anyone_resumes: bool = False,
        trust_client_session_ids: bool = False,
        region: str | None = None,
        endpoint_url: str | None = None,
    ) -> None:
        if not isinstance(client, AgentCoreClient):
            raise TypeError(f"client must be an AgentCoreClient, not {type(client).__name__}")
        for name, hook in (("payload", payload), ("claim", claim)):
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} must be a callable, not {type(hook).__name__}")
        if format not in ("json", "text"):
            raise ValueError('format must be "json" or "text"')
        self._payload = payload
        self._claim = claim
        self._principal = principal if callable(principal) else None
        options: dict[str, Any] = {
            "secret": secret,
            "allowed_origins": allowed_origins,
            "subprotocols": subprotocols,
            "routes": routes,
            "principal": None if callable(principal) else principal,
            "asks_principal": callable(principal),
            "asks_payload": payload is not None,
            "claims_table": claims_table,
            "asks_claim": claim is not None,
            "plain_text": format == "text",
            "end_marker": end_marker,
            "forward_events": forward_events,
            "heartbeat": _seconds("heartbeat", heartbeat),
            "margin": _seconds("margin", margin),
            "second_stage": second_stage,
            "resume_lifetime": _seconds("resume_lifetime", resume_lifetime),
            "anyone_resumes": anyone_resumes,
            "trust_client_session_ids": trust_client_session_ids,
            "region": region,
            "endpoint_url": endpoint_url,
        }
        given = {name: value for name, value in options.items() if value is not None}
        self._native = Relay(client._native, given)

    def handle(self, event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
        """Handles one event of the API, or of the relay's own second stage.

        It raises nothing: what goes wrong is in the response for the gateway, in an error frame for
        the client, and in the log.

        Args:
            event: The event as Lambda hands it over.
            context: Lambda's own, for the time that is left and the function's ARN.
        """
        left = getattr(context, "get_remaining_time_in_millis", None)
        arn = getattr(context, "invoked_function_arn", None)
        ask = self._asker(event)
        try:
            response: dict[str, Any] = self._native.handle(
                event, None if left is None else left() / 1000, arn, ask
            )
        except AgentCoreError as error:
            emit("ERROR", f"the relay failed: {error}")
        except Exception as error:
            emit("ERROR", f"the relay failed: {type(error).__name__}")
        else:
            return response
        # Lambda would run a second stage again that raised.
        return {"statusCode": 500}

    def _asker(self, event: Any) -> Callable[[str, Any], Any] | None:
        if self._payload is None and self._principal is None and self._claim is None:
            return None

        def ask(kind: str, told: Any) -> Any:
            try:
                if kind == "payload" and self._payload is not None:
                    message = Message(**told)
                    return encode_payload(self._payload(message.body, message))
                if kind == "principal" and self._principal is not None:
                    return _principal_of(self._principal(event))
                if kind == "claim" and self._claim is not None:
                    return _flag_of(self._claim(told))
            except Refused as refused:
                return (str(refused),)
            except Exception as error:
                # Its text may hold what a client sent; where it was raised says enough.
                emit("ERROR", f"the {kind} hook failed: {_told(error)}")
                raise
            return None

        return ask

    def __repr__(self) -> str:
        return "WebSocketRelay()"


def _principal_of(found: Any) -> str | None:
    if found is None:
        return None
    if not isinstance(found, str):
        raise TypeError(f"principal must give a str or None, not {type(found).__name__}")
    # Raises where it is no text that could be hashed, such as half of a surrogate pair.
    found.encode()
    return found


def _flag_of(said: Any) -> bool:
    # A coroutine that nobody awaits is true as well, and would let every event through.
    if not isinstance(said, bool):
        raise TypeError(f"claim must give True or False, not {type(said).__name__}")
    return said


def _told(error: Exception) -> str:
    at, line = error.__traceback__, 0
    where = ""
    while at is not None:
        where, line = at.tb_frame.f_code.co_filename, at.tb_lineno
        at = at.tb_next
    return f"{type(error).__name__} at {where}:{line}"
