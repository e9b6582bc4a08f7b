"""The cost tree of a trace: every span once, its own cost, the cost of everything below it, and what had to be mended.

Senders decide what the parents are, so they may be missing, be the span itself, or go in circles. Every span still stands
exactly once and the sums hold: a parent that is not there makes a root, a circle is cut at its earliest span, and the node
says so. Nothing here recurses.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final, NamedTuple

from otel_finops.base.limits import TREE_NODES_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_MS, format_ns
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.trees import notes

_NONE: Final = -1
"""The position of a parent that is not there."""


class CostNode(NamedTuple):
    """One span of the tree.

    Attributes:
        span_id, parent_span_id: lower-case hex; the parent is None for roots and where a circle was cut, and stays as sent
            where that span is not in the trace.
        name: the span's name, None when only its entry is left.
        kind: call, agent, workflow, tool or other.
        role: its role in the ledger, None when no entry speaks of it.
        own_pico: what itself is charged; None for spans that are no priced calls.
        subtree_pico, calls, tokens: sums over itself and everything below it.
        agent, step, tool: attribution, inherited ones where the ledger has an entry.
        started_ns, duration_ns: nanoseconds.
        depth: 0 for roots.
        notes: sentences about rules that fired and repairs that were made.
    """

    span_id: str
    parent_span_id: str | None
    name: str | None
    kind: str
    role: str | None
    own_pico: int | None
    subtree_pico: int
    calls: int
    tokens: int
    agent: str | None
    step: str | None
    tool: str | None
    started_ns: int
    duration_ns: int | None
    depth: int
    notes: tuple[str, ...]


class StepTotal(NamedTuple):
    """What the calls of one step of one agent cost; the steps of a trace add up to its total."""

    step: str | None
    agent: str | None
    pico: int
    calls: int
    tokens: int


class CostTree(NamedTuple):
    """A trace with its costs.

    Attributes:
        total_pico: pico-USD of all standing calls.
        unpriced_calls: standing calls without a price; they add nothing to the total.
        pending: spans of it are journalled and not settled yet, so the total may still move.
        nodes: depth first; roots and siblings by start, then id. At most `limits.TREE_NODES_MAX`.
        steps: by first appearance.
        omitted_nodes: how many nodes were left out; sums cover them.
    """

    trace_id: str
    total_pico: int
    unpriced_calls: int
    pending: bool
    nodes: tuple[CostNode, ...]
    steps: tuple[StepTotal, ...]
    omitted_nodes: int = 0


class _Span(NamedTuple):
    """What is known of a span: its sighting, its entry, or both; sorts by start, then id, then realm."""

    started_ns: int
    span_id: str
    realm: str
    parent_span_id: str | None
    sighting: Sighting | None
    entry: Entry | None


class _Forest(NamedTuple):
    """The shape, by position in the list of spans.

    Attributes:
        parents: position of the parent, -1 for roots.
        repairs: what had to be mended.
    """

    parents: list[int]
    repairs: dict[int, notes.Repair]


class _Sums(NamedTuple):
    """Amounts by position in the list of spans."""

    pico: list[int]
    calls: list[int]
    tokens: list[int]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cyclic collector from walking a large tree again and again while it grows: half the time at 10^5 spans.

    Reading and building a tree makes no cycles, and what it makes is bounded by the trace.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@collector_paused()
def build(trace_id: str, sightings: Iterable[Sighting], entries: Iterable[Entry], *, pending: bool = False) -> CostTree:
    """Build the cost tree of one trace; a pure function of its arguments, whatever their order.

    Args:
        trace_id: lower-case hex.
        sightings: the standing sighting of each span, skeletons included; spans of other realms may be among them.
        entries: the net entries of the trace (`ledger.standing.fold`), duplicates and wrappers included.
        pending: whether spans wait for being settled.
    """
    spans = _spans(sightings, entries)
    forest = _forest(spans)
    order = _depth_first(forest.parents)
    sums = _own_sums(spans)
    calls = [(span.entry, sums.tokens[at]) for at, span in enumerate(spans) if span.entry is not None and sums.calls[at]]
    _add_up(sums, forest.parents, order)
    return CostTree(
        trace_id=trace_id,
        total_pico=sum(entry.cost_pico or 0 for entry, _ in calls),
        unpriced_calls=sum(entry.cost_pico is None for entry, _ in calls),
        pending=pending,
        nodes=tuple(_node(at, spans[at], depth, forest.repairs.get(at), sums) for at, depth in order[:TREE_NODES_MAX]),
        steps=tuple(_steps(calls)),
        omitted_nodes=max(0, len(order) - TREE_NODES_MAX),
    )


def _spans(sightings: Iterable[Sighting], entries: Iterable[Entry]) -> list[_Span]:
    booked = {(e.realm, e.span_id): e for e in entries}
    seen = {(s.realm, s.span_id): s for s in sightings}
    spans = [_Span(s.start_ns, s.span_id, s.realm, s.parent_span_id, s, booked.get(key)) for key, s in seen.items()]
    spans += [_Span(e.started_ns, e.span_id, e.realm, e.parent_span_id, None, e) for key, e in booked.items() if key not in seen]
    spans.sort(key=itemgetter(0, 1, 2))
    return spans


# --- shape ---------------------------------------------------------------------------------------------------------


def _forest(spans: Sequence[_Span]) -> _Forest:
    at_key = {(span.realm, span.span_id): at for at, span in enumerate(spans)}
    at_id = {span.span_id: at for at, span in reversed(list(enumerate(spans)))}
    forest = _Forest([], {})
    for at, span in enumerate(spans):
        parent, repair = _parent_of(span, at_key, at_id)
        forest.parents.append(parent)
        if repair is not None:
            forest.repairs[at] = repair
    _cut_circles(spans, forest)
    return forest


def _parent_of(span: _Span, at_key: Mapping[tuple[str, str], int], at_id: Mapping[str, int]) -> tuple[int, notes.Repair | None]:
    """The parent within its realm, else in another one: senders with tokens of their own can share a trace."""
    wanted = span.parent_span_id
    if wanted is None:
        return _NONE, None
    if wanted == span.span_id:
        return _NONE, notes.SELF_PARENT
    parent = at_key.get((span.realm, wanted), _NONE)
    if parent == _NONE:
        parent = at_id.get(wanted, _NONE)
    return parent, notes.orphan(wanted) if parent == _NONE else None


def _cut_circles(spans: Sequence[_Span], forest: _Forest) -> None:
    """Make the earliest span of every circle a root; every span is walked over once."""
    walked_from = [_NONE] * len(spans)
    for start in range(len(spans)):
        at = start
        while at != _NONE and walked_from[at] == _NONE:
            walked_from[at] = start
            at = forest.parents[at]
        if at != _NONE and walked_from[at] == start:
            first = min(_circle(at, forest.parents))
            forest.repairs[first] = notes.circle(spans[first].parent_span_id or "")
            forest.parents[first] = _NONE


def _circle(at: int, parents: Sequence[int]) -> list[int]:
    """The positions on the circle of parents on which `at` stands."""
    members = [at]
    while parents[members[-1]] != at:
        members.append(parents[members[-1]])
    return members


def _depth_first(parents: Sequence[int]) -> list[tuple[int, int]]:
    """(position, depth) of every span, parents before children, siblings in the order of their positions."""
    children: dict[int, list[int]] = {}
    for at, parent in enumerate(parents):
        children.setdefault(parent, []).append(at)
    order: list[tuple[int, int]] = []
    stack = [(at, 0) for at in reversed(children.get(_NONE, ()))]
    while stack:
        at, depth = stack.pop()
        order.append((at, depth))
        stack.extend((child, depth + 1) for child in reversed(children.get(at, ())))
    return order


# --- sums ----------------------------------------------------------------------------------------------------------


def _own_sums(spans: Sequence[_Span]) -> _Sums:
    calls = [span.entry if span.entry is not None and span.entry.role == ROLE_CALL else None for span in spans]
    return _Sums(
        pico=[(entry.cost_pico or 0) if entry is not None else 0 for entry in calls],
        calls=[int(entry is not None) for entry in calls],
        tokens=[total_tokens(entry.usage) if entry is not None else 0 for entry in calls],
    )


def _add_up(sums: _Sums, parents: Sequence[int], order: Sequence[tuple[int, int]]) -> None:
    """Add every span to its parent, children before parents."""
    for at, _ in reversed(order):
        parent = parents[at]
        if parent != _NONE:
            for amounts in sums:
                amounts[parent] += amounts[at]


def _node(at: int, span: _Span, depth: int, repair: notes.Repair | None, sums: _Sums) -> CostNode:
    """The node; its fields are given by place, which is half the time of giving them by name."""
    _, span_id, _, parent_span_id, sighting, entry = span
    own_pico: int | None = None
    duration_ns = entry.duration_ns if entry is not None else None
    if entry is not None:
        role, agent, step, tool = entry.role, entry.agent, entry.step, entry.tool
        own_pico = entry.cost_pico if role == ROLE_CALL else None
    else:
        said = sighting.attribution if sighting is not None else {}
        role, agent, step, tool = None, said.get("agent"), said.get("step"), said.get("tool")
    if sighting is not None:
        name, kind, duration_ns = sighting.name, sighting.kind, sighting.end_ns - sighting.start_ns
    else:
        name, kind = None, CALL
    parent = None if repair is not None and repair.cuts else parent_span_id
    pico, calls, tokens = sums.pico[at], sums.calls[at], sums.tokens[at]
    said_of = notes.of(sighting, entry, repair)
    return CostNode(
        span_id, parent, name, kind, role, own_pico, pico, calls, tokens, agent, step, tool, span.started_ns, duration_ns, depth, said_of
    )  # fmt: skip


def _steps(calls: Iterable[tuple[Entry, int]]) -> Iterator[StepTotal]:
    totals: dict[tuple[str | None, str | None], list[int]] = {}
    for entry, tokens in calls:
        total = totals.setdefault((entry.step, entry.agent), [0, 0, 0])
        total[0] += entry.cost_pico or 0
        total[1] += 1
        total[2] += tokens
    for (step, agent), (pico, count, tokens) in totals.items():
        yield StepTotal(step, agent, pico, count, tokens)


# --- the contract's form -------------------------------------------------------------------------------------------


@collector_paused()
def to_json(tree: CostTree) -> dict[str, Any]:
    """The tree as the API answers it (`trace` in api.schema.json); `omitted_nodes` only when nodes were left out."""
    answer: dict[str, Any] = {
        "trace_id": tree.trace_id,
        "total_usd": format_usd(tree.total_pico),
        "unpriced_calls": tree.unpriced_calls,
        "pending": tree.pending,
        "nodes": [_node_json(node) for node in tree.nodes],
        "steps": [
            {"step": one.step, "agent": one.agent, "usd": format_usd(one.pico), "calls": one.calls, "tokens": one.tokens}
            for one in tree.steps
        ],
    }
    if tree.omitted_nodes:
        answer["omitted_nodes"] = tree.omitted_nodes
    return answer


def _node_json(node: CostNode) -> dict[str, Any]:
    return {
        "span_id": node.span_id,
        "parent_span_id": node.parent_span_id,
        "name": node.name,
        "kind": node.kind,
        "role": node.role,
        "own_usd": None if node.own_pico is None else format_usd(node.own_pico),
        "subtree_usd": format_usd(node.subtree_pico),
        "calls": node.calls,
        "tokens": node.tokens,
        "agent": node.agent,
        "step": node.step,
        "tool": node.tool,
        "started_at": format_ns(node.started_ns),
        "duration_ms": None if node.duration_ns is None else node.duration_ns / NS_PER_MS,
        "notes": list(node.notes),
    }
