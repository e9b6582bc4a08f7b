"""The chains of the trail: every entry holds the hash of the one before, so that a changed, lost or inserted one shows.

An entry's hash is SHA-256 over a fixed mark, the hash of the entry before, and its body exactly as it is stored. The database refuses a
second entry with the same number or the same predecessor, so that a chain cannot fork whoever writes at the same time.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from otel_finops.audit.redaction import canonical, recorded
from otel_finops.audit.trail import Change
from otel_finops.base.limits import AUDIT_TEXT_CHARS_MAX
from otel_finops.base.times import format_ns
from otel_finops.store.unit_of_work import Transaction

NO_HASH: Final = bytes(32)
"""What the first entry of a chain has before it."""
FORMAT: Final = "otel-finops-audit-1"
_MARK: Final = FORMAT.encode() + b"\0"
_LOCK: Final = "SELECT pg_advisory_xact_lock(?)"
_LAST: Final = "SELECT seq, hash FROM audit_entries WHERE tenant = ? ORDER BY seq DESC LIMIT 1"
_ANCHOR: Final = "SELECT seq, hash FROM audit_anchors WHERE tenant = ?"
_INSERT: Final = "INSERT INTO audit_entries (tenant, seq, prev, hash, body, at_ns, who, what, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Link(NamedTuple):
    """The end of a chain: number and hash of its last entry; 0 and zeros before the first."""

    seq: int
    hash: bytes


def link_hash(prev: bytes, body: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(_MARK + prev + body).digest()


def end_of(transaction: Transaction, tenant: str) -> Link:
    """The end of a tenant's chain; where all of it was pruned, the last entry that was."""
    for sql in (_LAST, _ANCHOR):
        for seq, hash_ in transaction.execute(sql, (tenant,)):
            return Link(int(seq), bytes(hash_))
    return Link(0, NO_HASH)


def append(transaction: Transaction, change: Change) -> int:
    """Add an entry to the chain of the change's tenant; returns its number. Who appends to the same chain waits for this transaction."""
    if transaction.engine_name == "postgresql":
        transaction.execute(_LOCK, (_lock_number(change.tenant),))  # SQLite has one writer anyway
    end = end_of(transaction, change.tenant)
    seq = end.seq + 1
    who, origin = (text[:AUDIT_TEXT_CHARS_MAX] for text in (change.who, change.origin))
    body = canonical({
        "tenant": change.tenant, "seq": seq, "at": format_ns(change.at_ns), "who": who, "what": change.what, "origin": origin,
        "outcome": change.outcome, "began": change.began, "before": recorded(change.before), "after": recorded(change.after),
    })  # fmt: skip
    row = (change.tenant, seq, end.hash, link_hash(end.hash, body), body, change.at_ns, who, change.what, change.outcome)
    transaction.execute(_INSERT, row)
    return seq


def _lock_number(tenant: str) -> int:
    """The number of a chain's lock: 63 bits of a hash."""
    return int.from_bytes(hashlib.sha256(_MARK + tenant.encode("utf-8", "backslashreplace")).digest()[:8], "big") >> 1
