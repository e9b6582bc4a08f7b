"""OpenAI's organization API: pages of costs (by line item) and of usage (by model)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.insight.bills.line import Bill, BillLine, Builder

PROVIDER: Final = "openai"
COSTS: Final = "openai_costs"
USAGE: Final = "openai_usage"
_COST_RESULT: Final = "organization.costs.result"
_USAGE_RESULT: Final = re.compile(r"organization\.usage\.([a-z_]+)\.result")
_ITEM: Final = re.compile(r"(?:[a-z]+ \| )?(?P<model>[^\s,|]+)(?: (?P<kind>text|audio|image|video))?, (?P<way>[a-z ]+?)(?:, .+)?")
"""E.g. `priority | gpt-5.5-2026-04-23, cached input, long context` or `gpt-audio-2025-08-28 audio, output`."""
_WAYS: Final = {"input": "input_uncached", "cached input": "cache_read", "cache writes": "cache_write_5m", "output": "output"}
_SEARCH: Final = re.compile(r"web search", re.IGNORECASE)
_COUNTS: Final = {
    "input_audio_tokens": "audio_in", "output_audio_tokens": "audio_out", "input_cached_tokens": "cache_read", "output_tokens": "output",
    "input_image_tokens": "image_in", "output_image_tokens": "image_out", "images": "images", "characters": "characters",
    "seconds": "seconds", "num_sessions": "sessions",
}  # fmt: skip
_TEXT_IN: Final = "input_tokens"


def recognises(results: Sequence[Mapping[str, Any]]) -> str | None:
    """The format of these results, None for another one's."""
    said = str(results[0].get("object", "")) if results else ""
    return COSTS if said == _COST_RESULT else USAGE if _USAGE_RESULT.fullmatch(said) else None


def read(name: str, buckets: Sequence[Mapping[str, Any]], format_: str, kind: str | None) -> Bill:
    """Read the buckets of all pages.

    Args:
        kind: of which endpoint usage is where no result says so, e.g. `completions`.

    Raises:
        BadInput: a value that can be none, or results of two endpoints in one file.
    """
    builder, kinds = Builder(name, exact=True), set()
    for number, bucket in enumerate(buckets, 1):
        times = tuple(_seconds(bucket, key, f"{name}, bucket {number}") for key in ("start_time", "end_time"))
        builder.covers(*times)
        for result in bucket.get("results", ()):
            where = f"{name}, bucket {number}"
            if format_ == COSTS:
                _cost(builder, times, result, where)
            else:
                kinds.add(_usage(builder, times, result, where))
    if len(kinds) > 1:
        raise BadInput(f"{name}: usage of {' and '.join(sorted(kinds))} in one file; import a file for each")
    if format_ == COSTS:
        return builder.built(format_, PROVIDER, "cost")
    if (of := next(iter(kinds), kind)) is None:
        raise BadInput(f"{name}: without a single result nothing says of which usage it is")
    return builder.built(format_, PROVIDER, f"usage.{of}")


def _seconds(bucket: Mapping[str, Any], key: str, where: str) -> int:
    value = bucket.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**33:
        raise BadInput(f"{where}: {key} is no time in seconds since 1970")
    return value * NS_PER_SECOND


def _cost(builder: Builder, times: tuple[int, ...], result: Mapping[str, Any], where: str) -> None:
    amount = result.get("amount")
    if not isinstance(amount, Mapping):
        raise BadInput(f"{where}: a result of costs has no amount")
    builder.in_currency(str(amount.get("currency", "usd")))
    model, unit = _item(str(result.get("line_item") or ""))
    pico = builder.money(amount.get("value"), f"{where}, amount.value")
    quantity = builder.count(result.get("quantity"), f"{where}, quantity") if unit else None
    builder.add(BillLine(times[0], times[1], model, unit, "usage", pico, quantity))


def _item(text: str) -> tuple[str, str]:
    """Model and unit of a line item; ("", "") where it names none."""
    found = _ITEM.fullmatch(text.strip())
    if found is None:
        return "", "web_searches" if _SEARCH.search(text) else ""
    unit = _WAYS.get(found["way"], "")
    kind = found["kind"]
    if kind in ("audio", "image", "video") and unit in ("input_uncached", "output"):
        unit = f"{kind}_{'in' if unit == 'input_uncached' else 'out'}"
    return found["model"], unit


def _usage(builder: Builder, times: tuple[int, ...], result: Mapping[str, Any], where: str) -> str:
    """Add one result's counts; returns of which endpoint it is."""
    found = _USAGE_RESULT.fullmatch(str(result.get("object", "")))
    if found is None:
        raise BadInput(f"{where}: no result of usage")
    model = str(result.get("model") or "")
    for key, unit in _COUNTS.items():
        if count := builder.count(result.get(key), f"{where}, {key}"):
            builder.add(BillLine(times[0], times[1], model, unit, quantity=count))
    text = builder.count(result.get(_TEXT_IN), f"{where}, {_TEXT_IN}") or 0
    cached = builder.count(result.get("input_cached_tokens"), where) or 0
    requests = builder.count(result.get("num_model_requests"), f"{where}, num_model_requests")
    builder.add(BillLine(times[0], times[1], model, "input_uncached", quantity=max(0, text - cached) or None, requests=requests))
    return found[1]
