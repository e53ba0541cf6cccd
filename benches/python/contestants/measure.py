"""What every contestant of the Python bench is measured with.

A contestant is a program of its own, `NAME.py SCENARIO ADDRESS OPTIONS`, so that nothing one
client imports, caches or starts is there for another. It brings three verbs, written as its
documentation says, and this module runs a scenario with them and prints one line of JSON. CPU
time is that of the process, user and system and all threads; imports, clients and connections
are there before it counts. Everything received is checked: in full while warming up, by number
and last event while it counts, because a check costs as much as an event does.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio

ARN = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/my_agent-AbCdEf1234"
REGION = "us-east-1"
SESSION = "bench-0123456789abcdef0123456789abcdef"
JSON = b'{"result":"The capital of France is Paris.","tokens":12}'

Options = dict[str, Any]


class Sync(Protocol):
    def call(self, payload: bytes) -> bytes:
        """The body of an answer."""

    def drain(self, payload: bytes) -> tuple[int, str]:
        """How many events, and the last one's text; nothing else is done with them."""

    def follow(self, payload: bytes, each: Callable[[str], object]) -> None:
        """Every event's text, as soon as it is there."""


class Async(Protocol):
    async def call(self, payload: bytes) -> bytes: ...

    async def drain(self, payload: bytes) -> tuple[int, str]: ...

    async def follow(
        self, payload: bytes, each: Callable[[str], object], stay: asyncio.Event | None = None
    ) -> None:
        """Until `each` says True: then the stream stays open until `stay` is set."""


def ask(kind: str, **members: object) -> bytes:
    return json.dumps({"kind": kind, "per_chunk": 1, **members}).encode()


def text_of(number: int) -> str:
    return f"token {number:06} ".ljust(90, "x")


class Check:
    """Every event, in full: text and order."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, text: str) -> None:
        if text != text_of(self.count):
            raise AssertionError(f"event {self.count} is {text!r}")
        self.count += 1

    def complete(self, expected: int) -> None:
        if self.count != expected:
            raise AssertionError(f"{self.count} events instead of {expected}")


class Arrivals:
    """When each stamped event was there; what it says is looked at afterwards."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []

    def __call__(self, text: str) -> None:
        self.seen.append((time.time_ns(), text))

    def late_ns(self, expected: int, size: int) -> list[int]:
        if len(self.seen) != expected:
            raise AssertionError(f"{len(self.seen)} events instead of {expected}")
        return [now - sent(text, n, size) for n, (now, text) in enumerate(self.seen)]


def sent(text: str, number: int, size: int) -> int:
    """When a stamped event was sent."""
    token, count, stamp, padding = text.split(" ")
    if (token, int(count), len(text), padding.strip("x")) != ("token", number, size - 10, ""):
        raise AssertionError(f"event {number} is {text!r}")
    return int(stamp)


def check_answer(body: bytes) -> None:
    if body != JSON:
        raise AssertionError(f"another answer than the mock's: {body!r}")


def check_drained(drained: tuple[int, str], expected: int) -> None:
    if drained != (expected, text_of(expected - 1)):
        raise AssertionError(f"{drained} after {expected} events")


def resident_kib() -> int:
    """Resident memory of this process; Linux only."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def arguments() -> tuple[str, str, Options]:
    scenario, address, options = sys.argv[1:]
    return scenario, f"http://{address}", json.loads(options)


def run_sync(make: Callable[[str, Options], Sync]) -> None:
    scenario, url, options = arguments()
    side = make(url, options)
    scenarios: dict[str, Callable[[Sync, Options], Options]] = {
        "calls": calls if options.get("together", 1) == 1 else calls_in_threads,
        "events": events,
        "paced": paced,
    }
    print(json.dumps(scenarios[scenario](side, options)))


def calls(side: Sync, options: Options) -> Options:
    payload = ask("json")
    for _ in range(options["warm"]):
        check_answer(side.call(payload))
    started = time.process_time_ns()
    for _ in range(options["units"]):
        check_answer(side.call(payload))
    return {"cpu_ns": time.process_time_ns() - started, "units": options["units"]}


def calls_in_threads(side: Sync, options: Options) -> Options:
    import threading

    payload, together = ask("json"), options["together"]
    each = options["units"] // together
    done: list[int] = []
    line = threading.Barrier(together + 1)

    def thread() -> None:
        try:
            for _ in range(options["warm"]):
                check_answer(side.call(payload))
            line.wait()  # everyone is warm
            line.wait()  # the clock runs
            for _ in range(each):
                check_answer(side.call(payload))
            done.append(each)
        except BaseException:
            line.abort()
            raise

    threads = [threading.Thread(target=thread) for _ in range(together)]
    for one in threads:
        one.start()
    line.wait()
    started = time.process_time_ns()
    line.wait()
    for one in threads:
        one.join()
    return {"cpu_ns": time.process_time_ns() - started, "units": sum(done)}


def events(side: Sync, options: Options) -> Options:
    check = Check()
    side.follow(ask("sse", events=options["warm"]), check)
    check.complete(options["warm"])
    check_drained(side.drain(ask("sse", events=options["warm"])), options["warm"])

    payload = ask("sse", events=options["units"])
    started = time.process_time_ns()
    drained = side.drain(payload)
    cpu = time.process_time_ns() - started
    check_drained(drained, options["units"])
    return {"cpu_ns": cpu, "units": drained[0]}


def paced(side: Sync, options: Options) -> Options:
    members = {"every_ms": options["every_ms"], "size": options["size"]}
    side.follow(ask("paced", events=options["warm"], **members), Arrivals())
    arrivals = Arrivals()
    side.follow(ask("paced", events=options["units"], **members), arrivals)
    late = arrivals.late_ns(options["units"], options["size"])
    return {"late_ns": late, "units": len(late)}


def run_async(main: Callable[[str, str, Options], Awaitable[Options]]) -> None:
    """`main` opens its client and gives it to `run_scenario`."""
    scenario, url, options = arguments()

    async def run() -> Options:
        return await main(scenario, url, options)

    if options.get("uvloop"):
        import uvloop

        result = uvloop.run(run())
    else:
        import asyncio

        result = asyncio.run(run())
    print(json.dumps(result))


async def run_scenario(scenario: str, side: Async, options: Options) -> Options:
    scenarios: dict[str, Callable[[Async, Options], Awaitable[Options]]] = {
        "calls": async_calls,
        "events": async_events,
        "paced": async_paced,
        "streams": async_streams,
    }
    return await scenarios[scenario](side, options)


async def async_calls(side: Async, options: Options) -> Options:
    import asyncio

    payload, together = ask("json"), options["together"]
    each = options["units"] // together

    async def some(count: int) -> int:
        for _ in range(count):
            check_answer(await side.call(payload))
        return count

    await asyncio.gather(*[some(options["warm"]) for _ in range(together)])
    started = time.process_time_ns()
    if together == 1:
        done = [await some(each)]
    else:
        done = await asyncio.gather(*[some(each) for _ in range(together)])
    return {"cpu_ns": time.process_time_ns() - started, "units": sum(done)}


async def async_events(side: Async, options: Options) -> Options:
    check = Check()
    await side.follow(ask("sse", events=options["warm"]), check)
    check.complete(options["warm"])
    check_drained(await side.drain(ask("sse", events=options["warm"])), options["warm"])

    payload = ask("sse", events=options["units"])
    started = time.process_time_ns()
    drained = await side.drain(payload)
    cpu = time.process_time_ns() - started
    check_drained(drained, options["units"])
    return {"cpu_ns": cpu, "units": drained[0]}


async def async_paced(side: Async, options: Options) -> Options:
    members = {"every_ms": options["every_ms"], "size": options["size"]}
    await side.follow(ask("paced", events=options["warm"], **members), Arrivals())
    arrivals = Arrivals()
    await side.follow(ask("paced", events=options["units"], **members), arrivals)
    late = arrivals.late_ns(options["units"], options["size"])
    return {"late_ns": late, "units": len(late)}


async def async_streams(side: Async, options: Options) -> Options:
    """All are opened at once, and have had one event each before any of them goes on."""
    import asyncio

    units, size, streams = options["units"], options["size"], options["streams"]
    check_answer(await side.call(ask("json")))
    await side.follow(ask("sse", events=options["warm"]), Check())

    payload = ask("gated", events=units, every_ms=options["every_ms"], size=size)
    opened, done, stay = asyncio.Event(), asyncio.Event(), asyncio.Event()
    counts = {"opened": 0, "done": 0}

    async def stream() -> None:
        # What they say is looked at afterwards.
        seen: list[str] = []

        def each(text: str) -> bool:
            seen.append(text)
            if len(seen) == 1:
                counts["opened"] += 1
                if counts["opened"] == streams:
                    opened.set()
            if len(seen) <= units:
                return False
            counts["done"] += 1
            if counts["done"] == streams:
                done.set()
            return True

        await side.follow(payload, each, stay)
        if len(seen) != units + 1:
            raise AssertionError(f"a stream ended after {len(seen)} events")
        for number, text in enumerate(seen):
            sent(text, number, size)

    gc.collect()  # Only here: what opening leaves behind is there for a user, too.
    before = resident_kib()
    tasks = [asyncio.create_task(stream()) for _ in range(streams)]
    await first(opened, tasks)
    resident = resident_kib() - before

    started = time.process_time_ns()
    check_answer(await side.call(ask("go")))
    await first(done, tasks)
    cpu = time.process_time_ns() - started
    stay.set()
    await asyncio.gather(*tasks)
    return {"cpu_ns": cpu, "units": units * streams, "rss_kib": resident}


async def first(event: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Waits for the event; a stream that fails before ends the bench."""
    import asyncio

    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        await asyncio.gather(*[task for task in tasks if task.done()])
        raise AssertionError("a stream ended early")
