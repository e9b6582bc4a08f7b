"""OpenRouter's `/api/v1/models`: what the gateway charges for each model, decimal texts in USD for one unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.pricing.snapshot import Fields
from otel_finops.pricing.sources.source import PER_TOKEN, BadRow, PriceList, PriceSource, Reading, above, usd

FAMILY: Final = "openrouter"
_TOKENS: Final = {
    "prompt": "input_cost_per_token",
    "completion": "output_cost_per_token",
    "input_cache_read": "cache_read_input_token_cost",
    "input_cache_write": "cache_creation_input_token_cost",
    "input_cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "internal_reasoning": "output_cost_per_reasoning_token",
    "audio": "input_cost_per_audio_token",
    "audio_output": "output_cost_per_audio_token",
    "input_audio_cache": "cache_read_input_audio_token_cost",
    "image": "input_cost_per_image_token",
    "image_token": "input_cost_per_image_token",
    "image_output": "output_cost_per_image_token",
}
_UNITS: Final = {"request": "input_cost_per_request"}
_SEARCH: Final = "web_search"
_OVERRIDES: Final = "overrides"
_IGNORED: Final = frozenset({"discount"})
_ANY_PRICE: Final = "-1"
"""What routers bear: the price is that of the model which they choose."""
_SMALLEST_IMAGE_USD: Final = 0.0005
"""`image` was a price for one image and is one for an image token by now; no image costs less, no image token as much."""


def _recognises(document: Any) -> bool:
    models = document.get("data") if isinstance(document, Mapping) else None
    return isinstance(models, list) and any(isinstance(model, Mapping) and "pricing" in model and "id" in model for model in models)


def _read(document: Any, how: Reading) -> PriceList:
    models = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(models, list):
        raise BadInput("no list of models under `data`")
    rows: dict[str, Fields] = {}
    left_out: dict[str, str] = {}
    for model in models:
        name = _name(model)
        if name in rows or name in left_out:
            raise BadRow(name, "stands twice")
        try:
            rows[name] = _row(name, model.get("pricing") or {}, model)
        except _Left as reason:
            left_out[name] = str(reason)
        except BadRow as fault:
            if not (fault.unknown and how.leave_out):
                raise
            left_out[name] = fault.reason
    return PriceList({f"{FAMILY}/{name}": row for name, row in rows.items()}, left_out=left_out)


class _Left(Exception):
    """Why a model has no row; not a fault of the list."""


def _name(model: Any) -> str:
    name = model.get("id") if isinstance(model, Mapping) else None
    if not isinstance(name, str) or not name.strip():
        raise BadInput("a model without an id")
    return name.strip()


def _row(name: str, pricing: Mapping[str, Any], model: Mapping[str, Any]) -> Fields:
    if any(str(value).strip() == _ANY_PRICE for value in pricing.values()):
        raise _Left("a router: its price is that of the model it chooses")
    row: dict[str, Any] = {"litellm_provider": FAMILY, "mode": _mode(model), **_prices(name, pricing)}
    for override in pricing.get(_OVERRIDES) or ():
        row |= _longer(name, override)
    return row


def _prices(name: str, pricing: Mapping[str, Any], ending: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in pricing.items():
        if field in _IGNORED or field == _OVERRIDES or value is None:
            continue
        price = usd(name, field, value, PER_TOKEN)
        if field == "image" and price >= _SMALLEST_IMAGE_USD:
            found["input_cost_per_image" + ending] = price
        elif field in _TOKENS:
            found[_TOKENS[field] + ending] = price
        elif field in _UNITS:
            found[_UNITS[field]] = price
        elif field == _SEARCH:
            found["search_context_cost_per_query"] = {"search_context_size_medium": price}
            found["web_search_billing_unit"] = "per_query"
        else:
            raise BadRow(name, f"{field} is a unit that this version does not know", unknown=True)
    return found


def _longer(name: str, override: Any) -> dict[str, Any]:
    """Prices from a prompt length on; those of hours of the day are told by no field of the book."""
    edge = override.get("min_prompt_tokens") if isinstance(override, Mapping) else None
    if type(edge) is not int or edge <= 0:
        raise _Left("prices by the hour, which its list states without weekdays and dates")
    prices = {field: value for field, value in override.items() if field != "min_prompt_tokens" and field in _TOKENS}
    return _prices(name, prices, above(edge - 1))


def _mode(model: Mapping[str, Any]) -> str:
    made = (model.get("architecture") or {}).get("output_modalities") or ()
    return "embedding" if list(made) == ["embeddings"] else "chat"


SOURCE: Final = PriceSource(FAMILY, "USD for one token (image, request, search), as decimal texts", _recognises, _read)
