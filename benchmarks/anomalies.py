"""How many made spikes are found, and how many of those found are none: this detector beside mean and standard deviation.

    python -m benchmarks.anomalies
    python -m benchmarks.anomalies --seed 2 --series 100 --json

Every series is drawn from a seed: 5 to 45 days of a level between 0.10 and 1,000 USD with multiplicative noise, a third of them flat, a
third with quiet weekends, a third with idle ones, the longer ones with or without a trend. In half of them one day, the last one or any
other, is three, five or ten times what it would have been (on an idle day: so much of the level times 0.3). Judged is that day, in the
other half a day drawn in the same way. The rule beside it flags a day above mean + 2.5 standard deviations of up to 30 days with the day
itself among them, days without anything left out.

Beside them stand the plainest cases: five days of which the last is tenfold, and weekly patterns without a spike.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.insight.anomaly import Point, judge_at
from otel_finops.insight.anomaly_rules import DAYS_BACK, day_rule, hour_rule
from otel_finops.settings.anomalies import Anomalies

_LENGTHS: Final = (5, 6, 7, 8, 10, 14, 15, 21, 30, 45)
_SHAPES: Final = {
    "flat": (1.0,) * 7,
    "quiet weekends": (1.0, 1.0, 1.0, 1.0, 1.0, 0.3, 0.2),
    "idle weekends": (1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0),
}
_TREND_FROM: Final = 11


class Made(NamedTuple):
    """A made series: values in USD, the place of each in the week, the day that is judged, and whether a spike was put there."""

    values: tuple[float, ...]
    slots: tuple[int, ...]
    at: int
    is_spike: bool
    shape: str


class Score(NamedTuple):
    """Hits, false alarms and misses of a rule."""

    hits: int
    false: int
    missed: int

    @property
    def precision(self) -> float:
        """How many of those flagged are spikes."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else 1.0

    @property
    def recall(self) -> float:
        """How many of the spikes are flagged."""
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else 1.0


Flags = Callable[[Made], bool]
_NOISE: Final = (0.05, 0.1, 0.2, 0.35)


def made(count: int, seed: int, *, last_only: bool = True) -> list[Made]:
    """Series drawn from a seed; spikes on the last day, or on any."""
    source = random.Random(seed)
    return [_one(source, last_only) for _ in range(count)]


def _one(source: random.Random, last_only: bool) -> Made:
    days, shape = source.choice(_LENGTHS), source.choice(tuple(_SHAPES))
    level, noise = 10 ** source.uniform(-1, 3), source.choice(_NOISE)
    growth = source.choice((0, 0, 0.01, -0.005)) if days >= _TREND_FROM else 0
    first = source.randrange(7)
    slots = tuple((day + first) % 7 for day in range(days))
    values = [level * _SHAPES[shape][slot] * (1 + growth) ** day * math.exp(source.gauss(0, noise)) for day, slot in enumerate(slots)]
    at = days - 1 if last_only else source.randrange(days)
    is_spike = source.random() < 0.5
    if is_spike:
        times = source.choice((3, 5, 10))
        values[at] = values[at] * times or level * times * 0.3
    return Made(tuple(values), slots, at, is_spike, shape)


def five_days(count: int, seed: int) -> list[Made]:
    """Five days of one level, of which the last one is ten times what it would have been."""
    return [_plain(random.Random(seed * count + place), 5, "flat", 10.0) for place in range(count)]


def weekly(count: int, seed: int) -> list[Made]:
    """Two to six weeks with quiet or idle weekends, and nothing else."""
    drawn = []
    for place in range(count):
        source = random.Random(seed * count + place)
        drawn.append(_plain(source, source.choice((14, 21, 28, 30, 42)), source.choice(("quiet weekends", "idle weekends")), 1.0))
    return drawn


def _plain(source: random.Random, days: int, shape: str, times: float) -> Made:
    level, noise, first = 10 ** source.uniform(-1, 3), source.choice(_NOISE), source.randrange(7)
    slots = tuple((day + first) % 7 for day in range(days))
    values = [level * _SHAPES[shape][slot] * math.exp(source.gauss(0, noise)) for slot in slots]
    values[-1] *= times
    return Made(tuple(values), slots, days - 1, times > 1, shape)


def ours(one: Made) -> bool:
    """What the product says with its default settings."""
    series = [Point(value, slot) for value, slot in zip(one.values, one.slots, strict=True)]
    first = next((place for place, point in enumerate(series) if point.value), 0)
    judged = judge_at(series[first:], one.at - first, day_rule(Anomalies(), unit=1.0), closed=len(series) - first, back=DAYS_BACK)
    return judged is not None and judged.stands_out


def mean_and_deviation(one: Made) -> bool:
    """Above mean + 2.5 population standard deviations and above 0.01 USD, over days with anything, the judged one among them."""
    from_day = max(0, one.at - 29)
    known = [value for value in one.values[from_day : from_day + 30] if value]
    if len(known) < 3:
        return False
    mean = sum(known) / len(known)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in known) / len(known))
    return one.values[one.at] > max(mean + 2.5 * deviation, 0.01)


def scored(series: Sequence[Made], flags: Flags) -> Score:
    """How a rule fares."""
    said = [(one.is_spike, flags(one)) for one in series]
    return Score(said.count((True, True)), said.count((False, True)), said.count((True, False)))


def quiet_hours(count: int, seed: int, days: int = 28) -> tuple[int, int]:
    """Hours judged and hours flagged in series of hours without any spike: calls come at random, more by day than by night and on
    working days than on weekends, and cost differs from call to call."""
    source = random.Random(seed)
    rule = hour_rule(Anomalies(), unit=1.0)
    judged = flagged = 0
    for _ in range(count):
        rate, cost, noise = 10 ** source.uniform(-0.3, 2.5), 10 ** source.uniform(-3, 0), source.choice((0.3, 0.6, 1.0))
        hours = [Point(_hour(source, rate * _busy(hour), cost, noise), hour % 168) for hour in range(24 * days)]
        for at in range(24 * (days - 2), 24 * days):
            found = judge_at(hours, at, rule, closed=len(hours), back=24 * 21)
            judged += 1
            flagged += found is not None and found.stands_out
    return judged, flagged


def _busy(hour: int) -> float:
    weekend, of_day = hour % 168 >= 120, hour % 24
    return (0.2 if weekend else 1.0) * (1.0 if 8 <= of_day < 18 else 0.15)


def _hour(source: random.Random, rate: float, cost: float, noise: float) -> float:
    calls = max(0, round(source.gauss(rate, math.sqrt(rate)))) if rate > 30 else _poisson(source, rate)
    return sum(cost * math.exp(source.gauss(0, noise)) for _ in range(calls))


def _poisson(source: random.Random, rate: float) -> int:
    edge, count, product = math.exp(-rate), 0, source.random()
    while product > edge:
        count, product = count + 1, product * source.random()
    return count


def measured(series: int, seed: int) -> dict[str, Any]:
    """Precision and recall of both rules, on spikes of the last day and of any day, and false alarms by the hour."""
    answer: dict[str, Any] = {"series": series, "seed": seed}
    for name, last_only in (("last day", True), ("any day", False)):
        drawn = made(series, seed, last_only=last_only)
        for rule, flags in (("ours", ours), ("mean + 2.5 sigma", mean_and_deviation)):
            found = scored(drawn, flags)
            answer[f"{name}, {rule}"] = {**found._asdict(), "precision": round(found.precision, 3), "recall": round(found.recall, 3)}
    for name, drawn in (("five days, tenfold", five_days(series, seed)), ("weekly pattern", weekly(series, seed))):
        answer[f"{name}, flagged"] = {"ours": sum(map(ours, drawn)), "mean + 2.5 sigma": sum(map(mean_and_deviation, drawn))}
    judged, flagged = quiet_hours(max(1, series // 50), seed)
    return {**answer, "hours without a spike": {"judged": judged, "flagged": flagged}}


def main() -> None:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    answer = measured(given.series, given.seed)
    if given.json:
        print(json.dumps(answer))
        return
    for name, value in answer.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
