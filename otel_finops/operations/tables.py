"""Stored answers of changes that were asked for under a key."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from otel_finops.store.schema import metadata

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("holder", Text, primary_key=True, comment="digest of the principal that sent it"),
    Column("key", Text, primary_key=True, comment="digest of the key"),
    Column("operation", Text, nullable=False),
    Column("given", Text, nullable=False, comment="digest of the operation's input"),
    Column("claimed_ns", BigInteger, nullable=False),
    Column("answer", LargeBinary, comment="deflated JSON without secrets; NULL: the change was begun and is not done yet"),
    Index("ix_idempotency_keys_claimed", "claimed_ns"),
    sqlite_with_rowid=False,
)
