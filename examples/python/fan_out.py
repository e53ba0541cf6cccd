"""Asks fifty questions, ten at a time, from one asyncio program.

    export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
    python fan_out.py

One client serves all tasks and keeps the connections. Each question gets a session of its own. The
limit protects the account's quota of new sessions; what is throttled all the same, the client tries
again by itself. Cancelling (Ctrl-C) closes every connection at once.
"""

import asyncio
import sys

from agentcore_client import AgentCoreError, AsyncAgentCoreClient, InvokeResponse

AT_ONCE = 10


async def ask(
    client: AsyncAgentCoreClient, limit: asyncio.Semaphore, prompt: str
) -> InvokeResponse | AgentCoreError:
    async with limit:
        try:
            return await client.invoke({"prompt": prompt})
        except AgentCoreError as error:
            return error  # One failure must not cost the other answers.


async def main() -> None:
    prompts = [f"Question {number}" for number in range(1, 51)]
    limit = asyncio.Semaphore(AT_ONCE)
    async with AsyncAgentCoreClient() as client:
        answers = await asyncio.gather(*(ask(client, limit, prompt) for prompt in prompts))
    for prompt, answer in zip(prompts, answers, strict=True):
        if isinstance(answer, AgentCoreError):
            # "not_sent" and "rejected" may be asked again; the others may have run.
            print(f"{prompt}: failed, {answer.delivery}: {answer}")
        else:
            print(f"{prompt}: {answer.text}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except AgentCoreError as error:
        # One line that says what to do next; it holds no secrets.
        sys.exit(f"fan_out.py: {error}")
