"""Why a call costs what it costs, told from the same rates that made the quote. Prices are those of rows written out below."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.base.times import parse_ns
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.explain import Explanation, Ruled, explain
from otel_finops.pricing.house_rules import NO_RULES, Alias, HouseRules, Override
from otel_finops.pricing.quote import PriceableCall
from otel_finops.pricing.snapshot import Snapshot

NOON = parse_ns("2026-11-21T12:00:00Z")
ROWS: dict[str, dict[str, Any]] = {
    "azure/base": {
        "litellm_provider": "azure", "mode": "chat",
        "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06, "cache_read_input_token_cost": 5e-07,
        "input_cost_per_token_batches": 1e-06, "input_cost_per_token_priority": 3e-06,
        "input_cost_per_token_above_200k_tokens": 4e-06, "output_cost_per_token_above_200k_tokens": 1.2e-05,
        "regional_processing_uplift_multiplier_eu": 1.1,
    },
    "azure/drawing": {"litellm_provider": "azure", "mode": "image_generation", "output_cost_per_image": 0.04},
}  # fmt: skip
BOOK = PriceBook.of([Snapshot("litellm", "9.9", "0123456789abcdef", "2026-11-20", None, ROWS)])


def told(usage: dict[str, int], *, model: str = "base", rules: HouseRules = NO_RULES, **known: Any) -> Explanation:
    return explain(PriceEngine(BOOK.under(rules)), PriceableCall("azure.ai.openai", (model,), usage, NOON, **known))


def lines(found: Explanation) -> dict[str, tuple[str, str | None, str | None]]:
    return {one.line.unit: (one.line.rate_usd, one.field, one.note) for one in found.lines}


def test_a_plain_call_names_row_list_and_fields() -> None:
    found = told({"input_uncached": 1000, "cache_read": 10, "output": 100}, model="Base-2026-01-02")
    assert found.names == ("base-2026-01-02", "base")
    assert found.match is not None
    assert (found.match.key, found.match.kind, found.rules) == ("azure/base", "inferred", ())
    assert found.source is not None
    assert (found.source.source, found.source.source_version, found.source.version, found.source.date) == (
        "litellm", "9.9", "0123456789abcdef", "2026-11-20",
    )  # fmt: skip
    assert (found.tier_billed, found.above, found.factor) == ("standard", None, "1")
    assert lines(found) == {
        "input_uncached": ("0.000002", "input_cost_per_token", None),
        "cache_read": ("0.0000005", "cache_read_input_token_cost", None),
        "output": ("0.000008", "output_cost_per_token", None),
    }


def test_tiers_edges_and_factors_are_named() -> None:
    long = told({"input_uncached": 200_000, "cache_read": 1, "output": 9, "reasoning": 4}, service_tier="priority")
    assert (long.prompt, long.above, long.tier_asked, long.tier_billed, long.inside) == (
        200_001,
        200_000,
        "priority",
        "priority",
        ("reasoning",),
    )
    assert lines(long)["input_uncached"] == ("0.000004", "input_cost_per_token_above_200k_tokens", None)
    eu = told({"input_uncached": 1}, region_kind="data_residency", region="eu")
    assert (eu.factor, lines(eu)) == ("1.1", {"input_uncached": ("0.0000022", "input_cost_per_token", None)})
    assert told({"input_uncached": 1}, service_tier="flex").tier_billed == "standard"


def test_fall_backs_say_what_stands_in() -> None:
    """A batch's cached input without a price is billed as its input, 1 USD a million; its output at half of 8 USD."""
    found = told({"input_uncached": 1, "cache_read": 1, "cache_write_1h": 1, "output": 1}, service_tier="batch")
    assert lines(found) == {
        "input_uncached": ("0.000001", "input_cost_per_token_batches", None),
        "cache_read": ("0.000001", None, "no price of its own; the input rate (Fireworks: half of it) stands in"),
        "cache_write_1h": ("0.000001", None, "no price of its own; the 5 minute rate stands in"),
        "output": ("0.000004", "output_cost_per_token", "no price of its own; half of the standard price stands in"),
    }


def test_rules_are_named_in_the_order_in_which_they_act() -> None:
    rules = HouseRules(
        (
            Override("2", "contract", "azure", "azure/base", None, {"input_cost_per_token": 1.5e-06}),
            Override("3", "contract", "azure", "azure/base", "team-7", {"input_cost_per_token": 1.2e-06}),
            Override("4", "override", None, "mine", None, {"output_cost_per_token": 7e-06}, NOON, None),
        ),
        (Alias("1", "azure", "mine", "azure/base"),),
    )
    usage = {"input_uncached": 1, "output": 1}
    found = told(usage, model="mine", rules=rules)
    assert found.by_list is None
    assert found.rules == (
        Ruled(1, "alias", "mine stands for azure/base"),
        Ruled(2, "contract", "azure/base: input=1.5"),
        Ruled(4, "override", "mine: output=7, from 2026-11-21T12:00:00.000000000Z"),
    )
    assert found.quote.cost_pico == 1_500_000 + 7_000_000
    assert found.source is not None
    assert [one.rule for one in told(usage, model="mine", rules=rules, account="team-7").rules] == [1, 3, 4]
    assert [one.rule for one in told(usage, rules=rules).rules] == [2]


def test_a_model_that_only_rules_know_has_no_list() -> None:
    rules = HouseRules((Override("1", "override", "azure", "house", None, {"input_cost_per_token": 1e-06}),))
    found = told({"input_uncached": 5}, model="house", rules=rules)
    assert (found.by_list, found.source, found.quote.cost_pico) == (None, None, 5_000_000)


def test_a_call_without_a_price_says_what_was_asked_and_what_is_missing() -> None:
    unknown = told({"input_uncached": 5}, model="azure/nobodys")
    assert (unknown.quote.unpriced_reason, unknown.names, unknown.match, unknown.lines) == (
        "unknown_model", ("azure/nobodys", "nobodys"), None, (),
    )  # fmt: skip
    missing = told({"seconds": 5}, model="drawing")
    assert (missing.quote.unpriced_reason, missing.missing) == ("missing_rate", ("seconds",))


@pytest.mark.parametrize("tier", [None, "batch", "priority", "flex"])
def test_the_lines_are_those_of_the_quote(tier: str | None) -> None:
    found = told({"input_uncached": 250_000, "cache_write_5m": 3, "output": 7, "audio_in": 2}, service_tier=tier)
    assert tuple(one.line for one in found.lines) == found.quote.lines
    assert found.inside == ("audio_in",)
