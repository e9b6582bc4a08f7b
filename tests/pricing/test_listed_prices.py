"""A row's prices one by one: short names, tiers, edges, units."""

from __future__ import annotations

from decimal import Decimal

from otel_finops.pricing.listed import listed_prices


def test_tokens_are_priced_per_million_and_other_things_for_one() -> None:
    row = {
        "litellm_provider": "openai",
        "output_cost_per_token": 1e-05,
        "input_cost_per_token": 2.5e-06,
        "input_cost_per_token_above_272k_tokens_batches": 2.5e-06,
        "input_cost_per_token_flex": 1.25e-06,
        "output_cost_per_image": 0.04,
        "citation_cost_per_token": 1e-06,
    }
    assert [(one.unit, one.tier, one.above, one.usd, one.per) for one in listed_prices(row)] == [
        ("input", None, None, Decimal("2.5"), "million"),
        ("output", None, None, Decimal("10"), "million"),
        ("citation_cost_per_token", None, None, Decimal("1"), "million"),
        ("images", None, None, Decimal("0.04"), "one"),
        ("input", "flex", None, Decimal("1.25"), "million"),
        ("input", "batch", "272k", Decimal("2.5"), "million"),
    ]


def test_nested_prices_say_where_they_stand_and_factors_are_no_prices() -> None:
    row = {
        "tiered_pricing": [
            {"range": [0, 256000], "input_cost_per_token": 5e-08},
            {"range": [256000, 1000000], "input_cost_per_token": 2.5e-07},
        ],
        "regional_processing_uplift_multiplier_eu": 1.1,
        "provider_specific_entry": {"us": 1.1},
    }
    assert [(one.field, one.unit, one.within, one.usd, one.per) for one in listed_prices(row)] == [
        ("provider_specific_entry.us", "provider_specific_entry.us", None, Decimal("1.1"), "factor"),
        ("regional_processing_uplift_multiplier_eu", "regional_processing_uplift_multiplier_eu", None, Decimal("1.1"), "factor"),
        ("tiered_pricing[0].input_cost_per_token", "input", "tiered_pricing[0]", Decimal("0.05"), "million"),
        ("tiered_pricing[1].input_cost_per_token", "input", "tiered_pricing[1]", Decimal("0.25"), "million"),
    ]
