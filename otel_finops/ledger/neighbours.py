"""Which traces must be decided together, because calls in them may be one call, or because they are linked.

Keys (`ledger.call_keys`) only propose: what is one call is decided by `genai.roles` over all sightings of such a set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.limits import NEIGHBOUR_TRACES_MAX, TWINS_PER_CALL_MAX
from otel_finops.ledger.answers import OUTPUT_TOLERANCE, SCOPES_PER_KEY_MAX, Edge, copies_of, find_answers
from otel_finops.ledger.call_keys import ANSWER_BUCKET, APART_NS, SESSION_BUCKET
from otel_finops.ledger.journal import TraceState, trace_states
from otel_finops.store.unit_of_work import Transaction

_SAME_KEY: Final = "SELECT c.start_ns FROM call_keys AS c WHERE c.bucket = {0}.bucket AND c.key = {0}.key AND c.scope = {0}.scope"
_FROM: Final = f"COALESCE(({_SAME_KEY} AND c.start_ns < {{0}}.start_ns ORDER BY c.start_ns DESC LIMIT 1 OFFSET {{1}}), -1)"
_TO: Final = f"COALESCE(({_SAME_KEY} AND c.start_ns {{2}} {{0}}.start_ns ORDER BY c.start_ns LIMIT 1 OFFSET {{1}}), {2**63 - 1})"
_LEAST_SCOPE: Final = "SELECT MIN(c.scope) FROM call_keys AS c WHERE c.bucket = {0}.bucket AND c.key = {0}.key"
_EQUAL_NUMBERS: Final = f"""
WITH RECURSIVE k (trace_no, bucket, key, own, output, start_ns, end_ns, scope, nth) AS (
  SELECT a.trace_no, a.bucket, a.key, a.scope, a.output, a.start_ns, a.end_ns, ({_LEAST_SCOPE.format("a")}), 1
  FROM call_keys AS a WHERE a.trace_no IN ({{}}) AND a.bucket > {ANSWER_BUCKET}
  UNION ALL
  SELECT k.trace_no, k.bucket, k.key, k.own, k.output, k.start_ns, k.end_ns, ({_LEAST_SCOPE.format("k")} AND c.scope > k.scope), k.nth + 1
  FROM k WHERE k.scope IS NOT NULL AND k.nth < {SCOPES_PER_KEY_MAX}
),
w AS MATERIALIZED (
  SELECT k.*, {_FROM.format("k", TWINS_PER_CALL_MAX)} AS low, {_TO.format("k", TWINS_PER_CALL_MAX, ">=")} AS high
  FROM k WHERE k.scope <> k.own
)
SELECT DISTINCT w.trace_no, b.trace_no
FROM w CROSS JOIN call_keys AS b
WHERE b.bucket = w.bucket AND b.key = w.key AND b.scope = w.scope AND b.start_ns > w.low AND b.start_ns < w.high
  AND b.trace_no <> w.trace_no
  AND b.output BETWEEN w.output - {OUTPUT_TOLERANCE} AND w.output + {OUTPUT_TOLERANCE}
  AND b.start_ns <= w.end_ns + {APART_NS} AND b.end_ns >= w.start_ns - {APART_NS}
"""
"""Calls with equal numbers at one time in other scopes, nearest first; each scope with the key is one step of the index."""

_IN_SESSION: Final = f"FROM call_keys AS {{}} WHERE {{}}.bucket = {SESSION_BUCKET} AND {{}}.key = a.key"
_SESSION_KEYS: Final = f"FROM call_keys AS a CROSS JOIN area_scopes AS s WHERE a.trace_no IN ({{}}) AND a.bucket = {SESSION_BUCKET}"
_OTHER_SOURCE: Final = f"""
SELECT DISTINCT a.trace_no, (
  SELECT c.trace_no {_IN_SESSION.format(*"ccc")} AND c.scope = s.scope ORDER BY c.start_ns, c.place LIMIT 1
) {_SESSION_KEYS} AND s.area = a.area AND s.scope <> a.scope
"""
"""From a log record to the first span with usage of its session, and from such a span to the session's first log record: who has
the other source changes what stands, how often it is there does not. Records and spans of one call find each other by numbers."""
_FIRST_SOURCES: Final = f"""
SELECT DISTINCT a.trace_no, a.key, s.scope {_SESSION_KEYS} AND s.area = a.area AND s.scope <> a.scope
  AND NOT EXISTS (SELECT 1 {_IN_SESSION.format(*"eee")} AND e.scope = a.scope AND (e.start_ns, e.place) < (a.start_ns, a.place))
"""
_OF_SOURCE: Final = f"""
SELECT trace_no FROM call_keys WHERE bucket = {SESSION_BUCKET} AND key = ? AND scope = ?
GROUP BY trace_no ORDER BY MIN(start_ns), trace_no LIMIT {NEIGHBOUR_TRACES_MAX}
"""
"""When a due trace turns out to hold a session's first span with usage, or first log record, the other source is decided again."""

_LINKED_FROM: Final = """
SELECT o.trace_no, t.trace_no
FROM trace_links AS l CROSS JOIN traces AS o CROSS JOIN traces AS t
WHERE l.trace_no IN ({}) AND o.trace_no = l.trace_no AND t.trace_id = l.linked_trace_id AND t.realm = o.realm AND t.has_genai
"""
_LINKED_TO: Final = f"""
WITH w AS MATERIALIZED (
  SELECT o.trace_no, o.realm, o.trace_id, COALESCE((
    SELECT c.trace_no FROM trace_links AS c WHERE c.linked_trace_id = o.trace_id ORDER BY c.trace_no LIMIT 1 OFFSET {NEIGHBOUR_TRACES_MAX}
  ), {2**63 - 1}) AS high
  FROM traces AS o WHERE o.trace_no IN ({{}})
)
SELECT w.trace_no, t.trace_no
FROM w CROSS JOIN trace_links AS l CROSS JOIN traces AS t
WHERE l.linked_trace_id = w.trace_id AND l.trace_no < w.high AND t.trace_no = l.trace_no AND t.realm = w.realm AND t.has_genai
"""
_SHARED: Final = """
SELECT DISTINCT a.trace_no FROM (SELECT DISTINCT trace_no, bucket, key FROM call_keys WHERE trace_no IN ({})) AS a
WHERE EXISTS (SELECT 1 FROM call_keys AS o WHERE o.bucket = a.bucket AND o.key = a.key AND o.trace_no <> a.trace_no)
"""
"""Traces of which a key is another trace's too: the only ones for which the searches by keys find anything."""
_BY_KEYS: Final = (_EQUAL_NUMBERS, _OTHER_SOURCE)
_BY_LINKS: Final = (_LINKED_FROM, _LINKED_TO)


class Neighbourhood(NamedTuple):
    """Traces that are decided together.

    Attributes:
        traces: those that the decision is about, by (realm, trace id).
        originals: further traces, with answers that calls in them only repeat. They must be seen to know the repetitions, but
            who else has to do with them is not known here: what is decided about them here is no decision.
    """

    traces: list[TraceState]
    originals: list[TraceState]

    @property
    def seen(self) -> list[TraceState]:
        """All that must be read."""
        return [*self.traces, *self.originals]


def neighbourhoods(transaction: Transaction, seeds: Sequence[TraceState]) -> list[Neighbourhood]:
    """The sets of traces that must be decided together, each with at least one seed.

    Two traces are neighbours when one links to the other, or when a call in one could be a call in the other (see above);
    neighbours of neighbours belong to the set too, up to `limits.NEIGHBOUR_TRACES_MAX` traces, in the order of their ids. Seeds
    that belong to a set which is full are left out: decided without it they would be charged; they stay due and find room in
    a later round, when those that took their place are not due any more.

    Returns:
        Neighbourhoods whose traces are disjoint, ordered by their first trace.
    """
    joined = _Joined()
    for seed in seeds:
        joined.add(seed)
    frontier = sorted(seed.trace_no for seed in seeds)
    sharing = _sharing(transaction, frontier)
    answers = find_answers(transaction, sharing)
    originals = dict(answers.originals)
    again = copies_of(transaction, answers.firsts) | _other_sources(transaction, sharing)
    while frontier:
        edges = _edges(transaction, _BY_KEYS, sharing) | _edges(transaction, _BY_LINKS, frontier) | answers.together | again
        again = set()
        reached = {other for _, other in edges if other not in joined.states}
        known = {state.trace_no: state for state in trace_states(transaction, reached)}
        frontier = sorted(joined.join(sorted(edges), known))
        sharing = _sharing(transaction, frontier)
        answers = find_answers(transaction, sharing)
        originals.update(answers.originals)
    return _with_originals(joined.sets(), originals, _states(transaction, joined, originals))


Originals: TypeAlias = Mapping[int, Collection[int]]
"""Trace numbers of the originals of the calls in a trace, by the trace's number."""


def _states(transaction: Transaction, joined: _Joined, originals: Originals) -> dict[int, TraceState]:
    """The states of all traces that were reached, and of those with the originals of calls in them."""
    named = {original for found in originals.values() for original in found}
    return {**{state.trace_no: state for state in trace_states(transaction, named - joined.states.keys())}, **joined.states}


def _with_originals(sets: Iterable[list[TraceState]], originals: Originals, states: Mapping[int, TraceState]) -> list[Neighbourhood]:
    """The sets with their originals; those that share one are decided at once, as many as fit."""
    batches: list[dict[int, None]] = []
    batch_of: dict[int, dict[int, None]] = {}
    for traces in sets:
        numbers = [trace.trace_no for trace in traces]
        wanted = sorted({original for number in numbers for original in originals.get(number, ()) if original in states})
        open_ = (batch_of[number] for number in wanted if number in batch_of)
        batch = next((one for one in open_ if len(one) + len(numbers) <= NEIGHBOUR_TRACES_MAX), None)
        if batch is None:
            batch = {}
            batches.append(batch)
        batch.update(dict.fromkeys(numbers))
        for number in (*numbers, *wanted):
            batch_of[number] = batch
    found = [Neighbourhood(_sorted(states, batch), _sorted(states, _beyond(batch, originals, states))) for batch in batches]
    return sorted(found, key=lambda one: _place(one.traces[0]))


def _beyond(batch: Collection[int], originals: Originals, states: Mapping[int, TraceState]) -> set[int]:
    """The originals of a batch that are not in it."""
    return {original for number in batch for original in originals.get(number, ()) if original in states and original not in batch}


def _sorted(states: Mapping[int, TraceState], numbers: Iterable[int]) -> list[TraceState]:
    return sorted((states[number] for number in numbers), key=_place)


def _place(state: TraceState) -> tuple[str, str]:
    return state.realm, state.trace_id


def _sharing(transaction: Transaction, trace_nos: Sequence[int]) -> list[int]:
    """Those of the traces that share a key with another trace, in order."""
    return sorted(trace_no for (trace_no,) in transaction.select_in(_SHARED, trace_nos))


def _edges(transaction: Transaction, queries: Iterable[str], trace_nos: Sequence[int]) -> set[Edge]:
    """All edges of these kinds that leave the given traces, whatever the reason for which they are read."""
    return {
        (one, other) for query in queries for one, other in transaction.select_in(query, trace_nos) if other is not None and one != other
    }


def _other_sources(transaction: Transaction, trace_nos: Sequence[int]) -> set[Edge]:
    """Edges from the traces with the first of one source of a session to those with the other source."""
    return {
        (trace_no, other)
        for trace_no, key, scope in list(transaction.select_in(_FIRST_SOURCES, trace_nos))
        for (other,) in transaction.execute(_OF_SOURCE, (key, scope))
        if other != trace_no
    }


class _Joined:
    """Traces that were reached so far, as disjoint sets of bounded size."""

    def __init__(self) -> None:
        self.states: dict[int, TraceState] = {}
        self._parents: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._full: list[Edge] = []

    def add(self, state: TraceState) -> None:
        """Add a trace as a set of its own."""
        self.states[state.trace_no] = state
        self._parents[state.trace_no] = state.trace_no
        self._sizes[state.trace_no] = 1

    def join(self, edges: Iterable[Edge], known: dict[int, TraceState]) -> list[int]:
        """Join along edges, those with the smallest trace ids first; returns the traces that were new."""

        def ids(edge: Edge) -> tuple[str, str]:
            one, other = (self.states.get(trace_no) or known[trace_no] for trace_no in edge)
            return min(one.trace_id, other.trace_id), max(one.trace_id, other.trace_id)

        new: list[int] = []
        for one, other in sorted((edge for edge in edges if edge[1] in self.states or edge[1] in known), key=ids):
            if other not in self.states and self._sizes[self._root(one)] < NEIGHBOUR_TRACES_MAX:
                self.add(known[other])
                new.append(other)
            if other in self.states:
                self._unite(one, other)
        return new

    def sets(self) -> list[list[TraceState]]:
        """The sets, in the order of trace ids."""
        found: dict[int, list[TraceState]] = {}
        for state in sorted(self.states.values(), key=_place):
            found.setdefault(self._root(state.trace_no), []).append(state)
        order = {root: place for place, root in enumerate(found)}
        for one, other in self._full:
            first, second = self._root(one), self._root(other)
            if first != second and first in found and second in found:
                del found[max(first, second, key=order.__getitem__)]
        return list(found.values())

    def _unite(self, one: int, other: int) -> None:
        first, second = self._root(one), self._root(other)
        size = self._sizes[first] + self._sizes[second]
        if first != second and size <= NEIGHBOUR_TRACES_MAX:
            self._parents[second] = first
            self._sizes[first] = size
        elif first != second:
            self._full.append((one, other))

    def _root(self, trace_no: int) -> int:
        while self._parents[trace_no] != trace_no:
            self._parents[trace_no] = self._parents[self._parents[trace_no]]
            trace_no = self._parents[trace_no]
        return trace_no
