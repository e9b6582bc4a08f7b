"""From a sender's counts, which overlap in many ways, to disjoint usage.

Rules 6 and 7 of what senders really do: cached tokens inside or outside of the input, thoughts inside or outside of the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from otel_finops.genai.usage import Usage

COUNT_NAMES = (
    "input", "output", "total", "uncached", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "cache_write_12h",
    "reasoning", "audio_in", "image_in", "video_in", "audio_out", "image_out", "video_out", "tool_use",
    "web_searches",
)  # fmt: skip
"""Names of a sender's counts. `input` may hold the cached tokens or not; `uncached` certainly does not; `cache_write` is of any
lifetime, `cache_write_5m` etc. are parts of it; `tool_use` is what a provider's built-in tools added to the prompt; `web_searches` is how
often they searched, which is no token; `total` is only used to tell readings apart."""

_TTLS = ("cache_write_5m", "cache_write_1h", "cache_write_12h")
_INPUT_PARTS = ("audio_in", "image_in", "video_in")
_OUTPUT_PARTS = ("reasoning", "audio_out", "image_out", "video_out")


class Reading(NamedTuple):
    """A sender's counts, understood.

    Attributes:
        usage: disjoint counts, zeros left out; empty when nothing was used or said.
        readings: the whole prompt when `input` includes the cached tokens, and when it does not; one value where that is certain.
        rule: which reading was taken: inclusive, exclusive, exclusive_by_size, exclusive_by_total or uncached.
    """

    usage: Usage
    readings: tuple[int, ...]
    rule: str


def read_usage(counts: Mapping[str, int], *, exclusive: bool, reasoning_outside: bool, thinks_beside: bool) -> Reading:
    """Make disjoint usage of a sender's counts (`COUNT_NAMES`, each at least 0).

    Args:
        counts: what the sender said.
        exclusive: its scope is known to leave cached tokens out of `input`.
        reasoning_outside: its scope is known to leave reasoning out of `output`.
        thinks_beside: a Google model, whose thoughts show only as the rest of `total` with some senders.
    """
    said = counts.get("input", 0)
    thoughts, tools = _beside(counts, said, reasoning_outside, thinks_beside)
    stated, output = said + tools, counts.get("output", 0) + thoughts
    read = counts.get("cache_read", 0)
    writes = _writes(counts)
    cached = read + sum(writes.values())
    rule = _input_rule(counts, stated, cached, output, exclusive) if cached or "uncached" in counts else "inclusive"
    uncached = counts["uncached"] + tools if rule == "uncached" else stated - cached if rule == "inclusive" else stated
    usage: Usage = {}
    if uncached:
        usage["input_uncached"] = uncached
    if read:
        usage["cache_read"] = read
    usage.update(writes)
    if output:
        usage["output"] = output
    if len(counts) > 2:
        _add_parts(usage, counts, _INPUT_PARTS, uncached)
        _add_parts(usage, counts, _OUTPUT_PARTS, output)
        if counts.get("web_searches"):
            usage["web_searches"] = counts["web_searches"]
    readings = _readings(rule, stated, cached, uncached)
    return Reading(usage, (*readings, said) if tools and said else readings, rule)


def _writes(counts: Mapping[str, int]) -> Usage:
    """Cache writes by lifetime; what is not said to live longer lives five minutes."""
    by_ttl = {ttl: counts[ttl] for ttl in _TTLS if counts.get(ttl)}
    rest = counts.get("cache_write", 0) - sum(by_ttl.values())
    if rest > 0:
        by_ttl["cache_write_5m"] = by_ttl.get("cache_write_5m", 0) + rest
    return by_ttl


def _beside(counts: Mapping[str, int], stated: int, reasoning_outside: bool, thinks_beside: bool) -> tuple[int, int]:
    """Thoughts that were counted beside the output, and tool prompts that were counted beside the input.

    Google's total is the sum of prompt, tool prompts, candidates and thoughts, so what `total` has beyond input and output is
    thoughts and tool prompts that the sender put into neither. One of the two being known tells the other.
    """
    output, reasoning, total, tools = (counts.get(name, 0) for name in ("output", "reasoning", "total", "tool_use"))
    outside = reasoning > 0 and (reasoning_outside or output < reasoning)
    rest = total - stated - output if (thinks_beside or tools) and (stated or output) else 0
    if rest <= 0:
        return reasoning if outside else 0, tools if stated and not total else 0
    if tools:
        return (rest - tools, tools) if rest >= tools else (rest, 0)
    if reasoning in (0, rest) or (outside and rest < reasoning):
        return rest, 0
    return (reasoning, rest - reasoning) if outside else (0, rest)


def _input_rule(counts: Mapping[str, int], stated: int, cached: int, output: int, exclusive: bool) -> str:
    if "uncached" in counts:
        return "uncached"
    if exclusive:
        return "exclusive"
    if cached > stated:
        return "exclusive_by_size"
    if counts.get("total") == stated + cached + output:
        return "exclusive_by_total"
    return "inclusive"


def _readings(rule: str, stated: int, cached: int, uncached: int) -> tuple[int, ...]:
    if rule == "uncached":
        return (uncached + cached,) if uncached or cached else ()
    if not cached:
        return (stated,) if stated else ()
    return (stated + cached,) if cached > stated else (stated, stated + cached)


def _add_parts(usage: Usage, counts: Mapping[str, int], parts: tuple[str, ...], whole: int) -> None:
    """Parts of the input or output; together they never exceed the whole, as some of them may have been cached."""
    left = whole
    for part in parts:
        count = min(counts.get(part, 0), left)
        if count:
            usage[part] = count
            left -= count
