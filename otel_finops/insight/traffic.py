"""Recorded calls in columns, a piece of time after the other: what questions of the kind "what would it have cost" are asked of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Final, NamedTuple

from otel_finops.base.limits import WHATIF_PIECE_CALLS
from otel_finops.base.progress import tell
from otel_finops.base.times import NS_PER_DAY, parse_ns
from otel_finops.ledger.reader import by_reference
from otel_finops.ledger.spend import Question, tally
from otel_finops.ledger.spend_entries import RAW_KEYS, PricedBy, SingleCall, single_calls
from otel_finops.store.unit_of_work import Transaction

_DAYS_MAX: Final = 100_000
"""More days than there are between 1970 and 2262."""
_PART_CALLS: Final = 4 * WHATIF_PIECE_CALLS
"""About so many calls are read between two looks at the clock, a second or so."""


class Selection(NamedTuple):
    """Which calls.

    Attributes:
        tenants: whose; None for all.
        from_ns, to_ns: start of the calls, from inclusive, to exclusive.
        filters: allowed values by key of spend reports, '' for not known; users and sessions as clear values.
    """

    tenants: Collection[str] | None
    from_ns: int
    to_ns: int
    filters: Mapping[str, Collection[str]] = {}


class Piece(NamedTuple):
    """Standing calls in columns, all as long as `kind`.

    Attributes:
        kinds: on what prices depend beside counts and moments; each once.
        kind: for each call the number of its kind.
        at_ns: when it started.
        usage: counts by unit, 0 for none.
        cost_pico: what stands; None for no price.
    """

    kinds: Sequence[PricedBy]
    kind: Sequence[int]
    at_ns: Sequence[int]
    usage: Mapping[str, Sequence[int]]
    cost_pico: Sequence[int | None]


class Slice(NamedTuple):
    """A piece of the time asked for, read; `until_ns` is up to where all calls have been given with it."""

    until_ns: int
    piece: Piece
    is_last: bool


def read_pieces(transaction: Transaction, selection: Selection) -> Iterator[Slice]:
    """The selected calls in the order of their days, some ten thousand at a time; tells `base.progress` how far it is.

    Raises:
        BadInput: an unknown key, or an hour cut of which rows were pruned.
    """
    question = Question(selection.tenants, (), selection.from_ns, selection.to_ns, by_reference(transaction, selection.filters)).checked()
    days = _days(transaction, question)
    expected, done = sum(days.values()), 0
    for start_ns, end_ns in _cuts(days, selection):
        calls = single_calls(transaction, question, start_ns, end_ns)
        while count := len((piece := piece_of(islice(calls, WHATIF_PIECE_CALLS))).kind):
            done += count
            tell("calls", done, max(expected, done))
            is_last = count < WHATIF_PIECE_CALLS
            yield Slice(end_ns if is_last else start_ns, piece, is_last)
            if is_last:
                break


def _cuts(days: Mapping[int, int], selection: Selection) -> Iterator[tuple[int, int]]:
    """The time in which there are calls, days with many of them in parts."""
    for day_ns in sorted(days):
        parts = -(-days[day_ns] // _PART_CALLS)
        edges = [day_ns + NS_PER_DAY * part // parts for part in range(parts + 1)]
        for start_ns, end_ns in pairwise(edges):
            cut = max(start_ns, selection.from_ns), min(end_ns, selection.to_ns)
            if cut[0] < cut[1]:
                yield cut


def _days(transaction: Transaction, question: Question) -> dict[int, int]:
    """How many calls each day (UTC) has at most, by its start; days without any are left out. Keys that only entries know are not asked."""
    known = {name: allowed for name, allowed in question.filters.items() if name not in RAW_KEYS}
    found = tally(transaction, question._replace(group_by=("day",), filters=known), _DAYS_MAX)
    return {parse_ns(day): sums.calls for (day,), sums in found.items() if sums.calls}


def piece_of(calls: Iterable[SingleCall]) -> Piece:
    """Calls as columns; none of them is kept, since many thousand small objects that live on cost as much to look after as to read."""
    kinds: dict[PricedBy, int] = {}
    known: dict[int, tuple[PricedBy, int]] = {}
    kind: list[int] = []
    started: list[int] = []
    costs: list[int | None] = []
    columns: dict[str, list[int]] = {}
    for row, (at_ns, cost_pico, usage, facts) in enumerate(calls):
        found = known.get(id(facts))
        if found is None:  # by identity, as most calls share their facts; they are kept, so that no other object gets their place
            found = known[id(facts)] = facts, kinds.setdefault(facts, len(kinds))
        kind.append(found[1])
        started.append(at_ns)
        costs.append(cost_pico)
        for unit, count in usage.items():
            _put(columns, unit, row, count)
    for column in columns.values():
        column += [0] * (len(kind) - len(column))
    return Piece(list(kinds), kind, started, {unit: columns[unit] for unit in sorted(columns)}, costs)


def _put(columns: dict[str, list[int]], unit: str, row: int, count: int) -> None:
    column = columns.get(unit)
    if column is None:
        column = columns[unit] = []
    if len(column) < row:
        column += [0] * (row - len(column))
    column.append(count)
