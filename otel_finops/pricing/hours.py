"""Off-peak hours of a price row: daily windows in UTC, with weekdays read on the vendor's calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from otel_finops.base.times import NS_PER_SECOND

_MINUTES_PER_DAY: Final = 24 * 60
_NS_PER_MINUTE: Final = 60 * NS_PER_SECOND
_EVERY_DAY: Final = frozenset(range(1, 8))


class _Window(NamedTuple):
    """Minutes of the UTC day, start inclusive, end exclusive, and the ISO weekdays (1 = Monday) on which it holds."""

    start: int
    end: int
    weekdays: frozenset[int]

    def holds(self, minute: int, weekday: int) -> bool:
        return weekday in self.weekdays and window_holds(self.start, self.end, minute)


def window_holds(start: int, end: int, minute: int) -> bool:
    """True when the minute of the day lies in a daily window; one whose end is not after its start runs past midnight."""
    if start < end:
        return start <= minute < end
    return minute >= start or minute < end


def minute_of(at_ns: int) -> int:
    """The minute of the day (UTC) of an instant in Unix nanoseconds."""
    return at_ns // _NS_PER_MINUTE % _MINUTES_PER_DAY


class OffPeakHours:
    """The windows of an `off_peak_pricing` block; `hours_utc` holds every day, each entry of `windows` on its weekdays.

    A window whose end is not after its start runs past midnight; one that ends where it starts is the whole day.
    """

    def __init__(self, block: Mapping[str, Any]) -> None:
        self._calendar = _calendar(block.get("weekday_timezone"))
        rules = [{"hours_utc": block.get("hours_utc")}, *(block.get("windows") or ())]
        self._windows = tuple(window for rule in rules for window in _windows(rule))

    def hold_at(self, at_ns: int) -> bool:
        """True when the instant (Unix nanoseconds) lies in a window."""
        moment = datetime.fromtimestamp(at_ns // NS_PER_SECOND, tz=UTC)
        weekday = moment.astimezone(self._calendar).isoweekday()
        return any(window.holds(minute_of(at_ns), weekday) for window in self._windows)


def _calendar(name: Any) -> tzinfo:
    if not isinstance(name, str):
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, ZoneInfoNotFoundError):
        return UTC


def _windows(rule: Mapping[str, Any]) -> list[_Window]:
    hours = rule.get("hours_utc")
    texts: Sequence[str] = [hours] if isinstance(hours, str) else hours or ()
    weekdays = frozenset(rule["weekdays"]) if "weekdays" in rule else _EVERY_DAY
    spans = [text.partition("-") for text in texts]
    return [_Window(_minute(start), _minute(end), weekdays) for start, _, end in spans]


def _minute(text: str) -> int:
    hour, _, minute = text.strip().partition(":")
    return (int(hour) * 60 + int(minute)) % _MINUTES_PER_DAY
