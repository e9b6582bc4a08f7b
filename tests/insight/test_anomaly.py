"""Points that stand out: worked out by hand on short series."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.insight.anomaly import Judged, Point, Rule, judge, judge_at

DAYS = Rule(score=3.0, least=0.01, relative=0.2, cycles=(7,))
HOURS = Rule(score=3.0, least=0.01, relative=0.2, cycles=(168, 24), idle_counts=False)


def days(*values: float, first: int = 0) -> list[Point]:
    """Days that follow each other, from this weekday on."""
    return [Point(value, (first + place) % 7) for place, value in enumerate(values)]


def last(*values: float, first: int = 0) -> Judged | None:
    """What is said of the last of these days."""
    series = days(*values, first=first)
    return judge(series[:-1], series[-1], DAYS)


def test_the_fifth_day_is_the_first_that_can_be_judged() -> None:
    assert last(10, 10, 10, 100) is None
    assert last(10, 10, 10, 10, 100) is not None


def test_ten_times_as_much_as_on_four_equal_days_stands_out() -> None:
    # median 10, no day strays, so one deviation is a fifth of 10: (100 - 10) / 2
    assert last(10, 10, 10, 10, 100) == (10, 2, 45, 4, True)


def test_how_far_days_stray_is_the_median_of_their_distances() -> None:
    # median of 8, 10, 12, 14 is 11; distances 3, 1, 1, 3: median 2, times 1.4826; (20 - 11) / 2.9652 = 3.035
    judged = last(8, 10, 12, 14, 20)
    assert judged is not None
    assert (judged.expected, judged.spread) == (11, pytest.approx(2.9652))
    assert (judged.score, judged.stands_out) == (pytest.approx(3.0352, abs=1e-4), True)


def test_an_earlier_spike_does_not_hide_the_next_one() -> None:
    # median 10 of 10, 10, 100, 10, 10; a mean would be 28 with a standard deviation of 36
    judged = last(10, 10, 100, 10, 10, 100)
    assert judged is not None
    assert (judged.expected, judged.stands_out) == (10, True)


def test_less_than_expected_does_not_stand_out() -> None:
    judged = last(10, 10, 10, 10, 0)
    assert judged is not None
    assert (judged.score, judged.stands_out) == (-5, False)


def test_a_few_cents_of_nothing_do_not_stand_out() -> None:
    rule = DAYS._replace(least=1.0)
    # one deviation is 1 at least: (3.5 - 0.5) / 1 is 3 and more than 1 above; a value of 1.4 is not
    assert judge(days(0.5, 0.5, 0.5, 0.5), Point(3.5, 4), rule) == (0.5, 1, 3, 4, True)
    assert judge(days(0.5, 0.5, 0.5, 0.5), Point(1.4, 4), rule) == (0.5, 1, pytest.approx(0.9), 4, False)


WEEK = (10, 10, 10, 10, 10, 2, 0)


def test_a_monday_after_two_weeks_is_compared_with_mondays() -> None:
    """Mean of a week 52 / 7 = 7.43: a working day is 1.346 of it, Saturday 0.269, Sunday nothing. Two rounds weigh two thirds, so the
    factors are 1.231, 0.513 and 1/3; without the idle Sundays the days come to 10 / 1.231 = 8.125 or 2 / 0.513 = 3.900; the last
    five of the last seven such days are working days, so the level is 8.125.
    """
    judged = last(*WEEK, *WEEK, 10)
    assert judged is not None
    assert (judged.expected, judged.score, judged.stands_out) == (pytest.approx(10), pytest.approx(0), False)
    # a Saturday would be usual at 8.125 x 0.513 = 4.17, a fifth of that is 0.83: from 6.67 on it stands out
    assert not said(last(*WEEK, *WEEK, *WEEK[:5], 6))
    assert said(last(*WEEK, *WEEK, *WEEK[:5], 9))


def said(judged: Judged | None) -> bool:
    """Whether it stands out."""
    assert judged is not None
    return judged.stands_out


@pytest.mark.parametrize("first", range(7))
def test_no_day_of_a_weekly_pattern_stands_out(first: int) -> None:
    pattern = [WEEK[(first + day) % 7] for day in range(42)]
    series = days(*pattern, first=first)
    start = next(place for place, point in enumerate(series) if point.value)
    judged = [judge_at(series[start:], at, DAYS, closed=42 - start, back=56) for at in range(42 - start)]
    assert [one for one in judged if one is not None and one.stands_out] == []


def test_of_what_is_seldom_the_days_on_which_it_is_are_compared() -> None:
    # of 10 other days two have anything, 20 and 30: usual is 25, and they stray by 5 x 1.4826 = 7.413
    seldom = (20, 0, 0, 0, 0, 30, 0, 0, 0, 0)
    assert last(*seldom, 25) == (25, pytest.approx(7.413), 0, 10, False)
    assert said(last(*seldom, 100))


def test_with_too_few_days_before_it_a_day_is_compared_with_those_after_it() -> None:
    series = days(10, 100, 10, 10, 10, 10)
    judged = judge_at(series, 1, DAYS, closed=6, back=56)
    assert judged == (10, 2, 45, 5, True)  # one before, four after


def test_a_day_that_is_not_over_is_judged_and_not_compared_with() -> None:
    series = days(10, 10, 10, 10, 90)
    assert judge_at(series, 4, DAYS, closed=4, back=56) == (10, 2, 40, 4, True)
    assert judge_at(series, 1, DAYS, closed=4, back=56) is None  # three others are over


def test_no_more_days_are_looked_at_than_are_asked_for() -> None:
    series = days(*[1000] * 10, *[10] * 6, 100)
    judged = judge_at(series, 16, DAYS, closed=16, back=6)
    assert judged is not None
    assert (judged.expected, judged.points, judged.stands_out) == (10, 6, True)


def test_an_hour_at_which_nothing_was_yet_is_compared_with_the_hours_at_which_something_was() -> None:
    """Two days on which the hours 9 to 17 cost 5 each: something at 3 in the night is usual up to what a busy hour costs."""
    hours = [Point(5.0 if 9 <= hour % 24 < 18 else 0.0, hour) for hour in range(51)]
    assert judge(hours, Point(5.0, 51), HOURS) == (5, 1, 0, 51, False)
    assert judge(hours, Point(9.0, 51), HOURS) == (5, 1, 4, 51, True)
    assert said(judge(hours, Point(5.0, 51), HOURS._replace(idle_counts=True)))


@given(st.lists(st.floats(0, 1e6), min_size=4, max_size=60), st.floats(0, 1e6), st.floats(0.001, 1e4))
def test_the_unit_of_money_does_not_matter(values: list[float], value: float, unit: float) -> None:
    one = judge(days(*values), Point(value, 3), DAYS)
    scaled = judge(days(*(each * unit for each in values)), Point(value * unit, 3), DAYS._replace(least=DAYS.least * unit))
    assert one is not None
    assert scaled is not None
    assert scaled.score == pytest.approx(one.score, rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(0, 1e6), min_size=4, max_size=60), st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_money_is_never_less_conspicuous(values: list[float], value: float, more: float) -> None:
    one, dearer = (judge(days(*values), Point(each, 3), DAYS) for each in (value, value + more))
    assert one is not None
    assert dearer is not None
    assert dearer.score >= one.score
