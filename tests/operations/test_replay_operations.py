"""Replays as people ask for them: which rules and calls take part, rules that stand nowhere, and what bad input is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_rig import Rig, call

from otel_finops.base.errors import BadInput, Forbidden, NotFound
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
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock, RememberedTrail

MAX = Principal("max", ("acme",), ROLES["manager"])


class World:
    """Six calls, four of acme and two of globex, each 0.0035 USD, a minute apart."""

    def __init__(self, store: Store) -> None:
        self.rig = Rig(store)
        for number in range(6):
            tenant, agent = ("acme", "globex")[number % 3 == 2], ("planner", "writer")[number % 2]
            self.rig.settle(call(number, number + 1, at_s=60 * number, attribution={"tenant": tenant, "agent": agent}))
        self.rig.clock.advance(3600)
        prices = CurrentPrices(store, self.rig.clock, packaged_snapshot)
        self.context: Context = make_context(load(None, {}), store, self.rig.subjects, prices, self.rig.clock, trail=RememberedTrail())

    def __call__(self, operation: str, principal: Principal = LOCAL, /, **fields: Any) -> Json:
        one = OPERATIONS.named(operation)
        return invoke(one, self.context, principal, one.input.model_validate(fields), origin="test")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("replay")
    store = Store.open(f"sqlite:///{folder / 'ledger.db'}", FakeClock())
    upgrade(store)
    made = World(store)
    made("budgets.create", name="day", amount="0.0105", period="daily", hard=True)
    made("budgets.create", name="acme", amount="2", kind="calls", hard=True, scope={"tenant": "acme"})
    made("policies.create", name="no writers", action="block", scope={"agent": "writer"})
    yield made
    store.close()


def test_everything_that_stands_over_the_last_thirty_days(world: World) -> None:
    """Of six calls the 2nd, 4th and 6th are writers', the 3rd and 6th globex'. The policy blocks the 2nd and 4th; the other three before
    the 6th take all of the day's limit, which is asked before the policy and blocks the 6th. acme's limit of two calls is just reached."""
    found = world("replay.run")
    assert (found["policies"], found["budgets"], found["finished"], found["mode"]) == (["no writers"], ["day", "acme"], True, "enforce")
    assert found["live"] == {"made": {"calls": 6, "usd": "0.021"}, "stopped": {"calls": 0, "usd": "0"}}
    assert found["replayed"] == {"made": {"calls": 3, "usd": "0.0105"}, "saved_usd": "0.0105", "unknown_cost_calls": 0}
    assert found["actions"] == [{"action": "allow", "calls": 3, "usd": "0.0105"}, {"action": "block", "calls": 3, "usd": "0.0105"}]
    rules = [(one["gate"], one["rule"], one["rule_id"], one["calls"], one["saved_usd"]) for one in found["rules"]]
    assert rules == [("policy", "no writers", "1", 2, "0.007"), ("budget", "day", "1", 1, "0.0035")]
    first = found["calls"][0]
    assert (first["agent"], first["action"], first["rule"], first["made"], first["span_id"]) == (
        "writer", "block", "no writers", True, f"{1:016x}",
    )  # fmt: skip


def test_some_of_what_stands(world: World) -> None:
    assert world("replay.run", policies="none", budgets="2")["replayed"]["made"]["calls"] == 4  # acme's third and fourth call do not fit
    assert world("replay.run", policies=[1], budgets="none")["replayed"]["made"]["calls"] == 3
    assert world("replay.run", policies="none", budgets="none", mode="observe")["replayed"]["saved_usd"] == "0"
    assert world("replay.run", to="2026-11-21T12:02:00Z")["live"]["made"]["calls"] == 2


def test_rules_that_stand_nowhere(world: World) -> None:
    document = """
    budgets:
      - {name: two calls, amount: "2", kind: calls, period: yearly, hard: true, scope: {agent: writer}}
    policies:
      - {name: small planners, action: downgrade, scope: {agent: planner}, downgrade_to: gpt-4o-mini}
    """
    found = world("replay.run", document=document)
    assert (found["policies"], found["budgets"]) == (["small planners"], ["two calls"])
    rules = [(one["rule"], one["rule_id"], one["action"], one["calls"], one["saved_usd"]) for one in found["rules"]]
    assert rules == [("small planners", None, "downgrade", 3, "0.00987"), ("two calls", None, "block", 1, "0.0035")]
    assert world("replay.run", document=document, policies="1")["policies"] == ["no writers", "small planners"]
    assert len(world("budgets.list")["budgets"]) == 2  # nothing of it is stored
    assert len(world("policies.list")["policies"]) == 1


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("- a list", "write `policies:` and `budgets:`"),
        ("budgets: 7", "are lists"),
        ("rules: []", "write `policies:` and `budgets:`"),
        ("{", "no YAML, line "),
        ('budgets: [{name: a, amount: "-1"}]', "document: budgets.0: amount: a limit is not negative"),
        (
            'budgets: [{name: a, amount: "1"}, {name: b, amount: "1", scope: {planet: mars}}]',
            "document: budgets.1: scope.planet: there is no",
        ),
        ('budgets: [{name: a, amount: "1", zone: Mars/North}]', "document: budgets.0: "),
        ("budgets: [7]", "document: budgets.0: "),
        ("policies: [{name: a, action: block, condition: 'trace.planets > 3'}]", "document: policies.0: "),
        ("policies: [{name: a, action: dance}]", "document: policies.0: action: "),
    ],
)
def test_rules_that_can_be_none_are_refused_with_their_place(world: World, document: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        world("replay.run", document=document)
    assert says in str(caught.value)


def test_what_is_not_there_and_what_lies_ahead(world: World) -> None:
    with pytest.raises(NotFound, match=r"policies: There is no policy 99\."):
        world("replay.run", policies="1,99")
    with pytest.raises(BadInput, match="from: it lies ahead"):
        world("replay.run", **{"from": "2030-01-01"})
    with pytest.raises(BadInput, match="`to` lies before `from`"):
        world("replay.run", **{"from": "2026-11-21", "to": "2026-11-20"})
    with pytest.raises(ValueError, match="write all, none, or numbers"):
        world("replay.run", policies="-3")


def test_who_is_bound_to_tenants_replays_their_calls_by_their_rules(world: World) -> None:
    found = world("replay.run", MAX)
    assert (found["policies"], found["budgets"], found["live"]["made"]["calls"]) == ([], ["acme"], 4)
    assert world("replay.run", MAX, tenant="globex")["live"]["made"]["calls"] == 0
    with pytest.raises(NotFound, match="There is no budget 1"):
        world("replay.run", MAX, budgets="1")
    with pytest.raises(Forbidden, match=r"name yours in scope\.tenant"):
        world("replay.run", MAX, document='budgets: [{name: mine, amount: "1"}]')
    mine = 'budgets: [{name: mine, kind: calls, amount: "1", hard: true, scope: {tenant: acme}}]'
    assert world("replay.run", MAX, document=mine)["replayed"]["made"]["calls"] == 1
