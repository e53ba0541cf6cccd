"""Answers passed on to a browser, through servers as people run them."""

import asyncio
import gc
import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import agentcore_client
import pytest
import web_support
from agentcore_client import (
    AgentCoreClient,
    AgentCoreError,
    AsyncAgentCoreClient,
    InvalidInputError,
    TooLargeError,
)
from agentcore_client.testing import LocalDataPlane
from agentcore_client.web import (
    EVENT_STREAM_HEADERS,
    EventStream,
    public_error,
    read_json,
    text_field,
)
from support import HANG, POSIX, disconnects, of_kind, wait_until
from web_support import Browser, answer, texts

# The web servers that end with their tests leave sockets to the garbage collector. What is ours is
# native, and the journals say when it closes.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

GOLDEN = Path(__file__).resolve().parents[3] / "tests/vectors/public_errors.json"
ERRORS = json.loads(GOLDEN.read_text())["errors"]
CLASSES = {
    cls.kind: cls
    for cls in vars(agentcore_client).values()
    if isinstance(cls, type) and cls.__base__ is AgentCoreError
}
CLASSES["InvalidInput"] = InvalidInputError
CLASSES["Connect"] = agentcore_client.ConnectError
CLASSES["Timeout"] = agentcore_client.RequestTimeoutError


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case["body"]["error"]["code"])
def test_what_is_told_of_errors(case):
    given = case["error"].copy()
    error = CLASSES[given.pop("kind")]("secret", session_id="secret", request_id="secret", **given)
    status, headers, body = public_error(error)
    assert (status, json.loads(body)) == (case["status"], case["body"])
    after = case["error"].get("retry_after")
    assert headers.get("retry-after") == (after and str(math.ceil(after)))
    assert "secret" not in body


# -- one app for each kind of server ------------------------------------------------------------


def asgi(plane, *, heartbeat=None, text_only=True, **options):
    """An app with one route, for a plane whose agent speaks as the body says."""
    from agentcore_client.starlette import EventStreamResponse, error_response, read_json
    from starlette.applications import Starlette
    from starlette.routing import Route

    async def ask(request):
        payload = await read_json(request, max_bytes=10_000)
        session = payload.pop("session", None)
        stream = request.app.state.agent.stream(payload, session_id=session, **options)
        return EventStreamResponse(stream, heartbeat=heartbeat, text_only=text_only)

    class Lifespan:
        def __init__(self, app):
            self.app = app

        async def __aenter__(self):
            self.app.state.agent = AsyncAgentCoreClient(**plane.client_options())

        async def __aexit__(self, *_):
            await self.app.state.agent.aclose()

    return Starlette(
        routes=[Route("/ask", ask, methods=["POST"])],
        exception_handlers={AgentCoreError: error_response},
        lifespan=Lifespan,
    )


def wsgi(plane, *, heartbeat=None, text_only=True, **options):
    import flask

    agent = AgentCoreClient(**plane.client_options())
    app = flask.Flask("test")

    @app.errorhandler(AgentCoreError)
    def failed(error):
        status, headers, body = public_error(error)
        return body, status, headers

    @app.post("/ask")
    def ask():
        payload = read_json(flask.request.stream, max_bytes=10_000)
        session = payload.pop("session", None)
        stream = agent.stream(payload, session_id=session, **options)
        return EventStream(stream, heartbeat=heartbeat, text_only=text_only), EVENT_STREAM_HEADERS

    return app


SERVERS = {
    "uvicorn": lambda plane, **more: web_support.uvicorn(asgi(plane, **more)),
    "werkzeug": lambda plane, **more: web_support.werkzeug(wsgi(plane, **more)),
    "waitress": lambda plane, **more: web_support.waitress(wsgi(plane, **more)),
}


@pytest.fixture(params=SERVERS)
def serve(request):
    return SERVERS[request.param]


@pytest.fixture
def plane():
    with LocalDataPlane() as plane:
        yield plane


# -- what arrives ---------------------------------------------------------------------------------


def test_text_and_its_end(serve, plane):
    with serve(plane) as port:
        status, headers, body = answer(port, {"prompt": "Grüße 🙂\n"})
    assert status == 200
    assert {name: headers[name] for name in EVENT_STREAM_HEADERS} == EVENT_STREAM_HEADERS
    *blocks, end, rest = body.decode().split("\n\n")
    assert "".join(texts(blocks)) == "You said: Grüße 🙂\n." and len(blocks) > 2
    assert (end, rest) == ("event: end\ndata: {}", "")
    # Nothing of the service's own.
    said = f"{headers}{body!r}"
    assert plane.sessions()[0]["session_id"] not in said and "amzn" not in said


def test_events_as_they_are(serve, plane):
    raw = ": quiet\r\nevent: a\r\nid: 7\r\nretry: 5\r\ndata: x\r\ndata:  y\r\n\r\ndata: z\n\n"
    with serve(plane, text_only=False) as port:
        said = {"mode": "raw", "chunks": [raw], "content_type": "text/event-stream"}
        _, _, body = answer(port, said)
        assert body == b"event: a\nid: 7\ndata: x\ndata:  y\n\ndata: z\n\nevent: end\ndata: {}\n\n"
        _, headers, body = answer(port, {"mode": "json", "value": {"a": 1}})
        assert headers["content-type"] == "text/event-stream"
        assert body == b'data: {"a":1}\n\nevent: end\ndata: {}\n\n'
        binary = {"mode": "raw", "chunks": ["x"], "content_type": "application/octet-stream"}
        _, _, body = answer(port, binary)
        assert body.startswith(b'event: error\ndata: {"error": {"code": "PROTOCOL", ')


def test_tokens_when_they_come(serve, plane):
    with serve(plane) as port:
        with Browser(port, {"mode": "stream", "tokens": 1000, "delay_ms": 10}) as browser:
            assert browser.head()[0] == 200
            assert browser.chunk().startswith(b"data: ")
            # The agent is far from its end.
            assert of_kind(plane, "complete") == []


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "code", "delivery"),
    [
        ({"status": 403, "code": "AccessDeniedException"}, 403, "SERVICE", "rejected"),
        ({"status": 424, "code": "RuntimeClientError"}, 502, "AGENT", "accepted"),
        ({"reset_after_request": True}, 502, "STREAM_INTERRUPTED", "unknown"),
        ({"redirect": "http://127.0.0.1/"}, 502, "PROTOCOL", "unknown"),
    ],
)
def test_failures_before_the_first_byte(serve, plane, fault, status, code, delivery):
    plane.add_fault(**fault)
    with serve(plane) as port:
        got, headers, body = answer(port, {"prompt": "Hi"})
    told = json.loads(body)["error"]
    assert (got, told["code"], told["delivery"]) == (status, code, delivery)
    assert headers["content-type"] == "application/json"
    assert plane.count_posts() == 1 and "arn:" not in body.decode()


def test_failures_within_the_answer(serve, plane):
    with serve(plane) as port:
        plane.add_fault(reset_after_bytes=20)
        *_, last, rest = answer(port, {"prompt": "Hi"})[2].decode().split("\n\n")
        event, data = last.split("\n")
        assert (event, rest) == ("event: error", "")
        told = json.loads(data.removeprefix("data: "))["error"]
        assert (told["code"], told["delivery"]) == ("STREAM_INTERRUPTED", "accepted")
        body = answer(port, {"mode": "error", "tokens": 2, "message": "secret plans"})[2].decode()
        assert body.count("data: ") == 3 and "secret" not in body
        assert '\n\nevent: error\ndata: {"error": {"code": "AGENT", ' in body


def test_bad_input(serve, plane):
    with serve(plane) as port:
        for body, status, code, field in (
            (b"", 400, "INVALID_INPUT", "body"),
            (b"{", 400, "INVALID_INPUT", "body"),
            (b"\xff", 400, "INVALID_INPUT", "body"),
            (b"[" * 10_000, 400, "INVALID_INPUT", "body"),
            (b'"' + b"x" * 10_000 + b'"', 413, "TOO_LARGE", "body"),
            ({"prompt": "Hi", "session": "short"}, 400, "INVALID_INPUT", "session_id"),
        ):
            got, headers, said = answer(port, body)
            told = json.loads(said)["error"]
            assert (got, told["code"], told["field"]) == (status, code, field)
            assert headers["content-type"] == "application/json"
    assert of_kind(plane, "request") == []


def test_fields_of_a_body():
    assert text_field({"prompt": "Hi"}, "prompt") == "Hi"
    for body in ({}, {"prompt": ""}, {"prompt": 7}, {"prompt": None}, [], "prompt", None):
        with pytest.raises(InvalidInputError) as caught:
            text_field(body, "prompt")
        assert caught.value.field == "prompt" and caught.value.delivery == "not_sent"


def test_a_body_is_read_no_further_than_it_may_be_long():
    class Endless:
        taken = 0

        def read(self, size):
            self.taken += size
            return b"x" * size

    body = Endless()
    with pytest.raises(TooLargeError):
        read_json(body, max_bytes=200_000)
    assert body.taken == 200_001


def test_the_kind_of_authorisation(serve):
    with LocalDataPlane(bearer=True) as plane:
        expired = plane.mint_token(exp=1)
        foreign = plane.mint_token(iss="https://somebody.else")
        keys = {"credentials": agentcore_client.Credentials("AKIDEXAMPLE", "secret")}

        class As:
            def __init__(self, **auth):
                self.auth = auth

            def client_options(self):
                given = {**plane.client_options(), **self.auth}
                if "credentials" in self.auth:
                    del given["bearer_token"]
                return given

        for auth, status, code in (
            ({"bearer_token": foreign}, 401, "SERVICE"),
            (keys, 403, "SERVICE"),
        ):
            with serve(As(**auth)) as port:
                got, _, body = answer(port, {"prompt": "Hi"})
            assert (got, json.loads(body)["error"]["code"]) == (status, code)
            assert foreign not in body.decode()
        assert plane.sessions() == []
        posts = plane.count_posts()
        # One that is known to be expired is not even sent.
        with pytest.raises(InvalidInputError) as caught:
            As(bearer_token=expired).auth and AgentCoreClient(
                **As(bearer_token=expired).client_options()
            )
        assert public_error(caught.value)[0] == 401 and plane.count_posts() == posts
        # Nor one that comes from a provider.
        with serve(As(bearer_token=lambda: expired)) as port:
            got, _, body = answer(port, {"prompt": "Hi"})
        assert got == 401 and json.loads(body)["error"]["field"] == "bearer_token"
        assert expired not in body.decode() and plane.count_posts() == posts


# -- who leaves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "killed"])
def test_a_browser_that_leaves_ends_the_invocation(serve, plane, reset):
    with serve(plane) as port:
        browser = Browser(port, {"mode": "stream", "tokens": 100_000, "delay_ms": 5})
        browser.head()
        browser.chunk()
        browser.leave(reset)
        disconnects(plane)
    assert of_kind(plane, "disconnect")[0]["phase"] == "body"


def test_leaving_while_the_agent_is_silent(serve, plane):
    with serve(plane, heartbeat=1) as port:
        browser = Browser(port, {"mode": "silent"})
        browser.head()
        browser.leave()
        disconnects(plane)


def test_leaving_asgi_needs_no_heartbeat(plane):
    with SERVERS["uvicorn"](plane) as port:
        for phase, payload in (
            ("body", {"mode": "silent"}),
            # The agent has not begun to answer.
            ("head", {"mode": "slow", "delay_ms": 60_000}),
        ):
            plane.clear_journal()
            browser = Browser(port, payload)
            if phase == "body":
                browser.head()
            wait_until(lambda: of_kind(plane, "request"))
            browser.leave()
            disconnects(plane)
            assert of_kind(plane, "disconnect")[0]["phase"] == phase


def test_leaving_can_stop_the_session(serve, plane):
    with serve(plane, stop_on_close=True) as port:
        browser = Browser(port, {"mode": "stream", "tokens": 100_000, "delay_ms": 5})
        browser.head()
        browser.chunk()
        browser.leave()
        wait_until(
            lambda: any("/stopruntimesession" in e["target"] for e in of_kind(plane, "request"))
        )
        wait_until(lambda: plane.sessions() == [])


# -- heartbeats -----------------------------------------------------------------------------------


def test_heartbeats_while_the_agent_is_silent(serve, plane):
    events = {"mode": "stream", "tokens": 3, "delay_ms": 1500}
    with serve(plane, heartbeat=1) as port:
        with Browser(port, events) as browser:
            browser.head()
            blocks = list(browser.events())
    assert blocks.count(": heartbeat") >= 2
    assert len(texts(blocks)) == 3 and blocks[-1] == "event: end\ndata: {}"
    assert len(blocks) == 3 + 1 + blocks.count(": heartbeat")


def test_no_heartbeat_while_it_speaks(serve, plane):
    with serve(plane, heartbeat=1) as port:
        with Browser(port, {"mode": "stream", "tokens": 40, "delay_ms": 50}) as browser:
            browser.head()
            blocks = list(browser.events())
    # Two seconds of words. A machine that stands still may lie between two of them.
    assert len(texts(blocks)) == 40 and blocks.count(": heartbeat") <= 1


def test_a_heartbeat_may_come_before_the_agent_begins(plane):
    with SERVERS["uvicorn"](plane, heartbeat=1) as port:
        with Browser(port, {"mode": "slow", "delay_ms": 1500}) as browser:
            assert browser.head()[0] == 200
            assert browser.chunk() == b": heartbeat\n\n"
            assert browser.chunk().startswith(b"data: ")
        # Its status is out: what fails now is an event.
        plane.add_fault(delay_head_ms=1500, status=403, code="AccessDeniedException")
        with Browser(port, {"prompt": "Hi"}) as browser:
            assert browser.head()[0] == 200
            assert browser.chunk() == b": heartbeat\n\n"
            event, data = next(browser.events()).split("\n")
        assert event == "event: error" and json.loads(data[6:])["error"]["code"] == "SERVICE"


def test_a_heartbeat_has_its_bounds(client, plane):
    stream = client.stream({"mode": "silent"})
    for wrong in (0, 0.5, -1, 3601, float("nan")):
        with pytest.raises(InvalidInputError, match="heartbeat"):
            EventStream(stream, heartbeat=wrong)
    for wrong in ("15", True):
        with pytest.raises(TypeError, match="heartbeat must be seconds"):
            EventStream(stream, heartbeat=wrong)
    stream.close()


def test_closing_ends_a_read_that_waits(client, local_data_plane):
    for heartbeat in (None, 60):
        local_data_plane.clear_journal()
        events = EventStream(client.stream({"mode": "silent"}), heartbeat=heartbeat)
        read = []
        reader = threading.Thread(target=lambda events=events, read=read: read.extend(events))
        reader.start()
        time.sleep(0.1)
        events.close()
        reader.join(10)
        assert not reader.is_alive() and read == []
        disconnects(local_data_plane)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "agentcore-sse"])


def test_one_that_nobody_closes_leaves_neither_thread_nor_connection(client, local_data_plane):
    local_data_plane.clear_journal()
    endless = client.stream({"mode": "stream", "tokens": 100_000, "delay_ms": 1})
    events = EventStream(endless, heartbeat=60)
    next(events)
    del endless, events
    gc.collect()
    disconnects(local_data_plane)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "agentcore-sse"])


class SlowHead:
    """A server that takes its time with an answer's head."""

    def __init__(self):
        self.sent = []
        self.leaves = asyncio.Event()

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.start":
            await asyncio.sleep(0.2)
        self.sent.append(message)


class Refused:
    async def __aenter__(self):
        raise InvalidInputError("secret", delivery="not_sent", field="prompt")

    async def __aexit__(self, *_):
        raise AssertionError


def test_no_heartbeat_gets_into_the_json_of_an_error():
    from agentcore_client.starlette import EventStreamResponse

    async def answer():
        response = EventStreamResponse(Refused())
        # Sooner than anybody may ask for, so that it is due while the head goes out.
        response._heartbeat = 0.05
        server = SlowHead()
        await response({"type": "http"}, server.receive, server.send)
        return server.sent

    head, *rest = asyncio.run(answer())
    body = b"".join(message["body"] for message in rest)
    assert head["status"] == 400 and json.loads(body)["error"]["field"] == "prompt"
    assert dict(head["headers"])[b"content-length"] == str(len(body)).encode()


def test_a_browser_that_left_before_the_head_is_no_error():
    from agentcore_client.starlette import EventStreamResponse

    async def send(_):
        raise ConnectionResetError

    async def answer():
        response = EventStreamResponse(Refused())
        await response({"type": "http"}, SlowHead().receive, send)

    asyncio.run(answer())


@pytest.mark.parametrize("begun", [False, True])
def test_a_head_asks_no_agent(plane, begun):
    from agentcore_client.starlette import EventStreamResponse
    from starlette.applications import Starlette
    from starlette.routing import Route

    async def ask(request):
        stream = agent.stream({"mode": "silent"})
        return EventStreamResponse(await stream if begun else stream)

    agent = AsyncAgentCoreClient(**plane.client_options())
    # Which routes HEAD, too.
    app = Starlette(routes=[Route("/ask", ask, methods=["GET"])])
    with web_support.uvicorn(app) as port, closing(HTTPConnection("127.0.0.1", port)) as browser:
        browser.request("HEAD", "/ask")
        answer = browser.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        assert answer.headers["content-type"].startswith("text/event-stream")
        # What the view itself has begun is ended.
        assert plane.count_posts() == int(begun)
        if begun:
            disconnects(plane)


# -- many -----------------------------------------------------------------------------------------


def one_of_many(port, all_there, number):
    is_killed = number % 20 == 7
    # What is killed would go on for longer than the slowest machine takes to notice.
    payload = {"mode": "stream", "tokens": 100_000 if is_killed else 50, "delay_ms": 20}
    with Browser(port, payload) as browser:
        status, _ = browser.head()
        first = browser.chunk().decode()
        # So all have begun, and none is read to its end.
        all_there.wait(HANG)
        if is_killed:
            browser.leave(reset=True)
            return None
        blocks = [*first.removesuffix("\n\n").split("\n\n"), *browser.events()]
    assert status == 200 and blocks.pop() == "event: end\ndata: {}"
    return texts(blocks)


@pytest.mark.parametrize("server", ["uvicorn", "werkzeug"])
def test_200_at_once(server, plane):
    with SERVERS[server](plane, heartbeat=30) as port:
        all_there = threading.Barrier(200)
        with ThreadPoolExecutor(200) as pool:
            said = list(pool.map(partial(one_of_many, port, all_there), range(200)))
        killed = said.count(None)
        disconnects(plane, killed)
    whole = {tuple(texts) for texts in said if texts is not None}
    # Each token once and in order, in all of them, whoever else was killed.
    assert killed == 10 and len(whole) == 1 and len(next(iter(whole))) == 50
    assert plane.count_posts() == 200 and len(of_kind(plane, "complete")) == 190


@POSIX
def test_behind_gunicorn(plane, tmp_path):
    (tmp_path / "served.py").write_text(
        "import sys, json, os\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from agentcore_client import Credentials\n"
        "from test_web import wsgi\n"
        "class Plane:\n"
        "    def client_options(self):\n"
        "        given = json.loads(os.environ['TOLD'])\n"
        "        return {**given, 'credentials': Credentials(*given.pop('credentials'))}\n"
        "app = wsgi(Plane(), heartbeat=1)\n"
    )
    import os

    given = plane.client_options()
    keys = [plane.access_key, plane.secret_key, plane.session_token]
    environment = {**os.environ, "TOLD": json.dumps({**given, "credentials": keys})}
    threads = ("--worker-class", "gthread", "--threads", "8")
    # With --preload the client is made before the workers are forked off.
    with web_support.gunicorn(
        "served:app", str(tmp_path), environment, *threads, "--preload"
    ) as port:
        *blocks, end, _ = answer(port, {"prompt": "Hi"})[2].decode().split("\n\n")
        assert "".join(texts(blocks)) == "You said: Hi." and end == "event: end\ndata: {}"
        for payload in ({"mode": "silent"}, {"mode": "stream", "tokens": 10_000, "delay_ms": 5}):
            plane.clear_journal()
            browser = Browser(port, payload)
            browser.head()
            browser.leave()
            disconnects(plane)
