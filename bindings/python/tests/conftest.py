"""Says where the binary of the local data plane is when a developer runs pytest by hand: `make`
names it, and so does whoever tests an installed wheel.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentcore_client import AgentCoreClient
    from agentcore_client.testing import LocalDataPlane

ROOT = Path(__file__).resolve().parents[3]
OURS = ("AGENTCORE_LOCAL_URL", "AGENTCORE_BEARER_TOKEN", "AGENTCORE_ALLOW_HTTP_HOSTS")


def pytest_configure() -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    os.environ.setdefault("AGENTCORE_LOCAL_BIN", str(target / "debug" / "agentcore-local"))
    # The tests talk to this machine only.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ.pop(name, None)
        os.environ.pop(name.lower(), None)
    # Nothing of the developer's own set-up decides what a test sees.
    for name in list(os.environ):
        if name.startswith(("AWS_", "AGENT_RUNTIME_", "OTEL_")) or name in OURS:
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    # What a shell starts in the background inherits that Ctrl-C is ignored, and so would the
    # scripts that the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def client(local_data_plane: LocalDataPlane) -> Iterator[AgentCoreClient]:
    """A client of the demo agent."""
    from agentcore_client import AgentCoreClient

    with AgentCoreClient(**local_data_plane.client_options()) as client:
        yield client
