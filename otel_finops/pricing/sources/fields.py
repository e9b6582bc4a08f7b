"""The price fields that the book knows, by LiteLLM's names, and what of a row is kept.

A field that speaks of money and is not known is a unit that would not be charged: such a row is refused, never half taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from otel_finops.pricing.sources.source import BadRow, short

DESCRIPTIVE: Final = frozenset(
    {"litellm_provider", "mode", "deprecation_date", "web_search_billing_unit", "search_free_requests", "last_seen"}
)
"""What is kept beside prices: who bills, what for, and how searches are counted."""
_NO_MONEY: Final = re.compile(r".*dbu.*|supports_.*|.*_source|.*_url|comment|notes?|metadata|source")
"""Fields that name money and state none: Databricks units, capabilities, references."""
_MONEY: Final = re.compile(r"cost|pric(?!acy)|multiplier|_usd|surcharge|(?<![a-z])fee(?![a-z])")

_TIER: Final = r"(_(batches|priority|flex|balanced|ultrafast|decisions))?"
_LONG: Final = r"(_above_\d+k?_tokens)?"
_TOKEN_PRICES: Final = (
    r"(input|output)_cost_per_token",
    r"(explicit_)?cache_read_input_token_cost",
    r"cache_creation_input_token_cost(_above_(1|12)hr)?",
    r"(input|output)_cost_per_(audio|image|video)_token",
    r"cache_(read|creation)_input_(audio|image)_token_cost",
    r"output_cost_per_reasoning_token",
    r"citation_cost_per_token",
    r"input_cost_per_token_cache_hit",
)
_UNIT_PRICES: Final = (
    r"(input|output)_cost_per_(image|pixel|character|query|request|text_message)",
    r"output_cost_per_image_(0\.5K|1K|2K|4K|512|1024|1536)",
    r"((input|output)_)?cost_per_second(_[0-9]+[pk])?",
    r"(input|output)_cost_per_(audio|video)_per_second(_above_\d+s_interval)?",
    r"(ocr|annotation)_cost_per_(page|credit)",
    r"(google_maps_grounding|code_interpreter)_cost_per_(query|session)",
)
_FACTORS: Final = (r"regional_processing_uplift_multiplier_(eu|us)", r"regional_endpoint_uplift_multiplier")
_KNOWN: Final = re.compile("|".join((
    *(f"{price}{_LONG}{_TIER}" for price in _TOKEN_PRICES), *(f"{price}{_LONG}{_TIER}" for price in _UNIT_PRICES), *_FACTORS,
)))  # fmt: skip
_STRUCTURED: Final = frozenset({
    "tiered_pricing", "off_peak_pricing", "search_context_cost_per_query", "guardrail_cost_per_unit", "provider_specific_entry",
})  # fmt: skip
"""Fields whose prices are nested; every number inside is a price, a factor, or the edge of a range."""
_EDGES: Final = frozenset({"range", "max_results_range", "weekdays"})


def kept(key: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the book keeps of a row of LiteLLM's: all prices and factors, checked.

    Raises:
        BadRow: no provider, a price that is no finite number of 0 or more, or a unit that is not known.
    """
    if not isinstance(row, Mapping):
        raise BadRow(key, "no object of fields")
    provider = row.get("litellm_provider")
    if not isinstance(provider, str) or not provider:
        raise BadRow(key, "no litellm_provider: nobody knows who bills")
    found = {field: clean for field, value in sorted(row.items()) if (clean := _kept_value(key, field, value)) is not None}
    if found.get("provider_specific_entry") == {}:
        del found["provider_specific_entry"]
    return found


def _kept_value(key: str, field: str, value: Any) -> Any:
    """The value as it is kept; None for what is no price."""
    if field in DESCRIPTIVE:
        return value if isinstance(value, str | int | float | Mapping) and not isinstance(value, bool) else None
    if field == "provider_specific_entry":
        return _factors(key, value)
    if field in _STRUCTURED:
        return None if value is None else _nested(key, field, value)
    if not _MONEY.search(field) or _NO_MONEY.fullmatch(field):
        return None
    if value is None:
        return None
    if not _KNOWN.fullmatch(field):
        raise BadRow(key, f"{field} is a unit that this version does not know", unknown=True)
    return _price(key, field, value)


def _price(key: str, field: str, value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRow(key, f"{field} is no number")
    if not math.isfinite(value):
        raise BadRow(key, f"{field} is not finite ({value})")
    if value < 0:
        raise BadRow(key, f"{field} is negative ({value})")
    return short(value)


def _factors(key: str, value: Any) -> dict[str, float | int]:
    """Surcharges by place or speed; the other entries are settings of LiteLLM's own."""
    entries = value.items() if isinstance(value, Mapping) else ()
    numbers = ((name, factor) for name, factor in sorted(entries) if isinstance(factor, int | float) and "_" not in name)
    return {name: _price(key, f"provider_specific_entry.{name}", factor) for name, factor in numbers if not isinstance(factor, bool)}


def _nested(key: str, path: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _nested(key, f"{path}.{name}", item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [_nested(key, f"{path}[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, str):
        return value
    return _price(key, path, value)


def prices_of(fields: Mapping[str, Any]) -> Iterator[tuple[str, float | int]]:
    """Every price and factor of a kept row, nested ones by their path (`tiered_pricing[1].output_cost_per_token`)."""
    for field, value in fields.items():
        if field not in DESCRIPTIVE:
            yield from _numbers(field, value)


def _numbers(path: str, value: Any) -> Iterator[tuple[str, float | int]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _EDGES:
                yield from _numbers(f"{path}.{name}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(f"{path}[{index}]", item)
    elif isinstance(value, int | float):
        yield path, value
