"""Instants as integer nanoseconds since the Unix epoch (UTC), and their RFC 3339 form with nine digits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

NS_PER_SECOND: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
NS_PER_HOUR: Final = 3600 * NS_PER_SECOND
NS_PER_DAY: Final = 24 * NS_PER_HOUR

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGER_THAN_ANY_MONTH_NS: Final = 32 * NS_PER_DAY


def format_ns(instant_ns: int) -> str:
    """Write an instant as RFC 3339 in UTC with nine fractional digits, e.g. `2026-11-21T09:30:00.000000001Z`."""
    seconds, nanos = divmod(instant_ns, NS_PER_SECOND)
    return f"{_second(seconds)}.{nanos:09d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    """A second as text, kept: neighbouring rows and spans share it."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


@lru_cache(maxsize=4096)
def month_start_ns(instant_ns: int) -> int:
    """The instant at which the month (UTC) of an instant begins."""
    moment = _EPOCH + timedelta(seconds=instant_ns // NS_PER_SECOND)
    start = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (start - _EPOCH) // timedelta(seconds=1) * NS_PER_SECOND


def month_end_ns(instant_ns: int) -> int:
    """The instant at which the month (UTC) after that of an instant begins."""
    return month_start_ns(month_start_ns(instant_ns) + _LONGER_THAN_ANY_MONTH_NS)


def parse_ns(text: str) -> int:
    """Read an RFC 3339 instant or a plain date (midnight UTC); without an offset it is UTC.

    Raises:
        ValueError: the text is no such instant.
    """
    head, dot, tail = text.strip().replace("z", "Z").partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))] if dot else ""
    moment = datetime.fromisoformat(head + tail[len(digits) :] if dot else head)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = (moment - _EPOCH) // timedelta(seconds=1)
    return whole * NS_PER_SECOND + int(digits[:9].ljust(9, "0") or "0")
