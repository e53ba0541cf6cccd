"""From nothing to the first event with our synchronous client: a script as a user writes it."""

import sys

from agentcore_client import AgentCoreClient

url, arn, payload = sys.argv[1:]
with AgentCoreClient(arn, endpoint_url=url) as client:
    with client.stream(payload.encode(), content_type="application/json") as stream:
        print(next(stream).text)
