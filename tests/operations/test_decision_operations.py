"""Asking for decisions and settling what they hold, as an application does: estimates, tenants, keys, and the form of answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate
from ledger_rig import Rig
from pydantic import ValidationError

from otel_finops.base.errors import BadInput, Conflict, Forbidden, KeyReused, NotFound
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock, RememberedTrail

ACME, GLOBEX = (Principal(name, (name,), ROLES["analyst"]) for name in ("acme", "globex"))
CALL = {"provider": "openai", "model": "gpt-4o", "input_tokens": 1000, "max_output_tokens": 100}
"""0.0025 + 0.001 = 0.0035 USD by the list."""
ENFORCED = {"OTEL_FINOPS_ENFORCEMENT__MODE": "enforce", "OTEL_FINOPS_KILL_SWITCH__AGENTS": '["rogue"]'}


class World:
    def __init__(self, store: Store, environment: dict[str, str]) -> None:
        self.clock, self.trail = FakeClock(), RememberedTrail()
        self.rig = Rig(store)
        prices = CurrentPrices(store, self.clock, packaged_snapshot)
        self.context: Context = make_context(load(None, environment), store, self.rig.subjects, prices, self.clock, trail=self.trail)

    def ask(self, verb: str, principal: Principal = LOCAL, key: str | None = None, /, **given: Any) -> Json:
        one = OPERATIONS.named(verb)
        answer = invoke(one, self.context, principal, one.input.model_validate(given), origin="test", key=key)
        one.output.model_validate(answer)
        return answer

    def decide(self, principal: Principal = LOCAL, key: str | None = None, /, **given: Any) -> Json:
        return self.ask("decisions.create", principal, key, **{**CALL, **given})


@pytest.fixture
def world(store: Store) -> World:
    return World(store, ENFORCED)


def test_an_answer_has_the_contracts_form(world: World, contracts: Path) -> None:
    schema = json.loads((contracts / "api.schema.json").read_text())
    for answer in (world.decide(), world.decide(agent="rogue"), world.decide(dry_run=True), world.decide(model="who-knows")):
        validate(answer, {"$ref": "#/$defs/decision_out", "$defs": schema["$defs"]})


@pytest.mark.parametrize(
    ("given", "usd", "source", "guessed"),
    [
        ({}, "0.0035", "priced", ["output_tokens, at most max_output_tokens"]),
        ({"input_tokens": None, "text_chars": 3999}, "0.0035", "priced",
         ["input_tokens_uncached from text_chars", "output_tokens, at most max_output_tokens"]),
        ({"max_output_tokens": None}, "0.0025", "priced", []),
        ({"estimate_usd": "0.25"}, "0.25", "given", []),
        ({"model": "who-knows", "estimate_usd": "0.25"}, "0.25", "given", []),
        ({"model": "who-knows"}, None, "unknown", ["output_tokens, at most max_output_tokens"]),
        ({"model": ""}, None, "unknown", ["output_tokens, at most max_output_tokens"]),
        ({"input_tokens": None, "max_output_tokens": None}, None, "unknown", []),
    ],
)  # fmt: skip
def test_the_estimate_says_how_it_was_made(world: World, given: dict[str, Any], usd: str | None, source: str, guessed: list[str]) -> None:
    answer = world.decide(**given)
    assert (answer["estimate_usd"], answer["estimate"]["source"]) == (usd, source)
    if source != "given":
        assert answer["estimate"]["guessed"] == guessed
    assert (answer["estimate"]["detail"] is not None) is (source == "unknown")


def test_a_given_estimate_cannot_be_negative_or_endless(world: World) -> None:
    for bad in ("-0.01", "10000000"):
        with pytest.raises(BadInput, match="estimate_usd: a plain decimal amount"):
            world.decide(estimate_usd=bad)
    for bad in ("1e3", "much", ""):
        with pytest.raises(ValidationError):
            world.decide(estimate_usd=bad)


def test_nothing_of_it_goes_into_the_trail_of_changes(world: World) -> None:
    """A decision is on record by itself, and a chained entry for every model call would be a second ledger."""
    answer = world.decide()
    world.ask("reservations.settle", reservation_id=answer["reservation_id"], actual_usd="0.003")
    world.ask("reservations.release", reservation_id=answer["reservation_id"])
    assert world.trail.changes == []
    assert [one["decision_id"] for one in world.ask("decisions.list")["decisions"]] == [answer["decision_id"]]


def test_a_call_is_its_tokens_tenants(world: World) -> None:
    answer = world.decide(ACME)
    assert world.ask("decisions.show", ACME, decision_id=answer["decision_id"])["tenant"] == "acme"
    with pytest.raises(NotFound):
        world.decide(ACME, tenant="globex")
    assert world.decide(tenant="globex")["action"] == "allow"
    assert len(world.ask("decisions.list", ACME)["decisions"]) == 1


def test_of_anothers_decisions_and_reservations_nothing_is_told(world: World) -> None:
    held = world.decide(ACME)["reservation_id"]
    for verb, field in (
        ("decisions.show", "decision_id"), ("reservations.show", "reservation_id"), ("reservations.settle", "reservation_id"),
        ("reservations.release", "reservation_id"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            world.ask(verb, GLOBEX, **{field: held})
    assert world.ask("reservations.list", GLOBEX)["reservations"] == []
    assert world.ask("decisions.list", GLOBEX, tenant="acme")["decisions"] == []
    assert world.ask("decisions.blocked", GLOBEX)["rows"] == []


def test_references_are_those_that_the_calls_spans_will_have(world: World) -> None:
    """A sender of acme alone sends into the realm acme, one of all tenants into `default`: there a user has his reference."""
    for principal, realm in ((ACME, "acme"), (LOCAL, "default")):
        world.decide(principal, user="ann")
        with world.rig.store.read() as transaction:
            assert transaction.execute("SELECT realm FROM subjects ORDER BY ref DESC LIMIT 1")[0][0] in ("acme", "default")
            assert (realm,) in transaction.execute("SELECT realm FROM subjects WHERE clear = 'ann'")
    assert [one["user"] for one in world.ask("decisions.list", user="ann")["decisions"]] == ["ann", "ann"]


def test_a_key_may_stand_in_the_input_or_beside_it(world: World) -> None:
    first = world.decide(idempotency_key="k1")
    assert world.decide(LOCAL, "k1") == first
    assert world.decide(LOCAL, "k1", idempotency_key="k1") == first
    with pytest.raises(BadInput, match="Idempotency-Key is another one"):
        world.decide(LOCAL, "k2", idempotency_key="k1")
    with pytest.raises(KeyReused):
        world.decide(idempotency_key="k1", input_tokens=999)
    with pytest.raises(BadInput, match="visible ASCII"):
        world.decide(LOCAL, "a b")
    assert len(world.ask("decisions.list")["decisions"]) == 1


def test_blocked_spend_is_told_for_a_time_and_by_who_blocked(world: World) -> None:
    world.decide(agent="rogue")
    world.clock.advance(3600)
    world.decide(agent="rogue", estimate_usd="2")
    world.decide(agent="rogue", model="who-knows")
    world.decide()
    report = world.ask("decisions.blocked")
    assert (report["blocked_usd"], report["blocked_calls"], report["would_block_calls"]) == ("2.0035", 3, 0)
    [row] = report["rows"]
    said = {"action": "block", "observed": False, "gate": "kill_switch", "calls": 3, "estimate_usd": "2.0035", "unknown_calls": 1}
    assert row == {**said, "rule_id": None}
    [by_rule] = world.ask("decisions.blocked", by_rule=True)["rows"]
    assert {**by_rule, "rule_id": None} == row
    assert world.ask("decisions.blocked", to="2026-11-21T12:30:00Z")["blocked_usd"] == "0.0035"
    assert world.ask("decisions.blocked", model="gpt-4o", tenant="acme")["blocked_calls"] == 0


def test_pages_of_decisions_and_of_reservations_join_without_gaps(world: World) -> None:
    made = []
    for _ in range(5):
        made.append(world.decide()["decision_id"])
        world.clock.advance(1)
    for verb, field in (("decisions.list", "decision_id"), ("reservations.list", "reservation_id")):
        seen: list[str] = []
        cursor = None
        while True:
            page = world.ask(verb, limit=2, cursor=cursor)
            seen += [one[field] for one in page[verb.partition(".")[0]]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert seen == made[::-1]
        with pytest.raises(BadInput, match="cursor"):
            world.ask(verb, cursor="bm9uc2Vuc2U=")


def test_settling_refuses_what_can_be_no_amount_and_a_second_one(world: World) -> None:
    held = world.decide()["reservation_id"]
    with pytest.raises(BadInput, match="actual_usd"):
        world.ask("reservations.settle", reservation_id=held, actual_usd="-1")
    shown = world.ask("reservations.settle", reservation_id=held, actual_usd="0.003", tokens=1050)
    assert (shown["state"], shown["actual_usd"], shown["actual_tokens"], shown["estimate_usd"]) == ("settled", "0.003", 1050, "0.0035")
    with pytest.raises(Conflict):
        world.ask("reservations.settle", reservation_id=held, actual_usd="0.004")
    with pytest.raises(NotFound, match="no such reservation"):
        world.ask("reservations.settle", reservation_id="nothing")


def test_who_may_not_bring_in_spans_may_not_ask_for_decisions(world: World) -> None:
    with pytest.raises(Forbidden, match="permission ingest"):
        world.decide(Principal("vera", None, ROLES["viewer"]))


def test_tags_that_the_settings_do_not_keep_are_left_out(store: Store) -> None:
    world = World(store, {**ENFORCED, "OTEL_FINOPS_ATTRIBUTION__TAGS": '["team"]'})
    budget = {"name": "search", "scope": {"tag:team": "search"}, "amount": "0", "hard": True}
    world.ask("budgets.create", **budget)
    world.clock.advance(1)
    assert world.decide(tags={"team": "search", "other": "x"})["action"] == "block"
    assert world.decide(tags='{"team": "ads"}')["action"] == "allow"


def test_an_estimate_of_diagnostics_is_the_decision_tried_out(world: World) -> None:
    world.ask("budgets.create", name="all", amount="0.003", hard=True)
    world.clock.advance(1)
    tried = world.ask("diagnostics.estimate", **CALL)["decision"]
    made = world.decide()
    assert (tried["action"], tried["decision_id"], tried["recorded"]) == ("block", "dry-run", False)
    assert tried["reasons"] == made["reasons"]
    assert made["reasons"][0]["figures"]


def test_nobody_can_be_guessed_by_the_digest_of_what_was_asked(world: World) -> None:
    """The same words under two keys have two digests: without the key, which is stored nowhere, a name cannot be tried on them."""
    for key in ("first", "second"):
        world.decide(user="walrus", idempotency_key=key)
    with world.rig.store.read() as transaction:
        digests = [row[0] for row in transaction.execute("SELECT asked FROM decisions")]
    assert len(set(digests)) == 2
