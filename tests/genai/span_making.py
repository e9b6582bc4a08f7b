"""Spans made by hand, for the tests of the room."""

from __future__ import annotations

from typing import Any

from genai_corpus import ANYONE, normaliser

from otel_finops.base.protocols import Credential
from otel_finops.base.span import Span
from otel_finops.genai.sighting import Sighting

START_NS = 1_795_000_000_000_000_000


def span(attributes: dict[str, Any], *, scope: str = "app", resource: dict[str, Any] | None = None, **more: Any) -> Span:
    """A finished client span of one second; `more` replaces its other fields."""
    made = Span(
        trace_id=bytes.fromhex("0af7651916cd43dd8448eb211c80319c"),
        span_id=bytes.fromhex("b7ad6b7169203331"),
        parent_span_id=None,
        name="chat gpt-4o",
        kind=3,
        start_ns=START_NS,
        end_ns=START_NS + 1_000_000_000,
        is_error=False,
        exception_type=None,
        attributes=attributes,
        resource=resource or {"service.name": "shop"},
        scope=scope,
        scope_version="1",
    )
    return made._replace(**more)


def sighting(attributes: dict[str, Any], *, credential: Credential = ANYONE, **more: Any) -> Sighting:
    """The sighting of a span made by hand, by the installed dialects."""
    return normaliser()(span(attributes, **more), credential)


def chat(**attributes: Any) -> dict[str, Any]:
    """Attributes of a chat by the current conventions; names with `__` for dots, `usage__` and so on under `gen_ai.`."""
    base: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
    return base | {f"gen_ai.{name.replace('__', '.')}": value for name, value in attributes.items()}
