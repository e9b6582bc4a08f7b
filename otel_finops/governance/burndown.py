"""The course of a budget's window: what was spent day by day, what of it in all, and what would be if it were spent evenly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from otel_finops.base.money import divide_half_even
from otel_finops.governance.budgets import Budget
from otel_finops.governance.periods import Window


class Step(NamedTuple):
    """A day of a window, of a rolling window of hours a piece.

    Attributes:
        window: from when until when, cut where the budget's window begins or ends within it.
        spent: booked in it.
        in_all: booked from the window's beginning to the end of the step; None for steps that have not begun.
        even: what would be booked by then if the limit were spent evenly over the window's time.
    """

    window: Window
    spent: int
    in_all: int | None
    even: int


class Burndown(NamedTuple):
    """The course of a window. Amounts are in the unit of the budget's amount.

    Attributes:
        window: which.
        limit: what may be spent in it, what it was given from the one before included.
        steps: from the first to the last, those to come too.
    """

    window: Window
    limit: int
    steps: tuple[Step, ...]


def burndown(budget: Budget, window: Window, limit: int, spent: Mapping[int, int], now_ns: int) -> Burndown:
    """The course of a window.

    Args:
        limit: of this window.
        spent: what was booked in each of its steps, by the step's start (`Spending.daily`).
        now_ns: steps that begin later have not begun.
    """
    steps, in_all = [], 0
    for step in budget.period.steps(window):
        of_step = spent.get(step.start_ns, 0)
        in_all += of_step
        cut = Window(max(step.start_ns, window.start_ns), min(step.end_ns, window.end_ns))
        even = divide_half_even(limit * (cut.end_ns - window.start_ns), window.end_ns - window.start_ns)
        steps.append(Step(cut, of_step, None if cut.start_ns > now_ns else in_all, even))
    return Burndown(window, limit, tuple(steps))
