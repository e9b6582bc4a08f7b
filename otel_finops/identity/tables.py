"""Stored tokens: what the API and senders may be used with, and what tells running processes that something changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, Column, SmallInteger, Table, Text, UniqueConstraint

from otel_finops.store.schema import SERIAL, metadata


def _token_columns() -> Iterator[Column[Any]]:
    yield Column("token_no", SERIAL, primary_key=True, autoincrement=True)
    yield Column("name", Text, nullable=False, comment="who the audit trail says it was")
    yield Column("prefix", Text, nullable=False, comment="the first characters of the token, to be shown")
    yield Column("token_sha256", Text, nullable=False, comment="of the token's bytes, hex; the token itself is stored nowhere")
    yield Column("tenants", Text, nullable=False, comment='JSON list of names, sorted; ["*"]: all')
    yield Column("made_ns", BigInteger, nullable=False)
    yield Column("made_by", Text, nullable=False)
    yield Column("replaces_no", BigInteger, comment="the token that it was rotated from")
    yield Column("expires_ns", BigInteger, comment="NULL: never")
    yield Column("revoked_ns", BigInteger, comment="NULL: it is not")
    yield Column("revoked_by", Text)
    yield Column("last_used_ns", BigInteger, comment="to the minute or so; NULL: never")


api_tokens: Final = Table(
    "api_tokens",
    metadata,
    *_token_columns(),
    Column("role", Text, nullable=False),
    UniqueConstraint("token_sha256", name="uq_api_tokens_token_sha256"),
    sqlite_autoincrement=True,
)
"""Tokens for people and programs that use the API (`identity.stored`)."""

sender_tokens: Final = Table(
    "sender_tokens",
    metadata,
    *_token_columns(),
    UniqueConstraint("token_sha256", name="uq_sender_tokens_token_sha256"),
    sqlite_autoincrement=True,
)
"""Tokens with which spans may be sent (`identity.stored`)."""

token_revision: Final = Table(
    "token_revision",
    metadata,
    Column("row_no", SmallInteger, primary_key=True, autoincrement=False, comment="always 1: there is one row"),
    Column(
        "revision", BigInteger, nullable=False, comment="raised in every transaction that changes a token, first of all: such wait in line"
    ),
    CheckConstraint("row_no = 1", name="ck_token_revision_one_row"),
)
"""What running processes look at to see whether tokens were made, changed or revoked."""
