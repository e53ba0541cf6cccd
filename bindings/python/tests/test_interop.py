"""With those whose code is not ours: an agent on the official SDK, AWS's own client, and botocore's
signer, which must come to the same signature for the request that our client sent.
"""

import asyncio
import contextlib
import datetime
import json
import random
import re
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import boto3
import botocore.config
import botocore.exceptions
import pytest
from agentcore_client import (
    AgentCoreClient,
    AgentError,
    AsyncAgentCoreClient,
    Credentials,
    SessionId,
)
from agentcore_client.testing import LocalDataPlane
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

AGENT = Path(__file__).resolve().parents[3] / "tests/interop/agents/agent.py"
TOKENS = ["Grüße", ", ", "世界", " 🙂", "", ' "quoted"', "\n", "end."]


# -- an agent on the official SDK -------------------------------------------------------------


@pytest.fixture(scope="module")
def official():
    """The data plane in front of an agent that the official SDK serves."""
    pytest.importorskip("bedrock_agentcore", reason="the official SDK is not installed")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, AGENT], **pipes) as agent:
        try:
            assert select.select([agent.stdout], [], [], 30)[0], "the agent did not start"
            ready = json.loads(agent.stdout.readline())
            with LocalDataPlane(agent=ready["url"]) as plane:
                yield plane
        finally:
            # It ends when nobody holds its standard input.
            agent.stdin.close()
            try:
                agent.wait(5)
            except subprocess.TimeoutExpired:
                agent.kill()


def by_sync(plane, payload, session):
    with AgentCoreClient(**plane.client_options()) as client:
        return client.invoke(payload, session_id=session).body


def by_sync_stream(plane, payload, session):
    with AgentCoreClient(**plane.client_options()) as client:
        with client.stream(payload, session_id=session) as stream:
            return b"".join(stream.iter_bytes())


def by_async(plane, payload, session):
    async def ask():
        async with AsyncAgentCoreClient(**plane.client_options()) as client:
            return (await client.invoke(payload, session_id=session)).body

    return asyncio.run(ask())


def by_async_stream(plane, payload, session):
    async def ask():
        async with AsyncAgentCoreClient(**plane.client_options()) as client:
            async with client.stream(payload, session_id=session) as stream:
                return b"".join([chunk async for chunk in stream.iter_bytes()])

    return asyncio.run(ask())


def boto(plane):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=10)
    return boto3.client("bedrock-agentcore", config=config, **plane.boto3_options())


def by_boto3(plane, payload, session):
    answer = boto(plane).invoke_agent_runtime(
        agentRuntimeArn=plane.runtime_arn,
        payload=json.dumps(payload).encode(),
        runtimeSessionId=session,
        accept="application/json, text/event-stream",
    )
    return answer["response"].read()


CALLERS = [by_sync, by_sync_stream, by_async, by_async_stream, by_boto3]


@pytest.mark.parametrize(
    "case", ["json", "text", "null", "big", "stream", "stream_objects", "stream_error_during"]
)
def test_all_callers_get_the_same_answer(official, case):
    session = SessionId.generate()
    payload = {"case": case, "prompt": "Grüße 🙂", "bytes": 300_000}
    answers = []
    for caller in CALLERS:
        try:
            answers.append(caller(official, payload, session))
        except AgentError as error:
            # Whoever reads events is told what the others find among the bytes.
            assert case == "stream_error_during" and caller in (by_sync, by_async), caller
            assert json.loads(error.agent_payload)["error"] == "failed after two tokens"
    expected = 3 if case == "stream_error_during" else 5
    assert len(answers) == expected and len(set(answers)) == 1
    assert answers[0]


def test_what_our_clients_make_of_it(official):
    with AgentCoreClient(**official.client_options()) as client:
        with client.stream({"case": "stream"}) as stream:
            assert list(stream.text_deltas()) == [token for token in TOKENS if token]
        assert client.invoke({"case": "stream"}).text == "".join(TOKENS)
        assert client.invoke({"case": "text", "prompt": "x"}).text == 'You said "x".\nGrüße 🙂'
        assert client.invoke({"case": "null"}).json() is None
        with client.stream({"case": "stream_objects"}) as stream:
            values = [event.json() for event in stream]
        assert values == [{"a": 1, "b": "ü"}, 42, None, [1, 2], "", {"text": "line\nbreak"}]


def test_all_callers_share_a_session(official):
    session = SessionId.generate()
    for number, caller in enumerate(CALLERS, 1):
        answer = json.loads(caller(official, {"case": "remember", "prompt": number}, session))
        assert answer == {"session_id": session, "prompts": list(range(1, number + 1))}


def test_the_agent_fails(official):
    for case in ("error", "stream_error_before"):
        payload = {"case": case, "key": str(SessionId.generate())}
        with AgentCoreClient(**official.client_options()) as client:
            with pytest.raises(AgentError) as info:
                client.invoke(payload)
            assert info.value.delivery == "accepted"
            # It is not asked again.
            calls = client.invoke({"case": "calls", "key": payload["key"]}).json()
        assert calls == {case: 1, "calls": 1}


def test_a_session_that_one_stops_is_stopped_for_the_other(official):
    session = SessionId.generate()
    by_boto3(official, {"case": "json"}, session)
    with AgentCoreClient(**official.client_options()) as client:
        client.stop_session(session)
    with pytest.raises(botocore.exceptions.ClientError) as info:
        boto(official).stop_runtime_session(
            agentRuntimeArn=official.runtime_arn, runtimeSessionId=session
        )
    assert info.value.response["Error"]["Code"] == "ResourceNotFoundException"


# -- the same signature as botocore's ---------------------------------------------------------


class Recorder:
    """A server that keeps each request as its bytes came, and answers with an empty object."""

    def __init__(self):
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            with connection, connection.makefile("rb") as stream:
                while line := stream.readline():
                    if line == b"STOP\r\n":
                        return
                    self.one(connection, stream, line)

    def one(self, connection, stream, line):
        method, target, _ = line.decode("ascii").split(" ")
        headers = []
        while (line := stream.readline()) != b"\r\n":
            name, value = line.decode("ascii").rstrip("\r\n").split(": ", 1)
            headers.append((name, value))
        length = int(dict(headers).get("content-length", "0"))
        self.requests.append((method, target, headers, stream.read(length)))
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        )

    def close(self):
        with socket.create_connection(self.listener.getsockname()) as connection:
            connection.sendall(b"STOP\r\n")
        self.thread.join()
        self.listener.close()


@pytest.fixture
def recorder():
    with contextlib.closing(Recorder()) as recorder:
        yield recorder


def botocore_signs(request, url, keys, region):
    """The Authorization header that botocore writes for this very request at its time."""
    method, target, headers, body = request
    given = dict(headers)
    authorization = given.pop("authorization")
    when = datetime.datetime.strptime(given.pop("x-amz-date"), "%Y%m%dT%H%M%SZ")
    token = given.pop("x-amz-security-token", None)
    signed = re.search(r"SignedHeaders=([^,]+)", authorization)[1].split(";")
    again = AWSRequest(method=method, url=url + target, data=body)
    for name, value in given.items():
        if name in signed:
            again.headers[name] = value
    credentials = mock.Mock(access_key=keys.access_key, secret_key=keys.secret_key, token=token)
    signer = SigV4Auth(credentials, "bedrock-agentcore", region)
    with mock.patch("botocore.auth.get_current_datetime", return_value=when):
        signer.add_auth(again)
    return authorization, again.headers["Authorization"]


def some_request(rng):
    """A client, keys and a call, at random but for the seed."""
    letters = "abcXYZ019_"
    region = rng.choice(["us-west-2", "eu-central-1", "ap-southeast-2", "us-gov-west-1"])
    partition = "aws-us-gov" if "gov" in region else "aws"
    agent = "agent_" + "".join(rng.choices(letters, k=8)) + "-" + "0123456789"
    keys = Credentials(
        "AKID" + "".join(rng.choices("ABC123", k=16)),
        "".join(rng.choices(letters + "/+=", k=40)),
        "".join(rng.choices(letters + "/+=", k=300)) if rng.random() < 0.5 else None,
    )
    arn = f"arn:{partition}:bedrock-agentcore:{region}:123456789012:runtime/{agent}"
    client = {"runtime_arn": arn, "credentials": keys}
    if rng.random() < 0.5:
        client["qualifier"] = rng.choice(["prod", "DEFAULT", "test_2"])
    session = rng.choice(
        [
            SessionId.generate(),
            SessionId.derive(rng.randbytes(32), agent),
            SessionId.existing("tenant:42/~!*'()%20;=&?#" * 2),
        ]
    )
    call = {"session_id": session}
    if rng.random() < 0.5:
        call["user_id"] = "".join(rng.choices(letters + "@. :;,%", k=20)).strip() or "u"
    if rng.random() < 0.5:
        custom = "X-Amzn-Bedrock-AgentCore-Runtime-Custom-"
        call["headers"] = {custom + "B": "two  spaces", custom + "a": "a,b;c=d"}
    if rng.random() < 0.5:
        call["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        call["baggage"] = "a=b"
    if rng.random() < 0.5:
        call["mcp_session_id"] = "mcp-1"
    payload = rng.choice(
        [{"prompt": "Grüße 🙂" * rng.randrange(100)}, "text", rng.randbytes(1000), None, b""]
    )
    return client, keys, region, payload, call


@pytest.mark.parametrize("seed", range(20))
def test_botocore_signs_the_same(recorder, seed):
    rng = random.Random(seed)
    options, keys, region, payload, call = some_request(rng)
    with AgentCoreClient(**options, endpoint_url=recorder.url) as client:
        client.invoke(payload, **call)
        client.stop_session(call["session_id"])

    async def again():
        async with AsyncAgentCoreClient(**options, endpoint_url=recorder.url) as client:
            await client.invoke(payload, **call)

    asyncio.run(again())
    assert len(recorder.requests) == 3
    for request in recorder.requests:
        ours, theirs = botocore_signs(request, recorder.url, keys, region)
        assert ours == theirs
        signed = re.search(r"SignedHeaders=([^,]+)", ours)[1].split(";")
        # What proxies on the way may change is not signed.
        assert not {"traceparent", "baggage", "user-agent", "connection"} & set(signed)
        assert {"host", "x-amz-date"} <= set(signed)
    # Both clients send the same, but for the time.
    changing = ("x-amz-date", "authorization")
    invoked = [recorder.requests[0], recorder.requests[2]]
    first, second = ([h for h in headers if h[0] not in changing] for _, _, headers, _ in invoked)
    assert first == second and invoked[0][3] == invoked[1][3]
