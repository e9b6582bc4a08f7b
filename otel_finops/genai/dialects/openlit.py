"""OpenLIT (scopes `openlit.instrumentation.<x>`; one scope `openlit.otel.tracing` in 1.34): the conventions' keys with other meanings.

Cached tokens are left out of the input for Anthropic and Bedrock, thoughts out of the output for Google. Streams of OpenAI's chat API whose
usage it did not see carry its own tokenizer's estimate without a mark: in 1.34 all of them, later those without the cache
attributes, which it writes otherwise even when they are 0. Its cost is 0 when its price list could not be fetched. A crew's total is
CrewAI's own, which counts every call twice, so it is not read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv, semconv_legacy
from otel_finops.genai.sighting import RANK_FRAMEWORK

_OLD_SCOPE: Final = "openlit.otel.tracing"
_PACKAGE: Final = "openlit.instrumentation."
_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"

TABLE: Final = semconv_legacy.TABLE.before(
    KeyTable(
        texts={"tier_served": ("gen_ai.response.service_tier",), "tier_asked": ("gen_ai.request.service_tier",)},
        streaming=("gen_ai.request.is_stream",),
    )
)

_SCOPES: Final = {
    _OLD_SCOPE: ScopeTraits(exclusive=frozenset({"anthropic", "bedrock"})),
    f"{_PACKAGE}anthropic": ScopeTraits(exclusive=frozenset({"anthropic"})),
    f"{_PACKAGE}bedrock": ScopeTraits(exclusive=frozenset({"bedrock"})),
    f"{_PACKAGE}google_ai_studio": ScopeTraits(reasoning_outside=True),
    f"{_PACKAGE}vertexai": ScopeTraits(reasoning_outside=True),
    f"{_PACKAGE}google_adk": ScopeTraits(rank=RANK_FRAMEWORK, reasoning_outside=True),
}
_CREWAI: Final = f"{_PACKAGE}crewai"
_OPENAI: Final = f"{_PACKAGE}openai"
_RESPONSES_ID: Final = "resp_"
_NO_MODEL_CALL: Final = ("invoke_", "create_", "execute_")


def _recognises(keys: Collection[str], scope: str) -> bool:
    return scope.startswith("openlit.") and semconv.has_marks(keys, scope)


def _refine(span: Span, facts: Facts) -> None:
    if span.scope == _CREWAI and (facts.operation or "").startswith(_NO_MODEL_CALL):
        facts.counts = {}
    elif facts.streaming and facts.counts:
        facts.estimated = _is_guess(span, facts)


def _is_guess(span: Span, facts: Facts) -> bool:
    """The Responses API always sends usage, at the end of its stream."""
    if (facts.response_id or "").startswith(_RESPONSES_ID):
        return False
    if span.scope == _OLD_SCOPE:
        return any(provider.lower().startswith("openai") for provider in facts.providers)
    return span.scope == _OPENAI and _CACHE_READ not in span.attributes


DIALECT: Final = TableDialect(name="openlit", table=TABLE, recognises=_recognises, scopes=_SCOPES, refine=_refine)
