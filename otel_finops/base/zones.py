"""Hours, days, weeks and months as a time zone has them: instants at which they begin, summer time and odd offsets included."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_HOUR, NS_PER_SECOND, parse_ns

Unit: TypeAlias = Literal["hour", "day", "week", "month"]
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
ZONE_CHARS_MAX: Final = 64

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_CHARS: Final = len("2026-11-21")


def zone_of(name: str) -> tzinfo:
    """The time zone of an IANA name, e.g. `Europe/Rome`.

    Raises:
        BadInput: there is no such zone.
    """
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        if len(name) > ZONE_CHARS_MAX:
            raise ValueError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # also of names that are folders, or that climb out of the data
        raise BadInput(f"zone: there is no time zone {name[:ZONE_CHARS_MAX]!r}; write a name like Europe/Rome, or UTC") from None


def instant_in(text: str, zone: tzinfo) -> int:
    """Read an RFC 3339 instant or a date; without an offset it is the zone's own time. Of a time that the clocks show twice it is the
    first, of one that they skip the moment at which they skip it.

    Raises:
        ValueError: the text is no such instant.
    """
    instant_ns = parse_ns(text)
    if not _is_local(text.strip()):
        return instant_ns
    seconds, rest = divmod(instant_ns, NS_PER_SECOND)
    return _instant((_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None), zone) + rest


def start_of(unit: Unit, instant_ns: int, zone: tzinfo) -> int:
    """The instant at which the hour, day, week (from Monday on) or month of an instant begins."""
    if unit == "hour":
        return instant_ns - _past_hour(instant_ns, zone)
    return day_start(_first_day(unit, date_in(instant_ns, zone)), zone)


def next_start(unit: Unit, instant_ns: int, zone: tzinfo) -> int:
    """The instant at which the next hour, day, week or month begins."""
    if unit == "hour":
        following = instant_ns - _past_hour(instant_ns, zone) + NS_PER_HOUR
        past = _past_hour(following, zone)  # the clocks were set by half an hour meanwhile
        return following + NS_PER_HOUR - past if past else following
    return day_start(_following(unit, _first_day(unit, date_in(instant_ns, zone))), zone)


def back(unit: Unit, instant_ns: int, count: int, zone: tzinfo) -> int:
    """The instant at which the unit begins that is so many before that of an instant."""
    if unit == "hour":
        return start_of(unit, start_of(unit, instant_ns, zone) - count * NS_PER_HOUR, zone)
    day = _first_day(unit, date_in(instant_ns, zone))
    if unit == "month":
        year, month = divmod(day.year * 12 + day.month - 1 - count, 12)
        return day_start(date(year, month + 1, 1), zone)
    return day_start(day - timedelta(days=count * (7 if unit == "week" else 1)), zone)


def pieces(unit: Unit, from_ns: int, to_ns: int, zone: tzinfo) -> Iterator[tuple[int, int]]:
    """Cut [from_ns, to_ns) at every start of a unit. A day that a zone skipped altogether has no piece."""
    start = from_ns
    while start < to_ns:
        end = min(next_start(unit, start, zone), to_ns)
        yield start, end
        start = end


def date_in(instant_ns: int, zone: tzinfo) -> date:
    """The day to which an instant belongs: a day lasts until the next one first begins, even where the clocks then go back behind it."""
    local = _local(instant_ns, zone)
    following = local.date() + timedelta(days=1)
    return following if local.hour == 23 and instant_ns >= day_start(following, zone) else local.date()


def local_minute(instant_ns: int, zone: tzinfo) -> int:
    """How many minutes after midnight the clocks of a zone show at an instant."""
    local = _local(instant_ns, zone)
    return local.hour * 60 + local.minute


def day_start(day: date, zone: tzinfo) -> int:
    """The instant at which a day begins; of a midnight that the clocks skip it is the moment at which they skip it."""
    return max(0, _instant(datetime(day.year, day.month, day.day), zone))


def _is_local(text: str) -> bool:
    """Whether an instant that can be read says no offset: one that does cannot bear another."""
    if len(text) <= _DATE_CHARS:
        return True
    try:
        parse_ns(f"{text}Z")
    except ValueError:
        return False
    return True


def _local(instant_ns: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(seconds=instant_ns // NS_PER_SECOND)).astimezone(zone)


def _past_hour(instant_ns: int, zone: tzinfo) -> int:
    local = _local(instant_ns, zone)
    return (local.minute * 60 + local.second) * NS_PER_SECOND + instant_ns % NS_PER_SECOND


def _instant(local: datetime, zone: tzinfo) -> int:
    """Of a time that is skipped the offset before holds, which gives the moment at which the clocks skip it if it is its first."""
    return (local.replace(tzinfo=zone).astimezone(UTC) - _EPOCH) // timedelta(seconds=1) * NS_PER_SECOND


def _first_day(unit: Unit, day: date) -> date:
    if unit == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if unit == "week" else day


def _following(unit: Unit, first: date) -> date:
    if unit == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if unit == "week" else 1)
