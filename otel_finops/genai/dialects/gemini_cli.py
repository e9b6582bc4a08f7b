"""Gemini CLI: spans of scope `gemini-cli`, and its log events `api_response` and `api_error`.

A call's span has the whole prompt and the output without thoughts; cached tokens and thoughts stand in the log event alone. The span
names no provider. The log event's `auth_type` tells Vertex from the Gemini API.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import CountTable, Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv, semconv_legacy
from otel_finops.genai.log_events import LogEvent, ended_by
from otel_finops.genai.numbers import read_count
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_LOG, RANK_VENDOR_SDK, TOOL
from otel_finops.genai.texts import clean_name

NAME: Final = "gemini_cli"
_SCOPE: Final = "gemini-cli"

_KINDS: Final = {
    "llm_call": CALL, "tool_call": TOOL, "agent_call": AGENT, "user_prompt": OTHER, "system_prompt": OTHER, "schedule_tool_calls": OTHER,
}  # fmt: skip


def _recognises(keys: Collection[str], scope: str) -> bool:
    return scope == _SCOPE and semconv.has_marks(keys, scope)


def _refine(span: Span, facts: Facts) -> None:
    """The operation's names are the tool's own."""
    kind = _KINDS.get(facts.operation or "")
    if kind is not None:
        facts.kind = kind
    if facts.kind == CALL:
        facts.operation = "generate_content"
        facts.providers = (*facts.providers, "gemini")


DIALECT: Final = TableDialect(
    name=NAME,
    table=semconv_legacy.TABLE,
    recognises=_recognises,
    scopes={_SCOPE: ScopeTraits(rank=RANK_VENDOR_SDK)},
    refine=_refine,
)


_COUNTS: Final[CountTable] = {
    "input": ("input_token_count",),
    "output": ("output_token_count",),
    "cache_read": ("cached_content_token_count",),
    "reasoning": ("thoughts_token_count",),
}
_LOG_TRAITS: Final = ScopeTraits(rank=RANK_LOG, reasoning_outside=True)
_VERTEX: Final = "vertex-ai"
_TOOL_PROMPT: Final = "tool_token_count"
_TOTAL: Final = "total_token_count"


def _refine_response(span: Span, facts: Facts) -> None:
    """What built-in tools added to the prompt is billed as prompt, and counted beside it: the total shows it."""
    facts.kind, facts.operation, facts.finished = CALL, "generate_content", True
    counts, attributes = facts.counts, span.attributes
    tools, total = read_count(attributes.get(_TOOL_PROMPT)) or 0, read_count(attributes.get(_TOTAL)) or 0
    whole = counts.get("input", 0) + counts.get("output", 0) + counts.get("reasoning", 0)
    if tools > 0 and total == whole + tools:
        counts["input"] = counts.get("input", 0) + tools
    if facts.http_status is not None and facts.http_status < 400:
        facts.http_status = None
    _serve(span, facts)


def _refine_error(span: Span, facts: Facts) -> None:
    facts.kind, facts.operation = CALL, "generate_content"
    message = span.attributes.get("error.message") or span.attributes.get("error")
    facts.error_type = facts.error_type or ended_by(facts.http_status, message)
    _serve(span, facts)


def _serve(span: Span, facts: Facts) -> None:
    facts.providers = ("vertex_ai",) if clean_name(span.attributes.get("auth_type")) == _VERTEX else ("gemini",)


_TEXTS: Final = {"request_model": ("model", "model_name"), "error_type": ("error.type", "error_type")}
_STATUS: Final = ("http.status_code", "status_code")

RESPONSE: Final = LogEvent(
    "gemini_cli.api_response",
    KeyTable(
        texts={"response_model": ("model", "model_name")},
        counts=(_COUNTS,),
        http_status=_STATUS,
        others=("auth_type", _TOOL_PROMPT, _TOTAL),
    ),
    NAME,
    _refine_response,
    traits_of_all=_LOG_TRAITS,
    counts=("input_token_count", "output_token_count", "cached_content_token_count", "thoughts_token_count"),
)
ERROR: Final = LogEvent(
    "gemini_cli.api_error",
    KeyTable(texts=_TEXTS, http_status=_STATUS, others=("auth_type", "error", "error.message")),
    NAME,
    _refine_error,
    traits_of_all=_LOG_TRAITS,
)
