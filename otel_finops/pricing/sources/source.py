"""What an importer is, what it gives, and how it reads numbers; the seam for price lists of others.

A distribution adds a list by an entry point of the group `otel_finops.price_sources` whose object is a `PriceSource`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.pricing.snapshot import Fields

PER_TOKEN: Final = 1
"""USD for one unit, as the book keeps prices."""
PER_MILLION: Final = 1_000_000
PER_THOUSAND: Final = 1_000
_DIGITS: Final = 15
"""Significant digits of a price that count: binary floats carry noise behind them."""


class BadRow(BadInput):
    """A row that cannot be taken as it is.

    Attributes:
        row: its name in the list.
        reason: what is wrong with it.
        unknown: the row has a price field that this version does not know; it may be left out, if the operator says so.
    """

    def __init__(self, row: str, reason: str, *, unknown: bool = False) -> None:
        super().__init__(f"row {row!r}: {reason}")
        self.row = row
        self.reason = reason
        self.unknown = unknown


class PriceList(NamedTuple):
    """A list as a source read it.

    Attributes:
        rows: by key, fields in LiteLLM's names, USD for one unit; `litellm_provider` says who bills.
        source_version: the list's own version, "" when it has none.
        date: the list's own day, YYYY-MM-DD; "" when it does not say.
        retired: rows that the list itself calls gone.
        dated: series of prices with dates (`pricing.snapshot.Snapshot.dated`).
        left_out: what was not taken and why, by the row's name: it prices nothing, or nothing that can be said exactly.
    """

    rows: Mapping[str, Fields]
    source_version: str = ""
    date: str = ""
    retired: Mapping[str, Fields] = {}
    dated: Mapping[str, Any] = {}
    left_out: Mapping[str, str] = {}


class Reading(NamedTuple):
    """How a list is to be read.

    Attributes:
        today: the day, YYYY-MM-DD: of prices with dates the one that holds then is the row's.
        leave_out: leave rows with units that are not known out instead of raising `BadRow` for them.
    """

    today: str
    leave_out: bool = False


Reader: TypeAlias = Callable[[Any, Reading], PriceList]
"""Makes the list of a parsed document."""


class PriceSource(NamedTuple):
    """An importer.

    Attributes:
        name: short and lower case; snapshots bear it.
        unit: in which unit the list states prices, for people.
        recognises: whether a parsed document has this list's form; of several that do the first in order reads it.
        read: the list; raises `BadRow`, or `BadInput` for a document that is not the list's.
    """

    name: str
    unit: str
    recognises: Callable[[Any], bool]
    read: Reader


def usd(row: str, field: str, value: Any, per: int = PER_TOKEN) -> float | int:
    """The USD for one unit that a list states as `value` for `per` units.

    Raises:
        BadRow: no number, not finite, or negative.
    """
    number = _number(value)
    if number is None:
        raise BadRow(row, f"{field} is no number")
    if not number.is_finite():
        raise BadRow(row, f"{field} is not finite ({number})")
    if number < 0:
        raise BadRow(row, f"{field} is negative ({number:f})")
    return short(float(number / per))


def short(price: float) -> float | int:
    """The price without the noise behind its significant digits; whole numbers as integers."""
    cut = float(f"{price:.{_DIGITS}g}")
    return int(cut) if cut.is_integer() else cut


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return Decimal(value)
    try:
        return Decimal(value if isinstance(value, str) else repr(value))
    except InvalidOperation:
        return None


def above(edge: int) -> str:
    """The ending of a price that holds for prompts strictly longer than `edge` tokens: `_above_200k_tokens`."""
    return f"_above_{edge}_tokens" if edge % 1000 else f"_above_{edge // 1000}k_tokens"
