"""A conversation of two turns in one session, then its end.

    export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
    export SESSION_SECRET=…        # at least 16 bytes that only your backend knows
    python resume.py

The session id is derived from what your application knows anyway, so nothing has to be stored: the
same tenant, user and conversation give the same id in every process and in every language. The
service does not check who owns a session, which is why the id needs a secret.
"""

import os
import sys

from agentcore_client import (
    AgentCoreClient,
    AgentCoreError,
    ResourceNotFoundException,
    SessionId,
)


def session_of(tenant: str, user: str, conversation: str) -> SessionId:
    return SessionId.derive(os.environ.get("SESSION_SECRET", ""), tenant, user, conversation)


def main() -> None:
    session = session_of("acme", "user-42", "conversation-1")
    with AgentCoreClient() as client:
        print(client.invoke({"prompt": "My name is Ada."}, session_id=session).text)

        # Later, perhaps in another process:
        session = session_of("acme", "user-42", "conversation-1")
        print(client.invoke({"prompt": "What is my name?"}, session_id=session).text)

        # A session costs money until it is stopped or times out.
        try:
            client.stop_session(session)
        except ResourceNotFoundException:
            pass  # It had timed out already.


if __name__ == "__main__":
    try:
        main()
    except AgentCoreError as error:
        # One line that says what to do next; it holds no secrets.
        sys.exit(f"resume.py: {error}")
