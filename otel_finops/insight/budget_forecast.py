"""What a budget's window will come to against its limit, and when it passes it. The past is what was counted for the budget itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from otel_finops.governance.budgets import Budget, BudgetStatus
from otel_finops.governance.periods import Window
from otel_finops.insight.courses import BandStep, Course, course_of, past_of
from otel_finops.insight.methods import Name
from otel_finops.insight.trials import Method


class BudgetForecast(NamedTuple):
    """A forecast of a budget's window. Amounts are in the unit of the budget's amount.

    Attributes:
        made_ns: when it was made.
        window: which; of a rolling budget what will be its window at the end of the forecast.
        limit, spent: as the budget stood.
        steps: those to come.
        chance: how likely the limit is passed, 0 to 1; None: nobody can tell.
        exceeds_ns: when it is passed, if what is expected comes, or was passed; None: it will not be.
        earliest_ns, latest_ns: the same for the upper and the lower end of the interval.
        heard: how much each way to forecast counted.
        steps_known: how many steps of the past there were.
    """

    made_ns: int
    window: Window
    limit: int
    spent: int
    steps: tuple[BandStep, ...]
    chance: float | None
    exceeds_ns: int | None
    earliest_ns: int | None
    latest_ns: int | None
    heard: Mapping[Name, float]
    steps_known: int

    @property
    def projected(self) -> int:
        """What the window comes to at its end; of a rolling one the most that it comes to."""
        return max(step.expected for step in self.steps)

    @property
    def low(self) -> int | None:
        """The lower end of the interval of that."""
        return max((step.low for step in self.steps if step.low is not None), default=None)

    @property
    def high(self) -> int | None:
        """The upper end."""
        return max((step.high for step in self.steps if step.high is not None), default=None)


def budget_forecast(
    budget: Budget, status: BudgetStatus, booked: Mapping[int, int], now_ns: int, method: Method = "auto"
) -> BudgetForecast | None:
    """The forecast of the window that runs; None where nothing was ever spent.

    Args:
        status: how the budget stands.
        booked: in the steps of `courses.past_of`, by their start, in the unit of the budget's amount.
    """
    waiting = status.pending + status.reserved
    course = course_of(budget.period, booked, now_ns, method, spent=status.spent, waiting=waiting)
    if course is None:
        return None
    paths = (course.found.expected, course.found.high, course.found.low)
    exceeds, earliest, latest = (_passes(course, path, status.limit) for path in paths)
    chance = _chance(course, status.limit)
    if status.spent > status.limit:
        passed_ns = _passed_before(status, list(budget.period.steps(past_of(budget.period, now_ns))), booked)
        exceeds = earliest = latest = now_ns if passed_ns is None else passed_ns
        chance = 1.0
    return BudgetForecast(
        now_ns, course.window, status.limit, status.spent, course.band(), chance, exceeds, earliest, latest,
        course.found.heard, course.found.steps_known,
    )  # fmt: skip


def _passes(course: Course, path: Sequence[float] | None, limit: int) -> int | None:
    """When a path passes the limit, within a step by a straight line."""
    before = course.spent[0]
    for step, amount in zip(course.steps, () if path is None else course.in_all(path), strict=False):
        if amount > limit:
            start = max(step.start_ns, course.now_ns)
            share = (limit - before) / (amount - before) if amount > before else 0.0
            return start + int((step.end_ns - start) * min(1.0, max(0.0, share)))
        before = amount
    return None


def _passed_before(status: BudgetStatus, past: Sequence[Window], booked: Mapping[int, int]) -> int | None:
    """When the window that runs passed its limit: the start of the step in which it did; None: what is booked does not pass it."""
    in_all = 0
    for step in past:
        if step.start_ns >= status.window.start_ns:
            in_all += booked.get(step.start_ns, 0)
            if in_all > status.limit:
                return step.start_ns
    return None


def _chance(course: Course, limit: int) -> float | None:
    """That the limit is passed at the end of some step: of the likeliest one, since a window of the calendar only grows."""
    chances = [course.found.chance_above(limit - spent, place) for place, spent in enumerate(course.spent)]
    return max((chance for chance in chances if chance is not None), default=None)
