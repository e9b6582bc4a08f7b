"""What caches of prompts saved, worked out by hand from cost lines."""

from __future__ import annotations

from otel_finops.base.limits import CACHE_MODELS_MAX
from otel_finops.insight.cache_savings import OTHERS, CacheTally, Pair, Savings, savings_of
from otel_finops.pricing.quote import CostLine

MICRO = 10**6
"""A millionth of a dollar in pico-USD."""
UNCACHED = CostLine("input_uncached", 400, "0.0000025", 1000 * MICRO)
"""400 tokens at 2.50 USD a million: 0.001 USD."""
READ = CostLine("cache_read", 600, "0.00000125", 750 * MICRO)
"""600 at half of it: 0.00075 USD."""
WRITE = CostLine("cache_write_5m", 1000, "0.000003125", 3125 * MICRO)
"""1,000 at five quarters of it: 0.003125 USD."""
OUTPUT = CostLine("output", 100, "0.00001", 1000 * MICRO)
PAIR = ("openai", "gpt-4o")


def call(*lines: CostLine, model: str = "gpt-4o") -> tuple[Pair, tuple[CostLine, ...]]:
    return ("openai", model), lines


def tallied(*calls: tuple[Pair, tuple[CostLine, ...]]) -> dict[Pair, Savings]:
    found = CacheTally()
    for pair, lines in calls:
        found.add(pair, lines)
    return found.by_model()


def test_reads_save_the_difference_to_the_uncached_rate() -> None:
    """600 tokens would have cost 0.0015 USD uncached, and cost 0.00075."""
    assert tallied(call(UNCACHED, READ, OUTPUT)) == {PAIR: Savings(1, 0, 600, 0, 750 * MICRO, 0)}


def test_writes_cost_more_than_they_spare() -> None:
    """1,000 tokens would have cost 0.0025 USD, and cost 0.003125."""
    assert tallied(call(UNCACHED, WRITE)) == {PAIR: Savings(1, 0, 0, 1000, 0, 625 * MICRO)}
    [both] = tallied(call(UNCACHED, WRITE), call(UNCACHED, READ)).values()
    assert both.net == 125 * MICRO


def test_calls_without_a_cache_count_for_nothing() -> None:
    assert tallied(call(UNCACHED, OUTPUT)) == {}


def test_a_call_without_uncached_tokens_takes_the_rate_of_others() -> None:
    whole = CostLine("cache_read", 2000, "0.00000125", 2500 * MICRO)
    assert tallied(call(whole), call(UNCACHED, READ)) == {PAIR: Savings(2, 0, 2600, 0, 3250 * MICRO, 0)}
    assert tallied(call(whole)) == {PAIR: Savings(unknown_calls=1)}
    assert tallied(call(whole), call(UNCACHED, READ, model="o3"))[PAIR] == Savings(unknown_calls=1)


def test_each_line_is_rounded_once_as_a_charge_is() -> None:
    """3 tokens at 1.5e-12 USD are 4.5 pico-USD, half-even 4; they were charged 1."""
    assert savings_of([CostLine("cache_read", 3, "0.0000000000005", 1)], "0.0000000000015").saved == 3


def test_models_beyond_the_limit_are_one() -> None:
    found = tallied(*(call(UNCACHED, READ, model=f"model {number}") for number in range(CACHE_MODELS_MAX + 2)))
    assert len(found) == CACHE_MODELS_MAX + 1
    assert found[OTHERS].calls == 2
