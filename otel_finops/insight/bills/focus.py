"""Files in FOCUS, as clouds and vendors deliver them: what AI services cost, of all that stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.base.times import parse_ns
from otel_finops.insight.bills.line import UNITS, Bill, BillLine, Builder
from otel_finops.insight.bills.rows import Row, Table
from otel_finops.pricing.providers import canonical, is_known

FOCUS: Final = "focus"
_NEEDED: Final = ("ChargePeriodStart", "ChargePeriodEnd", "BilledCost", "BillingCurrency")
_SELLERS: Final = ("ServiceProviderName", "ProviderName", "InvoiceIssuerName", "HostProviderName")
_SERVICES: Final = (
    ("bedrock", "bedrock"), ("azure openai", "azure"), ("openai", "openai"), ("foundry", "azure_ai"), ("vertex", "vertex_ai"),
    ("gemini", "gemini"), ("anthropic", "anthropic"), ("claude", "anthropic"), ("openrouter", "openrouter"), ("mistral", "mistral"),
    ("cohere", "cohere"), ("groq", "groq"), ("deepseek", "deepseek"), ("xai", "xai"), ("perplexity", "perplexity"),
)  # fmt: skip
"""What a service's name holds, in lower case, and who bills then; first hit wins."""
_AZURE: Final = re.compile(r"microsoft|azure", re.IGNORECASE)
_AMOUNTS: Final = ("BilledCost", "EffectiveCost", "ContractedCost", "ListCost")
_TOKENS: Final = re.compile(r"(?:(?P<number>[\d,]+)\s*)?(?P<scale>[KM])?\s*tokens?", re.IGNORECASE)
_SCALES: Final = {"": 1, "K": 1_000, "M": 1_000_000}
_DIRECTIONS: Final = {("input", "uncached"): "input_uncached", ("input", "read"): "cache_read", ("input", "write"): "cache_write"}
_MODEL_KEYS: Final = ("ModelId", "ModelVersion", "x_ModelId", "Model")
_MODEL_COLUMNS: Final = ("x_ModelId", "x_Model", "x_model")
_UNIT_COLUMNS: Final = ("x_TokenType", "x_Unit")


def recognises(columns: Mapping[str, Any] | list[str] | tuple[str, ...]) -> bool:
    """Whether a table with these columns is one."""
    return all(name in columns for name in _NEEDED)


def read(name: str, table: Table, provider: str | None, amount_column: str = "BilledCost", model_column: str | None = None) -> Bill:
    """Read the rows of one provider.

    Args:
        provider: the family; None: the only one of which there are rows.
        amount_column: which of the four costs.
        model_column: where a model is named; None: `SkuPriceDetails`, columns of one's own, or nowhere.

    Raises:
        BadInput: a column that is missing, a value that can be none, or rows of several providers.
    """
    lacking = [column for column in (*_NEEDED, amount_column, *([model_column] if model_column else [])) if column not in table.columns]
    if lacking:
        raise BadInput(f"{name}: no column {', '.join(lacking)}")
    if amount_column not in _AMOUNTS:
        raise BadInput(f"amount_column: one of {', '.join(_AMOUNTS)}")
    builder, seen = Builder(name), set()
    for number, row in table.rows:
        found = _provider(row)
        if found is None or (provider is not None and found != provider):
            builder.skipped += 1
            continue
        seen.add(found)
        _take(builder, row, f"{name}, row {number}", amount_column, model_column)
    if len(seen) > 1:
        raise BadInput(f"{name}: rows of {', '.join(sorted(seen))}; say `provider`, and import it once for each")
    if not seen:
        of = f" of {provider}" if provider else ""
        raise BadInput(f"{name}: no row{of} of a service that is known to sell models (ServiceName, ProviderName)")
    return builder.built(FOCUS, seen.pop(), "cost")


def _provider(row: Row) -> str | None:
    """Who bills, of what the row names; None for other products."""
    service = str(row.get("ServiceName") or "")
    seller = " ".join(str(row.get(column) or "") for column in _SELLERS)
    lowered = service.lower()
    for word, family in _SERVICES:
        if word in lowered:
            return "azure" if family == "openai" and _AZURE.search(seller) else family
    if is_known(lowered.strip()):
        return canonical(service)
    return next((family for word, family in _SERVICES if word in str(row.get("ProviderName") or "").lower()), None)


def _take(builder: Builder, row: Row, where: str, amount_column: str, model_column: str | None) -> None:
    builder.in_currency(str(row["BillingCurrency"]))
    times = _instant(row["ChargePeriodStart"], where), _instant(row["ChargePeriodEnd"], where)
    amount = builder.money(row[amount_column] or 0, f"{where}, {amount_column}")
    if str(row.get("ChargeCategory") or "Usage") != "Usage":
        builder.add(BillLine(*times, category="other", amount=amount))
        return
    details = _details(row.get("SkuPriceDetails"))
    model = row.get(model_column) if model_column else _first(details, _MODEL_KEYS) or _first(row, _MODEL_COLUMNS)
    unit, quantity = _measured(builder, row, details, where)
    builder.add(BillLine(*times, str(model or ""), unit, "usage", amount, quantity))


def _instant(value: Any, where: str) -> int:
    try:
        return parse_ns(str(value).strip().replace(" UTC", "Z"))
    except (ValueError, OverflowError):
        raise BadInput(f"{where}: {str(value)[:40]!r} is no instant of a charge period") from None


def _details(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    try:
        said = json.loads(value) if value else {}
    except (ValueError, TypeError, RecursionError):
        return {}  # a free text of the vendor's: it names no model in a way that can be read
    return said if isinstance(said, Mapping) else {}


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((values[name] for name in names if values.get(name)), None)


def _measured(builder: Builder, row: Row, details: Mapping[str, Any], where: str) -> tuple[str, int | None]:
    """Unit and quantity, where the row says them in a way that is understood."""
    unit = _unit(row, details)
    tokens = _TOKENS.fullmatch(str(row.get("ConsumedUnit") or "").strip())
    if not unit or tokens is None or row.get("ConsumedQuantity") in (None, ""):
        return unit, None
    number = int((tokens["number"] or "1").replace(",", "")) * _SCALES[(tokens["scale"] or "").upper()]
    value = builder.scaled(row["ConsumedQuantity"], number, f"{where}, ConsumedQuantity")
    return unit, value


def _unit(row: Row, details: Mapping[str, Any]) -> str:
    said = str(_first(row, _UNIT_COLUMNS) or "")
    if said and said in UNITS:
        return said
    direction, cached = (str(details.get(key) or "").lower() for key in ("TokenDirection", "TokenCacheAction"))
    if direction:
        return "output" if direction == "output" else _DIRECTIONS.get((direction, cached or "uncached"), "prompt")
    return _guessed(f"{row.get('SkuMeter') or ''} {row.get('ChargeDescription') or ''}".lower())


def _guessed(text: str) -> str:
    """By the words of a meter's name."""
    if "output" in text or "completion" in text or "response" in text:
        return "completion"
    if "cache" in text:
        return "cache_write" if "write" in text or "creation" in text else "cache_read"
    return "prompt" if "input" in text or "prompt" in text else ""
