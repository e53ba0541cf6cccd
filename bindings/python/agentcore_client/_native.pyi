"""The native module. Private: import from `agentcore_client`."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, final

from ._loop import Waiter
from .types import StreamEnd

__all__ = [
    "AgentEvent",
    "Client",
    "PendingCall",
    "Question",
    "ReadyQueue",
    "Relay",
    "Response",
    "Stream",
    "__version__",
    "check_session_id",
    "derive_guessable_session_id",
    "derive_session_id",
    "generate_session_id",
    "hand_over",
    "invoke_policy",
    "parse_runtime_arn",
    "runtime_arn_of_agent",
]

_Outcome = TypeVar("_Outcome")

__version__: str

@final
class AgentEvent:
    """What an agent sent, one at a time.

    A server-sent event; or, of an answer in JSON, the one event with the whole value; or, of
    another content type, a chunk as it came, text cut only between characters.
    """

    @property
    def event(self) -> str | None:
        """The event's name, for server-sent events that have one."""
    @property
    def id(self) -> str | None:
        """The event's id, for server-sent events that have one."""
    @property
    def data(self) -> str | bytes:
        """The raw data: a `str`, or `bytes` of a chunk that is no text."""
    @property
    def text(self) -> str | None:
        """What the agent said in this event; `None` where it carries no text."""
    def to_sse(self) -> bytes | None:
        """The event in the form of a server-sent event, to pass it on; `None` for binary data."""
    def json(self) -> Any:
        """The data as JSON. Raises `ProtocolError` where it is none."""

@final
class Client:
    def __new__(
        cls, runtime_arn: str | None, auth: tuple[str, Any] | None, options: dict[str, Any]
    ) -> Client: ...
    def sibling(self, options: dict[str, Any]) -> Client: ...
    @property
    def runtime_arn(self) -> str | None: ...
    @property
    def qualifier(self) -> str | None: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def invoke(
        self, payload: bytes | str, session: str | None, options: dict[str, Any]
    ) -> Response: ...
    def stream(
        self, payload: bytes | str, session: str | None, options: dict[str, Any]
    ) -> Stream: ...
    def stop_session(self, session: str, options: dict[str, Any]) -> None: ...
    def start_invoke(
        self,
        queue: ReadyQueue,
        payload: bytes | str,
        session: str | None,
        options: dict[str, Any],
    ) -> PendingCall[Response]: ...
    def start_stream(
        self,
        queue: ReadyQueue,
        payload: bytes | str,
        session: str | None,
        options: dict[str, Any],
    ) -> PendingCall[Stream]: ...
    def start_stop_session(
        self, queue: ReadyQueue, session: str, options: dict[str, Any]
    ) -> PendingCall[bool]: ...
    def _panic(self) -> None: ...

@final
class PendingCall(Generic[_Outcome]):
    @property
    def token(self) -> int: ...
    def poll(self) -> Question | _Outcome | None: ...
    def abort(self) -> None: ...

@final
class Question:
    def answer(self, given: str | tuple[str, str, str | None, float | None]) -> None: ...
    def fail(self) -> None: ...

@final
class ReadyQueue:
    def __new__(cls) -> ReadyQueue: ...
    def fileno(self) -> int: ...

@final
class Relay:
    def __new__(cls, client: Client, options: dict[str, Any]) -> Relay: ...
    def handle(
        self,
        event: Any,
        remaining: float | None,
        function_arn: str | None,
        ask: Callable[[str, Any], Any] | None,
    ) -> dict[str, Any]: ...

@final
class Response:
    @property
    def session_id(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def body_length(self) -> int: ...
    @property
    def text(self) -> str | None: ...
    @property
    def end(self) -> str: ...
    def json(self) -> Any: ...

@final
class Stream:
    @property
    def session_id(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def end(self) -> StreamEnd | None: ...
    @property
    def events_seen(self) -> int: ...
    def next_events(self, taken: list[Iterator[Any]]) -> None: ...
    def next_bytes(self, taken: list[Iterator[Any]]) -> None: ...
    def take_events(
        self, queue: ReadyQueue, taken: list[Iterator[Any]], must_ask: bool
    ) -> int | None: ...
    def take_bytes(
        self, queue: ReadyQueue, taken: list[Iterator[Any]], must_ask: bool
    ) -> int | None: ...
    def rest(self) -> None: ...
    def close(self) -> None: ...

def hand_over(
    queue: ReadyQueue,
    waiting: dict[int, Waiter],
    within_this_turn: bool,
) -> None: ...
def generate_session_id() -> str: ...
def derive_session_id(secret: bytes, parts: list[str]) -> str: ...
def derive_guessable_session_id(parts: list[str]) -> str: ...
def check_session_id(id: str, rule: str) -> None: ...
def invoke_policy(arn: str, actions: list[str]) -> str: ...
def parse_runtime_arn(arn: str) -> tuple[str, str, str, str, str | None]: ...
def runtime_arn_of_agent(agent_id: str, account_id: str, region: str) -> str: ...
