"""Credentials and tokens from code of the user's. It is slow, fails, answers nonsense, or calls the
very client that asks it; and what it gives or raises is secret. None of that may stall anybody
else's call, hang, or show up in a message.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from agentcore_client import (
    AgentCoreClient,
    AgentCoreError,
    AsyncAgentCoreClient,
    Credentials,
    CredentialsError,
    RequestTimeoutError,
    Timeouts,
)
from agentcore_client.testing import LocalDataPlane
from botocore.credentials import Credentials as BotoCredentials
from botocore.credentials import DeferredRefreshableCredentials, RefreshableCredentials
from support import HANG, of_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HELLO = {"prompt": "Hi"}


@pytest.fixture(scope="module")
def bearer_process() -> Iterator[LocalDataPlane]:
    with LocalDataPlane(bearer=True) as plane:
        yield plane


@pytest.fixture
def tokens(bearer_process: LocalDataPlane) -> LocalDataPlane:
    """A data plane that takes tokens."""
    bearer_process.clear_journal()
    bearer_process.clear_faults()
    return bearer_process


@pytest.fixture
def plane(local_data_plane: LocalDataPlane) -> LocalDataPlane:
    return local_data_plane


def keys_of(plane: LocalDataPlane) -> Credentials:
    return Credentials(plane.access_key, plane.secret_key, plane.session_token)


def where(plane: LocalDataPlane) -> dict[str, Any]:
    return {"runtime_arn": plane.runtime_arn, "endpoint_url": plane.base_url}


def wrong(plane: LocalDataPlane) -> str:
    """A token with a signature that is none."""
    return plane.bearer_token[:-8] + "AAAAAAAA"


def sync_call(options: dict[str, Any]) -> None:
    with AgentCoreClient(**options) as client:
        assert client.invoke(HELLO).text == "You said: Hi."


def async_call(options: dict[str, Any]) -> None:
    async def main() -> None:
        async with AsyncAgentCoreClient(**options) as client:
            assert (await asyncio.wait_for(client.invoke(HELLO), HANG)).text == "You said: Hi."

    asyncio.run(main())


BOTH = pytest.mark.parametrize("call", [sync_call, async_call])


class Fails(Exception):
    pass


# -- who is asked, and how often -------------------------------------------------------------------


@BOTH
def test_callables_give_credentials_or_a_token(
    plane: LocalDataPlane, tokens: LocalDataPlane, call: Callable[[dict[str, Any]], None]
) -> None:
    call({**where(plane), "credentials": lambda: keys_of(plane)})
    boto = BotoCredentials(plane.access_key, plane.secret_key, plane.session_token)
    call({**where(plane), "credentials": lambda: boto})
    call({**where(plane), "credentials": boto})
    call({**where(tokens), "bearer_token": lambda: tokens.bearer_token})


def test_async_callables_give_credentials_or_a_token(
    plane: LocalDataPlane, tokens: LocalDataPlane
) -> None:
    async def credentials() -> Credentials:
        await asyncio.sleep(0.01)
        return keys_of(plane)

    async def boto() -> BotoCredentials:
        return BotoCredentials(plane.access_key, plane.secret_key, plane.session_token)

    async def token() -> str:
        await asyncio.sleep(0.01)
        return tokens.bearer_token

    async_call({**where(plane), "credentials": credentials})
    async_call({**where(plane), "credentials": lambda: credentials()})
    async_call({**where(plane), "credentials": boto})
    async_call({**where(tokens), "bearer_token": token})
    for given in ({"credentials": credentials}, {"credentials": lambda: credentials()}):
        with pytest.raises((TypeError, CredentialsError)) as raised:
            sync_call({**where(plane), **given})
        assert "AsyncAgentCoreClient" in str(raised.value.__cause__ or raised.value)


class AsyncBoto:
    """As aiobotocore has them."""

    def __init__(self, plane: LocalDataPlane) -> None:
        self.access_key = plane.access_key
        self.secret_key = plane.secret_key
        self.token = plane.session_token
        self._frozen = BotoCredentials(self.access_key, self.secret_key, self.token)

    async def get_frozen_credentials(self) -> Any:
        await asyncio.sleep(0)
        return self._frozen.get_frozen_credentials()


@pytest.mark.filterwarnings("error")
def test_credentials_that_freeze_asynchronously(plane: LocalDataPlane) -> None:
    async_call({**where(plane), "credentials": AsyncBoto(plane)})
    async_call({**where(plane), "credentials": lambda: AsyncBoto(plane)})
    with pytest.raises(TypeError, match="AsyncAgentCoreClient"):
        sync_call({**where(plane), "credentials": AsyncBoto(plane)})
    with pytest.raises(CredentialsError) as raised:
        sync_call({**where(plane), "credentials": lambda: AsyncBoto(plane)})
    assert "AsyncAgentCoreClient" in str(raised.value.__cause__)


def refreshable(plane: LocalDataPlane, asked: list[str]) -> RefreshableCredentials:
    def refresh() -> dict[str, Any]:
        asked.append(threading.current_thread().name)
        time.sleep(0.3)
        expires = datetime.now(timezone.utc) + timedelta(hours=1)
        return {
            "access_key": plane.access_key,
            "secret_key": plane.secret_key,
            "token": plane.session_token,
            "expiry_time": expires.isoformat(),
        }

    return DeferredRefreshableCredentials(refresh, "test")


def test_credentials_that_renew_themselves_are_left_alone_until_a_call(
    plane: LocalDataPlane,
) -> None:
    """Even to look at their attributes makes botocore's go and get some."""
    asked: list[str] = []
    client = AgentCoreClient(**where(plane), credentials=refreshable(plane, asked))
    assert asked == []
    assert client.invoke(HELLO).status == 200
    assert client.invoke(HELLO).status == 200
    assert len(asked) == 1
    client.close()


class Rotating:
    """Botocore's shape: frozen at each signing, other keys each time."""

    def __init__(self, keys: list[tuple[str, str]]) -> None:
        self._keys = iter(keys)
        self.access_key, self.secret_key, self.token = "not", "frozen", None

    def get_frozen_credentials(self) -> Credentials:
        return Credentials(*next(self._keys))


def test_kept_credentials_are_frozen_at_each_signing(plane: LocalDataPlane) -> None:
    good = (plane.access_key, plane.secret_key)
    rotating = Rotating([good, ("AKIAOTHER", "wrong"), good, (plane.access_key, "wrong"), good])
    verdicts: list[bool] = []
    with AgentCoreClient(**where(plane), credentials=rotating, retry="never") as client:
        for _ in range(5):
            try:
                client.invoke(HELLO)
            except AgentCoreError as error:
                assert error.status == 403
                verdicts.append(False)
            else:
                verdicts.append(True)
    assert verdicts == [True, False, True, False, True]
    assert [entry["accepted"] for entry in of_kind(plane, "auth")] == verdicts


def test_threads_share_one_look_up(plane: LocalDataPlane) -> None:
    asked: list[float] = []

    def credentials() -> Credentials:
        asked.append(time.monotonic())
        time.sleep(0.2)
        return keys_of(plane)

    with AgentCoreClient(**where(plane), credentials=credentials) as client:
        with ThreadPoolExecutor(20) as pool:
            done = [pool.submit(client.invoke, HELLO) for _ in range(20)]
            assert [one.result(HANG).status for one in done] == [200] * 20
    assert len(asked) == 1
    assert plane.count_posts() == 20


@pytest.mark.parametrize("is_async", [False, True])
def test_tasks_share_one_look_up(plane: LocalDataPlane, is_async: bool) -> None:
    asked: list[float] = []

    def credentials() -> Credentials:
        asked.append(time.monotonic())
        time.sleep(0.2)
        return keys_of(plane)

    async def async_credentials() -> Credentials:
        asked.append(time.monotonic())
        await asyncio.sleep(0.2)
        return keys_of(plane)

    async def main() -> None:
        source = async_credentials if is_async else credentials
        async with AsyncAgentCoreClient(**where(plane), credentials=source) as client:
            done = await asyncio.gather(*[client.invoke(HELLO) for _ in range(20)])
            assert [one.status for one in done] == [200] * 20

    asyncio.run(main())
    assert len(asked) == 1
    assert plane.count_posts() == 20


@BOTH
def test_a_token_is_asked_for_once_more_after_401(
    tokens: LocalDataPlane, call: Callable[[dict[str, Any]], None]
) -> None:
    asked: list[str] = []

    def token() -> str:
        asked.append("")
        return wrong(tokens) if len(asked) == 1 else tokens.bearer_token

    call({**where(tokens), "bearer_token": token})
    assert len(asked) == 2
    assert tokens.count_posts() == 2
    assert [entry["accepted"] for entry in of_kind(tokens, "auth")] == [False, True]


def test_a_token_that_stays_wrong_is_not_asked_for_again_and_again(tokens: LocalDataPlane) -> None:
    asked: list[str] = []

    def token() -> str:
        asked.append("")
        return wrong(tokens)

    with AgentCoreClient(**where(tokens), bearer_token=token) as client:
        with pytest.raises(AgentCoreError) as raised:
            client.invoke(HELLO)
    assert raised.value.status == 401
    assert (len(asked), tokens.count_posts()) == (2, 2)


# -- slow ones -------------------------------------------------------------------------------------


def test_a_slow_provider_stalls_nobody_else(plane: LocalDataPlane) -> None:
    """Other clients, other threads: they come and go while it sleeps."""
    asked = threading.Event()
    go_on = threading.Event()

    def credentials() -> Credentials:
        asked.set()
        assert go_on.wait(HANG)
        return keys_of(plane)

    slow = AgentCoreClient(**where(plane), credentials=credentials)
    other = AgentCoreClient(**plane.client_options())
    with ThreadPoolExecutor(1) as pool, slow, other:
        waiting = pool.submit(slow.invoke, HELLO)
        assert asked.wait(HANG)
        for _ in range(20):
            assert other.invoke(HELLO).status == 200
        assert not waiting.done()
        go_on.set()
        assert waiting.result(HANG).status == 200


@pytest.mark.parametrize(
    "kind", ["callable", "deferred", "callable_of_deferred", "async_of_deferred"]
)
def test_a_provider_that_blocks_does_not_block_the_loop(plane: LocalDataPlane, kind: str) -> None:
    """Each kind of them sleeps on a thread of the executor."""
    asked: list[str] = []
    deferred = refreshable(plane, asked)

    def blocks() -> Credentials:
        asked.append(threading.current_thread().name)
        time.sleep(0.3)
        return keys_of(plane)

    async def gives_deferred() -> RefreshableCredentials:
        return deferred

    source: Any = {
        "callable": blocks,
        "deferred": deferred,
        "callable_of_deferred": lambda: deferred,
        "async_of_deferred": gives_deferred,
    }[kind]

    async def main() -> None:
        async with AsyncAgentCoreClient(**where(plane), credentials=source) as client:
            assert (await client.invoke(HELLO)).status == 200
            assert (await client.invoke(HELLO)).status == 200

    asyncio.run(main())
    assert len(asked) == 1
    assert asked[0] != threading.main_thread().name, "it ran on the loop's thread"


def test_the_loop_goes_on_while_a_provider_blocks(plane: LocalDataPlane) -> None:
    ticked = threading.Event()

    def credentials() -> Credentials:
        # Comes only if the loop has turns meanwhile.
        assert ticked.wait(HANG)
        return keys_of(plane)

    async def main() -> None:
        async def tick() -> None:
            await asyncio.sleep(0.05)
            ticked.set()

        async with AsyncAgentCoreClient(**where(plane), credentials=credentials) as client:
            ticker = asyncio.create_task(tick())
            assert (await client.invoke(HELLO)).status == 200
            await ticker

    asyncio.run(main())


@pytest.mark.parametrize("what", ["credentials", "bearer_token"])
def test_a_provider_that_never_answers_meets_the_time_limit(
    plane: LocalDataPlane, what: str
) -> None:
    cancelled: list[bool] = []

    async def never() -> Any:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        limits = Timeouts(auth=0.1)
        options: dict[str, Any] = {**where(plane), what: never}
        async with AsyncAgentCoreClient(**options, timeouts=limits) as client:
            with pytest.raises(RequestTimeoutError) as raised:
                await asyncio.wait_for(client.invoke(HELLO), HANG)
            assert raised.value.limit == "auth"
            assert raised.value.delivery == "not_sent"
            await asyncio.sleep(0)
            assert cancelled == [True]

    asyncio.run(main())
    assert plane.count_posts() == 0


def test_a_call_may_be_cancelled_while_its_provider_is_asked(plane: LocalDataPlane) -> None:
    asked = 0
    cancelled: list[bool] = []

    async def credentials() -> Credentials:
        nonlocal asked
        asked += 1
        if asked == 1:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise
        return keys_of(plane)

    async def main() -> None:
        async with AsyncAgentCoreClient(**where(plane), credentials=credentials) as client:
            first = asyncio.create_task(client.invoke(HELLO))
            second = asyncio.create_task(client.invoke(HELLO))
            await asyncio.sleep(0.05)
            assert asked == 1
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            # Whoever waited for the same look-up does it again.
            assert (await asyncio.wait_for(second, HANG)).status == 200
            assert asked == 2
            assert cancelled == [True]

    asyncio.run(main())
    assert plane.count_posts() == 1


def test_a_call_may_be_cancelled_while_its_provider_is_asked_again(tokens: LocalDataPlane) -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            return wrong(tokens)
        if asked == 2:
            await asyncio.sleep(3600)
        return tokens.bearer_token

    async def main() -> None:
        async with AsyncAgentCoreClient(**where(tokens), bearer_token=token) as client:
            call = asyncio.create_task(client.invoke(HELLO))
            while asked < 2:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await client.invoke(HELLO)).status == 200

    asyncio.run(main())
    assert [entry["accepted"] for entry in of_kind(tokens, "auth")] == [False, True]


# -- failing ones ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("error", [Fails, StopIteration, ValueError, OSError, LookupError])
def test_what_a_provider_raises_is_the_cause(
    plane: LocalDataPlane, call: Callable[[dict[str, Any]], None], error: type[Exception]
) -> None:
    """A StopIteration is what an exhausted iterator of tokens raises; asyncio's futures choke
    on it."""

    def fails() -> Any:
        raise error("hunter2")

    for what in ("credentials", "bearer_token"):
        with pytest.raises(CredentialsError) as raised:
            call({**where(plane), what: fails})
        assert raised.value.delivery == "not_sent"
        cause = raised.value.__cause__
        if isinstance(cause, RuntimeError):
            cause = cause.__cause__  # PEP 479
        assert type(cause) is error
        assert "hunter2" not in str(raised.value) + repr(raised.value)
    assert plane.count_posts() == 0


def test_what_an_async_provider_raises_is_the_cause(plane: LocalDataPlane) -> None:
    async def fails() -> Any:
        await asyncio.sleep(0)
        raise Fails("hunter2")

    async def is_cancelled() -> Any:
        # By something of its own, not by whoever calls.
        raise asyncio.CancelledError

    for what in ("credentials", "bearer_token"):
        for source, cause in ((fails, Fails), (is_cancelled, asyncio.CancelledError)):
            with pytest.raises(CredentialsError) as raised:
                async_call({**where(plane), what: source})
            assert type(raised.value.__cause__) is cause


@BOTH
@pytest.mark.parametrize("garbage", [None, 7, b"bytes", object(), ("a", "b"), {"access_key": "x"}])
def test_garbage_is_refused_as_such(
    plane: LocalDataPlane, call: Callable[[dict[str, Any]], None], garbage: object
) -> None:
    for what in ("credentials", "bearer_token"):
        with pytest.raises(CredentialsError) as raised:
            call({**where(plane), what: lambda: garbage})
        assert isinstance(raised.value.__cause__, TypeError)
        assert type(garbage).__name__ in str(raised.value.__cause__)


@BOTH
def test_the_wrong_kind_of_answer_is_refused_as_such(
    plane: LocalDataPlane, call: Callable[[dict[str, Any]], None]
) -> None:
    with pytest.raises(CredentialsError) as raised:
        call({**where(plane), "credentials": lambda: "a-token-where-keys-belong"})
    assert isinstance(raised.value.__cause__, TypeError)
    with pytest.raises(CredentialsError) as raised:
        call({**where(plane), "bearer_token": lambda: Credentials("AKIAHUNTER2", "hunter2")})
    told = traceback.format_exception(raised.value)
    assert "hunter2" not in "".join(told).lower().replace('"akiahunter2", "hunter2"', "")
    with pytest.raises(CredentialsError):
        call({**where(plane), "credentials": lambda: Credentials("", "")})
    with pytest.raises(CredentialsError):
        call({**where(plane), "bearer_token": lambda: ""})


@BOTH
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_no_exception_goes_through(
    plane: LocalDataPlane,
    call: Callable[[dict[str, Any]], None],
    error: type[BaseException],
) -> None:
    def fails() -> Any:
        raise error

    for what in ("credentials", "bearer_token"):
        with pytest.raises(error):
            call({**where(plane), what: fails})
    assert plane.count_posts() == 0
    call(plane.client_options())


def test_an_async_provider_may_be_interrupted(plane: LocalDataPlane) -> None:
    async def fails() -> Any:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        async_call({**where(plane), "credentials": fails})


# -- providers that call agents themselves ---------------------------------------------------------


def test_a_provider_that_uses_its_own_client_is_refused(plane: LocalDataPlane) -> None:
    holder: list[AgentCoreClient] = []

    def credentials() -> Any:
        return holder[0].invoke(HELLO)

    for use_sibling in (False, True):
        with AgentCoreClient(**where(plane), credentials=credentials) as client:
            holder[:] = [client.with_options(retry="never") if use_sibling else client]
            with pytest.raises(CredentialsError) as raised:
                client.invoke(HELLO)
            assert isinstance(raised.value.__cause__, CredentialsError)
            assert "uses the client that is asking it" in str(raised.value.__cause__)
    assert plane.count_posts() == 0


@pytest.mark.parametrize("is_async", [False, True])
def test_an_async_client_is_no_way_around_that(plane: LocalDataPlane, is_async: bool) -> None:
    async def main() -> None:
        async def asks_itself() -> Any:
            return await client.invoke(HELLO)

        def asks_itself_elsewhere() -> Any:
            return asyncio.run(asks_itself())

        source = asks_itself if is_async else asks_itself_elsewhere
        async with AsyncAgentCoreClient(**where(plane), credentials=source) as client:
            with pytest.raises(CredentialsError) as raised:
                await asyncio.wait_for(client.invoke(HELLO), HANG)
            assert "uses the client that is asking it" in str(raised.value.__cause__)

    asyncio.run(main())
    assert plane.count_posts() == 0


def test_a_provider_may_use_another_client(plane: LocalDataPlane, tokens: LocalDataPlane) -> None:
    vault = AgentCoreClient(**plane.client_options())
    async_vault = AsyncAgentCoreClient(**plane.client_options())

    def token() -> str:
        assert vault.invoke(HELLO).status == 200
        return tokens.bearer_token

    async def async_token() -> str:
        assert (await async_vault.invoke(HELLO)).status == 200
        return tokens.bearer_token

    with vault:
        sync_call({**where(tokens), "bearer_token": token})
        async_call({**where(tokens), "bearer_token": token})
    async_call({**where(tokens), "bearer_token": async_token})
    async_vault.close()
    assert plane.count_posts() == tokens.count_posts() == 3


def test_what_a_provider_leaves_running_may_use_the_client_later(plane: LocalDataPlane) -> None:
    """Such as a task that it starts at the first call: it inherits the context in which the
    provider was asked, but not that it is being asked."""

    async def main() -> None:
        answered = asyncio.Event()
        later: list[asyncio.Task[Any]] = []

        async def use() -> int:
            await answered.wait()
            return (await client.invoke(HELLO)).status

        async def credentials() -> Credentials:
            later.append(asyncio.create_task(use()))
            return keys_of(plane)

        async with AsyncAgentCoreClient(**where(plane), credentials=credentials) as client:
            assert (await client.invoke(HELLO)).status == 200
            answered.set()
            assert await asyncio.wait_for(later[0], HANG) == 200

    asyncio.run(main())


# -- secrets ---------------------------------------------------------------------------------------

ACCESS, SECRET, SESSION = "AKIASHOULDNOTSHOW", "s3cr3t-sh0uld-n0t-sh0w", "s3ss10n-sh0uld-n0t-sh0w"
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzaG91bGQtbm90LXNob3cifQ.c2hvdWxkLW5vdC1zaG93"
SECRETS = (ACCESS, SECRET, SESSION, JWT, JWT.split(".")[1])


def test_secrets_show_nowhere(
    plane: LocalDataPlane, tokens: LocalDataPlane, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    logging.getLogger("agentcore_client").setLevel(1)
    keys = Credentials(ACCESS, SECRET, SESSION)
    told: list[str] = [repr(keys), str(keys)]

    def raises() -> Any:
        raise CredentialsError("no")

    ways: list[dict[str, Any]] = [
        {**where(plane), "credentials": keys},
        {**where(plane), "credentials": lambda: keys},
        {**where(plane), "credentials": BotoCredentials(ACCESS, SECRET, SESSION)},
        {**where(plane), "credentials": lambda: (ACCESS, SECRET)},
        {**where(plane), "credentials": lambda: JWT},
        {**where(plane), "credentials": raises},
        {**where(tokens), "bearer_token": JWT},
        {**where(tokens), "bearer_token": lambda: JWT},
        {**where(tokens), "bearer_token": lambda: f"Bearer {JWT}"},
        {**where(tokens), "bearer_token": lambda: f"{JWT}\n"},
        {**where(tokens), "bearer_token": lambda: keys},
        {**where(tokens), "bearer_token": lambda: JWT.encode()},
    ]
    refused: list[dict[str, Any]] = [
        {**where(tokens), "bearer_token": f"Bearer {JWT}"},
        {**where(tokens), "bearer_token": f"{JWT} "},
        {**where(tokens), "bearer_token": JWT, "credentials": keys},
        {**where(tokens), "bearer_token": JWT.encode()},
        {**where(plane), "credentials": (ACCESS, SECRET)},
        {**where(plane), "credentials": SECRET},
    ]

    def note(error: BaseException) -> None:
        seen: BaseException | None = error
        while seen is not None:
            told.extend([str(seen), repr(seen), repr(vars(seen))])
            seen = seen.__cause__ or seen.__context__

    for options in ways:
        client = AgentCoreClient(**options)
        told += [repr(client), str(client)]
        with pytest.raises(AgentCoreError) as raised:
            client.invoke(HELLO)
        note(raised.value)
        # The lines of this file are in a traceback, but not the values.
        told += traceback.format_exception(raised.value)
        client.close()

        async def main(options: dict[str, Any] = options) -> None:
            async with AsyncAgentCoreClient(**options) as client:
                with pytest.raises(AgentCoreError) as raised:
                    await client.invoke(HELLO)
                note(raised.value)

        asyncio.run(main())
    for options in refused:
        with pytest.raises((AgentCoreError, TypeError)) as refusal:
            AgentCoreClient(**options)
        note(refusal.value)
    told += [record.getMessage() for record in caplog.records]
    told += [repr(vars(record)) for record in caplog.records if record.name.startswith("agentcore")]
    for secret in SECRETS:
        shown = [text for text in told if secret in text]
        assert not shown, shown[0].replace(secret, "<a secret>")


@pytest.mark.parametrize("siblings", [0, 1, 3])
def test_a_provider_that_knows_its_client_is_collected_with_it(
    local_data_plane: LocalDataPlane, siblings: int
) -> None:
    class App:
        def __init__(self) -> None:
            endpoint = local_data_plane.client_options()["endpoint_url"]
            arn = local_data_plane.client_options()["runtime_arn"]
            self.client = AgentCoreClient(arn, endpoint_url=endpoint, bearer_token=self.token)
            self.siblings = [self.client.with_options(retry="never") for _ in range(siblings)]

        def token(self) -> str:
            return "token"

    app = App()
    gone = weakref.ref(app)
    gc.collect()
    assert gone() is app
    del app
    gc.collect()
    assert gone() is None
