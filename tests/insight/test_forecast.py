"""Forecasts of series, worked out by hand where they can be; intervals measured where they cannot."""

from __future__ import annotations

import random
from itertools import pairwise
from math import isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_finops.insight.backtest import backtest
from otel_finops.insight.forecast import Outlook, forecast
from otel_finops.insight.methods import History, Naive, RunRate, Smoothed
from otel_finops.insight.trials import METHODS, Method

WEEK = [10, 12, 14, 12, 12, 3, 0]
"""Nothing is spent on Sundays: 63 a week."""


def told(history: History, steps: int, method: Method = "auto", **more: float) -> Outlook:
    found = forecast(history, steps, method, **more)
    assert found is not None
    return found


def test_the_run_rate_is_what_was_spent_by_the_days_that_are_over() -> None:
    """60 USD in 12 days of a month of 30: 5 a day, 90 in the 18 days to come."""
    history = History([9, 9, 9, *[5] * 12], starts=[3])
    assert told(history, 18, "run_rate").expected[-1] == 90


def test_the_run_rate_counts_what_the_day_has_brought_so_far() -> None:
    """60 in 12 days and 3 in the half of the 13th that is over: 63 / 12.5 = 5.04 a day; half a day and one day more are 7.56."""
    found = told(History([5] * 12, starts=[0]), 2, "run_rate", first_share=0.5, begun=3)
    assert found.expected == pytest.approx((2.52, 7.56))


def test_at_the_beginning_of_a_window_the_run_rate_is_that_of_the_one_before() -> None:
    assert told(History([5] * 12, starts=[0, 12]), 3, "run_rate").expected == (5, 10, 15)


def test_a_window_that_has_just_begun_counts_as_a_day() -> None:
    """4 USD in the first tenth of the first day: 4 a day, not 40."""
    assert told(History([5] * 12, starts=[0, 12]), 2, "run_rate", first_share=0.9, begun=4).expected == pytest.approx((3.6, 7.6))


def test_the_run_rate_of_a_rolling_window_is_that_of_its_last_steps() -> None:
    """7 and 9 are the last two: 8 a day."""
    assert told(History([1, 2, 3, 7, 9], length=2), 2, "run_rate").expected == (8, 16)


def test_what_was_last_comes_again() -> None:
    assert told(History([1, 2, 3, 7, 9]), 3, "naive").expected == (9, 18, 27)


def test_a_weekly_pattern_is_found() -> None:
    """After four weeks and three days there come Thursday to Sunday: 12 + 12 + 3 + 0 = 27, and then a week of 63."""
    history = History([*WEEK * 4, *WEEK[:3]])
    found = told(history, 11, "weekday")
    assert found.expected[3] == pytest.approx(27, rel=0.06)
    assert found.expected[-1] == pytest.approx(27 + 63, rel=0.05)
    assert found.expected[3] - found.expected[2] < 1, "next to nothing on the Sunday"
    assert told(history, 4, "level").expected[-1] == pytest.approx(4 * 9, rel=0.2), "without weekdays four days are 4/7 of a week"


def test_a_straight_line_goes_on_and_fades() -> None:
    """A line of 100 + 2 a day: the day after the last is 180, and each day after that adds a fiftieth less than the one before."""
    found = told(History([100 + 2 * day for day in range(40)], season=1), 7, "level")
    rising = Smoothed(0.97, with_trend=True)
    for day in range(40):
        rising.learn(100 + 2 * day)
    ahead = rising.ahead(7)
    assert ahead is not None
    assert ahead[0] == pytest.approx(180, abs=0.5)
    assert [later - earlier for earlier, later in pairwise(ahead)] == pytest.approx([2 * 0.98**n for n in range(1, 7)], rel=0.01)
    assert found.expected[-1] < sum(ahead), "a level stays behind a line"


def test_spend_is_never_forecast_below_nothing() -> None:
    """A line that falls to nothing would go on below it."""
    found = told(History([100 - 5 * day for day in range(20)]), 30)
    assert all(later >= earlier for earlier, later in pairwise(found.expected))
    assert found.low is not None
    assert min(found.low) >= 0


def test_an_even_series_has_a_narrow_interval_and_a_rough_one_a_wide_one() -> None:
    dice = random.Random(5)
    even = told(History([dice.gauss(100, 2) for _ in range(60)]), 10)
    rough = told(History([dice.gauss(100, 30) for _ in range(60)]), 10)
    assert even.low is not None
    assert even.high is not None
    assert rough.low is not None
    assert rough.high is not None
    assert 960 < even.low[-1] < even.expected[-1] < even.high[-1] < 1040
    assert rough.high[-1] - rough.low[-1] > 5 * (even.high[-1] - even.low[-1])


def test_chances_fall_as_limits_rise_and_agree_with_the_interval() -> None:
    dice = random.Random(6)
    found = told(History([dice.gauss(100, 20) for _ in range(50)]), 10)
    assert found.low is not None
    assert found.high is not None
    chances = [found.chance_above(amount) for amount in (0, found.low[-1], found.expected[-1], found.high[-1], 10_000)]
    assert chances[0] == 1
    assert chances[-1] == 0
    assert chances[1] == pytest.approx(0.9, abs=0.02)
    assert chances[3] == pytest.approx(0.1, abs=0.02)


def test_fewer_than_five_days_have_no_interval_and_nothing_has_no_forecast() -> None:
    short = told(History([5, 5, 5, 5]), 3)
    assert (short.low, short.high, short.chance_above(1)) == (None, None, None)
    assert short.expected[-1] == pytest.approx(15)
    assert told(History([5, 5, 5, 5, 5]), 3).low is not None
    assert forecast(History([]), 3) is None
    assert told(History([]), 1, first_share=0.5, begun=4).expected == (2.0,), "what half a day brought the other half may bring too"


def test_series_of_rolling_hours_know_no_weekdays() -> None:
    assert set(told(History([5.0] * 30, season=1), 3).heard) == {"run_rate", "naive", "level"}


def test_the_best_method_is_the_one_that_did_best() -> None:
    assert set(told(History(WEEK * 8), 7, "best").heard) <= {"weekday", "run_rate", "level", "naive", "weekday_trend"}
    assert list(told(History([*WEEK * 8, *WEEK[:4]]), 3, "best").heard) == ["weekday"], "the weekend is ahead"


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=40), st.integers(1, 20), st.sampled_from(METHODS), st.floats(0.01, 1))
@settings(max_examples=150, deadline=None)
def test_every_forecast_is_a_rising_sum_between_its_bounds(values: list[int], steps: int, method: Method, share: float) -> None:
    found = told(History(values), steps, method, first_share=share)
    assert len(found.expected) == steps
    for row in (found.expected, found.low or (), found.high or ()):
        assert all(later >= earlier >= 0 for earlier, later in pairwise(row))
    assert isclose(sum(found.heard.values()), 1)
    if found.low is not None and found.high is not None:
        assert all(low <= high for low, high in zip(found.low, found.high, strict=True))


def test_learners_say_what_they_are_unsure_of() -> None:
    rate, naive, level = RunRate([]), Naive(), Smoothed(1.0)
    for one in (rate, naive, level):
        for value in (3, 4, 5, 4):
            one.learn(value)
    assert (rate.doubt, naive.doubt, level.doubt) == (0.25, 1.0, 0.25), "the mean of four has a quarter of the variance of one"


def test_a_backtest_asks_with_what_was_known_then() -> None:
    """Days of 1 to 7, over again; the last one repeated for two days: from the fifth on 2 x 5 against 6 + 7, 2 x 6 against 7 + 1, ..."""
    found = backtest(History([1, 2, 3, 4, 5, 6, 7, 1, 2]), 2, ["naive"])
    said, came = [2 * 5, 2 * 6, 2 * 7], [6 + 7, 7 + 1, 1 + 2]
    error = sum(abs(one - other) for one, other in zip(said, came, strict=True)) / sum(came)
    bias = (sum(said) - sum(came)) / sum(came)
    assert (found.steps, found.moments) == (2, 3)
    assert found.methods["naive"][:2] == pytest.approx((error, bias))


def test_a_backtest_of_too_few_days_has_no_moments() -> None:
    assert backtest(History([1, 2, 3, 4, 5, 6]), 2).moments == 0
    assert backtest(History([1, 2, 3, 4, 5, 6]), 2).methods == {}


def test_of_a_weekly_pattern_the_backtest_shows_that_weekdays_help() -> None:
    dice = random.Random(7)
    scored = backtest(History([dice.gauss(1, 0.05) * value for value in WEEK * 12]), 10).methods
    errors = {name: one.error or 0 for name, one in scored.items()}
    assert errors["auto"] < errors["run_rate"] < errors["naive"]
    assert errors["weekday"] < errors["level"]


@pytest.mark.parametrize("seed", [1, 2])
def test_four_in_five_sums_lie_within_the_interval(seed: int) -> None:
    """Independent days of several kinds of noise; 200 series each, so that 0.8 is known to within 0.1 at three standard errors."""
    dice, within = random.Random(seed), 0
    for _ in range(200):
        level, noise, count = dice.uniform(1, 1000), dice.uniform(0.05, 0.5), dice.randrange(14, 90)
        values = [level * dice.lognormvariate(0, noise) for _ in range(count + 12)]
        found = told(History(values[:count]), 12)
        assert found.low is not None
        assert found.high is not None
        within += found.low[-1] <= sum(values[count:]) <= found.high[-1]
    assert 0.7 <= within / 200 <= 0.97
