"""A relay's own cost: ours beside the same relay written with boto3, in one run. See METHOD.md.

    run.py [--quick] [--json FILE]

Both are handlers of the same function behind the same local gateway, run by the same loop of the
Lambda runtime API, and asked the same by the same client. Linux only: what a process has used is
read from /proc. Prints a table in Markdown on standard output, its progress on standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websockets

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXAMPLE = ROOT / "examples" / "lambda-websocket"
LOCAL = os.environ.get("AGENTCORE_LOCAL_BIN", "agentcore-local")

# name -> the folder of the handler's module, and its name
CONTESTANTS = {
    "ours": (EXAMPLE / "python", "handler.handler"),
    "boto3": (HERE, "boto3_relay.handler"),
}
FLOOR = (HERE, "floor.handler")


@dataclass(frozen=True)
class Plan:
    rounds: int
    answers: int
    words: int
    memory_warm: int
    memory_answers: int


FULL = Plan(rounds=5, answers=5, words=200, memory_warm=20, memory_answers=500)
QUICK = Plan(rounds=2, answers=2, words=40, memory_warm=10, memory_answers=30)


class Gateway:
    """The local gateway with one contestant as its function: one process of it at a time."""

    def __init__(self, contestant: tuple[Path, str], pace_ms: int) -> None:
        folder, handler = contestant
        command = [
            LOCAL,
            *("--handler", f"'{sys.executable}' '{EXAMPLE / 'local' / 'bootstrap.py'}' {handler}"),
            *("--handler-env", f"LAMBDA_TASK_ROOT={folder}"),
            *("--handler-env", "ALLOWED_ORIGINS=*"),
            *("--handler-env", "PYTHONWARNINGS=ignore"),
            *("--concurrency", "1"),
            *("--pace-ms", str(pace_ms)),
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self._line: dict[str, Any] = json.loads(self._process.stdout.readline())
        self.url: str = self._line["websocket_url"]

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _control(self, method: str, path: str) -> Any:
        url = f"{self._line['base_url']}/_local/{path}"
        request = urllib.request.Request(url, method=method)
        request.add_header("x-local-token", self._line["control_token"])
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def posts(self) -> int:
        """How many posts reached a socket since the last time."""
        entries = self._control("GET", "journal")["entries"]
        self._control("DELETE", "journal")
        return sum(entry["kind"] == "socket_posted" for entry in entries)

    def function(self) -> int:
        """The one process of the function."""
        children = [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_child(pid)
        ]
        (only,) = children
        return only

    def _is_child(self, pid: int) -> bool:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        return int(stat.rpartition(")")[2].split()[1]) == self._process.pid


def cpu_ms(pid: int) -> float:
    """What all threads of a process have run, user and system, finer than ticks of 10 ms."""
    used = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        used += int((task / "schedstat").read_text().split()[0])
    return used / 1e6


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line) / 1024


async def answer(socket: Any, prompt: str, id: str) -> None:
    """Asks and reads to the end; every word must have come, once and in order."""
    await socket.send(json.dumps({"prompt": prompt, "id": id, "conversation": id}))
    text, last = "", -1
    while True:
        frame = json.loads(await asyncio.wait_for(socket.recv(), 120))
        if frame.get("type") == "heartbeat":
            continue
        if frame.get("id") != id or frame["seq"] != last + 1:
            raise AssertionError(f"not the next frame: {frame}")
        last = frame["seq"]
        if frame["type"] == "delta":
            text += frame["text"]
        elif frame["type"] == "end":
            break
        elif frame["type"] != "start":
            raise AssertionError(f"no good answer: {frame}")
    if text != f"You said: {prompt}.":
        raise AssertionError(f"another answer: {text!r}")


async def message(contestant: tuple[Path, str], plan: Plan) -> dict[str, float]:
    """CPU time per message that is received, signed and posted: one word each 20 ms."""
    prompt = " ".join(f"word{n}" for n in range(plan.words))
    with Gateway(contestant, pace_ms=20) as gateway:
        async with websockets.connect(gateway.url) as socket:
            await answer(socket, prompt, "warm")
            gateway.posts()
            pid = gateway.function()
            before = cpu_ms(pid)
            for number in range(plan.answers):
                await answer(socket, prompt, str(number))
            used = cpu_ms(pid) - before
            posts = gateway.posts()
    return {"message": used / posts, "posts": posts / plan.answers}


async def cold(contestant: tuple[Path, str]) -> dict[str, float]:
    """From the start of the process to the first post: CPU time, and time."""
    with Gateway(contestant, pace_ms=0) as gateway:
        began = time.monotonic()
        async with websockets.connect(gateway.url) as socket:
            await socket.send(json.dumps({"prompt": "Hi", "id": "1"}))
            if contestant is not FLOOR:
                await asyncio.wait_for(socket.recv(), 60)
            wall = (time.monotonic() - began) * 1e3
            return {"cold": cpu_ms(gateway.function()), "cold_wall": wall}


async def memory(contestant: tuple[Path, str], plan: Plan) -> dict[str, float]:
    """Resident memory early and after many answers."""
    with Gateway(contestant, pace_ms=0) as gateway:
        async with websockets.connect(gateway.url) as socket:
            for number in range(plan.memory_warm):
                await answer(socket, "one two three", f"w{number}")
            pid = gateway.function()
            early = resident_mb(pid)
            for number in range(plan.memory_answers):
                await answer(socket, "one two three", str(number))
            return {"early": early, "late": resident_mb(pid)}


async def measure(plan: Plan) -> dict[str, list[dict[str, float]]]:
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    floors: list[float] = []
    for number in range(plan.rounds):
        floors.append((await cold(FLOOR))["cold"])
        order = list(CONTESTANTS)
        for name in order if number % 2 else reversed(order):
            contestant = CONTESTANTS[name]
            one = await message(contestant, plan) | await cold(contestant)
            rounds[name].append(one)
            print(number, name, {k: round(v, 2) for k, v in one.items()}, file=sys.stderr)
    # The quietest one: noise only adds.
    for one in [one for side in rounds.values() for one in side]:
        one["import"] = one["cold"] - min(floors)
    print("floor", [round(floor, 2) for floor in floors], file=sys.stderr)
    for name, contestant in CONTESTANTS.items():
        one = await memory(contestant, plan)
        rounds[name][0] |= one
        print(name, {k: round(v, 2) for k, v in one.items()}, file=sys.stderr)
    return rounds


def table(rounds: dict[str, list[dict[str, float]]]) -> str:
    ours, peer = rounds["ours"], rounds["boto3"]
    lines = [
        "| | target | ours / boto3 | best over best | ours | boto3 |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        ("CPU per message", "message", "≤ 1/20", "ms"),
        ("cold start, import to first post: CPU", "import", "≤ 1/8", "ms"),
    ]
    for title, key, target, unit in rows:
        ratio = statistics.median(a[key] / b[key] for a, b in zip(ours, peer, strict=True))
        best = min(a[key] for a in ours), min(b[key] for b in peer)
        median = [statistics.median(one[key] for one in side) for side in (ours, peer)]
        lines.append(
            f"| {title} | {target} | 1/{1 / ratio:.1f} | 1/{best[1] / best[0]:.1f} "
            f"| {median[0]:.2f} {unit} | {median[1]:.2f} {unit} |"
        )
    a, b = ours[0], peer[0]
    memory = [f"{one['late']:.1f} MB (early: {one['early']:.1f})" for one in (a, b)]
    lines.append(
        f"| memory after many answers | ≤ 1/2 | 1/{b['late'] / a['late']:.1f} | "
        f"| {memory[0]} | {memory[1]} |"
    )
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="that it runs; no figures")
    options.add_argument("--json", type=Path, help="keeps every round")
    given = options.parse_args()
    rounds = asyncio.run(measure(QUICK if given.quick else FULL))
    if given.json:
        given.json.write_text(json.dumps(rounds, indent=1))
    print(table(rounds))


if __name__ == "__main__":
    main()
