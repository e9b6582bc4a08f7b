"""LiteLLM's own spans, of its SDK and its proxy: a gateway's view of a call.

Its generations share a scope and differ in keys, and are read by one table, newest first:

* since 1.106 behind a switch: `litellm.*` and the conventions' keys; every span of a request, also those around the call, bears the
  request's identity and alias;
* with the conventions' opt-in: `gen_ai.provider.name` and cache counts beside `metadata.*`;
* the usual one: `gen_ai.system` (empty for embeddings), the cache split only in `metadata.usage_object`, a Python literal;
* older ones: prompt and completion tokens.

`raw_gen_ai_request`, the child which repeats the call as text, and the proxy's other spans name no operation and are no calls.
The answer's model is often the alias that the application asked for; `litellm.provider.model` is what was called behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv, semconv_legacy
from otel_finops.genai.provider_usage import ProviderUsage, read_provider_usage
from otel_finops.genai.providers import route_family
from otel_finops.genai.raw_usage import take_cost
from otel_finops.genai.sighting import OTHER, RANK_GATEWAY
from otel_finops.genai.texts import clean_name, first_name, read_flag, read_json

SCOPE: Final = "litellm"

_CALL_ID: Final = "litellm.call_id"
_CALLED: Final = "litellm.provider.model"
_USAGE: Final = "metadata.usage_object"
_HIDDEN: Final = "hidden_params"
_ALIASES: Final = ("litellm.model_group", "metadata.model_group", "gen_ai.request.model")
_CACHE_FLAGS: Final = ("litellm.cache_hit", "metadata.cache_hit", "cache_hit")
_CACHED_ID: Final = "_cache_hit"
"""Stands in the made-up id of a cached answer which has no id of its own: an embedding's."""
_OWNERS: Final = ("metadata.user_api_key_user_id", "litellm.metadata.user_api_key_user_id")
_NOBODY: Final = "default_user_id"
"""Owner of the proxy's master key: a placeholder, no user."""

_OWN: Final = KeyTable(
    texts={"operation": ("litellm.call_type", "llm.request.type")},
    streaming=("litellm.request.streaming", "llm.is_streaming"),
    http_status=("litellm.provider.error.code", "error.code"),
    costs=("litellm.cost.total",),
    finish=("gen_ai.completion.0.finish_reason",),
    others=(_CALL_ID, _CALLED, _USAGE, _HIDDEN, *_ALIASES, *_CACHE_FLAGS, *_OWNERS),
)
TABLE: Final = _OWN.before(semconv_legacy.TABLE)

ATTRIBUTION: Final = {
    "user": (
        "metadata.user_api_key_end_user_id", "litellm.end_user.id", "litellm.metadata.user_api_key_end_user_id",
    ),
    "cost_center": (
        "metadata.user_api_key_team_alias", "litellm.team.alias", "metadata.user_api_key_team_id", "litellm.team.id",
    ),
    "purpose": ("litellm.request.purpose",),
}  # fmt: skip

_SIGNS: Final = frozenset({
    _CALL_ID, _CALLED, _USAGE, _HIDDEN, "litellm.call_type", "litellm.api_key.hash", "litellm.request.route", "litellm.cost.total",
    "metadata.user_api_key_hash", "litellm.metadata.user_api_key_user_id", "litellm.metadata.user_api_key_end_user_id",
    "litellm.team.id", "litellm.service.name",
})  # fmt: skip

_OPERATIONS: Final = {
    "completion": "chat", "anthropic_messages": "chat", "text_completion": "text_completion", "embedding": "embeddings",
    "responses": "responses", "generate_content": "generate_content", "generate_content_stream": "generate_content", "rerank": "rerank",
    "image_generation": "image_generation", "image_edit": "image_generation", "image_variation": "image_generation",
    "speech": "speech", "transcription": "transcription",
}  # fmt: skip
"""Names of LiteLLM's functions; each has an asynchronous twin with an `a` before it."""
_FUNCTIONS: Final = {f"{prefix}{name}": operation for name, operation in _OPERATIONS.items() for prefix in ("", "a")}

_PROVIDERS: Final = {
    "text-completion-openai": "openai", "custom_openai": "openai", "openai_like": "openai", "text-completion-codestral": "mistral",
    "codestral": "mistral", "litellm_proxy": "litellm", "custom": "litellm",
}  # fmt: skip
"""LiteLLM's names of wire formats and of itself."""
_CUSTOMERS_NAMES: Final = ("azure", "aws", "bedrock", "sagemaker")
"""Providers where the customer names the model, so that an alias says more of it than what was called."""
_UNANSWERED: Final = frozenset({"Timeout", "APIConnectionError"})
"""Errors for which LiteLLM makes up an HTTP status: no provider answered, and what it did may be billed."""


def _recognises(keys: Collection[str], scope: str) -> bool:
    return semconv.has_marks(keys, scope) and (scope == SCOPE or not _SIGNS.isdisjoint(keys))


def _refine(span: Span, facts: Facts) -> None:
    _name_operation(span, facts)
    if facts.operation is None and not facts.counts:
        facts.kind = OTHER
        return
    hidden = read_json(span.attributes.get(_HIDDEN))
    _name_models(span, facts)
    _name_provider(span, facts, hidden if isinstance(hidden, Mapping) else {})
    usage = read_json(span.attributes.get(_USAGE))
    if isinstance(usage, Mapping):
        _fill_gaps(facts, read_provider_usage(usage))
    _mark_cached(span, facts, hidden if isinstance(hidden, Mapping) else {})
    if facts.response_id is not None and facts.response_id == clean_name(span.attributes.get(_CALL_ID)):
        facts.response_id = None  # made up by the gateway for answers without an id and for failures
    if facts.error_type in _UNANSWERED:
        facts.http_status = None
    owner = first_name([span.attributes.get(key) for key in _OWNERS])
    if owner != _NOBODY:
        facts.attribution = {"user": owner}


def _name_operation(span: Span, facts: Facts) -> None:
    """The function that was called says more than the operation, which some generations call `chat` whatever it is."""
    function = _FUNCTIONS.get(facts.operation or "")
    operation = clean_name(span.attributes.get("gen_ai.operation.name"))
    facts.operation = function or _FUNCTIONS.get(operation or "") or operation or facts.operation


def _name_models(span: Span, facts: Facts) -> None:
    """What was called stands for what was asked for, and an answer that only repeats an alias names no model."""
    called = clean_name(span.attributes.get(_CALLED))
    if called is not None and called.rpartition("/")[2] != facts.request_model and not called.endswith(f"/{facts.request_model}"):
        facts.request_model = called.partition("/")[2] if route_family(called) is not None else called
    if facts.response_model is None or facts.response_model == facts.request_model:
        return
    echoed = facts.response_model in [clean_name(span.attributes.get(key)) for key in _ALIASES]
    if echoed and not any(value.startswith(_CUSTOMERS_NAMES) for value in facts.providers):
        facts.response_model = None


def _name_provider(span: Span, facts: Facts, hidden: Mapping[str, object]) -> None:
    facts.providers = tuple(_PROVIDERS.get(value.lower(), value) for value in facts.providers)
    route = route_family(clean_name(span.attributes.get(_CALLED)) or "")
    if route is None:
        route = route_family(clean_name(hidden.get("litellm_model_name")) or "")
    if route is not None:
        facts.providers = (*facts.providers, route)
    facts.host = clean_name(hidden.get("api_base")) or facts.host


def _fill_gaps(facts: Facts, found: ProviderUsage) -> None:
    """The usage object has the cache split and cache lifetimes; what stands in attributes of their own is not replaced."""
    take_cost(facts, found)
    facts.tier_served = facts.tier_served or found.service_tier
    facts.speed = facts.speed or found.speed
    if found.inference_geo is not None and facts.region_kind is None:
        facts.region, facts.region_kind = found.inference_geo, "inference_geo"
    if found.bad:
        facts.bad = facts.bad or not facts.counts
        return
    said = {name: count for name, count in facts.counts.items() if count or name not in found.counts}
    facts.counts = {**found.counts, **said}


def _mark_cached(span: Span, facts: Facts, hidden: Mapping[str, object]) -> None:
    """An answer from the gateway's cache: a flag, the cache's key among the hidden parameters, or the mark in a made-up id."""
    facts.from_cache = (
        any(read_flag(span.attributes.get(key)) for key in _CACHE_FLAGS)
        or clean_name(hidden.get("cache_key")) is not None
        or read_flag(hidden.get("cache_hit")) is True
    )
    if facts.response_id is not None and _CACHED_ID in facts.response_id:
        facts.from_cache, facts.response_id = True, None


DIALECT: Final = TableDialect(
    name="litellm",
    table=TABLE,
    recognises=_recognises,
    attribution=ATTRIBUTION,
    scopes={SCOPE: ScopeTraits(rank=RANK_GATEWAY)},
    refine=_refine,
)
