"""What a bench of a language consists of: scenarios, who takes part, and what is aimed at.

Only data; `run.py` runs it. How long a contestant works in a round is chosen so that it takes a
few tenths of a second: what counts is per call or per event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# The limit of every language, a Rust program.
RAW = "raw hyper"

Options = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """At most `limit`: times `against` in the same round, or, without that, in the unit itself."""

    limit: float
    against: str | None = RAW


@dataclass(frozen=True)
class Metric:
    """One number of a round: `of` names it in `run.py`."""

    of: str
    title: str
    unit: str
    targets: dict[str, Target] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    # The program's name for it, and per contestant what it gets beside `options`.
    program: str
    contestants: dict[str, Options]
    options: Options
    metrics: tuple[Metric, ...]
    rounds: int
    quick: Options


@dataclass(frozen=True)
class Language:
    scenarios: tuple[Scenario, ...]
    ours: frozenset[str]
    # In `cold`, those that call nobody: what the language itself costs.
    floors: frozenset[str]
    # How a contestant is started, but for its address and options.
    warm: Callable[[str], list[str]]
    cold: Callable[[str], list[str]]
    # Ends with status 0 if our package can be loaded.
    check: list[str]
    versions: Callable[[], list[str]]
