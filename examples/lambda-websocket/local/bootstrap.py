"""Runs a Lambda handler on this machine: the loop of the runtime API, on the standard library.

    python bootstrap.py handler.handler

It stands in for Lambda's own Python runtime, which installs on Linux only (`python -m awslambdaric`
takes the same argument). A function that is deployed does not need it.
"""

import contextlib
import http.client
import importlib
import json
import os
import sys
import time
import traceback

BASE = "/2018-06-01/runtime/"


class Context:
    """What Lambda passes as `context`, as far as it has a meaning here."""

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))


def failure(error):
    text = traceback.format_exc()
    print(text, file=sys.stderr, flush=True)
    return {
        "errorType": type(error).__name__,
        "errorMessage": str(error),
        "stackTrace": text.splitlines(),
    }


def main():
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

    def call(method, path, body=None):
        api.request(method, BASE + path, None if body is None else json.dumps(body))
        answer = api.getresponse()
        return answer.headers, answer.read()

    module, _, name = (sys.argv[1:] or [os.environ["_HANDLER"]])[0].rpartition(".")
    sys.path.insert(0, os.environ.get("LAMBDA_TASK_ROOT", os.getcwd()))
    try:
        handler = getattr(importlib.import_module(module), name)
    except Exception as error:
        call("POST", "init/error", failure(error))
        sys.exit(1)
    while True:
        headers, event = call("GET", "invocation/next")
        context = Context(headers)
        path = f"invocation/{context.aws_request_id}/"
        try:
            result = handler(json.loads(event), context)
        except Exception as error:
            call("POST", path + "error", failure(error))
        else:
            call("POST", path + "response", result)


if __name__ == "__main__":
    # Ctrl-C reaches this process, too; and without the runtime API there is nothing to do.
    with contextlib.suppress(KeyboardInterrupt, ConnectionError, http.client.HTTPException):
        main()
