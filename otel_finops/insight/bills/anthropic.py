"""Anthropic's admin API: the usage report of messages and the cost report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.base.times import parse_ns
from otel_finops.insight.bills.line import Bill, BillLine, Builder

PROVIDER: Final = "anthropic"
COST: Final = "anthropic_cost"
USAGE: Final = "anthropic_usage"
_TOKENS: Final = {
    "uncached_input_tokens": "input_uncached", "input_tokens": "input_uncached", "cache_read_input_tokens": "cache_read",
    "output_tokens": "output", "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h", "cache_creation_input_tokens": "cache_write",
}  # fmt: skip
_NESTED: Final = {
    ("cache_creation", "ephemeral_5m_input_tokens"): "cache_write_5m",
    ("cache_creation", "ephemeral_1h_input_tokens"): "cache_write_1h",
    ("server_tool_use", "web_search_requests"): "web_searches",
}
_PLAIN: Final = ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens")


def recognises(results: Sequence[Mapping[str, Any]]) -> str | None:
    """The format of these results, None for another one's."""
    if not results:
        return None
    return COST if "amount" in results[0] and "currency" in results[0] else USAGE if "output_tokens" in results[0] else None


def read(name: str, buckets: Sequence[Mapping[str, Any]], format_: str) -> Bill:
    """Read the buckets of all pages.

    Raises:
        BadInput: a value that can be none.
    """
    builder = Builder(name, exact=True)
    for number, bucket in enumerate(buckets, 1):
        where = f"{name}, bucket {number}"
        times = _instant(bucket, "starting_at", where), _instant(bucket, "ending_at", where)
        builder.covers(*times)
        for result in bucket.get("results", ()):
            (_cost if format_ == COST else _usage)(builder, times, result, where)
    return builder.built(format_, PROVIDER, "cost" if format_ == COST else "usage.messages")


def _instant(bucket: Mapping[str, Any], key: str, where: str) -> int:
    try:
        return parse_ns(str(bucket[key]))
    except (KeyError, ValueError, OverflowError):
        raise BadInput(f"{where}: {key} is no RFC 3339 instant") from None


def _cost(builder: Builder, times: tuple[int, int], result: Mapping[str, Any], where: str) -> None:
    """Amounts are in the lowest unit of the currency: cents."""
    builder.in_currency(str(result.get("currency", "USD")))
    unit = _TOKENS.get(str(result.get("token_type") or ""), "")
    if result.get("cost_type") == "web_search":
        unit = "web_searches"
    amount = builder.money(result.get("amount"), f"{where}, amount", cents=True)
    builder.add(BillLine(*times, str(result.get("model") or ""), unit, "usage", amount))


def _usage(builder: Builder, times: tuple[int, int], result: Mapping[str, Any], where: str) -> None:
    model = str(result.get("model") or "")
    counts = [(_TOKENS[key], result.get(key), key) for key in _PLAIN]
    for (group, key), unit in _NESTED.items():
        said = result.get(group)
        counts.append((unit, said.get(key) if isinstance(said, Mapping) else None, key))
    for unit, value, key in counts:
        if count := builder.count(value, f"{where}, {key}"):
            builder.add(BillLine(*times, model, unit, quantity=count))
