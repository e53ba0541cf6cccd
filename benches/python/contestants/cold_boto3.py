"""From nothing to the first event with boto3: a script as a user writes it."""

import sys

import boto3

url, arn, payload = sys.argv[1:]
client = boto3.client("bedrock-agentcore", region_name=arn.split(":")[3], endpoint_url=url)
answer = client.invoke_agent_runtime(
    agentRuntimeArn=arn, contentType="application/json", payload=payload.encode()
)
for line in answer["response"].iter_lines():
    print(line.decode()[6:])
    break
