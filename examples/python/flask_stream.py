"""Relays an agent's answer to a browser as server-sent events, from a WSGI server.

    pip install agentcore-client flask waitress
    export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
    export SESSION_SECRET=…        # at least 16 bytes that only your backend knows
    waitress-serve --listen 127.0.0.1:8000 --threads 64 flask_stream:app
    curl -N http://127.0.0.1:8000/ask -d '{"conversation": "1", "prompt": "Hi"}'

Each answer keeps a thread of the server's for as long as it takes: for more than a few dozen at a
time take FastAPI. A WSGI server notices a browser that left when it writes, so the connection to
the agent is closed at the agent's next word, or else at the next heartbeat. That alone does not
stop the agent: `stop_on_close=True` ends its session, too.
"""

import os
from pathlib import Path

from agentcore_client import AgentCoreClient, AgentCoreError, SessionId, Timeouts
from agentcore_client.web import (
    EVENT_STREAM_HEADERS,
    EventStream,
    public_error,
    read_json,
    text_field,
)
from flask import Flask, Response, request, send_file

agent = AgentCoreClient(timeouts=Timeouts(total=300))
app = Flask(__name__)


@app.errorhandler(AgentCoreError)
def failed(error: AgentCoreError) -> Response:
    app.logger.warning("%s", error)  # it holds no secrets
    status, headers, body = public_error(error)
    return Response(body, status, headers)


def user_of_request() -> str:
    return "ada"  # what your authentication says, never what the browser claims


@app.get("/")
def page() -> Response:
    return send_file(Path(__file__).parents[1] / "page.html")


@app.post("/ask")
def ask() -> Response:
    question = read_json(request.stream, max_bytes=100_000)
    prompt, conversation = text_field(question, "prompt"), text_field(question, "conversation")
    session = SessionId.derive(os.environ["SESSION_SECRET"], user_of_request(), conversation)
    stream = agent.stream({"prompt": prompt}, session_id=session)
    events = EventStream(stream, text_only=True, heartbeat=5)
    return Response(events, headers=EVENT_STREAM_HEADERS)
