"""models.dev's `api.json`: providers with their models, USD for a million tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.pricing.providers import families_of
from otel_finops.pricing.snapshot import Fields
from otel_finops.pricing.sources.source import PER_MILLION, BadRow, PriceList, PriceSource, Reading, above, usd

_PRICES: Final = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "reasoning": "output_cost_per_reasoning_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "input_audio": "input_cost_per_audio_token",
    "output_audio": "output_cost_per_audio_token",
}
_TIERS: Final = "tiers"
_OVER_200K: Final = "context_over_200k"
_FREE: Final = ("free",)
_PROVIDERS: Final = {
    "google-vertex": "vertex_ai", "google-vertex-anthropic": "vertex_ai", "amazon-bedrock": "bedrock", "togetherai": "together_ai",
    "fireworks-ai": "fireworks_ai", "azure-cognitive-services": "azure_ai",
}  # fmt: skip
"""models.dev's names of providers that are no spelling of ours."""


def _recognises(document: Any) -> bool:
    return isinstance(document, Mapping) and any(
        isinstance(provider, Mapping) and isinstance(provider.get("models"), Mapping) for provider in document.values()
    )


def _read(document: Any, how: Reading) -> PriceList:
    if not isinstance(document, Mapping):
        raise BadInput("no object of providers")
    rows: dict[str, Fields] = {}
    left_out: dict[str, str] = {}
    for provider, said in document.items():
        family = _PROVIDERS.get(provider) or families_of(provider)[0]
        for name, model in _models(provider, said).items():
            key = f"{family}/{name}"
            if key in rows:
                left_out[f"{provider}/{name}"] = f"{family} has this model by another name of the provider already"
                continue
            try:
                row = _row(name, family, model)
            except BadRow as fault:
                if not (fault.unknown and how.leave_out):
                    raise
                left_out[key] = fault.reason
                continue
            reason = _reason_against(name, row)
            if reason is None:
                rows[key] = row
            else:
                left_out[key] = reason
    return PriceList(rows, left_out=left_out)


def _models(provider: str, said: Any) -> Mapping[str, Any]:
    models = said.get("models") if isinstance(said, Mapping) else None
    if not isinstance(models, Mapping):
        raise BadRow(provider, "no models")
    return models


def _row(name: str, family: str, model: Any) -> dict[str, Any]:
    cost = model.get("cost") if isinstance(model, Mapping) else None
    if cost is None:
        return {}
    if not isinstance(cost, Mapping):
        raise BadRow(name, "cost is no object")
    row: dict[str, Any] = {"litellm_provider": family, "mode": "chat", **_band(name, cost)}
    tiers = cost.get(_TIERS)
    if isinstance(tiers, list):
        for tier in tiers:
            row |= _tier(name, tier)
    elif isinstance(cost.get(_OVER_200K), Mapping):
        row |= _band(name, cost[_OVER_200K], "_above_200k_tokens")
    return row


def _band(name: str, cost: Mapping[str, Any], ending: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in cost.items():
        if field in (_TIERS, _OVER_200K, "tier") or value is None:
            continue
        if field not in _PRICES:
            raise BadRow(name, f"cost.{field} is a unit that this version does not know", unknown=True)
        found[_PRICES[field] + ending] = usd(name, f"cost.{field}", value, PER_MILLION)
    return found


def _tier(name: str, tier: Any) -> dict[str, Any]:
    edge = tier.get("tier") if isinstance(tier, Mapping) else None
    size = edge.get("size") if isinstance(edge, Mapping) and edge.get("type") == "context" else None
    if type(size) is not int or size <= 0:
        raise BadRow(name, "a tier that is not by the length of the context", unknown=True)
    return _band(name, tier, above(size))


def _reason_against(name: str, row: Mapping[str, Any]) -> str | None:
    """Why a model has no row: no price, or zeros that say that a plan covers it and not that it is free."""
    prices = [value for field, value in row.items() if "cost" in field]
    if not prices:
        return "no price"
    if not any(prices) and not any(word in name.lower() for word in _FREE):
        return "all prices are 0: covered by a plan, not free"
    return None


SOURCE: Final = PriceSource("models_dev", "USD for a million tokens", _recognises, _read)
