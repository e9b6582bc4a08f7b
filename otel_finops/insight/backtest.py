"""How well a series would have been forecast: at many moments of its past each method is asked that knows what was known then alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from otel_finops.base.limits import BACKTEST_MOMENTS_MAX
from otel_finops.insight.forecast import HISTORY_MIN, outlook
from otel_finops.insight.methods import History
from otel_finops.insight.trials import METHODS, Method, tried

_ROUNDING: Final = 1e-9
"""The interval of an even series has no width: what floats lose by adding up is no miss."""


class Scored(NamedTuple):
    """How one method did.

    Attributes:
        error: the mean amount by which its sums were wrong, of the mean sum that came; None where nothing came.
        bias: as `error`, with signs: above 0 it said too much.
        covered: the share of sums that came to lie within its interval; None where it never had one.
    """

    error: float | None
    bias: float | None
    covered: float | None


class Backtest(NamedTuple):
    """How the methods did.

    Attributes:
        steps: of how many steps each sum was forecast.
        moments: at how many moments of the past; 0: it is too short.
        steps_known: how long it is.
        methods: all that could tell anything at each of them.
    """

    steps: int
    moments: int
    steps_known: int
    methods: Mapping[Method, Scored]


class _Said(NamedTuple):
    """A forecast of a sum beside what came; `within` None: it had no interval."""

    said: float
    came: float
    within: bool | None


def backtest(history: History, steps: int, methods: Sequence[Method] = METHODS) -> Backtest:
    """Ask the methods at moments of the past, evenly parted, from the fifth step on; at each of them their own trials lie before it.

    Args:
        steps: of how many steps sums are forecast.
    """
    sums = [0.0, *accumulate(history.values)]
    last = len(history.values) - steps
    stride = max(1, -(-(last - HISTORY_MIN + 1) // BACKTEST_MOMENTS_MAX))
    moments = range(last, HISTORY_MIN - 1, -stride)
    said: dict[Method, list[_Said]] = {method: [] for method in methods}
    for place in moments:
        for method, one in _asked(history.until(place), steps, sums[place + steps] - sums[place], methods).items():
            said[method].append(one)
    return Backtest(
        steps,
        len(moments),
        len(history.values),
        {method: _scored(made) for method, made in said.items() if made and len(made) == len(moments)},
    )


def _asked(history: History, steps: int, came: float, methods: Sequence[Method]) -> dict[Method, _Said]:
    found, said = tried(history, steps), {}
    for method in methods:
        one = outlook(history, found, steps, method)
        if one is not None:
            slack = _ROUNDING * came
            within = None if one.low is None or one.high is None else one.low[-1] - slack <= came <= one.high[-1] + slack
            said[method] = _Said(one.expected[-1], came, within)
    return said


def _scored(made: Sequence[_Said]) -> Scored:
    came = sum(abs(one.came) for one in made)
    error = sum(abs(one.said - one.came) for one in made) / came if came else None
    bias = sum(one.said - one.came for one in made) / came if came else None
    held = [one.within for one in made if one.within is not None]
    return Scored(error, bias, sum(held) / len(held) if held else None)
