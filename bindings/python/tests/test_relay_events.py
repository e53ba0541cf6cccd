"""The relay's function as somebody else invokes it: with events that come twice, or are forged."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
import pytest
from agentcore_client.testing import LocalDataPlaneError
from relay_support import EXAMPLE, Socket, connect, gateway, journaled, last, stream, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentcore_client.testing import LocalDataPlane


def invoke(plane: LocalDataPlane, event: object, kind: str = "RequestResponse") -> dict[str, Any]:
    """What the function returns; of an asynchronous event, its request id."""
    payload = json.dumps(event).encode()
    function = boto3.client("lambda", **plane.boto3_options())
    answer = function.invoke(FunctionName="relay", InvocationType=kind, Payload=payload)
    if kind == "Event":
        return {"request_id": answer["ResponseMetadata"]["RequestId"]}
    assert "FunctionError" not in answer
    returned: dict[str, Any] = json.load(answer["Payload"])
    return returned


# -- twice -----------------------------------------------------------------------------------------


async def ask_twice(plane: LocalDataPlane, message: dict[str, Any]) -> None:
    """Delivers the second-stage event again while the answer is under way: to another process."""
    async with connect(plane) as socket:
        client = Socket(socket)
        await client.send(**message)
        while (await client.frame())["type"] != "delta":
            pass
        plane.redeliver()
        begun = await journaled(plane, 0, kind="function_started", trigger="event")
        run = {"kind": "function_ended", "request_id": begun["request_id"]}
        first = await journaled(plane, 0, **run)
        await journaled(plane, first["seq"], **run)
        outcomes = [e["outcome"] for e in plane.journal() if e["kind"] == "function_ended"]
        assert set(outcomes) == {"ok"}
        # Nobody has read the rest.
        socket.transport.abort()


def test_a_process_knows_an_event_again() -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async with connect(plane) as socket:
            await Socket(socket).ask(ask=stream(3))
            since = last(plane)
            plane.redeliver()
            await journaled(plane, since, kind="function_ended")

    with gateway("--concurrency", "1") as plane:
        with pytest.raises(LocalDataPlaneError, match="no such event"):
            plane.redeliver()
        asyncio.run(talk(plane))
        assert plane.count_posts() == 1


def test_a_claim_stops_the_second_delivery(tmp_path: Path) -> None:
    with gateway(CLAIMS=tmp_path) as plane:
        asyncio.run(ask_twice(plane, {"ask": stream(100, 20)}))
        assert plane.count_posts() == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_claim_another_process_asks_the_agent_again() -> None:
    # Not what anybody wants, but what the documentation says.
    with gateway() as plane:
        asyncio.run(ask_twice(plane, {"ask": stream(100, 20)}))
        assert plane.count_posts() == 2


@contextmanager
def table() -> Iterator[tuple[str, list[int]]]:
    """A DynamoDB that knows one call: to put what is not there yet. Its first answer gets lost."""
    claimants: dict[str, str] = {}
    calls: list[int] = []
    lock = Lock()

    class Table(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            put = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.headers["x-amz-target"].endswith(".PutItem")
            assert "/dynamodb/aws4_request" in self.headers["authorization"]
            assert put["TableName"] == "claims"
            condition = "attribute_not_exists(nonce) OR claimant = :claimant"
            assert put["ConditionExpression"] == condition
            item = {name: next(iter(value.values())) for name, value in put["Item"].items()}
            assert int(item["expires"]) > time.time() + 3600
            assert put["ExpressionAttributeValues"] == {":claimant": {"S": item["claimant"]}}
            status, answer = 200, {}
            with lock:
                if claimants.setdefault(item["nonce"], item["claimant"]) != item["claimant"]:
                    kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
                    status, answer = 400, {"__type": kind, "message": "The request failed"}
                calls.append(status)
            if len(calls) == 1:
                # Done, but nobody hears of it.
                self.close_connection = True
                return
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/x-amz-json-1.0")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Table) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()


def test_the_example_s_table_stops_the_second_delivery() -> None:
    variables = {"ALLOWED_ORIGINS": "http://localhost", "CLAIMS_TABLE": "claims"}
    prompt = " ".join(f"word{number}" for number in range(100))
    with table() as (url, calls):
        endpoint = {"AWS_ENDPOINT_URL_DYNAMODB": url}
        with gateway(
            "--pace-ms", "40", folder=EXAMPLE / "python", **variables, **endpoint
        ) as plane:
            asyncio.run(ask_twice(plane, {"prompt": prompt}))
            assert plane.count_posts() == 1
    assert calls == [200, 200, 400]


# -- forged ----------------------------------------------------------------------------------------


def test_a_forged_event_is_refused(tmp_path: Path) -> None:
    async def talk(plane: LocalDataPlane) -> None:
        async with connect(plane) as first, connect(plane) as second:
            mine, other = Socket(first), Socket(second)
            await mine.ask(ask=stream(3))
            [kept] = tmp_path.iterdir()
            sealed = json.loads(kept.read_text())["agentcoreRelay"]
            [theirs] = [one for one in sockets(plane) if one != sealed["connectionId"]]
            changes: dict[str, object] = {
                name: not value if isinstance(value, bool) else changed(value)
                for name, value in sealed.items()
            }
            # What an attacker would want: to speak to another, in another's session, or later.
            wanted = {
                "connectionId": theirs,
                "session": "s" * 40,
                "issuedAt": sealed["issuedAt"] + "0",
            }
            forged = [{**sealed, **{name: value}} for name, value in {**changes, **wanted}.items()]
            forged += [{**sealed, "payload": sealed["payload"] + "AA"}, {**sealed, "hmac": ""}, {}]
            for event in forged:
                since = last(plane)
                sent = invoke(plane, {"agentcoreRelay": event}, "Event")
                ended = await journaled(plane, since, kind="function_ended", **sent)
                assert ended["outcome"] == "ok"
                assert invoke(plane, {"agentcoreRelay": event}) == {"statusCode": 403}
            assert plane.count_posts() == 1
            for socket in (mine, other):
                await socket.send(type="ping")
                assert await socket.frame() == {"type": "pong"}
            # The judge's own check: as it was, it is one that was seen, and in another process one
            # that is answered.
            assert invoke(plane, {"agentcoreRelay": sealed})["statusCode"] == 200

    with gateway("--concurrency", "2", EVENTS=tmp_path) as plane:
        asyncio.run(talk(plane))


def changed(text: str) -> str:
    return ("B" if text.startswith("A") else "A") + text[1:]


def sockets(plane: LocalDataPlane) -> list[str]:
    found: list[str] = plane._control("GET", "sockets")["sockets"]
    return found


# -- none at all -----------------------------------------------------------------------------------


def event(connection_id: str, **changes: object) -> dict[str, Any]:
    about = {
        "routeKey": "$default",
        "eventType": "MESSAGE",
        "apiId": "local12345",
        "stage": "local",
        "connectionId": connection_id,
        "messageId": "m=",
        **changes.pop("context", {}),  # type: ignore[dict-item]
    }
    body = json.dumps({"prompt": "Hi"})
    return {"requestContext": about, "body": body, "isBase64Encoded": False, **changes}


@pytest.fixture(scope="module")
def plane() -> Iterator[LocalDataPlane]:
    with gateway("--concurrency", "1", "--route", "other", WITHOUT_HOOKS=1) as plane:
        yield plane


class TestBadInput:
    """Each in its own way: an error frame where there is a socket, 4xx, and nobody is asked."""

    # What nobody can be told of.
    NOBODY: ClassVar[dict[str, object]] = {
        "nothing": None,
        "a list": [],
        "another service's": {"Records": [{"eventSource": "aws:sqs", "body": "{}"}]},
        "no context": {"body": "{}"},
        "a broken context": {"requestContext": "x", "body": "{}"},
        "no connection id": event(""),
        "a path for a connection id": event("../x"),
        "no API": event("c=", context={"apiId": None}),
        "a URL for an API": event("c=", context={"apiId": "evil.example/"}),
        "no route": event("c=", context={"routeKey": None}),
    }
    # Changes to a message that is good, and the status.
    TOLD: ClassVar[dict[str, tuple[dict[str, Any], int]]] = {
        "an unknown route": ({"context": {"routeKey": "other"}}, 404),
        "no JSON": ({"body": "hello"}, 400),
        "half of JSON": ({"body": '{"prompt": '}, 400),
        "no body": ({"body": None}, 400),
        "no base64": ({"body": "?", "isBase64Encoded": True}, 400),
        "base64 of no JSON": ({"body": "aGVsbG8=", "isBase64Encoded": True}, 400),
        "base64 of no text": ({"body": "//79", "isBase64Encoded": True}, 400),
        "no object": ({"body": "[]"}, 400),
        "no prompt": ({"body": "{}"}, 400),
        "an empty prompt": ({"body": '{"prompt": " "}'}, 400),
        "a number for a prompt": ({"body": '{"prompt": 7}'}, 400),
        "a session id": ({"body": '{"prompt": "a", "sessionId": "short"}'}, 400),
        "an id that is none": ({"body": '{"prompt": "a", "id": ""}'}, 400),
        "a conversation that is none": ({"body": '{"prompt": "a", "conversation": 1}'}, 400),
    }

    @pytest.mark.parametrize("name", NOBODY)
    def test_an_event_of_nobody(self, plane: LocalDataPlane, name: str) -> None:
        returned = invoke(plane, self.NOBODY[name])
        assert returned["statusCode"] == 400
        assert json.loads(returned["body"])["code"] == "invalid_message"
        assert plane.count_posts() == 0

    def test_a_message(self, plane: LocalDataPlane) -> None:
        async def talk() -> None:
            async with connect(plane) as socket:
                [connection_id] = sockets(plane)
                client = Socket(socket)
                for name, (changes, status) in self.TOLD.items():
                    returned = invoke(plane, event(connection_id, **changes))
                    assert returned["statusCode"] == status, name
                    frame = await client.frame()
                    assert (frame["type"], frame["code"]) == ("error", "invalid_message"), name
                    assert frame["message"] == json.loads(returned["body"])["message"], name
                assert plane.count_posts() == 0
                # The judge's own check.
                assert invoke(plane, event(connection_id))["statusCode"] == 200
                assert "Hi" in text(await client.rest())

        asyncio.run(talk())

    def test_what_comes_over_the_socket(self, plane: LocalDataPlane) -> None:
        async def talk() -> None:
            async with connect(plane) as socket:
                client = Socket(socket)
                before = plane.count_posts()
                for message in (
                    "hello",
                    "{}",
                    b"\xff",
                    b"hello",
                    '{"action": "other"}',
                    '{"id": ""}',
                ):
                    await socket.send(message)
                    frame = await client.frame()
                    assert (frame["type"], frame["code"]) == ("error", "invalid_message"), message
                    assert frame["message"] and frame["delivery"] == "not_sent"
                assert plane.count_posts() == before
                # Bytes may be a good message, too.
                await socket.send(json.dumps({"prompt": "Grüße"}).encode())
                assert "Grüße" in text(await client.rest())

        asyncio.run(talk())
