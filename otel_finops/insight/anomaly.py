"""Points of a series of spend that stand out from the others: pure calculation, values in and values out.

The point that is judged is never among those it is judged by. What is usual is a median, and how far points stray from it the median
of their distances (MAD), which one wild point cannot move: with the judged point inside a mean and a standard deviation no spike among
seven points can ever reach 2.5 standard deviations. From two full cycles on (two weeks of days) every place in the cycle has a factor of
its own, so that a Monday is compared with Mondays.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

POINTS_MIN: Final = 4
"""Other points that are needed: the fifth can be judged."""
MAD_TO_SIGMA: Final = 1.4826
"""By which the MAD of normally distributed values is multiplied to give their standard deviation."""
_FACTOR_MIN: Final = 0.05
"""Places in the cycle where less than this part of the mean is spent are idle: they say nothing about the level."""


class Rule(NamedTuple):
    """When a point stands out.

    Attributes:
        score: so many robust standard deviations above what was expected, at least.
        least: by so much more than expected, at least; also the smallest spread that is believed. In the series' unit.
        relative: the smallest spread that is believed, as a part of what was expected.
        cycles: lengths in which a series may repeat, longest first; the first one of which the others hold two rounds is used.
        idle_counts: that nothing was spent at a place in the cycle so far makes anything there unusual; otherwise it is compared with
            all points at which something was spent.
    """

    score: float
    least: float
    relative: float
    cycles: tuple[int, ...]
    idle_counts: bool = True


class Point(NamedTuple):
    """A value and its place in the longest cycle, e.g. its weekday."""

    value: float
    slot: int


class Judged(NamedTuple):
    """What is said of a point.

    Attributes:
        expected: what would have been usual there.
        spread: one robust standard deviation.
        score: by how many of them the value lies above what was expected; negative below.
        points: how many others it was compared with.
        stands_out: it lies above by enough to be worth telling.
    """

    expected: float
    spread: float
    score: float
    points: int
    stands_out: bool


class _Season(NamedTuple):
    """Factors by place in a cycle: as they were found, and drawn towards 1 as far as few rounds cannot be trusted."""

    cycle: int
    found: dict[int, float]
    trusted: dict[int, float]


_NO_SEASON: Final = _Season(1, {0: 1.0}, {0: 1.0})


def judge(others: Sequence[Point], one: Point, rule: Rule) -> Judged | None:
    """Compare a point with the others of its series; None where there are fewer than `POINTS_MIN`.

    Args:
        others: in order of time and without holes, those nearest to the point last; zeros where nothing was.
    """
    count = len(others)
    if count < POINTS_MIN:
        return None
    season = _season(others, rule.cycles)
    if not rule.idle_counts and season.found[one.slot % season.cycle] < _FACTOR_MIN:
        season, others = _NO_SEASON, [point for point in others if point.value > 0]
    factor = season.trusted[one.slot % season.cycle]
    flat = [point.value / season.trusted[slot] for point in others if season.found[slot := point.slot % season.cycle] >= _FACTOR_MIN]
    level, strays = _usual(flat, season.cycle)
    expected = level * factor
    spread = max(strays * factor, rule.relative * expected, rule.least)
    score = (one.value - expected) / spread if spread else 0.0
    return Judged(expected, spread, score, count, score >= rule.score and one.value - expected >= rule.least)


def judge_at(series: Sequence[Point], at: int, rule: Rule, *, closed: int, back: int) -> Judged | None:
    """Judge a point of a series by those before it, and by those after it too where too few came before.

    Args:
        series: in order of time and without holes, from the first point on at which anything was.
        at: which.
        closed: so many points from the first on are complete; the others are judged and never compared with.
        back: so many points before it are looked at, at most.
    """
    before = series[max(0, at - back) : min(at, closed)]
    if len(before) >= POINTS_MIN:
        return judge(before, series[at], rule)
    after = series[at + 1 : min(closed, at + 1 + max(rule.cycles[-1] - len(before), 0))]
    return judge((*reversed(after), *before), series[at], rule)


def _season(others: Sequence[Point], cycles: Sequence[int]) -> _Season:
    """The factors of the longest cycle of which there are two rounds in which anything was."""
    for cycle in cycles:
        rounds = [shape for shape in _rounds(others, cycle) if shape]
        if len(rounds) >= 2:
            return _of_rounds(rounds, cycle)
    return _NO_SEASON


def _rounds(others: Sequence[Point], cycle: int) -> list[dict[int, float]]:
    """Whole rounds, counted back from the last point, as parts of their own mean by place; empty ones where nothing was."""
    shapes = []
    for end in range(len(others), cycle - 1, -cycle):
        piece = others[end - cycle : end]
        mean = sum(point.value for point in piece) / cycle
        shapes.append({point.slot % cycle: point.value / mean for point in piece} if mean > 0 else {})
    return shapes


def _of_rounds(rounds: Sequence[dict[int, float]], cycle: int) -> _Season:
    """The median of each place over the rounds. So many rounds weigh against one round in which all places are alike."""
    middle = {slot: median(shape.get(slot, 1.0) for shape in rounds) for slot in range(cycle)}
    mean = sum(middle.values()) / cycle
    if mean <= 0:
        return _NO_SEASON
    found = {slot: value / mean for slot, value in middle.items()}
    trust = len(rounds) / (len(rounds) + 1)
    return _Season(cycle, found, {slot: 1 + trust * (value - 1) for slot, value in found.items()})


def _usual(flat: Sequence[float], cycle: int) -> tuple[float, float]:
    """The level and how far points stray from it. Of a series that is mostly zeros both are those of the other points: what it is
    when it is.
    """
    recent = flat[-cycle:] if cycle > 1 else flat
    level = median(recent) if recent else 0.0
    if level <= 0:
        flat = [value for value in flat if value > 0]
        level = median(flat) if flat else 0.0
    if not flat:
        return 0.0, 0.0
    return level, MAD_TO_SIGMA * median(abs(value - level) for value in flat)
