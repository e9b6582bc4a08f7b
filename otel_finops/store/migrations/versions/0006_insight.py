"""What insight and alerting remember: findings, scenarios, rules, channels, deliveries, cost centres, bills."""

from __future__ import annotations

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are created by the parts below."""


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")
