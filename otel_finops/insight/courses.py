"""What a period's window will come to: its past by steps, the steps to come, and what is forecast of them.

Steps are those of `Period.steps`: days of its zone, of a rolling window of hours its pieces. A window of the calendar is forecast to its
end. A rolling one goes on for ever: it is forecast for as long as it is itself, and what falls out of it behind is taken off.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Final, NamedTuple

from otel_finops.base.limits import FORECAST_DAYS_MAX, FORECAST_PIECES_MAX, FORECAST_STEPS_MAX
from otel_finops.base.times import NS_PER_DAY
from otel_finops.governance.periods import ROLLING_PIECES, Period, Window
from otel_finops.insight.forecast import Outlook, forecast
from otel_finops.insight.methods import SEASON, History
from otel_finops.insight.trials import Method

_NO_SEASON: Final = 1


class BandStep(NamedTuple):
    """A step to come, the one that runs first.

    Attributes:
        window: its part that is still to come.
        expected, low, high: what will be spent in all by its end, in the calendar's window, or in the rolling one that ends then. Between
            low and high it will be four times in five; None: nobody can tell.
    """

    window: Window
    expected: int
    low: int | None
    high: int | None


class Course(NamedTuple):
    """What is to come.

    Attributes:
        period: whose window it is.
        now_ns: when it was forecast.
        steps: to come, each whole; the first one runs.
        spent: what was spent by now of what counts at the end of each step.
        found: what is added until then.
    """

    period: Period
    now_ns: int
    steps: Sequence[Window]
    spent: Sequence[int]
    found: Outlook

    @property
    def window(self) -> Window:
        """The window that is forecast; of a rolling one as it will be at the end."""
        return self.period.window(self.steps[-1].start_ns)

    def in_all(self, path: Sequence[float]) -> list[int]:
        """What comes to be spent in all by the end of each step, if what is added goes this way."""
        return [spent + round(added) for spent, added in zip(self.spent, path, strict=True)]

    def band(self) -> tuple[BandStep, ...]:
        """The steps with what is expected of them."""
        windows = [Window(max(step.start_ns, self.now_ns), step.end_ns) for step in self.steps]
        nobody_knows = [None] * len(windows)
        low = nobody_knows if self.found.low is None else self.in_all(self.found.low)
        high = nobody_knows if self.found.high is None else self.in_all(self.found.high)
        return tuple(BandStep._make(row) for row in zip(windows, self.in_all(self.found.expected), low, high, strict=True))


def past_of(period: Period, now_ns: int) -> Window:
    """The time whose steps a forecast goes by, the one that runs included."""
    if period.kind == "rolling_hours":
        piece = period.piece(now_ns)
        return Window(max(0, piece.start_ns - FORECAST_PIECES_MAX * (piece.end_ns - piece.start_ns)), piece.end_ns)
    [running] = period.steps(Window(now_ns, now_ns + 1))
    [first] = period.steps(_instant(max(0, now_ns - FORECAST_DAYS_MAX * NS_PER_DAY)))
    return Window(first.start_ns, running.end_ns)


def course_of(
    period: Period, booked: Mapping[int, int], now_ns: int, method: Method = "auto", *, spent: int | None = None, waiting: int = 0
) -> Course | None:
    """What the window that runs comes to; None where nothing was ever booked.

    Args:
        booked: in the steps of `past_of`, by their start; those without anything may be missing.
        spent: in the window that runs; what was booked and what waits, when not given.
        waiting: what of it is in no step yet.
    """
    past = list(period.steps(past_of(period, now_ns)))
    coming = list(_coming(period, now_ns))
    history = history_of(period, past[:-1], [booked.get(step.start_ns, 0) for step in past[:-1]], now_ns)
    share = (coming[0].end_ns - now_ns) / (coming[0].end_ns - coming[0].start_ns)
    found = forecast(history, len(coming), method, first_share=share, begun=booked.get(coming[0].start_ns, 0))
    if found is None:
        return None
    behind = _spent_behind(period, booked, waiting, past, coming)
    return Course(period, now_ns, coming, behind if spent is None or period.is_rolling else [spent] * len(coming), found)


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


def _spent_behind(period: Period, booked: Mapping[int, int], waiting: int, past: Sequence[Window], coming: Sequence[Window]) -> list[int]:
    """What was spent by now of what counts at the end of each coming step: of a rolling window less and less."""
    starts = [step.start_ns for step in past]
    sums = [0, *accumulate(booked.get(start, 0) for start in starts)]
    windows = (period.window(step.start_ns if period.is_rolling else past[-1].start_ns) for step in coming)
    return [waiting + sums[-1] - sums[bisect_left(starts, window.start_ns)] for window in windows]
