"""Says where the binary of the local data plane is when a developer runs pytest by hand: `make`
names it, and so does whoever tests an installed wheel.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def pytest_configure() -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    os.environ.setdefault("AGENTCORE_LOCAL_BIN", str(target / "debug" / "agentcore-local"))
    # The tests talk to this machine only.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ.pop(name, None)
        os.environ.pop(name.lower(), None)
