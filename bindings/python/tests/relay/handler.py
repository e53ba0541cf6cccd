"""The function that the relay's tests put behind the local gateway."""

import os

from agentcore_client import AgentCoreClient
from agentcore_client.apigateway import Message, Refused, WebSocketRelay


def payload(body, message):
    assert isinstance(message, Message) and message.session_id
    if body.get("refuse"):
        raise Refused("not today")
    if body.get("fail"):
        raise KeyError("a secret")
    return body.get("ask") or {"prompt": body["prompt"]}


relay = WebSocketRelay(
    AgentCoreClient(),
    payload=payload,
    allowed_origins=["http://localhost"],
    anyone_resumes="ANYONE_RESUMES" in os.environ,
    heartbeat=0.5,
)


def handler(event, context):
    return relay.handle(event, context)
