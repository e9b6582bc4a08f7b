"""Mastra (`mastra.span.type`): agents, generations, their steps, and in later 1.x one span for each inference, the call itself.

Until then a generation, the whole tool loop, has the sum of its steps, and is all there is where the answers were streamed: steps carry the
provider's answer (`body`), with all that the counts leave out, only when it was not. So all of them that have counts are
calls here, and which repeats the sum of what lies under it is found as everywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import CountTable, Facts, ScopeTraits, TableDialect, joined_counts
from otel_finops.genai.dialects import semconv_legacy
from otel_finops.genai.provider_usage import find_provider_usage
from otel_finops.genai.raw_usage import take_provider_usage
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL, WORKFLOW
from otel_finops.genai.texts import clean_name, first_name, read_json

TYPE: Final = "mastra.span.type"

_COUNTS: Final[CountTable] = {
    "cache_read": ("gen_ai.usage.cached_input_tokens",),
    "cache_write": ("gen_ai.usage.cache_write_tokens",),
    "cache_write_5m": ("gen_ai.usage.cache_creation.5m_input_tokens",),
    "cache_write_1h": ("gen_ai.usage.cache_creation.1h_input_tokens",),
    "audio_in": ("gen_ai.usage.audio_input_tokens",),
    "audio_out": ("gen_ai.usage.audio_output_tokens",),
}
_BODIES: Final = ("mastra.metadata.body", "body")
_ASKED: Final = ("mastra.metadata.modelMetadata", "modelMetadata")
_IDS: Final = ("mastra.metadata.id", "id")
_ANSWERING: Final = ("mastra.metadata.modelId", "modelId")
_BARE: Final = {"user": ("userId", "user_id"), "session": ("sessionId", "session_id", "threadId"), "tenant": ("tenantId", "tenant_id")}

TABLE: Final = replace(
    semconv_legacy.TABLE,
    counts=(joined_counts(semconv_legacy.TABLE.counts[0], _COUNTS),),
    others=(TYPE, "workflow.id", *_BODIES, *_ASKED, *_IDS, *_ANSWERING, *(key for keys in _BARE.values() for key in keys)),
)


def _named(*names: str) -> tuple[str, ...]:
    return tuple(f"mastra.metadata.{name}" for name in names)


ATTRIBUTION: Final = {
    "user": _named("userId", "user_id"),
    "session": _named("sessionId", "session_id", "threadId"),
    "tenant": _named("tenant", "tenantId", "tenant_id"),
    "cost_center": _named("costCenter", "cost_center", "team"),
    "purpose": _named("purpose"),
}

_SCOPES: Final = {
    "@mastra/otel": ScopeTraits(rank=RANK_FRAMEWORK, exclusive=frozenset({"anthropic", "bedrock"})),
    "@mastra/otel-exporter": ScopeTraits(rank=RANK_FRAMEWORK),
    "@mastra/otel-bridge": ScopeTraits(rank=RANK_FRAMEWORK),
}
_KINDS: Final = {"agent_run": AGENT, "workflow_run": WORKFLOW, "tool_call": TOOL, "mcp_tool_call": TOOL, "provider_tool_call": TOOL}
_CALLS: Final = frozenset({"chat", "tool_selection", "embeddings"})
"""Operations of the spans that speak of calls: of generations until inferences had spans of their own, of inferences since."""
_API: Final = re.compile(r"\.(chat|completion|responses|messages|embedding|image|generative-ai)$")


def _recognises(keys: Collection[str], scope: str) -> bool:
    return TYPE in keys


def _refine(span: Span, facts: Facts) -> None:
    kind = clean_name(span.attributes.get(TYPE)) or ""
    facts.kind = _KINDS.get(kind) or (CALL if facts.operation in _CALLS else OTHER)
    facts.attribution = _attribution(span, facts)
    if kind == "model_step":
        _read_step(span, facts)
    if facts.kind != CALL:
        return
    facts.operation = facts.operation if facts.operation == "embeddings" else "chat"
    facts.providers = tuple([_API.sub("", value) for value in facts.providers])
    _leave_writes_out(facts)
    if not facts.counts and "error" in str(span.attributes.get("gen_ai.response.finish_reasons")):
        facts.error_type = facts.error_type or "error"


def _attribution(span: Span, facts: Facts) -> dict[str, str | None]:
    """Until 0.24 the application's metadata and the workflow's name stood under bare names."""
    said = {name: first_name([span.attributes.get(key) for key in keys]) for name, keys in _BARE.items()}
    if facts.kind == WORKFLOW:
        said["workflow"] = clean_name(span.attributes.get("workflow.id")) or clean_name(span.name.removeprefix("invoke_workflow "))
    return said


def _read_step(span: Span, facts: Facts) -> None:
    """A step is a call when it has the provider's answer; without one the generation above or the inference below speaks for it."""
    found = find_provider_usage(read_json(_first(span, _BODIES)))
    if found is None and not facts.counts:
        return
    facts.kind = CALL
    facts.response_id = first_name([span.attributes.get(key) for key in _IDS])
    facts.response_model = first_name([span.attributes.get(key) for key in _ANSWERING])
    asked = read_json(_first(span, _ASKED))
    if isinstance(asked, Mapping):
        facts.request_model = clean_name(asked.get("modelId"))
        facts.providers = tuple([name for name in (clean_name(asked.get("modelProvider")),) if name])
    if found is not None:
        facts.response_model = facts.response_model or found.response_model
        take_provider_usage(facts, found)


def _first(span: Span, keys: tuple[str, ...]) -> object:
    return next((span.attributes[key] for key in keys if key in span.attributes), None)


def _leave_writes_out(facts: Facts) -> None:
    """Early 1.x adds what Anthropic wrote to the cache to an input that holds none of what was read: neither of the two conventions."""
    counts = facts.counts
    written = counts.get("cache_write", 0)
    if written and written <= counts.get("input", 0) < written + counts.get("cache_read", 0):
        facts.counts = {**counts, "uncached": counts["input"] - written}


DIALECT: Final = TableDialect(name="mastra", table=TABLE, recognises=_recognises, attribution=ATTRIBUTION, scopes=_SCOPES, refine=_refine)
