"""What a series will come to: what is expected, between which sums it will lie four times in five, and how likely it is to pass a limit.

The interval is made of what the same way of forecasting erred by in the past of the same series: errors of sums are brought to one scale
by how they grow with the number of steps, and their quantiles are taken, together with those of a wide bell, which count where there were
few trials. Where the past held fewer than `HISTORY_MIN` steps nobody can tell how wide it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from math import sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

from otel_finops.insight.methods import History, Key, Name
from otel_finops.insight.trials import Method, Trial, Tried, Weights, together, tried, weights

HISTORY_MIN: Final = 5
"""Steps from which on there is an interval."""
COVERED: Final = 0.8
"""The share of outcomes that the interval is to hold."""

_BELL_WIDTH: Final = 1.6
_BELL_WEIGHT: Final = 6.0
"""The bell that is assumed counts as so many trials as long as what is forecast. Its width and weight, and the drift, are such that of
made-up series of all kinds and lengths four in five end within the interval (benchmarks/forecasts.py)."""
_BELL_POINTS: Final = 20
_DRIFT: Final = 0.02
"""The part of a step's variance by which the level may differ from the one that was learned, whatever that is sure of."""


class Scale(NamedTuple):
    """How errors of sums spread: the standard deviation of one step, the variance of the level in variances of a step, and the errors of
    the past in standard deviations of their sum, ascending, each with the share of all weight that lies below its middle."""

    step: float
    level: float
    errors: tuple[tuple[float, float], ...]

    def of(self, steps: float) -> float:
        """The standard deviation of the sum of so many steps."""
        return self.step * sqrt(steps + steps * steps * self.level)

    def quantile(self, share: float) -> float:
        """The error that so large a share of all errors does not exceed."""
        places = [below for _, below in self.errors]
        at = bisect_left(places, share)
        if at == 0 or at == len(places):
            return self.errors[min(at, len(places) - 1)][0]
        (low, below), (high, above) = self.errors[at - 1], self.errors[at]
        return low + (high - low) * (share - below) / (above - below)

    def share_below(self, error: float) -> float:
        """The share of errors below one."""
        if error <= self.errors[0][0]:
            return 0.0
        for (low, below), (high, above) in pairwise(self.errors):
            if error <= high:
                return below + (above - below) * (error - low) / (high - low) if high > low else above
        return 1.0


class Outlook(NamedTuple):
    """What is to come, as sums from now until the end of each coming step.

    Attributes:
        heard: how much each way to forecast counted, together 1, those that did first.
        expected: the sums.
        low, high: between which they will lie four times in five; None: there is too little past to tell.
        sizes: how many steps each sum is made of; the first step may have begun.
        scale: of errors; None as `low`.
        steps_known: how long the past was.
    """

    heard: Mapping[Name, float]
    expected: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    sizes: tuple[float, ...]
    scale: Scale | None
    steps_known: int

    def chance_above(self, amount: float, place: int = -1) -> float | None:
        """How likely the sum up to a place passes an amount; None where nobody can tell."""
        if self.scale is None:
            return None
        spread = self.scale.of(self.sizes[place])
        if spread <= 0:
            return float(self.expected[place] > amount)
        return 1.0 - self.scale.share_below((amount - self.expected[place]) / spread)


def forecast(history: History, steps: int, method: Method = "auto", *, first_share: float = 1.0, begun: float = 0.0) -> Outlook | None:
    """What the next steps will come to; None where there is nothing to go by.

    Args:
        history: steps that are over, without leading ones in which nothing had begun yet.
        steps: how many, 1 or more.
        first_share: how much of the first of them is still to come; what is expected of it is spread over it evenly.
        begun: what the part of it that is over came to; the run rate alone goes by it.
    """
    return outlook(history, tried(history, steps), steps, method, first_share=first_share, begun=begun)


def outlook(
    history: History, found: Mapping[Key, Tried], steps: int, method: Method, *, first_share: float = 1.0, begun: float = 0.0
) -> Outlook | None:
    """As `forecast`, from trials that were made already; their learners are begun with once."""
    if not history.values and begun <= 0:
        return None
    for one in found.values():
        one.learner.begin(begun, 1 - first_share)
    weighed = weights(found, method, steps)
    if not weighed:
        return None
    ahead = [(weight, found[key].learner.ahead(steps) or ()) for key, weight in weighed.items()]
    each = [sum(weight * values[place] for weight, values in ahead) for place in range(steps)]
    expected = tuple(accumulate([each[0] * first_share, *each[1:]]))
    sizes = tuple(first_share + place for place in range(steps))
    doubt = sum(weight * found[key].learner.doubt for key, weight in weighed.items())
    scale = _scale(together(found, weighed), steps, doubt) if len(history.values) >= HISTORY_MIN else None
    low, high = (None, None) if scale is None else _band(expected, sizes, scale)
    return Outlook(_heard(weighed), expected, low, high, sizes, scale, len(history.values))


def _heard(weighed: Weights) -> dict[Name, float]:
    shares: dict[Name, float] = {}
    for key, weight in weighed.items():
        shares[key.name] = shares.get(key.name, 0.0) + weight
    return dict(sorted(shares.items(), key=lambda one: -one[1]))


def _band(expected: Sequence[float], sizes: Sequence[float], scale: Scale) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Between what sums lie four times in five; a sum never falls as steps are added."""
    below, above = scale.quantile((1 - COVERED) / 2), scale.quantile((1 + COVERED) / 2)
    low = accumulate((max(0.0, sum_ + below * scale.of(size)) for sum_, size in zip(expected, sizes, strict=True)), max)
    high = accumulate((max(0.0, sum_ + above * scale.of(size)) for sum_, size in zip(expected, sizes, strict=True)), max)
    return tuple(low), tuple(high)


def _scale(trials: Mapping[int, Sequence[Trial]], steps: int, doubt: float) -> Scale | None:
    shortest = min((size for size, made in trials.items() if made), default=None)
    if shortest is None:
        return None
    level = _DRIFT + doubt
    variance = sum((one.said - one.came) ** 2 for one in trials[shortest]) / len(trials[shortest])
    scale = Scale(sqrt(variance / (shortest + shortest * shortest * level)), level, ())
    errors = [
        ((one.came - one.said) / (scale.of(size) or 1.0), min(1.0, 1 / steps))
        for size, made in trials.items()
        for one in made
    ]  # fmt: skip
    bell = NormalDist(0, _BELL_WIDTH)
    errors += [(bell.inv_cdf((at + 0.5) / _BELL_POINTS), _BELL_WEIGHT / _BELL_POINTS) for at in range(_BELL_POINTS)]
    return scale._replace(errors=_shares(sorted(errors)))


def _shares(errors: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    total = sum(weight for _, weight in errors)
    below = accumulate((weight for _, weight in errors), initial=0.0)
    return tuple((error, (before + weight / 2) / total) for (error, weight), before in zip(errors, below, strict=False))
