"""Langfuse (`langfuse.observation.*`), Python and JavaScript SDKs from 3 on.

Spans of type generation and embedding are calls. `usage_details` is JSON: the provider's own object (OpenAI wrapper in Python) or
Langfuse's buckets, which add up: `input` is what no `input_*` bucket holds, `output` what no `output_*` bucket holds. A user may give
`cost_details`; that is a reported cost. Errors stand in `level` and a status message, the span's own status may stay unset.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.dialects import semconv_legacy
from otel_finops.genai.numbers import BAD_AMOUNT, BAD_COUNT, read_amount, read_count
from otel_finops.genai.provider_usage import ProviderUsage, read_provider_usage
from otel_finops.genai.raw_usage import take_provider_usage
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL
from otel_finops.genai.texts import clean_name, read_flag, read_json

_OBSERVATION: Final = "langfuse.observation."
_METADATA: Final = f"{_OBSERVATION}metadata."
_TYPE: Final = f"{_OBSERVATION}type"
_MODEL: Final = f"{_OBSERVATION}model.name"
_PARAMETERS: Final = f"{_OBSERVATION}model.parameters"
_USAGE: Final = f"{_OBSERVATION}usage_details"
_COST: Final = f"{_OBSERVATION}cost_details"
_LEVEL: Final = f"{_OBSERVATION}level"
_MESSAGE: Final = f"{_OBSERVATION}status_message"

TABLE: Final = KeyTable(
    texts={"request_model": (f"{_METADATA}ls_model_name",), "response_model": (_MODEL,)},
    providers=(f"{_METADATA}ls_provider",),
    stream_marks=(f"{_OBSERVATION}completion_start_time",),
    others=(_TYPE, _PARAMETERS, _USAGE, _COST, _LEVEL, _MESSAGE),
).before(semconv_legacy.TABLE)


def _named(*names: str, places: tuple[str, ...] = ("observation", "trace")) -> tuple[str, ...]:
    """Metadata of the observation, then of its trace, which says who asked but not which of its agents is at work."""
    return tuple(f"langfuse.{place}.metadata.{name}" for place in places for name in names)


ATTRIBUTION: Final = {
    "agent": _named("lc_agent_name", "agent_name", places=("observation",)),
    "step": _named("langgraph_node", places=("observation",)),
    "workflow": ("langfuse.trace.name",),
    "user": ("langfuse.user.id", *_named("langfuse_user_id", "user_id", "userId")),
    "session": ("langfuse.session.id", *_named("langfuse_session_id", "session_id", "sessionId", "thread_id")),
    "tenant": _named("tenant", "tenant_id"),
    "cost_center": _named("cost_center", "team"),
    "purpose": _named("purpose"),
}

_KINDS: Final = {"generation": CALL, "embedding": CALL, "agent": AGENT, "tool": TOOL}
_OPERATIONS: Final = {"generation": "chat", "embedding": "embeddings"}
_NO_AGENTS: Final = frozenset({"langgraph", "agent", "agentexecutor", "runnablesequence", "runnableagent"})
"""Classes of frameworks, lower-case, that agents' spans are named after when nobody named the agent."""
_STATUS: Final = re.compile(r"(?:\w{0,64}Error: )?(?:Error code: )?([45]\d\d)\b")
_ENDINGS: Final = (
    ("timeout", re.compile(r"time.?d?.?out", re.IGNORECASE)),
    ("connection", re.compile(r"abort|connection|cancel", re.IGNORECASE)),
)
_MESSAGE_CHARS: Final = 200

_SIGNS: Final = frozenset({_TYPE, _MODEL, _USAGE})


def _recognises(keys: Collection[str], scope: str) -> bool:
    return not _SIGNS.isdisjoint(keys)


def _refine(span: Span, facts: Facts) -> None:
    attributes = span.attributes
    kind = (clean_name(attributes.get(_TYPE)) or "").lower()
    if kind:
        facts.kind = _KINDS.get(kind, OTHER)
        facts.operation = facts.operation or _OPERATIONS.get(kind)
    name = clean_name(span.name)
    if facts.kind == TOOL:
        facts.attribution = {"tool": name}
    elif facts.kind == AGENT and name is not None and name.lower() not in _NO_AGENTS:
        facts.attribution = {"agent": name}
    _read_usage(attributes.get(_USAGE), facts)
    _read_parameters(attributes.get(_PARAMETERS), facts)
    _read_cost(attributes.get(_COST), facts)
    if not facts.counts and facts.request_model is None:
        facts.request_model, facts.response_model = facts.response_model, None
    if span.exception_type is None and clean_name(attributes.get(_LEVEL)) == "ERROR":
        _read_failure(attributes.get(_MESSAGE), facts)


def _read_usage(value: object, facts: Facts) -> None:
    details = read_json(value)
    if isinstance(details, Mapping):
        own = "input" in details or "output" in details
        take_provider_usage(facts, _Buckets(details).usage() if own else read_provider_usage(details))


def _read_parameters(value: object, facts: Facts) -> None:
    """Among the call's parameters are the tier, the one served once it is known, and the wish for a stream."""
    if isinstance(value, str) and ("service_tier" in value or "stream" in value):
        parameters = read_json(value)
        if isinstance(parameters, Mapping):
            facts.tier_asked = facts.tier_asked or clean_name(parameters.get("service_tier"))
            if facts.streaming is None and read_flag(parameters.get("stream")):
                facts.streaming = True


def _read_cost(value: object, facts: Facts) -> None:
    """The total in USD, else the sum of the parts."""
    costs = read_json(value)
    if not isinstance(costs, Mapping):
        return
    total = read_amount(costs.get("total"))
    if total is None:
        parts = [read_amount(cost) or 0 for key, cost in costs.items() if key != "total"]
        total = BAD_AMOUNT if BAD_AMOUNT in parts else sum(parts) or None
    facts.state_cost(total, _COST)


def _read_failure(value: object, facts: Facts) -> None:
    """The error's text may hold anything, so only its HTTP status or its sort is kept."""
    message = value[:_MESSAGE_CHARS] if isinstance(value, str) else ""
    status = _STATUS.match(message)
    if status is not None:
        facts.http_status = int(status[1])
    else:
        facts.error_type = next((sort for sort, words in _ENDINGS if words.search(message)), "error")


_CACHE_READ: Final = frozenset({
    "input_cache_read", "input_cached_tokens", "input_cached", "input_cache_read_tokens", "input_cache_read_input_tokens",
    "cache_read_input_tokens", "cached_content_token_count",
})  # fmt: skip
_CACHE_WRITE: Final = frozenset({
    "input_cache_creation", "input_cache_creation_tokens", "input_cache_creation_input_tokens", "input_cache_write",
    "input_cache_write_tokens", "cache_creation_input_tokens", "cache_write_input_tokens",
})  # fmt: skip
_LIFETIMES: Final = {"ephemeral_5m_input_tokens": "cache_write_5m", "ephemeral_1h_input_tokens": "cache_write_1h"}
_THOUGHTS: Final = frozenset({"thoughts_token_count", "thoughtsTokenCount"})
_REASONING: Final = frozenset({"output_reasoning", "output_reasoning_tokens"})
_CACHED_MODALITY: Final = "cached_modality_"
_TIERED: Final = re.compile(r"(input|output)_(priority|flex)(?:_(\w+))?")
"""LangChain's counts of calls with a tier: `input_priority` beside `input_priority_cache_read`."""


@dataclass(slots=True)
class _Buckets:
    """Langfuse's own buckets; every sum is over buckets of which each token is in one, but for repetitions that are known.

    Attributes:
        rest, other: by side (`input`, `output`): the bucket without and those with a detail.
        tiered: by side, tokens that only name the tier.
        counts: what has a name of its own.
    """

    details: Mapping[str, object]
    rest: dict[str, int] = field(default_factory=lambda: {"input": 0, "output": 0})
    other: dict[str, int] = field(default_factory=lambda: {"input": 0, "output": 0})
    tiered: dict[str, int] = field(default_factory=lambda: {"input": 0, "output": 0})
    counts: dict[str, int] = field(default_factory=dict)
    found: ProviderUsage = field(default_factory=ProviderUsage)

    def usage(self) -> ProviderUsage:
        """The counts with `uncached` for the prompt's uncached part."""
        cached_by_modality = 0
        for key, value in self._flat():
            count = read_count(value)
            if count == BAD_COUNT:
                self.found.bad = True
            elif count and key.startswith(_CACHED_MODALITY):
                cached_by_modality += count
            elif count:
                self._sort(key, count)
        if cached_by_modality:
            self.counts["cache_read"] = max(cached_by_modality, self.counts.get("cache_read", 0))
        self.found.counts = self._settled()
        return self.found

    def _flat(self) -> list[tuple[str, object]]:
        """Nested details of older SDKs (`cache_creation`) in one row with the others; texts say the tier at most."""
        flat: list[tuple[str, object]] = []
        for key, value in self.details.items():
            if isinstance(value, Mapping):
                flat.extend((f"{key}_{inner}", count) for inner, count in value.items())
            elif key == "service_tier":
                self.found.service_tier = clean_name(value)
            elif not isinstance(value, list | bool):
                flat.append((key, value))
        return flat

    def _sort(self, key: str, count: int) -> None:
        tiered = _TIERED.fullmatch(key)
        if tiered is not None:
            side, self.found.service_tier, detail = tiered[1], tiered[2], tiered[3]
            if detail is None:
                self.tiered[side] += count
                return
            key = f"{side}_{detail}"
        name = _name_of(key)
        side = key.partition("_")[0]
        if name is not None:
            self.counts[name] = self.counts.get(name, 0) + count
        if key in self.rest:
            self.rest[key] += count
        elif side in self.other and name not in _CACHED:
            self.other[side] += count

    def _settled(self) -> dict[str, int]:
        """Put the sums together, checked against the total where it was sent."""
        counts = self.counts
        read, written = counts.get("cache_read", 0), counts.get("cache_write", 0)
        cached = read + max(written, _lived(counts))
        uncached, output = self._sum("input"), self._sum("output")
        if counts.get("thoughts"):
            output += counts["thoughts"]
            counts["reasoning"] = counts.pop("thoughts")
        total = counts.pop("total", 0)
        if total:
            left = total - uncached - cached - output
            if cached and left == -cached:
                uncached -= cached  # a user's own sums: the cached tokens are inside
            elif left > 0 and (not self.rest["input"] or left == _lived(counts)):
                uncached += left  # the rest was reduced by a bucket that repeats another
        if not (uncached or cached) and ("input" in self.details or not output):
            return {}  # a prompt of nothing: the counts of a stream's last part, passed off as the whole
        return {**counts, "uncached": uncached, "output": output}

    def _sum(self, side: str) -> int:
        """Everything of one side that is not cached. A tier's tokens may be counted beside the rest or inside of it."""
        rest, tiered = self.rest[side], self.tiered[side]
        return self.other[side] + tiered + (0 if 0 < tiered <= rest else rest)


def _lived(counts: Mapping[str, int]) -> int:
    """Cache writes whose lifetime is said."""
    return counts.get("cache_write_5m", 0) + counts.get("cache_write_1h", 0)


_CACHED: Final = frozenset({"cache_read", "cache_write", "cache_write_5m", "cache_write_1h"})


def _name_of(key: str) -> str | None:
    """The count that a bucket is of; None for text and for what only sums up."""
    if key in _CACHE_READ:
        return "cache_read"
    if key in _CACHE_WRITE:
        return "cache_write"
    for end, name in _LIFETIMES.items():
        if key.endswith(end):
            return name
    if key in _REASONING:
        return "reasoning"
    if key in _THOUGHTS:
        return "thoughts"
    if key == "total":
        return key
    side, _, detail = key.lower().partition("_")
    for medium in ("audio", "image", "video"):
        if side in ("input", "output") and medium in detail:
            return f"{medium}_{side.removesuffix('put')}"
    return None


DIALECT: Final = TableDialect(
    name="langfuse",
    table=TABLE,
    recognises=_recognises,
    attribution=ATTRIBUTION,
    scopes={"langfuse-sdk": ScopeTraits(rank=RANK_FRAMEWORK)},
    refine=_refine,
)
