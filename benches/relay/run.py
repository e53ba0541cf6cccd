"""A relay's own cost: ours beside the same relay written with boto3, in one run. See METHOD.md.

    run.py [--quick] [--json FILE]

Both are handlers of the same function behind the same local gateway, run by Lambda's own runtime
for Python, and asked the same by the same client. Linux only: what a process has used is read from
/proc. Prints a table in Markdown on standard output, its progress on standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import urllib.request
from dataclasses import asdict, dataclass
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


# Between two words. In ours each word still has its own post, and boto3 is kept busy: this is the
# work alone. A model's pace lets others use the CPU, so that a message finds its caches cold.
BUSY_MS = 2
CALM_MS = 20


@dataclass(frozen=True)
class Plan:
    rounds: int
    short: int
    """Words of the answers that are compared."""
    busy: int
    calm: int
    memory_warm: int
    memory_answers: int


FULL = Plan(rounds=5, short=10, busy=500, calm=150, memory_warm=20, memory_answers=500)
QUICK = Plan(rounds=2, short=10, busy=100, calm=50, memory_warm=10, memory_answers=30)


class Gateway:
    """The local gateway with one contestant as its function: one process of it at a time."""

    def __init__(self, contestant: tuple[Path, str], pace_ms: int) -> None:
        folder, handler = contestant
        command = [
            LOCAL,
            *("--handler", f"'{sys.executable}' -m awslambdaric {handler}"),
            *("--handler-env", f"PYTHONPATH={folder}"),
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
        # Or it would start a new one for each that is killed.
        self._process.send_signal(signal.SIGSTOP)
        self.kill_function()
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
        (only,) = self._children()
        return only

    def kill_function(self) -> None:
        """Without it, it would complain of a socket or a gateway that has gone before."""
        for pid in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _children(self) -> list[int]:
        all_there_are = map(int, filter(str.isdigit, os.listdir("/proc")))
        return [pid for pid in all_there_are if self._is_child(pid)]

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


async def message(contestant: tuple[Path, str], short: int, long: int, pace_ms: int) -> float:
    """CPU time per message: what a long answer costs more than a short one, over the posts that it
    has more. What an answer costs besides its messages is in both."""
    used, posts = {short: 0.0, long: 0.0}, {short: 0, long: 0}
    with Gateway(contestant, pace_ms) as gateway:
        async with websockets.connect(gateway.url) as socket:
            await answer(socket, text(short), "warm")
            pid = gateway.function()
            for words in (short, long):
                gateway.posts()
                before = cpu_ms(pid)
                await answer(socket, text(words), f"{words}")
                used[words] = cpu_ms(pid) - before
                posts[words] = gateway.posts()
    if posts[long] < 0.9 * long:
        print(f"{posts[long]} posts for {long} words: the machine is too busy", file=sys.stderr)
    return (used[long] - used[short]) / (posts[long] - posts[short])


def text(words: int) -> str:
    return " ".join(f"word{number}" for number in range(words))


async def cold(contestant: tuple[Path, str]) -> float:
    """CPU time from the start of the process until the first post has arrived."""
    # The agent says nothing while this is read.
    with Gateway(contestant, pace_ms=1000) as gateway:
        # The function is started for `$connect`.
        async with websockets.connect(gateway.url) as socket:
            pid = gateway.function()
            if contestant is not FLOOR:
                await socket.send(json.dumps({"prompt": "Hi", "id": "1"}))
                await asyncio.wait_for(socket.recv(), 60)
            used = cpu_ms(pid)
            gateway.kill_function()
            return used


def bare_python() -> float:
    """CPU time of a Python that does nothing: nobody gets below it."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return (usage.ru_utime + usage.ru_stime) * 1e3


async def memory(contestant: tuple[Path, str], plan: Plan) -> dict[str, float]:
    """Resident memory early and after many answers."""
    with Gateway(contestant, pace_ms=0) as gateway:
        async with websockets.connect(gateway.url) as socket:
            if contestant is FLOOR:
                return {"late": resident_mb(gateway.function())}
            for number in range(plan.memory_warm):
                await answer(socket, "one two three", f"w{number}")
            pid = gateway.function()
            early = resident_mb(pid)
            for number in range(plan.memory_answers):
                await answer(socket, "one two three", str(number))
            return {"early": early, "late": resident_mb(pid)}


@dataclass
class Measured:
    rounds: dict[str, list[dict[str, float]]]
    bare: list[float]
    floor: list[float]
    memory: dict[str, dict[str, float]]


async def measure(plan: Plan) -> Measured:
    measured = Measured({name: [] for name in CONTESTANTS}, [], [], {})
    for number in range(plan.rounds):
        measured.bare.append(bare_python())
        measured.floor.append(await cold(FLOOR))
        order = list(CONTESTANTS)
        for name in order if number % 2 else reversed(order):
            contestant = CONTESTANTS[name]
            one = {
                "busy": await message(contestant, plan.short, plan.busy, BUSY_MS),
                "calm": await message(contestant, plan.short, plan.calm, CALM_MS),
                "cold": await cold(contestant),
            }
            measured.rounds[name].append(one)
            print(number, name, {k: round(v, 3) for k, v in one.items()}, file=sys.stderr)
    for one in [one for side in measured.rounds.values() for one in side]:
        # The quietest one: noise only adds. Less than 1 ms could not be told from it.
        one["import"] = max(1.0, one["cold"] - min(measured.floor))
    # Side by side: time does not count here.
    all_three = CONTESTANTS | {"floor": FLOOR}
    found = await asyncio.gather(*(memory(one, plan) for one in all_three.values()))
    measured.memory = dict(zip(all_three, found, strict=True))
    return measured


def table(measured: Measured) -> str:
    ours, peer = measured.rounds["ours"], measured.rounds["boto3"]
    lines = [
        "| | target | ours / boto3 | best over best | ours | boto3 |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        (f"a message, one each {BUSY_MS} ms", "busy", "≤ 1/20", "ms"),
        (f"a message, one each {CALM_MS} ms", "calm", "", "ms"),
        ("cold start, import to first post", "import", "≤ 1/8", "ms"),
        ("cold start with Python and Lambda's runtime", "cold", "", "ms"),
    ]
    for title, key, target, unit in rows:
        ratio = statistics.median(a[key] / b[key] for a, b in zip(ours, peer, strict=True))
        best = min(a[key] for a in ours), min(b[key] for b in peer)
        median = [statistics.median(one[key] for one in side) for side in (ours, peer)]
        lines.append(
            f"| {title} | {target} | 1/{1 / ratio:.1f} | 1/{best[1] / best[0]:.1f} "
            f"| {median[0]:.3g} {unit} | {median[1]:.3g} {unit} |"
        )
    a, b, floor = (measured.memory[name] for name in ("ours", "boto3", "floor"))
    memory = [f"{one['late']:.1f} MB (early: {one['early']:.1f})" for one in (a, b)]
    lines.append(
        f"| memory after many answers | ≤ 1/2 | 1/{b['late'] / a['late']:.1f} | "
        f"| {memory[0]} | {memory[1]} |"
    )
    lines.append(
        f"\nThe floor: `python -c pass` takes {min(measured.bare):.1f} ms of CPU, a function that "
        f"does nothing {min(measured.floor):.1f} ms and {floor['late']:.1f} MB."
    )
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="that it runs; no figures")
    options.add_argument("--json", type=Path, help="keeps every round")
    given = options.parse_args()
    measured = asyncio.run(measure(QUICK if given.quick else FULL))
    if given.json:
        given.json.write_text(json.dumps(asdict(measured), indent=1))
    print(table(measured))


if __name__ == "__main__":
    main()
