"""What governance keeps of booked entries, in the transaction that books them."""

from __future__ import annotations

from otel_finops.ledger.projection import Projection
from otel_finops.settings.tree import Settings


def projections(settings: Settings) -> tuple[Projection, ...]:
    """Everything of this room that must be told of entries, whoever appends them: settlers, corrections and runs alike."""
    return ()
