"""The AI SDK of JavaScript (`ai`), versions 3 to 7: its own `ai.*` keys, and the conventions' keys of `@ai-sdk/otel` (scope `gen_ai`).

With the `ai.*` keys an outer span (`ai.generateText`, `ai.embed`) stands around each call and repeats or sums it: only operations with
`.do` are calls, and media, which have no inner span. Before version 5 the cached tokens, and lifetimes of cache writes up to today, stand
only in the JSON `ai.response.providerMetadata`. With Anthropic and Bedrock the counts of versions 3 to 5 leave cached tokens out; since
version 6 they are in, and `inputTokenDetails.noCacheTokens` says so on most spans.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from math import isnan
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import CountTable, Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv, semconv_legacy
from otel_finops.genai.numbers import BAD_COUNT, read_count
from otel_finops.genai.provider_usage import ProviderUsage, read_provider_usage
from otel_finops.genai.raw_usage import take_provider_usage
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL
from otel_finops.genai.texts import clean_name, first_name, read_json

OPERATION: Final = "ai.operationId"
SCOPE: Final = "gen_ai"
"""The scope of `@ai-sdk/otel`, whose spans are the conventions'."""

COUNTS: Final[CountTable] = {
    "input": ("ai.usage.inputTokens", "ai.usage.promptTokens"),
    "uncached": ("ai.usage.inputTokenDetails.noCacheTokens",),
    "output": ("ai.usage.outputTokens", "ai.usage.completionTokens"),
    "total": ("ai.usage.totalTokens",),
    "cache_read": ("ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens"),
    "cache_write": ("ai.usage.inputTokenDetails.cacheWriteTokens",),
    "reasoning": ("ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens"),
}
_EMBEDDING: Final[CountTable] = {"input": ("ai.usage.tokens",)}

_MOVED: Final = {"cache_read": "gen_ai.usage.cache_read.input_tokens", "cache_write": "gen_ai.usage.cache_creation.input_tokens"}
"""Where OpenLLMetry's processor puts what was cached; it takes the provider's JSON off the span."""

_PROVIDER_JSON: Final = ("ai.response.providerMetadata", "ai.result.providerMetadata")
_USER_AGENT: Final = "ai.request.headers.user-agent"

_OWN: Final = KeyTable(
    texts={
        "request_model": ("gen_ai.request.model", "ai.model.id"),
        "response_model": ("gen_ai.response.model", "ai.response.model"),
        "response_id": ("gen_ai.response.id", "ai.response.id"),
    },
    providers=("ai.model.provider",),
    counts=(COUNTS, _EMBEDDING),
    stream_marks=("ai.response.msToFirstChunk", "gen_ai.client.operation.time_to_first_chunk"),
    finish=("ai.response.finishReason", "ai.finishReason"),
    others=(OPERATION, "ai.telemetry.functionId", _USER_AGENT, *_PROVIDER_JSON),
)
TABLE: Final = _OWN.before(semconv_legacy.TABLE)


def _named(*names: str) -> tuple[str, ...]:
    """The application's own names, which stood in the telemetry's metadata and stand in the settings' context since version 7."""
    return tuple(f"{place}.{name}" for place in ("ai.telemetry.metadata", "ai.settings.context") for name in names)


ATTRIBUTION: Final = {
    "agent": (*_named("agentName", "agent_name"), "ai.telemetry.functionId"),
    "step": _named("step", "stepName"),
    "tool": ("ai.toolCall.name",),
    "user": _named("userId", "user_id"),
    "session": _named("sessionId", "session_id", "threadId", "thread_id", "conversationId", "chatId"),
    "tenant": _named("tenant", "tenantId", "tenant_id"),
    "cost_center": _named("costCenter", "cost_center", "team"),
    "purpose": _named("purpose"),
}

_SCOPES: Final = {"ai": ScopeTraits(rank=RANK_FRAMEWORK), SCOPE: ScopeTraits(rank=RANK_FRAMEWORK)}

_OPERATIONS: Final = {
    "generateText": "chat", "streamText": "chat", "generateObject": "chat", "streamObject": "chat", "embed": "embeddings",
    "embedMany": "embeddings", "rerank": "rerank", "generateImage": "image_generation", "generateSpeech": "speech",
    "transcribe": "transcription", "streamTranscribe": "transcription",
}  # fmt: skip
_WITHOUT_INNER: Final = frozenset({"image_generation", "speech", "transcription"})
_API: Final = re.compile(r"\.(chat|completion|responses|messages|embedding|textEmbedding|image|speech|transcription|generative-ai)$")
"""What the SDK adds to the name of a provider: which of its interfaces was called."""
_GATEWAY: Final = "gateway"
_MADE_UP_ID: Final = ("aitxt-", "aiobj-")
"""The SDK makes an answer's id up where the provider sends none."""
_EXCLUSIVE: Final = re.compile(r"(^|\.)anthropic|bedrock")
_VERSION: Final = re.compile(r"\bai/(\d+)\.")
_INCLUSIVE_SINCE: Final = 6


def _recognises(keys: Collection[str], scope: str) -> bool:
    return OPERATION in keys or (scope == SCOPE and semconv.has_marks(keys, scope))


def _refine(span: Span, facts: Facts) -> None:
    operation = clean_name(span.attributes.get(OPERATION))
    if operation is None:
        _read_operation(facts, facts.operation or "")
    else:
        _drop_nothing(span, facts)
        _take_moved(span, facts)
        _read_operation(facts, operation.partition(".do")[0])
        facts.kind = _kind(operation, facts, span)
        if facts.streaming is None and facts.kind == CALL:
            facts.streaming = operation.endswith("doStream")
    if facts.response_id is not None and facts.response_id.startswith(_MADE_UP_ID):
        facts.response_id = None
    facts.exclusive = _leaves_cache_out(span, facts)
    facts.providers = tuple([_provider(value) for value in facts.providers])
    if facts.kind == CALL:
        _read_provider_json(span, facts)


def _read_operation(facts: Facts, said: str) -> None:
    operation = _OPERATIONS.get(said.removeprefix("ai."))
    if operation is not None:
        facts.operation = operation


def _kind(operation: str, facts: Facts, span: Span) -> str:
    """Outer spans around a model's answer are the nearest thing to an agent that the SDK has, once they are given a name."""
    if operation == "ai.toolCall":
        return TOOL
    if ".do" in operation or facts.operation in _WITHOUT_INNER:
        return CALL
    return AGENT if facts.operation == "chat" and "ai.telemetry.functionId" in span.attributes else OTHER


def _drop_nothing(span: Span, facts: Facts) -> None:
    """JavaScript sends a sum with something unknown as NaN, which is no count but no fault either."""
    if facts.bad:
        values = [span.attributes.get(key) for table in (COUNTS, _EMBEDDING) for keys in table.values() for key in keys]
        facts.bad = not any(value == "NaN" or (isinstance(value, float) and isnan(value)) for value in values)


def _take_moved(span: Span, facts: Facts) -> None:
    for name, key in _MOVED.items():
        count = read_count(span.attributes.get(key))
        if count and count != BAD_COUNT and facts.counts:
            facts.counts.setdefault(name, count)


def _leaves_cache_out(span: Span, facts: Facts) -> bool | None:
    if "uncached" in facts.counts or not any(_EXCLUSIVE.search(value) for value in facts.providers) or OPERATION not in span.attributes:
        return None
    version = _VERSION.search(str(span.attributes.get(_USER_AGENT)))
    return version is None or int(version[1]) < _INCLUSIVE_SINCE


def _provider(value: str) -> str:
    """`openai.responses` is OpenAI; `gateway` is the AI Gateway, which has prices of its own."""
    return "vercel_ai_gateway" if value == _GATEWAY else _API.sub("", value)


def _read_provider_json(span: Span, facts: Facts) -> None:
    """Cached tokens, lifetimes, tier and cost from what each provider's package adds: its raw usage, or a few counts of it."""
    metadata = read_json(next((span.attributes[key] for key in _PROVIDER_JSON if key in span.attributes), None))
    if not isinstance(metadata, Mapping):
        return
    for section in metadata.values():
        if isinstance(section, Mapping):
            facts.tier_served = facts.tier_served or first_name((section.get("serviceTier"), section.get("service_tier")))
            for usage in _usages(section):
                _take(facts, read_provider_usage(usage))


def _usages(section: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    for name in ("usage", "usageMetadata"):
        usage = section.get(name)
        if isinstance(usage, Mapping):
            yield usage
    yield section


def _take(facts: Facts, found: ProviderUsage) -> None:
    """The provider's counts where they are those of the span; the SDK sums several requests of one call, then only gaps are filled."""
    if "input" in found.counts and not _same(facts.counts, found):
        found.counts = {name: count for name, count in found.counts.items() if name not in ("input", "output", "total")}
    if "input" not in found.counts:
        found.counts.pop("output", None)
    take_provider_usage(facts, found)


def _same(stated: Mapping[str, int], found: ProviderUsage) -> bool:
    """The span's input and output are the provider's, each under one of its readings."""
    cached = found.counts.get("cache_read", 0) + found.counts.get("cache_write", 0)
    output, reasoning = found.counts.get("output", 0), found.counts.get("reasoning", 0)
    inputs = (found.counts["input"], found.counts["input"] + cached)
    return not stated or (stated.get("input", 0) in inputs and stated.get("output", 0) in (output, output + reasoning))


DIALECT: Final = TableDialect(
    name="vercel_ai", table=TABLE, recognises=_recognises, attribution=ATTRIBUTION, scopes=_SCOPES, refine=_refine
)
