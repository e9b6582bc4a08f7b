"""Choosing models: by hand, and against every other choice."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from otel_finops.insight.quality import Score, wilson
from otel_finops.insight.routing import Assessment, Candidate, Priced, assess

CENT = 10**10
BAR = Fraction(8, 10)


def priced(name: str, pico: int | None, share: str | None, samples: int | None = None) -> Priced:
    score = None if share is None else Score(None, name, None, Fraction(share), samples)
    return Priced(Candidate("openai", name), pico, score)


def verdicts(found: Assessment) -> list[tuple[str, str]]:
    return [(one.priced.candidate.model, one.verdict) for one in found.candidates]


def test_the_cheapest_over_the_bar_is_chosen_and_nobody_s_quality_is_guessed() -> None:
    offered = [
        priced("dear", 50 * CENT, "0.95"), priced("fair", 20 * CENT, "0.8"), priced("cheap", 5 * CENT, "0.6"),
        priced("unscored", CENT, None), priced("unpriced", None, "1"),
    ]  # fmt: skip
    found = assess(offered, 10, BAR, allow_unknown=False)
    assert verdicts(found) == [
        ("dear", "good_enough"), ("fair", "chosen"), ("cheap", "below_bar"), ("unscored", "unknown_quality"), ("unpriced", "no_price"),
    ]  # fmt: skip
    assert verdicts(assess(offered, 10, BAR, allow_unknown=True))[3] == ("unscored", "chosen")
    assert [one.on_front for one in found.candidates] == [True, True, True, False, False]


def test_what_fails_half_of_the_time_costs_twice_as_much() -> None:
    """0.02 USD a call at 50 % is 0.04 USD for each success; 0.03 at 90 % is 0.0333.., so the dearer one is the cheaper."""
    found = assess([priced("cheap", 20 * CENT, "0.5"), priced("better", 30 * CENT, "0.9")], 10, Fraction(0), allow_unknown=False)
    assert [one.per_success_pico for one in found.candidates] == [4 * CENT, 33_333_333_333]
    assert (found.chosen, found.cheapest_success) == (Candidate("openai", "cheap"), Candidate("openai", "better"))
    never = assess([priced("never", CENT, "0")], 10, Fraction(0), allow_unknown=False)
    assert (never.candidates[0].per_success_pico, never.cheapest_success) == (None, None)


def test_of_two_as_cheap_the_better_is_chosen_and_alone_on_the_front() -> None:
    found = assess([priced("worse", CENT, "0.85"), priced("better", CENT, "0.9"), priced("same", CENT, "0.9")], 1, BAR, allow_unknown=False)
    assert verdicts(found) == [("worse", "good_enough"), ("better", "chosen"), ("same", "good_enough")]
    assert [one.on_front for one in found.candidates] == [False, True, True]


def test_a_bar_within_what_chance_explains_is_said_to_be() -> None:
    """9 of 10 is between 59.6 % and 98.2 % with a confidence of 95 % (Wilson): 80 % lies within; of 1,000 it is 88.0 to 91.7 %."""
    few, many = priced("few", CENT, "0.9", 10), priced("many", CENT, "0.9", 1000)
    assert [one.is_uncertain for one in assess([few, many], 1, BAR, allow_unknown=False).candidates] == [True, False]
    assert [round(edge, 3) for edge in wilson(0.9, 10)] == [0.596, 0.982]


def test_without_calls_nothing_is_chosen() -> None:
    found = assess([priced("fair", 0, "0.9")], 0, BAR, allow_unknown=False)
    assert (found.chosen, found.cheapest_success, found.candidates[0].on_front) == (None, None, False)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 4).map(lambda part: Fraction(part, 4)))), min_size=1, max_size=7
    ),
    st.integers(0, 4).map(lambda part: Fraction(part, 4)),
)
def test_nobody_over_the_bar_is_cheaper_and_somebody_on_the_front_beats_who_is_not(
    offered: list[tuple[int, Fraction | None]], bar: Fraction
) -> None:
    candidates = [priced(str(place), pico, None if share is None else str(share)) for place, (pico, share) in enumerate(offered)]
    found = assess(candidates, 3, bar, allow_unknown=False)
    enough = [pico for pico, share in offered if share is not None and share >= bar]
    assert [one.priced.pico for one in found.candidates if one.verdict == "chosen"] == ([min(enough)] if enough else [])
    known = [(pico, share, one.on_front) for (pico, share), one in zip(offered, found.candidates, strict=True) if share is not None]
    for pico, share, on_front in known:
        beaten = any(o <= pico and s >= share and (o, s) != (pico, share) for o, s, _ in known)
        assert on_front is not beaten
