"""An AWS Lambda function behind a function URL or an HTTP API that asks an agent.

    pip install --target package agentcore-client && cp lambda_handler.py package/
    # handler: lambda_handler.handler; environment: AGENT_RUNTIME_ARN

The role needs bedrock-agentcore:InvokeAgentRuntime on the runtime and on its endpoint. The agent
gets as long as the function has, less a second to answer in.
"""

import base64
import json
import time
from typing import Any

from agentcore_client import AgentCoreClient, AgentCoreError, InvalidInputError, Timeouts

# Outside the handler: connections and credentials outlive one invocation.
client = AgentCoreClient()

# What the caller of this function may conclude.
STATUS = {
    "not_sent": 503,  # it never left: send it again
    "rejected": 503,  # the service says that it did not run: send it again, later
    "accepted": 502,  # the agent ran, and failed or was cut off
    "unknown": 504,  # it may have run: look before you send it again
}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    try:
        body = event.get("body") or ""
        question = json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
        prompt, session = question["prompt"], question.get("session")
    except (ValueError, KeyError, TypeError, AttributeError):
        return reply(400, {"error": "InvalidInput", "field": "body"})
    deadline = time.time() + context.get_remaining_time_in_millis() / 1000 - 1
    try:
        answer = client.invoke(
            {"prompt": prompt},
            # A random one that this function gave out: who knows it, was told it.
            session_id=session,
            timeouts=Timeouts(deadline=deadline),
        )
    except InvalidInputError as error:
        if error.field != "session_id":
            raise  # This function's own mistake, not its caller's.
        return reply(400, {"error": error.kind, "field": error.field})
    except AgentCoreError as error:
        print(f"the agent did not answer: {error}")  # to CloudWatch; it holds no secrets
        failed = {"error": error.kind, "delivery": error.delivery, "session": error.session_id}
        return reply(STATUS[error.delivery], failed, error.retry_after)
    return reply(200, {"text": answer.text, "session": answer.session_id})


def reply(status: int, body: dict[str, Any], retry_after: float | None = None) -> dict[str, Any]:
    headers = {"content-type": "application/json"}
    if retry_after is not None:
        headers["retry-after"] = str(round(retry_after))
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}
