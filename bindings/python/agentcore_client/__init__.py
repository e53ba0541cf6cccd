"""Call agents on Amazon Bedrock AgentCore Runtime.

    from agentcore_client import AgentCoreClient

    client = AgentCoreClient()  # the runtime that AGENT_RUNTIME_ARN names, or give its ARN
    with client.stream({"prompt": "Hi"}) as stream:
        for text in stream.text_deltas():
            print(text, end="", flush=True)

`AsyncAgentCoreClient` is the same for asyncio. What goes wrong is an `AgentCoreError`; its
`delivery` says whether the agent may have run.
"""

from __future__ import annotations

from ._auth import Credentials
from ._client import AgentCoreClient
from ._errors import (
    AccessDeniedException,
    AgentCoreError,
    AgentError,
    Attempt,
    ClosedError,
    ConflictException,
    ConnectError,
    CredentialsError,
    InternalError,
    InternalServerException,
    InvalidInputError,
    ProtocolError,
    RequestTimeoutError,
    ResourceNotFoundException,
    RetryableConflictException,
    RuntimeClientError,
    ServiceError,
    ServiceQuotaExceededException,
    StreamInterruptedError,
    ThrottlingException,
    TooLargeError,
    UnauthorizedException,
    ValidationException,
)
from ._ids import RuntimeArn, SessionId
from ._native import AgentEvent, __version__
from ._options import Limits, Timeouts
from ._response import InvokeResponse
from ._stream import AgentStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async_client import AsyncAgentCoreClient
    from ._async_stream import AsyncAgentStream

__all__ = [
    "AccessDeniedException",
    "AgentCoreClient",
    "AgentCoreError",
    "AgentError",
    "AgentEvent",
    "AgentStream",
    "AsyncAgentCoreClient",
    "AsyncAgentStream",
    "Attempt",
    "ClosedError",
    "ConflictException",
    "ConnectError",
    "Credentials",
    "CredentialsError",
    "InternalError",
    "InternalServerException",
    "InvalidInputError",
    "InvokeResponse",
    "Limits",
    "ProtocolError",
    "RequestTimeoutError",
    "ResourceNotFoundException",
    "RetryableConflictException",
    "RuntimeArn",
    "RuntimeClientError",
    "ServiceError",
    "ServiceQuotaExceededException",
    "SessionId",
    "StreamInterruptedError",
    "ThrottlingException",
    "Timeouts",
    "TooLargeError",
    "UnauthorizedException",
    "ValidationException",
    "__version__",
]


def __getattr__(name: str) -> object:
    # asyncio takes several times as long to import as all the rest, and a sync program has no use
    # for it.
    found: object
    if name == "AsyncAgentCoreClient":
        from ._async_client import AsyncAgentCoreClient

        found = AsyncAgentCoreClient
    elif name == "AsyncAgentStream":
        from ._async_stream import AsyncAgentStream

        found = AsyncAgentStream
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
