"""LocalDataPlane and the pytest fixture, with callers that are not our client: plain HTTP and
boto3. What the data plane itself answers is tested in Rust.
"""

import contextlib
import hashlib
import http.client
import http.server
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import urllib.parse
import uuid
from pathlib import Path

import agentcore_client
import boto3
import botocore.config
import botocore.exceptions
import pytest
from agentcore_client.testing import LocalDataPlane, LocalDataPlaneError

PACKAGE = Path(agentcore_client.__file__).parents[1]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and scripts with a #!")


@pytest.fixture
def plane():
    with LocalDataPlane() as plane:
        yield plane


@pytest.fixture
def tokens():
    with LocalDataPlane(bearer=True) as plane:
        yield plane


def boto(plane):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=5)
    return boto3.client("bedrock-agentcore", config=config, **plane.boto3_options())


def invoke(plane, payload, session=None):
    payload = json.dumps(payload).encode()
    session = session or f"a-session-of-the-tests-{uuid.uuid4()}"
    return boto(plane).invoke_agent_runtime(
        agentRuntimeArn=plane.runtime_arn, payload=payload, runtimeSessionId=session
    )


def post(plane, token=None, payload=b'{"prompt":"Hi"}'):
    """One invocation with a bearer token, or with nothing; the connection stays open."""
    url = urllib.parse.urlsplit(plane.base_url)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=5)
    arn = urllib.parse.quote(plane.runtime_arn, safe="")
    headers = {"content-type": "application/json", "accept": "text/event-stream"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    connection.request("POST", f"/runtimes/{arn}/invocations", payload, headers)
    return connection, connection.getresponse()


def status(plane, token=None):
    connection, answer = post(plane, token)
    with contextlib.closing(connection), answer:
        answer.read()
        return answer.status


def script(tmp_path, text):
    path = tmp_path / "fake-agentcore-local"
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def pid_of(plane):
    return plane._running._process.pid


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Without anyone who waits for it, an ended process stays in the table.
    status = Path(f"/proc/{pid}/status")
    return "\nState:\tZ" not in status.read_text() if status.exists() else True


def wait_until(what, timeout=5.0):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.01)


# -- a life, from start to close --------------------------------------------------------------


def test_with_starts_and_close_ends_it():
    plane = LocalDataPlane()
    assert "not running" in repr(plane)
    with plane as entered:
        assert entered is plane
        pid = pid_of(plane)
        assert plane.start() is plane and pid_of(plane) == pid, "start() while it runs is nothing"
        assert invoke(plane, {"prompt": "Hi"})["statusCode"] == 200
    assert not is_alive(pid)
    plane.close()
    plane.close()
    with pytest.raises(LocalDataPlaneError, match="does not run"):
        plane.journal()
    assert plane.base_url.startswith("http://127.0.0.1:"), "an address where nobody listens"


def test_it_can_start_again(plane):
    assert invoke(plane, {"prompt": "Hi"})["statusCode"] == 200
    plane.close()
    plane.start()
    assert plane.count_posts() == 0
    assert invoke(plane, {"prompt": "Hi"})["statusCode"] == 200
    os.kill(pid_of(plane), signal.SIGTERM)
    wait_until(lambda: plane._running.exit_code() is not None)
    with pytest.raises(LocalDataPlaneError, match="ended with exit code"):
        plane.journal()
    plane.start()
    assert plane.journal() == []


def test_an_exception_in_with_ends_it():
    with pytest.raises(ZeroDivisionError):
        with LocalDataPlane() as plane:
            pid = pid_of(plane)
            raise ZeroDivisionError
    assert not is_alive(pid)


def test_what_was_not_started_says_so():
    with pytest.raises(LocalDataPlaneError, match="was not started"):
        _ = LocalDataPlane().base_url
    LocalDataPlane().close()


@POSIX
def test_a_killed_test_run_leaves_no_orphan():
    program = """
        import sys, time
        from agentcore_client.testing import LocalDataPlane
        plane = LocalDataPlane().start()
        print(plane._running._process.pid, flush=True)
        time.sleep(60)
    """
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.PIPE,
    )
    with run:
        pid = int(run.stdout.readline())
        assert is_alive(pid)
        run.kill()
    wait_until(lambda: not is_alive(pid))


@POSIX
def test_what_does_not_go_is_killed(tmp_path):
    stubborn = script(
        tmp_path,
        """
        import signal, time
        print('{"control_token":"t","base_url":"http://127.0.0.1:9"}', flush=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        """,
    )
    plane = LocalDataPlane(binary=stubborn).start()
    pid = pid_of(plane)
    started = time.monotonic()
    plane.close()
    assert not is_alive(pid)
    assert time.monotonic() - started < 10


# -- what goes wrong at the start -------------------------------------------------------------


def test_a_missing_binary_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.delenv("AGENTCORE_LOCAL_BIN")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / name))
    with pytest.raises(LocalDataPlaneError) as caught:
        LocalDataPlane().start()
    message = str(caught.value)
    assert "pip install agentcore-client[testing]" in message
    assert str(tmp_path / "bin" / "agentcore-local") in message
    assert str(tmp_path / "scripts" / "agentcore-local") in message
    assert "PATH" in message and "AGENTCORE_LOCAL_BIN" in message


@POSIX
def test_where_the_binary_is_looked_for(monkeypatch, tmp_path):
    from agentcore_client.testing._local import _find

    def place(folder):
        path = tmp_path / folder / "agentcore-local"
        path.parent.mkdir()
        path.write_text("")
        path.chmod(0o755)
        return str(path)

    named, beside, on_path, given = (place(f) for f in ("env", "beside", "path", "given"))
    monkeypatch.setenv("AGENTCORE_LOCAL_BIN", named)
    monkeypatch.setenv("PATH", os.path.dirname(on_path))
    monkeypatch.setattr(sys, "executable", os.path.join(os.path.dirname(beside), "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / name))
    assert _find(given) == given
    assert _find(Path(given)) == given
    assert _find(None) == named
    monkeypatch.delenv("AGENTCORE_LOCAL_BIN")
    assert _find(None) == beside
    os.remove(beside)
    assert _find(None) == on_path


def test_a_named_binary_is_not_replaced(monkeypatch, tmp_path):
    missing = str(tmp_path / "nothing")
    with pytest.raises(LocalDataPlaneError, match="given as binary"):
        LocalDataPlane(binary=missing).start()
    monkeypatch.setenv("AGENTCORE_LOCAL_BIN", missing)
    with pytest.raises(LocalDataPlaneError, match="AGENTCORE_LOCAL_BIN names"):
        LocalDataPlane().start()


def test_an_early_end_shows_its_reason():
    plane = LocalDataPlane(args=["--no-such-flag"])
    with pytest.raises(LocalDataPlaneError, match=r"exit code 2: .*--no-such-flag"):
        plane.start()
    plane.close()
    with pytest.raises(LocalDataPlaneError, match="http://"):
        LocalDataPlane(agent="ftp://nowhere").start()


@POSIX
def test_what_is_no_data_plane_is_refused(tmp_path):
    with pytest.raises(LocalDataPlaneError, match="is no agentcore-local"):
        LocalDataPlane(binary=script(tmp_path, "print('hello')")).start()
    closes = script(tmp_path, "import os, time; os.close(1); time.sleep(60)")
    with pytest.raises(LocalDataPlaneError, match="without a start line"):
        LocalDataPlane(binary=closes).start()
    text = tmp_path / "text"
    text.write_text("no program")
    with pytest.raises(LocalDataPlaneError, match="Cannot start"):
        LocalDataPlane(binary=text).start()


@POSIX
def test_the_start_line_has_a_time_limit(monkeypatch, tmp_path):
    monkeypatch.setattr("agentcore_client.testing._local.START_SECONDS", 0.5)
    silent = script(
        tmp_path, "import sys, time; print('busy', file=sys.stderr, flush=True); time.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(LocalDataPlaneError, match=r"no start line within 0\.5 s: busy"):
        LocalDataPlane(binary=silent).start()
    assert time.monotonic() - started < 10


@POSIX
def test_a_scripts_children_do_not_hold_up_the_refusal(monkeypatch, tmp_path):
    monkeypatch.setattr("agentcore_client.testing._local.START_SECONDS", 0.3)
    holds = script(
        tmp_path, "import subprocess; subprocess.Popen(['sleep', '8']); input(); input()"
    )
    started = time.monotonic()
    with pytest.raises(LocalDataPlaneError, match="no start line"):
        LocalDataPlane(binary=holds).start()
    assert time.monotonic() - started < 5


# -- options for clients ----------------------------------------------------------------------


def test_signed_calls(plane):
    options = plane.boto3_options()
    assert options["region_name"] == plane.region == "us-west-2"
    assert options["aws_access_key_id"] == plane.access_key
    answer = invoke(plane, {"prompt": "Hi"})
    assert "You said: Hi" in answer["response"].read().decode()
    with pytest.raises(LocalDataPlaneError, match="takes signatures"):
        _ = plane.bearer_token
    with pytest.raises(LocalDataPlaneError, match="404"):
        plane.mint_token()


def test_client_options_with_keys(plane, monkeypatch):
    class Credentials:
        def __init__(self, access_key, secret_key, token=None):
            self.all = (access_key, secret_key, token)

    monkeypatch.setattr(agentcore_client, "Credentials", Credentials, raising=False)
    options = plane.client_options()
    assert options.pop("credentials").all == (plane.access_key, plane.secret_key, None)
    assert options == {"runtime_arn": plane.runtime_arn, "endpoint_url": plane.base_url}


def test_given_keys_and_a_session_token():
    args = ["--access-key=AKID", "--secret-key=s3cret", "--session-token=t0ken"]
    with LocalDataPlane(args=args) as plane:
        assert (plane.access_key, plane.secret_key) == ("AKID", "s3cret")
        assert plane.session_token == "t0ken"
        assert invoke(plane, {"prompt": "Hi"})["statusCode"] == 200


def test_bearer_tokens(tokens):
    assert tokens.client_options() == {
        "runtime_arn": tokens.runtime_arn,
        "endpoint_url": tokens.base_url,
        "bearer_token": tokens.bearer_token,
    }
    assert status(tokens, tokens.bearer_token) == 200
    assert status(tokens, tokens.mint_token(sub="someone")) == 200
    assert status(tokens, tokens.mint_token(exp=1)) == 401
    assert status(tokens) == 401
    with pytest.raises(LocalDataPlaneError, match="takes bearer tokens"):
        tokens.boto3_options()


def test_repr_has_no_secrets(plane, tokens):
    secrets = [plane.access_key, plane.secret_key, tokens.bearer_token]
    secrets += [p._running.start_line["control_token"] for p in (plane, tokens)]
    shown = repr(plane) + repr(tokens)
    assert plane.base_url in shown
    assert not any(secret in shown for secret in secrets)


def test_calls_are_passed_on_to_an_agent():
    class Agent(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "10")
            self.end_headers()
            self.wfile.write(b'"my agent"')

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Agent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with LocalDataPlane(agent=f"http://127.0.0.1:{server.server_port}") as plane:
            assert invoke(plane, {"prompt": "Hi"})["response"].read() == b'"my agent"'
        server.shutdown()


def test_the_environments_proxy_is_not_asked(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with LocalDataPlane() as plane:
        assert plane.journal() == []


# -- faults and journal -----------------------------------------------------------------------


def test_faults(plane):
    plane.add_fault(status=429, code="ThrottlingException", headers={"retry-after": "1"})
    plane.add_fault(reset_after_request=True, repeat=2)
    assert [sorted(f) for f in plane.faults()] == [
        ["code", "headers", "status"],
        ["repeat", "reset_after_request"],
    ]
    with pytest.raises(botocore.exceptions.ClientError, match="ThrottlingException"):
        invoke(plane, {"prompt": "Hi"})
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        invoke(plane, {"prompt": "Hi"})
    plane.clear_faults()
    assert plane.faults() == []
    assert invoke(plane, {"prompt": "Hi"})["statusCode"] == 200
    with pytest.raises(ValueError, match="resett"):
        plane.add_fault(resett=True)
    with pytest.raises(ValueError, match="Not a fault"):
        plane.add_fault(status="many")


def test_the_journal_tells_of_calls_and_not_of_itself(plane):
    assert plane.journal() == []
    payload = {"prompt": "Grüße"}
    invoke(plane, payload)["response"].read()
    plane.wait_for(lambda e: e["kind"] == "complete")
    kinds = [entry["kind"] for entry in plane.journal()]
    assert kinds[:3] == ["connection_opened", "request", "auth"], kinds
    assert kinds.count("request") == plane.count_posts() == 1
    request = next(e for e in plane.journal() if e["kind"] == "request")
    assert request["body_sha256"] == hashlib.sha256(json.dumps(payload).encode()).hexdigest()
    assert not any(plane.secret_key in str(e) for e in plane.journal())
    assert [e["kind"] for e in plane.journal(request["seq"])] == kinds[2:]

    plane.clear_journal()
    assert plane.journal() == [] and plane.count_posts() == 0


def test_count_posts_counts_attempts_and_no_stops(plane):
    session = f"a-session-of-the-tests-{uuid.uuid4()}"
    plane.add_fault(status=500)
    with pytest.raises(botocore.exceptions.ClientError):
        invoke(plane, {"prompt": "Hi"}, session)
    invoke(plane, {"prompt": "Hi"}, session)["response"].read()
    assert plane.sessions() == [{"runtime_arn": plane.runtime_arn, "session_id": session}]
    boto(plane).stop_runtime_session(agentRuntimeArn=plane.runtime_arn, runtimeSessionId=session)
    assert plane.sessions() == []
    assert plane.count_posts() == 2


def test_wait_for_sees_what_was_and_what_comes(tokens):
    payload = b'{"mode":"silent"}'
    connection, answer = post(tokens, tokens.bearer_token, payload)
    assert answer.status == 200
    assert tokens.wait_for(lambda e: e["kind"] == "response")["status"] == 200
    with pytest.raises(TimeoutError, match=r"0\.05 s.*response"):
        tokens.wait_for(lambda e: e["kind"] == "disconnect", timeout=0.05)

    def leave():
        answer.close()
        connection.close()

    timer = threading.Timer(0.1, leave)
    timer.start()
    assert tokens.wait_for(lambda e: e["kind"] == "disconnect")["phase"] == "body"
    timer.join()


def test_threads_may_share_it(plane):
    errors = []

    def work():
        try:
            for _ in range(20):
                plane.journal()
                plane.add_fault(path_contains="never")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(plane.faults()) == 160


# -- the pytest plugin ------------------------------------------------------------------------

TESTS = """
    import pytest

    pids = set()

    @pytest.mark.parametrize("time", range(3))
    def test_each_gets_a_fresh_one(local_data_plane, time):
        assert local_data_plane.faults() == []
        assert local_data_plane.journal() == []
        local_data_plane.add_fault(status=500)
        pids.add(local_data_plane._running._process.pid)
        assert len(pids) == 1

    def test_that_closes_it(local_data_plane):
        local_data_plane.close()

    def test_after_it(local_data_plane):
        assert local_data_plane.journal() == []
        assert local_data_plane._running._process.pid not in pids
"""


def pytest_run(tmp_path, text, *flags):
    (tmp_path / "test_it.py").write_text(textwrap.dedent(text))
    env = {**os.environ, "PYTHONPATH": str(PACKAGE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugin = "agentcore_client.testing.pytest_plugin"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", plugin, "-p", "no:cacheprovider", *flags],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


def test_the_fixture(tmp_path):
    run = pytest_run(tmp_path, TESTS)
    assert run.returncode == 0 and "5 passed" in run.stdout, run.stdout


def test_the_plugin_costs_nothing_where_it_is_not_used(tmp_path):
    text = """
        import sys

        def test_nothing_is_loaded():
            assert "agentcore_client.testing._local" not in sys.modules
            assert "http.client" not in sys.modules
    """
    run = pytest_run(tmp_path, text)
    assert run.returncode == 0 and "1 passed" in run.stdout, run.stdout


def test_the_plugins_import_is_lazy():
    program = """
        import sys
        import agentcore_client.testing
        assert "agentcore_client.testing._local" not in sys.modules
        for name in ("asyncio", "dataclasses", "http.client", "json", "subprocess", "typing"):
            assert name not in sys.modules, name
        assert "LocalDataPlane" in dir(agentcore_client.testing)
        from agentcore_client.testing import *
        assert LocalDataPlane and LocalDataPlaneError and JournalEntry
        try:
            agentcore_client.testing.nothing
        except AttributeError:
            pass
        else:
            raise SystemExit("an attribute that is not there")
    """
    # Isolated, without site: an editable install may import all sorts of things at the start.
    program = f"import sys; sys.path.insert(0, {str(PACKAGE)!r})\n{textwrap.dedent(program)}"
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True)
