"""For your tests: a local data plane that answers as Amazon Bedrock AgentCore Runtime does.

    from agentcore_client import AgentCoreClient
    from agentcore_client.testing import LocalDataPlane

    with LocalDataPlane() as plane:
        with AgentCoreClient(**plane.client_options()) as client:
            print(client.invoke({"prompt": "Hi"}).text)
            assert plane.count_posts() == 1

In pytest, the fixture `local_data_plane` is there without an import. Both need the binary, which
`pip install agentcore-client[testing]` brings along.

What is listed here is loaded when it is used: the pytest plugin, which stands beside it, is
imported in every pytest run of everyone who has the package.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agentcore_client.testing._local import JournalEntry, LocalDataPlane, LocalDataPlaneError

__all__ = ["JournalEntry", "LocalDataPlane", "LocalDataPlaneError"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from agentcore_client.testing import _local

    value: object = getattr(_local, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
