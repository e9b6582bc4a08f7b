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

_WHO: Final = "retention"
PRUNED: Final = "audit.prune"
"""What an entry is called that says up to where its chain was pruned."""
Door: TypeAlias = Callable[[Transaction, int], AbstractContextManager[None]]
"""Lets entries from before an instant be deleted inside its block."""

_WITH_OLD: Final = "SELECT tenant FROM audit_entries WHERE at_ns < ? GROUP BY tenant ORDER BY tenant"
_FIRST_YOUNG: Final = "SELECT MIN(seq) FROM audit_entries WHERE tenant = ? AND at_ns >= ?"
_OLD: Final = "SELECT seq, hash FROM audit_entries WHERE tenant = ? AND seq < ? ORDER BY seq LIMIT ?"
_SEQ_MAX: Final = 2**63 - 1
_ANCHOR: Final = (
    "INSERT INTO audit_anchors (tenant, seq, hash, pruned_ns) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (tenant) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, pruned_ns = excluded.pruned_ns"
)
_DELETE: Final = "DELETE FROM audit_entries WHERE tenant = ? AND seq <= ?"


class Beginning(NamedTuple):
    """Entries of a chain that are older than an instant, with none before them that is not: `entries` of them, up to `last`."""

    tenant: str
    last: Link
    entries: int


def next_beginning(transaction: Transaction, before_ns: int, most: int) -> Beginning | None:
    """What of the first chain with old entries can go, at most so many; None when nothing can. Where the clock went back, an old entry
    behind a younger one stays as long as that.
    """
    for (tenant,) in transaction.execute(_WITH_OLD, (before_ns,)):
        [(young,)] = transaction.execute(_FIRST_YOUNG, (tenant, before_ns))
        if old := transaction.execute(_OLD, (tenant, _SEQ_MAX if young is None else young, most)):
            return Beginning(tenant, Link(int(old[-1][0]), bytes(old[-1][1])), len(old))
    return None


def prune(transaction: Transaction, one: Beginning, before_ns: int, now_ns: int, door: Door) -> None:
    """Take a beginning away. The chain's own next entry names the last one that went, and its hash."""
    after = {"seq": one.last.seq, "hash": one.last.hash.hex(), "entries": one.entries}
    append(transaction, Change(_WHO, PRUNED, None, after, now_ns, origin(_WHO), one.tenant))
    transaction.execute(_ANCHOR, (one.tenant, *one.last, now_ns))
    with door(transaction, before_ns):
        transaction.execute(_DELETE, (one.tenant, one.last.seq))
