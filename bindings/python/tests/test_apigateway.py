"""The relay: as a function behind the local gateway, over real sockets; and by itself."""

from __future__ import annotations

import asyncio
import json
import logging
import runpy
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import websockets
from agentcore_client import AgentCoreClient, Credentials, InvalidInputError
from agentcore_client.apigateway import Refused, WebSocketRelay
from agentcore_client.testing import LocalDataPlane

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
BOOTSTRAP = HERE.parents[2] / "examples/lambda-websocket/local/bootstrap.py"
SECRET = "correct horse battery staple"
# Nothing here takes so long.
SOON = 60.0


@contextmanager
def gateway(*flags: str) -> Iterator[LocalDataPlane]:
    arguments = [
        *("--handler", f'"{sys.executable}" "{BOOTSTRAP}"'),
        *("--handler-env", f"LAMBDA_TASK_ROOT={HERE / 'relay'}"),
        *("--handler-env", f"PYTHONPATH={HERE.parent}"),
        *("--handler-env", "PYTHONDONTWRITEBYTECODE=1"),
        # Both may try; the function decides.
        *("--allow-origin", "http://localhost", "--allow-origin", "https://evil.example"),
        *flags,
    ]
    with LocalDataPlane(args=arguments) as plane:
        yield plane


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalDataPlane]:
    with gateway("--integration-timeout-ms", "20000", "--concurrency", "8") as plane:
        yield plane


class Socket:
    """A client of the frame protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def frame(self) -> dict[str, Any]:
        return json.loads(await asyncio.wait_for(self.socket.recv(), SOON))

    async def ask(self, **message: object) -> list[dict[str, Any]]:
        """All frames of the answer, but heartbeats."""
        await self.send(**message)
        return await self.rest()

    async def rest(self) -> list[dict[str, Any]]:
        frames = []
        while True:
            frame = await self.frame()
            if frame["type"] != "heartbeat":
                frames.append(frame)
            if frame["type"] in ("end", "error", "continue"):
                return frames


def connect(plane: LocalDataPlane, origin: str | None = "http://localhost") -> Any:
    url = plane.base_url.replace("http", "ws") + "/local"
    return websockets.connect(url, origin=origin, open_timeout=SOON, proxy=None, max_size=None)


def text(frames: list[dict[str, Any]]) -> str:
    return "".join(frame.get("text", "") for frame in frames)


def stream(tokens: int, delay_ms: int = 5) -> dict[str, object]:
    return {"mode": "stream", "tokens": tokens, "delay_ms": delay_ms}


def test_a_hundred_sockets_get_every_token_once_and_in_order(shared: LocalDataPlane) -> None:
    expected = "".join(f"token{number} " for number in range(20))

    async def one() -> None:
        async with connect(shared) as socket:
            frames = await Socket(socket).ask(ask=stream(20), id="m")
            assert [frame["seq"] for frame in frames] == list(range(len(frames)))
            assert frames[0]["type"] == "start"
            assert frames[-1] == {**frames[-1], "type": "end", "state": "complete"}
            assert {frame["id"] for frame in frames} == {"m"}
            assert text(frames) == expected

    async def all_of_them() -> None:
        await asyncio.gather(*[one() for _ in range(100)])

    before = shared.count_posts()
    asyncio.run(all_of_them())
    assert shared.count_posts() - before == 100


def test_a_socket_that_is_killed_ends_its_own_invocation(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as first, connect(shared) as second:
            stays, goes = Socket(first), Socket(second)
            await stays.send(ask=stream(60, 50), id="stays")
            await goes.send(ask=stream(100_000, 50), id="goes")
            while (await goes.frame())["type"] != "delta":
                pass
            since = shared.journal()[-1]["seq"]
            second.transport.abort()
            await asyncio.to_thread(
                shared.wait_for,
                lambda e: e["kind"] == "disconnect" and e["seq"] > since,
                SOON,
            )
            frames = await stays.rest()
            assert frames[-1]["type"] == "end"
            assert text(frames) == "".join(f"token{number} " for number in range(60))

    asyncio.run(talk())


def test_a_large_answer_arrives_whole(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            frames = await Socket(socket).ask(
                ask={"mode": "stream", "tokens": 25_000, "delay_ms": 0}
            )
            expected = "".join(f"token{number} " for number in range(25_000))
            assert len(expected) > 200 << 10
            assert text(frames) == expected

    asyncio.run(talk())


def test_an_answer_may_take_longer_than_the_gateway_waits() -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async with connect(plane) as socket:
            frames = await Socket(socket).ask(ask=stream(30, 100))
            assert text(frames) == "".join(f"token{number} " for number in range(30))

    with gateway("--integration-timeout-ms", "1500") as plane:
        asyncio.run(talk(plane))
        kinds = [entry.get("trigger") for entry in plane.journal()]
        assert "event" in kinds


def test_an_event_that_comes_twice_runs_once() -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async with connect(plane) as socket:
            await Socket(socket).ask(ask=stream(3))
            since = plane.journal()[-1]["seq"]
            plane._control("POST", "redeliver", {})
            await asyncio.to_thread(
                plane.wait_for,
                lambda e: e["kind"] == "function_ended" and e["seq"] > since,
                SOON,
            )

    # In one process, which remembers.
    with gateway("--concurrency", "1") as plane:
        asyncio.run(talk(plane))
        assert plane.count_posts() == 1


def test_nobody_gets_into_another_s_session(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as first, connect(shared) as second:
            mine, other = Socket(first), Socket(second)
            start, *_ = await mine.ask(prompt="my name is Ada", conversation="1")
            assert "Ada" in text(await mine.ask(prompt="who am I?", conversation="1"))
            assert "Ada" not in text(await other.ask(prompt="who am I?", conversation="1"))
            frames = await other.ask(prompt="and I?", resume=start["resume"])
            assert frames[0]["resumed"] is False
            assert "Ada" not in text(frames)
            frames = await mine.ask(prompt="and I?", resume=start["resume"])
            assert frames[0]["resumed"] is True
            assert "Ada" in text(frames)

    asyncio.run(talk())


def test_a_token_leads_back_after_a_reload_where_that_is_allowed() -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async with connect(plane) as socket:
            start, *_ = await Socket(socket).ask(prompt="my name is Ada")
        async with connect(plane) as socket:
            frames = await Socket(socket).ask(prompt="who am I?", resume=start["resume"])
            assert frames[0]["resumed"] is True
            assert "Ada" in text(frames)

    with gateway("--handler-env", "ANYONE_RESUMES=1") as plane:
        asyncio.run(talk(plane))


def test_what_is_wrong_is_said(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            client = Socket(socket)
            before = shared.count_posts()

            async def code(message: str | bytes) -> tuple[str, str]:
                await socket.send(message)
                frame = await client.frame()
                assert frame["type"] == "error", frame
                return frame["code"], frame["message"]

            assert await code("no JSON") == ("invalid_message", "the message is not JSON")
            assert (await code("{}"))[0] == "internal"  # the hook's KeyError
            assert await code(json.dumps({"refuse": 1})) == ("refused", "not today")
            assert await code(json.dumps({"fail": 1})) == ("internal", "the relay failed")
            assert (await code(json.dumps({"prompt": "a", "sessionId": "x"})))[0] == (
                "invalid_message"
            )
            assert (await code(b"\xff"))[0] == "invalid_message"
            await client.send(type="ping")
            assert await client.frame() == {"type": "pong"}
            assert shared.count_posts() == before

    asyncio.run(talk())


def test_pages_of_other_origins_cannot_connect(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        for origin in ("https://evil.example", None):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with connect(shared, origin):
                    pass
            assert refused.value.response.status_code == 403

    asyncio.run(talk())


def test_a_failing_agent_is_told_of_by_code(shared: LocalDataPlane) -> None:
    async def talk() -> None:
        async with connect(shared) as socket:
            frames = await Socket(socket).ask(ask={"mode": "error", "message": "hunter2"})
            assert frames[-1]["code"] == "agent_error"
            assert frames[-1]["delivery"] == "accepted"
            assert "hunter2" not in json.dumps(frames)

    asyncio.run(talk())


# -- by itself -------------------------------------------------------------------------------------


def client(**options: Any) -> AgentCoreClient:
    arn = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-0123456789"
    # Nobody listens there.
    given = {"credentials": Credentials("a", "b"), "endpoint_url": "http://127.0.0.1:9"}
    return AgentCoreClient(arn, **{**given, **options})


def relay(**options: Any) -> WebSocketRelay:
    given = {"secret": SECRET, "endpoint_url": "http://127.0.0.1:9"}
    return WebSocketRelay(client(), **{**given, **options})


def event(**context: object) -> dict[str, Any]:
    about = {"routeKey": "$connect", "apiId": "a", "stage": "s", "connectionId": "c="}
    return {"requestContext": {**about, **context}, "headers": {"Origin": "https://a.example"}}


def test_options_are_checked_by_name() -> None:
    for field, options in {
        "secret": {"secret": "short"},
        "heartbeat": {"heartbeat": 0},
        "allowed_origins": {"allowed_origins": ["a.example"]},
        "second_stage": {"second_stage": "sometimes"},
        "endpoint_url": {"endpoint_url": "ftp://a"},
        "region": {"region": "nowhere"},
    }.items():
        with pytest.raises(InvalidInputError) as refused:
            relay(**options)
        assert refused.value.field == field
    for options in ({"payload": 1}, {"secret": 1}, {"allowed_origins": "https://a"}, {"claim": ""}):
        with pytest.raises(TypeError):
            relay(**options)
    with pytest.raises(TypeError):
        relay(no_such=1)
    with pytest.raises(TypeError):
        WebSocketRelay(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="format"):
        relay(format="xml")
    assert SECRET not in repr(relay())


def test_the_secret_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError):
        relay(secret=None)
    monkeypatch.setenv("AGENTCORE_RELAY_SECRET", SECRET)
    relay(secret=None)


def test_a_handshake_needs_no_network() -> None:
    ours = relay(allowed_origins=["https://a.example"], subprotocols=["chat"])
    assert ours.handle(event()) == {"statusCode": 200}
    offering = event()
    offering["headers"]["Sec-WebSocket-Protocol"] = "x, chat"
    assert ours.handle(offering)["headers"] == {"Sec-WebSocket-Protocol": "chat"}
    assert relay(allowed_origins=[]).handle(event())["statusCode"] == 403
    assert ours.handle(event(routeKey="$disconnect")) == {"statusCode": 200}


def test_no_exception_leaves_it(caplog: pytest.LogCaptureFixture) -> None:
    deep: Any = None
    for _ in range(500):
        deep = [deep]
    for strange in (None, 1, [], {}, {1: 2}, {"requestContext": 1}, {"a": object()}, {"a": deep}):
        assert relay().handle(strange)["statusCode"] == 400  # type: ignore[arg-type]
    closed = client()
    ours = WebSocketRelay(closed, secret=SECRET)
    closed.close()
    caplog.set_level(logging.ERROR)
    assert ours.handle(event()) == {"statusCode": 500}
    assert "closed" in caplog.text


def message(body: object) -> dict[str, Any]:
    return {**event(routeKey="$default", messageId="m"), "body": json.dumps(body)}


class Context:
    """Lambda's, with little time left: nothing waits for the socket that is not there."""

    def get_remaining_time_in_millis(self) -> int:
        return 2000


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_hooks_run_on_the_caller_s_thread_and_may_refuse(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    def payload(body: Any, about: Any) -> Any:
        seen.append((body, about))
        raise Refused("no")

    ours = relay(principal=lambda given: given["requestContext"]["stage"], payload=payload)
    given = message({"a": [1, 2.5, True, None, "é"], "conversation": "c1"})
    response = ours.handle(given, Context())
    assert response["statusCode"] == 400
    assert json.loads(response["body"]) == {"code": "refused", "message": "no"}
    [(body, about)] = seen
    assert body == {"a": [1, 2.5, True, None, "é"], "conversation": "c1"}
    assert (about.principal, about.conversation, about.connection_id) == ("s", "c1", "c=")

    assert relay(principal=lambda _: None).handle(given, Context())["statusCode"] == 401
    assert relay(principal="sub").handle(given, Context())["statusCode"] == 401
    caplog.clear()
    failing = relay(payload=lambda body, _: body["hunter2"])
    assert failing.handle(given, Context())["statusCode"] == 500
    assert "KeyError" in caplog.text and "hunter2" not in caplog.text

    async def later(*_: object) -> Any:
        return True

    for unfit in (
        {"payload": lambda *_: object()},
        {"payload": later},
        {"principal": lambda _: 7},
        {"principal": lambda _: ("a", "b")},
        {"principal": lambda _: "\ud800"},
        {"principal": later},
    ):
        caplog.clear()
        response = relay(**unfit).handle(given, Context())
        # With a body, so the client was told, too.
        assert json.loads(response["body"])["code"] == "internal", unfit
        assert "hook failed" in caplog.text


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_only_true_claims_an_event(caplog: pytest.LogCaptureFixture) -> None:
    async def later(nonce: str) -> bool:
        raise AssertionError

    for said in (later, lambda _: None, lambda _: 1, lambda _: {"Attributes": {}}):
        caplog.clear()
        with pytest.raises(TypeError, match="True or False"):
            relay(claim=said)._asker(event())("claim", "nonce")  # type: ignore[misc]
        assert "claim hook failed" in caplog.text
    for flag in (True, False):
        ask = relay(claim=lambda _, flag=flag: flag)._asker(event())
        assert ask is not None and ask("claim", "nonce") is flag


def test_an_interrupt_gets_through() -> None:
    def payload(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        relay(payload=payload).handle(message({"prompt": "Hi"}), Context())


def test_it_ends_in_time() -> None:
    begun = time.monotonic()
    ours = relay(second_stage="never")
    assert ours.handle(message({"prompt": "Hi"}), Context()) == {"statusCode": 200}
    assert time.monotonic() - begun < SOON / 2


def test_importing_it_imports_little() -> None:
    from test_import import HEAVY, imported

    program = """
        from agentcore_client import AgentCoreClient, Credentials
        from agentcore_client.apigateway import WebSocketRelay
        arn = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-0123456789"
        relay = WebSocketRelay(AgentCoreClient(arn), secret="0123456789abcdef")
        relay.handle({})
    """
    assert not imported(program) & HEAVY


def test_the_example_claims_each_event_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(Exception):
        pass

    class Table:
        exceptions = type("exceptions", (), {"ConditionalCheckFailedException": Taken})
        numbers: ClassVar[set[str]] = set()

        def put_item(self, **put: Any) -> None:
            assert put["ConditionExpression"] == "attribute_not_exists(nonce)"
            number = put["Item"]["nonce"]["S"]
            if number in self.numbers:
                raise Taken
            self.numbers.add(number)

    example = HERE.parents[2] / "examples/lambda-websocket/python"
    monkeypatch.syspath_prepend(str(example))
    arn = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/my_agent-0123456789"
    monkeypatch.setenv("AGENT_RUNTIME_ARN", arn)
    monkeypatch.setenv("AGENTCORE_RELAY_SECRET", SECRET)
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://a.example")
    without = runpy.run_path(str(example / "handler.py"))
    assert without["relay"]._claim is None
    monkeypatch.setenv("CLAIMS_TABLE", "claims")
    claim = runpy.run_path(str(example / "handler.py"))["relay"]._claim
    monkeypatch.setitem(claim.__globals__, "table", Table)
    assert [claim("a"), claim("a"), claim("b")] == [True, False, True]
