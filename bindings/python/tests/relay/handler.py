"""The function that the relay's tests put behind the local gateway."""

import json
import os
from pathlib import Path

from agentcore_client import AgentCoreClient
from agentcore_client.apigateway import Message, Refused, WebSocketRelay


def payload(body, message):
    assert isinstance(message, Message) and message.session_id
    if body.get("refuse"):
        raise Refused("not today")
    if body.get("fail"):
        raise KeyError("a secret")
    return body.get("ask") or {"prompt": body["prompt"]}


def claim(nonce):
    """Of all processes, one makes the file."""
    try:
        (Path(os.environ["CLAIMS"]) / nonce).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


PLAIN = {"format": "text", "end_marker": "[DONE]", "trust_client_session_ids": True}
mapped = os.environ.get("MAPPED_TO")
relay = WebSocketRelay(
    AgentCoreClient(),
    payload=None if "WITHOUT_HOOKS" in os.environ else payload,
    allowed_origins=["http://localhost"],
    anyone_resumes="ANYONE_RESUMES" in os.environ,
    claim=claim if "CLAIMS" in os.environ else None,
    # A custom domain that leads here.
    endpoint_url=os.environ["AWS_ENDPOINT_URL_LAMBDA"] + mapped if mapped else None,
    heartbeat=0.5,
    # What clients of relays that were built by hand send and expect.
    **PLAIN if "PLAIN" in os.environ else {},
)


def handler(event, context):
    if "EVENTS" in os.environ and "agentcoreRelay" in event:
        kept = Path(os.environ["EVENTS"]) / context.aws_request_id
        kept.write_text(json.dumps(event))
    return relay.handle(event, context)
