"""The list of models: search, provider, source, pages."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import Rig

from otel_finops.identity.principals import LOCAL
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.price_refresh import PriceRefresher
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.pricing.sources.loading import load_sources
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock, RememberedTrail


@pytest.fixture
def context(store: Store) -> Context:
    clock = FakeClock()
    prices = CurrentPrices(store, clock, packaged_snapshot)
    return make_context(load(None, {}), store, Rig(store).subjects, prices, clock, trail=RememberedTrail())


def ask(context: Context, **given: Any) -> Json:
    one = OPERATIONS.named("prices.models")
    answer = invoke(one, context, LOCAL, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer)
    return answer


def test_models_are_found_by_a_part_of_their_key_and_by_provider(context: Context) -> None:
    found = ask(context, search="GPT-4O-mini", provider="OpenAI")
    keys = [one["key"] for one in found["models"] if not one["retired"]]
    assert "gpt-4o-mini" in keys
    assert keys == sorted(keys)
    assert {one["provider"] for one in found["models"]} == {"openai"}
    mini = next(one for one in found["models"] if one["key"] == "gpt-4o-mini")
    assert (mini["rates"]["input_cost_per_token"], mini["source"], mini["retired"]) == ("0.00000015", "litellm", False)
    assert ask(context, search="no such model") == {"models": [], "next_cursor": None, "total": 0}


def test_all_pages_are_the_whole_book(context: Context) -> None:
    keys: list[tuple[str, bool]] = []
    page = ask(context, limit=1000)
    keys += [(one["key"], one["retired"]) for one in page["models"]]
    while page["next_cursor"]:
        page = ask(context, limit=1000, cursor=page["next_cursor"])
        keys += [(one["key"], one["retired"]) for one in page["models"]]
    assert len(keys) == len(set(keys)) == page["total"] > 2000


def test_a_source_is_one_whose_list_is_active(context: Context, store: Store) -> None:
    assert ask(context, source="openrouter")["total"] == 0
    assert ask(context, source="litellm", limit=1)["total"] == ask(context, limit=1)["total"]
    clock = FakeClock()
    PriceRefresher(store, clock, CurrentPrices(store, clock, packaged_snapshot).base, load_sources()).adopt("test")
    assert ask(context, source="litellm", limit=1)["total"] == ask(context, limit=1)["total"]


def test_standard_prices_stand_beside_the_rates_per_million_tokens(context: Context) -> None:
    mini = next(one for one in ask(context, search="gpt-4o-mini")["models"] if one["key"] == "gpt-4o-mini")
    prices = {one["unit"]: (one["usd"], one["per"]) for one in mini["prices"]}
    assert (prices["input"], prices["output"]) == (("0.15", "million"), ("0.6", "million"))
    assert {one["tier"] for one in mini["prices"]} == {None}


def history(context: Context, **given: Any) -> Json:
    one = OPERATIONS.named("prices.history")
    answer = invoke(one, context, LOCAL, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer)
    return answer


def test_a_house_rule_parts_the_history_of_a_price(context: Context) -> None:
    """The list's 2.50 USD until the rule of 3 USD for a week, and then the list's again."""
    override = OPERATIONS.named("pricing.override")
    said = {"model": "gpt-4o", "prices": "input=3,output=12", "from": "2026-11-01", "to": "2026-11-08", "why": "agreed"}
    invoke(override, context, LOCAL, override.input.model_validate(said), origin="test")
    periods = history(context, model="gpt-4o", provider="openai")["periods"]
    shown = [(one["from"] and one["from"][:10], one["to"] and one["to"][:10], one["prices"][0]["usd"], one["holds"]) for one in periods[:3]]
    assert shown == [("2026-11-08", None, "2.5", True), ("2026-11-01", "2026-11-08", "3", False), (None, "2026-11-01", "2.5", False)]
    assert [one["kind"] for one in periods] == ["changed", "changed", "first"]
    first = history(context, model="gpt-4o", provider="openai", limit=1)
    assert history(context, model="gpt-4o", provider="openai", cursor=first["next_cursor"])["periods"] == periods[1:]


def test_what_has_no_price_has_a_history_that_says_so(context: Context) -> None:
    [only] = history(context, model="nobody/knows-it")["periods"]
    assert (only["key"], only["prices"], only["from"], only["to"], only["holds"]) == (None, [], None, None, True)
