"""Google's Agent Development Kit (scope `gcp.vertex.agent`), in its three generations.

* Until 1.2x a `call_llm` span is the model call. It counts the prompt with its cached part and the output without thoughts; thoughts,
  cache and total stand only in the JSON of `gcp.vertex.agent.llm_response`. It stays open while the tools that the answer asked for run,
  other agents among them, so it may be an ancestor of later calls. Agents are spans `agent_run [name]` without any attribute.
* Then, up to 2.12, a `generate_content` span with the old `gen_ai.system` stands right below each `call_llm` and repeats what the kit's
  own attributes say, less than the JSON does: it is not the call.
* From 2.13 on the `generate_content` span (`gen_ai.provider.name`) is the only one, with thoughts in the output, by the conventions.

`gen_ai.system` names the kit, not who bills.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import CountTable, Facts, KeyTable, ScopeTraits, TableDialect, joined_counts
from otel_finops.genai.dialects import semconv_legacy
from otel_finops.genai.provider_usage import find_provider_usage
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK
from otel_finops.genai.texts import read_json

SCOPE: Final = "gcp.vertex.agent"
_RESPONSE: Final = "gcp.vertex.agent.llm_response"
_REASONING: Final = "gen_ai.usage.experimental.reasoning_tokens"
_SESSION: Final = "gcp.vertex.agent.session_id"
_OWN_COUNTS: Final[CountTable] = {"reasoning": (_REASONING,)}

TABLE: Final = KeyTable(
    texts=semconv_legacy.TABLE.texts,
    providers=semconv_legacy.TABLE.providers,
    counts=(joined_counts(semconv_legacy.TABLE.counts[0], _OWN_COUNTS),),
    streaming=semconv_legacy.TABLE.streaming,
    stream_marks=semconv_legacy.TABLE.stream_marks,
    finish=semconv_legacy.TABLE.finish,
    http_status=semconv_legacy.TABLE.http_status,
    others=(_RESPONSE, "gen_ai.system"),
)

ATTRIBUTION: Final = {"session": (_SESSION,)}


def _recognises(keys: Collection[str], scope: str) -> bool:
    return scope == SCOPE or _RESPONSE in keys or _SESSION in keys


def _refine(span: Span, facts: Facts) -> None:
    """Names of spans tell what they are; a call's JSON says what its attributes leave out."""
    if span.name.startswith("agent_run ["):
        facts.kind = AGENT
    elif span.name == "call_llm":
        facts.kind, facts.operation = CALL, facts.operation or "generate_content"
        facts.reasoning_outside = _REASONING in span.attributes
        _read_answer(span, facts)
    elif facts.operation == "generate_content" and "gen_ai.system" in span.attributes:
        facts.kind = OTHER


def _read_answer(span: Span, facts: Facts) -> None:
    """Take all counts from the kit's copy of Google's usage object, which it fills for the models of others too.

    The total tells apart who counts thoughts beside the output (Google) and in it (others, through LiteLLM).
    """
    answer = span.attributes.get(_RESPONSE)
    if not isinstance(answer, str) or "usage_metadata" not in answer:
        return
    document = read_json(answer)
    found = find_provider_usage(document)
    if found is None or found.bad or not found.counts.get("input"):
        return
    counts = found.counts
    facts.counts, facts.reasoning_outside = counts, found.reasoning_outside
    beside = counts.get("total", 0) - counts["input"] - counts.get("output", 0)
    if beside >= 0:
        thoughts = beside - min(beside, counts.get("tool_use", 0))
        counts["output"], facts.reasoning_outside = counts.get("output", 0) + thoughts, False
    if isinstance(document, dict):
        facts.ended(document.get("finish_reason"))


DIALECT: Final = TableDialect(
    name="google_adk",
    table=TABLE,
    recognises=_recognises,
    attribution=ATTRIBUTION,
    scopes={SCOPE: ScopeTraits(rank=RANK_FRAMEWORK)},
    refine=_refine,
)
