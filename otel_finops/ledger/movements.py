"""What entries moved: the ledger as rows that were put in place and rows that were taken away, each whole, in the order of their start.

An entry of kind correction carries a difference, a reattribution no money at all. Whoever sums by facts of his own (a meter, a price, a
tag) needs the whole row as it stood and as it stands then: the former is taken away, the latter is put in its place. Where both fall into
one group nothing is left of them but the difference. So sums over movements are those of what stands, and each of them says when it was
booked and whether it is late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.base.times import format_ns
from otel_finops.ledger.brief_rows import CHANGED
from otel_finops.ledger.entry import CHARGE, REVERSAL, ROLE_CALL, Entry
from otel_finops.ledger.export import Times
from otel_finops.ledger.extent import STEP_ROWS, Extent, Stretch, in_steps
from otel_finops.ledger.period_bounds import month_of
from otel_finops.ledger.pruned import pruned_until_ns
from otel_finops.ledger.reader import visible_tenants
from otel_finops.ledger.rows import COLUMN_LIST, entries_of_traces, entry_of
from otel_finops.ledger.standing import EntryKey, Standing, follow
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import LIST_VALUES_MAX, Row, Transaction

_LATE_FROM: Final = "SELECT MIN(started_ns) FROM entries WHERE late AND recorded_ns >= ? AND recorded_ns < ?"
_Place: TypeAlias = tuple[int, int, int]


class Movement(NamedTuple):
    """A call's row that was put in place or taken away.

    Attributes:
        row: the whole row; what it says of its place is that of the charge that opened it.
        sign: 1 where it was put in place, -1 where it was taken away.
        late: it was booked when the month of the call was closed.
        month_ns: start of the month to which it belongs.
    """

    row: Entry
    sign: Literal[1, -1]
    late: bool
    month_ns: int


def movements(store: Store, tenants: Tenants, window: Times, month: tuple[int, int] | None = None) -> Iterator[list[Movement]]:
    """All movements of calls that started in a time, tenant by tenant, earliest start first, some hundreds at a time.

    They are the ledger's of the moment at which this was called; no transaction is open between two batches.

    Args:
        tenants: whose rows; None for all.
        window: the start of the calls.
        month: only what belongs to the month that begins and ends then, late rows of earlier calls included; in place of `window`.

    Raises:
        BadInput: some of it was pruned; at once, not with the first batch.
    """
    with store.read() as transaction:
        extent = Extent.of(transaction)
        names = list(visible_tenants(transaction, restricted(tenants)))
        from_ns, to_ns = window if month is None else (_first_of(transaction, month), month[1])
        _check_pruned(transaction, from_ns if month is None else month[0])  # a trace with rows of a month that stays is kept whole
    whole = Stretch(
        "entries",
        COLUMN_LIST,
        "tenant = ?",
        (),
        ("started_ns", "shard", "block_seq", "idx"),
        begin=None if from_ns is None else (from_ns, -1, -1, -1),
        upto="" if to_ns is None else "started_ns < ?",
        upto_value=to_ns,
    )
    stretches = [whole._replace(values=(name,)) for name in names]
    batches = in_steps(store, extent, stretches, _Steps(extent).made, STEP_ROWS)
    return batches if month is None else ([one for one in batch if one.month_ns == month[0]] for batch in batches)


def _check_pruned(transaction: Transaction, from_ns: int | None) -> None:
    pruned_ns = pruned_until_ns(transaction)
    if (from_ns or 0) < pruned_ns:
        raise BadInput(f"rows before {format_ns(pruned_ns)[:10]} were pruned and only their sums are kept: ask from then on")


def _first_of(transaction: Transaction, month: tuple[int, int]) -> int:
    """The first start of what can belong to a month."""
    [(found,)] = transaction.execute(_LATE_FROM, month)
    return month[0] if found is None else min(int(found), month[0])


class _Steps:
    """Makes movements of a step's rows. Traces in which something was changed are read whole; the last step's are kept, since a trace's
    rows lie beside each other.
    """

    def __init__(self, extent: Extent) -> None:
        self._extent = extent
        self._held: dict[int, Mapping[_Place, list[Movement]]] = {}

    def made(self, transaction: Transaction, rows: list[Row]) -> list[Movement]:
        """The movements that these rows stand for."""
        entries = [entry for entry in map(entry_of, rows) if self._extent.covers(entry)]
        changed = self._changed(transaction, sorted({entry.trace_no for entry in entries}))
        found: list[Movement] = []
        for entry in entries:
            places = changed.get(entry.trace_no)
            if places is not None:
                found += places.get((entry.shard, entry.block_seq, entry.idx), ())
            elif entry.role == ROLE_CALL:
                found.append(Movement(entry, 1, entry.late, month_of(entry)))
        return found

    def _changed(self, transaction: Transaction, trace_nos: Sequence[int]) -> dict[int, Mapping[_Place, list[Movement]]]:
        wanted: set[int] = set()
        for start in range(0, len(trace_nos), LIST_VALUES_MAX):
            part = trace_nos[start : start + LIST_VALUES_MAX]
            sql = f"SELECT DISTINCT trace_no FROM entries WHERE trace_no IN ({', '.join('?' * len(part))}) AND {CHANGED}"
            wanted.update(int(number) for (number,) in transaction.execute(sql, tuple(part)))
        missing = sorted(wanted - self._held.keys())
        held = {number: self._held[number] for number in wanted & self._held.keys()}
        by_trace: dict[int, list[Entry]] = {number: [] for number in missing}
        for entry in entries_of_traces(transaction, missing) if missing else ():
            if self._extent.covers(entry):
                by_trace[entry.trace_no].append(entry)
        self._held = held | {number: _placed(entries) for number, entries in by_trace.items()}
        return self._held


def _placed(entries: Iterable[Entry]) -> Mapping[_Place, list[Movement]]:
    """A trace's movements by the row at which they are told: the first one of the span that has the movement's tenant and start, so that
    each is told once, in the order of starts, however the row went from tenant to tenant.
    """
    entries = list(entries)
    firsts: dict[tuple[EntryKey, str, int], _Place] = {}
    for entry in entries:
        where = entry.key, entry.tenant, entry.started_ns
        place = entry.shard, entry.block_seq, entry.idx
        firsts[where] = min(firsts.get(where, place), place)
    placed: dict[_Place, list[Movement]] = {}
    for movement in _moved(entries):
        row = movement.row
        placed.setdefault(firsts[row.key, row.tenant, row.started_ns], []).append(movement)
    return placed


def _moved(entries: Iterable[Entry]) -> Iterator[Movement]:
    """What the entries of some spans moved, in the order in which they were booked."""
    states: dict[EntryKey, Standing] = {}
    for entry in entries:
        before = states.get(entry.key)
        after = states[entry.key] = follow(before, entry)
        month = month_of(entry)
        if entry.kind != CHARGE and before is not None and before.net is not None and before.net.role == ROLE_CALL:
            yield Movement(before.net, -1, entry.late, month)
        if entry.kind != REVERSAL and after.net is not None and after.net.role == ROLE_CALL:
            yield Movement(after.net, 1, entry.late, month)
