"""How a provider's own usage object on a span becomes facts: one way for all dialects whose senders attach it."""

from __future__ import annotations

from typing import Final

from otel_finops.genai.dialect import Facts
from otel_finops.genai.provider_usage import ProviderUsage

_WHOLE: Final = frozenset({"input", "output", "uncached"})


def take_provider_usage(facts: Facts, found: ProviderUsage) -> None:
    """Believe the provider's object over the instrumentation's sums when it has counts of its own; else fill gaps from it.

    A sender that attaches the object derived its sums from it, not always rightly: cached tokens may be in them or not. The tier, the
    residency and the answer's id fill gaps only. An object with broken counts spoils the usage only where nothing else gave any.
    """
    take_cost(facts, found)
    facts.tier_served = facts.tier_served or found.service_tier
    facts.speed = facts.speed or found.speed
    facts.response_id = facts.response_id or found.response_id
    if found.inference_geo is not None and facts.region_kind is None:
        facts.region, facts.region_kind = found.inference_geo, "inference_geo"
    if found.bad:
        facts.bad = facts.bad or not facts.counts
    elif _WHOLE.isdisjoint(found.counts):
        facts.counts = {**found.counts, **facts.counts}
    else:
        facts.counts, facts.bad = found.counts, False
        facts.exclusive, facts.reasoning_outside = found.exclusive, found.reasoning_outside


def take_cost(facts: Facts, found: ProviderUsage) -> None:
    """Take the cost that the provider answered."""
    if found.reported_source is not None:
        facts.state_cost(found.reported_pico, found.reported_source)
