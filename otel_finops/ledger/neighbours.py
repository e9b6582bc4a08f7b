"""Which traces must be decided together, because calls in them may be one call, or because they are linked.

Keys (`ledger.call_keys`) only propose: what is one call is decided by `genai.roles` over all sightings of such a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from otel_finops.base.limits import NEIGHBOUR_TRACES_MAX, TWINS_PER_CALL_MAX
from otel_finops.ledger.call_keys import ANSWER_BUCKET, APART_NS, SESSION_BUCKET
from otel_finops.ledger.journal import TraceState, trace_states
from otel_finops.store.unit_of_work import Transaction

OUTPUT_TOLERANCE: Final = 2
"""Sightings of one call may differ by this many output tokens: one library counts the first chunk's token twice."""

Edge: TypeAlias = tuple[int, int]
"""Two trace numbers."""

COPIES_MAX: Final = 8
"""When a call turns out to be earlier than its known copies, so many of them are decided again."""

_SAME_KEY: Final = "SELECT c.start_ns FROM call_keys AS c WHERE c.bucket = a.bucket AND c.key = a.key AND c.scope = s.scope"
_OTHER_SCOPE: Final = f"""
WITH w AS MATERIALIZED (
  SELECT a.trace_no, a.bucket, a.key, a.output, a.start_ns, a.end_ns, s.scope,
    COALESCE(({_SAME_KEY} AND c.start_ns < a.start_ns ORDER BY c.start_ns DESC LIMIT 1 OFFSET {TWINS_PER_CALL_MAX}), -1) AS low,
    COALESCE(({_SAME_KEY} AND c.start_ns >= a.start_ns ORDER BY c.start_ns LIMIT 1 OFFSET {TWINS_PER_CALL_MAX}), {2**63 - 1}) AS high
  FROM call_keys AS a CROSS JOIN area_scopes AS s
  WHERE a.trace_no IN ({{}}) AND a.bucket >= {ANSWER_BUCKET} AND s.area = a.area AND s.scope <> a.scope
)
SELECT DISTINCT w.trace_no, b.trace_no
FROM w CROSS JOIN call_keys AS b
WHERE b.bucket = w.bucket AND b.key = w.key AND b.scope = w.scope AND b.start_ns > w.low AND b.start_ns < w.high
  AND b.trace_no <> w.trace_no
  AND b.output BETWEEN w.output - {OUTPUT_TOLERANCE} AND w.output + {OUTPUT_TOLERANCE}
  AND (w.bucket = {ANSWER_BUCKET} OR (b.start_ns <= w.end_ns + {APART_NS} AND b.end_ns >= w.start_ns - {APART_NS}))
"""
"""Twins in other scopes, nearest in time first; an area with one scope ends the search at `area_scopes`."""

_SAME_ANSWER: Final = f"FROM call_keys AS {{}} WHERE {{}}.bucket = {ANSWER_BUCKET} AND {{}}.key = a.key AND {{}}.scope = a.scope"
_EARLIER: Final = (
    f"FROM (SELECT c.trace_no, c.output, c.start_ns, c.place {_SAME_ANSWER.format(*'cccc')} "
    f"ORDER BY c.start_ns, c.place LIMIT {TWINS_PER_CALL_MAX}) AS e "
    "WHERE e.output = a.output AND (e.start_ns, e.place) < (a.start_ns, a.place)"
)
"""Equal answers of the same scope before a call. One scope counts alike each time, so that the output must be equal."""
_ANSWERS: Final = f"FROM call_keys AS a WHERE a.trace_no IN ({{}}) AND a.bucket = {ANSWER_BUCKET}"
_FIRST_COPY: Final = f"SELECT DISTINCT a.trace_no, (SELECT e.trace_no {_EARLIER} LIMIT 1) {_ANSWERS}"
"""The trace of the earliest equal answer, if it is not the call's own: a replay costs nothing, but its original must be known."""
_ORIGINALS: Final = f"""
SELECT DISTINCT a.trace_no, a.key, a.scope, a.output {_ANSWERS} AND NOT EXISTS (SELECT 1 {_EARLIER})
  AND EXISTS (SELECT 1 {_SAME_ANSWER.format(*"oooo")} AND o.trace_no <> a.trace_no)
"""
_COPIES: Final = f"""
SELECT trace_no FROM call_keys WHERE bucket = {ANSWER_BUCKET} AND key = ? AND scope = ? AND output = ?
ORDER BY start_ns, place LIMIT {COPIES_MAX}
"""
"""What may have been an original, or a copy of another one, before an earlier call came. It matters to a trace that is due
only: one that was read for another's sake has made its copies copies already."""

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
_BY_KEYS: Final = (_OTHER_SCOPE, _OTHER_SOURCE, _FIRST_COPY)
_BY_LINKS: Final = (_LINKED_FROM, _LINKED_TO)


def neighbourhoods(transaction: Transaction, seeds: Sequence[TraceState]) -> list[list[TraceState]]:
    """The sets of traces that must be decided together, each with at least one seed.

    Two traces are neighbours when one links to the other, or when a call in one could be a call in the other (see above);
    neighbours of neighbours belong to the set too, up to `limits.NEIGHBOUR_TRACES_MAX` traces, in the order of their ids. Seeds
    that belong to a set which is full are left out: decided without it they would be charged; they stay due and find room in
    a later round, when those that took their place are not due any more.

    Returns:
        Disjoint lists, each ordered by trace id, ordered by their first trace.
    """
    joined = _Joined()
    for seed in seeds:
        joined.add(seed)
    frontier = sorted(seed.trace_no for seed in seeds)
    sharing = _sharing(transaction, frontier)
    again = _copies(transaction, sharing) | _other_sources(transaction, sharing)
    while frontier:
        edges = sorted(_edges(transaction, _BY_KEYS, sharing) | _edges(transaction, _BY_LINKS, frontier) | again)
        again = set()
        reached = {other for _, other in edges if other not in joined.states}
        known = {state.trace_no: state for state in trace_states(transaction, reached)}
        frontier = sorted(joined.join(edges, known))
        sharing = _sharing(transaction, frontier)
    return joined.sets()


def _sharing(transaction: Transaction, trace_nos: Sequence[int]) -> list[int]:
    """Those of the traces that share a key with another trace, in order."""
    return sorted(trace_no for (trace_no,) in transaction.select_in(_SHARED, trace_nos))


def _edges(transaction: Transaction, queries: Iterable[str], trace_nos: Sequence[int]) -> set[Edge]:
    """All edges of these kinds that leave the given traces, whatever the reason for which they are read."""
    return {
        (one, other) for query in queries for one, other in transaction.select_in(query, trace_nos) if other is not None and one != other
    }


def _copies(transaction: Transaction, trace_nos: Sequence[int]) -> set[Edge]:
    """Edges from the traces of originals to those of their copies."""
    originals = list(transaction.select_in(_ORIGINALS, trace_nos))
    return {
        (trace_no, copy)
        for trace_no, key, scope, output in originals
        for (copy,) in transaction.execute(_COPIES, (key, scope, output))
        if copy != trace_no
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
        for state in sorted(self.states.values(), key=lambda state: (state.realm, state.trace_id)):
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
