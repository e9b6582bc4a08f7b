"""The trail of changes: one chain a tenant."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text, UniqueConstraint

from otel_finops.store.schema import SERIAL, metadata

audit_entries: Final = Table(
    "audit_entries",
    metadata,
    Column("entry_no", SERIAL, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False, comment="whose chain; *: the whole service's"),
    Column("seq", BigInteger, nullable=False, comment="its place in the chain, from 1"),
    Column("prev", LargeBinary, nullable=False, comment="hash of the entry before, zeros for the first"),
    Column("hash", LargeBinary, nullable=False, comment="of prev and body, see audit.chain"),
    Column("body", LargeBinary, nullable=False, comment="canonical JSON; the columns below repeat what is looked for"),
    Column("at_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False, comment="the operation"),
    Column("outcome", Text, nullable=False, comment="done; of runs: begun, then done, unchanged or failed"),
    UniqueConstraint("tenant", "seq", name="uq_audit_entries_seq"),
    UniqueConstraint("tenant", "prev", name="uq_audit_entries_prev"),
    Index("ix_audit_entries_who", "who", "entry_no"),
    Index("ix_audit_entries_what", "what", "entry_no"),
    Index("ix_audit_entries_at", "at_ns"),
    sqlite_autoincrement=True,
)

audit_anchors: Final = Table(
    "audit_anchors",
    metadata,
    Column("tenant", Text, primary_key=True, comment="whose chain"),
    Column("seq", BigInteger, nullable=False, comment="the last entry that was pruned; what is left begins after it"),
    Column("hash", LargeBinary, nullable=False, comment="of that entry"),
    Column("pruned_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
