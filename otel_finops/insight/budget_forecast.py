"""What a budget's window will come to: at its end, day by day, and when it passes the limit.

The past is what was counted for the budget itself, step by step as `Period.steps` has them: days of its zone, of a rolling window of
hours its pieces. A window of the calendar is forecast to its end. A rolling one goes on for ever: it is forecast for as long as it is
itself, and what falls out of it behind is taken off.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Final, NamedTuple

from otel_finops.base.limits import FORECAST_DAYS_MAX, FORECAST_PIECES_MAX, FORECAST_STEPS_MAX
from otel_finops.base.times import NS_PER_DAY
from otel_finops.governance.budgets import Budget, BudgetStatus
from otel_finops.governance.periods import ROLLING_PIECES, Period, Window
from otel_finops.insight.forecast import Outlook, forecast
from otel_finops.insight.methods import SEASON, History, Name
from otel_finops.insight.trials import Method

_NO_SEASON: Final = 1


class BandStep(NamedTuple):
    """A step to come, the one that runs first.

    Attributes:
        window: its part that is still to come.
        expected, low, high: what will be spent in all by its end, in the unit of the budget's amount: in the calendar's window, or in the
            rolling one that ends then. Between low and high it will be four times in five; None: nobody can tell.
    """

    window: Window
    expected: int
    low: int | None
    high: int | None


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


def past_of(period: Period, now_ns: int) -> Window:
    """The time whose steps a forecast goes by, the one that runs included."""
    if period.kind == "rolling_hours":
        piece = period.piece(now_ns)
        return Window(max(0, piece.start_ns - FORECAST_PIECES_MAX * (piece.end_ns - piece.start_ns)), piece.end_ns)
    [running] = period.steps(Window(now_ns, now_ns + 1))
    [first] = period.steps(_instant(max(0, now_ns - FORECAST_DAYS_MAX * NS_PER_DAY)))
    return Window(first.start_ns, running.end_ns)


def budget_forecast(
    budget: Budget, status: BudgetStatus, booked: Mapping[int, int], now_ns: int, method: Method = "auto"
) -> BudgetForecast | None:
    """The forecast of the window that runs; None where nothing was ever spent.

    Args:
        status: how the budget stands.
        booked: in the steps of `past_of`, by their start, in the unit of the budget's amount; those without anything may be missing.
    """
    past = list(budget.period.steps(past_of(budget.period, now_ns)))
    coming = list(_coming(budget.period, now_ns))
    begun = booked.get(coming[0].start_ns, 0)
    length = coming[0].end_ns - coming[0].start_ns
    history = history_of(budget.period, past[:-1], [booked.get(step.start_ns, 0) for step in past[:-1]], now_ns)
    found = forecast(history, len(coming), method, first_share=(coming[0].end_ns - now_ns) / length, begun=begun)
    if found is None:
        return None
    spent = _spent_behind(budget.period, status, past, booked, coming)
    return _with_limit(budget.period, status, _Course(coming, spent, found, now_ns), _passed_before(status, past, booked))


def history_of(period: Period, steps: Sequence[Window], values: Sequence[int], now_ns: int) -> History:
    """Steps that are over, from the first one in which anything was spent; a correction that took back more than came counts as nothing."""
    first = next((at for at, value in enumerate(values) if value), len(values))
    season = _NO_SEASON if period.kind == "rolling_hours" else SEASON
    starts = [step.start_ns for step in steps[first:]]
    kept = [max(0, value) for value in values[first:]]
    if period.is_rolling:
        return History(kept, (), ROLLING_PIECES if period.kind == "rolling_hours" else period.length, season)
    begins, window = [], period.window(now_ns)
    while starts and window.start_ns >= starts[0]:
        begins.append(bisect_left(starts, window.start_ns))
        earlier = period.before(window)
        if earlier is None:
            break
        window = earlier
    return History(kept, tuple(reversed(begins)), 0, season)


def _instant(at_ns: int) -> Window:
    return Window(at_ns, at_ns + 1)


def _coming(period: Period, now_ns: int) -> Iterator[Window]:
    """The steps from the one that runs on, each whole."""
    if not period.is_rolling:
        yield from islice(period.steps(Window(now_ns, period.window(now_ns).end_ns)), FORECAST_STEPS_MAX)
        return
    count = ROLLING_PIECES if period.kind == "rolling_hours" else period.length
    at_ns = now_ns
    for _ in range(min(count, FORECAST_STEPS_MAX)):
        [step] = period.steps(_instant(at_ns))
        yield step
        at_ns = step.end_ns


def _spent_behind(
    period: Period, status: BudgetStatus, past: Sequence[Window], booked: Mapping[int, int], coming: Sequence[Window]
) -> list[int]:
    """What was spent by now of what counts at the end of each coming step: of a rolling window less and less."""
    if not period.is_rolling:
        return [status.spent] * len(coming)
    starts = [step.start_ns for step in past]
    sums = [0, *accumulate(booked.get(start, 0) for start in starts)]
    waiting = status.pending + status.reserved
    return [waiting + sums[-1] - sums[bisect_left(starts, period.window(step.start_ns).start_ns)] for step in coming]


def _passed_before(status: BudgetStatus, past: Sequence[Window], booked: Mapping[int, int]) -> int | None:
    """When the window that runs passed its limit: the start of the step in which it did; None: what is booked does not pass it."""
    in_all = 0
    for step in past:
        if step.start_ns >= status.window.start_ns:
            in_all += booked.get(step.start_ns, 0)
            if in_all > status.limit:
                return step.start_ns
    return None


class _Course(NamedTuple):
    """What is to come: steps, what was spent by now of each one's sum, and what is forecast to be added."""

    steps: Sequence[Window]
    spent: Sequence[int]
    found: Outlook
    now_ns: int

    def in_all(self, path: Sequence[float]) -> list[int]:
        return [spent + round(added) for spent, added in zip(self.spent, path, strict=True)]

    def passes(self, path: Sequence[float] | None, limit: int) -> int | None:
        """When a path passes the limit, within a step by a straight line."""
        before = self.spent[0]
        for step, amount in zip(self.steps, () if path is None else self.in_all(path), strict=False):
            if amount > limit:
                start = max(step.start_ns, self.now_ns)
                share = (limit - before) / (amount - before) if amount > before else 0.0
                return start + int((step.end_ns - start) * min(1.0, max(0.0, share)))
            before = amount
        return None


def _with_limit(period: Period, status: BudgetStatus, course: _Course, passed_ns: int | None) -> BudgetForecast:
    found, limit = course.found, status.limit
    expected = course.in_all(found.expected)
    low = [None] * len(expected) if found.low is None else course.in_all(found.low)
    high = [None] * len(expected) if found.high is None else course.in_all(found.high)
    windows = [Window(max(step.start_ns, course.now_ns), step.end_ns) for step in course.steps]
    steps = tuple(BandStep._make(row) for row in zip(windows, expected, low, high, strict=True))
    window = period.window(course.steps[-1].start_ns)
    when = [course.passes(path, limit) for path in (found.expected, found.high, found.low)]
    chance = _chance(course, limit)
    if status.spent > limit:
        when, chance = [course.now_ns if passed_ns is None else passed_ns] * 3, 1.0
    exceeds, earliest, latest = when
    return BudgetForecast(
        course.now_ns, window, limit, status.spent, steps, chance, exceeds, earliest, latest, found.heard, found.steps_known
    )


def _chance(course: _Course, limit: int) -> float | None:
    """That the limit is passed at the end of some step: of the likeliest one, since a window of the calendar only grows."""
    chances = [course.found.chance_above(limit - spent, place) for place, spent in enumerate(course.spent)]
    return max((chance for chance in chances if chance is not None), default=None)
