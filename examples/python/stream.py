"""Streams an agent's answer to the terminal, token by token.

    export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
    python stream.py "What can you do for me?"

Credentials are found as the AWS tools find them. With AGENTCORE_LOCAL_URL=http://127.0.0.1:8080 it
asks an agent container on this machine instead.
"""

import sys

from agentcore_client import AgentCoreClient, AgentCoreError


def main() -> int:
    prompt = " ".join(sys.argv[1:]) or "Hi"
    try:
        with AgentCoreClient() as client, client.stream({"prompt": prompt}) as stream:
            for text in stream.text_deltas():
                print(text, end="", flush=True)
    except AgentCoreError as error:
        # One line that says what to do next; it holds no secrets.
        print(f"\nstream.py: {error}", file=sys.stderr)
        return 1
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
