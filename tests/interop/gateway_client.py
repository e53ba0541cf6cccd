"""A WebSocket client of the local gateway (`websockets`), with boto3 for the other side of the
socket. One JSON line per step on standard output: `step`, and what it gave.

Environment: WEBSOCKET_URL, ENDPOINT_URL (with the stage), LAMBDA_URL, the keys and AWS_REGION.
"""

import asyncio
import json
import os

import boto3
import websockets
from botocore.config import Config
from botocore.exceptions import ClientError

ONCE = Config(retries={"total_max_attempts": 1})
api = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["ENDPOINT_URL"], config=ONCE)
function = boto3.client("lambda", endpoint_url=os.environ["LAMBDA_URL"], config=ONCE)


def tell(step, **members):
    print(json.dumps({"step": step, **members}), flush=True)


def attempt(step, call, **arguments):
    try:
        answer = call(**arguments)
    except ClientError as error:
        meta = error.response["ResponseMetadata"]
        tell(step, status=meta["HTTPStatusCode"], code=error.response["Error"]["Code"])
        return
    meta = answer.pop("ResponseMetadata")
    if "Payload" in answer:
        answer["Payload"] = answer["Payload"].read().decode()
    tell(step, status=meta["HTTPStatusCode"], answer=json.loads(json.dumps(answer, default=str)))


async def talk():
    url = os.environ["WEBSOCKET_URL"]
    async with websockets.connect(url, user_agent_header="interop") as socket:
        await socket.send(json.dumps({"do": "context"}))
        tell("context", frame=json.loads(await socket.recv()))
        await socket.send(json.dumps({"do": "later"}))
        first, second = [json.loads(await socket.recv()) for _ in range(2)]
        tell("later", frames=[first, second])
        await socket.send(json.dumps({"do": "fail"}))
        frame = json.loads(await socket.recv())
        tell("fail", frame=frame)
        id = frame["connectionId"]
        await asyncio.to_thread(attempt, "get", api.get_connection, ConnectionId=id)
        await asyncio.to_thread(
            attempt, "large", api.post_to_connection, ConnectionId=id, Data=b"x" * 131_073
        )
        await asyncio.to_thread(
            attempt, "post", api.post_to_connection, ConnectionId=id, Data="é".encode()
        )
        tell("posted", text=await socket.recv())
        await asyncio.to_thread(attempt, "delete", api.delete_connection, ConnectionId=id)
        await socket.wait_closed()
        tell("closed", code=socket.close_code)
        await asyncio.to_thread(attempt, "gone", api.get_connection, ConnectionId=id)
    async with websockets.connect(url) as socket:
        await socket.send("x" * 40_000)
        await socket.wait_closed()
        tell("too long", code=socket.close_code)


asyncio.run(talk())
attempt("unknown", function.invoke, FunctionName="other")
attempt("failed", function.invoke, FunctionName=os.environ["FUNCTION_ARN"], Payload=b"{}")
