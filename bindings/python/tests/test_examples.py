"""Every example under examples/python runs against the local data plane, as its head says."""

import base64
import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import agentcore_client
import pytest
import web_support
from agentcore_client.testing import LocalDataPlane

EXAMPLES = Path(__file__).resolve().parents[3] / "examples/python"
PACKAGE = Path(agentcore_client.__file__).parents[1]
SECRET = "correct horse battery staple"
TESTED = {"stream", "resume", "bearer", "fan_out", "fastapi_sse", "flask_stream", "lambda_handler"}


def environment(plane, **more):
    names = {
        "AGENT_RUNTIME_ARN": plane.runtime_arn,
        "AWS_ENDPOINT_URL_BEDROCK_AGENTCORE": plane.base_url,
        "SESSION_SECRET": SECRET,
    }
    if not plane._takes_tokens:
        names["AWS_ACCESS_KEY_ID"] = plane.access_key
        names["AWS_SECRET_ACCESS_KEY"] = plane.secret_key
    return {**names, **more}


def run(name, plane, *arguments, **more):
    env = {**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *arguments],
        env={**env, **environment(plane, **more)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def load(local_data_plane, monkeypatch):
    """An example as a module, made under the data plane's environment."""

    def load(name, plane=local_data_plane):
        for variable, value in environment(plane).items():
            monkeypatch.setenv(variable, value)
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        # Where pydantic looks for the types of a model.
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_all_are_tested():
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    # The quickstart brings a data plane of its own; the wheel's test runs it.
    assert found - {"quickstart"} == TESTED
    for name in TESTED:
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60, name


def test_stream(local_data_plane):
    assert run("stream", local_data_plane, "Grüße", "🙂") == (0, "You said: Grüße 🙂.\n", "")
    local_data_plane.add_fault(reset_after_bytes=20)
    code, stdout, stderr = run("stream", local_data_plane, "Hi")
    assert (code, stdout) == (1, "You ") and "broke off" in stderr
    assert "Traceback" not in stderr


def test_stream_without_a_runtime(local_data_plane):
    code, _, stderr = run("stream", local_data_plane, AGENT_RUNTIME_ARN="my_agent")
    assert code == 1 and "runtime_arn" in stderr and "Traceback" not in stderr


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("stream", "AGENT_RUNTIME_ARN"),
        ("resume", "AGENT_RUNTIME_ARN"),
        ("resume", "SESSION_SECRET"),
        ("bearer", "AGENT_RUNTIME_ARN"),
        ("bearer", "TOKEN_URL"),
        ("fan_out", "AGENT_RUNTIME_ARN"),
    ],
)
def test_what_is_not_set_is_named_in_one_line(local_data_plane, name, absent):
    given = {"TOKEN_URL": "http://127.0.0.1:9/", "CLIENT_ID": "id", "CLIENT_SECRET": "secret"}
    env = {**os.environ, "PYTHONPATH": str(PACKAGE), **environment(local_data_plane, **given)}
    del env[absent]
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    says = "secret: " if absent == "SESSION_SECRET" else absent
    line = done.stderr.strip()
    assert line.startswith(f"{name}.py: ") and says in line and "\n" not in line
    assert local_data_plane.count_posts() == 0


def test_resume(local_data_plane):
    code, stdout, stderr = run("resume", local_data_plane)
    assert (code, stderr) == (0, "")
    first, second = stdout.splitlines()
    assert first == "You said: My name is Ada.."
    assert "What is my name?" in second and "My name is Ada." in second
    session = agentcore_client.SessionId.derive(SECRET, "acme", "user-42", "conversation-1")
    requests = [e for e in local_data_plane.journal() if e["kind"] == "request"]
    assert {e["session_id"] for e in requests} == {session} and len(requests) == 3
    assert session not in {s["session_id"] for s in local_data_plane.sessions()}


@pytest.mark.parametrize(("expires_in", "grants"), [(3600, 1), (60, 2)])
def test_bearer(expires_in, grants):
    asked = []

    class TokenEndpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            form = self.rfile.read(int(self.headers["content-length"])).decode()
            asked.append(dict(urllib.parse.parse_qsl(form)))
            token = plane.mint_token(sub="a client", jti=str(len(asked)))
            body = json.dumps({"access_token": token, "expires_in": expires_in}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with LocalDataPlane(bearer=True) as plane:
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), TokenEndpoint) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            url = f"http://127.0.0.1:{server.server_port}/oauth2/token"
            more = {"TOKEN_URL": url, "CLIENT_ID": "me", "CLIENT_SECRET": "a&b=c"}
            code, stdout, stderr = run("bearer", plane, **more)
            server.shutdown()
            thread.join()
        assert (code, stdout, stderr) == (0, "You said: Hi.\nYou said: And again.\n", "")
        assert plane.count_posts() == 2
    expected = {
        "grant_type": "client_credentials",
        "client_id": "me",
        "client_secret": "a&b=c",
    }
    assert asked == [expected] * grants


def test_fan_out():
    with LocalDataPlane(args=["--pace-ms", "5"]) as plane:
        plane.add_fault(status=500, repeat=2)
        code, stdout, stderr = run("fan_out", plane)
        journal = plane.journal()
        assert plane.count_posts() == 50
    assert (code, stderr) == (0, "")
    lines = stdout.splitlines()
    failed = [line for line in lines if "failed, unknown" in line]
    answered = [line for line in lines if "You said: " in line]
    assert len(lines) == 50 and len(failed) == 2 and len(answered) == 48
    for number, line in enumerate(lines, 1):
        assert line.startswith(f"Question {number}: ")
    running = most = 0
    for entry in journal:
        running += (entry["kind"] == "request") - (entry["kind"] == "complete")
        running -= entry["kind"] == "response" and entry["status"] == 500
        most = max(most, running)
    assert 2 < most <= 10


# -- FastAPI and Flask ------------------------------------------------------------------------


@pytest.fixture
def paced():
    """An agent that speaks slowly."""
    with LocalDataPlane(args=["--pace-ms", "20"]) as plane:
        yield plane


@pytest.fixture(params=["fastapi_sse", "flask_stream"])
def served(request, load, paced):
    """The port of the app on a real server."""
    app = load(request.param, paced).app
    server = {"fastapi_sse": web_support.uvicorn, "flask_stream": web_support.waitress}
    with server[request.param](app) as port:
        yield port


QUESTION = {"conversation": "1", "prompt": "Grüße 🙂"}


def test_a_backend_relays(served, paced):
    status, headers, body = web_support.answer(served, QUESTION)
    assert status == 200 and headers["content-type"] == "text/event-stream"
    *blocks, end, _ = body.decode().split("\n\n")
    assert "".join(web_support.texts(blocks)) == "You said: Grüße 🙂."
    assert end == "event: end\ndata: {}"
    session = agentcore_client.SessionId.derive(SECRET, "ada", "1")
    assert [s["session_id"] for s in paced.sessions()] == [session]
    assert session not in f"{headers}{body!r}"


def test_a_backend_has_a_page(served):
    status, headers, body = web_support.answer(served, b"", path="/", method="GET")
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert body == (EXAMPLES.parent / "page.html").read_bytes()


def test_a_browser_that_leaves_reaches_the_agent(served, paced):
    with web_support.Browser(served, {**QUESTION, "prompt": "word " * 1000}) as browser:
        assert browser.head()[0] == 200
        assert browser.chunk() == b'data: "You "\n\n'
    assert paced.wait_for(lambda entry: entry["kind"] == "disconnect")["phase"] == "body"


def test_a_backend_refuses_what_is_no_question(served, paced):
    for body, status, code, field in (
        (b"{", 400, "INVALID_INPUT", "body"),
        ({"conversation": "1"}, 400, "INVALID_INPUT", "prompt"),
        ({"prompt": "Hi"}, 400, "INVALID_INPUT", "conversation"),
        ({**QUESTION, "prompt": "x" * 100_000}, 413, "TOO_LARGE", "body"),
    ):
        got, _, said = web_support.answer(served, body)
        told = json.loads(said)["error"]
        assert (got, told["code"], told["field"]) == (status, code, field)
    assert paced.count_posts() == 0


def test_a_backend_tells_of_failures(served, paced):
    paced.add_fault(status=403, code="AccessDeniedException")
    status, _, said = web_support.answer(served, QUESTION)
    told = json.loads(said)["error"]
    assert (status, told["code"], told["delivery"]) == (403, "SERVICE", "rejected")
    paced.add_fault(reset_after_bytes=14)
    _, _, body = web_support.answer(served, QUESTION)
    assert (
        body.decode()
        .split("\n\n")[-2]
        .startswith('event: error\ndata: {"error": {"code": "STREAM_INT')
    )
    assert paced.count_posts() == 2


# -- Lambda -----------------------------------------------------------------------------------


class Context:
    def __init__(self, seconds=30.0):
        self.seconds = seconds

    def get_remaining_time_in_millis(self):
        return round(self.seconds * 1000)


def event(prompt, **more):
    return {"body": json.dumps({"prompt": prompt, **more})}


def test_lambda(load, local_data_plane, capsys):
    example = load("lambda_handler")
    first = example.handler(event("My name is Ada"), Context())
    assert (first["statusCode"], first["headers"]["content-type"]) == (200, "application/json")
    told = json.loads(first["body"])
    assert told["text"] == "You said: My name is Ada."
    second = example.handler(event("Who am I?", session=told["session"]), Context())
    assert "My name is Ada" in json.loads(second["body"])["text"]
    assert capsys.readouterr().out == ""
    # What lies outside the handler is kept: the second turn took the first one's connection.
    opened = [e for e in local_data_plane.journal() if e["kind"] == "connection_opened"]
    assert len(opened) == 1
    example.client.close()


@pytest.mark.parametrize(
    ("fault", "status", "delivery"),
    [
        ({"status": 403, "code": "AccessDeniedException"}, 503, "rejected"),
        ({"status": 424, "code": "RuntimeClientError"}, 502, "accepted"),
        ({"reset_after_bytes": 20}, 502, "accepted"),
        ({"reset_after_request": True}, 504, "unknown"),
        ({"status": 500, "code": "InternalServerException"}, 504, "unknown"),
        ({"never_answer": True}, 504, "unknown"),
    ],
)
def test_lambda_maps_failures(load, local_data_plane, capsys, fault, status, delivery):
    local_data_plane.add_fault(**fault)
    example = load("lambda_handler")
    began = time.monotonic()
    answer = example.handler(event("Hi"), Context(seconds=1.5))
    assert time.monotonic() - began < 1.5
    told = json.loads(answer["body"])
    assert (answer["statusCode"], told["delivery"]) == (status, delivery)
    assert told["session"] and local_data_plane.count_posts() == 1
    assert told["session"] in capsys.readouterr().out
    example.client.close()


def test_lambda_takes_a_body_in_base64(load, local_data_plane):
    example = load("lambda_handler")
    encoded = base64.b64encode(json.dumps({"prompt": "Grüezi"}).encode()).decode()
    answer = example.handler({"body": encoded, "isBase64Encoded": True}, Context())
    assert json.loads(answer["body"])["text"] == "You said: Grüezi."
    example.client.close()


def test_lambda_without_time_or_with_bad_input(load, local_data_plane, capsys):
    example = load("lambda_handler")
    answer = example.handler(event("Hi"), Context(seconds=0.5))
    assert answer["statusCode"] == 503 and json.loads(answer["body"])["delivery"] == "not_sent"
    answer = example.handler(event("Hi", session="short"), Context())
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"]) == {"error": "InvalidInput", "field": "session_id"}
    for bad in ("", "{", "[]", "1", "{}", '"prompt"', None):
        answer = example.handler({"body": bad}, Context())
        assert answer["statusCode"] == 400, bad
        assert json.loads(answer["body"]) == {"error": "InvalidInput", "field": "body"}
    assert local_data_plane.count_posts() == 0
    throttled = {"status": 429, "code": "ThrottlingException", "headers": {"retry-after": "20"}}
    local_data_plane.add_fault(**throttled, repeat=9)
    answer = example.handler(event("Hi"), Context(seconds=3))
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "20")
    example.client.close()
