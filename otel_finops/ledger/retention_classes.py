"""Retention of what stands beside the ledger's entries and spans: small classes of rows with a time of their own.

Rows go in steps, each a transaction. What is append-only goes through the door (`ledger.door`), and of the trail of changes only from
the beginning of each chain, with an anchor on which the rest follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.audit.pruning import next_beginning, prune
from otel_finops.base.limits import PRUNE_STEP_ROWS
from otel_finops.ledger.door import Guarded, opened
from otel_finops.ledger.journal import prune_skeletons
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

SideClass: TypeAlias = Literal[
    "skeletons", "quarantine", "audit", "idempotency_keys", "correction_runs", "price_refreshes", "decisions", "reservations", "approvals",
    "approval_uses", "guardrail_rulings", "outcomes", "deliveries", "delivery_attempts",
]  # fmt: skip


class _Rows(NamedTuple):
    """Rows of a table that are old: `key` names them, `at` is their time, `but` says which of them stay all the same."""

    table: str
    key: str
    at: str
    but: str = ""
    guarded: Guarded | None = None


_RUN_HAS_ROWS: Final = (
    "EXISTS (SELECT 1 FROM correction_rounds c JOIN entries e ON e.shard = c.shard AND e.block_seq = c.block_seq "
    "WHERE c.run_no = correction_runs.run_no)"
)
_CLASSES: Final[dict[SideClass, _Rows]] = {
    "skeletons": _Rows("traces", "trace_no", "first_seen_ns", "has_genai"),
    "quarantine": _Rows("quarantine", "quarantine_no", "held_since_ns"),
    "audit": _Rows("audit_entries", "entry_no", "at_ns", guarded="audit_entries"),
    "idempotency_keys": _Rows("idempotency_keys", "holder, key", "claimed_ns"),
    "correction_runs": _Rows("correction_runs", "run_no", "started_ns", _RUN_HAS_ROWS, "correction_runs"),
    "price_refreshes": _Rows(
        "price_refreshes", "refresh_no", "at_ns", "refresh_no = (SELECT MAX(refresh_no) FROM price_refreshes)", "price_refreshes"
    ),
    "decisions": _Rows("decisions", "decision_no", "at_ns", guarded="decisions"),
    "reservations": _Rows("reservations", "reservation_id", "made_ns", "ended_ns IS NULL"),
    "approvals": _Rows("approvals", "approval_no", "expires_ns"),
    "approval_uses": _Rows("approval_uses", "approval_no, decision_id", "at_ns"),
    "guardrail_rulings": _Rows("guardrail_rulings", "decision_id, guardrail", "at_ns"),
    "outcomes": _Rows("outcomes_given", "outcome_no", "at_ns"),
    "deliveries": _Rows("deliveries", "delivery_no", "made_ns", "status = 'waiting'"),
    "delivery_attempts": _Rows("delivery_attempts", "delivery_no, attempt", "at_ns"),
}


class Gone(NamedTuple):
    """How many rows went, or would go, and the times of the oldest and newest of them."""

    rows: int = 0
    oldest_ns: int | None = None
    newest_ns: int | None = None


class SidePruner:
    """Prunes such rows; safe beside everybody else."""

    def __init__(self, store: Store, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._now_ns = now_ns

    def would_prune(self, name: SideClass, before_ns: int) -> Gone:
        """What `prune` would take."""
        with self._store.read() as transaction:
            return _found(transaction, name, before_ns)

    def prune(self, name: SideClass, before_ns: int, stop: Callable[[], bool] = lambda: False) -> Gone:
        """Take the rows before an instant; stopped, or broken off, it has taken whole steps.

        Raises:
            Busy, Unavailable: the store's; what was done stands.
        """
        with self._store.read() as transaction:
            found = _found(transaction, name, before_ns)
        gone = 0
        while found.rows and not stop():
            with self._store.write() as transaction:
                taken = self._step(transaction, name, before_ns)
            gone += taken
            if not taken:
                break
        return found._replace(rows=gone)

    def _step(self, transaction: Transaction, name: SideClass, before_ns: int) -> int:
        if name == "skeletons":
            return prune_skeletons(transaction, before_ns, PRUNE_STEP_ROWS)
        if name == "audit":
            return self._shorten_chain(transaction, before_ns)
        rows = _CLASSES[name]
        old = f"SELECT {rows.key} FROM {rows.table} WHERE {_old(rows)} LIMIT {PRUNE_STEP_ROWS}"
        sql = f"DELETE FROM {rows.table} WHERE ({rows.key}) IN ({old})"
        if rows.guarded is None:
            return transaction.executemany(sql, [(before_ns,)])
        with opened(transaction, rows.guarded, before_ns):
            taken = transaction.executemany(sql, [(before_ns,)])
        if name == "correction_runs":
            with opened(transaction, "correction_rounds", before_ns):
                transaction.execute("DELETE FROM correction_rounds WHERE run_no NOT IN (SELECT run_no FROM correction_runs)")
        return taken

    def _shorten_chain(self, transaction: Transaction, before_ns: int) -> int:
        """Take old entries from the beginning of one chain of the trail."""
        one = next_beginning(transaction, before_ns, PRUNE_STEP_ROWS)
        if one is None:
            return 0
        prune(transaction, one, before_ns, self._now_ns(), lambda transaction, upto: opened(transaction, "audit_entries", upto))
        return one.entries


def _old(rows: _Rows) -> str:
    return f"{rows.at} < ?" + (f" AND NOT ({rows.but})" if rows.but else "")


def _found(transaction: Transaction, name: SideClass, before_ns: int) -> Gone:
    rows = _CLASSES[name]
    if name == "skeletons":
        sql = "SELECT COUNT(*), MIN(t.first_seen_ns), MAX(t.first_seen_ns) FROM traces t JOIN journal j ON j.trace_no = t.trace_no "
        return Gone(*transaction.execute(f"{sql} WHERE NOT t.has_genai AND t.first_seen_ns < ?", (before_ns,))[0])
    sql = f"SELECT COUNT(*), MIN({rows.at}), MAX({rows.at}) FROM {rows.table} WHERE {_old(rows)}"
    return Gone(*transaction.execute(sql, (before_ns,))[0])
