"""aiobotocore, used the way boto3 is: `iter_lines`, and a line's text behind its `data: `.

The JSON string around the text stays as it is, which spares aiobotocore what our client does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from measure import ARN, REGION, SESSION, Options, run_async, run_scenario


class Aiobotocore:
    def __init__(self, client: Any, options: Options) -> None:
        self.client = client
        self.lines = {"chunk_size": options["chunk_size"]} if "chunk_size" in options else {}

    async def invoke(self, payload: bytes, accept: str) -> Any:
        answer = await self.client.invoke_agent_runtime(
            agentRuntimeArn=ARN,
            runtimeSessionId=SESSION,
            contentType="application/json",
            accept=accept,
            payload=payload,
        )
        return answer["response"]

    async def call(self, payload: bytes) -> bytes:
        async with await self.invoke(payload, "application/json") as response:
            body: bytes = await response.read()
            return body

    async def drain(self, payload: bytes) -> tuple[int, str]:
        count, last = 0, ""
        async with await self.invoke(payload, "text/event-stream") as response:
            async for line in response.iter_lines(**self.lines):
                if line:
                    line = line.decode("utf-8")
                    if line.startswith("data: "):
                        last = line[6:]
                        count += 1
        return count, last.strip('"')

    async def follow(
        self, payload: bytes, each: Callable[[str], object], stay: asyncio.Event | None = None
    ) -> None:
        response = await self.invoke(payload, "text/event-stream")
        async with response:
            async for line in response.iter_lines(**self.lines):
                if line:
                    line = line.decode("utf-8")
                    if line.startswith("data: ") and each(line[7:-1]) and stay is not None:
                        await stay.wait()
                        response.close()
                        return


async def main(scenario: str, url: str, options: Options) -> Options:
    # One connection for each stream, and one for the call that starts them.
    connections = max(options.get("together", 10), options.get("streams", 0) + 1)
    config = AioConfig(max_pool_connections=connections)
    async with get_session().create_client(
        "bedrock-agentcore", region_name=REGION, endpoint_url=url, config=config
    ) as client:
        return await run_scenario(scenario, Aiobotocore(client, options), options)


run_async(main)
