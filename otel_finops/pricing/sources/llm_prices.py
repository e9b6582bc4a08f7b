"""llm-prices' `current-v1.json` and `historical-v1.json`: one price a model, USD for a million tokens, with dates in the second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.pricing.providers import families_of
from otel_finops.pricing.sources.source import PER_MILLION, BadRow, PriceList, PriceSource, Reading, usd

_PRICES: Final = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "input_cached": "cache_read_input_token_cost",
}
_OTHER: Final = frozenset({"id", "vendor", "name", "from_date", "to_date", "notes", "url"})
_BAND: Final = re.compile(r"[<>≤≥]\s*\d+\s*[kKmM]")
"""A name like `Gemini 2.5 Pro ≤200k`: the list states one model in several rows by the length of the prompt."""
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def _recognises(document: Any) -> bool:
    prices = document.get("prices") if isinstance(document, Mapping) else None
    return isinstance(prices, list) and any(isinstance(row, Mapping) and "vendor" in row and "input" in row for row in prices)


def _read(document: Any, how: Reading) -> PriceList:
    prices = document.get("prices") if isinstance(document, Mapping) else None
    if not isinstance(prices, list):
        raise BadInput("no list of rows under `prices`")
    found: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    seen: set[tuple[str, Any]] = set()
    for entry in prices:
        name = _text(entry, "id")
        family = families_of(_text(entry, "vendor", name))[0]
        dated = (f"{family}/{name}", entry.get("from_date"))
        if dated in seen:
            raise BadRow(name, f"stands twice for {family}" + (f" and {dated[1]}" if dated[1] else ""))
        seen.add(dated)
        row = _row(name, family, entry, how)
        if entry.get("to_date"):
            continue
        if row is None:
            left_out[dated[0]] = "a unit that this version does not know"
        elif _BAND.search(str(entry.get("name") or "")):
            left_out[dated[0]] = "one of several rows by the length of the prompt, which the list tells in words only"
        else:
            found[dated[0]] = row
    return PriceList(found, date=_date(document.get("updated_at")), left_out=left_out)


def _row(name: str, family: str, entry: Mapping[str, Any], how: Reading) -> dict[str, Any] | None:
    row: dict[str, Any] = {"litellm_provider": family, "mode": "chat"}
    for field, value in entry.items():
        if field in _OTHER or value is None:
            continue
        if field not in _PRICES:
            if how.leave_out:
                return None
            raise BadRow(name, f"{field} is a unit that this version does not know", unknown=True)
        row[_PRICES[field]] = usd(name, field, value, PER_MILLION)
    return row


def _text(entry: Any, field: str, row: str = "") -> str:
    value = entry.get(field) if isinstance(entry, Mapping) else None
    if not isinstance(value, str) or not value.strip():
        raise BadRow(row, f"no {field}")
    return value.strip()


def _date(value: Any) -> str:
    return value if isinstance(value, str) and _DATE.fullmatch(value) else ""


SOURCE: Final = PriceSource("llm_prices", "USD for a million tokens", _recognises, _read)
