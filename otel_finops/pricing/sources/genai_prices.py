"""genai-prices' `data.json`: providers with their models, USD for a million tokens (a thousand requests, searches), some with dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.pricing.providers import families_of
from otel_finops.pricing.snapshot import Fields
from otel_finops.pricing.sources.source import PER_MILLION, PER_THOUSAND, BadRow, PriceList, PriceSource, Reading, above, usd

_PRICES: Final = {
    "input_mtok": "input_cost_per_token",
    "output_mtok": "output_cost_per_token",
    "cache_read_mtok": "cache_read_input_token_cost",
    "cache_write_mtok": "cache_creation_input_token_cost",
    "cache_write_1h_mtok": "cache_creation_input_token_cost_above_1hr",
    "output_reasoning_mtok": "output_cost_per_reasoning_token",
    "input_audio_mtok": "input_cost_per_audio_token",
    "output_audio_mtok": "output_cost_per_audio_token",
    "cache_audio_read_mtok": "cache_read_input_audio_token_cost",
    "input_image_mtok": "input_cost_per_image_token",
    "output_image_mtok": "output_cost_per_image_token",
    "cache_image_read_mtok": "cache_read_input_image_token_cost",
    "input_video_mtok": "input_cost_per_video_token",
    "output_video_mtok": "output_cost_per_video_token",
    "output_citation_mtok": "citation_cost_per_token",
}
_REQUESTS: Final = "requests_kcount"
_SEARCHES: Final = "web_searches_kcount"
_INCLUSIVE: Final = frozenset({"xai"})
"""Families whose longer tier holds at the edge, too: this list writes 199999 for them, the book 200k (`pricing.rates`)."""
_INTERNAL: Final = "regional."
"""Ids that begin so are the publisher's own grouping and no model's name."""


class _ByTheHour(Exception):
    """A price that depends on the hour of the day, without weekdays: other lists tell the same hours exactly."""


class _Dated(NamedTuple):
    """Prices from a day on; "" is the beginning."""

    day: str
    prices: Mapping[str, Any]


def _recognises(document: Any) -> bool:
    return isinstance(document, list) and any(
        isinstance(provider, Mapping) and isinstance(provider.get("models"), list) and "id" in provider for provider in document
    )


def _read(document: Any, how: Reading) -> PriceList:
    if not isinstance(document, list):
        raise BadInput("no list of providers")
    rows: dict[str, Fields] = {}
    left_out: dict[str, str] = {}
    for provider in document:
        family = families_of(_id(provider, "a provider without an id"))[0]
        for model in provider.get("models") or ():
            name = _id(model, f"a model of {family} without an id")
            key = f"{family}/{name}"
            if key in rows or key in left_out:
                raise BadRow(name, f"stands twice for {family}")
            if name.startswith(_INTERNAL):
                left_out[key] = "the publisher's own grouping, no model's name"
                continue
            try:
                rows[key] = _row(name, family, _at(_series(name, model.get("prices")), how.today))
            except _ByTheHour:
                left_out[key] = "prices by the hour of the day without weekdays"
            except BadRow as fault:
                if not (fault.unknown and how.leave_out):
                    raise
                left_out[key] = fault.reason
    return PriceList(rows, left_out=left_out)


def _id(value: Any, fault: str) -> str:
    name = value.get("id") if isinstance(value, Mapping) else None
    if not isinstance(name, str) or not name.strip():
        raise BadInput(fault)
    return name.strip()


def _series(name: str, prices: Any) -> Sequence[_Dated]:
    """The model's prices by the day from which they hold, in the list's order: of those that hold, the last counts."""
    if isinstance(prices, Mapping):
        return [_Dated("", prices)]
    if not isinstance(prices, list):
        raise BadRow(name, "no prices")
    return [_Dated(_day(name, one.get("constraint")), one.get("prices") or {}) for one in prices]


def _day(name: str, constraint: Any) -> str:
    if not constraint:
        return ""
    if "start_time" in constraint or "end_time" in constraint:
        raise _ByTheHour
    day = constraint.get("start_date")
    if not isinstance(day, str):
        raise BadRow(name, "a condition that this version does not know", unknown=True)
    return day


def _at(series: Sequence[_Dated], today: str) -> Mapping[str, Any]:
    holding = [one for one in series if one.day <= today]
    return (holding[-1] if holding else series[0]).prices


def _row(name: str, family: str, prices: Mapping[str, Any]) -> Fields:
    row: dict[str, Any] = {"litellm_provider": family, "mode": "chat"}
    for unit, value in prices.items():
        if value is None:
            continue
        if unit in _PRICES:
            row |= _token_prices(name, family, unit, value)
        elif unit == _REQUESTS:
            row["input_cost_per_request"] = usd(name, unit, value, PER_THOUSAND)
        elif unit == _SEARCHES:
            row["search_context_cost_per_query"] = {"search_context_size_medium": usd(name, unit, value, PER_THOUSAND)}
            row["web_search_billing_unit"] = "per_query"
        else:
            raise BadRow(name, f"{unit} is a unit that this version does not know", unknown=True)
    return row


def _token_prices(name: str, family: str, unit: str, value: Any) -> dict[str, Any]:
    """The price, and where it has tiers those from each prompt length on."""
    field = _PRICES[unit]
    if not isinstance(value, Mapping):
        return {field: usd(name, unit, value, PER_MILLION)}
    found: dict[str, Any] = {field: usd(name, f"{unit}.base", value.get("base"), PER_MILLION)}
    for tier in value.get("tiers") or ():
        start = tier.get("start") if isinstance(tier, Mapping) else None
        if type(start) is not int or start <= 0:
            raise BadRow(name, f"{unit}: a tier without the prompt length where it begins", unknown=True)
        edge = start + 1 if family in _INCLUSIVE else start
        found[field + above(edge)] = usd(name, f"{unit} above {start}", tier.get("price"), PER_MILLION)
    return found


SOURCE: Final = PriceSource("genai_prices", "USD for a million tokens, for a thousand requests and searches", _recognises, _read)
