"""Periods of budgets: from when until when a window lasts, in the zone of those who pay.

Windows by the calendar begin at the start of a day as the zone has it (base/zones.py): where midnight does not exist, at the moment at
which the clocks skip it. A day of the month that a month does not have is its last one. Rolling windows are made of pieces, the days of
the zone or a `ROLLING_PIECES`th of their hours, and always end with the piece that runs: so no N hours, wherever they begin, lie
outside of some window.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import ROLLING_DAYS_MAX, ROLLING_HOURS_MAX
from otel_finops.base.times import NS_PER_HOUR
from otel_finops.base.zones import date_in, day_start, next_start, zone_of

PeriodKind: TypeAlias = Literal["daily", "weekly", "monthly", "quarterly", "yearly", "rolling_days", "rolling_hours"]
ROLLING_PIECES: Final = 60
"""A rolling window of N hours is counted in pieces of N minutes."""

_MONTHS: Final[dict[PeriodKind, int]] = {"monthly": 1, "quarterly": 3, "yearly": 12}
_HOURS: Final[dict[PeriodKind, int]] = {
    "daily": 24, "weekly": 168, "monthly": 730, "quarterly": 2191, "yearly": 8766, "rolling_days": 24, "rolling_hours": 1,
}  # fmt: skip
_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Window(NamedTuple):
    """From an instant, inclusive, to another, exclusive; nanoseconds."""

    start_ns: int
    end_ns: int

    def has(self, instant_ns: int) -> bool:
        """Whether an instant lies in it."""
        return self.start_ns <= instant_ns < self.end_ns


class Period(NamedTuple):
    """How long a budget lasts until the next one begins.

    Attributes:
        kind: by the calendar, or rolling.
        zone: IANA name of the time zone whose days count.
        start_day: weekly: the day of the week, 1 is Monday; monthly, quarterly, yearly: the day of the month, the last one where a month
            has fewer.
        start_month: quarterly, yearly: the month in which one of the windows begins.
        length: how many days or hours a rolling window has.
    """

    kind: PeriodKind = "monthly"
    zone: str = "UTC"
    start_day: int = 1
    start_month: int = 1
    length: int = 0

    @classmethod
    def of(
        cls, kind: PeriodKind, zone: str = "UTC", *, start_day: int | None = None, start_month: int | None = None, length: int | None = None
    ) -> Period:
        """The period in its one form.

        Raises:
            BadInput: a zone that there is not, or a number that its kind has not; the message begins with the field.
        """
        zone_of(zone)
        if start_month is not None and kind not in ("quarterly", "yearly"):
            raise BadInput(f"start_month: a period that is {kind} has none; quarterly and yearly ones do")
        if start_day is not None and (kind == "daily" or kind.startswith("rolling")):
            raise BadInput(f"start_day: a period that is {kind} has none; weekly, monthly, quarterly and yearly ones do")
        month = 1 if start_month is None else start_month
        if not 1 <= month <= 12:
            raise BadInput("start_month: 1 to 12")
        day = 1 if start_day is None else start_day
        last = 7 if kind == "weekly" else _LONGEST_MONTHS[month - 1] if kind == "yearly" else 31
        if not 1 <= day <= last:
            raise BadInput(f"start_day: 1 to {last}" + (", 1 is Monday" if kind == "weekly" else ""))
        return cls(kind, zone, day, month, _checked_length(kind, length))

    @property
    def is_rolling(self) -> bool:
        """Whether its windows overlap: they move on piece by piece."""
        return self.kind.startswith("rolling")

    @property
    def hours(self) -> int:
        """How long a window is, about: to tell shorter periods from longer ones."""
        return _HOURS[self.kind] * (self.length or 1)

    def window(self, at_ns: int) -> Window:
        """The window that runs at an instant."""
        piece = self.piece(at_ns)
        if not self.is_rolling:
            return piece
        if self.kind == "rolling_hours":
            return Window(max(0, piece.start_ns - ROLLING_PIECES * (piece.end_ns - piece.start_ns)), piece.end_ns)
        first = date_in(at_ns, zone_of(self.zone)) - timedelta(days=self.length - 1)
        return Window(_starts(first, self.zone), piece.end_ns)

    def piece(self, at_ns: int) -> Window:
        """What a call of an instant is counted in: the window itself, of a rolling one the day, or the N minutes."""
        if self.kind == "rolling_hours":
            piece = self.length * NS_PER_HOUR // ROLLING_PIECES
            start = at_ns - at_ns % piece
            return Window(start, start + piece)
        if self.kind == "rolling_days" or self.kind == "daily":
            return day_window(at_ns, self.zone)
        first = self._first_day(date_in(at_ns, zone_of(self.zone)))
        return Window(_starts(first, self.zone), _starts(self._next_first_day(first), self.zone))

    def steps(self, window: Window) -> Iterator[Window]:
        """What the course of a window is shown in: days, of rolling hours the pieces."""
        if self.kind != "rolling_hours":
            yield from days_of(window, self.zone)
            return
        piece = self.piece(window.start_ns)
        while piece.start_ns < window.end_ns:
            yield piece
            piece = self.piece(piece.end_ns)

    def before(self, window: Window) -> Window | None:
        """The window before one by the calendar; None for rolling ones, and at the beginning of time."""
        if self.is_rolling or window.start_ns == 0:
            return None
        return self.window(window.start_ns - 1)

    def _first_day(self, day: date) -> date:
        if self.kind == "weekly":
            return day - timedelta(days=(day.isoweekday() - self.start_day) % 7)
        months = _MONTHS[self.kind]
        index = day.year * 12 + day.month - 1
        index -= (index - (self.start_month - 1)) % months
        first = _day_of(index, self.start_day)
        return first if first <= day else _day_of(index - months, self.start_day)

    def _next_first_day(self, first: date) -> date:
        if self.kind == "weekly":
            return first + timedelta(days=7)
        return _day_of(first.year * 12 + first.month - 1 + _MONTHS[self.kind], self.start_day)


def day_window(at_ns: int, zone: str) -> Window:
    """The day of an instant as a zone has it, 23 to 25 hours long."""
    return _day(date_in(at_ns, zone_of(zone)), zone)


def days_of(window: Window, zone: str) -> Iterator[Window]:
    """The days that a window touches, each whole."""
    at_ns = window.start_ns
    while at_ns < window.end_ns:
        day = day_window(at_ns, zone)
        yield day
        at_ns = day.end_ns


def _checked_length(kind: PeriodKind, length: int | None) -> int:
    if not kind.startswith("rolling"):
        if length is not None:
            raise BadInput(f"length: a period that is {kind} has none; rolling_days and rolling_hours do")
        return 0
    most = ROLLING_DAYS_MAX if kind == "rolling_days" else ROLLING_HOURS_MAX
    if length is None or not 1 <= length <= most:
        raise BadInput(f"length: say how many {kind.removeprefix('rolling_')} the window has, 1 to {most}")
    return length


def _day_of(index: int, day: int) -> date:
    """The day of the month so many months after the year 0, the last one where the month has fewer."""
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day, monthrange(year, month + 1)[1]))


@lru_cache(maxsize=8192)
def _starts(day: date, zone: str) -> int:
    return day_start(day, zone_of(zone))


@lru_cache(maxsize=8192)
def _day(day: date, zone: str) -> Window:
    start = _starts(day, zone)
    return Window(start, next_start("day", start, zone_of(zone)))
