"""Our synchronous client."""

from collections.abc import Callable

from agentcore_client import AgentCoreClient
from measure import ARN, SESSION, Options, run_sync

JSON_TYPE = "application/json"


class Ours:
    def __init__(self, url: str, options: Options) -> None:
        self.client = AgentCoreClient(ARN, endpoint_url=url)

    def call(self, payload: bytes) -> bytes:
        answer = self.client.invoke(payload, content_type=JSON_TYPE, session_id=SESSION)
        body: bytes = answer.body
        return body

    def drain(self, payload: bytes) -> tuple[int, str]:
        count, last = 0, ""
        with self.client.stream(payload, content_type=JSON_TYPE, session_id=SESSION) as stream:
            for event in stream:
                text = event.text
                if text is not None:
                    count += 1
                    last = text
        return count, last

    def follow(self, payload: bytes, each: Callable[[str], object]) -> None:
        with self.client.stream(payload, content_type=JSON_TYPE, session_id=SESSION) as stream:
            for event in stream:
                each(event.text or "")


run_sync(Ours)
