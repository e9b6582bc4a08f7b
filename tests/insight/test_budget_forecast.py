"""Forecasts of budgets, worked out by hand: what counts, what falls out of rolling windows, and when limits are passed."""

from __future__ import annotations

import pytest

from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, parse_ns
from otel_finops.governance.budgets import Budget, BudgetStatus
from otel_finops.governance.periods import Period, Window
from otel_finops.governance.scopes import Scope
from otel_finops.insight.budget_forecast import BudgetForecast, budget_forecast
from otel_finops.insight.courses import history_of, past_of

NOON = parse_ns("2026-11-21T12:00:00Z")
"""The 21st day of a month of 30, half of it over."""


MONTHS = Period()


def budget(period: Period = MONTHS, amount: int = 1000) -> Budget:
    return Budget(1, "all of it", Scope(), "calls", amount, period=period)


def spent_daily(per_day: int, days: int, today: int) -> dict[int, int]:
    """So many calls on each of the days before, and so many today until noon."""
    start = parse_ns("2026-11-21")
    return {**{start - day * NS_PER_DAY: per_day for day in range(1, days + 1)}, start: today}


def told(one: Budget, booked: dict[int, int], now_ns: int = NOON, pending: int = 0) -> BudgetForecast:
    window = one.period.window(now_ns)
    in_window = sum(amount for start, amount in booked.items() if window.has(start))
    found = budget_forecast(one, BudgetStatus(window, one.amount, 0, in_window, pending, 0), booked, now_ns, "run_rate")
    assert found is not None
    return found


def test_a_month_by_its_run_rate() -> None:
    """20 days of 10 calls and 5 until noon: 205 in 20.5 days, 10 a day; 9.5 days are left, 95 calls: 300 in all."""
    found = told(budget(), spent_daily(10, 60, 5))
    assert (found.spent, found.projected) == (205, 300)
    assert found.window == Window(parse_ns("2026-11-01"), parse_ns("2026-12-01"))
    assert [step.expected for step in found.steps] == [210, 220, 230, 240, 250, 260, 270, 280, 290, 300]
    assert found.steps[0].window == Window(NOON, parse_ns("2026-11-22"))
    assert (found.exceeds_ns, found.latest_ns) == (None, None)


def test_when_the_limit_is_passed() -> None:
    """Of 225 calls 205 are gone: 10 a day from noon on are 20 in two days, on the 23rd at noon."""
    found = told(budget(amount=225), spent_daily(10, 60, 5))
    assert found.exceeds_ns == pytest.approx(parse_ns("2026-11-23T12:00:00Z"), abs=NS_PER_HOUR)
    assert found.earliest_ns is not None
    assert found.latest_ns is not None
    assert NOON < found.earliest_ns <= parse_ns("2026-11-23T12:00:00Z") + NS_PER_HOUR
    assert found.latest_ns >= parse_ns("2026-11-23T11:00:00Z")
    assert found.chance == pytest.approx(1, abs=0.05)


def test_what_waits_or_is_held_is_spent() -> None:
    assert told(budget(), spent_daily(10, 60, 5), pending=7).projected == 307


def test_a_limit_that_was_passed_says_when() -> None:
    """155 calls were passed on the 16th day, which brought the 151st to the 160th."""
    found = told(budget(amount=155), spent_daily(10, 60, 5))
    assert (found.exceeds_ns, found.chance) == (parse_ns("2026-11-16"), 1)
    held = told(budget(amount=210), spent_daily(10, 60, 5), pending=6)
    assert held.exceeds_ns == NOON, "by what waits, not by what was booked"


def test_what_falls_out_of_a_rolling_window_is_taken_off() -> None:
    """Three days: the 19th 90, the 20th 10, today 5 until noon. With 10 a day from now on: tonight 90 + 10 + 5 + 5, tomorrow without
    the 90, and on the 23rd what is to come alone and 5."""
    one = budget(Period.of("rolling_days", length=3), amount=100)
    start = parse_ns("2026-11-21")
    booked = {start - 2 * NS_PER_DAY: 90, start - NS_PER_DAY: 10, start: 5}
    window = one.period.window(NOON)
    found = budget_forecast(one, BudgetStatus(window, 100, 0, 105, 0, 0), booked, NOON, "naive")
    assert found is not None
    assert [step.expected for step in found.steps] == [110, 30, 30]
    assert found.window == Window(start, start + 3 * NS_PER_DAY)
    assert found.projected == 110
    assert (found.chance, found.exceeds_ns) == (1, start), "105 of 100 are gone since today"


def test_a_rolling_window_that_will_be_too_full() -> None:
    """Ten a day in a window of four days that began to be used two days ago: 20 and 5, then 30, 40, 40, 40 at the ends of days."""
    one = budget(Period.of("rolling_days", length=4), amount=35)
    found = told(one, spent_daily(10, 2, 5))
    assert [step.expected for step in found.steps] == [30, 40, 40, 40]
    assert found.exceeds_ns == pytest.approx(parse_ns("2026-11-22T12:00:00Z"), abs=NS_PER_HOUR)
    assert found.low is None, "two days tell nothing of how far off it may be"


def test_rolling_hours_go_by_their_pieces() -> None:
    """Six hours are pieces of six minutes; 2 calls in each of the last 30 pieces are three hours; the window holds 60 and a running one."""
    one = budget(Period.of("rolling_hours", length=6))
    piece = 6 * 60 * 10**9
    booked = {NOON - n * piece: 2 for n in range(1, 31)}
    found = told(one, booked)
    assert len(found.steps) == 60
    assert [step.expected for step in found.steps][:3] == [62, 64, 66]
    assert found.projected == 122, "61 pieces of 2"
    assert found.steps[0].window == Window(NOON, NOON + piece)


def test_the_past_is_half_a_year_of_the_zones_days() -> None:
    """182 days before 21 November, 12:00 in Rome is 23 May, 13:00 there; its day begins at 22:00 the evening before, in summer time."""
    window = past_of(Period.of("monthly", "Europe/Rome"), parse_ns("2026-11-21T11:00:00Z"))
    assert window == Window(parse_ns("2026-05-22T22:00:00Z"), parse_ns("2026-11-21T23:00:00Z"))
    assert past_of(Period(), 5) == Window(0, NS_PER_DAY)


def test_windows_of_the_past_are_known_to_the_run_rate() -> None:
    """From 30 October on: 30, 31, then November begins at place 2. The 28th and 29th, on which nothing was yet, are left out."""
    period = Period()
    steps = list(period.steps(Window(parse_ns("2026-10-28"), parse_ns("2026-11-05"))))
    found = history_of(period, steps, [0, 0, 4, 0, -3, 7, 1, 1], NOON)
    assert (list(found.values), list(found.starts), found.season) == ([4, 0, 0, 7, 1, 1], [2], 7)


def test_of_nothing_there_is_no_forecast() -> None:
    one = budget()
    assert budget_forecast(one, BudgetStatus(one.period.window(NOON), 1000, 0, 0, 0, 0), {}, NOON) is None


def test_the_first_day_of_a_ledger_is_told_by_itself() -> None:
    """5 calls in the first half day count as those of a day: 5 a day, half of today and 9 days are 47.5 more."""
    found = told(budget(), {parse_ns("2026-11-21"): 5})
    assert found.projected == 5 + round(9.5 * 5)
    assert (found.low, found.chance) == (None, None)
