"""The relay by itself: its options, its hooks, and what it does with what is no event."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from agentcore_client import AgentCoreClient, Credentials, InvalidInputError
from agentcore_client.apigateway import Refused, WebSocketRelay

SECRET = "correct horse battery staple"
# Nothing here takes so long.
SOON = 60.0


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
        "claims_table": {"claims_table": "a table"},
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
