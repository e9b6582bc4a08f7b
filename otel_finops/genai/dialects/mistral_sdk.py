"""The spans of Mistral's own Python SDK (scope `mistralai_sdk_tracer`): one for each HTTP request.

Version 1 mixes `prompt_tokens` with `output_tokens` and names provider and operation only when an answer was read whole, so streams and
failures have a model alone. From version 2 on they speak the conventions. A request to a hosted agent is an `invoke_agent` there, yet it is
billed like any other and has no model span below, so it is a call.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import Facts, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv, semconv_legacy
from otel_finops.genai.sighting import CALL, RANK_VENDOR_SDK

SCOPE: Final = "mistralai_sdk_tracer"
_STREAM: Final = "stream_"
_REQUESTS: Final = (("embeddings", "embeddings"), ("chat", "chat"), ("agents", "chat"), ("fim", "text_completion"))
"""Beginnings of version 1's span names behind `stream_`, which are those of the operations in the API's description."""


def _recognises(keys: Collection[str], scope: str) -> bool:
    return scope == SCOPE and semconv.has_marks(keys, scope)


def _refine(span: Span, facts: Facts) -> None:
    facts.providers = facts.providers or ("mistral_ai",)
    if span.name.startswith(_STREAM):
        facts.streaming = True
    if facts.operation == "invoke_agent":
        facts.kind = CALL
    elif facts.operation is None:
        request = span.name.removeprefix(_STREAM)
        facts.operation = next((operation for beginning, operation in _REQUESTS if request.startswith(beginning)), None)


DIALECT: Final = TableDialect(
    name="mistral_sdk",
    table=semconv_legacy.TABLE,
    recognises=_recognises,
    scopes={SCOPE: ScopeTraits(rank=RANK_VENDOR_SDK)},
    refine=_refine,
)
