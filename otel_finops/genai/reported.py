"""Costs that spans state: what the provider or gateway answered, what a gateway charged, and what somebody only reckoned.

The name of the source says which it is; whether such a cost is booked is decided by `pricing.reports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_finops.base.limits import REPORTED_USD_MAX
from otel_finops.genai.numbers import BAD_AMOUNT, read_amount

OPENROUTER: Final = "usage.cost"
"""OpenRouter's answer: USD charged for the call."""
PERPLEXITY: Final = "usage.cost.total_cost"
"""Perplexity's answer: USD, tokens and request fee together."""
XAI: Final = "usage.cost_in_usd_ticks"
"""xAI's answer: ticks of 1e-10 USD, after all discounts, tools included."""
ANSWERED: Final = frozenset({OPENROUTER, PERPLEXITY, XAI})
LITELLM: Final = frozenset({"gen_ai.cost.total_cost", "litellm.cost.total"})
"""What a LiteLLM proxy charges its caller, from its own price table and margins."""
_DELIBERATE: Final = LITELLM | {"langfuse.observation.cost_details"}
"""Costs that somebody charges or has set, not read off a public price list."""

_PICO_PER_TICK: Final = 100
_TICKS_MAX: Final = REPORTED_USD_MAX * 10**10
_TICKS: Final = ("cost_in_usd_ticks", "costInUsdTicks")
_UPSTREAM: Final = (("cost_details", "upstream_inference_cost"), ("costDetails", "upstreamInferenceCost"))


def answered_cost(usage: Mapping[str, object]) -> tuple[int | None, str | None]:
    """The cost in a provider's usage object as (pico-USD or `BAD_AMOUNT`, source); (None, None) when it states none, or 0."""
    for name in _TICKS:
        if usage.get(name):
            return _ticks(usage[name]), XAI
    cost = usage.get("cost")
    if isinstance(cost, Mapping):
        return _sourced(read_amount(cost.get("total_cost", cost.get("totalCost"))), PERPLEXITY)
    return _sourced(_routed(usage, cost), OPENROUTER)


def _ticks(value: object) -> int:
    """Ticks are whole; a float that is whole comes from senders that know no other numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _TICKS_MAX or value != int(value):
        return BAD_AMOUNT
    return int(value) * _PICO_PER_TICK


def _routed(usage: Mapping[str, object], cost: object) -> int | None:
    """With a key of one's own OpenRouter's cost is its fee alone; the vendor behind it bills the rest, which the answer states too."""
    amount = read_amount(cost)
    if usage.get("is_byok") is not True and usage.get("isByok") is not True:
        return amount
    stated = ((usage.get(details), name) for details, name in _UPSTREAM)
    parts = [amount, *(read_amount(details.get(name)) for details, name in stated if isinstance(details, Mapping))]
    if BAD_AMOUNT in parts:
        return BAD_AMOUNT
    return sum(part or 0 for part in parts) or None


def _sourced(amount: int | None, source: str) -> tuple[int | None, str | None]:
    return (None, None) if amount is None else (amount, source)


def trust_rank(source: str | None) -> int:
    """Which of several stated costs of one call is kept, least first: the provider's answer, what was set on purpose, anything else."""
    if source in ANSWERED:
        return 0
    return 1 if source in _DELIBERATE else 2
