"""The names of prices in a row: their forms by tier and prompt length, and what falls back on what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from otel_finops.pricing.snapshot import Fields

WHOLES: Final = {
    "input_uncached": "input_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "cache_write_12h": "cache_creation_input_token_cost_above_12hr",
    "output": "output_cost_per_token",
}
"""The disjoint token units in the contract's order, to the list's field."""
PARTS: Final = {
    "audio_in": "input_cost_per_audio_token",
    "image_in": "input_cost_per_image_token",
    "video_in": "input_cost_per_video_token",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_out": "output_cost_per_audio_token",
    "image_out": "output_cost_per_image_token",
    "video_out": "output_cost_per_video_token",
}
"""Parts of the prompt and of the output, to the list's field."""

_INPUT, _OUTPUT, _WRITE = WHOLES["input_uncached"], WHOLES["output"], WHOLES["cache_write_5m"]
_LONGER_WRITES: Final = (WHOLES["cache_write_1h"], WHOLES["cache_write_12h"])
_FALLS_BACK: Final[Mapping[str, tuple[str, ...]]] = {
    _INPUT: (WHOLES["cache_read"], _WRITE, *_LONGER_WRITES, *(PARTS[unit] for unit in ("audio_in", "image_in", "video_in"))),
    _OUTPUT: tuple(PARTS[unit] for unit in ("reasoning", "audio_out", "image_out", "video_out")),
    _WRITE: _LONGER_WRITES,
}
"""A price to those that it stands in for where a row has none of their own."""
_RANGES: Final = "tiered_pricing"
_OFF_PEAK: Final = "off_peak_pricing"
_FACTORS: Final = re.compile(r".*multiplier.*|provider_specific_entry")


def replaced(fields: Fields, prices: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with these prices in place of every form (tiers, prompt lengths, sizes) of the same prices."""
    kept = _without(fields, prices)
    if _INPUT in prices:
        kept.pop(_RANGES, None)
    return kept | dict(prices)


def overridden(fields: Fields, prices: Mapping[str, Any]) -> dict[str, Any]:
    """The fields under prices that an operator set: these replace all their forms, and every price that falls back on them.

    So a model whose input costs nothing has no list price for cached input left, and a price for cached input alone leaves the rest
    of the row as it is. Surcharges and off-peak hours of the list belong to its input and output prices and go with them.
    """
    derived = {name for price in prices for name in _FALLS_BACK.get(price, ()) if name not in prices}
    kept = replaced(_without(fields, derived), prices)
    if _INPUT in prices or _OUTPUT in prices:
        kept = {name: value for name, value in kept.items() if name in prices or not (name == _OFF_PEAK or _FACTORS.fullmatch(name))}
    return kept


def _without(fields: Fields, prices: Iterable[str]) -> dict[str, Any]:
    names = "|".join(map(re.escape, prices))
    if not names:
        return dict(fields)
    forms = re.compile(rf"({names})(_above_\d+k?_tokens)?(_[A-Za-z0-9.]+)?")
    return {name: value for name, value in fields.items() if not forms.fullmatch(name)}


def is_free(fields: Fields) -> bool:
    """True when a row's tokens cost nothing, in and out."""
    return not fields.get(_INPUT) and not fields.get(_OUTPUT) and _RANGES not in fields
