"""What retention leaves behind: which months were pruned, by whom, and how blocks are proved whose rows are gone."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)

from otel_finops.store.schema import SERIAL, metadata

pruned_months: Final = Table(
    "pruned_months",
    metadata,
    Column("month", Text, primary_key=True, comment="YYYY-MM, UTC"),
    Column("to_ns", BigInteger, nullable=False, comment="exclusive; of what started before it no new traces are taken"),
    Column("begun_ns", BigInteger, nullable=False),
    Column("begun_by", Text, nullable=False),
)
"""Months whose rows are pruned, or about to be, append-only: a row stands here before the first of the month's is deleted."""

prunings: Final = Table(
    "prunings",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("block_seq", BigInteger, primary_key=True, autoincrement=False, comment="the block without rows that seals this statement"),
    Column("pruned_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("months", Text, nullable=False, comment='JSON: {"2024-06": [entries, sum_pico as text]}, keys sorted'),
    Column("entries", BigInteger, nullable=False),
    Column("sum_pico", Text, nullable=False, comment="exact sum of cost_pico, a decimal integer; it may pass 2^63"),
    sqlite_with_rowid=False,
)
"""Statements of what was pruned, one for each step, append-only (`ledger.pruned`)."""

pruned_blocks: Final = Table(
    "pruned_blocks",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="the block that lost rows"),
    Column("by_seq", BigInteger, primary_key=True, autoincrement=False, comment="the block that seals the statement which took them"),
    Column("rows_digest", LargeBinary, nullable=False, comment="over all rows that the block ever had: its hash is made of it"),
    Column("left_count", Integer, nullable=False),
    Column("left_digest", LargeBinary, nullable=False, comment="over the rows that are left"),
    sqlite_with_rowid=False,
)
"""How a block is proved whose rows are not all there; the row with the greatest `by_seq` holds. Append-only."""
Index("ix_pruned_blocks_by", pruned_blocks.c.shard, pruned_blocks.c.by_seq)

retention_never: Final = Table(
    "retention_never",
    metadata,
    Column("never_no", BigInteger, primary_key=True, autoincrement=False),
    CheckConstraint("never_no < 0 AND never_no > 0", name="ck_retention_never"),
)
"""Has no row, ever: what refers to one can be written, and not committed."""

retention_passes: Final = Table(
    "retention_passes",
    metadata,
    Column("pass_no", SERIAL, primary_key=True, autoincrement=True, comment="drawn at random"),
    Column("name", Text, nullable=False, comment="the table whose rows may go"),
    Column("shard", SmallInteger, nullable=False, comment="of entries; 0 for others"),
    Column("upto", BigInteger, nullable=False, comment="entries: the block that will seal the statement; others: rows before this time"),
    Column("xid", BigInteger, nullable=False, comment="PostgreSQL: the transaction that wrote it, the only one in which it holds; else 0"),
    Column("never_no", BigInteger, nullable=False, comment="keeps the row from being committed"),
    ForeignKeyConstraint(
        ["never_no"], ["retention_never.never_no"], name="fk_retention_passes_never", deferrable=True, initially="DEFERRED"
    ),
)
"""The door in the triggers of append-only tables; empty but inside the transaction that prunes (`ledger.door`)."""
