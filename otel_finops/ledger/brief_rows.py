"""Standing rows of a time read with a few columns, in constant memory: what reports over entries are made from.

The meaning is `standing.fold`'s, over the columns that are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from otel_finops.ledger.entry import ADJUSTMENT, CHARGE, REATTRIBUTION, REVERSAL
from otel_finops.ledger.rows import BOOK_ORDER
from otel_finops.store.unit_of_work import LIST_VALUES_MAX, Transaction

FACTS_OF_MONEY: Final = ("cost_method", "unpriced_reason")
"""Columns that a reattribution leaves empty and does not change."""
COST: Final = "cost_pico"
CHANGED: Final = "kind <> 'charge'"
"""Entries of traces in which something was corrected, taken back or moved; as the partial index has it."""


class BriefRow:
    """A span's standing row.

    Attributes:
        trace_no, span_id: of the span.
        cost_pico: added up over its entries, of the column that was asked for.
        counts: the same of each of the counts; the first are its tokens.
        keys: the columns asked for, then `FACTS_OF_MONEY`.
    """

    __slots__ = ("cost_pico", "counts", "keys", "role", "span_id", "trace_no")

    def __init__(self, trace_no: int, span_id: bytes, role: str, cost_pico: int | None, counts: list[int], keys: list[Any]) -> None:
        self.trace_no, self.span_id, self.role = trace_no, span_id, role
        self.cost_pico, self.counts, self.keys = cost_pico, counts, keys

    @property
    def tokens(self) -> int:
        """Prompt and output."""
        return self.counts[0]


def brief_rows(
    transaction: Transaction,
    columns: Sequence[str],
    tenants: Collection[str] | None,
    from_ns: int,
    to_ns: int,
    *,
    newest_first: bool = False,
    amount: str = COST,
    counts: Sequence[str] = (),
    among: Sequence[str] = (),
    traces: Sequence[int] = (),
) -> Iterator[BriefRow]:
    """What stands of the spans that started in [from_ns, to_ns), trace by trace; all entries of a span bear its start.

    Args:
        columns: of `entries`, as SQL.
        tenants: read only traces in which these tenants have or had a row, None for all. The caller still has to leave out the
            rows of others.
        newest_first: traces in the reverse order of their numbers.
        amount: the money that is added up, as SQL; null where an entry says nothing of it.
        counts: further numbers that are added up, as SQL.
        among: read only traces with such entries in that time, one for each of these conditions, as SQL; in place of `tenants`.
        traces: read only these, by number; in place of `tenants`, no more than `LIST_VALUES_MAX`.
    """
    if traces:
        where, values = f"started_ns >= ? AND started_ns < ? AND trace_no IN ({', '.join('?' * len(traces))})", [from_ns, to_ns, *traces]
    else:
        where, values = _among(among, from_ns, to_ns) if among else _conditions(transaction, tenants, from_ns, to_ns)
    added = ("tokens", *counts)
    listed = ", ".join((amount, *added, *columns, *FACTS_OF_MONEY))
    order = f"trace_no {'DESC' if newest_first else 'ASC'}, {BOOK_ORDER}"
    sql = f"SELECT trace_no, span_id, kind, role, {listed} FROM entries WHERE {where} ORDER BY {order}"
    trace: int | None = None
    standing: dict[bytes, BriefRow] = {}
    width = len(added)
    for trace_no, span_id, kind, role, cost_pico, *known in transaction.iterate(sql, values):
        if trace_no != trace:
            yield from standing.values()
            trace, standing = trace_no, {}
        _follow(standing, kind, BriefRow(trace_no, bytes(span_id), role, cost_pico, known[:width], known[width:]))
    yield from standing.values()


def _follow(standing: dict[bytes, BriefRow], kind: str, row: BriefRow) -> None:
    span_id = row.span_id
    if kind == CHARGE:
        standing[span_id] = row
        return
    before = standing.pop(span_id, None)
    if before is None or kind == REVERSAL:
        return
    if kind == REATTRIBUTION:
        before.keys = [*row.keys[: -len(FACTS_OF_MONEY)], *before.keys[-len(FACTS_OF_MONEY) :]]
        standing[span_id] = before
        return
    if row.cost_pico is not None or before.cost_pico is not None:
        row.cost_pico = (before.cost_pico or 0) + (row.cost_pico or 0)
    row.counts = [mine + theirs for mine, theirs in zip(row.counts, before.counts, strict=True)]
    if kind == ADJUSTMENT:
        row.keys = before.keys
    standing[span_id] = row


def _among(conditions: Sequence[str], from_ns: int, to_ns: int) -> tuple[str, list[Any]]:
    inner = " INTERSECT ".join(f"SELECT trace_no FROM entries WHERE {one} AND started_ns >= ? AND started_ns < ?" for one in conditions)
    return f"started_ns >= ? AND started_ns < ? AND trace_no IN ({inner})", [from_ns, to_ns] * (1 + len(conditions))


def _conditions(transaction: Transaction, tenants: Collection[str] | None, from_ns: int, to_ns: int) -> tuple[str, list[Any]]:
    """Time, and the traces in which a tenant asked for has a row: a reattribution may have brought it from another tenant."""
    where, values = "started_ns >= ? AND started_ns < ?", [from_ns, to_ns]
    wanted = all_tenants(transaction) if tenants is None else sorted(tenants)
    if len(wanted) > LIST_VALUES_MAX:
        return where, values
    marks = ", ".join("?" * len(wanted)) or "NULL"
    inner = f"SELECT trace_no FROM entries WHERE tenant IN ({marks}) AND started_ns >= ? AND started_ns < ?"
    return f"{where} AND trace_no IN ({inner})", [*values, *wanted, from_ns, to_ns]


def all_tenants(transaction: Transaction) -> list[str]:
    """Every tenant that has entries, by jumps through the index rather than a scan; stops behind `LIST_VALUES_MAX`."""
    tenants: list[str] = []
    found = transaction.execute("SELECT MIN(tenant) FROM entries")[0][0]
    while found is not None and len(tenants) <= LIST_VALUES_MAX:
        tenants.append(found)
        found = transaction.execute("SELECT MIN(tenant) FROM entries WHERE tenant > ?", (found,))[0][0]
    return tenants
