"""MLflow's autologging and tracing decorators (scope `mlflow.tracing.provider`): every value is JSON, names stand in JSON quotes.

The counts are the JSON of `mlflow.chat.tokenUsage`; its input includes cached tokens whoever the provider is. Where it says nothing of
cached tokens, and for embeddings, which have none of it, the provider's answer in `mlflow.spanOutputs` is asked; that also gives the
answer's id and model, the tier and the lifetime of cache writes. A framework's span and the client's below it are model calls of one scope
that show one call. With `MLFLOW_ENABLE_OTEL_GENAI_SEMCONV` the spans speak the conventions instead, and lose cached tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import Facts, KeyTable, TableDialect
from otel_finops.genai.dialects import openinference, semconv_legacy
from otel_finops.genai.numbers import read_amount
from otel_finops.genai.provider_usage import ProviderUsage, find_provider_usage, read_provider_usage
from otel_finops.genai.raw_usage import take_cost
from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL, WORKFLOW
from otel_finops.genai.texts import clean_name, first_name, read_flag, read_json

SCOPE: Final = "mlflow.tracing.provider"
_TYPE: Final = "mlflow.spanType"
_USAGE: Final = "mlflow.chat.tokenUsage"
_OUTPUTS: Final = "mlflow.spanOutputs"
_COST: Final = "mlflow.llm.cost"
_MODEL: Final = "mlflow.llm.model"
_FORMAT: Final = "mlflow.message.format"
_PARAMETERS: Final = "invocation_params"

_OWN: Final = KeyTable(
    texts={"request_model": ("model",), "tier_asked": ("service_tier",)},
    providers=("mlflow.llm.provider",),
    streaming=("stream",),
    others=(_TYPE, _USAGE, _OUTPUTS, _COST, _MODEL, _FORMAT, _PARAMETERS, "metadata"),
)
TABLE: Final = semconv_legacy.TABLE.before(_OWN)

ATTRIBUTION: Final = {
    "user": ("mlflow.trace.user",),
    "session": ("mlflow.trace.session",),
    "tenant": ("mlflow.traceTag.tenant", "mlflow.traceTag.tenant.id"),
    "cost_center": ("mlflow.traceTag.cost_center", "mlflow.traceTag.team"),
    "purpose": ("mlflow.traceTag.purpose",),
}

_MARKS: Final = frozenset({_TYPE, _USAGE, _OUTPUTS})
_KINDS: Final = {
    "CHAT_MODEL": CALL, "LLM": CALL, "EMBEDDING": CALL, "RERANKER": CALL, "AGENT": AGENT, "TOOL": TOOL, "WORKFLOW": WORKFLOW,
}  # fmt: skip
_OPERATIONS: Final = {"CHAT_MODEL": "chat", "LLM": "chat", "EMBEDDING": "embeddings", "RERANKER": "rerank"}


def _recognises(keys: Collection[str], scope: str) -> bool:
    return scope == SCOPE or not _MARKS.isdisjoint(keys)


def _refine(span: Span, facts: Facts) -> None:
    if _is_bedrock(span, facts):
        facts.providers = ("bedrock",)
    kind = clean_name(span.attributes.get(_TYPE))
    if kind is None:
        return
    facts.kind = _KINDS.get(kind, OTHER)
    metadata = read_json(span.attributes.get("metadata"))
    facts.attribution = _attribution(span, facts.kind, metadata if isinstance(metadata, Mapping) else {})
    if not facts.counts:
        _read_usage(facts, span.attributes.get(_USAGE))
    if facts.kind != CALL:
        return
    facts.operation = facts.operation or _OPERATIONS[kind]
    answer = read_json(span.attributes.get(_OUTPUTS))
    if isinstance(answer, Mapping):
        _read_answer(facts, answer)
    _sort_models(span, facts)
    _read_cost(span, facts)
    if not (facts.counts or facts.request_model or facts.response_model or span.is_error):
        facts.kind = OTHER


def _is_bedrock(span: Span, facts: Facts) -> bool:
    """Bedrock's model ids begin with a region or vendor and a dot, and MLflow takes that beginning (`us`) for the provider."""
    if clean_name(span.attributes.get(_FORMAT)) == "bedrock":
        return True
    model = facts.request_model or clean_name(span.attributes.get(_MODEL))
    return model is not None and any(model.startswith(f"{provider}.") for provider in facts.providers)


def _attribution(span: Span, kind: str, metadata: Mapping[str, object]) -> dict[str, str | None]:
    """LangChain's metadata, and on agents' and tools' spans their names."""
    said = {name: first_name([metadata.get(key) for key in keys]) for name, keys in openinference.METADATA.items()} if metadata else {}
    if kind == AGENT and said.get("agent") is None:
        said["agent"] = clean_name(span.name.removeprefix("invoke_agent ").removesuffix(".run"))
    elif kind == TOOL:
        said["tool"] = clean_name(span.name)
    return said


def _read_usage(facts: Facts, value: object) -> None:
    usage = read_json(value)
    if isinstance(usage, Mapping):
        found = read_provider_usage(usage)
        take_cost(facts, found)
        facts.bad = facts.bad or found.bad
        facts.counts = found.counts


def _read_answer(facts: Facts, answer: Mapping[str, object]) -> None:
    """What the provider's answer adds; a body of Bedrock stands one level down."""
    body = answer.get("body")
    document = body if isinstance(body, Mapping) else answer
    facts.response_model = facts.response_model or first_name((document.get("model"), document.get("model_version")))
    facts.response_id = facts.response_id or clean_name(document.get("id"))
    found = find_provider_usage(document)
    if found is None:
        return
    take_cost(facts, found)
    facts.tier_served = facts.tier_served or found.service_tier
    facts.speed = found.speed
    if found.inference_geo is not None:
        facts.region, facts.region_kind = found.inference_geo, "inference_geo"
    if not found.bad:
        _fill_counts(facts, found)


def _fill_counts(facts: Facts, found: ProviderUsage) -> None:
    """MLflow's own counts stand; where they do not know of cached tokens, the provider's are the better ones."""
    cached = ("cache_read", "cache_write")
    if not facts.counts or (any(map(found.counts.get, cached)) and not any(map(facts.counts.get, cached))):
        facts.counts = found.counts
        facts.exclusive, facts.reasoning_outside = found.exclusive, found.reasoning_outside
        return
    details = {name: count for name, count in found.counts.items() if name not in ("input", "output", "total", *cached)}
    facts.counts = {**details, **facts.counts}


def _sort_models(span: Span, facts: Facts) -> None:
    """`mlflow.llm.model` is the answer's model where the span says which was asked for, else the one asked for."""
    model = clean_name(span.attributes.get(_MODEL))
    parameters = read_json(span.attributes.get(_PARAMETERS))
    if isinstance(parameters, Mapping):
        facts.request_model = facts.request_model or first_name((parameters.get("model"), parameters.get("model_name")))
        if facts.streaming is None:
            facts.streaming = read_flag(parameters.get("stream"))
    if facts.request_model is None:
        facts.request_model = model
    elif model != facts.request_model:
        facts.response_model = facts.response_model or model


def _read_cost(span: Span, facts: Facts) -> None:
    cost = read_json(span.attributes.get(_COST))
    if isinstance(cost, Mapping):
        facts.state_cost(read_amount(cost.get("total_cost")), _COST)


DIALECT: Final = TableDialect(name="mlflow", table=TABLE, recognises=_recognises, attribution=ATTRIBUTION, refine=_refine)
