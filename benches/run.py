"""A language's package beside its limit and its peers, in the same run. See METHOD.md.

    run.py python|node [--quick] [--rounds N] [--only NAME ...] [--ours|--without-ours]
           [--json FILE]

Prints a table in Markdown on standard output, its progress on standard error. What is measured
stands in the language's `scenarios.py`, how in its `contestants`. Exit status 1: one
of those failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scenario import RAW, Language, Metric, Options, Scenario

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ["python", "node"]

ARN = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/my_agent-AbCdEf1234"
FIRST_EVENT = "token 000000 ".ljust(90, "x")
PATIENCE_SECONDS = 180
QUICK_ROUNDS = 3

# Nothing of the caller's AWS set-up, proxies or interpreter options may reach a contestant.
ENVIRONMENT = {
    **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
    "LC_ALL": "C.UTF-8",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    # On an old Node it would warn of that in each process, which is no part of a client's work.
    "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED": "true",
}

# What a contestant measured in one round: metric -> number. The rounds of one: a list of those,
# None where it failed.
Measured = dict[str, float]
Rounds = dict[str, list[Measured | None]]


class Failure(Exception):
    """A contestant did not do what it was asked for."""


class Machine:
    """Who runs where: contestants on one CPU, the mock and this program on another."""

    def __init__(self, pin: bool) -> None:
        self.client: set[int] | None = None
        self.others: set[int] | None = None
        if pin and hasattr(os, "sched_getaffinity"):
            cpus = sorted(os.sched_getaffinity(0))
            if len(cpus) > 1:
                self.client, self.others = {cpus[0]}, {cpus[1]}
                os.sched_setaffinity(0, self.others)

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """On the contestants' CPU. A child inherits it, which costs the child nothing."""
        if self.client and self.others:
            os.sched_setaffinity(0, self.client)
        try:
            return subprocess.Popen(command, text=True, env=ENVIRONMENT, **options)
        finally:
            if self.client and self.others:
                os.sched_setaffinity(0, self.others)


class Mock:
    """The server of all contestants. It leaves when its standard input ends."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin and self.process.stdout
        self.address = self.process.stdout.readline().strip()

    def __enter__(self) -> Mock:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


class Bench:
    def __init__(
        self, language: Language, machine: Machine, programs: Path, address: str, extra: Options
    ) -> None:
        self.language = language
        self.machine = machine
        self.raw = str(programs / "raw")
        self.address = address
        self.extra = extra

    def command(self, scenario: Scenario, contestant: str, options: Options) -> list[str]:
        if contestant == RAW:
            return [self.raw, scenario.program, self.address, json.dumps(options)]
        if scenario.program != "cold":
            options = {**options, **self.extra}
            start = self.language.warm(contestant)
            return [*start, scenario.program, self.address, json.dumps(options)]
        start = self.language.cold(contestant)
        if contestant in self.language.floors:
            return start
        ask = json.dumps({"kind": "sse", "events": options["units"], "per_chunk": 1})
        return [*start, f"http://{self.address}", ARN, ask]

    def measure(self, scenario: Scenario, contestant: str, options: Options) -> Measured:
        """One contestant in a process of its own, once."""
        output, cpu_ns = self.run(self.command(scenario, contestant, options))
        if scenario.program == "cold":
            said = output.strip(' "\n')
            if contestant not in self.language.floors and said != FIRST_EVENT:
                raise Failure(f"the first event is {output!r}")
            return {"process": cpu_ns / 1e6}
        result = json.loads(output)
        expected = options["units"] * options.get("streams", 1)
        if result["units"] != expected:
            raise Failure(f"{result['units']} of {expected} calls or events")
        measured = {}
        if "cpu_ns" in result:
            measured["cpu"] = result["cpu_ns"] / 1e3 / expected
        if "late_ns" in result:
            measured["late"] = statistics.median(result["late_ns"]) / 1e3
        if "rss_kib" in result:
            measured["rss"] = result["rss_kib"] / options["streams"]
        return measured

    def run(self, command: Sequence[str]) -> tuple[str, float]:
        """What it wrote, and the CPU time of the whole process."""
        with tempfile.TemporaryFile("w+") as errors:
            process = self.machine.start(command, stdout=subprocess.PIPE, stderr=errors)
            patience = threading.Timer(PATIENCE_SECONDS, process.kill)
            patience.start()
            try:
                assert process.stdout
                with process.stdout as stdout:
                    output = stdout.read()
                # Not wait(): this says what exactly this child has used.
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            finally:
                patience.cancel()
            if process.returncode:
                errors.seek(0)
                raise Failure(f"exit status {process.returncode}: {errors.read()[-2000:].strip()}")
        return output, (used.ru_utime + used.ru_stime) * 1e9


def in_turn(contestants: list[str], number: int) -> list[str]:
    """Every other round runs backwards, and after two another contestant begins."""
    start = number // 2 % len(contestants)
    order = contestants[start:] + contestants[:start]
    return order[::-1] if number % 2 else order


def run_scenario(
    bench: Bench,
    scenario: Scenario,
    contestants: list[str],
    rounds: int,
    quick: bool,
    failures: dict[tuple[str, str], str],
) -> Rounds:
    values: Rounds = {contestant: [] for contestant in contestants}
    # A cold start has a round 0 that does not count: it reads the files, writes the bytecode.
    for number in range(-1 if scenario.program == "cold" else 0, rounds):
        print(f"{scenario.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for contestant in in_turn(contestants, max(number, 0)):
            options = {**scenario.options, **scenario.contestants[contestant]}
            if quick:
                options.update(scenario.quick)
            measured = None
            if (scenario.name, contestant) not in failures:
                try:
                    measured = bench.measure(scenario, contestant, options)
                except (Failure, ValueError, KeyError) as failure:
                    failures[scenario.name, contestant] = str(failure)
                    print(f"  {contestant} failed: {failure}", file=sys.stderr)
            if number >= 0:
                values[contestant].append(measured)
    return values


def column(rounds: Rounds, contestant: str, metric: Metric) -> list[float]:
    """NaN where there is nothing."""
    measured = rounds.get(contestant, [])
    return [one[metric.of] if one else math.nan for one in measured]


def present(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def figure(value: float) -> str:
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def rows(scenario: Scenario, metric: Metric, rounds: Rounds) -> list[str]:
    lines = []
    for contestant in rounds:
        values = column(rounds, contestant, metric)
        target = metric.targets.get(contestant)
        against = target.against if target and target.against else RAW
        reference = column(rounds, against, metric)
        if not present(values):
            lines.append(f"| {contestant} | failed | | | | |")
            continue
        median, best = statistics.median_high(present(values)), min(present(values))
        ratios = present([a / b for a, b in zip(values, reference, strict=False)])
        ratio = ratio_best = math.nan
        if contestant != against and ratios:
            ratio, ratio_best = statistics.median_high(ratios), best / min(present(reference))
        aim, verdict = "", ""
        if target:
            by_ratio = target.against is not None
            sign = f"× {against}" if by_ratio else metric.unit
            aim = f"≤ {figure(target.limit)} {sign}"
            verdict = judge(
                target.limit, ratio if by_ratio else median, ratio_best if by_ratio else best
            )
        over = "" if math.isnan(ratio) else f"{ratio:.2f}× {against}"
        over_best = "" if math.isnan(ratio) else f"{ratio_best:.2f}×"
        spread = f"{figure(median)} [{figure(best)}–{figure(max(present(values)))}]"
        lines.append(
            f"| {contestant} | {spread} {metric.unit} | {over} | {over_best} | {aim} | {verdict} |"
        )
    return lines


def judge(limit: float, median: float, best: float) -> str:
    if math.isnan(median):
        return "not measured"
    if median <= limit:
        return "met"
    return "met by the best rounds only" if best <= limit else "**missed**"


def report(
    scenarios: Sequence[Scenario],
    results: dict[str, Rounds],
    failures: dict[tuple[str, str], str],
    how: str,
) -> str:
    lines = [how]
    for scenario in scenarios:
        if scenario.name not in results:
            continue
        rounds = results[scenario.name]
        for metric in scenario.metrics:
            lines += [
                "",
                f"**{scenario.title[0].upper()}{scenario.title[1:]}**: {metric.title}",
                "",
                "| contestant | median [best–worst] | median of ratios | best over best "
                "| target | |",
                "|---|---|---|---|---|---|",
                *rows(scenario, metric, rounds),
            ]
    if failures:
        lines += ["", "Failed:", ""]
        for (name, contestant), why in failures.items():
            lines.append(f"* {name}, {contestant}: {why.splitlines()[-1] if why else 'no reason'}")
    return "\n".join(lines)


def more_files() -> None:
    """A thousand streams are a thousand sockets, at both ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8_192 if hard == resource.RLIM_INFINITY else min(8_192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("language", choices=LANGUAGES)
    parser.add_argument("--quick", action="store_true", help="a look whether it runs, no figures")
    parser.add_argument("--rounds", type=int, help="instead of each scenario's own number")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these scenarios")
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument("--without-ours", action="store_true", help="limit and peers only")
    whom.add_argument("--ours", action="store_true", help="neither limit nor peers: no ratios")
    parser.add_argument("--uvloop", action="store_true", help="for the asyncio contestants")
    parser.add_argument("--no-pin", action="store_true", help="let everyone run on any CPU")
    parser.add_argument("--json", type=Path, help="every round's figures into this file")
    parser.add_argument("--programs", type=Path, default=target / "release", help="mock and raw")
    chosen = parser.parse_args()
    language: Language = importlib.import_module(f"{chosen.language}.scenarios").LANGUAGE
    names = [scenario.name for scenario in language.scenarios]
    if unknown := set(chosen.only or []) - set(names):
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(names)}")
    if not chosen.without_ours:
        ran = subprocess.run(language.check, env=ENVIRONMENT, capture_output=True, text=True)
        if ran.returncode:
            sys.exit(f"our package does not load; or --without-ours\n{ran.stderr[-2000:]}")
    more_files()
    machine = Machine(not chosen.no_pin)
    results: dict[str, Rounds] = {}
    failures: dict[tuple[str, str], str] = {}
    extra = {"uvloop": True} if chosen.uvloop else {}
    with Mock(chosen.programs / "mock") as mock:
        bench = Bench(language, machine, chosen.programs, mock.address, extra)
        for scenario in language.scenarios:
            if scenario.name not in (chosen.only or names):
                continue
            contestants = [
                name
                for name in scenario.contestants
                if not (chosen.without_ours if name in language.ours else chosen.ours)
            ]
            rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else scenario.rounds)
            results[scenario.name] = run_scenario(
                bench, scenario, contestants, rounds, chosen.quick, failures
            )
    how = f"{', '.join(language.versions())}; {platform.system()}, {os.cpu_count()} CPUs, " + (
        "client and mock on one each." if machine.client else "nothing pinned."
    )
    if chosen.uvloop:
        how += " asyncio on uvloop."
    if chosen.quick:
        how += " **A quick look: these are no figures.**"
    print(report(language.scenarios, results, failures, how))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
