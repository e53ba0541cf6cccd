"""The same relay as it is written by hand, after AWS's samples: boto3 posts and invokes the second
stage, urllib3 calls the agent with a request that botocore signed. It speaks the frames of ours, as
far as an answer without trouble needs them.
"""

import json
import os
from typing import Any
from urllib.parse import quote

import boto3
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

REGION = os.environ["AWS_REGION"]
ARN = os.environ["AGENT_RUNTIME_ARN"]
AGENT = os.environ["AWS_ENDPOINT_URL_BEDROCK_AGENTCORE"]

session = boto3.Session(region_name=REGION)
http = urllib3.PoolManager()
lambda_client = session.client("lambda")
posting: dict[str, Any] = {}


def gateway(context: dict[str, Any]) -> Any:
    endpoint = os.environ["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] + "/" + context["stage"]
    if endpoint not in posting:
        posting[endpoint] = session.client("apigatewaymanagementapi", endpoint_url=endpoint)
    return posting[endpoint]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if "second_stage" in event:
        relay(event["second_stage"])
        return {"statusCode": 200}
    about = event["requestContext"]
    if about["eventType"] == "MESSAGE":
        task = {"context": about, "body": json.loads(event["body"])}
        lambda_client.invoke(
            FunctionName=context.invoked_function_arn,
            InvocationType="Event",
            Payload=json.dumps({"second_stage": task}),
        )
    return {"statusCode": 200}


def relay(task: dict[str, Any]) -> None:
    about, body = task["context"], task["body"]
    client = gateway(about)
    number = 0

    def post(kind: str, **members: object) -> None:
        nonlocal number
        frame = {"type": kind, "id": body.get("id"), "seq": number, **members}
        client.post_to_connection(
            ConnectionId=about["connectionId"], Data=json.dumps(frame).encode()
        )
        number += 1

    # Session ids have 33 characters at least, and no `=`.
    conversation = f"{about['connectionId'].rstrip('=')}-{body.get('conversation', ''):0>20}"
    post("start", resume="", resumed=False)
    with ask(body["prompt"], conversation) as answer:
        for text in texts(answer):
            post("delta", text=text)
    post("end", state="complete")


def ask(prompt: object, session_id: str) -> Any:
    """The agent's answer, unread."""
    url = f"{AGENT}/runtimes/{quote(ARN, safe='')}/invocations"
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id": session_id,
    }
    request = AWSRequest("POST", url, headers, json.dumps({"prompt": prompt}))
    credentials = session.get_credentials().get_frozen_credentials()
    SigV4Auth(credentials, "bedrock-agentcore", REGION).add_auth(request)
    answer = http.request(
        "POST", url, body=request.body, headers=dict(request.headers), preload_content=False
    )
    if answer.status != 200:
        raise RuntimeError(f"the agent answered {answer.status}: {answer.data!r}")
    return answer


def texts(answer: Any) -> Any:
    rest = b""
    for chunk in answer.stream(1024):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
