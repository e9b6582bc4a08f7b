"""The course of a budget's window, day by day: what was spent, what of it in all, and how much of the limit is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from otel_finops.base.money import divide_half_even
from otel_finops.governance.budgets import Budget
from otel_finops.governance.periods import Window, days_of


class DayOfBudget(NamedTuple):
    """One day of a window.

    Attributes:
        day: the day, cut where the window begins or ends within it.
        spent: booked on it.
        in_all: booked from the window's beginning to the end of the day; None for days that have not begun.
        even: what would be booked by then if the limit were spent evenly over the window's time.
    """

    day: Window
    spent: int
    in_all: int | None
    even: int


class Burndown(NamedTuple):
    """The course of a window. Amounts are in the unit of the budget's amount.

    Attributes:
        window: which.
        limit: what may be spent in it, what it was given from the one before included.
        days: from the first to the last, those to come too.
    """

    window: Window
    limit: int
    days: tuple[DayOfBudget, ...]


def burndown(budget: Budget, window: Window, limit: int, daily: Mapping[int, int], now_ns: int) -> Burndown:
    """The course of a window.

    Args:
        limit: of this window.
        daily: what was booked on each day, by the day's start (`Spending.daily`).
        now_ns: days that begin later have not begun.
    """
    days, in_all = [], 0
    for day in days_of(window, budget.period.zone):
        spent = daily.get(day.start_ns, 0)
        in_all += spent
        cut = Window(max(day.start_ns, window.start_ns), min(day.end_ns, window.end_ns))
        even = divide_half_even(limit * (cut.end_ns - window.start_ns), window.end_ns - window.start_ns)
        days.append(DayOfBudget(cut, spent, None if cut.start_ns > now_ns else in_all, even))
    return Burndown(window, limit, tuple(days))
