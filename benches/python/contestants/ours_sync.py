"""Our synchronous client."""

from collections.abc import Callable

from agentcore_client import AgentCoreClient
from measure import ARN, SESSION, Options, run_sync

TYPES = {"content_type": "application/json", "session_id": SESSION}


class Ours:
    def __init__(self, url: str, options: Options) -> None:
        self.client = AgentCoreClient(ARN, endpoint_url=url)

    def call(self, payload: bytes) -> bytes:
        body: bytes = self.client.invoke(payload, **TYPES).body
        return body

    def drain(self, payload: bytes) -> tuple[int, str]:
        count, last = 0, ""
        with self.client.stream(payload, **TYPES) as stream:
            for event in stream:
                text = event.text
                if text is not None:
                    count += 1
                    last = text
        return count, last

    def follow(self, payload: bytes, each: Callable[[str], object]) -> None:
        with self.client.stream(payload, **TYPES) as stream:
            for event in stream:
                each(event.text or "")


run_sync(Ours)
