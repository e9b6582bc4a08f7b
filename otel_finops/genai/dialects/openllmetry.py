"""OpenLLMetry (scopes `opentelemetry.instrumentation.<x>`): the conventions' keys, old or new by version, and `traceloop.*` around them.

Its Bedrock instrumentation, and the one for Anthropic in JavaScript, leave cached tokens out of the input; its Google one leaves thoughts
out of the output, where the total shows them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv, semconv_legacy
from otel_finops.genai.sighting import AGENT, OTHER, TOOL, WORKFLOW
from otel_finops.genai.texts import clean_name

_PROPERTIES: Final = "traceloop.association.properties."

_OWN: Final = KeyTable(
    texts={"operation": ("llm.request.type",)},
    providers=(f"{_PROPERTIES}ls_provider",),
    streaming=("llm.is_streaming",),
    finish=("gen_ai.completion.0.finish_reason",),
    others=("traceloop.span.kind", "traceloop.entity.name", "crewai.crew.name"),
)
TABLE: Final = semconv_legacy.TABLE.before(_OWN)

ATTRIBUTION: Final = {
    "agent": (f"{_PROPERTIES}lc_agent_name", "crewai.agent.role", "crewai.task.agent"),
    "step": (f"{_PROPERTIES}langgraph_node",),
    "workflow": ("traceloop.workflow.name", "crewai.crew.name"),
    "user": (f"{_PROPERTIES}user_id", f"{_PROPERTIES}userId"),
    "session": (f"{_PROPERTIES}session_id", f"{_PROPERTIES}sessionId", f"{_PROPERTIES}thread_id", f"{_PROPERTIES}chat_id"),
    "tenant": (f"{_PROPERTIES}tenant", f"{_PROPERTIES}tenant_id"),
    "cost_center": (f"{_PROPERTIES}cost_center", f"{_PROPERTIES}team"),
    "purpose": (f"{_PROPERTIES}purpose",),
}

_SIGNS: Final = frozenset({
    "traceloop.span.kind", "traceloop.entity.name", "traceloop.workflow.name", "traceloop.entity.path", "llm.request.type",
    "llm.is_streaming", "llm.usage.total_tokens", "gen_ai.is_streaming", "crewai.crew.name",
})  # fmt: skip

_SCOPES: Final = {
    "opentelemetry.instrumentation.bedrock": ScopeTraits(exclusive=frozenset({"bedrock"})),
    "@traceloop/instrumentation-anthropic": ScopeTraits(exclusive=frozenset({"anthropic"})),
}

_KINDS: Final = {"workflow": WORKFLOW, "task": OTHER, "agent": AGENT, "tool": TOOL}
_OPERATIONS: Final = {"completion": "text_completion", "embedding": "embeddings"}


def _recognises(keys: Collection[str], scope: str) -> bool:
    return not _SIGNS.isdisjoint(keys) or (scope in _SCOPES and semconv.has_marks(keys, scope))


def _refine(span: Span, facts: Facts) -> None:
    """Spans with a `traceloop.span.kind` are no calls, and their entity's name is the name of what the kind says."""
    facts.operation = _OPERATIONS.get(facts.operation or "", facts.operation)
    kind = clean_name(span.attributes.get("traceloop.span.kind"))
    if kind is None:
        if "crewai.crew.name" in span.attributes:
            facts.kind = WORKFLOW
        return
    facts.kind = _KINDS.get(kind, OTHER)
    entity = clean_name(span.attributes.get("traceloop.entity.name"))
    if kind == "workflow":
        # The workflow's name stands in gen_ai.agent.name too, where it is no agent: only the association property is one.
        facts.distrusted = ("agent",)
        facts.attribution = {"agent": clean_name(span.attributes.get(f"{_PROPERTIES}lc_agent_name")), "workflow": entity}
    elif entity is not None and f"{_PROPERTIES}langgraph_node" not in span.attributes:
        facts.attribution = {{"task": "step", "agent": "agent", "tool": "tool"}.get(kind, "step"): entity}


DIALECT: Final = TableDialect(
    name="openllmetry", table=TABLE, recognises=_recognises, attribution=ATTRIBUTION, scopes=_SCOPES, refine=_refine
)
