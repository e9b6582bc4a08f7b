"""Which traces have to do with the answers in others: the same call as another library saw it, or what a cache repeated.

Of one answer, however often it was given, few sightings matter: in each scope the first of each output, which may be the call
that was billed, and those nearest to them in time. A repetition only needs its own scope's first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_finops.ledger.call_keys import ANSWER_BUCKET
from otel_finops.store.unit_of_work import Transaction

OUTPUT_TOLERANCE: Final = 2
"""Sightings of one call may differ by this many output tokens: one library counts the first chunk's token twice."""
SCOPES_PER_KEY_MAX: Final = 16
"""Scopes with one key that are looked at: more libraries never wrap one call, though a sender may make up a scope for every call."""
FIRSTS_AMONG: Final = 16
"""Sightings of a scope among which the first of each output are sought: one call has two or three outputs, as its stream was counted."""
NEAREST: Final = 3
"""Equal answers of another scope before and after one that may be the same request, which is the nearest."""
COPIES_MAX: Final = 8
"""When a call turns out to be earlier than its known copies, so many of them are decided again."""

Edge: TypeAlias = tuple[int, int]
"""Two trace numbers."""


class Seen(NamedTuple):
    """One row of the index: a sighting of an answer under one reading of its prompt."""

    trace_no: int
    key: int
    scope: int
    output: int
    start_ns: int
    place: bytes


class Answers(NamedTuple):
    """What was found for some traces.

    Attributes:
        together: from the traces to those that must be decided with them.
        originals: by trace, where its answers were given first in their own scopes.
        firsts: those sightings of the traces that are the first of their scope.
    """

    together: set[Edge]
    originals: dict[int, set[int]]
    firsts: list[Seen]


Firsts: TypeAlias = Mapping[tuple[int, int], Mapping[int, Seen]]
"""By (key, scope) and output."""

_SIGHTED: Final = f"""
SELECT trace_no, key, scope, output, start_ns, place FROM call_keys WHERE trace_no IN ({{}}) AND bucket = {ANSWER_BUCKET}
"""
_SAME: Final = f"FROM call_keys AS c WHERE c.bucket = {ANSWER_BUCKET} AND c.key = {{0}}.key"
_ASKED: Final = "WITH RECURSIVE a (key, scope) AS (VALUES"
_LISTED: Final = f""",
k (key, scope, nth) AS (
  SELECT a.key, (SELECT MIN(c.scope) {_SAME.format("a")}), 1 FROM a
  UNION ALL
  SELECT k.key, (SELECT MIN(c.scope) {_SAME.format("k")} AND c.scope > k.scope), k.nth + 1
  FROM k WHERE k.scope IS NOT NULL AND k.nth < {SCOPES_PER_KEY_MAX}
)"""
"""The scopes with a key, each by one step of the index."""
_OF_SCOPE: Final = f"{_SAME} AND c.scope = {{0}}.scope ORDER BY c.start_ns, c.place"
_FIRST: Final = f"""
SELECT c.trace_no, c.key, c.scope, c.output, c.start_ns, c.place, (
  SELECT MIN(early.output) <> MAX(early.output) FROM (SELECT c.output {_OF_SCOPE.format("{0}")} LIMIT {FIRSTS_AMONG}) AS early
)
FROM {{0}} CROSS JOIN call_keys AS c
WHERE {{0}}.scope IS NOT NULL AND c.bucket = {ANSWER_BUCKET} AND c.key = {{0}}.key AND c.scope = {{0}}.scope
  AND c.start_ns = (SELECT c.start_ns {_OF_SCOPE.format("{0}")} LIMIT 1)
  AND c.place = (SELECT c.place {_OF_SCOPE.format("{0}")} LIMIT 1)
"""
"""The first sighting in a scope, and whether those after it have other outputs."""
_FIRST_LISTED: Final = f"){_LISTED}{_FIRST.format('k')}"
_FIRST_ASKED: Final = f"){_FIRST.format('a')}"
_FIRSTS: Final = f"""),
s AS MATERIALIZED (
  SELECT a.key, a.scope,
    (SELECT c.start_ns {_OF_SCOPE.format("a")} LIMIT 1 OFFSET {FIRSTS_AMONG}) AS beyond_ns,
    (SELECT c.place {_OF_SCOPE.format("a")} LIMIT 1 OFFSET {FIRSTS_AMONG}) AS beyond
  FROM a
)
SELECT trace_no, key, scope, output, start_ns, place FROM (
  SELECT c.trace_no, c.key, c.scope, c.output, c.start_ns, c.place,
    ROW_NUMBER() OVER (PARTITION BY c.key, c.scope, c.output ORDER BY c.start_ns, c.place) AS nth
  FROM s CROSS JOIN call_keys AS c
  WHERE c.bucket = {ANSWER_BUCKET} AND c.key = s.key AND c.scope = s.scope
    AND (s.beyond IS NULL OR (c.start_ns, c.place) < (s.beyond_ns, s.beyond))
) AS ranked WHERE nth = 1
"""

_FAR: Final = "SELECT v.column1 FROM (VALUES"
_BETWEEN: Final = f""") AS v WHERE EXISTS (
  SELECT 1 FROM call_keys AS c WHERE c.bucket = {ANSWER_BUCKET} AND c.key = v.column2 AND c.scope = v.column3
    AND c.start_ns > v.column4 AND c.start_ns < v.column5 LIMIT 1 OFFSET {NEAREST - 1}
)"""
"""Pairs of moments with so many sightings of a scope between them that they are not nearest."""
_NEAR: Final = "WITH w (trace_no, key, scope, output, start_ns) AS (VALUES"
_BESIDE: Final = f""", n AS MATERIALIZED (
  SELECT w.trace_no, w.key, w.scope, w.output,
    COALESCE((SELECT c.start_ns {_SAME.format("w")} AND c.scope = w.scope AND c.start_ns < w.start_ns
      ORDER BY c.start_ns DESC LIMIT 1 OFFSET {NEAREST}), -1) AS low,
    COALESCE((SELECT c.start_ns {_SAME.format("w")} AND c.scope = w.scope AND c.start_ns > w.start_ns
      ORDER BY c.start_ns LIMIT 1 OFFSET {NEAREST}), {2**63 - 1}) AS high
  FROM w
)
SELECT DISTINCT n.trace_no, b.trace_no FROM n CROSS JOIN call_keys AS b
WHERE b.bucket = {ANSWER_BUCKET} AND b.key = n.key AND b.scope = n.scope AND b.start_ns > n.low AND b.start_ns < n.high
  AND b.trace_no <> n.trace_no AND b.output BETWEEN n.output - {OUTPUT_TOLERANCE} AND n.output + {OUTPUT_TOLERANCE}
"""
_COPIES: Final = f"""
SELECT trace_no FROM call_keys WHERE bucket = {ANSWER_BUCKET} AND key = ? AND scope = ? AND output = ?
ORDER BY start_ns, place LIMIT {COPIES_MAX}
"""


def find_answers(transaction: Transaction, trace_nos: Sequence[int]) -> Answers:
    """What the answers in these traces have to do with others. Each finding depends on the trace's own rows alone, not on its company."""
    sighted = [Seen._make(row) for row in transaction.select_in(_SIGHTED, trace_nos)]
    listed, own = _firsts(transaction, sighted)
    scopes: dict[int, set[int]] = defaultdict(set)
    for key, scope in listed:
        scopes[key].add(scope)
    found = Answers(set(), defaultdict(set), [])
    replays: list[tuple[Seen, Seen]] = []
    for seen in sighted:
        first = own[seen.key, seen.scope].get(seen.output)
        is_first = first is not None and first.place == seen.place
        if is_first:
            found.firsts.append(seen)
        elif first is not None and first.trace_no != seen.trace_no:
            found.originals[seen.trace_no].add(first.trace_no)
        twins = [twin for scope in scopes[seen.key] if scope != seen.scope for twin in _alike(listed[seen.key, scope], seen)]
        if is_first:
            found.together.update((seen.trace_no, twin.trace_no) for twin in twins)
        else:
            replays += [(seen, twin) for twin in twins]
    found.together.update(_nearest_to_firsts(transaction, replays))
    found.together.update(_beside(transaction, [one for one in sighted if one.output == 0] + found.firsts, scopes))
    found.together.difference_update([(trace_no, trace_no) for trace_no in trace_nos])
    return found


def copies_of(transaction: Transaction, firsts: Iterable[Seen]) -> set[Edge]:
    """Edges from first answers to their earliest copies: what may have been an original before an earlier sighting came is decided
    again. Those that were counted in it are not (`ledger.counted_in`)."""
    return {
        (first.trace_no, copy)
        for first in firsts
        for (copy,) in transaction.execute(_COPIES, (first.key, first.scope, first.output))
        if copy != first.trace_no
    }


def _firsts(transaction: Transaction, sighted: Sequence[Seen]) -> tuple[Firsts, Firsts]:
    """The first sightings in the scopes that are looked at whoever asks, and those in the asked sightings' own scopes."""
    asked = sorted({(seen.key, seen.scope) for seen in sighted})
    listed = _found_firsts(transaction, sorted({(key, 0) for key, _ in asked}), _FIRST_LISTED)
    beyond = [pair for pair in asked if pair not in listed]
    return listed, {**listed, **_found_firsts(transaction, beyond, _FIRST_ASKED)}


def _found_firsts(transaction: Transaction, asked: Sequence[tuple[int, int]], query: str) -> Firsts:
    """The first sighting of each output; nearly always all have one, so that the others are looked for only where there are any."""
    found: dict[tuple[int, int], dict[int, Seen]] = {}
    several: list[tuple[int, int]] = []
    for *row, mixed in transaction.write_values(_ASKED, asked, query):
        first = Seen._make(row)
        found[first.key, first.scope] = {} if mixed else {first.output: first}
        if mixed:
            several.append((first.key, first.scope))
    for first in map(Seen._make, transaction.write_values(_ASKED, sorted(set(several)), _FIRSTS)):
        found[first.key, first.scope][first.output] = first
    return found


def _alike(firsts: Mapping[int, Seen], seen: Seen) -> Iterator[Seen]:
    for output in range(seen.output - OUTPUT_TOLERANCE, seen.output + OUTPUT_TOLERANCE + 1):
        if output in firsts:
            yield firsts[output]


def _nearest_to_firsts(transaction: Transaction, replays: Sequence[tuple[Seen, Seen]]) -> Iterator[Edge]:
    """From a repetition to the first of another scope when it is one of the nearest to it: that one may show this repetition."""
    pairs = [
        (number, seen.key, seen.scope, min(seen.start_ns, first.start_ns), max(seen.start_ns, first.start_ns))
        for number, (seen, first) in enumerate(replays)
    ]
    far = {number for (number,) in transaction.write_values(_FAR, pairs, _BETWEEN)}
    return ((seen.trace_no, first.trace_no) for number, (seen, first) in enumerate(replays) if number not in far)


def _beside(transaction: Transaction, sighted: Iterable[Seen], scopes: Mapping[int, set[int]]) -> list[Edge]:
    """From the first of a scope, and from sightings without counts, which have nothing else to go by, to the nearest of other scopes."""
    asked = {
        (seen.trace_no, seen.key, scope, seen.output, seen.start_ns)
        for seen in sighted
        for scope in scopes[seen.key]
        if scope != seen.scope
    }
    return [(one, other) for one, other in transaction.write_values(_NEAR, sorted(asked), f"){_BESIDE}")]
