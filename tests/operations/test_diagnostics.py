"""What a described call would cost under the settings' accounts, discounts and flat fees, and what would stop it."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import Rig, call

from otel_finops.base.errors import Forbidden, NotFound
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock, RememberedTrail

SETTINGS = load(
    None,
    {
        "OTEL_FINOPS_PRICING__ACCOUNTS": '[{"account": "eu", "tenants": ["acme"]}]',
        "OTEL_FINOPS_PRICING__DISCOUNTS": '[{"percent": 20, "accounts": ["eu"]}]',
        "OTEL_FINOPS_PRICING__SUBSCRIPTIONS": '[{"id": "seat", "services": ["coder"], "fee": 20, "from": "2026-11-01"}]',
        "OTEL_FINOPS_KILL_SWITCH__AGENTS": '["rogue"]',
    },
)
ACME, GLOBEX = (Principal(name, (name,), ROLES["manager"]) for name in ("acme", "globex"))
CALL = {"provider": "openai", "model": "gpt-4o", "input_tokens_uncached": 1000, "output_tokens": 100}
"""0.0025 + 0.001 = 0.0035 USD by the list."""


@pytest.fixture
def context(store: Store) -> Context:
    clock = FakeClock()
    prices = CurrentPrices(store, clock, packaged_snapshot)
    return make_context(SETTINGS, store, Rig(store).subjects, prices, clock, trail=RememberedTrail())


def ask(context: Context, verb: str, principal: Principal = LOCAL, /, **given: Any) -> Json:
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, principal, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer)
    return answer


@pytest.mark.parametrize("verb", ["pricing.quote", "diagnostics.estimate", "pricing.explain"])
@pytest.mark.parametrize(
    ("whose", "fault"), [({"tenant": "acme"}, NotFound), ({"realm": "acme"}, NotFound), ({"tenant": "globex", "account": "eu"}, Forbidden)]
)
@pytest.mark.parametrize("more", [{}, {"model": "no-such"}, {"at": "never"}, {"output_tokens": "many"}, {"input_tokens_uncached": -1}])
def test_of_others_calls_nothing_is_told_whatever_else_is_wrong_with_them(
    context: Context, verb: str, whose: dict[str, Any], fault: type[Exception], more: dict[str, Any]
) -> None:
    """A call that cannot be priced would still be stopped by its tenant's switches: those, and why they are set, are acme's to know."""
    with pytest.raises(fault):
        ask(context, verb, GLOBEX, **{**CALL, **whose, **more})
    ask(context, verb, GLOBEX, **CALL, tenant="globex", realm="globex")
    ask(context, verb, GLOBEX, **CALL, realm="default")


@pytest.mark.parametrize("verb", ["pricing.quote", "diagnostics.estimate", "pricing.explain"])
@pytest.mark.parametrize(
    ("whose", "usd", "account"),
    [
        ({}, "0.0035", None),
        ({"tenant": "globex"}, "0.0035", None),
        ({"tenant": "acme"}, "0.0028", "eu"),  # a fifth less
        ({"tenant": "acme", "service": "coder"}, "0", "eu"),  # the seat covers it
        ({"account": "eu"}, "0.0028", "eu"),
        ({"service": "coder", "at": "2026-10-31"}, "0.0035", None),  # before the seat was bought
    ],
)
def test_a_described_call_costs_what_would_be_booked(
    context: Context, verb: str, whose: dict[str, str], usd: str, account: str | None
) -> None:
    answer = ask(context, verb, **CALL, **whose)
    assert answer["usd"] == usd
    if verb != "pricing.explain":
        assert (answer["list_usd"], answer["account"]) == ("0.0035", account)
        assert answer["contracted_usd"] == ("0.0028" if account else "0.0035")
        assert (answer["coverage_id"], answer["method"]) == (("seat", "covered") if usd == "0" else (None, "computed"))
        assert answer["ignored"] == []
    else:
        said = " ".join(answer["steps"])
        assert ("After the discount that was agreed (pricing.discounts): 0.0028 USD." in said) is (account is not None)
        assert ("The flat fee seat covers it" in said) is (usd == "0")


def test_it_is_what_settling_books(store: Store, context: Context) -> None:
    rig = Rig(store, cascade=Cascade.of(SETTINGS.pricing))
    [row] = rig.settle(call(1, attribution={"tenant": "acme"}))
    assert row.cost_pico == 2_800_000_000
    assert ask(context, "pricing.quote", ACME, **CALL)["usd"] == "0.0028"  # his own tenant's, without saying so


def test_each_call_of_a_list_has_its_own_terms(context: Context) -> None:
    answer = ask(context, "pricing.quote", calls=[CALL, {**CALL, "tenant": "acme"}, {**CALL, "service": "coder"}])
    assert [one["usd"] for one in answer["quotes"]] == ["0.0035", "0.0028", "0"]
    assert answer["usd"] == "0.0063"


@pytest.mark.parametrize("verb", ["pricing.quote", "diagnostics.estimate", "pricing.explain"])
def test_nobody_asks_for_anothers_terms(context: Context, verb: str) -> None:
    with pytest.raises(NotFound):
        ask(context, verb, GLOBEX, **CALL, tenant="acme")
    with pytest.raises(Forbidden, match="contract prices"):
        ask(context, verb, GLOBEX, **CALL, account="eu")
    if verb == "pricing.quote":
        with pytest.raises(NotFound):
            ask(context, verb, GLOBEX, calls=[CALL, {**CALL, "tenant": "acme"}])


@pytest.mark.parametrize(
    ("counts", "usd", "guessed"),
    [
        ({"input_tokens": 1000, "output_tokens": 100}, "0.0035", []),
        ({"input_tokens": 1000, "max_output_tokens": 100}, "0.0035", ["output_tokens, at most max_output_tokens"]),
        ({"text_chars": 3999}, "0.0025", ["input_tokens_uncached from text_chars"]),  # 999.75 tokens, so 1,000
        ({"text_chars": 9, "input_tokens": 1000}, "0.0025", []),
    ],
)
def test_what_is_not_counted_yet_is_bounded(context: Context, counts: dict[str, int], usd: str, guessed: list[str]) -> None:
    answer = ask(context, "diagnostics.estimate", provider="openai", model="gpt-4o", **counts)
    assert (answer["usd"], answer["guessed"]) == (usd, guessed)


def test_an_estimate_says_which_switch_would_stop_the_call_and_why(context: Context) -> None:
    decision = ask(context, "diagnostics.estimate", **CALL)["decision"]
    assert (decision["action"], decision["reasons"], decision["switches"], decision["estimate_usd"]) == ("allow", [], [], "0.0035")
    assert (decision["recorded"], decision["reservation_id"]) == (False, None)
    ask(context, "kill_switch.set", scope="provider", name="openai", tenant="acme", why="a loop")
    for tenant, stopped in (("acme", True), ("globex", False)):
        decision = ask(context, "diagnostics.estimate", tenant=tenant, **CALL)["decision"]
        assert (decision["action"] == "block") is stopped
    own = ask(context, "diagnostics.estimate", ACME, **CALL, agent="rogue")["decision"]
    assert [one["text"] for one in own["reasons"]] == [
        "kill switch for agent rogue: the settings say so", "kill switch for provider openai of tenant acme: a loop",
    ]  # fmt: skip
    assert [one["origin"] for one in own["switches"]] == ["settings", "stored"]


def test_a_call_without_a_price_is_decided_all_the_same(context: Context) -> None:
    answer = ask(context, "diagnostics.estimate", provider="openai", model="who-knows", input_tokens=5, colour="red")
    assert (answer["usd"], answer["reason"], answer["decision"]["action"]) == (None, "unknown_model", "allow")
    assert answer["ignored"] == ["colour"]
    refused = ask(context, "diagnostics.estimate", model="gpt-4o", provider="openai", output_tokens=-1)
    assert (refused["usd"], refused["reason"]) == (None, "bad_usage")


# --- settings ------------------------------------------------------------------------------------------------------------


def test_settings_are_shown_with_where_they_come_from(store: Store, tmp_path: Any) -> None:
    file = tmp_path / "finops.yaml"
    file.write_text(
        "ledger:\n  settle_after: 7\n  estimate: true\nprices:\n  refresh_from: https://user:pw@prices.example/list?token=s3cret\n"
    )
    settings = load(
        file,
        {
            "OTEL_FINOPS_LEDGER__SETTLE_AFTER": "9",
            "OTEL_FINOPS_DATABASE__URL": "postgresql+psycopg://me:s3cret@db/finops",
            "OTEL_FINOPS_FORWARD__HEADERS": '{"authorization": "Bearer s3cret"}',
        },
    )
    clock = FakeClock()
    prices = CurrentPrices(store, clock, packaged_snapshot)
    context = make_context(settings, store, Rig(store).subjects, prices, clock, trail=RememberedTrail())
    answer = ask(context, "settings.show")
    shown = {f"{one['section']}.{one['name']}": one for one in answer["settings"]}
    settle = shown["ledger.settle_after"]
    assert (settle["value"], settle["default"], settle["source"], settle["env"]) == (
        9.0,
        5.0,
        "environment",
        "OTEL_FINOPS_LEDGER__SETTLE_AFTER",
    )
    assert (shown["ledger.estimate"]["value"], shown["ledger.estimate"]["source"]) == (True, "file")
    assert (shown["ledger.close_months"]["value"], shown["ledger.close_months"]["source"]) == (True, "default")
    for name in ("database.url", "forward.headers"):
        assert (shown[name]["value"], shown[name]["secret"], shown[name]["is_set"]) == (None, True, True)
    assert shown["auth.tokens"]["is_set"] is False
    assert shown["prices.refresh_from"]["value"] == "https://prices.example/list"
    assert "s3cret" not in str(answer)
    assert "pw" not in str(answer["settings"][0])
    few = ask(context, "settings.show", section="ledger", changed=True)["settings"]
    assert [one["name"] for one in few] == ["settle_after", "estimate"]


def test_settings_are_for_those_who_manage_the_whole_service(context: Context) -> None:
    with pytest.raises(Forbidden, match="all tenants"):
        ask(context, "settings.show", ACME)
    with pytest.raises(Forbidden, match="permission manage"):
        ask(context, "settings.show", Principal("vera", None, ROLES["viewer"]))


# --- repricing with other settings than the service's -------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [True, False])
def test_repricing_without_the_services_rules_says_what_it_drops(store: Store, dry_run: bool) -> None:
    """One call of acme at a fifth less (0.0028), one that the seat covers (0), one that has no terms at all."""
    rig = Rig(store, cascade=Cascade.of(SETTINGS.pricing))
    rig.settle(
        call(1, trace=1, attribution={"tenant": "acme"}),
        call(2, trace=2, attribution={"service": "coder"}),
        call(3, trace=3, attribution={"tenant": "globex"}),
    )
    clock = FakeClock(rig.clock.now_ns())
    prices = CurrentPrices(store, clock, packaged_snapshot)
    shell = make_context(load(None, {}), store, rig.subjects, prices, clock, trail=RememberedTrail())
    answer = ask(shell, "ledger.reprice", dry_run=dry_run)
    assert (answer["changed"], answer["lost_terms"], answer["difference_usd"]) == (2, 2, "0.0042")  # 0.0007 + 0.0035
    assert "pricing.accounts" in answer["warning"]
    service = make_context(SETTINGS, store, rig.subjects, prices, clock, trail=RememberedTrail())
    again = ask(service, "ledger.reprice")
    assert (again["changed"], again["lost_terms"], again["warning"]) == (0 if dry_run else 2, 0, None)
