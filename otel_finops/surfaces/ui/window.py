"""The time that a page shows: two instants, or a length that ends now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta, tzinfo
from typing import Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_HOUR, format_ns
from otel_finops.base.zones import date_in, day_start, start_of, zone_of

RANGES: Final[Mapping[str, str]] = {
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "mtd": "This month",
    "lm": "Last month",
    "12m": "Last 12 months",
}
"""What can be chosen by one click; the first days of `mtd` and `lm` begin in the page's zone."""
DEFAULT_RANGE: Final = "30d"
_DAYS: Final = {"7d": 7, "30d": 30, "90d": 90, "12m": 365}


class TimeWindow(NamedTuple):
    """A page's time.

    Attributes:
        from_, to: as operations take them; `to` is None for now.
        label: in words.
        chosen: the key in `RANGES`; empty where two instants were given.
    """

    from_: str | None
    to: str | None
    label: str
    chosen: str


def window_of(query: Mapping[str, str], now_ns: int, zone: str, default: str = DEFAULT_RANGE) -> TimeWindow:
    """The window that a page's query asks for: `from` and `to`, else `range`.

    Raises:
        BadInput: `range` is none of `RANGES`.
    """
    if query.get("from") or query.get("to"):
        from_, to = query.get("from") or None, query.get("to") or None
        return TimeWindow(from_, to, f"{from_ or 'the beginning'} to {to or 'now'}", "")
    chosen = query.get("range") or default
    if chosen not in RANGES:
        raise BadInput(f"range: must be one of {', '.join(RANGES)}")
    return TimeWindow(*_ends(chosen, now_ns, zone_of(zone)), RANGES[chosen], chosen)


def _ends(chosen: str, now_ns: int, zone: tzinfo) -> tuple[str, str | None]:
    if chosen == "24h":
        return format_ns(start_of("hour", now_ns, zone) - 23 * NS_PER_HOUR), None
    month_ns = start_of("month", now_ns, zone)
    if chosen == "mtd":
        return format_ns(month_ns), None
    if chosen == "lm":
        return format_ns(start_of("month", month_ns - 1, zone)), format_ns(month_ns)
    first = date_in(now_ns, zone) - timedelta(days=_DAYS[chosen] - 1)
    return format_ns(day_start(first, zone)), None
