"""How the second source's data file becomes the packaged dated prices: read as text, never run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "vendor_dated_prices.py"
HEAD = "raise SystemExit('this file must not be run')\nproviders: list[Provider] = "


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("vendor_dated_prices", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built(tool: Any, provider: str, *models: str) -> dict[str, Any]:
    source = f"{HEAD}[Provider(id={provider!r}, models=[{', '.join(models)}])]"
    return dict(json.loads(tool.build(source.encode(), "9.9", "2026-11-21")))


def model(prices: str, name: str = "One", match: str = "ClauseEquals(equals='One')", more: str = "") -> str:
    return f"ModelInfo(id={name!r}, match={match}, prices={prices}{more})"


def test_prices_become_usd_for_one_unit_under_the_lists_names(tool: Any) -> None:
    given = {"input_mtok": "2.5", "cache_write_1h_mtok": "0.7", "audio_hours": "0.36", "web_searches_kcount": "10"}
    prices = ", ".join(f"{name}=Decimal({usd!r})" for name, usd in given.items())
    document = built(tool, "acme", model(f"ModelPrice({prices})"))
    assert document["models"]["acme/one"] == {
        "prices": [
            [
                "",
                {
                    "input_cost_per_token": 2.5e-06,
                    "cache_creation_input_token_cost_above_1hr": 7e-07,
                    "input_cost_per_second": 0.0001,
                    "search_context_cost_per_query": {"search_context_size_medium": 0.01},
                    "web_search_billing_unit": "per_query",
                },
            ]
        ]
    }


def test_conditions_become_days_and_hours_in_their_order(tool: Any) -> None:
    from_june = "StartDateConstraint(start_date=datetime.date(2026, 6, 1))"
    at_night = (
        "TimeOfDateConstraint(start_time=datetime.time(22, 0, tzinfo=datetime.UTC), end_time=datetime.time(0, 30, tzinfo=datetime.UTC))"
    )
    entries = ", ".join(
        f"ConditionalPrice({constraint}prices=ModelPrice(input_mtok=Decimal('{usd}')))"
        for constraint, usd in (("", 1), (f"constraint={from_june}, ", 2), (f"constraint={at_night}, ", 3))
    )
    series = built(tool, "acme", model(f"[{entries}]"))["models"]["acme/one"]["prices"]
    assert [when for when, _ in series] == ["", "2026-06-01", "22:00-00:30"]
    assert [fields["input_cost_per_token"] for _, fields in series] == [1e-06, 2e-06, 3e-06]


@pytest.mark.parametrize(("provider", "start", "edge"), [("acme", 200000, "200k"), ("acme", 199999, "199999"), ("x-ai", 199999, "200k")])
def test_tiers_become_long_context_prices_and_xais_edge_is_the_number_itself(tool: Any, provider: str, start: int, edge: str) -> None:
    tiered = f"TieredPrices(base=Decimal('1'), tiers=[Tier(start={start}, price=Decimal('2'))])"
    [[_, fields]] = built(tool, provider, model(f"ModelPrice(output_mtok={tiered})"))["models"][f"{provider}/one"]["prices"]
    assert fields == {"output_cost_per_token": 1e-06, f"output_cost_per_token_above_{edge}_tokens": 2e-06}


def test_kinds_of_requests_become_tiers_and_fast_mode_a_factor(tool: Any) -> None:
    variants = ", ".join(
        f"PriceVariant(when={{{kind!r}: {value!r}}}, prices=ModelPrice(input_mtok=Decimal({usd!r})))"
        for kind, value, usd in (("processing", "batch", "1"), ("service_tier", "fast", "4"), ("speed", "fast", "6"), ("route", "eu", "9"))
    )
    series = built(tool, "acme", model("ModelPrice(input_mtok=Decimal('2'))", more=f", price_variants=[{variants}]"))["models"]["acme/one"]
    assert series["variants"] == [
        ["", {"input_cost_per_token_batches": 1e-06}],
        ["", {"input_cost_per_token_priority": 4e-06}],
        ["", {"provider_specific_entry": {"fast": 3}}],
    ]


def test_whole_names_are_kept_and_parts_of_names_are_not(tool: Any) -> None:
    match = "ClauseOr(or_=[ClauseEquals(equals='one-of-may'), ClauseContains(contains='one'), ClauseStartsWith(starts_with='o')])"
    free = model("ModelPrice()", name="free")
    document = built(tool, "acme", model("ModelPrice(input_mtok=Decimal('2'))", match=match), free)
    assert document["names"] == {"acme/one-of-may": "acme/one"}
    assert list(document["models"]) == ["acme/one"], "a model without any price is not known"
