"""Quiet hours: times of the day at which people are told only what cannot wait."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.zones import date_in, local_minute, zone_of

DAY_MINUTES = 24 * 60
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)


class QuietHours(NamedTuple):
    """From a time of the day to another, over midnight where the second is not later; as clocks on the wall of a zone show them.

    Attributes:
        from_minute, to_minute: minutes since midnight; both the same: the whole day from then on.
        zone: IANA name.
        days: of the week on which they begin, 1 is Monday; ascending.
    """

    from_minute: int
    to_minute: int
    zone: str = "UTC"
    days: tuple[int, ...] = EVERY_DAY

    @classmethod
    def of(cls, text: str, zone: str, days: tuple[int, ...] = EVERY_DAY) -> QuietHours:
        """From `22:00-07:00`.

        Raises:
            BadInput: no such times, zone or days; the message begins with the field.
        """
        begin, hyphen, end = text.partition("-")
        if not hyphen:
            raise BadInput("quiet: two times of the day, like 22:00-07:00")
        zone_of(zone)
        if not days or not set(days) <= set(EVERY_DAY):
            raise BadInput("quiet_days: numbers from 1 (Monday) to 7, on which quiet hours begin")
        return cls(_minute(begin), _minute(end), zone, tuple(sorted(set(days))))

    @property
    def text(self) -> str:
        """As `of` reads it."""
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (self.from_minute, self.to_minute))

    def holds(self, at_ns: int) -> bool:
        """Whether it is quiet at an instant."""
        zone = zone_of(self.zone)
        minute, day = local_minute(at_ns, zone), date_in(at_ns, zone)
        if self.from_minute < self.to_minute:
            return self.from_minute <= minute < self.to_minute and day.isoweekday() in self.days
        if minute >= self.from_minute:
            return day.isoweekday() in self.days
        return minute < self.to_minute and (day - timedelta(days=1)).isoweekday() in self.days


def _minute(text: str) -> int:
    hours, colon, minutes = text.strip().partition(":")
    if not (colon and hours.isascii() and hours.isdigit() and minutes.isascii() and minutes.isdigit() and len(minutes) == 2):
        raise BadInput("quiet: two times of the day, like 22:00-07:00")
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > DAY_MINUTES or len(hours) > 2:
        raise BadInput("quiet: two times of the day, like 22:00-07:00")
    return minute % DAY_MINUTES
