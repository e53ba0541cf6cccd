"""The whole function: each message of a socket goes to the agent, and its answer to the socket."""

import os

from agentcore_client import AgentCoreClient
from agentcore_client.apigateway import WebSocketRelay

relay = WebSocketRelay(
    AgentCoreClient(),  # AGENT_RUNTIME_ARN names the runtime
    secret=os.environ["AGENTCORE_RELAY_SECRET"],
    # Web pages of other origins cannot connect.
    allowed_origins=os.environ["ALLOWED_ORIGINS"].split(","),
    # Nobody signs in here: who holds a conversation's token goes on with it. With an authorizer,
    # give `principal="principalId"` in its place.
    anyone_resumes=True,
    # Where there is a table for it, a second delivery of an event is noticed.
    claims_table=os.environ.get("CLAIMS_TABLE") or None,
)


def handler(event, context):
    return relay.handle(event, context)
