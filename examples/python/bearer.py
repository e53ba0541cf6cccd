"""Calls a runtime that wants bearer tokens (a JWT authorizer), with tokens that are renewed.

    export AGENT_RUNTIME_ARN=arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-abc123
    export TOKEN_URL=https://example.auth.us-west-2.amazoncognito.com/oauth2/token
    export CLIENT_ID=… CLIENT_SECRET=…
    python bearer.py

The client asks the callable at every attempt, on the caller's thread, so it keeps its token until
shortly before that expires. What it raises becomes the cause of a `CredentialsError`.
"""

import json
import os
import sys
import threading
import time
import urllib.parse
import urllib.request

from agentcore_client import AgentCoreClient, AgentCoreError


class Tokens:
    """Tokens of the OAuth 2.0 client-credentials grant."""

    def __init__(self, url: str, client_id: str, client_secret: str) -> None:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
        }
        self._request = urllib.request.Request(url, urllib.parse.urlencode(form).encode())
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0

    def __call__(self) -> str:
        with self._lock:
            if time.monotonic() >= self._renew_at:
                with urllib.request.urlopen(self._request, timeout=5) as answer:
                    granted = json.load(answer)
                self._token = granted["access_token"]
                self._renew_at = time.monotonic() + granted["expires_in"] - 60
            return self._token


def main() -> None:
    names = ("TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET")
    if absent := [name for name in names if name not in os.environ]:
        sys.exit(f"bearer.py: set {', '.join(absent)}")
    with AgentCoreClient(bearer_token=Tokens(*(os.environ[name] for name in names))) as client:
        for prompt in ("Hi", "And again"):
            print(client.invoke({"prompt": prompt}).text)


if __name__ == "__main__":
    try:
        main()
    except AgentCoreError as error:
        sys.exit(f"bearer.py: {error}")
