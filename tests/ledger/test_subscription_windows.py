"""Flat fees that are set while the service runs: what they cover, how they meet what is booked, and how they end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ledger_rig import Rig, call

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.base.times import NS_PER_DAY, parse_ns
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.subscription_windows import CurrentRules, SubscriptionWindows
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.settings.money import SubscriptionRule
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, FakeClock, RememberedTrail

SEATS = '[{"id": "seats", "services": ["coder"], "fee": 20, "from": "2026-11-01"}]'
SETTINGS = load(None, {"OTEL_FINOPS_PRICING__SUBSCRIPTIONS": SEATS})
ANN = Principal("ann", ("acme",), ROLES["admin"])
DAY = "2026-11-21T00:00:00.000000000Z"


def rule(**said: Any) -> SubscriptionRule:
    return SubscriptionRule.model_validate_json(json.dumps({"id": "plan", "fee": 0, "providers": ["openai"], "from": "2026-11-21", **said}))


def context_of(store: Store, trail: RememberedTrail | None = None, now_ns: int = NOON) -> Context:
    clock = FakeClock(now_ns)
    rig = Rig(store)
    prices = CurrentPrices(store, clock, packaged_snapshot)
    return make_context(SETTINGS, store, rig.subjects, prices, clock, trail=trail or RememberedTrail())


def ask(context: Context, verb: str, principal: Principal = LOCAL, /, **given: Any) -> Json:
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, principal, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer)
    return answer


def following(store: Store) -> Rig:
    """A settler that follows the stored rules, as the service's does."""
    return Rig(store, cascade=CurrentRules(store, SETTINGS.pricing).seen_by)


def test_calls_of_its_time_are_covered_from_now_on_and_booked_ones_stay(store: Store) -> None:
    """gpt-4o, 1,000 in and 100 out: 0.0035 USD."""
    rig = following(store)
    windows = SubscriptionWindows(store, rig.clock, SETTINGS.pricing)
    [before] = rig.settle(call(1, trace=1))
    windows.add(rule(to="2026-11-22"), who="ann", why="a trial")
    day_s = NS_PER_DAY // 10**9
    [late], [after], [earlier] = (
        rig.settle(call(2, trace=2, at_s=-3600)),  # comes now and started an hour ago, within the window
        rig.settle(call(3, trace=3, at_s=day_s)),  # behind its end
        rig.settle(call(4, trace=4, at_s=-day_s)),  # before it began
    )
    assert [(one.cost_method, one.cost_pico) for one in (before, after, earlier)] == [("computed", 3_500_000_000)] * 3
    assert (late.cost_method, late.cost_pico, late.list_pico, late.coverage_id) == ("covered", 0, 3_500_000_000, "plan")
    assert rig.spent() == 3 * 3_500_000_000


def test_repricing_brings_booked_calls_under_it_and_takes_them_out_again(store: Store) -> None:
    rig = following(store)
    rig.settle(call(1, trace=1))
    context = context_of(store, now_ns=NOON + 60 * 10**9)
    ask(context, "subscriptions.add", **{"id": "plan", "from": "2026-11-21", "providers": "openai", "why": "bought"})
    assert ask(context, "ledger.reprice", why="bought")["difference_usd"] == "-0.0035"
    assert rig.spent() == 0
    ask(context, "subscriptions.end", id="plan", withdraw=True, why="it was another account's")
    assert rig.spent() == 0
    assert ask(context, "ledger.reprice", why="withdrawn")["difference_usd"] == "0.0035"
    assert rig.spent() == 3_500_000_000


def test_a_stored_fee_is_spread_like_one_of_the_settings(store: Store) -> None:
    """Two calls under a fee of 31 USD for the month from 2026-11-21 on: 15.5 USD each, as they are alike."""
    rig = following(store)
    SubscriptionWindows(store, rig.clock, SETTINGS.pricing).add(rule(fee=31), who="ann", why="bought")
    rig.settle(call(1, trace=1), call(2, trace=2))
    context = context_of(store, now_ns=parse_ns("2026-12-22"))
    assert ask(context, "subscriptions.spread")["rows"] == 2
    assert [row.effective_pico for row in rig.net().values()] == [15_500_000_000_000] * 2
    periods = ask(context, "subscriptions.list")["periods"]
    assert [(one["id"], one["calls"]) for one in periods if one["id"] == "plan"] == [("plan", 2), ("plan", 0)]


def test_it_is_listed_with_those_of_the_settings_and_on_record(store: Store) -> None:
    trail = RememberedTrail()
    context = context_of(store, trail)
    given = {"id": "plan", "from": "2026-11-21", "fee": "20.50", "currency": "EUR", "models": "gpt-4o*, o3", "tenants": ["acme"]}
    done = ask(context, "subscriptions.add", **given, why="bought")
    listed = ask(context, "subscriptions.windows")["subscriptions"]
    assert [(one["id"], one["origin"], one["fee"], one["who"]) for one in listed] == [
        ("seats", "settings", "20", None), ("plan", "stored", "20.50", "local"),
    ]  # fmt: skip
    assert done["subscription"] == listed[1]
    assert (listed[1]["covers"], listed[1]["from"], listed[1]["to"]) == ({"models": ["gpt-4o*", "o3"], "tenants": ["acme"]}, DAY, None)
    ended = ask(context, "subscriptions.end", id="plan", at="2026-12-21", why="cancelled")["subscription"]
    assert (ended["to"][:10], ended["ended_by"], ended["ended_why"], ended["withdrawn"]) == ("2026-12-21", "local", "cancelled", False)
    assert [(one.what, one.before, one.after) for one in trail.changes] == [
        ("subscriptions.add", None, listed[1]), ("subscriptions.end", listed[1], ended),
    ]  # fmt: skip
    pages = ask(context, "subscriptions.windows", limit=1)
    assert ask(context, "subscriptions.windows", limit=1, cursor=pages["next_cursor"]) == {"subscriptions": [ended], "next_cursor": None}


def test_an_end_may_be_moved_forward_and_not_back(store: Store) -> None:
    context = context_of(store)
    ask(context, "subscriptions.add", **{"id": "plan", "from": "2026-11-01", "providers": "openai", "why": "bought"})
    ask(context, "subscriptions.end", id="plan", at="2026-12-21", why="cancelled")
    ask(context, "subscriptions.end", id="plan", at="2026-12-01", why="earlier still")
    with pytest.raises(BadInput, match="ends at 2026-12-01"):
        ask(context, "subscriptions.end", id="plan", at="2026-12-21", why="later")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"id": "seats", "providers": "openai"}, "is or was another subscription's"),
        ({"id": "plan"}, "must say which calls it covers"),
        ({"id": "plan", "providers": "openai", "to": "2026-11-01"}, "`to` must lie behind `from`"),
        ({"id": "plan", "providers": "openai", "fee": "-1"}, "fee: must be greater than or equal to 0"),
        ({"id": "plan", "providers": "openai", "fee": "many"}, "fee"),
        ({"id": "plan", "providers": "openai", "currency": "euro"[:3]}, "not an ISO 4217 code"),
    ],
)
def test_what_is_no_flat_fee_is_refused(store: Store, given: dict[str, str], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        ask(context_of(store), "subscriptions.add", **{"from": "2026-11-21", "why": "bought", **given})


def test_those_of_the_settings_are_changed_there(store: Store) -> None:
    context = context_of(store)
    with pytest.raises(BadInput, match=r"pricing\.subscriptions"):
        ask(context, "subscriptions.end", id="seats", why="cancelled")
    with pytest.raises(NotFound):
        ask(context, "subscriptions.end", id="nobody", why="cancelled")


def test_who_is_bound_to_tenants_may_neither_see_nor_change_them(store: Store) -> None:
    context = context_of(store)
    for verb, given in (
        ("subscriptions.windows", {}),
        ("subscriptions.add", {"id": "plan", "from": "2026-11-21", "tenants": "acme", "why": "mine"}),
        ("subscriptions.end", {"id": "plan", "why": "mine"}),
    ):
        with pytest.raises(Forbidden):
            ask(context, verb, ANN, **given)


def test_a_dry_run_stores_nothing(store: Store) -> None:
    context = context_of(store)
    answer = ask(context, "subscriptions.add", **{"id": "plan", "from": "2026-11-21", "providers": "openai", "why": "x", "dry_run": True})
    assert answer["dry_run"] is True
    assert len(ask(context, "subscriptions.windows")["subscriptions"]) == 1


def test_every_process_follows_with_its_next_round(store: Store) -> None:
    here, there = (CurrentRules(store, SETTINGS.pricing) for _ in range(2))
    assert [one.id for one in there().subscriptions] == ["seats"]
    SubscriptionWindows(store, FakeClock(), SETTINGS.pricing).add(rule(), who="ann", why="bought")
    assert [one.id for one in there().subscriptions] == ["seats", "plan"]
    assert here() is here()
