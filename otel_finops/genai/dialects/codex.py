"""Codex: usage on the span that took the last event of an answer, the model on an ancestor, the turn's sum on the turn's span.

The same call ends in the log event `codex.sse_event` of kind `response.completed` with counts, which most often has no trace id; the
conversation's id is on it, and on the turn's span as `thread.id`. Codex speaks the Responses API whoever serves it, so the provider
is as weakly known as with any client of that API.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import CountTable, Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv
from otel_finops.genai.log_events import LogEvent
from otel_finops.genai.sighting import CALL, OTHER, RANK_LOG, RANK_VENDOR_SDK, WORKFLOW
from otel_finops.genai.texts import clean_name

NAME: Final = "codex"
_TURN: Final = "codex.turn.token_usage."

_CALL_COUNTS: Final[CountTable] = {
    **semconv.COUNTS,
    "reasoning": ("codex.usage.reasoning_output_tokens", *semconv.COUNTS["reasoning"]),
    "total": ("codex.usage.total_tokens", *semconv.COUNTS["total"]),
}
_TURN_COUNTS: Final[CountTable] = {
    "input": (f"{_TURN}input_tokens",),
    "output": (f"{_TURN}output_tokens",),
    "total": (f"{_TURN}total_tokens",),
    "uncached": (f"{_TURN}non_cached_input_tokens",),
    "cache_read": (f"{_TURN}cached_input_tokens",),
    "cache_write": (f"{_TURN}cache_write_input_tokens",),
    "reasoning": (f"{_TURN}reasoning_output_tokens",),
}
TABLE: Final = KeyTable(
    texts={"request_model": ("gen_ai.request.model", "model"), "response_model": ("gen_ai.response.model",), "error_type": ("error.type",)},
    providers=("gen_ai.provider.name",),
    counts=(_CALL_COUNTS, _TURN_COUNTS),
    others=("turn.id", "turn_id", "thread.id"),
)
ATTRIBUTION: Final = {"session": ("conversation.id",)}

_OWN_COUNTS: Final = frozenset({f"{_TURN}input_tokens", f"{_TURN}output_tokens", "codex.usage.total_tokens"})
_USAGE: Final = frozenset({"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"})
_TURN_IDS: Final = frozenset({"turn.id", "turn_id"})


def _recognises(keys: Collection[str], scope: str) -> bool:
    """Spans with counts, and those of a turn that name the model; the hundreds of others are no GenAI spans."""
    if not _OWN_COUNTS.isdisjoint(keys):
        return True
    if not scope.lower().startswith(NAME):
        return False
    return not _USAGE.isdisjoint(keys) or ("model" in keys and not _TURN_IDS.isdisjoint(keys))


def _refine(span: Span, facts: Facts) -> None:
    """A span with a turn's id is a part of the turn around calls; its thread's id is text only where Codex set it."""
    attributes = span.attributes
    if not _TURN_IDS.isdisjoint(attributes) or f"{_TURN}input_tokens" in attributes:
        facts.kind = WORKFLOW if facts.counts else OTHER
        thread = attributes.get("thread.id")
        if isinstance(thread, str) and not thread.isdigit():
            facts.attribution = {"session": clean_name(thread)}
    else:
        facts.kind, facts.operation = CALL, "chat"
        facts.finished = True
        _serve(facts)


def _serve(facts: Facts) -> None:
    facts.providers = (*facts.providers, "openai")


DIALECT: Final = TableDialect(
    name=NAME,
    table=TABLE,
    recognises=_recognises,
    attribution=ATTRIBUTION,
    scopes={scope: ScopeTraits(rank=RANK_VENDOR_SDK) for scope in ("codex_exec", "codex_cli_rs", "codex-app-server", "codex_vscode")},
    refine=_refine,
)


def _refine_completed(span: Span, facts: Facts) -> None:
    """Of the events of an answer only the last one, with counts, shows a call."""
    done = clean_name(span.attributes.get("event.kind")) == "response.completed"
    facts.kind = CALL if done and (facts.counts or facts.bad) else OTHER
    facts.operation, facts.streaming, facts.finished = "chat", True, True
    _serve(facts)


COMPLETED: Final = LogEvent(
    "codex.sse_event",
    KeyTable(
        texts={"request_model": ("model", "slug")},
        counts=(
            {
                "input": ("input_token_count",),
                "output": ("output_token_count",),
                "cache_read": ("cached_token_count",),
                "cache_write": ("cache_write_token_count",),
                "reasoning": ("reasoning_token_count",),
            },
        ),
        others=("event.kind",),
    ),
    NAME,
    _refine_completed,
    traits_of_all=ScopeTraits(rank=RANK_LOG),
    counts=("input_token_count", "output_token_count", "cached_token_count", "cache_write_token_count", "reasoning_token_count"),
    attribution=ATTRIBUTION,
)
