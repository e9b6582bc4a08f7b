"""Which cost of a call stands in the ledger: reported, covered, computed or unpriced, and what is really paid."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from ledger_rig import CENT, PRICES, Rig, call, plain, span_id

from otel_finops.genai.sighting import AGENT, RANK_FRAMEWORK, Sighting
from otel_finops.ledger.rows import to_contract
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.house_rules import Alias, HouseRules, Override
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings.money import Pricing
from otel_finops.store.engine import Store

MILLI = 10**9
"""A thousandth of a dollar in pico-USD."""
PRICE = 35 * CENT // 100
"""What `call` costs by the book: 0.0035 USD."""
ROUTED = {"provider": "openrouter", "reported_source": "usage.cost", "request_model": "openai/gpt-4o", "price_models": ("openai/gpt-4o",)}


def cascade(**settings: Any) -> Cascade:
    return Cascade.of(Pricing.model_validate_json(json.dumps(settings)))


def one(rig: Rig, *sightings: Sighting) -> dict[str, Any]:
    """The standing row of span 1, as the contract has it."""
    rig.settle(*sightings)
    return to_contract(rig.net()[span_id(1)])


def test_the_answer_of_the_provider_is_the_cost(store: Store) -> None:
    """OpenRouter charges 0.004 where the book says 0.0035."""
    row = one(Rig(store), call(1, reported_pico=4 * MILLI, **ROUTED))
    assert (row["cost_usd"], row["cost_method"], row["reported_usd"]) == ("0.004", "reported", "0.004")
    assert (row["list_usd"], row["contracted_usd"], row["billed_usd"], row["effective_usd"]) == ("0.0035", "0.0035", "0.004", "0.004")
    assert row["cost_lines"] == [{"unit": "requests", "quantity": 1, "rate_usd": "0.004", "amount_usd": "0.004"}]


def test_a_seat_covers_the_calls_of_its_user(store: Store) -> None:
    """Rows name users by reference; a seat of somebody whom nobody has seen yet covers nothing."""
    seats = cascade(
        subscriptions=[
            {"id": "ann's", "users": ["ann"], "fee": 20, "from": "2026-11-01"},
            {"id": "eve's", "users": ["eve"], "fee": 20, "from": "2026-11-01"},
        ]
    )
    rig = Rig(store, cascade=seats)
    rig.settle(call(1, attribution={"user": "ann"}), call(2, trace=2, at_s=9, attribution={"user": "bob"}), call(3, trace=3, at_s=18))
    assert [rig.net()[span_id(span)].coverage_id for span in (1, 2, 3)] == ["ann's", None, None]


def test_of_a_model_without_a_price_the_answer_is_all_that_is_known(store: Store) -> None:
    row = one(Rig(store), call(1, reported_pico=MILLI, **{**ROUTED, "price_models": ("nobody/nothing",)}))
    assert (row["cost_usd"], row["cost_method"], row["unpriced_reason"], row["list_usd"]) == ("0.001", "reported", None, "0.001")


@pytest.mark.parametrize(
    ("stated", "method"),
    [
        (PRICE // 10, "reported"),
        (PRICE // 10 - 1, "computed"),
        (10 * PRICE + 20 * MILLI, "reported"),
        (10 * PRICE + 20 * MILLI + 1, "computed"),
    ],
)
def test_an_answer_outside_of_the_band_is_kept_and_not_booked(store: Store, stated: int, method: str) -> None:
    """The band is a tenth to ten times 0.0035, and 0.02 more for fees: 0.00035 to 0.055."""
    row = one(Rig(store), call(1, reported_pico=stated, **ROUTED))
    assert row["cost_method"] == method
    assert row["reported_usd"] is not None
    assert (row["cost_usd"] == "0.0035") is (method == "computed")


@pytest.mark.parametrize(
    "source", ["operation.cost", "llm.cost.total", "gen_ai.usage.cost", "cost_usd", "gen_ai.cost.total_cost", "usage.cost"]
)
def test_what_a_sender_reckons_is_only_kept(store: Store, source: str) -> None:
    row = one(Rig(store), call(1, reported_pico=4 * MILLI, reported_source=source))
    assert (row["cost_usd"], row["cost_method"], row["reported_usd"], row["reported_source"]) == ("0.0035", "computed", "0.004", source)


def test_a_proxy_is_believed_where_the_operator_says_so(store: Store) -> None:
    trusted = cascade(trusted_reports=[{"source": "litellm", "services": ["llm-proxy"]}])
    rig = Rig(store, cascade=trusted)
    known = {"reported_pico": 4 * MILLI, "reported_source": "gen_ai.cost.total_cost"}
    rig.settle(call(1, attribution={"service": "llm-proxy"}, **known), call(2, trace=2, attribution={"service": "shop"}, **known))
    assert [rig.net()[span_id(span)].cost_method for span in (1, 2)] == ["reported", "computed"]


def test_a_covered_call_costs_nothing_and_keeps_its_shadow_price(store: Store) -> None:
    covered = cascade(subscriptions=[{"id": "seat", "providers": ["openai"], "fee": 20, "from": "2026-01-01"}])
    row = one(Rig(store, cascade=covered), call(1, reported_pico=4 * MILLI, reported_source="cost_usd"))
    assert (row["cost_usd"], row["cost_method"], row["coverage_id"], row["cost_lines"]) == ("0", "covered", "seat", [])
    assert (row["list_usd"], row["contracted_usd"], row["billed_usd"], row["effective_usd"]) == ("0.0035", "0.0035", "0", None)


def test_a_covered_call_of_an_unknown_model_is_covered_all_the_same(store: Store) -> None:
    covered = cascade(subscriptions=[{"id": "seat", "providers": ["openai"], "fee": 20, "from": "2026-01-01"}])
    row = one(Rig(store, cascade=covered), call(1, price_models=("gpt-of-tomorrow",), request_model="gpt-of-tomorrow"))
    assert (row["cost_usd"], row["cost_method"], row["unpriced_reason"], row["list_usd"]) == ("0", "covered", None, None)


def test_what_the_provider_says_it_charged_was_not_covered(store: Store) -> None:
    covered = cascade(subscriptions=[{"id": "seat", "tenants": ["default"], "fee": 20, "from": "2026-01-01"}])
    assert one(Rig(store, cascade=covered), call(1, reported_pico=4 * MILLI, **ROUTED))["cost_method"] == "reported"


def test_a_discount_is_taken_line_by_line(store: Store) -> None:
    """12.5 % off 0.0025 + 0.0010 leaves 0.0021875 + 0.000875 = 0.0030625."""
    rules = cascade(
        accounts=[{"account": "eu", "providers": ["openai"], "services": ["shop"]}],
        discounts=[{"percent": 12.5, "accounts": ["eu"], "models": ["gpt-4*"]}],
    )
    row = one(Rig(store, cascade=rules), call(1, attribution={"service": "shop"}))
    assert (row["account"], row["cost_method"]) == ("eu", "computed")
    assert (row["list_usd"], row["contracted_usd"], row["cost_usd"], row["billed_usd"]) == ("0.0035", "0.0030625", "0.0030625", "0.0030625")
    assert [line["amount_usd"] for line in row["cost_lines"]] == ["0.0021875", "0.000875"]


def test_a_contract_price_stands_beside_the_list_price(store: Store) -> None:
    """2 USD a million in instead of 2.50, for the account `eu`: 0.0020 + 0.0010, and half of it with the discount; all others pay 2.25."""
    contracts = (
        Override("1", "contract", "openai", "gpt-4o", "eu", {"input_cost_per_token": 2e-06}),
        Override("2", "contract", None, "gpt-4o", None, {"input_cost_per_token": 2.25e-06}),
    )
    engine = PriceEngine(PriceBook.of([packaged_snapshot()], HouseRules(contracts)))
    rules = cascade(accounts=[{"account": "eu", "services": ["shop"]}], discounts=[{"percent": 50, "accounts": ["eu"]}])
    rig = Rig(store, engine, cascade=rules)
    rig.settle(call(1, attribution={"service": "shop"}), call(2, trace=2, at_s=9), call(3, trace=3, at_s=18, provider="azure"))
    rows = [to_contract(rig.net()[span_id(span)]) for span in (1, 2, 3)]
    assert [(row["list_usd"], row["contracted_usd"], row["cost_usd"], row["account"]) for row in rows] == [
        ("0.0035", "0.0015", "0.0015", "eu"), ("0.0035", "0.00325", "0.00325", None), ("0.0035", "0.00325", "0.00325", None),
    ]  # fmt: skip


def test_rules_hold_within_their_dates(store: Store) -> None:
    """The calls are made on 2026-11-21; a discount that ended before it and one that begins after it give nothing."""
    rules = cascade(discounts=[{"percent": 50, "to": "2026-11-21"}, {"percent": 50, "from": "2026-11-22"}])
    assert one(Rig(store, cascade=rules), call(1))["cost_usd"] == "0.0035"


def test_rules_that_change_do_not_touch_history(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1))
    rig.use(PRICES, cascade(discounts=[{"percent": 50}]))
    assert rig.settle(plain(9)) == []
    assert rig.settle(call(2, at_s=30))[0].cost_pico == PRICE // 2


def test_an_answer_that_comes_late_corrects_the_cost(store: Store) -> None:
    """A framework's span comes first, the client's with OpenRouter's answer later: 0.0035, then 0.0005 more."""
    rig = Rig(store)
    wrapper = {**ROUTED, "reported_source": None, "response_id": "gen-1"}
    rig.settle(call(1, scope="framework", rank=RANK_FRAMEWORK, **wrapper))
    rig.settle(call(2, parent=1, reported_pico=4 * MILLI, **{**ROUTED, "response_id": "gen-1"}))
    assert rig.total() == rig.spent() == 4 * MILLI
    assert sum(to_contract(entry)["billed_usd"] == "0" for entry in rig.entries()) == 0


def test_the_order_of_arrival_does_not_matter(store: Store) -> None:
    """An agent, a covered call, a reported one that two spans see, and one that costs its price."""
    rules = cascade(
        subscriptions=[{"id": "seat", "agents": ["coder"], "fee": 20, "from": "2026-11-01"}],
        discounts=[{"percent": 10, "services": ["shop"]}],
        accounts=[{"account": "main", "providers": ["openai"]}],
    )
    twin = {**ROUTED, "response_id": "gen-1"}
    sightings = [
        plain(1, kind=AGENT, genai=True, attribution={"agent": "coder"}),
        call(2, parent=1),
        call(3, attribution={"service": "shop"}, scope="framework", rank=RANK_FRAMEWORK, **{**twin, "reported_source": None}),
        call(4, parent=3, reported_pico=4 * MILLI, **twin),
        call(5, attribution={"service": "shop"}, at_s=60),
    ]
    dumps = set()
    for number, order in enumerate(permutations(sightings)):
        if number % 8:
            continue
        realm = f"r{number}"
        rig = Rig(store, cascade=rules)
        for sighting in order:
            rig.settle(sighting._replace(realm=realm, trace_id=f"{number + 1:032x}"))
        rows = [row for row in rig.canonical() if row["realm"] == realm]
        dumps.add(repr([{name: value for name, value in row.items() if name not in ("realm", "trace_id", "counted_in")} for row in rows]))
    assert len(dumps) == 1
    only = dumps.pop()
    assert all(said in only for said in ("'covered'", "'reported'", "'0.00315'"))


def test_a_source_that_is_believed_for_some_agents_is_so_in_any_order(store: Store) -> None:
    """The agent is known from the root alone, which may come before the call or after it."""
    proxy = cascade(trusted_reports=[{"source": "litellm", "agents": ["proxy"]}])
    stated = call(1, parent=9, reported_pico=4 * MILLI, reported_source="litellm.cost.total")
    root = plain(9, kind=AGENT, genai=True, attribution={"agent": "proxy"})
    rig = Rig(store, cascade=proxy)
    rig.settle(stated)
    assert to_contract(rig.net()[span_id(1)])["cost_method"] == "computed"
    rig.settle(root)
    row = to_contract(rig.net()[span_id(1)])
    assert (row["cost_method"], row["cost_usd"]) == ("reported", "0.004")


def test_attribution_that_no_rule_asks_for_prices_nothing_anew(store: Store) -> None:
    """A tenth off 0.0035 is 0.00315, and stays so under a list that asks double, also when the agent is told later."""
    off = cascade(discounts=[{"percent": 10, "providers": ["openai"]}])
    rig = Rig(store, cascade=off)
    rig.settle(call(1, parent=9))
    dearer = PriceBook.of([packaged_snapshot()], HouseRules((Override("1", "override", None, "gpt-4o", None, DOUBLE),)))
    rig.use(PriceEngine(dearer), off)
    rig.settle(plain(9, kind=AGENT, genai=True, attribution={"agent": "planner"}))
    row = to_contract(rig.net()[span_id(1)])
    assert (row["agent"], row["cost_usd"]) == ("planner", "0.00315")


DOUBLE = {"input_cost_per_token": 5e-6, "output_cost_per_token": 2e-5}


def by_alias(target: str) -> PriceEngine:
    """gpt-4o and house stand for another model."""
    names = tuple(Alias(no, None, name, target) for no, name in (("1", "gpt-4o"), ("2", "house")))
    return PriceEngine(PriceBook.of([packaged_snapshot()], HouseRules((), names)))


@pytest.mark.parametrize(("model", "first"), [("gpt-4o", PRICES), ("house", by_alias("gpt-4o"))])
def test_a_later_alias_prices_nothing_anew_by_itself(store: Store, model: str, first: PriceEngine) -> None:
    """The call cost 0.0035; by gpt-4o-mini it would be 0.00021, which `ledger reprice` may say and a late root may not."""
    rig = Rig(store, first)
    rig.settle(call(1, parent=9, request_model=model, price_models=(model,)))
    assert rig.spent() == PRICE
    rig.use(by_alias("gpt-4o-mini"))
    rig.settle(plain(9, kind=AGENT, genai=True, attribution={"agent": "planner"}))
    assert rig.spent() == PRICE


def test_a_name_that_a_late_twin_knows_is_asked_for_its_alias_in_any_order(store: Store) -> None:
    """Both know the model by another name; by house, which stands for gpt-4o-mini, the call costs 0.00021."""
    rig = Rig(store, PriceEngine(PriceBook.of([packaged_snapshot()], HouseRules((), (Alias("1", None, "house", "gpt-4o-mini"),)))))
    rig.settle(call(1))
    rig.settle(call(1, price_models=("house", "gpt-4o"), end_ns=call(1).end_ns + 1))
    assert rig.spent() == 210 * MILLI // 1000
