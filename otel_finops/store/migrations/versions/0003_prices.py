"""Prices, house rules, exchange rates and periods are kept with the ledger, so that a charge can be explained years later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are created by the parts below."""
    _price_rules()


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")


def _price_rules() -> None:
    op.create_table(
        "price_rules",
        sa.Column("rule_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="override, contract, alias, or end: of the rule `ends_no`"),
        sa.Column("ends_no", sa.BigInteger(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True, comment="family; NULL: any"),
        sa.Column("model", sa.Text(), nullable=True, comment="name as spans carry it, or a price key, lower case"),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=True, comment="of an alias: the price key that it stands for"),
        sa.Column("fields", sa.Text(), nullable=True, comment="JSON: the price list's field names, USD for one unit as decimal strings"),
        sa.Column("valid_from_ns", sa.BigInteger(), nullable=True, comment="NULL: from the beginning"),
        sa.Column("valid_to_ns", sa.BigInteger(), nullable=True, comment="exclusive; NULL: open"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("recorded_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule_no"),
        sqlite_autoincrement=True,
    )
    _append_only("price_rules", "rule_no = NEW.rule_no", "a rule is ended, or followed by another one")


def _append_only(table: str, same: str, mended: str) -> None:
    """Refuse every change but further rows, as 0001 does for entries.

    Args:
        same: which rows a new one would replace, as SQL over `NEW`.
        mended: how something wrong is mended instead.
    """
    message = f"{table} are append-only: {mended}"
    if op.get_bind().dialect.name == "sqlite":
        refuse = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refuse}")
        return
    op.execute(
        f"""CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{message}' USING ERRCODE = 'restrict_violation';
        END $$"""
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only")
