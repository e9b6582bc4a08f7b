"""Genkit (`genkit:*` keys): usage stands only in `genkit:output`, the answer as JSON, on the spans of model actions.

`custom` or `raw` in it is the provider's own answer and says more than Genkit's `usage`. The `generate` spans around a model action repeat
its answer, those of a tool loop even the last one's, and are no calls.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.provider_usage import find_provider_usage, read_provider_usage
from otel_finops.genai.raw_usage import take_provider_usage
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL, WORKFLOW
from otel_finops.genai.texts import clean_name, read_json

TYPE: Final = "genkit:type"
SUBTYPE: Final = "genkit:metadata:subtype"
NAME: Final = "genkit:name"
OUTPUT: Final = "genkit:output"
STATE: Final = "genkit:state"

TABLE: Final = KeyTable(others=(TYPE, SUBTYPE, NAME, OUTPUT, STATE))
ATTRIBUTION: Final = {"session": ("genkit:sessionId",)}

_SCOPES: Final = {"genkit-tracer": ScopeTraits(rank=RANK_FRAMEWORK)}
_KINDS: Final = {
    "model": CALL, "background-model": CALL, "embedder": CALL, "reranker": CALL, "flow": WORKFLOW, "tool": TOOL, "tool.v2": TOOL,
    "agent": AGENT,
}  # fmt: skip
_OPERATIONS: Final = {"model": "chat", "background-model": "chat", "embedder": "embeddings", "reranker": "rerank"}
_RAW: Final = ("raw", "custom")


def _recognises(keys: Collection[str], scope: str) -> bool:
    return TYPE in keys and NAME in keys


def _refine(span: Span, facts: Facts) -> None:
    attributes = span.attributes
    subtype, name = clean_name(attributes.get(SUBTYPE)) or "", clean_name(attributes.get(NAME))
    facts.kind = _KINDS.get(subtype, OTHER)
    if facts.kind == CALL:
        _read_call(span, facts, subtype, name or "")
    elif facts.kind in (AGENT, TOOL, WORKFLOW):
        facts.attribution = {facts.kind: name}


def _read_call(span: Span, facts: Facts, subtype: str, name: str) -> None:
    """A model's name has its plugin in front: `googleai/gemini-2.5-pro`."""
    facts.operation = _OPERATIONS[subtype]
    plugin, slash, model = name.partition("/")
    facts.request_model = clean_name(model if slash else name)
    facts.providers = (plugin,) if slash else ()
    if clean_name(span.attributes.get(STATE)) == "error":
        facts.error_type = facts.error_type or span.exception_type or "error"
    answer = read_json(span.attributes.get(OUTPUT))
    if isinstance(answer, Mapping):
        _read_answer(facts, answer)


def _read_answer(facts: Facts, answer: Mapping[str, object]) -> None:
    facts.ended(answer.get("finishReason"))
    usage = answer.get("usage")
    if isinstance(usage, Mapping):
        custom = usage.get("custom")
        if isinstance(custom, Mapping):
            usage = {**custom, **usage}
        take_provider_usage(facts, read_provider_usage(usage))
    for place in _RAW:
        found = find_provider_usage(answer.get(place))
        if found is not None:
            facts.response_model = found.response_model
            take_provider_usage(facts, found)
            break


DIALECT: Final = TableDialect(name="genkit", table=TABLE, recognises=_recognises, attribution=ATTRIBUTION, scopes=_SCOPES, refine=_refine)
