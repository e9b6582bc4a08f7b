"""Tokens, the trail of changes, stored switches and what retention took away are kept with the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are created by the parts below."""
    _tokens()


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")


def _tokens() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for table, own in (("api_tokens", [sa.Column("role", sa.Text(), nullable=False)]), ("sender_tokens", [])):
        op.create_table(
            table,
            sa.Column("token_no", serial, autoincrement=True, nullable=False),
            sa.Column("name", sa.Text(), nullable=False, comment="who the audit trail says it was"),
            sa.Column("prefix", sa.Text(), nullable=False, comment="the first characters of the token, to be shown"),
            sa.Column("token_sha256", sa.Text(), nullable=False, comment="of the token's bytes, hex; the token itself is stored nowhere"),
            sa.Column("tenants", sa.Text(), nullable=False, comment='JSON list of names, sorted; ["*"]: all'),
            sa.Column("made_ns", sa.BigInteger(), nullable=False),
            sa.Column("made_by", sa.Text(), nullable=False),
            sa.Column("replaces_no", sa.BigInteger(), nullable=True, comment="the token that it was rotated from"),
            sa.Column("expires_ns", sa.BigInteger(), nullable=True, comment="NULL: never"),
            sa.Column("revoked_ns", sa.BigInteger(), nullable=True, comment="NULL: it is not"),
            sa.Column("revoked_by", sa.Text(), nullable=True),
            sa.Column("last_used_ns", sa.BigInteger(), nullable=True, comment="to the minute or so; NULL: never"),
            *own,
            sa.PrimaryKeyConstraint("token_no"),
            sa.UniqueConstraint("token_sha256", name=f"uq_{table}_token_sha256"),
            sqlite_autoincrement=True,
        )
    op.create_table(
        "token_revision",
        sa.Column("row_no", sa.SmallInteger(), autoincrement=False, nullable=False, comment="always 1: there is one row"),
        sa.Column(
            "revision",
            sa.BigInteger(),
            nullable=False,
            comment="raised in every transaction that changes a token, first of all: such wait in line",
        ),
        sa.PrimaryKeyConstraint("row_no"),
        sa.CheckConstraint("row_no = 1", name="ck_token_revision_one_row"),
    )
    op.execute("INSERT INTO token_revision (row_no, revision) VALUES (1, 0)")
