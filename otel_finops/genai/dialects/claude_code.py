"""Claude Code: spans of its tracing beta (scope `com.anthropic.claude_code.tracing`) and its log events `api_request` and `api_error`.

Counts have names without a prefix, and the input leaves cached tokens out. Nothing says who serves the model, but names do:
`us.anthropic.claude-...` and ARNs are Bedrock's, `claude-...@20250929` is Vertex's. Only the log event knows the model that answered
and what the tool itself thinks the call costs.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import ALL_PROVIDERS, CountTable, Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv_legacy
from otel_finops.genai.log_events import LogEvent, ended_by
from otel_finops.genai.numbers import read_amount, read_count
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_LOG, RANK_VENDOR_SDK, TOOL
from otel_finops.genai.texts import clean_name, read_flag

NAME: Final = "claude_code"
_SCOPE: Final = "com.anthropic.claude_code"
_TRACING: Final = f"{_SCOPE}.tracing"

COUNTS: Final[CountTable] = {
    "input": ("input_tokens",),
    "output": ("output_tokens",),
    "cache_read": ("cache_read_tokens",),
    "cache_write": ("cache_creation_tokens",),
}
_OWN: Final = KeyTable(
    texts={"request_model": ("model",), "speed": ("speed",)},
    counts=(COUNTS,),
    finish=("stop_reason",),
    http_status=("status_code",),
    others=("span.type", "success", "error", "tool_name"),
)
TABLE: Final = _OWN.before(semconv_legacy.TABLE)

_KINDS: Final = {"llm_request": CALL, "interaction": AGENT, "tool": TOOL}
_SPEEDS: Final = frozenset({"fast"})
_REQUEST_ID: Final = "req_"
_BEDROCK: Final = re.compile(r"arn:aws|(?:[a-z-]+\.)?anthropic\.")
_MICRO: Final = 1_000_000


def _recognises(keys: Collection[str], scope: str) -> bool:
    return scope == _TRACING and not _SIGNS.isdisjoint(keys)


_SIGNS: Final = frozenset({"span.type", "gen_ai.request.model", *(key for listed in COUNTS.values() for key in listed)})


def _refine(span: Span, facts: Facts) -> None:
    """The span's type says what it is; a failed request says so in `success`, in words that are not kept."""
    attributes = span.attributes
    kind = clean_name(attributes.get("span.type"))
    if kind is not None:
        facts.kind = _KINDS.get(kind, OTHER)
    if facts.kind == TOOL:
        facts.attribution = {"tool": clean_name(attributes.get("tool_name"))}
    if facts.kind != CALL:
        facts.http_status = None
        return
    if "input_tokens" in attributes:
        facts.exclusive = True
    if facts.response_id is not None and facts.response_id.startswith(_REQUEST_ID):
        facts.response_id = None  # a request's id is no answer's: a gateway's span of the same call has another
    if facts.error_type is None and read_flag(attributes.get("success")) is False:
        facts.error_type = ended_by(facts.http_status, attributes.get("error"))
    _interpret(facts)


def _interpret(facts: Facts) -> None:
    facts.operation = facts.operation or "chat"
    if facts.speed not in _SPEEDS:
        facts.speed = None
    model = facts.response_model or facts.request_model
    if model is not None and _BEDROCK.match(model):
        facts.providers = ("aws.bedrock",)
    elif model is not None and "@" in model:
        facts.providers = ("gcp.vertex_ai",)
    else:
        facts.providers = (*facts.providers, "anthropic")


DIALECT: Final = TableDialect(
    name=NAME, table=TABLE, recognises=_recognises, scopes={_TRACING: ScopeTraits(rank=RANK_VENDOR_SDK)}, refine=_refine
)


_LOG_TRAITS: Final = ScopeTraits(rank=RANK_LOG, exclusive=ALL_PROVIDERS)


def _refine_request(span: Span, facts: Facts) -> None:
    """A call that was answered; its cost stands there in USD, and rounded in millionths."""
    facts.kind, facts.finished = CALL, True
    if facts.reported_pico is None:
        micros = read_count(span.attributes.get("cost_usd_micros"))
        if micros:
            facts.state_cost(read_amount(f"{micros / _MICRO:.6f}"), "cost_usd_micros")
    _interpret(facts)


def _refine_error(span: Span, facts: Facts) -> None:
    facts.kind = CALL
    facts.error_type = ended_by(facts.http_status, span.attributes.get("error"))
    _interpret(facts)


REQUEST: Final = LogEvent(
    "claude_code.api_request",
    KeyTable(
        texts={"response_model": ("model",), "speed": ("speed",)},
        counts=(COUNTS,),
        costs=("cost_usd",),
        others=("cost_usd_micros",),
    ),
    NAME,
    _refine_request,
    traits_of_all=_LOG_TRAITS,
    counts=("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    short_name=("api_request", _SCOPE),
)
ERROR: Final = LogEvent(
    "claude_code.api_error",
    KeyTable(texts={"request_model": ("model",), "speed": ("speed",)}, http_status=("status_code",), others=("error",)),
    NAME,
    _refine_error,
    traits_of_all=_LOG_TRAITS,
    short_name=("api_error", _SCOPE),
)
