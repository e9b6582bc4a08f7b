"""What a cost tree says about a span in plain words: the rule that decided its role, why it has no price, what was mended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from otel_finops.genai.sighting import Sighting
from otel_finops.ledger.entry import ROLE_CALL, ROLE_DUPLICATE, ROLE_GATEWAY_COPY, ROLE_WRAPPER, Entry


class Repair(NamedTuple):
    """A parent that could not be followed.

    Attributes:
        note: the sentence for the reader.
        cuts: the parent is wrong and is shown as none; otherwise it is only absent.
    """

    note: str
    cuts: bool


SELF_PARENT: Final = Repair("Names itself as its parent; shown as a root.", cuts=True)

UNPRICED: Final = {
    "unknown_model": "the price book has no such model",
    "no_model": "the span names no model",
    "no_provider": "the span names no provider, and the model alone is ambiguous",
    "missing_rate": "the price book has no rate for a unit that was used",
    "no_usage": "the span carries no token counts",
    "no_usage_stream": "the streamed answer came without token counts",
    "no_usage_timeout": "the call timed out before its usage was known",
    "bad_usage": "the token counts cannot be right",
}
"""The contract's unpriced reasons in words."""

ONLY_SIGHTING: Final = "call.single"
"""The rule of a call that nothing else shows; that needs no note."""

RULES: Final = {
    "call.merged": "several spans show the call; it stands here",
    "merge.response_id": "the same answer id and numbers",
    "merge.response_id_no_usage": "the same answer id; this sighting carries no counts",
    "merge.nested_no_usage": "it encloses the call and carries no counts",
    "merge.beside_no_usage": "it lies beside the call and carries no counts",
    "merge.nested_numbers": "the same numbers as the call that it encloses",
    "merge.equal_numbers": "the same numbers as a call beside it, seen by another library",
    "merge.linked_numbers": "the same numbers as a call that a span link leads to",
    "gateway.cached_answer": "the same answer again, from a gateway's cache",
    "gateway.cache_mark": "the gateway marks the answer as one from its cache",
    "gateway.cache_lookup": "the gateway looked into its cache and asked no provider",
    "gateway.failed_attempt": "an attempt of the gateway that failed, before the one that counts",
    "wrapper.sum": "its numbers are the sum of the calls below it",
    "wrapper.no_usage": "it carries no counts and has calls below it",
    "aggregate.calls_known": "the calls that make up its total are known",
    "aggregate.outermost": "no call of this agent is known, so its own total is charged",
    "aggregate.inner": "its total is part of the one above it",
    "log.repeats_span": "a log record of the call",
    "log.spans_known": "a log record of a session whose spans carry the usage",
}
"""Names of the rules of `genai.roles` in words."""

_ROLES: Final = {
    ROLE_DUPLICATE: "Another sighting of a call that is already counted",
    ROLE_WRAPPER: "Repeats the sum of calls that are counted by themselves",
    ROLE_GATEWAY_COPY: "A gateway's copy of a call",
}


def orphan(parent_span_id: str) -> Repair:
    """The parent never came."""
    return Repair(f"Its parent span {parent_span_id} is not in the trace; shown as a root.", cuts=False)


def circle(parent_span_id: str) -> Repair:
    """The parents go in a circle, which is cut at this span."""
    return Repair(f"Parents go in a circle; cut here, its parent {parent_span_id} is below it.", cuts=True)


def of(sighting: Sighting | None, entry: Entry | None, repair: Repair | None) -> tuple[str, ...]:
    """The notes of one span, most important first."""
    if repair is None and (entry is None or _is_plain(entry)) and not (sighting is not None and sighting.partial):
        return ()
    said = [repair.note] if repair is not None else []
    if entry is not None:
        said += _of_entry(entry, sighting)
    if sighting is not None and sighting.partial:
        said.append("The stream broke off, so the output may be larger than what was counted.")
    return tuple(said)


def _is_plain(entry: Entry) -> bool:
    """A priced call that nothing else shows: most are, and need no note."""
    return entry.role == ROLE_CALL and entry.role_rule == ONLY_SIGHTING and not entry.unpriced_reason and not entry.partial


def _of_entry(entry: Entry, sighting: Sighting | None) -> Iterator[str]:
    if entry.role != ROLE_CALL:
        yield f"{_ROLES.get(entry.role, entry.role)}{_where_counted(entry)}{_by_rule(entry)}"
        return
    if entry.unpriced_reason:
        yield f"Unpriced: {UNPRICED.get(entry.unpriced_reason, entry.unpriced_reason)} ({entry.unpriced_reason})."
        if sighting is not None and sighting.dropped_attributes:
            yield f"The sender dropped {sighting.dropped_attributes} attributes; raise its OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT."
    if entry.partial:
        yield "A unit had no rate of its own; the documented fall-back was used."
    if entry.role_rule and entry.role_rule != ONLY_SIGHTING:
        yield f"Counted: {_reason(entry)}."


def _where_counted(entry: Entry) -> str:
    if entry.counted_in is None:
        return ""
    trace_id, span_id = entry.counted_in
    return f"; counted in span {span_id}" if trace_id == entry.trace_id else f"; counted in span {span_id} of trace {trace_id}"


def _by_rule(entry: Entry) -> str:
    return f": {_reason(entry)}." if entry.role_rule else "."


def _reason(entry: Entry) -> str:
    rule = entry.role_rule or ""
    return f"{RULES[rule]} ({rule})" if rule in RULES else f"rule {rule}"
