"""The cascade by itself: lines add up whatever stands, discounts never raise a price, selectors mean what they list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_finops.base.errors import StartRefused
from otel_finops.base.times import parse_ns
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.engine import PriceEngine
from otel_finops.settings.load import load
from otel_finops.settings.money import Pricing

ENGINE = PriceEngine.load()
AT = parse_ns("2026-11-21T12:00:00Z")


def cascade(**rules: Any) -> Cascade:
    return Cascade.of(Pricing.model_validate_json(json.dumps(rules)))


def call(**known: Any) -> Sighting:
    facts: dict[str, Any] = {
        "realm": "default", "trace_id": "1" * 32, "span_id": "1" * 16, "parent_span_id": None, "name": "chat", "start_ns": AT, "end_ns": AT,
        "kind": CALL, "genai": True, "instance": "shop", "scope": "client", "provider": "openai", "request_model": "gpt-4o",
        "price_models": ("gpt-4o",), "usage": {"input_uncached": 1000, "output": 100}, "usage_source": "reported",
    }  # fmt: skip
    return Sighting(**{**facts, **known})


COUNTS = st.integers(0, 10**9)
PERCENT = st.decimals("0.000001", 100, places=6).filter(lambda percent: percent > 0)


@settings(max_examples=200, deadline=None)
@given(COUNTS, COUNTS, COUNTS, PERCENT, st.one_of(st.none(), st.integers(1, 10**16)))
def test_lines_add_up_to_the_cost_and_a_discount_never_raises_it(
    fresh: int, cached: int, output: int, percent: Any, stated: int | None
) -> None:
    rules = cascade(discounts=[{"percent": str(percent)}], trusted_reports=["bill"])
    usage = {"input_uncached": fresh, "cache_read": cached, "output": output}
    one = call(usage={unit: count for unit, count in usage.items() if count}, reported_pico=stated, reported_source=stated and "bill")
    quote, money = rules.charge(ENGINE, one)
    assert quote.cost_pico == sum(line.amount_pico for line in quote.lines)
    listed = ENGINE.quote(ENGINE.priceable(one)).cost_pico or 0
    contracted = quote.cost_pico if money.contracted is None else money.contracted
    assert contracted is not None
    assert 0 <= contracted <= listed
    if quote.method == "reported":
        assert quote.cost_pico == stated
    assert money.listed in (None, listed)


def test_a_discount_of_everything_is_free() -> None:
    quote, money = cascade(discounts=[{"percent": 100}]).charge(ENGINE, call())
    assert (quote.cost_pico, money.listed) == (0, 3_500_000_000)


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({"providers": ["openai"]}, True),
        ({"providers": ["Azure OpenAI", "open_ai", "openai"]}, True),
        ({"providers": ["azure"]}, False),
        ({"models": ["GPT-4O"]}, True),
        ({"models": ["gpt-4*"]}, True),
        ({"models": ["gpt-4"]}, False),
        ({"models": ["gpt.4o"]}, False),
        ({"tenants": ["acme"], "services": ["shop", "web"]}, True),
        ({"tenants": ["default"]}, False),
        ({"services": ["shop"], "environments": ["prod"]}, False),
        ({"tags": {"plan": ["gold", "silver"]}}, True),
        ({"tags": {"plan": ["free"]}}, False),
        ({"tags": {"tier": ["gold"]}}, False),
        ({"realms": ["default"], "agents": ["coder"], "cost_centers": ["r&d"], "purposes": ["review"]}, True),
        ({"realms": ["acme"]}, False),
    ],
)
def test_a_selector_wants_every_list_to_fit(selector: dict[str, Any], fits: bool) -> None:
    said = {"tenant": "acme", "service": "shop", "agent": "coder", "cost_center": "r&d", "purpose": "review"}
    one = call(attribution=said, tags={"plan": "gold"})
    quote, _ = cascade(discounts=[{"percent": 50, **selector}]).charge(ENGINE, one)
    assert quote.cost_pico == (1_750_000_000 if fits else 3_500_000_000)


def test_the_first_rule_that_fits_holds_and_discounts_are_not_added_up() -> None:
    rules = cascade(
        accounts=[{"account": "eu", "services": ["shop"]}, {"account": "all"}],
        discounts=[{"percent": 10, "accounts": ["eu"]}, {"percent": 20}],
    )
    assert rules.charge(ENGINE, call(attribution={"service": "shop"})).money.account == "eu"
    assert [rules.charge(ENGINE, call(attribution={"service": name})).quote.cost_pico for name in ("shop", "web")] == [
        3_150_000_000, 2_800_000_000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "value", "fault"),
    [
        ("DISCOUNTS", '[{"percent": 0}]', "greater than 0"),
        ("DISCOUNTS", '[{"percent": 101}]', "less than or equal to 100"),
        ("DISCOUNTS", '[{"percent": 5, "from": "soon"}]', "not an instant"),
        ("DISCOUNTS", '[{"percent": 5, "from": "2026-02-01", "to": "2026-01-01"}]', "`to` must lie behind `from`"),
        ("DISCOUNTS", '[{"percent": 5, "provider": "openai"}]', "no such field"),
        ("SUBSCRIPTIONS", '[{"id": "a", "fee": 5, "from": "2026-01-01"}]', "must say which calls it covers"),
        ("SUBSCRIPTIONS", '[{"id": "a", "fee": 5, "providers": ["openai"]}]', "needs `from`"),
        ("SUBSCRIPTIONS", '[{"id": "a", "fee": -5, "providers": ["openai"], "from": "2026-01-01"}]', "greater than or equal to 0"),
        ("SUBSCRIPTIONS", '[{"id": "a", "fee": 5, "currency": "euro", "providers": ["x"], "from": "2026-01-01"}]', "not an ISO 4217 code"),
        ("REPORT_FACTOR", "0.5", "greater than or equal to 1"),
    ],
)
def test_rules_that_contradict_themselves_refuse_the_start(setting: str, value: str, fault: str) -> None:
    with pytest.raises(StartRefused, match=fault):
        load(None, {f"OTEL_FINOPS_PRICING__{setting}": value})
