"""OpenInference (`openinference.span.kind`, `llm.token_count.*`), Python and JavaScript packages alike.

Input includes cached tokens, on Bedrock too. The tier, the answer's id, cache lifetimes and the usage of images stand only in
`output.value`, the provider's answer; it is read on LLM and EMBEDDING spans to fill gaps, and nothing else of it is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import CountTable, Facts, KeyTable, TableDialect
from otel_finops.genai.dialects import semconv_legacy
from otel_finops.genai.kinds import GRAPH_NODE
from otel_finops.genai.provider_usage import ProviderUsage, find_message_usage, find_provider_usage
from otel_finops.genai.raw_usage import take_cost
from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL
from otel_finops.genai.texts import clean_name, first_name, read_flag, read_json

KIND: Final = "openinference.span.kind"

COUNTS: Final[CountTable] = {
    "input": ("llm.token_count.prompt",),
    "output": ("llm.token_count.completion",),
    "total": ("llm.token_count.total",),
    "cache_read": ("llm.token_count.prompt_details.cache_read", "metadata.usage.cached_prompt_tokens"),
    "cache_write": ("llm.token_count.prompt_details.cache_write", "metadata.usage.cached_creation_tokens"),
    "reasoning": ("llm.token_count.completion_details.reasoning",),
    "audio_in": ("llm.token_count.prompt_details.audio",),
    "image_in": ("llm.token_count.prompt_details.image",),
    "audio_out": ("llm.token_count.completion_details.audio",),
    "image_out": ("llm.token_count.completion_details.image",),
}

_OWN: Final = KeyTable(
    texts={
        "request_model": ("llm.request.model_name",),
        "response_model": ("llm.response.model_name", "llm.model_name", "embedding.model_name", "reranker.model_name"),
    },
    providers=("llm.provider", "llm.system"),
    counts=(COUNTS,),
    finish=("llm.finish_reason",),
    costs=("llm.cost.total",),
    others=(
        KIND, "metadata", "output.value", "llm.invocation_parameters", "embedding.invocation_parameters", "graph.node.id",
        "graph.node.name", "tool.name",
    ),
)  # fmt: skip
TABLE: Final = _OWN.before(semconv_legacy.TABLE)

_KINDS: Final = {"LLM": CALL, "EMBEDDING": CALL, "RERANKER": CALL, "AGENT": AGENT, "TOOL": TOOL}
_OPERATIONS: Final = {"LLM": "chat", "EMBEDDING": "embeddings", "RERANKER": "rerank"}
_HELPERS: Final = ("._prepare_chat_with_tools",)
"""Ends of names of LLM spans around the building of a prompt: nothing is called there."""
METADATA: Final = {
    "agent": ("lc_agent_name", "agent_name"), "step": ("langgraph_node",), "user": ("user_id", "userId"),
    "session": ("session_id", "sessionId", "thread_id"), "tenant": ("tenant", "tenant_id"), "cost_center": ("cost_center", "team"),
    "purpose": ("purpose",),
}  # fmt: skip
"""Names in the JSON that LangChain and applications attach as `metadata`, by attribution key; other dialects read the same JSON."""
_RAW: Final = "raw"
"""Where smolagents keeps the provider's answer, as the text of a Python object: cached tokens and the answer's id are only there."""
_BEDROCK_ID_MARKS: Final = ("arn:", ".")


def _recognises(keys: Collection[str], scope: str) -> bool:
    return KIND in keys


def _refine(span: Span, facts: Facts) -> None:
    kind = (clean_name(span.attributes.get(KIND)) or "").upper()
    facts.kind = _KINDS.get(kind, OTHER)
    metadata = read_json(span.attributes.get("metadata"))
    facts.attribution = _attribution(span, kind, metadata if isinstance(metadata, Mapping) else {})
    if facts.kind != CALL:
        if isinstance(metadata, Mapping) and metadata.get("langgraph_node") == span.name:
            facts.operation = GRAPH_NODE
        return
    if span.name.endswith(_HELPERS):
        facts.kind = OTHER
        return
    facts.operation = facts.operation or _OPERATIONS[kind]
    if isinstance(metadata, Mapping) and (behind := clean_name(metadata.get("ls_provider"))) is not None:
        facts.providers = (*facts.providers, behind)
    _read_parameters(span, facts)
    answer = span.attributes.get("output.value")
    if kind != "RERANKER" and isinstance(answer, str) and "usage" in answer:
        document = read_json(answer)
        raw = read_json(document.get(_RAW)) if isinstance(document, Mapping) else None
        for found in (find_provider_usage(document), find_message_usage(document), find_provider_usage(raw)):
            if found is not None:
                _fill_gaps(facts, found)
    _sort_models(facts)
    if not (facts.counts or facts.response_model or facts.request_model or span.is_error):
        facts.kind = OTHER


def _attribution(span: Span, kind: str, metadata: Mapping[str, object]) -> dict[str, str | None]:
    """Names that only the kind gives a meaning: a graph node is an agent on AGENT spans, a step elsewhere."""
    said: dict[str, str | None] = {}
    node = first_name((span.attributes.get("graph.node.name"), span.attributes.get("graph.node.id")))
    if kind == "TOOL":
        said["tool"] = first_name((span.attributes.get("tool.name"), span.name))
    elif kind == "AGENT":
        if "agent.name" not in span.attributes:
            said["agent"] = node or clean_name(span.name.removesuffix(".run"))
    elif node is not None:
        said["step"] = node
    if metadata:
        for name, keys in METADATA.items():
            value = first_name([metadata.get(key) for key in keys])
            if value is not None:
                said.setdefault(name, value)
    return said


def _read_parameters(span: Span, facts: Facts) -> None:
    """The model asked for, the tier asked for, streaming and the endpoint stand among the call's parameters."""
    for key in ("llm.invocation_parameters", "embedding.invocation_parameters"):
        parameters = read_json(span.attributes.get(key))
        if isinstance(parameters, Mapping):
            facts.request_model = facts.request_model or first_name((parameters.get("model"), parameters.get("model_name")))
            facts.tier_asked = facts.tier_asked or clean_name(parameters.get("service_tier"))
            facts.host = facts.host or first_name((parameters.get("base_url"), parameters.get("api_base")))
            if facts.streaming is None and read_flag(parameters.get("stream")):
                facts.streaming = True


def _fill_gaps(facts: Facts, found: ProviderUsage) -> None:
    """Take from the provider's answer what the attributes do not say; what they say stands."""
    take_cost(facts, found)
    facts.tier_served = facts.tier_served or found.service_tier
    facts.speed = facts.speed or found.speed
    facts.response_id = facts.response_id or found.response_id
    if facts.request_model is not None and facts.response_model in (None, facts.request_model):
        facts.response_model = found.response_model or facts.response_model
    if found.inference_geo is not None:
        facts.region, facts.region_kind = found.inference_geo, "inference_geo"
    if found.bad:
        facts.bad = facts.bad or not facts.counts
        return
    if facts.counts.get("input") or facts.counts.get("output"):
        if found.exclusive and found.counts.get("input") == facts.counts.get("input"):
            facts.exclusive = True
        output = facts.counts.get("output", 0) - found.counted_twice
        if output > 0:
            facts.counts["output"] = output
        details = {name: count for name, count in found.counts.items() if name not in ("input", "output", "total")}
        facts.counts = {**details, **{name: count for name, count in facts.counts.items() if count or name not in details}}
    else:
        facts.counts = found.counts
        facts.exclusive, facts.reasoning_outside = found.exclusive, found.reasoning_outside


def _sort_models(facts: Facts) -> None:
    """`llm.model_name` is the answer's model, but the one asked for where nothing was answered and on Bedrock, whose answers name none."""
    model = facts.response_model
    if facts.request_model is not None or model is None:
        return
    on_bedrock = any(value.lower().startswith(("aws", "amazon", "bedrock")) for value in facts.providers)
    if not facts.counts or (on_bedrock and any(mark in model for mark in _BEDROCK_ID_MARKS)):
        facts.request_model, facts.response_model = model, None


DIALECT: Final = TableDialect(name="openinference", table=TABLE, recognises=_recognises, refine=_refine)
