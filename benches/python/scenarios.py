"""The Python bench: the synchronous and the asyncio client, beside boto3 and aiobotocore."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scenario import RAW, Language, Metric, Scenario, Target

CONTESTANTS = Path(__file__).resolve().parent / "contestants"

SYNC = "ours, sync"
ASYNCIO = "ours, asyncio"
BOTO3 = "boto3"
AIOBOTOCORE = "aiobotocore"
BOTO3_10 = "boto3, chunk_size=10"
AIOBOTOCORE_10 = "aiobotocore, chunk_size=10"
INTERPRETER = "`python -c pass`"
IMPORT_ASYNCIO = '`python -c "import asyncio"`'

# The programs; what is no file is code.
WARM = {
    SYNC: "ours_sync.py",
    ASYNCIO: "ours_asyncio.py",
    BOTO3: "boto3_sync.py",
    AIOBOTOCORE: "aiobotocore_asyncio.py",
    BOTO3_10: "boto3_sync.py",
    AIOBOTOCORE_10: "aiobotocore_asyncio.py",
}
COLD = {
    SYNC: "cold_ours_sync.py",
    ASYNCIO: "cold_ours_asyncio.py",
    BOTO3: "cold_boto3.py",
    AIOBOTOCORE: "cold_aiobotocore.py",
    INTERPRETER: "pass",
    IMPORT_ASYNCIO: "import asyncio",
}

SCENARIOS = (
    Scenario(
        name="cold",
        title="cold start to the first event, the whole process",
        program="cold",
        contestants={
            RAW: {},
            INTERPRETER: {},
            IMPORT_ASYNCIO: {},
            SYNC: {},
            BOTO3: {},
            ASYNCIO: {},
            AIOBOTOCORE: {},
        },
        options={"units": 50},
        metrics=(
            Metric(
                of="process",
                title="CPU",
                unit="ms",
                targets={SYNC: Target(1 / 10, BOTO3), ASYNCIO: Target(1 / 6, AIOBOTOCORE)},
            ),
        ),
        rounds=15,
        quick={},
    ),
    Scenario(
        name="calls",
        title="warm call, one at a time",
        program="calls",
        contestants={
            RAW: {"units": 4_000},
            SYNC: {"units": 4_000},
            ASYNCIO: {"units": 2_000},
            BOTO3: {"units": 300},
            AIOBOTOCORE: {"units": 300},
        },
        options={"warm": 50, "together": 1},
        metrics=(
            Metric(
                of="cpu",
                title="CPU per call",
                unit="µs",
                targets={SYNC: Target(1.3), ASYNCIO: Target(2.2)},
            ),
        ),
        rounds=15,
        quick={"units": 200},
    ),
    Scenario(
        name="calls-64",
        title="64 calls at a time (threads, or tasks)",
        program="calls",
        contestants={
            RAW: {"units": 12_800},
            SYNC: {"units": 6_400},
            ASYNCIO: {"units": 12_800},
            BOTO3: {"units": 1_280},
            AIOBOTOCORE: {"units": 1_280},
        },
        options={"warm": 5, "together": 64},
        metrics=(
            Metric(
                of="cpu",
                title="CPU per call",
                unit="µs",
                targets={SYNC: Target(5), ASYNCIO: Target(2.5)},
            ),
        ),
        rounds=15,
        quick={"units": 640},
    ),
    Scenario(
        name="events",
        title="stream at full speed, an event in each HTTP chunk",
        program="events",
        contestants={RAW: {}, SYNC: {}, ASYNCIO: {}, BOTO3: {}, AIOBOTOCORE: {}},
        options={"units": 200_000, "warm": 2_000},
        metrics=(
            Metric(
                of="cpu",
                title="CPU per event",
                unit="µs",
                targets={SYNC: Target(1.5), ASYNCIO: Target(2)},
            ),
        ),
        rounds=15,
        quick={"units": 20_000},
    ),
    # 97 bytes: real events do not end on multiples of ten either, and chunk_size=10 shows it.
    Scenario(
        name="paced",
        title="an event of 97 bytes each 5 ms",
        program="paced",
        contestants={
            RAW: {},
            SYNC: {},
            ASYNCIO: {},
            BOTO3: {},
            BOTO3_10: {"chunk_size": 10},
            AIOBOTOCORE: {},
            AIOBOTOCORE_10: {"chunk_size": 10},
        },
        options={"units": 200, "warm": 20, "every_ms": 5, "size": 97},
        metrics=(
            Metric(
                of="late",
                title="added latency, p50",
                unit="µs",
                targets={SYNC: Target(1.3), ASYNCIO: Target(2.2)},
            ),
        ),
        rounds=9,
        quick={"units": 60},
    ),
    # 5,000 events a second: as many as every contestant keeps up with. One that does not gets its
    # events in heaps, which costs it less per event.
    Scenario(
        name="streams",
        title="1,000 open streams, an event each 200 ms",
        program="streams",
        contestants={RAW: {}, ASYNCIO: {}, AIOBOTOCORE: {}},
        options={"units": 25, "warm": 200, "streams": 1_000, "every_ms": 200, "size": 100},
        metrics=(
            Metric(
                of="rss",
                title="resident memory per stream",
                unit="KiB",
                targets={ASYNCIO: Target(25, None)},
            ),
            Metric(
                of="cpu",
                title="CPU per event",
                unit="µs",
                targets={ASYNCIO: Target(40, None)},
            ),
        ),
        rounds=5,
        quick={"units": 5},
    ),
)


def warm(contestant: str) -> list[str]:
    return [sys.executable, str(CONTESTANTS / WARM[contestant])]


def cold(contestant: str) -> list[str]:
    program = COLD[contestant]
    if not program.endswith(".py"):
        return [sys.executable, "-c", program]
    return [sys.executable, str(CONTESTANTS / program)]


def versions() -> list[str]:
    found = [f"Python {platform.python_version()}"]
    for name in ["agentcore-client", "boto3", "botocore", "aiobotocore", "aiohttp", "uvloop"]:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return found


LANGUAGE = Language(
    scenarios=SCENARIOS,
    ours=frozenset({SYNC, ASYNCIO}),
    floors=frozenset({INTERPRETER, IMPORT_ASYNCIO}),
    warm=warm,
    cold=cold,
    check=[
        sys.executable,
        "-c",
        "from agentcore_client import AgentCoreClient, AsyncAgentCoreClient",
    ],
    versions=versions,
)
