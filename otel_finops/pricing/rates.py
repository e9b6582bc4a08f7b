"""Which rate holds for which token: service tier, long-context tier, ranges, off-peak hours, factors and fall-backs.

All of it is decided once for a row, tier and factor and kept as a *sheet* of exact rates; a quote then only looks up and
multiplies. Rates are exact: what the list writes as decimals stays a fraction of pico-USD, factors and halves included.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from otel_finops.base.money import PICO_PER_USD
from otel_finops.genai.usage import INPUT_PARTS
from otel_finops.pricing.book import PriceRow
from otel_finops.pricing.dated import part_at
from otel_finops.pricing.forms import PARTS, WHOLES, replaced
from otel_finops.pricing.hours import OffPeakHours

STANDARD: Final = ""
BATCH: Final = "_batches"

_TIERS: Final = {
    "flex": "_flex",
    "on_demand_flex": "_flex",
    "balanced": "_balanced",
    "priority": "_priority",
    "fast": "_priority",
    "on_demand_priority": "_priority",
    "ultrafast": "_ultrafast",
    "batch": BATCH,
    "batches": BATCH,
}
"""Service tiers, as providers name them, to the ending of the list's fields; any other tier is billed as standard."""

_EXPECTED_PARTS: Final = frozenset({"audio_in", "audio_out", "image_out", "video_out"})
"""Parts that vendors price apart: without a rate of their own the text rate is a fall-back. Images and videos in prompts and
reasoning are billed as text by most vendors, so for them the text rate is the rate."""

_IMAGE_OUTPUT: Final = PARTS["image_out"]
_EDGE: Final = re.compile(r"_above_(\d+)(k?)_tokens")
_SIGNIFICANT_DIGITS: Final = Context(prec=15)
"""Binary floats in price lists carry noise behind the fifteenth digit."""
_EXACT: Final = Context(prec=60)
_HALF: Final = Fraction(1, 2)
_REACHED: Final = {"xai": 1}
"""Families whose longer tier begins at the edge itself and not beyond it, as how much lower the edge lies."""
_FIREWORKS_CACHE_READ: Final = _HALF
"""Fireworks' own default where its list shows no price for cached input: half of the input rate."""


class Rate(NamedTuple):
    """The price of one unit.

    Attributes:
        numerator, denominator: pico-USD as an exact fraction; the denominator is 1 for nearly all.
        text: USD as a plain decimal string.
        own: False when the row had no rate for the unit and the documented fall-back holds (the quote is `partial`).
    """

    numerator: int
    denominator: int
    text: str
    own: bool


class Column(NamedTuple):
    """The rates of one range of prompt lengths.

    Attributes:
        wholes: every disjoint token unit in the contract's order with its rate, None where the row cannot price it.
        parts: rates of parts that are billed apart from their whole; the others are billed inside it.
        missing_parts: parts for which the whole's rate is a fall-back.
    """

    wholes: tuple[tuple[str, Rate | None], ...]
    parts: Mapping[str, Rate]
    missing_parts: frozenset[str]


class Sheet(NamedTuple):
    """All token rates of a row for one service tier and factor.

    Attributes:
        row: the row.
        tier: ending of the list's fields for the service tier, `STANDARD` or `BATCH` among them.
        first: the rates of the shortest prompts.
        later: (edge, rates) ascending: the rates of prompts strictly longer than the edge.
        times: which sheet holds when, where that changes with the date or the hour; None for most rows.
    """

    row: PriceRow
    tier: str
    first: Column
    later: tuple[tuple[int, Column], ...] = ()
    times: Times | None = None


class Times(Protocol):
    """The sheets of a row whose prices change with time."""

    def at(self, at_ns: int) -> Sheet:
        """The sheet that holds at an instant (Unix nanoseconds)."""

    def changes(self) -> tuple[int, ...] | None:
        """The instants from which another sheet holds; None where that changes with the hour."""


class _OffPeak(NamedTuple):
    """A row's off-peak hours with the sheets within and without them."""

    hours: OffPeakHours
    within: Sheet
    without: Sheet

    def at(self, at_ns: int) -> Sheet:
        return self.within if self.hours.hold_at(at_ns) else self.without

    def changes(self) -> None:
        return None


class _Calendar(NamedTuple):
    """Days (their beginning, ascending) from which the sheets hold, each by the minute of the day."""

    starts: tuple[int, ...]
    sheets: tuple[tuple[tuple[int, Sheet], ...], ...]

    def at(self, at_ns: int) -> Sheet:
        parts = self.sheets[bisect_right(self.starts, at_ns) - 1]
        sheet: Sheet = parts[0][1] if len(parts) == 1 else part_at(parts, at_ns)
        return sheet if sheet.times is None else sheet.times.at(at_ns)

    def changes(self) -> tuple[int, ...] | None:
        plain_days = all(len(parts) == 1 and parts[0][1].times is None for parts in self.sheets)
        return self.starts if plain_days else None


def tier_of(service_tier: str | None) -> str:
    """The ending of the list's fields for a service tier in any spelling; "" for the standard tier and unknown ones."""
    return _TIERS.get(service_tier.strip().lower(), STANDARD) if service_tier else STANDARD


def factor_of(row: PriceRow, region_kind: str | None, region: str | None, speed: str | None) -> Fraction:
    """The product of the row's surcharges for where and how fast the call was served, 1 when it has none."""
    factor = Fraction(1)
    extra = row.fields.get("provider_specific_entry") or {}
    place = region.strip().lower() if region else ""
    if region_kind == "data_residency" and place:
        factor *= _factor(row.fields.get(f"regional_processing_uplift_multiplier_{place}"))
    elif region_kind == "vertex_location" and place and place != "global":
        factor *= _factor(row.fields.get("regional_endpoint_uplift_multiplier"))
    elif region_kind == "inference_geo" and place in extra and place != "fast":
        factor *= _factor(extra[place])
    if speed is not None and speed.strip().lower() == "fast":
        factor *= _factor(extra.get("fast"))
    return factor


def _factor(value: Any) -> Fraction:
    return exact(value) if isinstance(value, int | float) and not isinstance(value, bool) else Fraction(1)


def exact(value: float) -> Fraction:
    """A number of the list as an exact fraction, cut to its significant digits."""
    return Fraction(_SIGNIFICANT_DIGITS.create_decimal(repr(value)))


def plain(amount: Fraction) -> str:
    """A fraction as a plain decimal string without exponent or trailing zeros."""
    text = format(_EXACT.divide(Decimal(amount.numerator), Decimal(amount.denominator)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@lru_cache(maxsize=8_192)
def rate_of(usd: Fraction, own: bool) -> Rate:
    """The rate for a price in USD; equal prices share one value."""
    pico = usd * PICO_PER_USD
    return Rate(pico.numerator, pico.denominator, plain(usd), own)


def sheet_of(row: PriceRow, tier: str, factor: Fraction) -> Sheet:
    """The row's sheet for a tier and factor, made once and kept with the row."""
    sheet = row.sheets.get((tier, factor))
    if sheet is None:
        sheet = row.sheets[tier, factor] = _make_sheet(row, tier, factor)
    return sheet


def _make_sheet(row: PriceRow, tier: str, factor: Fraction) -> Sheet:
    if row.seasons is None:
        return _hourly_sheet(row, tier, factor)
    parts = tuple(
        tuple((minute, _hourly_sheet(row.with_fields(fields), tier, factor)) for minute, fields in season.parts) for season in row.seasons
    )
    return parts[0][0][1]._replace(times=_Calendar(tuple(season.start_ns for season in row.seasons), parts))


def _hourly_sheet(row: PriceRow, tier: str, factor: Fraction) -> Sheet:
    sheet = _sheet_from(row, row.fields, tier, factor)
    block = row.fields.get("off_peak_pricing")
    if not isinstance(block, dict):
        return sheet
    prices = {name: price for name, price in block.items() if "cost" in name}
    return sheet._replace(times=_OffPeak(OffPeakHours(block), _sheet_from(row, replaced(row.fields, prices), tier, factor), sheet))


def _sheet_from(row: PriceRow, fields: Mapping[str, Any], tier: str, factor: Fraction) -> Sheet:
    ranges = _ranges(fields)
    if ranges:
        columns = [(start, _column(row, own, (), tier, factor)) for start, own in ranges]
        return Sheet(row, tier, columns[0][1], tuple(columns[1:]))
    labels = _edges(fields)
    reached = _REACHED.get(row.family, 0)
    later = []
    for count, (edge, _) in enumerate(labels, start=1):
        crossed = tuple(label for _, label in reversed(labels[:count]))
        later.append((edge - reached, _column(row, fields, crossed, tier, factor)))
    return Sheet(row, tier, _column(row, fields, (), tier, factor), tuple(later))


def _edges(fields: Iterable[str]) -> list[tuple[int, str]]:
    """Long-context edges of the row's fields, ascending, each with the part of the field name that speaks of it."""
    found = {match[0]: int(match[1]) * (1000 if match[2] else 1) for match in map(_EDGE.search, fields) if match}
    return sorted((edge, label) for label, edge in found.items())


def _ranges(fields: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """`tiered_pricing` by prompt length: where each range begins, and the fields that hold in it.

    A range's prices stand alone: what it leaves out falls back within the range, but for output and parts, which come from the row.
    """
    ranges = fields.get("tiered_pricing")
    if not isinstance(ranges, list):
        return []
    common = {name: fields[name] for name in (WHOLES["output"], *PARTS.values()) if name in fields and name != PARTS["reasoning"]}
    common |= {name: value for name, value in fields.items() if name.endswith(BATCH)}
    priced = [entry for entry in ranges if "range" in entry and WHOLES["input_uncached"] in entry]
    return sorted(((int(entry["range"][0]), common | entry) for entry in priced), key=lambda item: item[0])


class _Prices:
    """Reads the prices of a row's fields for one tier and the edges that the prompt has crossed (widest first)."""

    def __init__(self, fields: Mapping[str, Any], above: tuple[str, ...], tier: str) -> None:
        self._fields = fields
        self._above = above
        self._tier = tier

    def own(self, name: str) -> tuple[Fraction, bool] | None:
        """The row's price of a field and True; half of the standard one and False for a batch without a batch price; else None."""
        if self._tier != BATCH:
            return self._first(self._names(name, self._tier))
        batch = self._first([f"{name}{label}{BATCH}" for label in self._above] + [name + BATCH])
        if batch is not None:
            return batch
        standard = self._first(self._names(name, STANDARD))
        return None if standard is None else (standard[0] * _HALF, False)

    def _names(self, name: str, tier: str) -> list[str]:
        edges = [f"{name}{label}{ending}" for label in self._above for ending in ((tier, STANDARD) if tier else (STANDARD,))]
        return [*edges, name + tier, name]

    def _first(self, names: Iterable[str]) -> tuple[Fraction, bool] | None:
        for name in names:
            value = self._fields.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return exact(value), True
        return None


def _column(row: PriceRow, fields: Mapping[str, Any], above: tuple[str, ...], tier: str, factor: Fraction) -> Column:
    prices = _Prices(fields, above, tier)
    wholes = _whole_prices(row, prices)
    parts: dict[str, Rate] = {}
    missing = set()
    for unit, name in PARTS.items():
        own = prices.own(name)
        whole = wholes["input_uncached" if unit in INPUT_PARTS else "output"]
        if own is None:
            missing |= {unit} & _EXPECTED_PARTS
        elif own != whole:
            parts[unit] = rate_of(own[0] * factor, own[1])
    rates = tuple((unit, None if price is None else rate_of(price[0] * factor, price[1])) for unit, price in wholes.items())
    return Column(rates, parts, frozenset(missing))


def _whole_prices(row: PriceRow, prices: _Prices) -> dict[str, tuple[Fraction, bool] | None]:
    """Prices of the disjoint token units, fall-backs included, in the contract's order."""
    found = {unit: prices.own(name) for unit, name in WHOLES.items()}
    text_in = found["input_uncached"]
    if found["cache_read"] is not None and not found["cache_read"][1] and text_in is not None:
        found["cache_read"] = text_in[0], False
    if found["cache_read"] is None and text_in is not None:
        share = _FIREWORKS_CACHE_READ if row.fields["litellm_provider"] == "fireworks_ai" else 1
        found["cache_read"] = text_in[0] * share, False
    if found["cache_write_5m"] is None and text_in is not None:
        found["cache_write_5m"] = text_in[0], False
    for unit in ("cache_write_1h", "cache_write_12h"):
        short = found["cache_write_5m"]
        if found[unit] is None and short is not None:
            found[unit] = short[0], False
    if found["output"] is None or not found["output"][0]:
        found["output"] = prices.own(_IMAGE_OUTPUT) or found["output"]
    return found
