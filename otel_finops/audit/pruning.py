"""Taking the old beginnings of chains away; an entry of the chain itself says up to where, so that the rest can still be proved.

The database refuses to delete entries; who prunes brings the one door that retention has (`ledger.door`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, TypeAlias

from otel_finops.audit.chain import Link, append
from otel_finops.audit.trail import Change, origin
from otel_finops.store.unit_of_work import Transaction

PRUNED: Final = "audit.prune"
"""What an entry is called that says up to where its chain was pruned."""
Door: TypeAlias = Callable[[Transaction, int], AbstractContextManager[None]]
"""Lets entries from before an instant be deleted inside its block."""

_OLD: Final = (
    "SELECT e.tenant, MAX(e.seq), COUNT(*) FROM audit_entries e LEFT JOIN "
    "(SELECT tenant, MIN(seq) AS first_seq FROM audit_entries WHERE at_ns >= ? GROUP BY tenant) AS younger ON younger.tenant = e.tenant "
    "WHERE e.at_ns < ? AND (younger.first_seq IS NULL OR e.seq < younger.first_seq) GROUP BY e.tenant ORDER BY e.tenant"
)
_HASH: Final = "SELECT hash FROM audit_entries WHERE tenant = ? AND seq = ?"
_ANCHOR: Final = (
    "INSERT INTO audit_anchors (tenant, seq, hash, pruned_ns) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (tenant) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, pruned_ns = excluded.pruned_ns"
)
_DELETE: Final = "DELETE FROM audit_entries WHERE tenant = ? AND seq <= ?"


class Beginning(NamedTuple):
    """Entries of a chain that are older than an instant, with none among them that is not: up to `last_seq`, `entries` of them."""

    tenant: str
    last_seq: int
    entries: int


def beginnings(transaction: Transaction, before_ns: int) -> list[Beginning]:
    """What of the chains is older; where the clock went back, what lies behind a younger entry stays with it."""
    return [Beginning(tenant, int(seq), int(count)) for tenant, seq, count in transaction.execute(_OLD, (before_ns, before_ns))]


def prune(transaction: Transaction, one: Beginning, before_ns: int, now_ns: int, who: str, door: Door) -> None:
    """Take a beginning away. The chain's own next entry names the last one that went, and its hash."""
    [(hash_,)] = transaction.execute(_HASH, (one.tenant, one.last_seq))
    last = Link(one.last_seq, bytes(hash_))
    after = {"seq": last.seq, "hash": last.hash.hex(), "entries": one.entries}
    append(transaction, Change(who, PRUNED, None, after, now_ns, origin(who), one.tenant))
    transaction.execute(_ANCHOR, (one.tenant, *last, now_ns))
    with door(transaction, before_ns):
        transaction.execute(_DELETE, (one.tenant, one.last_seq))
