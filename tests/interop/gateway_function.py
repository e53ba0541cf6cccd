"""A function behind the local gateway, run by AWS's own runtime for Python (awslambdaric), which
posts and invokes itself with boto3. What it shall do is the message's `do`.
"""

import json
import os

import boto3

lambda_client = boto3.client("lambda")


def post(about, value):
    client = boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=os.environ["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] + "/" + about["stage"],
    )
    client.post_to_connection(ConnectionId=about["connectionId"], Data=json.dumps(value).encode())


def handler(event, context):
    if "later" in event:
        post(event["later"], {"later": context.aws_request_id})
        return None
    about = event["requestContext"]
    if about["eventType"] != "MESSAGE":
        return {"statusCode": 200}
    wish = json.loads(event["body"])
    if wish["do"] == "context":
        post(
            about,
            {
                "left_ms": context.get_remaining_time_in_millis(),
                "arn": context.invoked_function_arn,
                "name": context.function_name,
                "memory": context.memory_limit_in_mb,
            },
        )
    elif wish["do"] == "later":
        answer = lambda_client.invoke(
            FunctionName=context.invoked_function_arn,
            InvocationType="Event",
            Payload=json.dumps({"later": about}),
        )
        post(
            about,
            {
                "status": answer["StatusCode"],
                "request_id": answer["ResponseMetadata"]["RequestId"],
            },
        )
    elif wish["do"] == "fail":
        raise ValueError("asked to")
    return {"statusCode": 200}
