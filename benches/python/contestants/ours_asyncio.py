"""Our asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentcore_client import AsyncAgentCoreClient
from measure import ARN, SESSION, Options, run_async, run_scenario

JSON_TYPE = "application/json"


class Ours:
    def __init__(self, client: AsyncAgentCoreClient) -> None:
        self.client = client

    async def call(self, payload: bytes) -> bytes:
        answer = await self.client.invoke(payload, content_type=JSON_TYPE, session_id=SESSION)
        body: bytes = answer.body
        return body

    async def drain(self, payload: bytes) -> tuple[int, str]:
        count, last = 0, ""
        async with self.client.stream(
            payload, content_type=JSON_TYPE, session_id=SESSION
        ) as stream:
            async for event in stream:
                text = event.text
                if text is not None:
                    count += 1
                    last = text
        return count, last

    async def follow(
        self, payload: bytes, each: Callable[[str], object], stay: asyncio.Event | None = None
    ) -> None:
        async with self.client.stream(
            payload, content_type=JSON_TYPE, session_id=SESSION
        ) as stream:
            async for event in stream:
                if each(event.text or "") and stay is not None:
                    await stay.wait()
                    return


async def main(scenario: str, url: str, options: Options) -> Options:
    async with AsyncAgentCoreClient(ARN, endpoint_url=url) as client:
        return await run_scenario(scenario, Ours(client), options)


run_async(main)
