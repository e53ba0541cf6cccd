"""Streams an agent's tokens to the terminal, then goes on in the same session.

Needs no AWS account: it starts a local data plane with a demo agent. Install it with
`pip install agentcore-client[testing]`. Against AWS, the client is made with the ARN of your
runtime alone, `AgentCoreClient("arn:aws:bedrock-agentcore:…")`, and nothing else changes.
"""

from agentcore_client import AgentCoreClient, SessionId
from agentcore_client.testing import LocalDataPlane


def ask(client: AgentCoreClient, session: SessionId, prompt: str) -> None:
    print(f"\nyou      {prompt}\nagent    ", end="", flush=True)
    with client.stream({"prompt": prompt}, session_id=session) as stream:
        for text in stream.text_deltas():
            print(text, end="", flush=True)
    print(f"\nend      {stream.end}, events: {stream.events_seen}")


def main() -> None:
    # An agent that speaks at a model's pace.
    with LocalDataPlane(args=["--pace-ms", "60"]) as plane:
        with AgentCoreClient(**plane.client_options()) as client:
            session = SessionId.generate()
            print(f"session  {session}")
            ask(client, session, "What can an agent runtime do for me?")
            ask(client, session, "And what did I ask you before?")


if __name__ == "__main__":
    main()
