"""Who calls: AWS credentials or a bearer token, fixed or from a provider.

Providers are asked on the caller's thread, or by the event loop: never within native code, so that
a slow one stalls nobody else's call.
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context

from ._errors import CredentialsError, refused
from ._options import _point_in_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

    # access key, secret key, session token, expiry in seconds since 1970
    Frozen = tuple[str, str, str | None, float | None]


class Credentials:
    """AWS credentials.

    Args:
        access_key: The access key id.
        secret_key: The secret access key.
        token: The session token of temporary credentials.
        expires: When they expire: seconds since 1970 or an aware `datetime`. A provider is asked
            again some minutes before; without it, every 15 minutes.
    """

    __slots__ = ("access_key", "expires", "secret_key", "token")

    access_key: str
    secret_key: str
    token: str | None
    expires: float | None

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        token: str | None = None,
        *,
        expires: float | datetime | None = None,
    ) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token
        self.expires = _point_in_time("credentials.expires", expires)

    def __repr__(self) -> str:
        return "Credentials([redacted])"


class _Asking:
    """One time that a provider is asked. What it leaves running may outlive that."""

    __slots__ = ("is_over", "provider")

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.is_over = False


class Provider:
    """What the core asks for credentials or tokens."""

    __slots__ = ("_answer", "_is_async", "_needs_no_io")

    def __init__(
        self,
        answer: Callable[[], Any],
        *,
        is_async: bool = False,
        needs_no_io: Callable[[], bool] | None = None,
    ) -> None:
        self._answer = answer
        self._is_async = is_async
        self._needs_no_io = needs_no_io

    def is_asking(self) -> bool:
        """Whether the code that runs right now was called by this provider."""
        return any(one.provider is self and not one.is_over for one in _ASKING.get())

    def refuse_recursion(self) -> None:
        """A provider that calls the agent it is to authorise would wait for itself."""
        if self.is_asking():
            raise CredentialsError(
                "the credential or token provider uses the client that is asking it; give it a"
                " client with other credentials",
                delivery="not_sent",
            )

    def needs_no_io(self) -> bool:
        """Whether `ask` gives its answer at once, so that an event loop may call it."""
        try:
            return self._needs_no_io is not None and self._needs_no_io()
        except Exception:
            # `ask` will say what is wrong.
            return False

    def ask(self) -> Any:
        """The answer, on the caller's thread."""
        asking = _Asking(self)
        outer = _ASKING.set((*_ASKING.get(), asking))
        try:
            return _normal(_frozen(_not_awaitable(self._answer())))
        finally:
            asking.is_over = True
            _ASKING.reset(outer)

    async def ask_in(self, loop: AbstractEventLoop) -> Any:
        """The answer, in an event loop; whatever may block goes to its executor. For a task of its
        own."""
        asking = _Asking(self)
        _ASKING.set((*_ASKING.get(), asking))
        ask, blocks = self._answer, not self._is_async
        try:
            while True:
                answer = await _in_executor(loop, ask) if blocks else ask()
                if hasattr(answer, "__await__"):
                    answer = await answer
                freeze = getattr(answer, "get_frozen_credentials", None)
                if freeze is None:
                    return _normal(answer)
                # It may have to renew them first.
                ask, blocks = freeze, True
        finally:
            asking.is_over = True


async def _in_executor(loop: AbstractEventLoop, ask: Callable[[], Any]) -> Any:
    def outcome() -> tuple[Any, Exception | None]:
        # A future cannot hold a StopIteration: whoever awaited it would wait for ever.
        try:
            return ask(), None
        except Exception as error:
            return None, error

    answer, error = await loop.run_in_executor(None, copy_context().run, outcome)
    if error is not None:
        raise error
    return answer


# Which providers are being asked for the code that runs right now.
_ASKING: ContextVar[tuple[_Asking, ...]] = ContextVar("agentcore_client_asking", default=())


def native_auth(
    credentials: Any, bearer_token: Any, may_await: bool
) -> tuple[tuple[str, Any] | None, Provider | None]:
    """What the core is told about auth, and the provider that it will ask."""
    if credentials is not None and bearer_token is not None:
        raise refused(
            "auth", "credentials and a bearer token", "a runtime takes one kind; give one of them"
        )
    if bearer_token is not None:
        if isinstance(bearer_token, str):
            return ("bearer", bearer_token), None
        if callable(bearer_token):
            return _asked("bearer_token", "bearer_provider", bearer_token, may_await)
        kind = type(bearer_token).__name__
        raise TypeError(f"bearer_token must be a str or a callable, not {kind}")
    if credentials is None:
        return None, None
    if isinstance(credentials, Credentials):
        return ("credentials", _normal(credentials)), None
    # Asked for first: botocore's `access_key` may go and get one.
    freeze = getattr(credentials, "get_frozen_credentials", None)
    if freeze is not None or hasattr(credentials, "access_key"):
        # Kept and renewed by whoever owns it: frozen at each signing.
        refresh_needed = getattr(credentials, "refresh_needed", None)
        is_async = freeze is not None and _is_async(freeze)
        if is_async and not may_await:
            raise TypeError("credentials are async ones, which need AsyncAgentCoreClient")
        provider = Provider(
            lambda: credentials,
            is_async=is_async,
            needs_no_io=lambda: not is_async and (refresh_needed is None or not refresh_needed()),
        )
        return ("credentials_provider", provider), provider
    if callable(credentials):
        return _asked("credentials", "cached_credentials_provider", credentials, may_await)
    kind = type(credentials).__name__
    raise TypeError(
        "credentials must be an object with access_key, secret_key and token, or a callable that"
        f" gives one, not {kind}"
    )


def _asked(
    name: str, kind: str, source: Callable[[], Any], may_await: bool
) -> tuple[tuple[str, Provider], Provider]:
    is_async = _is_async(source)
    if is_async and not may_await:
        raise TypeError(f"{name} is an async function, which needs AsyncAgentCoreClient")
    provider = Provider(source, is_async=is_async)
    return (kind, provider), provider


def _is_async(source: Callable[[], Any]) -> bool:
    """Whether calling it only makes a coroutine, which blocks nobody."""
    coroutine_function = 0x80  # inspect.CO_COROUTINE, without importing inspect for its sake
    function = getattr(source, "__func__", source)
    code = getattr(function, "__code__", None) or getattr(
        getattr(type(source), "__call__", None),  # noqa: B004
        "__code__",
        None,
    )
    return bool(code is not None and code.co_flags & coroutine_function)


def _not_awaitable(answer: Any) -> Any:
    if not hasattr(answer, "__await__"):
        return answer
    # Or Python complains that nobody awaited it.
    close = getattr(answer, "close", None)
    if close is not None:
        close()
    raise TypeError("an async provider needs AsyncAgentCoreClient")


def _frozen(answer: Any) -> Any:
    freeze = getattr(answer, "get_frozen_credentials", None)
    return answer if freeze is None else _not_awaitable(freeze())


def _normal(frozen: Any) -> str | Frozen:
    if isinstance(frozen, str):
        return frozen
    try:
        return (
            frozen.access_key,
            frozen.secret_key,
            frozen.token,
            _point_in_time("credentials.expires", getattr(frozen, "expires", None)),
        )
    except AttributeError:
        kind = type(frozen).__name__
        raise TypeError(
            "a provider must give a token as a str, or an object with access_key, secret_key and"
            f" token, not {kind}"
        ) from None
