"""Forecasts a thousand made-up months and says how wrong each method was, and how often the interval held.

    python -m benchmarks.forecasts --series 1000 --seed 2026

Each series has a past of 7 to 150 days, up to a day of a month of 30; what is forecast is the rest of that month. Errors are of that rest,
measured in what so many days cost on average; nothing of what comes is known to the methods. The kinds are even noise, weekly patterns,
trends, both, shifts of level, levels that wander, bursts, and days without any spend.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from math import exp
from typing import Any, Final, NamedTuple

from otel_finops.insight.forecast import outlook
from otel_finops.insight.methods import History
from otel_finops.insight.trials import Method, tried

KINDS: Final = ("even", "week", "trend", "trend and week", "shift", "wander", "bursts", "gaps")
_WEEKS: Final = ((0.3, 0.2), (0.6, 0.5), (0.05, 0.05), (1.5, 1.3))
_MONTH: Final = 30
_METHODS: Final[tuple[Method, ...]] = ("auto", "best", "run_rate", "naive", "level", "weekday", "weekday_trend")


class Month(NamedTuple):
    """A series, cut within a month."""

    kind: str
    past: list[float]
    rest: list[float]
    starts: list[int]


def months(count: int, seed: int) -> Iterator[Month]:
    """Made-up months, each kind in its turn."""
    dice = random.Random(seed)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        known, day = dice.choice((7, 14, 21, 30, 45, 60, 90, 150)), dice.randrange(3, 27)
        values = _series(dice, kind, known + _MONTH - day)
        starts = [place for place in range(known + 1) if (place - known + day) % _MONTH == 0]
        yield Month(kind, values[:known], values[known:], starts)


def _series(dice: random.Random, kind: str, days: int) -> list[float]:
    level, noise, offset = 10 ** dice.uniform(-1, 3), dice.choice((0.05, 0.15, 0.3, 0.5)), dice.randrange(7)
    weekly = "week" in kind or (kind in ("shift", "wander", "bursts") and dice.random() < 0.5)
    week = [1, 1.05, 1.1, 1.05, 0.95, *dice.choice(_WEEKS)] if weekly else [1.0] * 7
    growth = dice.choice((0.005, 0.01, 0.02, -0.005, -0.01)) if "trend" in kind else 0.0
    shift_at, shift = dice.randrange(days), dice.choice((0.4, 0.6, 1.7, 2.5))
    found = []
    for day in range(days):
        level *= exp(dice.gauss(0, 0.05)) if kind == "wander" else 1
        value = level * week[(day + offset) % 7] * exp(max(-1.5, min(1.5, growth * day))) * exp(dice.gauss(0, noise) - noise * noise / 2)
        value *= shift if kind == "shift" and day >= shift_at else 1
        value *= dice.choice((3, 5, 10)) if kind == "bursts" and dice.random() < 0.04 else 1
        found.append(0.0 if kind == "gaps" and dice.random() < 0.6 else value)
    return found


class Tally:
    """Errors and hits of one method."""

    def __init__(self) -> None:
        self.error = 0.0
        self.count = self.inside = 0

    def add(self, error: float, *, inside: bool) -> None:
        """One more month."""
        self.error += error
        self.count += 1
        self.inside += inside

    def figures(self) -> dict[str, Any]:
        """Mean error and share within the interval."""
        return {"error": round(self.error / self.count, 4), "covered": round(self.inside / self.count, 3), "months": self.count}


def measure(count: int, seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Figures by method, of all months and of each kind."""
    tallies: dict[str, dict[str, Tally]] = {method: {name: Tally() for name in ("all", *KINDS)} for method in _METHODS}
    for month in months(count, seed):
        for method, (error, inside) in _month(month).items():
            for name in ("all", month.kind):
                tallies[method][name].add(error, inside=inside)
    return {method: {name: one.figures() for name, one in found.items() if one.count} for method, found in tallies.items()}


def _month(month: Month) -> dict[Method, tuple[float, bool]]:
    """By method, by how much the rest of the month was wrong, and whether it ended within the interval."""
    history, steps, came = History(month.past, month.starts), len(month.rest), sum(month.rest)
    usual = steps * (sum(month.past) + came) / (len(month.past) + steps)
    made = tried(history, steps)
    scored = {}
    for method in _METHODS:
        found = outlook(history, made, steps, method)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        scored[method] = abs(found.expected[-1] - came) / (usual or 1.0), found.low[-1] <= came <= found.high[-1]
    return scored


def main() -> None:
    """Measure, and print a line for each method and kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2026)
    asked = parser.parse_args()
    began = time.perf_counter()
    for method, figures in measure(asked.series, asked.seed).items():
        for name, one in figures.items():
            sys.stdout.write(json.dumps({"method": method, "kind": name, **one}) + "\n")
    each_ms = (time.perf_counter() - began) * 1000 / asked.series
    sys.stdout.write(json.dumps({"ms_all_methods": round(each_ms, 2), "series": asked.series, "seed": asked.seed}) + "\n")


if __name__ == "__main__":
    main()
