"""The cost tree of a trace: every span once, its own cost, the cost of everything below it, and what had to be mended.

Senders decide what the parents are, so they may be missing, be the span itself, or go in circles. Every span still stands
exactly once and the sums hold: a parent that is not there makes a root, a circle is cut at its earliest span, and the node
says so. Nothing here recurses.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeAlias, TypeGuard

from otel_finops.base.errors import NotFound
from otel_finops.base.limits import TREE_NODES_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_MS, format_ns
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.trees import notes
from otel_finops.trees.chosen import EVERYTHING, Choice, Gathered, Told, choose, outline_of
from otel_finops.trees.facts import Facts, NameTotal, facts_of

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
        model: that the span names, the response's before the request's.
        error_type: of a span that failed.
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
    model: str | None = None
    error_type: str | None = None


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
        facts: over all spans.
        gathered: by the position of a node among `nodes`, what of that below it was left out; by None, what beside the first ones.
    """

    trace_id: str
    total_pico: int
    unpriced_calls: int
    pending: bool
    nodes: tuple[CostNode, ...]
    steps: tuple[StepTotal, ...]
    omitted_nodes: int = 0
    facts: Facts = facts_of((), ())
    gathered: Mapping[int | None, Gathered] = {}

    def without_nodes(self) -> CostTree:
        """The sums alone."""
        return self._replace(nodes=(), omitted_nodes=self.omitted_nodes + len(self.nodes), gathered={})


TreeSpan: TypeAlias = tuple[int, str, str, str | None, Sighting | None, Entry | None]
"""What is known of a span: start, span id, realm, parent's id, its sighting, its entry. Plain, because there are so many."""
_PARENT: Final = 3


class Forest(NamedTuple):
    """The shape, by position in the list of spans.

    Attributes:
        parents: position of the parent, -1 for roots.
        repairs: what had to be mended.
    """

    parents: list[int]
    repairs: dict[int, notes.Repair]


class Sums(NamedTuple):
    """Amounts by position in the list of spans."""

    pico: list[int]
    calls: list[int]
    tokens: list[int]


class Grown(NamedTuple):
    """A tree with its sums, before it is told.

    Attributes:
        spans: by start, then id.
        order: (position, depth) of every span, parents before children.
        sums: over each span and everything below it.
        own_tokens: of each span's own call.
        calls: the standing calls with their tokens, in the order of their spans.
    """

    spans: list[TreeSpan]
    forest: Forest
    order: list[tuple[int, int]]
    sums: Sums
    own_tokens: list[int]
    calls: list[tuple[Entry, int]]


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
def build(
    trace_id: str, sightings: Iterable[Sighting], entries: Iterable[Entry], *, pending: bool = False, choice: Choice = EVERYTHING
) -> CostTree:
    """Build the cost tree of one trace; a pure function of its arguments, whatever their order.

    Args:
        trace_id: lower-case hex.
        sightings: the standing sighting of each span, skeletons included; spans of other realms may be among them.
        entries: the net entries of the trace (`ledger.standing.fold`), duplicates and wrappers included.
        pending: whether spans wait for being settled.
        choice: which nodes are told.

    Raises:
        NotFound: a span that the choice names is none of the trace's.
    """
    grown = grow(sightings, entries)
    spans, forest, order, sums, own_tokens, calls = grown
    places, omitted, gathered = _told(grown, choice)
    positions = {place: position for position, place in enumerate(places)} if gathered else {}
    return CostTree(
        trace_id=trace_id,
        total_pico=sum(entry.cost_pico or 0 for entry, _ in calls),
        unpriced_calls=sum(entry.cost_pico is None for entry, _ in calls),
        pending=pending,
        nodes=tuple(_node(at, spans[at], depth, forest.repairs.get(at), sums) for at, depth in map(order.__getitem__, places)),
        steps=tuple(_steps(calls)),
        omitted_nodes=omitted,
        facts=facts_of(spans, own_tokens),
        gathered={None if place is None else positions[place]: one for place, one in gathered.items()},
    )


def _told(grown: Grown, choice: Choice) -> Told:
    """The places in the order that are told."""
    order, sums = grown.order, grown.sums
    if choice == EVERYTHING:
        return Told(range(min(len(order), TREE_NODES_MAX)), max(0, len(order) - TREE_NODES_MAX), {})
    picos = [sums.pico[at] for at, _ in order]
    weights = [_lasted(grown.spans[at]) for at, _ in order] if choice.sort == "duration" else picos
    places = [None if name is None else _place(grown, name) for name in (choice.below, choice.span)]
    return choose(outline_of([depth for _, depth in order]), choice, TREE_NODES_MAX, weights, picos, *places)


def _place(grown: Grown, span_id: str) -> int:
    place = next((place for place, (at, _) in enumerate(grown.order) if grown.spans[at][1] == span_id), None)
    if place is None:
        raise NotFound(f"The trace has no span {span_id}.")
    return place


def _lasted(span: TreeSpan) -> int:
    _, _, _, _, sighting, entry = span
    return sighting.end_ns - sighting.start_ns if sighting is not None else (entry is not None and entry.duration_ns) or 0


def grow(sightings: Iterable[Sighting], entries: Iterable[Entry]) -> Grown:
    """The tree of one trace with its sums; arguments as of `build`."""
    spans = _spans(sightings, entries)
    forest = _forest(spans)
    order = _depth_first(forest.parents)
    sums = _own_sums(spans)
    own_tokens = sums.tokens.copy()
    calls = [(entry, tokens) for (*_, entry), tokens in zip(spans, sums.tokens, strict=True) if _is_call(entry)]
    _add_up(sums, forest.parents, order)
    return Grown(spans, forest, order, sums, own_tokens, calls)


def mended_parents(sightings: Iterable[Sighting], entries: Iterable[Entry]) -> dict[str, str | None]:
    """The parent of every span of a trace in one realm, by span id, as the tree has it: None for roots and where a circle was cut."""
    spans = _spans(sightings, entries)
    parents = _forest(spans).parents
    return {span[1]: None if parent == _NONE else spans[parent][1] for span, parent in zip(spans, parents, strict=True)}


def _spans(sightings: Iterable[Sighting], entries: Iterable[Entry]) -> list[TreeSpan]:
    booked: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        booked.setdefault(entry.realm, {})[entry.span_id] = entry
    seen: dict[str, dict[str, Sighting]] = {}
    for sighting in sightings:
        seen.setdefault(sighting.realm, {})[sighting.span_id] = sighting
    spans: list[TreeSpan] = []
    for realm, sighted in seen.items():
        entry_of = booked.setdefault(realm, {}).pop
        spans += [(one.start_ns, span_id, realm, one.parent_span_id, one, entry_of(span_id, None)) for span_id, one in sighted.items()]
    for realm, alone in booked.items():
        spans += [(one.started_ns, span_id, realm, one.parent_span_id, None, one) for span_id, one in alone.items()]
    spans.sort()  # the first three are never all equal, so nothing behind them is compared
    return spans


# --- shape ---------------------------------------------------------------------------------------------------------


def _forest(spans: Sequence[TreeSpan]) -> Forest:
    by_realm: dict[str, dict[str, int]] = {}
    for at, (_, span_id, realm, *_) in enumerate(spans):
        by_realm.setdefault(realm, {})[span_id] = at
    anywhere = _earliest(by_realm.values())
    forest = Forest([], {})
    for at, (_, span_id, realm, wanted, _, _) in enumerate(spans):
        parent, repair = _NONE, None
        if wanted == span_id:
            repair = notes.SELF_PARENT
        elif wanted is not None:
            parent = by_realm[realm].get(wanted, _NONE)
            if parent == _NONE:
                parent = anywhere.get(wanted, _NONE)
                repair = notes.orphan(wanted) if parent == _NONE else None
        forest.parents.append(parent)
        if repair is not None:
            forest.repairs[at] = repair
    _cut_circles(spans, forest)
    return forest


def _earliest(by_realm: Collection[Mapping[str, int]]) -> Mapping[str, int]:
    """Positions by span id over all realms, where a parent is sought that its own realm does not have: senders with tokens
    of their own can share a trace."""
    if len(by_realm) == 1:
        return next(iter(by_realm))
    found: dict[str, int] = {}
    for positions in by_realm:
        for span_id, at in positions.items():
            found[span_id] = min(at, found.get(span_id, at))
    return found


def _cut_circles(spans: Sequence[TreeSpan], forest: Forest) -> None:
    """Make the earliest span of every circle a root; every span is walked over once."""
    walked_from = [_NONE] * len(spans)
    for start in range(len(spans)):
        at = start
        while at != _NONE and walked_from[at] == _NONE:
            walked_from[at] = start
            at = forest.parents[at]
        if at != _NONE and walked_from[at] == start:
            first = min(_circle(at, forest.parents))
            forest.repairs[first] = notes.circle(spans[first][_PARENT] or "")
            forest.parents[first] = _NONE


def _circle(at: int, parents: Sequence[int]) -> list[int]:
    """The positions on the circle of parents on which `at` stands."""
    members = [at]
    while parents[members[-1]] != at:
        members.append(parents[members[-1]])
    return members


def _depth_first(parents: Sequence[int]) -> list[tuple[int, int]]:
    """(position, depth) of every span, parents before children, siblings in the order of their positions."""
    first_child, next_sibling = _families(parents)
    order: list[tuple[int, int]] = []
    at, depth = first_child[_NONE], 0
    while at != _NONE:
        order.append((at, depth))
        below = first_child[at]
        if below != _NONE:
            at, depth = below, depth + 1
            continue
        while at != _NONE and next_sibling[at] == _NONE:
            at, depth = parents[at], depth - 1
        at = next_sibling[at]
    return order


def _families(parents: Sequence[int]) -> tuple[list[int], list[int]]:
    """The first child and the next sibling of every span, -1 for none; the last place stands for the parent of all roots."""
    first_child, next_sibling = [_NONE] * (len(parents) + 1), [_NONE] * (len(parents) + 1)
    for at in range(len(parents) - 1, -1, -1):
        parent = parents[at]
        next_sibling[at] = first_child[parent]
        first_child[parent] = at
    return first_child, next_sibling


# --- sums ----------------------------------------------------------------------------------------------------------


def _own_sums(spans: Sequence[TreeSpan]) -> Sums:
    sums = Sums([0] * len(spans), [0] * len(spans), [0] * len(spans))
    for at, (*_, entry) in enumerate(spans):
        if _is_call(entry):
            sums.pico[at] = entry.cost_pico or 0
            sums.calls[at] = 1
            sums.tokens[at] = total_tokens(entry.usage)
    return sums


def _is_call(entry: Entry | None) -> TypeGuard[Entry]:
    return entry is not None and entry.role == ROLE_CALL


def _add_up(sums: Sums, parents: Sequence[int], order: Sequence[tuple[int, int]]) -> None:
    """Add every span to its parent, children before parents."""
    pico, calls, tokens = sums
    for at, _ in reversed(order):
        parent = parents[at]
        if parent != _NONE and calls[at]:
            pico[parent] += pico[at]
            calls[parent] += calls[at]
            tokens[parent] += tokens[at]


def _node(at: int, span: TreeSpan, depth: int, repair: notes.Repair | None, sums: Sums) -> CostNode:
    """The node; its fields are given by place, which is half the time of giving them by name."""
    started_ns, span_id, _, parent_span_id, sighting, entry = span
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
        model, error_type = sighting.response_model or sighting.request_model, sighting.error_type
    else:
        name, kind = None, CALL
        model = error_type = None
    parent = None if repair is not None and repair.cuts else parent_span_id
    pico, calls, tokens = sums.pico[at], sums.calls[at], sums.tokens[at]
    said_of = notes.of(sighting, entry, repair)
    return CostNode(
        span_id, parent, name, kind, role, own_pico, pico, calls, tokens, agent, step, tool, started_ns, duration_ns, depth, said_of,
        model, error_type,
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
        **_facts_json(tree.facts),
        "nodes": [_node_json(node) for node in tree.nodes],
        "steps": [
            {"step": one.step, "agent": one.agent, "usd": format_usd(one.pico), "calls": one.calls, "tokens": one.tokens}
            for one in tree.steps
        ],
    }
    if tree.omitted_nodes:
        answer["omitted_nodes"] = tree.omitted_nodes
    for position, one in tree.gathered.items():
        (answer if position is None else answer["nodes"][position])["gathered"] = {"nodes": one.nodes, "usd": format_usd(one.pico)}
    return answer


def _facts_json(facts: Facts) -> dict[str, Any]:
    return {
        "spans": facts.spans,
        "calls": facts.calls,
        "tokens": facts.tokens,
        "failed_spans": facts.failed_spans,
        "started_at": format_ns(facts.started_ns),
        "duration_ms": (facts.ended_ns - facts.started_ns) / NS_PER_MS,
        "copies": facts.copies,
        "dearest": facts.dearest,
        "agents": [_total_json(one) for one in facts.agents],
        "tools": [_total_json(one) for one in facts.tools],
        "models": [_total_json(one) for one in facts.models],
    }


def _total_json(one: NameTotal) -> dict[str, Any]:
    return {"name": one.name, "usd": format_usd(one.pico), "calls": one.calls, "tokens": one.tokens}


def _node_json(node: CostNode) -> dict[str, Any]:
    (
        span_id, parent_span_id, name, kind, role, own_pico, subtree_pico, calls, tokens, agent, step, tool, started_ns, duration_ns,
        depth, said, model, error_type,
    ) = node  # fmt: skip
    subtree_usd = format_usd(subtree_pico) if subtree_pico else "0"
    return {
        "span_id": span_id,
        "parent_span_id": parent_span_id,
        "name": name,
        "kind": kind,
        "role": role,
        "own_usd": None if own_pico is None else subtree_usd if own_pico == subtree_pico else format_usd(own_pico),
        "subtree_usd": subtree_usd,
        "calls": calls,
        "tokens": tokens,
        "agent": agent,
        "step": step,
        "tool": tool,
        "started_at": format_ns(started_ns),
        "duration_ms": None if duration_ns is None else duration_ns / NS_PER_MS,
        "notes": list(said),
        "depth": depth,
        "model": model,
        "error_type": error_type,
    }
