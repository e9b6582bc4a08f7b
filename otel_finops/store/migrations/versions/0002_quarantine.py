"""Spans that cannot be recorded are kept apart, and a ledger knows itself by an id."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quarantine",
        sa.Column("quarantine_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("realm", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="tells versions of a span apart"),
        sa.Column("reason", sa.Text(), nullable=False, comment="type and place of the error, never its text"),
        sa.Column("held_since_ns", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True, comment="the sighting, see ledger.codec; NULL: it cannot be written down"),
        sa.PrimaryKeyConstraint("quarantine_no"),
        sa.UniqueConstraint("trace_id", "span_id", "realm", "digest", name="uq_quarantine_span"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ledger_identity",
        sa.Column("row_no", sa.SmallInteger(), autoincrement=False, nullable=False, comment="always 1: there is one row"),
        sa.Column("ledger_id", sa.Text(), nullable=False),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("row_no"),
        sa.CheckConstraint("row_no = 1", name="ck_ledger_identity_one_row"),
    )


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")
