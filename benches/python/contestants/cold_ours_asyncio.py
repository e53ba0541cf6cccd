"""From nothing to the first event with our asyncio client: a script as a user writes it."""

import asyncio
import sys

from agentcore_client import AsyncAgentCoreClient


async def main(url: str, arn: str, payload: str) -> None:
    async with AsyncAgentCoreClient(arn, endpoint_url=url) as client:
        async with client.stream(payload.encode(), content_type="application/json") as stream:
            async for event in stream:
                print(event.text)
                break


asyncio.run(main(*sys.argv[1:]))
