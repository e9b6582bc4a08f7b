"""What a page tells of one span of a trace: what it cost, by which price, and what was decided about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.page import Page

_RECORD_NAMES: Final = {"input_uncached": "input_tokens_uncached", "output": "output_tokens", "reasoning": "reasoning_tokens"}
"""Counts whose names in a row and in a described call differ."""
_ASKED: Final = (
    "provider",
    "service_tier",
    "region",
    "tenant",
    "user",
    "agent",
    "service",
    "environment",
    "cost_center",
    "purpose",
    "realm",
)
_A_MILLION: Final = Decimal(1_000_000)
_SINGLE: Final = frozenset({"requests", "images", "queries", "seconds", "characters", "pages", "web_searches", "sessions"})
"""What is counted one by one; tokens are priced by the million."""
METERS: Final = {
    "input_uncached": "Input", "cache_read": "Cache read", "cache_write_5m": "Cache write, 5 min", "cache_write_1h": "Cache write, 1 h",
    "cache_write_12h": "Cache write, 12 h", "output": "Output", "reasoning": "Reasoning", "audio_in": "Audio in", "audio_out": "Audio out",
    "image_in": "Images in", "image_out": "Images out",
}  # fmt: skip


def call_facts(page: Page, trace_id: str, nodes: Sequence[Json], path: Sequence[int]) -> Json:
    """One span of a tree with its rows in the ledger.

    Args:
        nodes: of `traces.show`.
        path: positions from the top down to the span.
    """
    node = nodes[path[-1]]
    told = (
        page.try_ask("usage.show", carry=(), trace_id=trace_id, span_id=node["span_id"])
        if node["role"] and page.can("usage.show")
        else None
    )
    shown = told.value if told else None
    run = next((nodes[at] for at in reversed(path) if nodes[at]["kind"] in ("agent", "workflow")), None)
    return {
        "trace_id": trace_id,
        "node": node,
        "above": nodes[path[-2]] if len(path) > 1 else None,
        **booked_facts(page, shown),
        "run": run and {"id": f"{trace_id}-{run['span_id']}", "name": run["name"] or run["span_id"]},
    }


def booked_facts(page: Page, shown: Json | None) -> Json:
    """What `usage.show` says of a span, its price lines as lists have prices, and how such a price comes about."""
    standing = shown and shown["standing"]
    return {
        "shown": shown,
        "standing": standing,
        "lines": [] if not standing else [_line(line) for line in standing["cost_lines"]],
        "why": _why(page, standing) if standing else None,
    }


def _line(line: Mapping[str, Any]) -> Json:
    """A price line with the price as lists have it: of a million tokens, or of one of anything else."""
    rate = Decimal(line["rate_usd"])
    tokens = line["unit"] not in _SINGLE
    return {
        **line,
        "meter": METERS.get(line["unit"], line["unit"].replace("_", " ")),
        "price": rate * _A_MILLION if tokens else rate,
        "per": "1M" if tokens else "each",
    }


def _why(page: Page, standing: Json) -> Json | None:
    """How a price for the call comes about today; None where it has none, or the role does not see it."""
    model = standing["response_model"] or standing["request_model"]
    if standing["role"] != "call" or not model or not page.can("pricing.explain"):
        return None
    counts = {_RECORD_NAMES.get(unit, unit): count for unit, count in standing["usage"].items()}
    said = {name: standing[name] for name in _ASKED if standing.get(name)}
    answer = page.try_ask("pricing.explain", carry=(), model=model, at=standing["started_at"], **said, **counts)
    return answer.value
