"""A row's prices one by one, as people compare them: by unit, tier and edge; tokens per million."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

from otel_finops.pricing.rule_prices import PER_MILLION, short_name
from otel_finops.pricing.sources.fields import prices_of

_FACTORS: Final = re.compile(r".*_multiplier(_\w+)?|provider_specific_entry\..+")
"""What is no price: tokens cost so many times as much in some place, or at some speed."""


class ListedPrice(NamedTuple):
    """One price of a row.

    Attributes:
        field: the list's own field, nested ones by their path.
        unit: its short name (`input`, `cache_read`, `images`), else the field's own.
        tier: the service tier that it holds for; None for the standard one, and where the unit has no short name.
        above: the long-context edge above which it holds, e.g. `200k`; None for none.
        within: the part of the row in which it stands, e.g. `tiered_pricing[0]` or `off_peak_pricing`; None for the row itself.
        usd: for `per`; of a factor the factor.
        per: `million` tokens, `one` of anything else, or `factor`.
    """

    field: str
    unit: str
    tier: str | None
    above: str | None
    within: str | None
    usd: Decimal
    per: Literal["million", "one", "factor"]


def listed_prices(fields: Mapping[str, Any]) -> list[ListedPrice]:
    """All prices of a row: those with short names first, in their order, then the others by name; the standard ones before the rest."""
    return sorted(_all(fields), key=lambda one: (one.within or "", one.above or "", one.tier or "", _order(one.unit), one.field))


def _all(fields: Mapping[str, Any]) -> Iterator[ListedPrice]:
    for field, value in prices_of(fields):
        within, _, own = field.rpartition(".")
        amount = Decimal(repr(value))
        name = short_name(own)
        if _FACTORS.fullmatch(field):
            yield ListedPrice(field, field, None, None, None, amount, "factor")
        elif "token" in own:
            yield ListedPrice(field, name.unit, name.tier, name.above, within or None, amount * 1_000_000, "million")
        else:
            yield ListedPrice(field, name.unit, name.tier, name.above, within or None, amount, "one")


def _order(unit: str) -> tuple[int, str]:
    return (_PLACES.get(unit, len(_PLACES)), unit)


_PLACES: Final = {unit: place for place, unit in enumerate(PER_MILLION)}
