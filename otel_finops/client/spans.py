"""Which spans are model calls when they start, and what they and the spans above them say of a call."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span

from otel_finops.client.attribution import current_trace, said, spans_above, tags_said
from otel_finops.client.usage import Usage, disjoint

CALLS: Final = frozenset((
    "chat", "text_completion", "generate_content", "embeddings", "completion", "embedding", "rerank", "image_generation", "speech",
    "transcription", "responses", "llm_call",
))  # fmt: skip
"""Values of `gen_ai.operation.name` that are model calls: those that the ledger books as such."""
_OPENINFERENCE_CALLS: Final = {"LLM": "chat", "EMBEDDING": "embeddings", "RERANKER": "rerank"}
_OVER: Final = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "gen_ai.usage.input_tokens", "llm.token_count.completion")
"""A span that starts with usage tells of a call that is over."""
_OVER_NS: Final = 1_000_000_000
"""So does one that started a second ago: it is written after the fact, and to raise then would only lose an answer that was paid for."""
_SAID: Final[Mapping[str, tuple[str, ...]]] = {
    "tenant": ("finops.tenant", "tenant.id", "tenant"),
    "user": ("finops.user", "user.id", "enduser.id", "llm.user"),
    "agent": ("gen_ai.agent.name", "agent.name", "agent_name"),
    "step": ("finops.step",),
    "purpose": ("finops.purpose",),
    "cost_center": ("finops.cost_center", "cost_center", "team"),
    "session": ("gen_ai.conversation.id", "session.id", "thread_id"),
}
"""Fields of a decision and the attributes that carry them, best first: the ledger's own order, or budgets would count other calls."""
_RESOURCE: Final[Mapping[str, tuple[str, ...]]] = {
    "service": ("service.name",),
    "environment": ("deployment.environment.name", "deployment.environment"),
}
"""Read from the resource alone, as the ledger does."""
_PROVIDER: Final = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
_MODEL: Final = ("gen_ai.request.model", "llm.model_name", "embedding.model_name", "llm.request.model")
_OUTPUT_LIMIT: Final = ("gen_ai.request.max_tokens", "llm.request.max_tokens")
_TEXT: Final = ("gen_ai.input.messages", "input.value", "gen_ai.prompt")
_ANSWERED_BY: Final = ("gen_ai.response.model", *_MODEL)
_USED: Final[Mapping[str, tuple[str, ...]]] = {
    "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "llm.token_count.prompt_details.cache_read",
    ),
    "cache_write": (
        "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "llm.token_count.completion_details.reasoning",
    ),
}  # fmt: skip
_PROVIDERS: Final = frozenset((
    "openai", "anthropic", "google", "bedrock", "cohere", "mistralai", "groq", "together", "ollama", "vertexai", "watsonx", "replicate",
    "gemini",
))  # fmt: skip
"""Words in the names of instrumentations that say who is called, for spans that do not."""
_KINDS: Final = frozenset(("gen_ai.operation.name", "llm.request.type", "openinference.span.kind"))
"""What says that a span is a call, if any of them does."""
_WORDS: Final = re.compile("[a-z]+")

Attributes = Mapping[str, Any]


def scope_of(span: ReadableSpan) -> str:
    """The name of the library that made a span."""
    scope = span.instrumentation_scope
    return scope.name if scope is not None else ""


def is_call(span: ReadableSpan) -> bool:
    """Whether a span that has just started is a model call which has not been made yet."""
    attributes = span.attributes
    if not attributes or _KINDS.isdisjoint(attributes):  # nearly all spans: looking each key up would take four times as long
        return False
    if _operation(attributes) is None or any(key in attributes for key in _OVER):
        return False
    return span.start_time is None or time.time_ns() - span.start_time < _OVER_NS


def _operation(attributes: Attributes) -> str | None:
    """The kind of call by any of the conventions; None for spans that are none."""
    named = attributes.get("gen_ai.operation.name")
    if named is not None:
        return named if named in CALLS else None
    legacy = attributes.get("llm.request.type")
    return str(legacy) if legacy in CALLS else _OPENINFERENCE_CALLS.get(str(attributes.get("openinference.span.kind")))


def asked_of(span: Span, parent_context: Context | None) -> dict[str, Any]:
    """What is known of a call when its span starts, as fields of a decision; what nobody says is left out, but for provider and model,
    which are empty then."""
    attributes = span.attributes or {}
    fields = {
        "provider": _first(attributes, _PROVIDER) or _provider_by(scope_of(span)),
        "model": _first(attributes, _MODEL) or "",
        "operation": _operation(attributes),
        "trace_id": f"{span.get_span_context().trace_id:032x}",
        "tags": tags_said(parent_context) or None,
        **_whose([span, *_readable(spans_above(span))], span.resource, said(parent_context)),
    }
    return {name: value for name, value in fields.items() if value is not None} | _size(attributes)


def answered_by(attributes: Attributes) -> str:
    """The model that a finished call's span names; empty where it names none."""
    return _first(attributes, _ANSWERED_BY) or ""


def usage_of(attributes: Attributes) -> Usage | None:
    """The counts that a finished call's span tells, for what is held until the ledger has read it with all its rules; None without both
    input and output. More cached than prompt means that the prompt leaves cached tokens out."""
    told = {name: next((attributes[key] for key in keys if key in attributes), None) for name, keys in _USED.items()}
    counts = {name: count for name, count in told.items() if isinstance(count, int) and not isinstance(count, bool) and count >= 0}
    if "input" not in counts or "output" not in counts:
        return None
    if counts.get("cache_read", 0) + counts.get("cache_write", 0) > counts["input"]:
        counts["outside"] = 1
    return disjoint(counts)


def asked_around() -> dict[str, Any]:
    """The same of a call that is about to be made in the current context: whose it is, and in which trace."""
    current = trace.get_current_span()
    places = _readable([current, *spans_above(current)])
    resource = places[0].resource if places else getattr(trace.get_tracer_provider(), "resource", Resource.get_empty())
    fields = {"trace_id": current_trace(), "tags": tags_said() or None, **_whose(places, resource, said())}
    return {name: value for name, value in fields.items() if value is not None}


def _readable(spans: Iterable[trace.Span]) -> list[ReadableSpan]:
    return [span for span in spans if isinstance(span, ReadableSpan)]


def _whose(places: Sequence[ReadableSpan], resource: Resource, blocks: Mapping[str, str]) -> dict[str, str | None]:
    """Whose a call is: what the nearest of its spans says, else the blocks of code around it, else the resource."""
    fields = {name: _first(resource.attributes, keys) for name, keys in _RESOURCE.items()}
    for name, keys in _SAID.items():
        told = (_first(place.attributes or {}, keys) for place in places)
        fields[name] = next((value for value in told if value), None) or blocks.get(name) or _first(resource.attributes, keys)
    fields["step"] = fields["step"] or next((place.name for place in places if _operation(place.attributes or {}) is None), None)
    return fields


def _size(attributes: Attributes) -> dict[str, int]:
    """How large a call is, as far as the span says so when it starts; of texts only the length is read."""
    size: dict[str, int] = {}
    limit = next((attributes[key] for key in _OUTPUT_LIMIT if key in attributes), None)
    if isinstance(limit, int) and limit > 0:
        size["max_output_tokens"] = limit
    text = next((attributes[key] for key in _TEXT if isinstance(attributes.get(key), str)), None)
    if text:
        size["text_chars"] = len(text)
    return size


def _first(attributes: Attributes, keys: tuple[str, ...]) -> str | None:
    return next((str(attributes[key]) for key in keys if attributes.get(key)), None)


def _provider_by(scope: str) -> str:
    return next((word for word in _WORDS.findall(scope.lower()) if word in _PROVIDERS), "")
