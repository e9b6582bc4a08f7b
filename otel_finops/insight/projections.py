"""What insight keeps of settled traces, in the transaction that books them."""

from __future__ import annotations

from otel_finops.insight.outcomes_said import SaidOutcomes
from otel_finops.settings.tree import Settings


def told_outcomes(settings: Settings) -> tuple[SaidOutcomes, ...]:
    """What keeps the outcomes that spans tell: settlers hand it whole traces, corrections what they append."""
    return (SaidOutcomes(),) if settings.features.outcomes else ()
