"""From nothing to the first event with aiobotocore: a script as a user writes it."""

import asyncio
import sys

from aiobotocore.session import get_session


async def main(url: str, arn: str, payload: str) -> None:
    async with get_session().create_client(
        "bedrock-agentcore", region_name=arn.split(":")[3], endpoint_url=url
    ) as client:
        answer = await client.invoke_agent_runtime(
            agentRuntimeArn=arn, contentType="application/json", payload=payload.encode()
        )
        async with answer["response"] as response:
            async for line in response.iter_lines():
                print(line.decode()[6:])
                break


asyncio.run(main(*sys.argv[1:]))
