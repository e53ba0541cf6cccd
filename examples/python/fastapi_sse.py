"""Relays an agent's answer to a browser as server-sent events.

    pip install agentcore-client fastapi uvicorn
    export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
    export SESSION_SECRET=…        # at least 16 bytes that only your backend knows
    uvicorn fastapi_sse:app
    curl -N http://127.0.0.1:8000/ask -H 'content-type: application/json' -H 'x-user: ada' \\
        -d '{"conversation": "1", "prompt": "Hi"}'

A POST for `fetch`: a browser's `EventSource` would ask the agent again whenever its connection
breaks. When the browser leaves, the server cancels its task, and that closes the connection to the
agent at once; `stop_on_close=True` stops the agent's session, too.
"""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from agentcore_client import AgentCoreError, AsyncAgentCoreClient, SessionId, Timeouts
from fastapi import FastAPI, Header, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


class Question(BaseModel):
    conversation: str
    prompt: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with AsyncAgentCoreClient(timeouts=Timeouts(total=300)) as app.state.agent:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/ask")
async def ask(
    question: Question,
    request: Request,
    x_user: Annotated[str, Header()],  # what your authentication says, never the browser
) -> StreamingResponse:
    session = SessionId.derive(os.environ["SESSION_SECRET"], x_user, question.conversation)
    events = relay(request.app.state.agent, question.prompt, session)
    return StreamingResponse(events, media_type="text/event-stream")


async def relay(agent: AsyncAgentCoreClient, prompt: str, session: SessionId) -> AsyncIterator[str]:
    try:
        async with agent.stream({"prompt": prompt}, session_id=session) as stream:
            async for text in stream.text_deltas():
                yield f"data: {json.dumps(text)}\n\n"
        yield "event: end\ndata:\n\n"
    except AgentCoreError as error:
        told = {"kind": error.kind, "delivery": error.delivery}
        yield f"event: error\ndata: {json.dumps(told)}\n\n"
