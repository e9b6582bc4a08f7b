"""Prices, house rules, exchange rates and periods are kept with the ledger, so that a charge can be explained years later."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are created by the parts below."""


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")
