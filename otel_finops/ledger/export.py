"""Exports: all entries, what stands net of corrections and reversals, or the rows that a filter selects, in batches of constant memory.

Each batch is read in a transaction of its own, and all of them are the state of the moment at which the export was asked for
(`ledger.extent`). Users and sessions are references unless they are asked for in clear; then they are what the table of subjects says
when their batch is read, so that somebody who is erased meanwhile is not shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from otel_finops.ledger.counted_in import resolved
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.extent import STEP_ROWS, Extent, Stretch, in_steps
from otel_finops.ledger.reader import usage_conditions, visible_tenants
from otel_finops.ledger.rows import COLUMN_LIST, entries_of_traces, entry_of, to_contract
from otel_finops.ledger.standing import fold, merged_lines
from otel_finops.ledger.subjects import Subjects
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

Times: TypeAlias = tuple[int | None, int | None]
"""From (inclusive) and to (exclusive) in nanoseconds; None leaves the end open."""
Contract: TypeAlias = dict[str, Any]
Batches: TypeAlias = Iterator[list[Contract]]

_CANONICAL_LEAVES_OUT: Final = ("entry_id", "kind", "reverses", "revision", "recorded_at", "late", "block", "x_role_rule")
"""The contract's list; the name of the rule that decided is an explanation and no state, it may differ with the order of arrival."""

_REALMS_OF_TRACES: Final = 1_000_000
"""Traces whose realms are looked for in one statement, some 100 ms."""
_TRACE_NO: Final = "trace_no, (SELECT COUNT(*) FROM entries WHERE entries.trace_no = traces.trace_no)"


class LedgerExport:
    """Reads a ledger as the contract's JSON rows. What is asked for is checked, and its state fixed, before a method returns.

    Args:
        store: of the ledger.
        subjects: who its references are.
        step_rows: rows, or traces, that one transaction looks at.
    """

    def __init__(self, store: Store, subjects: Subjects, *, step_rows: int = STEP_ROWS) -> None:
        self._store = store
        self._subjects = subjects
        self._step_rows = step_rows

    def entries(self, tenants: Tenants, *, clear: bool = False) -> Batches:
        """All entries in the order in which each shard booked them.

        Args:
            tenants: whose; None for all.
            clear: users and sessions in clear (null once erased) instead of as references.
        """
        allowed = restricted(tenants)
        with self._store.read() as transaction:
            extent = Extent.of(transaction)
        wanted, values = _of_tenants(allowed)
        key = ("block_seq", "idx")
        whole = Stretch("entries", COLUMN_LIST, "shard = ?", (), key, upto="block_seq <= ?", wanted=wanted, wanted_values=values)
        stretches = [whole._replace(values=(shard,), upto_value=seq) for shard, seq in sorted(extent.last_seqs.items())]
        return self._contracts(self._entries(stretches, extent), clear)

    def usage(self, tenants: Tenants, window: Times, filters: Mapping[str, str], *, clear: bool = False) -> Batches:
        """The entries that `LedgerReader.usage` pages through, tenant by tenant, earliest start first.

        Raises:
            BadInput: an unknown filter.
        """
        with self._store.read() as transaction:
            extent = Extent.of(transaction)
            wanted, values = usage_conditions(transaction, None, None, filters)
            names = list(visible_tenants(transaction, restricted(tenants)))
            from_ns, to_ns = _narrowed(transaction, window, filters.get("trace_id"))
        whole = Stretch(
            "entries",
            COLUMN_LIST,
            "tenant = ?",
            (),
            ("started_ns", "shard", "block_seq", "idx"),
            begin=None if from_ns is None else (from_ns, -1, -1, -1),
            upto="" if to_ns is None else "started_ns < ?",
            upto_value=to_ns,
            wanted=" AND ".join(wanted),
            wanted_values=tuple(values),
        )
        stretches = [whole._replace(values=(name,)) for name in names]
        return self._contracts(self._entries(stretches, extent), clear)

    def net(self, tenants: Tenants, *, clear: bool = False) -> Batches:
        """One row for every span that stands, ordered by (realm, trace, span); `tenants` and `clear` as in `entries`."""
        return self._contracts(self.standing(tenants), clear)

    def canonical(self, tenants: Tenants) -> Batches:
        """The net ledger in a form that two ledgers of the same spans share, whatever the order of arrival: users and sessions in clear,
        and nothing that only one of them can know.
        """
        return map(_canonical, self.net(tenants, clear=True))

    def standing(self, tenants: Tenants) -> Iterator[list[Entry]]:
        """The net ledger's rows as entries; cost lines in one order, however they came about."""
        allowed = restricted(tenants)
        with self._store.read() as transaction:
            extent = Extent.of(transaction)
        return self._standing(allowed, extent)

    def _entries(self, stretches: Iterable[Stretch], extent: Extent) -> Iterator[list[Entry]]:
        return in_steps(
            self._store, extent, stretches, lambda _, rows: [one for one in map(entry_of, rows) if extent.covers(one)], self._step_rows
        )

    def _standing(self, allowed: frozenset[str] | None, extent: Extent) -> Iterator[list[Entry]]:
        size = self._step_rows
        for chunks in in_steps(self._store, extent, self._traces(allowed), lambda _, rows: list(_chunks(rows, 4 * size)), size):
            for trace_nos in chunks:
                with self._store.read() as transaction:
                    extent.confirm(transaction)
                    entries = _net(transaction, trace_nos, extent)
                yield [entry for entry in entries if allowed is None or entry.tenant in allowed]

    def _traces(self, allowed: frozenset[str] | None) -> Iterator[Stretch]:
        """Booked traces by (realm, trace), those that some entry of the tenants belongs to; the key's index begins with the trace."""
        of_tenants, values = _of_tenants(allowed)
        wanted = of_tenants and f"EXISTS (SELECT 1 FROM entries WHERE entries.trace_no = traces.trace_no AND {of_tenants})"
        for realm in self._realms():
            yield Stretch("traces", _TRACE_NO, "realm = ? AND booked", (realm,), ("trace_id",), wanted=wanted, wanted_values=values)

    def _realms(self) -> list[str]:
        """The realms that have traces, in the order of their UTF-8."""
        with self._store.read() as transaction:
            last = transaction.execute("SELECT MAX(trace_no) FROM traces")[0][0] or 0
        found: set[str] = set()
        for start in range(0, last + 1, _REALMS_OF_TRACES):
            with self._store.read() as transaction:
                sql = "SELECT DISTINCT realm FROM traces WHERE trace_no >= ? AND trace_no < ?"
                found.update(realm for (realm,) in transaction.execute(sql, (start, start + _REALMS_OF_TRACES)))
        return sorted(found)

    def _contracts(self, batches: Iterable[Sequence[Entry]], clear: bool) -> Batches:
        for batch in batches:
            yield list(map(to_contract, self._clear(batch) if clear else batch))

    def _clear(self, batch: Sequence[Entry]) -> Sequence[Entry]:
        refs = {ref for entry in batch for ref in (entry.user, entry.session) if ref is not None}
        if not refs:
            return batch
        with self._store.read() as transaction:
            names = self._subjects.clear(transaction, refs)
        return [entry._replace(user=names.get(entry.user or ""), session=names.get(entry.session or "")) for entry in batch]


def _narrowed(transaction: Transaction, window: Times, trace_id: str | None) -> Times:
    """The window, no wider than a trace that is asked for: its rows are few, and steps would look at all others between."""
    if trace_id is None:
        return window
    sql = "SELECT MIN(started_ns), MAX(started_ns) FROM entries WHERE trace_no IN (SELECT trace_no FROM traces WHERE trace_id = ?)"
    [(first, last)] = transaction.execute(sql, (bytes.fromhex(trace_id),))
    if first is None:
        return 0, 0
    from_ns, to_ns = window
    return max(first, from_ns or 0), last + 1 if to_ns is None else min(last + 1, to_ns)


def _of_tenants(allowed: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    """The condition on an entry, and its parameters."""
    return ("", ()) if allowed is None else (f"tenant IN ({', '.join('?' * len(allowed)) or 'NULL'})", tuple(sorted(allowed)))


def _chunks(rows: Iterable[Row], entries_max: int) -> Iterator[list[int]]:
    """Numbers of traces, as many at a time as have few entries together; one with more of them stands alone."""
    chunk: list[int] = []
    entries = 0
    for trace_no, count in rows:
        if chunk and entries + count > entries_max:
            yield chunk
            chunk, entries = [], 0
        chunk.append(trace_no)
        entries += count
    if chunk:
        yield chunk


def _net(transaction: Transaction, trace_nos: Sequence[int], extent: Extent) -> list[Entry]:
    """What stood in these traces, one after the other, spans in order."""
    net = fold(filter(extent.covers, entries_of_traces(transaction, trace_nos)))
    standing = resolved(transaction, [net[key] for key in sorted(net)], extent)
    return [entry._replace(cost_lines=merged_lines(entry.cost_lines)) for entry in standing]


def _canonical(batch: list[Contract]) -> list[Contract]:
    return [{name: value for name, value in contract.items() if name not in _CANONICAL_LEAVES_OUT} for contract in batch]
