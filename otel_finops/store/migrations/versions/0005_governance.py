"""Budgets, reservations, decisions, policies, approvals and credits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are created by the parts below."""
    _budgets()


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("budget_no", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="create, update or delete"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose it is; '' for several"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False, comment="JSON: the other fields; users and sessions as references"),
        sa.Column(
            "counting", sa.BigInteger(), nullable=True, comment="the revision since which it counts what it counts now; NULL: this one"
        ),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("of_all", sa.Boolean(), nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
        sa.PrimaryKeyConstraint("revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_budgets_no", "budgets", ["budget_no", "revision"])
