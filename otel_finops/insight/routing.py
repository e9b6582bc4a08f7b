"""Which of some models to use: the cheapest one that is good enough, at the prices of recorded calls.

What a candidate costs is what the very calls of the scope would have cost by it, so their mix of input and output and their cache-hit
rate count, and not the sum of two list prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

from otel_finops.base.money import divide_half_even
from otel_finops.insight.quality import Score

Verdict: TypeAlias = Literal["chosen", "good_enough", "below_bar", "unknown_quality", "no_price"]


class Candidate(NamedTuple):
    """A model that may be used; without a provider it is each call's own provider's, where that has it."""

    provider: str | None
    model: str

    def __str__(self) -> str:
        """As people write it."""
        return self.model if self.provider is None else f"{self.provider}/{self.model}"


class Priced(NamedTuple):
    """A candidate with what is known of it.

    Attributes:
        pico: what the compared calls would have cost by it; None: it cannot price them.
        score: its quality; None: unknown.
    """

    candidate: Candidate
    pico: int | None
    score: Score | None


class Assessed(NamedTuple):
    """A candidate, judged.

    Attributes:
        verdict: what becomes of it.
        is_uncertain: the bar lies within what chance alone would explain of its score.
        on_front: no other one is both at least as good and at least as cheap, and one of both more so.
        per_success_pico: what a good answer costs in the end, attempts that fail included; None: its quality is unknown, or 0.
    """

    priced: Priced
    verdict: Verdict
    is_uncertain: bool
    on_front: bool
    per_success_pico: int | None


class Assessment(NamedTuple):
    """All candidates in the order in which they were given, and which one is cheapest for each good answer (None: nobody knows)."""

    candidates: Sequence[Assessed]
    chosen: Candidate | None
    cheapest_success: Candidate | None


def assess(candidates: Sequence[Priced], calls: int, bar: Fraction, *, allow_unknown: bool) -> Assessment:
    """Judge candidates by the bar, and choose the cheapest one that is over it; of two as cheap the better one, then the first.

    Args:
        calls: how many calls the prices are for; none: nothing can be chosen.
        bar: the least score that is good enough.
        allow_unknown: one of unknown quality may be chosen.
    """
    judged = [_verdict(one, bar) for one in candidates]
    enough = ("good_enough", "unknown_quality") if allow_unknown else ("good_enough",)
    eligible = [one for one, verdict in zip(candidates, judged, strict=True) if verdict in enough]
    chosen = min(eligible, key=lambda one: (one.pico or 0, -_value(one)), default=None) if calls else None
    found = [
        Assessed(
            one,
            "chosen" if one is chosen else verdict,
            _is_uncertain(one, bar),
            calls > 0 and _is_on_front(one, candidates),
            per_success(one, calls),
        )
        for one, verdict in zip(candidates, judged, strict=True)
    ]
    by_success = [one for one in found if one.per_success_pico is not None]
    best = min(by_success, key=lambda one: (one.per_success_pico or 0, -_value(one.priced)), default=None)
    return Assessment(found, chosen and chosen.candidate, best and best.priced.candidate)


def per_success(one: Priced, calls: int) -> int | None:
    """Pico-USD of a good answer when calls are made again until one is good: what a call costs, divided by the share of good ones."""
    if one.pico is None or one.score is None or not one.score.value or not calls:
        return None
    share = one.score.value
    return divide_half_even(one.pico * share.denominator, calls * share.numerator)


def _verdict(one: Priced, bar: Fraction) -> Verdict:
    if one.pico is None:
        return "no_price"
    if one.score is None:
        return "unknown_quality"
    return "good_enough" if one.score.value >= bar else "below_bar"


def _value(one: Priced) -> Fraction:
    return Fraction(-1) if one.score is None else one.score.value


def _is_uncertain(one: Priced, bar: Fraction) -> bool:
    within = None if one.score is None else one.score.range
    return within is not None and within[0] <= bar <= within[1]


def _is_on_front(one: Priced, others: Sequence[Priced]) -> bool:
    """Whether both are known of it and nobody beats it."""
    if one.pico is None or one.score is None:
        return False
    mine = one.pico, -one.score.value
    rivals = ((other.pico, -other.score.value) for other in others if other.pico is not None and other.score is not None)
    return not any(rival != mine and rival[0] <= mine[0] and rival[1] <= mine[1] for rival in rivals)
