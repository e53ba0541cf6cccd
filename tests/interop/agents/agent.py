"""An agent written with the official SDK, for tests to call.

    agent.py [--port N]        (or AGENT_PORT; 0, the default, takes a free port)

Listens on 127.0.0.1 only. When it accepts connections it prints one JSON line,
{"ready": true, "port": N, "url": "http://127.0.0.1:N"}. It ends when its standard
input closes, so that a killed test leaves no orphan behind.

The payload's field `case` selects what the agent does; see CASES.
"""

import argparse
import asyncio
import collections
import inspect
import json
import os
import socket
import sys
import threading

import uvicorn
from bedrock_agentcore.runtime import BedrockAgentCoreApp

app = BedrockAgentCoreApp()

# What every call left behind, so that a test can ask the agent itself how often it ran
# and what it remembers of a session.
CALLS = collections.Counter()
MEMORY = collections.defaultdict(list)

# Multi-byte characters, quotes, a newline and an empty token: what decoders get wrong.
TOKENS = ["Grüße", ", ", "世界", " 🙂", "", ' "quoted"', "\n", "end."]


def answer_json(payload, context):
    return {"case": "json", "prompt": payload.get("prompt"), "session_id": context.session_id}


def answer_text(payload, context):
    return f'You said "{payload.get("prompt")}".\nGrüße 🙂'


def answer_null(payload, context):
    return None


def answer_echo(payload, context):
    """The payload and the headers as they reached the agent, names in lower case."""
    headers = {name.lower(): value for name, value in context.request.headers.items()}
    return {"payload": payload, "session_id": context.session_id, "headers": headers}


def answer_remember(payload, context):
    """Every prompt of this session so far, this one last."""
    MEMORY[context.session_id].append(payload.get("prompt"))
    return {"session_id": context.session_id, "prompts": MEMORY[context.session_id]}


def answer_calls(payload, context):
    """How often each case ran under the given `key`."""
    key = payload.get("key")
    return dict(sorted((case, n) for (k, case), n in CALLS.items() if k == key))


def answer_big(payload, context):
    return "x" * int(payload.get("bytes", 1_000_000))


def answer_error(payload, context):
    raise ValueError("the tool failed on purpose")


async def answer_slow(payload, context):
    await asyncio.sleep(float(payload.get("seconds", 2)))
    return {"case": "slow", "slept": payload.get("seconds", 2)}


async def stream_tokens(payload, context):
    for token in payload.get("tokens", TOKENS):
        yield token
        await asyncio.sleep(float(payload.get("pause", 0)))


async def stream_objects(payload, context):
    for value in [{"a": 1, "b": "ü"}, 42, None, [1, 2], "", {"text": "line\nbreak"}]:
        yield value


async def stream_slow(payload, context):
    await asyncio.sleep(float(payload.get("seconds", 2)))
    yield "late"


async def stream_error_before(payload, context):
    raise RuntimeError("failed before the first token")
    yield  # makes this a generator


async def stream_error_during(payload, context):
    yield "one"
    yield "two"
    raise RuntimeError("failed after two tokens")


CASES = {
    "json": answer_json,
    "text": answer_text,
    "null": answer_null,
    "echo": answer_echo,
    "remember": answer_remember,
    "calls": answer_calls,
    "big": answer_big,
    "error": answer_error,
    "slow": answer_slow,
    "stream": stream_tokens,
    "stream_objects": stream_objects,
    "stream_slow": stream_slow,
    "stream_error_before": stream_error_before,
    "stream_error_during": stream_error_during,
}


@app.entrypoint
async def invoke(payload, context):
    case = payload.get("case", "json") if isinstance(payload, dict) else "json"
    payload = payload if isinstance(payload, dict) else {"prompt": payload}
    if case not in CASES:
        raise ValueError(f"unknown case {case!r}; known: {', '.join(CASES)}")
    CALLS[payload.get("key"), case] += 1
    answer = CASES[case](payload, context)
    return await answer if inspect.iscoroutine(answer) else answer


class Server(uvicorn.Server):
    """Says when it is ready, and ends when standard input closes."""

    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        port = sockets[0].getsockname()[1]
        ready = {"ready": True, "port": port, "url": f"http://127.0.0.1:{port}"}
        print(json.dumps(ready), flush=True)
        threading.Thread(target=self.end_with_stdin, daemon=True).start()

    def end_with_stdin(self):
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self.should_exit = True
        # An open stream must not keep a process that nobody owns any more.
        threading.Timer(2, os._exit, args=(0,)).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=int(os.environ.get("AGENT_PORT", "0")))
    port = parser.parse_args().port

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
