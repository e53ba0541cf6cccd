"""boto3 as the client of a data plane: does it speak the protocol that AWS's own SDK expects?

    boto3_client.py --endpoint-url URL --arn ARN --access-key K --secret-key S [CASE ...]
    boto3_client.py ... -        operations as JSON lines on stdin, one result line each

Every option has an environment variable: ENDPOINT_URL, RUNTIME_ARN, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. Without CASE, all of CASES run. This program judges
nothing: it prints what boto3 saw, one JSON line per operation, for a test to assert on.

An operation: {"case": name, "op": "invoke" | "stream" | "stop", ...} with, where wanted,
    payload, session_id, qualifier, accept, content_type,
    access_key, secret_key, session_token    instead of the options
    max_attempts    1: boto3 does not retry, so one operation is one request
    read_timeout    seconds, 60
    validate        true; false lets a bad session id through to the server
A result: {"case", "ok", "status", "session_id", "request_id", "attempts", "ms"} with
"content_type" and "body" (invoke) or "lines" and "arrived_ms" (stream), or with
"error": {"type", "code", "message", "reason"} when "ok" is false. After an error in the middle
of a stream, the lines until then are there, too.
"""

import argparse
import json
import os
import sys
import time
import uuid

# Nothing of the caller's own AWS set-up may reach these calls.
os.environ.update(
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    AWS_EC2_METADATA_DISABLED="true",
)

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SESSION = "interop-" + str(uuid.uuid4())

CASES = [
    {"case": "unary", "op": "invoke", "session_id": SESSION},
    {"case": "stream", "op": "stream", "session_id": SESSION},
    {"case": "no_session_id", "op": "invoke"},
    {"case": "stop", "op": "stop", "session_id": SESSION},
    {"case": "invoke_after_stop", "op": "invoke", "session_id": SESSION},
    {"case": "wrong_secret", "op": "invoke", "secret_key": "not-the-secret"},
    {"case": "unknown_access_key", "op": "invoke", "access_key": "AKIDUNKNOWN"},
    {"case": "short_session_id", "op": "invoke", "session_id": "short", "validate": False},
]

_clients = {}


def client(options, operation):
    key = (
        operation.get("access_key", options.access_key),
        operation.get("secret_key", options.secret_key),
        operation.get("session_token", options.session_token),
        operation.get("max_attempts", 1),
        operation.get("read_timeout", 60),
        operation.get("validate", True),
    )
    if key not in _clients:
        access_key, secret_key, token, attempts, read_timeout, validate = key
        _clients[key] = boto3.client(
            "bedrock-agentcore",
            endpoint_url=options.endpoint_url,
            region_name=options.arn.split(":")[3],
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token or None,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": attempts},
                connect_timeout=5,
                read_timeout=read_timeout,
                parameter_validation=validate,
                proxies={},
            ),
        )
    return _clients[key]


def call(options, operation, result):
    """Runs one operation and fills in `result` as it learns, so that an error keeps the rest."""
    agentcore = client(options, operation)
    arguments = {"agentRuntimeArn": options.arn}
    if "session_id" in operation:
        arguments["runtimeSessionId"] = operation["session_id"]
    if "qualifier" in operation:
        arguments["qualifier"] = operation["qualifier"]

    if operation["op"] == "stop":
        response = agentcore.stop_runtime_session(**arguments)
        note_response(result, response)
        return

    arguments["payload"] = json.dumps(operation.get("payload", options.payload)).encode()
    arguments["contentType"] = operation.get("content_type", "application/json")
    arguments["accept"] = operation.get("accept", "application/json, text/event-stream")
    start = time.monotonic()
    response = agentcore.invoke_agent_runtime(**arguments)
    note_response(result, response)
    body = response["response"]
    if operation["op"] == "stream":
        result["lines"], result["arrived_ms"] = [], []
        for line in body.iter_lines(chunk_size=1):
            result["lines"].append(line.decode())
            result["arrived_ms"].append(round((time.monotonic() - start) * 1000))
    else:
        result["body"] = body.read().decode()


def note_response(result, response):
    metadata = response.get("ResponseMetadata", {})
    result["status"] = metadata.get("HTTPStatusCode")
    result["request_id"] = metadata.get("RequestId")
    result["attempts"] = metadata.get("RetryAttempts", 0) + 1
    if "runtimeSessionId" in response:
        result["session_id"] = response["runtimeSessionId"]
    if "contentType" in response:
        result["content_type"] = response["contentType"]


def run(options, operation):
    result = {"case": operation.get("case", operation["op"]), "ok": True}
    start = time.monotonic()
    try:
        call(options, operation, result)
    except ClientError as error:
        note_response(result, error.response)
        details = error.response.get("Error", {})
        result["ok"] = False
        result["error"] = {
            "type": type(error).__name__,
            "code": details.get("Code"),
            "message": details.get("Message"),
            "reason": error.response.get("reason"),
        }
    except BotoCoreError as error:
        result["ok"] = False
        result["error"] = {
            "type": type(error).__name__,
            "code": None,
            "message": str(error),
            "reason": None,
        }
    result["ms"] = round((time.monotonic() - start) * 1000)
    print(json.dumps(result, ensure_ascii=False), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    environ = os.environ.get
    parser.add_argument("--endpoint-url", default=environ("ENDPOINT_URL"))
    parser.add_argument("--arn", default=environ("RUNTIME_ARN"))
    parser.add_argument("--access-key", default=environ("AWS_ACCESS_KEY_ID"))
    parser.add_argument("--secret-key", default=environ("AWS_SECRET_ACCESS_KEY"))
    parser.add_argument("--session-token", default=environ("AWS_SESSION_TOKEN", ""))
    parser.add_argument("--payload", type=json.loads, default={"prompt": "hello"})
    parser.add_argument("cases", nargs="*", metavar="CASE")
    options = parser.parse_args()
    for name in ("endpoint_url", "arn", "access_key", "secret_key"):
        if not getattr(options, name):
            parser.error(f"--{name.replace('_', '-')} is missing")

    if options.cases == ["-"]:
        for line in sys.stdin:
            if line.strip():
                run(options, json.loads(line))
        return
    known = {operation["case"]: operation for operation in CASES}
    for name in options.cases:
        if name not in known:
            parser.error(f"unknown case {name!r}; known: {', '.join(known)}")
    for name in options.cases or known:
        run(options, known[name])


if __name__ == "__main__":
    main()
