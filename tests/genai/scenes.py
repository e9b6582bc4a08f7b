"""Sightings written by hand: short names for spans, seconds for times, one trace unless said otherwise."""

from __future__ import annotations

from typing import Any

from otel_finops.genai.roles import decide
from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL, Decision, Sighting
from otel_finops.genai.usage import prompt_tokens

SECOND = 1_000_000_000
NOON = 1_790_000_000 * SECOND
TRACE = "a" * 32


def span(
    name: str, parent: str | None = None, *, at: float = 0.0, to: float = 1.0, kind: str = OTHER, trace: str = TRACE, **facts: Any
) -> Sighting:
    """A span whose id is its name; `at` and `to` are seconds after noon."""
    defaults: dict[str, Any] = {"realm": "default", "genai": kind != OTHER, "instance": "app", "scope": "app"}
    return Sighting(
        trace_id=trace,
        span_id=name,
        parent_span_id=parent,
        name=facts.pop("span_name", name),
        start_ns=NOON + round(at * SECOND),
        end_ns=NOON + round(to * SECOND),
        kind=kind,
        **{**defaults, **facts},
    )


def call(name: str, parent: str | None = None, tokens: tuple[int, int] | None = (100, 10), **facts: Any) -> Sighting:
    """A model call of (input, output) tokens; None for one without usage."""
    usage: dict[str, int] = {}
    if tokens is not None:
        usage = {unit: count for unit, count in (("input_uncached", tokens[0]), ("output", tokens[1])) if count}
    usage = facts.pop("usage", usage)
    known: dict[str, Any] = {
        "operation": "chat",
        "provider": "openai",
        "request_model": "gpt-4o",
        "price_models": ("gpt-4o",),
        "scope": "client",
    }
    if usage:
        known |= {"usage": usage, "usage_source": "reported", "usage_rule": "semconv.inclusive", "input_readings": (prompt_tokens(usage),)}
    return span(name, parent, kind=CALL, **{**known, **facts})


def agent(name: str, parent: str | None = None, **facts: Any) -> Sighting:
    return span(name, parent, kind=AGENT, **{"attribution": {"agent": name}, **facts})


def tool(name: str, parent: str | None = None, **facts: Any) -> Sighting:
    return span(name, parent, kind=TOOL, **{"attribution": {"tool": name}, **facts})


def decided(*sightings: Sighting) -> dict[str, Decision]:
    """Decisions by span id; span ids are unique over the traces of one test."""
    return {decision.sighting.span_id: decision for decision in decide(sightings)}


def roles(*sightings: Sighting) -> dict[str, str]:
    """Role by span id."""
    return {name: decision.role for name, decision in decided(*sightings).items()}


def charged(decisions: dict[str, Decision]) -> list[str]:
    """Ids of the spans that stand as calls."""
    return sorted(name for name, decision in decisions.items() if decision.role == "call")
