"""Relays an agent's answer to a browser as server-sent events.

    pip install agentcore-client fastapi uvicorn
    export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
    export SESSION_SECRET=…        # at least 16 bytes that only your backend knows
    uvicorn fastapi_sse:app        # and open http://127.0.0.1:8000
    curl -N http://127.0.0.1:8000/ask -d '{"conversation": "1", "prompt": "Hi"}'

When the browser leaves, the connection to the agent is closed at once, also while the agent is
silent. That alone does not stop the agent: `stop_on_close=True` ends its session, too.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from agentcore_client import AgentCoreError, AsyncAgentCoreClient, SessionId, Timeouts
from agentcore_client.starlette import EventStreamResponse, error_response, read_json
from agentcore_client.web import text_field
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with AsyncAgentCoreClient(timeouts=Timeouts(total=300)) as app.state.agent:
        yield


app = FastAPI(lifespan=lifespan)
app.add_exception_handler(AgentCoreError, error_response)


def user_of(request: Request) -> str:
    return "ada"  # what your authentication says, never what the browser claims


@app.get("/")
async def page() -> FileResponse:
    return FileResponse(Path(__file__).parents[1] / "page.html")


@app.post("/ask")
async def ask(request: Request) -> EventStreamResponse:
    question = await read_json(request, max_bytes=100_000)
    prompt, conversation = text_field(question, "prompt"), text_field(question, "conversation")
    session = SessionId.derive(os.environ["SESSION_SECRET"], user_of(request), conversation)
    stream = request.app.state.agent.stream({"prompt": prompt}, session_id=session)
    return EventStreamResponse(stream, text_only=True, heartbeat=15)
