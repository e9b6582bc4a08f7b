"""Costs that spans state: whose they are, in which unit, and which of several is kept."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from scenes import call
from span_making import sighting

from otel_finops.genai.dialect import Facts
from otel_finops.genai.numbers import BAD_AMOUNT
from otel_finops.genai.reported import answered_cost
from otel_finops.genai.roles.facts import merged_facts

MILLI = 10**9
"""A thousandth of a dollar in pico-USD."""


@pytest.mark.parametrize(
    ("usage", "answer"),
    [
        ({"cost": 0.0042}, (4_200_000_000, "usage.cost")),
        ({"cost": {"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.006}}, (6 * MILLI, "usage.cost.total_cost")),
        ({"cost_in_usd_ticks": 37_756_000}, (3_775_600_000, "usage.cost_in_usd_ticks")),
        ({"costInUsdTicks": 20_000_000_000}, (2_000 * MILLI, "usage.cost_in_usd_ticks")),
        ({"cost": 0}, (None, None)),
        ({"prompt_tokens": 12}, (None, None)),
    ],
)
def test_each_providers_answer_is_read_in_its_own_unit(usage: dict[str, Any], answer: tuple[int | None, str | None]) -> None:
    assert answered_cost(usage) == answer


def test_with_a_key_of_ones_own_the_vendors_bill_comes_on_top_of_openrouters_fee() -> None:
    """5 % fee of 0.0001 beside 0.002 that the vendor bills: 0.0021."""
    usage = {"cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}}
    assert answered_cost(usage) == (2_100_000_000, "usage.cost")
    assert answered_cost({**usage, "cost": 0}) == (2 * MILLI, "usage.cost")
    assert answered_cost({**usage, "is_byok": False}) == (100_000_000, "usage.cost")


@pytest.mark.parametrize(
    "usage", [{"cost": -0.1}, {"cost": math.nan}, {"cost_in_usd_ticks": -7}, {"cost_in_usd_ticks": 0.5}, {"cost": 99_999}]
)
def test_an_impossible_cost_is_refused_and_its_place_kept(usage: dict[str, Any]) -> None:
    amount, source = answered_cost(usage)
    assert amount == BAD_AMOUNT
    facts = Facts()
    facts.state_cost(amount, source or "")
    assert (facts.reported_pico, facts.reported_source) == (None, source)


def test_the_providers_answer_beats_an_estimate_on_the_same_span() -> None:
    raw = json.dumps({"usage": {"prompt_tokens": 1000, "completion_tokens": 100, "cost": 0.004}})
    attributes = {"openinference.span.kind": "LLM", "llm.cost.total": 0.5, "llm.provider": "openrouter", "output.value": raw}
    seen = sighting(attributes)
    assert (seen.provider, seen.reported_pico, seen.reported_source) == ("openrouter", 4 * MILLI, "usage.cost")


def test_of_several_sightings_the_providers_answer_is_kept_whoever_is_best_informed() -> None:
    estimate = call("a", reported_pico=5 * MILLI, reported_source="operation.cost")
    answer = call("b", reported_pico=4 * MILLI, reported_source="usage.cost")
    refused = call("c", reported_source="usage.cost")
    merged = merged_facts(estimate, [estimate, answer, refused], {})
    assert (merged.reported_pico, merged.reported_source) == (4 * MILLI, "usage.cost")
    merged = merged_facts(estimate, [call("d"), refused], {})
    assert (merged.reported_pico, merged.reported_source) == (None, "usage.cost")
