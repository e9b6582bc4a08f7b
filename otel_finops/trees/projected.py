"""Keeps `runs`, `run_shares` and `trace_sums` in the transactions that append entries, by making a trace's rows anew.

Nothing is added up from one change to the next: what a trace's rows say follows from its spans and from what stands of it, so neither
the order of arrival nor reversals and corrections can leave a trace of their own. Rows that come out as they were are not written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from otel_finops.base.limits import FIGURES_TRACES_AT_ONCE
from otel_finops.base.money import PICO_PER_USD
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.journal import standing_traces, trace_states
from otel_finops.ledger.projection import SettledTrace, Write
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.standing import fold
from otel_finops.store.unit_of_work import Row, Transaction
from otel_finops.trees.figures import Amounts, RunFigures, TraceSum, runs_of, sums_of

TO_FILL: Final = "run_figures_to_fill"
"""Counter: traces up to this number were settled by a version that kept no figures, and still have none."""

_ALL: Final = 2**62
"""More than any trace's number."""
Key: TypeAlias = tuple[Any, ...]


class KeptRows:
    """A table of rows that belong to traces, with the statements that it needs."""

    def __init__(self, table: str, key: int, columns: Sequence[str]) -> None:
        self.key_of: Callable[[Row], Key] = lambda row: row[:key]
        names = ", ".join(columns)
        where = " AND ".join(f"{name} = ?" for name in columns[:key])
        self.insert: Final = f"INSERT INTO {table} ({names}) VALUES"
        self.select: Final = f"SELECT {names} FROM {table} WHERE trace_no IN ({{}})"
        self.delete: Final = f"DELETE FROM {table} WHERE {where}"

    def put(self, transaction: Transaction, rows: list[Row], known: Collection[int], gone: Callable[[Row], bool]) -> None:
        """Make the rows of these traces be `rows`; of traces that had some before, those that are `gone` are deleted."""
        if known:
            fresh = {self.key_of(row): row for row in rows}
            stale = []
            for stored in transaction.select_in(self.select, sorted(known)):
                row = tuple([bytes(value) if isinstance(value, memoryview) else value for value in stored])
                key = self.key_of(row)
                if fresh.get(key) == row:
                    del fresh[key]
                elif key in fresh or gone(row):
                    stale.append(key)
            transaction.executemany(self.delete, sorted(stale))
            rows = list(fresh.values())
        rows.sort(key=self.key_of)
        transaction.write_values(self.insert, rows)


_AMOUNTS: Final = (
    "calls", "failed_calls", "unpriced_calls", "tokens", "tools", "failed_tools", "cost_usd", "cost_pico", "own_calls", "own_usd",
    "own_pico",
)  # fmt: skip
_RUNS: Final = KeptRows("runs", 2, (
    "trace_no", "span_id", "parent_run", "tenant", "kind", "name", "agent", "workflow", "service", "environment", "user_ref", "session_ref",
    "started_ns", "duration_ns", "error_type", "finish_reason", "children", *_AMOUNTS,
))  # fmt: skip
_SHARES: Final = KeptRows("run_shares", 3, ("trace_no", "span_id", "tenant", *_AMOUNTS))
_SUMS: Final = KeptRows("trace_sums", 4, (
    "trace_no", "tenant", "session_ref", "user_ref", "calls", "failed_calls", "unpriced_calls", "tokens", "cost_usd", "cost_pico",
    "started_ns", "ended_ns",
))  # fmt: skip


class TraceFigures:
    """The projection; settlers hand it whole traces, corrections what they append."""

    def planned(self, traces: Sequence[SettledTrace]) -> Write:
        """See `ledger.projection.TraceProjection`."""
        runs: list[Row] = []
        shares: list[Row] = []
        sums: list[Row] = []
        for trace in traces:
            for run in runs_of(trace.sightings, trace.standing):
                runs.append(_run_row(trace.trace_no, run))
                shares += [_share_row(trace.trace_no, run.span_id, tenant, amounts) for tenant, amounts in run.elsewhere.items()]
            sums += [_sum_row(trace.trace_no, one) for one in sums_of(trace.standing.values())]
        known = {trace.trace_no for trace in traces if trace.booked}
        seen = _spans(trace for trace in traces if trace.booked)

        def write(transaction: Transaction) -> None:
            gone = _gone(seen)
            _RUNS.put(transaction, runs, known, gone)
            _SHARES.put(transaction, shares, known, gone)
            _SUMS.put(transaction, sums, known, _all)

        return write

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """Make the rows of the entries' traces anew from what is stored; for corrections, which see no whole traces."""
        self.remake(transaction, {entry.trace_no for entry in entries})

    def remake(self, transaction: Transaction, trace_nos: Collection[int]) -> None:
        """Make the rows of these traces anew; nobody may settle them meanwhile."""
        wanted = sorted(trace_nos)
        for start in range(0, len(wanted), FIGURES_TRACES_AT_ONCE):
            self.planned(stored_traces(transaction, wanted[start : start + FIGURES_TRACES_AT_ONCE]))(transaction)


def fill(transaction: Transaction, figures: TraceFigures, traces: int) -> int:
    """Make the rows of some traces that were settled before there were any, the newest first; returns how many traces are left at most.

    The traces are locked, as settling locks those that it has settled before it writes their rows.
    """
    found = transaction.execute("SELECT value FROM counters WHERE name = ?", (TO_FILL,))
    if not found:
        return 0
    last = int(found[0][0])
    lock = " FOR UPDATE" if transaction.engine_name == "postgresql" else ""
    sql = "SELECT trace_no FROM traces WHERE booked AND trace_no <= ? ORDER BY trace_no DESC LIMIT ?"
    trace_nos = sorted(int(trace_no) for (trace_no,) in transaction.execute(sql, (last, traces)))
    transaction.execute(f"SELECT trace_no FROM traces WHERE trace_no BETWEEN ? AND ? ORDER BY trace_no{lock}", _ends(trace_nos))
    figures.remake(transaction, trace_nos)
    left = trace_nos[0] - 1 if len(trace_nos) == traces else 0
    if left:
        transaction.execute("UPDATE counters SET value = ? WHERE name = ?", (left, TO_FILL))
    else:
        transaction.execute("DELETE FROM counters WHERE name = ?", (TO_FILL,))
    return left


def leave(transaction: Transaction) -> None:
    """Say that no figures are kept for now: whoever keeps them again makes those of every trace."""
    if transaction.execute("SELECT 1 FROM counters WHERE name = ? AND value = ?", (TO_FILL, _ALL)):
        return
    sql = "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    transaction.execute(sql, (TO_FILL, _ALL))


def _ends(trace_nos: Sequence[int]) -> tuple[int, int]:
    return (trace_nos[0], trace_nos[-1]) if trace_nos else (0, -1)


def stored_traces(transaction: Transaction, trace_nos: Sequence[int]) -> list[SettledTrace]:
    """Traces as their last settling left them, with what was corrected since."""
    standing: dict[int, dict[str, Entry]] = {}
    for net in fold(entries_of_traces(transaction, trace_nos)).values():
        standing.setdefault(net.trace_no, {})[net.span_id] = net
    sightings = {state.trace_no: seen for state, seen in standing_traces(transaction, trace_nos)}
    return [
        SettledTrace(state.trace_no, True, sightings.get(state.trace_no, ()), standing.get(state.trace_no, {}))
        for state in trace_states(transaction, trace_nos)
    ]


def _spans(traces: Iterable[SettledTrace]) -> Mapping[int, frozenset[bytes]]:
    """The spans that the journal still holds, by trace."""
    return {trace.trace_no: frozenset(bytes.fromhex(one.span_id) for one in trace.sightings) for trace in traces}


def _gone(seen: Mapping[int, frozenset[bytes]]) -> Callable[[Row], bool]:
    """Whether a run's row that was not made again is of a span that the journal holds; the absence of a span says nothing."""
    return lambda row: row[1] in seen[row[0]]


def _all(row: Row) -> bool:
    return True


def _amounts(amounts: Amounts) -> tuple[int, ...]:
    calls, failed_calls, unpriced_calls, tokens, tools, failed_tools, cost_pico, own_calls, own_pico = amounts
    return (
        calls, failed_calls, unpriced_calls, tokens, tools, failed_tools, *divmod(cost_pico, PICO_PER_USD), own_calls,
        *divmod(own_pico, PICO_PER_USD),
    )  # fmt: skip


def _run_row(trace_no: int, run: RunFigures) -> Row:
    span_id, parent_run, *said, amounts, _elsewhere = run
    above = None if parent_run is None else bytes.fromhex(parent_run)
    return (trace_no, bytes.fromhex(span_id), above, *said, *_amounts(amounts))


def _share_row(trace_no: int, span_id: str, tenant: str, amounts: Amounts) -> Row:
    return (trace_no, bytes.fromhex(span_id), tenant, *_amounts(amounts))


def _sum_row(trace_no: int, one: TraceSum) -> Row:
    tenant, session, user, calls, failed_calls, unpriced_calls, tokens, cost_pico, started_ns, ended_ns = one
    money = divmod(cost_pico, PICO_PER_USD)
    return (trace_no, tenant, session, user, calls, failed_calls, unpriced_calls, tokens, *money, started_ns, ended_ns)
