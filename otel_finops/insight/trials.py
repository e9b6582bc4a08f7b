"""What each way to forecast would have said in the past of a series, and which of them is to be listened to.

Every learner passes over the series once and is asked at many of its moments; what it said of the sum of the next steps is laid beside
what came. A sum is what matters: a budget asks for the rest of the month, not for a Tuesday.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import sqrt
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.insight.methods import History, Key, Learner, Name, learners

Method: TypeAlias = Literal["auto", "best", Name]
METHODS: Final[tuple[Method, ...]] = ("auto", "best", *get_args(Name))
"""`auto` weighs all ways by how well each did, `best` takes the one that did best, the others are ways by name."""
Weights: TypeAlias = Mapping[Key, float]

_HORIZONS: Final = (1, 3, 7, 14, 35)
"""Of how many steps sums are asked; besides as many as are to be forecast. Longer ones would leave too few trials that do not overlap."""
_MOMENTS_MAX: Final = 40
"""So many moments tell enough; neighbouring ones tell nearly the same."""
_FIRST_MOMENT: Final = (3, 14)
"""The first one lies at a third of the series, within these bounds."""
_CAUTION: Final[Mapping[Name, float]] = {"run_rate": 1.05, "naive": 1.15, "level": 1.02, "weekday": 1.0, "weekday_trend": 1.05}
"""By how much an error counts more, so that where little is known the steadier ways are listened to."""
_SHARPNESS: Final = 4
"""A way with twice the error counts by a sixteenth."""


class Trial(NamedTuple):
    """What was said at a moment of the sum of the next steps, and what came.

    Attributes:
        place: of the first of them.
        said: the sum that was expected.
        came: the sum that came.
        doubt: see `Learner.doubt`.
    """

    place: int
    said: float
    came: float
    doubt: float


class Tried(NamedTuple):
    """A learner that knows the whole series, and what it said on the way, by the number of steps."""

    learner: Learner
    trials: Mapping[int, Sequence[Trial]]


def tried(history: History, steps: int) -> dict[Key, Tried]:
    """Every learner with its trials.

    Args:
        steps: how many are to be forecast; trials are of as many, where the series is long enough, and of fewer.
    """
    count = len(history.values)
    most = max(1, min(steps, count // 2, _HORIZONS[-1]))
    horizons = sorted({min(one, most) for one in (*_HORIZONS, most)})
    sums = [0.0, *accumulate(history.values)]
    least, latest = _FIRST_MOMENT
    first = max(least, min(latest, count // 3))
    stride = max(1, -(-(count - first) // _MOMENTS_MAX))
    moments = range(count - horizons[0], first - 1, -stride)
    return {key: _tried(one, history.values, sums, horizons, frozenset(moments)) for key, one in learners(history).items()}


def _tried(learner: Learner, values: Sequence[float], sums: Sequence[float], horizons: Sequence[int], moments: frozenset[int]) -> Tried:
    found: dict[int, list[Trial]] = {steps: [] for steps in horizons}
    count = len(values)
    for place, value in enumerate(values, 1):
        learner.learn(value)
        ahead = learner.ahead(min(horizons[-1], count - place)) if place in moments else None
        if ahead is not None:
            in_all = [0.0, *accumulate(ahead)]
            for steps in horizons:
                if place + steps <= count:
                    found[steps].append(Trial(place, in_all[steps], sums[place + steps] - sums[place], learner.doubt))
    return Tried(learner, found)


def weights(found: Mapping[Key, Tried], method: Method, steps: int) -> Weights:
    """How much each learner counts, together 1; those that cannot tell anything are left out.

    Args:
        method: of one that is named its memories are weighed.
        steps: how many are to be forecast.
    """
    asked = {key: one for key, one in found.items() if method in ("auto", "best", key.name) and one.learner.ahead(1) is not None}
    errors = {key: _error(one.trials, steps) * _CAUTION[key.name] for key, one in asked.items()}
    least = min(errors.values(), default=0.0)
    if method == "best":
        errors = {key: error for key, error in errors.items() if error == least}
    counts = {key: (least / error) ** _SHARPNESS if error > 0 else 1.0 for key, error in errors.items()}
    total = sum(counts.values())
    return {key: count / total for key, count in counts.items()}


def _error(trials: Mapping[int, Sequence[Trial]], steps: int) -> float:
    """Mean error of a step, over sums of all lengths: those count more that are more, and that are as long as what is to be forecast."""
    error = total = 0.0
    for horizon, made in trials.items():
        if made:
            weight = sqrt(len(made) / horizon) * sqrt(horizon / steps)
            error += weight * sum(abs(one.said - one.came) for one in made) / len(made) / horizon
            total += weight
    return error / total if total else 1.0


def together(found: Mapping[Key, Tried], weighed: Weights) -> dict[int, list[Trial]]:
    """The trials of learners that are listened to together, by the number of steps."""
    heard = [(found[key].trials, weight) for key, weight in weighed.items()]
    together: dict[int, list[Trial]] = {}
    for steps in heard[0][0] if heard else ():
        rows = zip(*(trials[steps] for trials, _ in heard), strict=True)
        together[steps] = [_mixed(row, [weight for _, weight in heard]) for row in rows]
    return together


def _mixed(row: Sequence[Trial], weighed: Sequence[float]) -> Trial:
    said = sum(weight * one.said for one, weight in zip(row, weighed, strict=True))
    doubt = sum(weight * one.doubt for one, weight in zip(row, weighed, strict=True))
    return Trial(row[0].place, said, row[0].came, doubt)
