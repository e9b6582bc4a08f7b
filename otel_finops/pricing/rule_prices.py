"""Prices as people write them in rules, to the price list's fields and back.

`input=2.5,output=10` are USD per million tokens, `images=0.04` is USD for one. A service tier or a long-context edge stands behind a
dot (`input.batch`, `output.above_200k`, `input.above_200k.priority`). What has no short name is written by the list's own field name
(`input_cost_per_token_above_128k_tokens=0.000005`), USD for one unit, as the list states it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.snapshot import Fields
from otel_finops.pricing.sources.fields import kept, prices_of
from otel_finops.pricing.sources.source import BadRow, short

PER_MILLION: Final[Mapping[str, str]] = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "cache_write_12h": "cache_creation_input_token_cost_above_12hr",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_in": "input_cost_per_audio_token",
    "audio_out": "output_cost_per_audio_token",
    "image_in": "input_cost_per_image_token",
    "image_out": "output_cost_per_image_token",
    "video_in": "input_cost_per_video_token",
    "video_out": "output_cost_per_video_token",
}
"""Tokens, USD per million."""
PER_UNIT: Final[Mapping[str, tuple[str, ...]]] = {
    "images": ("input_cost_per_image", "output_cost_per_image"),
    "pixels": ("input_cost_per_pixel",),
    "seconds": ("input_cost_per_second", "output_cost_per_second"),
    "characters": ("input_cost_per_character",),
    "pages": ("ocr_cost_per_page",),
    "annotated_pages": ("annotation_cost_per_page",),
    "queries": ("input_cost_per_query",),
    "web_searches": ("search_context_cost_per_query",),
    "requests": ("input_cost_per_request",),
    "sessions": ("code_interpreter_cost_per_session",),
}
"""What is no token, USD for one; the list names some under either of two fields, and one price holds for both."""
FREE: Final = "free"
"""Stands for prices of 0 for all text tokens."""

_TIERS: Final = {"batch": "_batches", "flex": "_flex", "priority": "_priority", "balanced": "_balanced", "ultrafast": "_ultrafast"}
_ABOVE: Final = re.compile(r"above_(\d{1,7}k?)")
_SEARCH: Final = "search_context_cost_per_query"
_SEARCH_SIZES: Final = ("search_context_size_low", "search_context_size_medium", "search_context_size_high")
_FREE_UNITS: Final = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h")
_SHORT_FIELD: Final = {field: unit for unit, field in PER_MILLION.items()} | {
    field: unit for unit, fields in PER_UNIT.items() for field in fields
}
_LONG_FORM: Final = re.compile(r"(?P<field>.+?)(_above_(?P<edge>\d+k?)_tokens)?(_(?P<tier>batches|flex|priority|balanced|ultrafast))?")
_ABSURD: Final = 1_000
"""A price so many times that of the list, or so small a part of it, was meant for another unit."""


def prices_of_text(text: str) -> dict[str, str]:
    """`name=price,name=price`, or `free`, as prices by name.

    Raises:
        BadInput: it is neither, or says a price twice.
    """
    if text.strip().lower() == FREE:
        return dict.fromkeys(_FREE_UNITS, "0")
    prices: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, price = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not price:
            raise BadInput(f"{part[:40]!r} is no NAME=PRICE; write e.g. input=2.5,output=10 (USD per million tokens), or {FREE}")
        if name in prices:
            raise BadInput(f"{name[:60]} stands twice")
        prices[name] = price
    return prices


def fields_of(prices: Mapping[str, Any]) -> dict[str, Any]:
    """The price list's fields of prices by name.

    Raises:
        BadInput: no price at all, an unknown unit, a price that is no finite number of 0 or more, or one that is said twice.
    """
    if not prices:
        raise BadInput(f"no price; write e.g. input=2.5,output=10 (USD per million tokens), or {FREE}")
    fields: dict[str, Any] = {}
    for name, value in prices.items():
        for field, price in _fields_of(name, value):
            if field in fields:
                raise BadInput(f"{name[:60]}: stands twice, under another name")
            fields[field] = price
    return fields


def _fields_of(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    unit, *parts = name.strip().split(".")
    amount = _amount(name, value)
    if unit == "input_uncached":
        unit = "input"
    if unit in PER_MILLION:
        yield PER_MILLION[unit] + _ending(name, parts), _price(name, amount / 1_000_000)
    elif unit in PER_UNIT and not parts:
        price = _price(name, amount)
        yield from ((field, dict.fromkeys(_SEARCH_SIZES, price) if field == _SEARCH else price) for field in PER_UNIT[unit])
    else:
        yield name, _own_field(name, _price(name, amount))


def _amount(name: str, value: Any) -> Decimal:
    try:
        amount = None if isinstance(value, bool) or not isinstance(value, int | float | str) else Decimal(str(value).strip())
    except InvalidOperation:
        amount = None
    if amount is None:
        raise BadInput(f"{name[:60]}: no number; write a plain decimal, e.g. 2.5")
    if not amount.is_finite():
        raise BadInput(f"{name[:60]}: not finite")
    if amount < 0:
        raise BadInput(f"{name[:60]}: negative; nobody is paid for calls (0 is free)")
    return amount


def _price(name: str, usd: Decimal) -> float | int:
    price = short(float(usd))
    if Decimal(repr(price)) != usd:
        raise BadInput(f"{name[:60]}: more than 15 significant digits, or too large or small to be a price")
    return price


def _ending(name: str, parts: Iterable[str]) -> str:
    """What a unit's field ends with for its long-context edge and service tier."""
    edge = tier = ""
    for part in parts:
        if found := _ABOVE.fullmatch(part):
            edge = f"_above_{found[1]}_tokens"
        elif part in _TIERS:
            tier = _TIERS[part]
        else:
            raise BadInput(f"{name[:60]}: {part[:30]!r} is neither a tier ({', '.join(_TIERS)}) nor an edge (above_200k)")
    return edge + tier


def _own_field(name: str, price: float) -> float:
    """The price of a field that is written as the list names it."""
    try:
        found = kept(name, {"litellm_provider": "-", name: price})
    except BadRow:
        found = {}
    if name not in found or name not in dict(prices_of(found)):
        raise BadInput(
            f"{name[:60]}: unknown unit; tokens (USD per million): {', '.join(PER_MILLION)}; others (USD for one): {', '.join(PER_UNIT)}; "
            "or a field of the price list (USD for one unit), e.g. input_cost_per_token_above_200k_tokens"
        )
    return price


def shown(fields: Fields) -> dict[str, str]:
    """The prices of a rule by their short names, as plain decimal strings: what `fields_of` reads."""
    prices: dict[str, str] = {}
    for field, value in fields.items():
        form = _LONG_FORM.fullmatch(field)
        assert form is not None, field
        unit = _SHORT_FIELD.get(field) or _SHORT_FIELD.get(form["field"])
        price = Decimal(repr(next(iter(value.values())) if isinstance(value, Mapping) else value))
        if unit is not None and unit in PER_MILLION:
            prices[unit + _dotted(form if field not in _SHORT_FIELD else None)] = plain_decimal(price * 1_000_000)
        else:
            prices[unit if unit is not None and field in _SHORT_FIELD else field] = plain_decimal(price)
    return prices


class ShortName(NamedTuple):
    """A field of the list by its short name.

    Attributes:
        unit: the short name, or the field itself where it has none.
        tier: the service tier that its name ends with; None for none, and where it has no short name.
        above: the edge in its name, e.g. `200k`; None for none, and where it has no short name.
    """

    unit: str
    tier: str | None = None
    above: str | None = None


def short_name(field: str) -> ShortName:
    """What a field of the list is called in rules, with its service tier and long-context edge."""
    form = _LONG_FORM.fullmatch(field)
    if field in _SHORT_FIELD or form is None:
        return ShortName(_SHORT_FIELD.get(field, field))
    unit = _SHORT_FIELD.get(form["field"])
    if unit is None:
        return ShortName(field)
    return ShortName(unit, service_tier_of("_" + form["tier"]) if form["tier"] else None, form["edge"])


def service_tier_of(ending: str) -> str:
    """The service tier for the ending of a list's fields (`_batches` -> `batch`)."""
    return next(tier for tier, known in _TIERS.items() if known == ending)


def _dotted(form: re.Match[str] | None) -> str:
    if form is None:
        return ""
    tier = f".{service_tier_of('_' + form['tier'])}" if form["tier"] else ""
    return (f".above_{form['edge']}" if form["edge"] else "") + tier


def plain_decimal(amount: Decimal) -> str:
    """A decimal without an exponent and without zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def absurd(fields: Fields, listed: Fields | None, book: PriceBook) -> str | None:
    """Why a price looks as if it was meant for another unit; None when none does.

    Args:
        fields: of the rule.
        listed: what the list says of the same model, None when it does not know it; where it has no such price the measure is what
            the models of the list usually cost.
    """
    own = {} if listed is None else dict(prices_of(listed))
    for path, price in prices_of(fields):
        if not price:
            continue
        usual, cheapest = (own[path], own[path] / _ABSURD) if own.get(path) else _usual(path, book)
        measure = "the list's price" if own.get(path) else "the price that is usual in the list"
        if usual and not cheapest <= price <= usual * _ABSURD:
            times = f"more than {_ABSURD} times" if price > usual else f"less than one {_ABSURD}th of"
            return f"{path}: {plain_usd(price)} USD for one is {times} {measure} ({plain_usd(usual)} USD)"
    return None


def _usual(path: str, book: PriceBook) -> tuple[float, float]:
    """The median of all prices for a unit, and the least that is not absurd; (0, 0) when the list has none."""
    form = _LONG_FORM.fullmatch(path)
    field = form["field"] if form else path
    known = sorted(price for row in book.rows() for name, price in prices_of(row.fields) if name == field and price)
    if not known:
        return 0, 0
    median = known[len(known) // 2]
    return median, min(known[0], median / _ABSURD)


def plain_usd(usd: float) -> str:
    """A price as a plain decimal string, digit for digit."""
    return plain_decimal(Decimal(repr(usd)))
