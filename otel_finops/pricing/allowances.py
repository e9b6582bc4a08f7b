"""Free allowances of the price list: so many web searches a day or a month that a project at the provider is not charged for.

A day or a month is one of the provider's calendar. Google's quotas begin anew at midnight Pacific time and its bills go by months of
Pacific time (Gemini API, rate limits; Google Cloud, quotas and billing), summer time included.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.pricing.book import PriceRow

DAY: Final = "day"
MONTH: Final = "month"
_PACIFIC: Final = "America/Los_Angeles"
_ZONES: Final = {"gemini": _PACIFIC, "vertex_ai": _PACIFIC}
"""Time zones by provider family; others count in UTC."""


class Allowance(NamedTuple):
    """What a row of the list grants.

    Attributes:
        family: the provider's; its services count apart.
        group: rows of one family with the same group take from one allowance; the row's own key where the list names none.
        searches: so many are free in a period.
        period: `day` or `month`.
    """

    family: str
    group: str
    searches: int
    period: str


def allowance_of(row: PriceRow) -> Allowance | None:
    """The allowance of a row; None where the list states none, or none that can be understood, which grants nothing."""
    stated = row.fields.get("search_free_requests")
    if not isinstance(stated, Mapping):
        return None
    count, period, group = stated.get("count"), stated.get("period"), stated.get("shared_group") or row.key
    if not isinstance(count, int) or isinstance(count, bool) or count < 0 or period not in (DAY, MONTH) or not isinstance(group, str):
        return None
    return Allowance(row.family, group, count, period)


def period_of(allowance: Allowance, instant_ns: int) -> tuple[int, int]:
    """The period [from, to) of an allowance in which an instant lies, in nanoseconds.

    Raises:
        BadInput: the system does not know the provider's time zone.
    """
    local = datetime.fromtimestamp(instant_ns // NS_PER_SECOND, _zone(allowance.family))
    start = local.replace(hour=0, minute=0, second=0, fold=0)
    if allowance.period == DAY:
        end = start + timedelta(days=1)
    else:
        start = start.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
    return int(start.timestamp()) * NS_PER_SECOND, int(end.timestamp()) * NS_PER_SECOND


def _zone(family: str) -> tzinfo:
    name = _ZONES.get(family)
    try:
        return UTC if name is None else ZoneInfo(name)
    except ZoneInfoNotFoundError:
        raise BadInput(f"pricing.allowances: the system has no time zone {name}; install its time zone data (package tzdata)") from None
