"""boto3, as AWS's developer guide uses it: `iter_lines`, and a line's text behind its `data: `.

The JSON string around the text stays as it is, which spares boto3 what our client does.
"""

from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from measure import ARN, REGION, SESSION, Options, run_sync


class Boto3:
    def __init__(self, url: str, options: Options) -> None:
        # The guide's own sample says 10; not said, it is 1,024.
        self.lines = {"chunk_size": options["chunk_size"]} if "chunk_size" in options else {}
        self.client = boto3.client(
            "bedrock-agentcore",
            region_name=REGION,
            endpoint_url=url,
            config=Config(max_pool_connections=options.get("together", 10)),
        )

    def invoke(self, payload: bytes, accept: str) -> Any:
        answer = self.client.invoke_agent_runtime(
            agentRuntimeArn=ARN,
            runtimeSessionId=SESSION,
            contentType="application/json",
            accept=accept,
            payload=payload,
        )
        return answer["response"]

    def call(self, payload: bytes) -> bytes:
        body: bytes = self.invoke(payload, "application/json").read()
        return body

    def drain(self, payload: bytes) -> tuple[int, str]:
        count, last = 0, ""
        for line in self.invoke(payload, "text/event-stream").iter_lines(**self.lines):
            if line:
                line = line.decode("utf-8")
                if line.startswith("data: "):
                    last = line[6:]
                    count += 1
        return count, last.strip('"')

    def follow(self, payload: bytes, each: Callable[[str], object]) -> None:
        for line in self.invoke(payload, "text/event-stream").iter_lines(**self.lines):
            if line:
                line = line.decode("utf-8")
                if line.startswith("data: "):
                    each(line[7:-1])


run_sync(Boto3)
