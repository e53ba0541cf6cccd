"""The exceptions: one class for each kind of error, and one for each exception of the service."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Attempt:
    """One try of a call that was tried again, or that failed in the end.

    Attributes:
        kind: What went wrong in this try, e.g. `"Connect"`.
        delivery: Whether this try may have reached the agent.
        status: HTTP status, if there was an answer.
        service_code: The service's exception name, if it gave one.
        pause: Seconds waited before the next try; `None` for the last one.
    """

    __slots__ = ("delivery", "kind", "pause", "service_code", "status")

    def __init__(
        self,
        kind: str,
        delivery: str,
        status: int | None,
        service_code: str | None,
        pause: float | None,
    ) -> None:
        self.kind = kind
        self.delivery = delivery
        self.status = status
        self.service_code = service_code
        self.pause = pause

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in ("kind", "delivery", "status"))
        return f"Attempt({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        members = self.kind, self.delivery, self.status, self.service_code, self.pause
        return Attempt, members


class AgentCoreError(Exception):
    """Why a call failed, whether the agent may have run, and what to do next.

    The text is one line that never holds a credential, a token or a body.

    Attributes:
        kind: What went wrong, e.g. `"Timeout"`; the same word in every language.
        delivery: `"not_sent"`, `"rejected"` (the service says that it did not run), `"accepted"`
            (an answer began, or the agent itself failed) or `"unknown"` (it may have run: don't
            send it again unless the agent is idempotent).
        status: HTTP status of the answer, if there was one.
        service_code: The service's exception name, such as `"ThrottlingException"`.
        request_id: The service's request id; quote it to AWS support.
        session_id: The runtime session of the call, to go on or to stop it.
        retry_after: Seconds that the service asked to wait.
        attempts: Every try of the call, the last one included.
        field: The argument that was refused.
        limit: The time limit that passed, e.g. `"first_byte"`.
        events_seen: Events handed over before a stream broke.
        bytes_seen: Bytes of the answer received before it broke.
        agent_payload: What the agent sent when it reported its failure.
    """

    kind = "Internal"
    delivery: str
    status: int | None
    service_code: str | None
    request_id: str | None
    session_id: str | None
    retry_after: float | None
    attempts: tuple[Attempt, ...]
    field: str | None
    limit: str | None
    events_seen: int
    bytes_seen: int
    agent_payload: str | None

    def __init__(self, message: str, **members: Any) -> None:
        super().__init__(message)
        self.delivery = members.get("delivery") or "unknown"
        self.status = members.get("status")
        self.service_code = members.get("service_code")
        self.request_id = members.get("request_id")
        self.session_id = members.get("session_id")
        self.retry_after = members.get("retry_after")
        self.attempts = members.get("attempts") or ()
        self.field = members.get("field")
        self.limit = members.get("limit")
        self.events_seen = members.get("events_seen") or 0
        self.bytes_seen = members.get("bytes_seen") or 0
        self.agent_payload = members.get("agent_payload")

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process pools.
        return _rebuild, (type(self), str(self), self.__dict__)


class InvalidInputError(AgentCoreError, ValueError):
    """An argument broke a rule; nothing was sent. `field` names it."""

    kind = "InvalidInput"


class CredentialsError(AgentCoreError):
    """No credentials or token could be had; nothing was sent. One that the service refuses is a
    `ServiceError`, such as `UnauthorizedException`."""

    kind = "Credentials"


class ConnectError(AgentCoreError, ConnectionError):
    """No connection: name look-up, TCP, proxy or TLS. Nothing was sent."""

    kind = "Connect"


class RequestTimeoutError(AgentCoreError, TimeoutError):
    """A time limit passed; `limit` names it."""

    kind = "Timeout"


class ServiceError(AgentCoreError):
    """The service answered with an error. Its known exceptions have classes of their own."""

    kind = "Service"


class AgentError(AgentCoreError):
    """The agent itself failed: before its answer, or with an error inside its stream."""

    kind = "Agent"


class StreamInterruptedError(AgentCoreError):
    """The connection broke, before the answer or within it. `delivery` says whether one began;
    `session_id` and `events_seen` tell how to go on."""

    kind = "StreamInterrupted"


class TooLargeError(AgentCoreError):
    """An event, an answer or a payload passed its size limit."""

    kind = "TooLarge"


class ProtocolError(AgentCoreError):
    """The other side broke HTTP, or sent what was not asked for."""

    kind = "Protocol"


class ClosedError(AgentCoreError):
    """The client or stream was closed, or belongs to a process that this one forked off from."""

    kind = "Closed"


class InternalError(AgentCoreError):
    """A bug in this library, or a system that is out of resources."""

    kind = "Internal"


class AccessDeniedException(ServiceError):
    """The caller may not do this (403); the message names the IAM action and resources."""


class ConflictException(ServiceError):
    """The session is in a state that does not allow this (409)."""


class InternalServerException(ServiceError):
    """The service failed (500). The agent may have run."""


class ResourceNotFoundException(ServiceError):
    """No such runtime, endpoint or session (404)."""


class RetryableConflictException(ConflictException):
    """The session is being provisioned or changed (409); it was tried again in vain."""


class ServiceQuotaExceededException(ServiceError):
    """A quota of the account is used up (402)."""


class ThrottlingException(ServiceError):
    """Too many calls (429); `retry_after` may say how long to wait."""


class UnauthorizedException(ServiceError):
    """The token was refused (401)."""


class ValidationException(ServiceError):
    """The service refused the request's form (400)."""


class RuntimeClientError(AgentError):
    """The agent's container failed or refused the request (424)."""


_BY_KIND: dict[str, type[AgentCoreError]] = {
    cls.kind: cls
    for cls in (
        InvalidInputError,
        CredentialsError,
        ConnectError,
        RequestTimeoutError,
        ServiceError,
        AgentError,
        StreamInterruptedError,
        TooLargeError,
        ProtocolError,
        ClosedError,
        InternalError,
    )
}
_BY_CODE: dict[str, type[AgentCoreError]] = {
    cls.__name__: cls
    for cls in (
        AccessDeniedException,
        ConflictException,
        InternalServerException,
        ResourceNotFoundException,
        RetryableConflictException,
        RuntimeClientError,
        ServiceQuotaExceededException,
        ThrottlingException,
        UnauthorizedException,
        ValidationException,
    )
}


def from_native(kind: str, message: str, members: Mapping[str, Any]) -> AgentCoreError:
    """The exception for what the core reports."""
    of_kind = _BY_KIND[kind]
    of_code = _BY_CODE.get(members.get("service_code") or "", of_kind)
    # A code is only believed where its class is one of the kind: an agent may say what it likes.
    cls = of_code if issubclass(of_code, of_kind) else of_kind
    attempts = tuple(Attempt(*attempt) for attempt in members.get("attempts") or ())
    return cls(message, **{**members, "attempts": attempts})


def refused(field: str, shape: str, rule: str) -> InvalidInputError:
    """A refused argument, in the core's own form: field, the value's shape, the rule."""
    return InvalidInputError(f"{field}: {shape}; {rule}", delivery="not_sent", field=field)


def not_json(what: str, cause: ValueError) -> ProtocolError:
    """An answer or event that is not the JSON that was asked for."""
    message = f"{what} is not the JSON that was asked for: {cause}"
    return ProtocolError(message, delivery="accepted")


def _rebuild(cls: type[AgentCoreError], message: str, members: dict[str, Any]) -> AgentCoreError:
    error = cls(message)
    error.__dict__.update(members)
    return error
