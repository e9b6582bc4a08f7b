"""House rules, quotes, reasons and models without a price: what the operations check, whom they serve, what goes on record."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from ledger_rig import Rig, call

from otel_finops.base.errors import BadInput, FinopsError, Forbidden, NotFound
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.corrections import Corrector
from otel_finops.ledger.current_prices import CurrentPrices, base_of
from otel_finops.ledger.shards import SHARDS, lease_name
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.pricing_desk import PricingDesk
from otel_finops.operations.registry import invoke
from otel_finops.pricing.calculator import price_lines
from otel_finops.pricing.engine import PriceEngine
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.testing import FakeClock, RememberedTrail

ACME = Principal("anna", ("acme",), ROLES["admin"])
VIEWER = Principal("vera", None, ROLES["viewer"])


class Desk(NamedTuple):
    """The operations over a ledger, and what went on record."""

    context: Context
    trail: RememberedTrail
    rig: Rig

    def ask(self, name: str, principal: Principal = LOCAL, /, **given: Any) -> Any:
        one = OPERATIONS.named(name)
        answer = invoke(one, self.context, principal, one.input.model_validate(given), origin="test")
        one.output.model_validate(answer, strict=True)
        return answer


@pytest.fixture
def desk(store: Store) -> Desk:
    """A ledger with two calls of acme and one of globex of `house-a`, 1,000 tokens in and 100 out each, and one of gpt-4o."""
    clock, trail, settings = FakeClock(), RememberedTrail(), load(None, {})
    prices = CurrentPrices(store, clock, lambda: base_of(None))
    rig = Rig(store)
    unknown = {"request_model": "house-a", "price_models": ("house-a",), "response_id": None}
    rig.settle(
        call(1, 1, attribution={"tenant": "acme"}, **unknown),
        call(2, 2, attribution={"tenant": "acme"}, **unknown),
        call(3, 3, attribution={"tenant": "globex"}, **unknown),
        call(4, 4, attribution={"tenant": "acme"}),
    )
    return Desk(make_context(settings, store, Subjects(), prices, clock, trail=trail), trail, rig)


def models(answer: Any) -> list[tuple[str | None, int]]:
    return [(one["model"], one["calls"]) for one in answer["models"]]


# --- repairing a hole ------------------------------------------------------------------------------------------------


def test_an_override_with_reprice_fills_the_hole_in_one_go(desk: Desk) -> None:
    """At 1 and 4 USD a million each call costs 1,000 + 400 = 1,400 millionths of a dollar."""
    given = {"model": "House-A", "provider": "OpenAI", "prices": {"input": "1", "output": 4}, "why": "our own", "reprice": True}
    tried = desk.ask("pricing.override", dry_run=True, **given)
    assert (tried["rule"]["rule"], tried["repriced"]["calls"], tried["repriced"]["cost_usd"]) == (None, 3, "0.0042")
    assert (desk.ask("pricing.rules")["rules"], desk.trail.made, desk.rig.spent()) == ([], [], 3_500_000_000)

    done = desk.ask("pricing.override", **given)
    assert done["repriced"] == {
        "calls": 3, "cost_usd": "0.0042", "entries": 3, "still_unpriced": 0, "protected": 0, "skipped": 0, "stopped": None,
    }  # fmt: skip
    assert (done["rule"]["model"], done["rule"]["provider"], done["rule"]["prices"]) == ("house-a", "openai", {"input": "1", "output": "4"})
    assert models(desk.ask("pricing.unpriced")) == []
    assert desk.rig.spent() == 3_500_000_000 + 4_200_000_000
    [change] = desk.trail.made
    assert (change.who, change.what, change.before, change.after["rule"]["rule"]) == ("local", "pricing.override", None, 1)


def test_an_alias_reprices_what_it_names_under_any_path(desk: Desk) -> None:
    """`openai/tuned` is sought as `tuned`, too; gpt-4o costs 2.50 and 10 USD a million: 0.0035 USD."""
    desk.rig.settle(call(9, 9, request_model="openai/tuned", price_models=("openai/tuned",), attribution={"tenant": "acme"}))
    done = desk.ask("pricing.alias", name="tuned", key="GPT-4o", provider="openai", why="a fine-tune", reprice=True)
    assert (done["rule"]["key"], done["repriced"]["calls"], done["repriced"]["cost_usd"]) == ("gpt-4o", 1, "0.0035")
    assert models(desk.ask("pricing.unpriced")) == [("house-a", 3)]


def test_a_rule_whose_repricing_is_held_up_stands_and_says_what_is_left(desk: Desk) -> None:
    """Somebody holds all shards for longer than anybody waits."""
    store, clock = desk.rig.store, desk.rig.clock
    others = Leases(store, clock, "a settler on another host")
    held = [lease for shard in range(SHARDS) if (lease := others.acquire(lease_name(shard), ttl_s=3600)) is not None]

    def corrector(engine: PriceEngine) -> Corrector:
        return Corrector(store, Leases(store, clock, "corrections"), engine, [desk.rig.rollups], clock, sleep=clock.advance)

    waiting = PricingDesk(store, clock, CurrentPrices(store, clock, lambda: base_of(None)), corrector)
    held_up = desk._replace(context=replace(desk.context, pricing=waiting))
    done = held_up.ask("pricing.override", model="house-a", prices="free", why="ours", reprice=True)
    assert (done["rule"]["rule"], done["repriced"]["calls"]) == (1, 0)
    assert "the ledger is busy: a settler on another host" in done["repriced"]["stopped"]
    assert [change.what for change in desk.trail.made] == ["pricing.override"]
    for lease in held:
        lease.release()
    rest = desk.ask("ledger.reprice", model="house-a", unpriced_only=True)
    assert (rest["priced"], models(desk.ask("pricing.unpriced"))) == (3, [])


def test_without_reprice_the_ledger_stays_as_it_is(desk: Desk) -> None:
    assert desk.ask("pricing.override", model="house-a", prices="free", why="ours")["repriced"] is None
    assert models(desk.ask("pricing.unpriced")) == [("house-a", 3)]


# --- what is refused -------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, dict[str, Any], type[FinopsError], str]] = {
    "absurd": ("pricing.override", {"model": "gpt-4o", "prices": "input=2500001"}, BadInput, "more than 1000 times the list's price"),
    "time": ("pricing.override", {"model": "x", "prices": "free", "from": "2026-02-01", "to": "2026-02-01"}, BadInput, "from: not before"),
    "no such key": ("pricing.alias", {"name": "x", "key": "azure/gpt-4oo", "provider": "azure"}, NotFound, "did you mean azure/gpt-4o"),
    "nothing like it": ("pricing.alias", {"name": "x", "key": "zzzzzz"}, NotFound, "give it a price first"),
    "itself": ("pricing.alias", {"name": "gpt-4o", "key": "gpt-4o"}, BadInput, "it needs no alias"),
    "no rule": ("pricing.end", {"rule": 7}, NotFound, "There is no rule 7"),
    "both ends": ("pricing.end", {"rule": 7, "withdraw": True, "at": "2026-01-01"}, BadInput, "give one of the two"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused(desk: Desk, case: str) -> None:
    name, given, error, said = REFUSED[case]
    with pytest.raises(error, match=re.escape(said)):
        desk.ask(name, why="because", **given)
    assert (desk.trail.made, desk.ask("pricing.rules")["rules"]) == ([], [])


def test_an_absurd_price_can_be_accepted(desk: Desk) -> None:
    done = desk.ask("pricing.override", model="gpt-4o", prices="input=2500001", why="it is", accept=True)
    assert done["rule"]["prices"] == {"input": "2500001"}


def test_an_alias_may_lead_to_a_model_that_only_a_rule_prices(desk: Desk) -> None:
    desk.ask("pricing.override", model="house", prices="input=1,output=1", why="ours")
    desk.ask("pricing.alias", name="house-eu", key="House", why="the same")
    assert desk.ask("pricing.quote", model="house-eu", provider="azure", output_tokens=1000)["usd"] == "0.001"


@pytest.mark.parametrize("provider", ["google", "gcp", "litellm", "openrouter", "azure.ai.inference", "My Gateway", None])
def test_a_rule_holds_for_the_provider_as_spans_and_the_ledger_name_it(desk: Desk, provider: str | None) -> None:
    """Also for names that stand for several families of rows, and for gateways."""
    desk.ask("pricing.override", model="house", prices="output=1", why="ours", **({"provider": provider} if provider else {}))
    shown = desk.ask("pricing.rules")["rules"][0]["provider"]
    for name in (provider, shown):
        assert desk.ask("pricing.quote", model="house", provider=name, output_tokens=1000)["usd"] == "0.001"


# --- whose they are --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "given"), [
    ("pricing.override", {"model": "x", "prices": "free"}), ("pricing.alias", {"name": "x", "key": "gpt-4o"}), ("pricing.end", {"rule": 1}),
])  # fmt: skip
def test_rules_are_set_by_who_manages_all_tenants(desk: Desk, name: str, given: dict[str, Any]) -> None:
    for principal in (ACME, VIEWER):
        with pytest.raises(Forbidden):
            desk.ask(name, principal, why="because", **given)


def test_contract_prices_are_for_who_sees_all_tenants(desk: Desk) -> None:
    desk.ask("pricing.override", model="gpt-4o", provider="openai", prices="input=2", account="key-7", why="contract")
    desk.ask("pricing.override", model="gpt-4o", provider="openai", prices="input=2.2", account="*", why="contract")
    desk.ask("pricing.alias", name="ours", key="gpt-4o", why="a name")
    assert [one["rule"] for one in desk.ask("pricing.rules")["rules"]] == [3, 2, 1]
    assert [one["rule"] for one in desk.ask("pricing.rules", ACME)["rules"]] == [3]
    asked = {"model": "gpt-4o", "provider": "openai", "input_tokens_uncached": 1000}
    assert desk.ask("pricing.quote", account="key-7", **asked)["usd"] == "0.002"
    assert desk.ask("pricing.quote", account="key-8", **asked)["usd"] == "0.0022"
    for name in ("pricing.quote", "pricing.explain"):
        with pytest.raises(Forbidden):
            desk.ask(name, ACME, account="key-7", **asked)
    with pytest.raises(Forbidden):
        desk.ask("pricing.quote", ACME, calls=[{**asked, "account": "key-7"}])


def test_each_principal_sees_the_own_tenants_models(desk: Desk) -> None:
    assert models(desk.ask("pricing.unpriced", ACME)) == [("house-a", 2)]
    assert models(desk.ask("pricing.unpriced", tenant="globex")) == [("house-a", 1)]
    assert models(desk.ask("pricing.unpriced", ACME, tenant="globex")) == []


# --- rules over time -------------------------------------------------------------------------------------------------


def test_rules_are_listed_newest_first_with_their_ends(desk: Desk) -> None:
    for number in range(3):
        desk.ask("pricing.override", model=f"m{number}", prices="free", why="ours")
    desk.ask("pricing.end", rule=2, why="gone", at="2026-12-01")
    desk.ask("pricing.end", rule=1, why="wrong", withdraw=True)
    first = desk.ask("pricing.rules", limit=2)
    assert [(one["rule"], one["holds"], one["ended"] and one["ended"]["at"]) for one in first["rules"]] == [
        (3, True, None), (2, True, "2026-12-01T00:00:00.000000000Z"),
    ]  # fmt: skip
    rest = desk.ask("pricing.rules", cursor=first["next_cursor"])
    assert [(one["rule"], one["holds"], one["ended"]["why"]) for one in rest["rules"]] == [(1, False, "wrong")]
    assert rest["next_cursor"] is None
    assert [one["rule"] for one in desk.ask("pricing.rules", holding=True)["rules"]] == [3, 2]
    assert [one["rule"] for one in desk.ask("pricing.rules", model="M1")["rules"]] == [2]
    assert [one["rule"] for one in desk.ask("pricing.rules", kind="alias")["rules"]] == []


# --- quotes ----------------------------------------------------------------------------------------------------------

RECORDS: list[dict[str, Any]] = [
    {"id": "a", "provider": "openai", "model": "gpt-4o", "input_tokens_uncached": 1000, "output_tokens": 100},
    {"id": "b", "provider": "azure", "model": "nobody's", "output_tokens": 1},
    {"id": "c", "provider": "openai", "model": "gpt-4o", "input_tokens_uncached": -1},
    {"id": "d", "provider": "openai", "model": "gpt-4o", "output_tokens": True},
    {"id": "e", "provider": "anthropic", "model": "claude-sonnet-4-5", "cache_write_12h": 10, "service_tier": "batch", "seen": "ignored"},
    {"id": "f", "model": "gpt-4o", "output_tokens": 1.5},
]


def test_a_quote_is_the_answer_of_price(desk: Desk) -> None:
    """The answers of a list are those of the command; its sum is that of the priced ones: 0.0025 + 0.001 USD for gpt-4o, and ten tokens
    written for 12 hours at the 5 minute price of a batch, half of 3.75 USD a million, 0.00001875."""
    lines = list(price_lines(map(json.dumps, RECORDS), desk.context.pricing.engine(), FakeClock()))
    quoted = desk.ask("pricing.quote", calls=RECORDS)
    for line, one in zip(lines, quoted["quotes"], strict=True):
        said = json.loads(line)
        assert said == {name: one[name] for name in said}
    assert [one["reason"] for one in quoted["quotes"]] == [None, "unknown_model", "bad_usage", "bad_usage", None, "bad_usage"]
    assert [one["partial"] for one in quoted["quotes"]] == [False, False, False, False, True, False]
    assert (quoted["unpriced"], quoted["usd"]) == (4, "0.00351875")
    assert quoted["quotes"][1]["detail"] == "the price book has no such model"
    assert quoted["quotes"][2]["detail"] == "input_tokens_uncached: negative"


def test_counts_of_a_query_are_numbers_in_digits(desk: Desk) -> None:
    one = desk.ask("pricing.quote", model="gpt-4o", provider="openai", input_tokens_uncached="1000", id="x")
    assert (one["id"], one["usd"], one["lines"][0]["quantity"], one["unpriced"], one["quotes"]) == ("x", "0.0025", 1000, 0, None)
    for text in ("-1", "1.5", "many", "nan", "9" * 40, "1e3"):
        refused = desk.ask("pricing.quote", model="gpt-4o", provider="openai", input_tokens_uncached=text)
        assert (refused["usd"], refused["reason"]) == (None, "bad_usage")
        assert refused["detail"].startswith("input_tokens_uncached: ")


def test_fields_that_a_call_does_not_have_are_ignored_and_named(desk: Desk) -> None:
    """As `price` ignores them; the names show that `input_tokens` was charged nothing."""
    asked = {"model": "gpt-4o", "provider": "openai", "output_tokens": 100, "input_tokens": 5}
    one = desk.ask("pricing.quote", **asked)
    assert (one["usd"], one["ignored"]) == ("0.001", ["input_tokens"])
    [listed] = desk.ask("pricing.quote", calls=[asked])["quotes"]
    assert (listed["usd"], listed["ignored"]) == ("0.001", ["input_tokens"])


@pytest.mark.parametrize(("given", "said"), [
    ({"calls": []}, "write a list of calls"), ({"calls": [1]}, "write a list of calls"), ({"calls": "{"}, "no JSON list"),
    ({"calls": [{}] * 1001}, "more than 1000 calls"), ({"calls": [{}], "model": "x"}, "a list stands alone"),
])  # fmt: skip
def test_what_is_no_question_is_refused(desk: Desk, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError if said != "a list stands alone" else BadInput, match=re.escape(said)):
        desk.ask("pricing.quote", **given)


# --- reasons ---------------------------------------------------------------------------------------------------------


def test_the_reasons_are_told_in_sentences(desk: Desk) -> None:
    desk.ask("pricing.alias", name="ours", key="azure/gpt-4o", provider="azure", why="a deployment")
    told = desk.ask("pricing.explain", model="ours", provider="azure")
    assert told["steps"][:3] == ["Asked for ours.", "No list has it by this name.", "House rule 1, alias: ours stands for azure/gpt-4o."]
    assert told["steps"][3].startswith("The row is from the list litellm ")
    assert told["steps"][-1] == "The sum of 2 lines, each rounded once: 0.0125 USD."
    assert [(one["unit"], one["field"]) for one in told["lines"]] == [
        ("input_uncached", "input_cost_per_token"), ("output", "output_cost_per_token"),
    ]  # fmt: skip


def test_a_name_that_nobody_knows_is_explained_with_names_like_it(desk: Desk) -> None:
    told = desk.ask("pricing.explain", model="gpt-4oo", provider="azure.ai.openai", input_tokens_uncached=5)
    assert (told["usd"], told["reason"], told["suggestions"][0]) == (None, "unknown_model", "azure/gpt-4o")
    assert told["steps"][-1].startswith("No row: the price book has no such model; names like it are azure/gpt-4o")
    with pytest.raises(BadInput, match="output_tokens: negative"):
        desk.ask("pricing.explain", model="gpt-4o", output_tokens=-1)


# --- the list of models without a price ------------------------------------------------------------------------------


def test_each_model_bears_the_commands_that_mend_it(desk: Desk) -> None:
    desk.rig.settle(
        call(10, 10, request_model="gpt-4o ; rm -rf /", price_models=("gpt-4o ; rm -rf /",)),
        call(11, 11, request_model=None, price_models=()),
    )
    found = {one["model"]: one for one in desk.ask("pricing.unpriced")["models"]}
    assert found["gpt-4o ; rm -rf /"]["mend"][0].startswith("otel-finops pricing alias 'gpt-4o ; rm -rf /' ")
    assert found["house-a"]["mend"][-1] == (
        "otel-finops pricing override house-a input=USD_PER_MILLION,output=USD_PER_MILLION --provider openai --why 'WHY' --reprice"
    )
    assert found[None]["mend"] == ["otel-finops coverage report"]
    assert (found["house-a"]["first_seen"], found["house-a"]["says"]) == (
        "2026-11-21T12:00:00.000000000Z",
        "the price book has no such model",
    )


def test_the_list_is_paged_in_its_order(desk: Desk) -> None:
    desk.rig.settle(*(call(20 + n, 20 + n, request_model=f"m{n}", price_models=(f"m{n}",)) for n in range(3)))
    first = desk.ask("pricing.unpriced", limit=2)
    assert (models(first), first["total_models"], first["total_calls"]) == ([("house-a", 3), ("m0", 1)], 4, 6)
    second = desk.ask("pricing.unpriced", limit=2, cursor=first["next_cursor"])
    assert (models(second), second["next_cursor"]) == ([("m1", 1), ("m2", 1)], None)
    with pytest.raises(BadInput, match="cursor"):
        desk.ask("pricing.unpriced", cursor=first["next_cursor"], sort="tokens")
