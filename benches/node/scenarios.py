"""The Node bench: the npm package beside the AWS SDK for JavaScript."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from scenario import RAW, Language, Metric, Scenario, Target

HERE = Path(__file__).resolve().parent
CONTESTANTS = HERE / "contestants"

OURS = "ours"
SDK = "AWS SDK"
INTERPRETER = "`node -e 0`"

WARM = {OURS: "ours.mjs", SDK: "aws-sdk.mjs"}
COLD = {OURS: "cold-ours.mjs", SDK: "cold-aws-sdk.mjs"}

SCENARIOS = (
    Scenario(
        name="cold",
        title="cold start to the first event, the whole process",
        program="cold",
        contestants={RAW: {}, INTERPRETER: {}, OURS: {}, SDK: {}},
        options={"units": 50},
        metrics=(
            Metric(of="process", title="CPU", unit="ms", targets={OURS: Target(1 / 3.5, SDK)}),
        ),
        rounds=15,
        quick={},
    ),
    Scenario(
        name="calls",
        title="warm call, one at a time",
        program="calls",
        # V8 goes on compiling for thousands of calls; the peer would take a minute for those.
        contestants={
            RAW: {"units": 4_000},
            OURS: {"units": 4_000, "warm": 2_000},
            SDK: {"units": 500, "warm": 500},
        },
        options={"warm": 50, "together": 1},
        metrics=(Metric(of="cpu", title="CPU per call", unit="µs", targets={OURS: Target(2.6)}),),
        rounds=15,
        quick={"units": 200, "warm": 100},
    ),
    Scenario(
        name="calls-64",
        title="64 calls at a time",
        program="calls",
        contestants={
            RAW: {"units": 12_800},
            OURS: {"units": 12_800, "warm": 50},
            SDK: {"units": 1_280, "warm": 10},
        },
        options={"warm": 5, "together": 64},
        metrics=(Metric(of="cpu", title="CPU per call", unit="µs", targets={OURS: Target(3)}),),
        rounds=15,
        quick={"units": 640},
    ),
    Scenario(
        name="body",
        title="10 MiB of JSON, as bytes",
        program="body",
        contestants={RAW: {}, OURS: {}, SDK: {}},
        options={"units": 20, "warm": 3, "size": 10 << 20},
        metrics=(
            Metric(of="cpu", title="CPU per call", unit="µs", targets={OURS: Target(1 / 2, SDK)}),
        ),
        rounds=9,
        quick={"units": 3},
    ),
    Scenario(
        name="events",
        title="stream at full speed, an event in each HTTP chunk",
        program="events",
        contestants={RAW: {}, OURS: {}, SDK: {}},
        options={"units": 200_000, "warm": 20_000},
        metrics=(Metric(of="cpu", title="CPU per event", unit="µs", targets={OURS: Target(2.5)}),),
        rounds=15,
        quick={"units": 20_000},
    ),
    Scenario(
        name="paced",
        title="an event of 97 bytes each 5 ms",
        program="paced",
        contestants={RAW: {}, OURS: {}, SDK: {}},
        options={"units": 200, "warm": 100, "every_ms": 5, "size": 97},
        metrics=(
            Metric(
                of="late",
                title="added latency, p50",
                unit="µs",
                targets={OURS: Target(1, SDK)},
            ),
            Metric(of="cpu", title="CPU per event", unit="µs", targets={OURS: Target(1, SDK)}),
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
        contestants={RAW: {}, OURS: {}, SDK: {}},
        options={"units": 25, "warm": 2_000, "streams": 1_000, "every_ms": 200, "size": 100},
        metrics=(
            Metric(
                of="rss",
                title="resident memory per stream",
                unit="KiB",
                targets={OURS: Target(35, None)},
            ),
            Metric(of="cpu", title="CPU per event", unit="µs"),
        ),
        rounds=5,
        quick={"units": 5},
    ),
)


def warm(contestant: str) -> list[str]:
    return ["node", "--expose-gc", str(CONTESTANTS / WARM[contestant])]


def cold(contestant: str) -> list[str]:
    if contestant == INTERPRETER:
        return ["node", "-e", "0"]
    return ["node", str(CONTESTANTS / COLD[contestant])]


def versions() -> list[str]:
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    found = [f"Node {node.stdout.strip().removeprefix('v')}"]
    for name in ["agentcore-client", "@aws-sdk/client-bedrock-agentcore"]:
        manifest = HERE / "node_modules" / name / "package.json"
        version = json.loads(manifest.read_text())["version"] if manifest.exists() else None
        found.append(f"{name} {version}" if version else f"no {name}")
    return found


LANGUAGE = Language(
    scenarios=SCENARIOS,
    ours=frozenset({OURS}),
    floors=frozenset({INTERPRETER}),
    warm=warm,
    cold=cold,
    check=["node", "-e", f"require({str(HERE / 'node_modules/agentcore-client')!r})"],
    versions=versions,
)
