"""LangSmith over OTLP (`langsmith.span.kind`): LangChain, LangGraph and its wrappers of vendors' clients, Python and JavaScript.

The span's kind says what is a call: prompts are named `chat` too, and streamed chains repeat the usage of the call in them. Input
includes cached tokens. The details of the usage stand in LangChain's own JSON, whole (`usage_metadata`) or by side
(`gen_ai.usage.input_token_details`, in Python as a literal). `gen_ai.system` is guessed from the model's name, `ls_provider` is not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from otel_finops.base.span import Attributes, Span
from otel_finops.genai.dialect import Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv_legacy
from otel_finops.genai.numbers import read_amount
from otel_finops.genai.provider_usage import read_provider_usage
from otel_finops.genai.raw_usage import take_provider_usage
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL
from otel_finops.genai.texts import clean_name, read_json

_KIND: Final = "langsmith.span.kind"
_METADATA: Final = "langsmith.metadata."
_USAGE: Final = ("langsmith.usage_metadata", f"{_METADATA}usage_metadata")
_DETAILS: Final = {
    "input_token_details": "gen_ai.usage.input_token_details",
    "output_token_details": "gen_ai.usage.output_token_details",
}

TABLE: Final = KeyTable(
    texts={"tier_served": ("gen_ai.response.service_tier",)},
    providers=(f"{_METADATA}ls_provider",),
    streaming=("langsmith.request.streaming",),
    others=(_KIND, *_USAGE, *_DETAILS.values()),
).before(semconv_legacy.TABLE)

ATTRIBUTION: Final = {
    "agent": (f"{_METADATA}lc_agent_name", f"{_METADATA}agent_name"),
    "step": (f"{_METADATA}langgraph_node",),
    "user": (f"{_METADATA}user_id", f"{_METADATA}userId"),
    "session": (
        f"{_METADATA}session_id", f"{_METADATA}sessionId", f"{_METADATA}thread_id", f"{_METADATA}threadId", f"{_METADATA}conversation_id",
    ),
    "tenant": (f"{_METADATA}tenant", f"{_METADATA}tenant_id"),
    "cost_center": (f"{_METADATA}cost_center", f"{_METADATA}team"),
    "purpose": (f"{_METADATA}purpose",),
}  # fmt: skip

_KINDS: Final = {"llm": CALL, "embedding": CALL, "tool": TOOL, "agent": AGENT}
_OPERATIONS: Final = {"llm": "chat", "embedding": "embeddings"}


def _recognises(keys: Collection[str], scope: str) -> bool:
    return _KIND in keys


def _refine(span: Span, facts: Facts) -> None:
    kind = (clean_name(span.attributes.get(_KIND)) or "").lower()
    facts.kind = _KINDS.get(kind, OTHER)
    facts.operation = _OPERATIONS.get(kind, facts.operation or kind or None)
    if facts.kind == TOOL and "gen_ai.tool.name" not in span.attributes:
        facts.attribution = {"tool": clean_name(span.name)}
    if facts.kind == CALL:
        usage = _usage(span.attributes)
        if usage:
            take_provider_usage(facts, read_provider_usage(usage))
            _read_cost(usage, facts)
        if not facts.counts and facts.error_type is None:
            facts.error_type = span.exception_type  # a later update may have set the status of a failed run to OK


def _usage(attributes: Attributes) -> Mapping[str, object]:
    """The whole object, else the details of the counts that the attributes give."""
    for key in _USAGE:
        usage = read_json(attributes.get(key))
        if isinstance(usage, Mapping):
            return usage
    return {name: read_json(attributes.get(key)) for name, key in _DETAILS.items() if key in attributes}


def _read_cost(usage: Mapping[str, object], facts: Facts) -> None:
    """A user may give the call's cost with its usage."""
    facts.state_cost(read_amount(usage.get("total_cost")), _USAGE[1])


DIALECT: Final = TableDialect(
    name="langsmith",
    table=TABLE,
    recognises=_recognises,
    attribution=ATTRIBUTION,
    scopes={"langsmith": ScopeTraits(rank=RANK_FRAMEWORK)},
    refine=_refine,
)
