"""A function for the tests of the gateway: the Lambda runtime API with nothing but http.client.

What it is to do stands in the message or in the query of the handshake. What it saw is a line in
the file that SEEN names.
"""

import base64
import http.client
import json
import os
import sys
import time

API = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
BASE = "/2018-06-01/runtime/"


def call(method, path, body=None):
    API.request(method, BASE + path, body, {"Content-Type": "application/json"})
    answer = API.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def connect(event):
    query = event.get("queryStringParameters") or {}
    if "status" in query:
        return {"statusCode": int(query["status"])}
    if "fail" in query:
        raise ValueError("asked to")
    if "malformed" in query:
        return {"no": "status"}
    if "late" in query:
        time.sleep(float(query["late"]))
    offered = event["headers"].get("Sec-WebSocket-Protocol") or event["headers"].get(
        "sec-websocket-protocol"
    )
    headers = {"Sec-WebSocket-Protocol": offered.split(",")[0].strip()} if offered else {}
    return {"statusCode": 200, "headers": headers}


def handle(event):
    context = event.get("requestContext", {})
    if context.get("eventType") == "CONNECT":
        return connect(event)
    if context.get("eventType") == "DISCONNECT":
        return {"statusCode": 200}
    body = event.get("body", "{}")
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode("utf-8", "replace")
    try:
        wish = json.loads(body) if "requestContext" in event else event
    except ValueError:
        wish = {}
    if "sleep" in wish:
        time.sleep(wish["sleep"])
    if "exit" in wish:
        os._exit(wish["exit"])
    if "fail" in wish:
        raise ValueError(wish["fail"])
    if wish.get("do") == "environment":
        return dict(os.environ)
    return {"statusCode": 200, "pid": os.getpid()}


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "broken":
        error = {"errorType": "Runtime.ImportModuleError", "errorMessage": "no such module"}
        call("POST", "init/error", json.dumps(error))
        sys.exit(1)
    while True:
        status, headers, body = call("GET", "invocation/next")
        assert status == 200, status
        request = f"invocation/{headers['Lambda-Runtime-Aws-Request-Id']}/"
        try:
            event = json.loads(body)
            seen = {"event": event, "headers": headers, "pid": os.getpid()}
            if "SEEN" in os.environ:
                with open(os.environ["SEEN"], "a", encoding="utf-8") as file:
                    file.write(json.dumps(seen) + "\n")
            result = handle(event)
        except Exception as error:
            failure = {"errorType": type(error).__name__, "errorMessage": str(error)}
            call("POST", request + "error", json.dumps(failure))
        else:
            call("POST", request + "response", json.dumps(result))


if __name__ == "__main__":
    main()
