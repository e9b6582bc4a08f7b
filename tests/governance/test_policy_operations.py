"""The verbs of policies: made, shown, validated, simulated on a call, kept as files; and decisions that go by them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.governance import policy_gate
from otel_finops.governance.ready_policies import READY
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.subjects import Subjects
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
GIL = Principal("gil", ("globex",), ROLES["manager"])
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALL = {"provider": "openai", "model": "gpt-4o", "tenant": "acme", "estimate_usd": "0.05"}


class Office:
    """The operations over an empty ledger, enforcing."""

    def __init__(self, store: Store) -> None:
        self.clock = FakeClock()
        self.trail = RememberedTrail()
        settings = load(None, {"OTEL_FINOPS_ENFORCEMENT__MODE": "enforce"})
        prices = CurrentPrices(store, self.clock, packaged_snapshot)
        self.context: Context = make_context(settings, store, Subjects(), prices, self.clock, trail=self.trail)

    def ask(self, verb: str, principal: Principal = LOCAL, /, **given: Any) -> Json:
        one = OPERATIONS.named(verb)
        answer = invoke(one, self.context, principal, one.input.model_validate(given), origin="test")
        one.output.model_validate(answer)
        self.clock.advance(1)
        return answer


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    store = Store.open(f"sqlite:///{tmp_path / 'ledger.db'}", FakeClock())
    upgrade(store)
    yield Office(store)
    store.close()


def test_a_policy_is_made_shown_changed_and_taken_away_on_record(office: Office) -> None:
    made = office.ask(
        "policies.create", name="dear", action="queue", scope="tenant=acme,user=ann", min_cost_usd="0.5", model="gpt-4*"
    )["policy"]  # fmt: skip
    assert made["scope"] == {"tenant": "acme", "user": "ann", "model": "gpt-4*"}
    assert (made["no"], made["min_cost_usd"], made["retry_after_s"], made["made_by"]) == (1, "0.5", 30.0, "local")
    assert office.ask("policies.list")["policies"] == [made]

    changed = office.ask("policies.update", no=1, action="throttle", rate="10/60:agent", min_cost_usd="")
    assert (changed["policy"]["rate"], changed["policy"]["min_cost_usd"]) == ({"calls": 10, "per_s": 60.0, "of": "agent"}, None)
    assert not office.ask("policies.update", no=1, action="throttle")["changed"]
    assert not office.ask("policies.update", no=1, enabled=False, dry_run=True)["changed"]
    assert not office.ask("policies.delete", no=1, dry_run=True)["changed"]
    office.ask("policies.delete", no=1)
    shown = office.ask("policies.show", no=1)
    assert shown["deleted"]
    assert [(one["deleted"], one["policy"]["action"]) for one in shown["history"]] == [
        (True, "throttle"),
        (False, "throttle"),
        (False, "queue"),
    ]
    assert office.ask("policies.list")["policies"] == []
    recorded = [(change.what, change.tenant, change.before is None, change.after is None) for change in office.trail.changes]
    assert recorded == [
        ("policies.create", "acme", True, False), ("policies.update", "acme", False, False), ("policies.delete", "acme", False, True),
    ]  # fmt: skip


def test_people_of_a_tenant_learn_nothing_of_budgets_for_several(office: Office) -> None:
    """Neither whether they stand, by a policy of their own, nor how, by what a policy of the service's people says of a call."""
    office.ask("budgets.create", name="everybody", amount="40", scope={"provider": "openai"})
    office.ask("policies.create", MAX, name="probe", action="block", scope={"tenant": "acme"}, condition="budget.limit > 39.0")
    condition = "budget.limit > 39.0"
    given = {"name": "tried", "action": "block", "scope": {"tenant": "acme"}, "condition": condition}
    assert office.ask("policies.simulate", MAX, **CALL, policy=given)["action"] == "allow"
    assert office.ask("decisions.create", MAX, **CALL)["action"] == "allow"

    office.ask("policies.create", name="near", action="block", scope={"tenant": "acme"}, condition=condition)
    [_, said] = office.ask("policies.simulate", MAX, **CALL)["policies"]
    assert (said["name"], said["matched"], said["figures"]) == ("near", True, {})
    [reason] = office.ask("decisions.create", MAX, **CALL)["reasons"]
    assert (reason["action"], reason["figures"], reason["text"]) == ("block", {}, "policy near of several tenants says block")
    [reason] = office.ask("decisions.create", **CALL)["reasons"]
    assert reason["figures"]["budget.limit"] == "40"


def test_conditions_of_one_tenant_keep_nobody_waiting(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second", "third"):
        office.ask("policies.create", MAX, name=name, action="block", scope={"tenant": "acme"}, condition="estimate.usd > 5.0")
    office.ask("policies.create", name="the service's", action="block", scope={"tenant": "acme"}, condition="estimate.usd > 0.01")
    assert len(office.ask("decisions.create", **CALL)["reasons"]) == 1
    monkeypatch.setattr(policy_gate, "CONDITIONS_OF_TENANT_US_MAX", 0.001)  # as if the first one took all of the time
    said = office.ask("decisions.create", **CALL)
    assert (said["action"], [one["rule"] for one in said["reasons"]]) == ("block", ["the service's", "second"])
    assert "conditions before it took too long" in said["reasons"][1]["text"]


def test_who_is_erased_stands_in_no_record_of_a_change(office: Office) -> None:
    """The trail is never changed, so that it names people by their references alone."""
    scope = {"tenant": "acme", "user": "walrus", "session": "walrus-session"}
    office.ask("budgets.create", name="b", amount="1", scope=scope)
    office.ask("budgets.update", no=1, amount="2")
    office.ask("budgets.update", no=1, scope={**scope, "session": "walrus-2"})
    office.ask("budgets.delete", no=1)
    office.ask("policies.create", name="p", action="block", scope=scope)
    office.ask("policies.update", no=1, priority=1)
    office.ask("policies.delete", no=1)
    office.ask("credits.create", name="c", scope=scope, why="prepaid")
    office.ask("credits.update", no=1, hard=False, why="softer")
    office.ask("credits.topup", no=1, amount="5", why="more")
    office.ask("credits.close", no=1, why="over")
    assert len(office.trail.changes) == 11
    assert "walrus" not in str(office.trail.changes)
    created = office.trail.changes[0].after
    assert created["scope"].keys() == scope.keys()
    assert len(created["scope"]["user"].split(" ")) == 2  # in the tenant's own realm and in that of credentials for several


def test_a_dry_run_makes_nothing(office: Office) -> None:
    tried = office.ask("policies.create", name="dear", action="block", scope={"tenant": "acme", "user": "ann"}, dry_run=True)
    assert not tried["changed"]
    assert (tried["policy"]["no"], tried["policy"]["scope"]) == (None, {"tenant": "acme", "user": "ann"})
    assert office.ask("policies.list")["policies"] == []
    assert office.trail.changes == []


def test_people_of_a_tenant_see_and_make_theirs_alone(office: Office) -> None:
    office.ask("policies.create", name="everybody's", action="block", enabled=False)
    office.ask("policies.create", MAX, name="ours", action="block", scope={"tenant": "acme"})
    assert [one["name"] for one in office.ask("policies.list", MAX)["policies"]] == ["ours"]
    assert office.ask("policies.list", GIL)["policies"] == []
    assert "ours" not in office.ask("policies.export", GIL)["document"]
    for verb, given in (("show", {}), ("update", {"priority": 1}), ("delete", {})):
        with pytest.raises(NotFound):
            office.ask(f"policies.{verb}", GIL, no=2, **given)
    with pytest.raises(NotFound):
        office.ask("policies.create", GIL, name="x", action="block", scope={"tenant": "acme"})
    with pytest.raises(Forbidden, match=r"name yours in scope\.tenant"):
        office.ask("policies.create", GIL, name="x", action="block")
    with pytest.raises(NotFound):
        office.ask("policies.update", MAX, no=2, scope={"tenant": "globex"})
    assert office.ask("policies.simulate", GIL, provider="openai", model="gpt-4o")["policies"] == []
    with pytest.raises(NotFound):
        office.ask("policies.simulate", GIL, provider="openai", model="gpt-4o", no=2)


def test_one_that_is_never_asked_is_told(office: Office) -> None:
    office.ask("policies.create", name="all of acme", action="allow", scope={"tenant": "acme"}, priority=5)
    made = office.ask("policies.create", name="too late", action="block", scope={"tenant": "acme", "agent": "writer"})
    assert made["notes"] == ["policy 1 (all of acme) is for all of these calls and is asked first, so that this one never is"]
    assert office.ask("policies.create", name="in time", action="block", priority=1)["notes"] == []


def test_validating_says_what_is_wrong_and_stores_nothing(office: Office) -> None:
    bad = office.ask("policies.validate", name="x", action="block", condition="trace.cals > 5")
    assert not bad["valid"]
    assert bad["faults"][0].startswith("condition, position 7: there is no field trace.cals; is 'calls' meant?")
    assert office.ask("policies.validate", name="x", action="throttle")["faults"] == ["rate: the action throttle needs it"]
    assert office.ask("policies.validate", action="block")["faults"] == ["name: must be given, or `ready`"]
    good = office.ask("policies.validate", name="x", action="block", condition="trace.calls > 5", scope={"user": "ann"})
    assert (good["valid"], good["policy"]["scope"]) == (True, {"user": "ann"})
    assert office.ask("policies.list")["policies"] == []


@pytest.mark.parametrize("one", READY, ids=lambda one: one.name)
def test_every_ready_policy_can_be_made(office: Office, one: Any) -> None:
    made = office.ask("policies.create", ready=one.name)["policy"]
    assert (made["name"], made["action"], made["condition"]) == (one.name, one.action, one.condition_with(None))
    if one.limit:
        own = office.ask("policies.create", ready=one.name, name="own", limit="7", scope={"agent": "writer"}, action="queue")["policy"]
        assert (own["action"], own["scope"]) == ("queue", {"agent": "writer"})
        assert own["condition"].endswith(">= 7")


def test_ready_policies_are_listed_and_none_holds_by_itself(office: Office) -> None:
    assert len(office.ask("policies.ready")["policies"]) == len(READY)
    assert office.ask("policies.list")["policies"] == []
    with pytest.raises(BadInput, match="there are runaway-trace-cost"):
        office.ask("policies.create", ready="walk-away")
    with pytest.raises(BadInput, match="limit: only with a ready policy that has one"):
        office.ask("policies.create", name="x", action="block", limit="5")


def test_simulating_says_of_each_policy_why(office: Office) -> None:
    office.ask("policies.create", name="loop", action="block", condition="trace.calls >= 50 && trace.cost_usd > 2.0")
    office.ask("policies.create", name="dear", action="require_approval", min_cost_usd="1")
    office.ask("policies.create", name="globex's", action="block", scope={"tenant": "globex"})
    office.ask("policies.create", name="off", action="block", enabled=False)
    office.ask("policies.create", name="broken", action="block", condition="1 / trace.calls > 5")
    said = office.ask("policies.simulate", **CALL, trace_id=TRACE)
    assert (said["action"], said["decided_by"], said["estimate_usd"]) == ("allow", None, "0.05")
    assert [(one["name"], one["matched"], one["failed"], one["why"]) for one in said["policies"]] == [
        ("loop", False, False, "its condition does not hold"),
        ("dear", False, False, "the estimate is less than min_cost_usd"),
        ("globex's", False, False, "its scope is for other calls"),
        ("broken", False, True, "a division by zero"),
    ]
    said = office.ask("policies.simulate", **CALL, trace_id=TRACE, state="trace.calls=50,trace.cost_usd=2.5")
    assert (said["action"], said["decided_by"]) == ("block", 1)
    assert said["policies"][0]["figures"] == {"trace.calls": "50", "trace.cost_usd": "2.5"}
    assert office.ask("policies.simulate", **CALL, no=4)["action"] == "block"  # also one that is not enabled
    assert office.ask("policies.list")["policies"][4]["failures"] is None  # nothing is counted
    assert office.ask("decisions.list")["decisions"] == []


def test_a_definition_that_is_not_stored_can_be_simulated(office: Office) -> None:
    policy = {"name": "ann's", "action": "downgrade", "downgrade_to": "gpt-4o-mini", "scope": {"tenant": "acme", "user": "ann"}}
    said = office.ask("policies.simulate", **CALL, user="ann", policy=policy)
    assert (said["action"], said["decided_by"], said["policies"][0]["model"]) == ("downgrade", None, "gpt-4o-mini")
    assert office.ask("policies.simulate", **CALL, user="bob", policy=policy)["action"] == "allow"
    assert office.ask("policies.list")["policies"] == []
    with pytest.raises(BadInput, match="leave one of them out"):
        office.ask("policies.simulate", **CALL, no=1, policy=policy)
    for state in ("trace.cals=5", "trace.calls", {"trace.calls": True}):
        with pytest.raises(ValidationError):
            office.ask("policies.simulate", **CALL, state=state)
    with pytest.raises(BadInput, match=r"state\.trace\.calls: a whole number"):
        office.ask("policies.simulate", **CALL, state={"trace.calls": "-1"})


SET = """
version: 1
policies:
- name: loop
  condition: trace.calls >= 3
  action: block
- name: pace
  scope: {tenant: acme}
  action: throttle
  rate: 120/60:agent
  priority: 7
- {name: dear, action: require_approval, min_cost_usd: 0.5, model: gpt-4*, description: "ann's idea", enabled: false}
- {ready: runaway-session-cost, limit: 3}
"""


def test_a_set_is_imported_exported_and_the_same_again(office: Office) -> None:
    tried = office.ask("policies.import", document=SET, dry_run=True)
    assert (tried["created"], tried["changed"], tried["policies"][0]["no"]) == (4, False, None)
    assert office.ask("policies.import", document=SET)["created"] == 4
    document = office.ask("policies.export")["document"]
    assert yaml.safe_load(document) == {
        "version": 1,
        "policies": [
            {
                "name": "pace", "scope": {"tenant": "acme"}, "action": "throttle",
                "rate": {"calls": 120, "per_s": 60.0, "of": "agent"}, "priority": 7,
            },
            {"name": "loop", "condition": "trace.calls >= 3", "action": "block"},
            {
                "name": "dear", "description": "ann's idea", "scope": {"model": "gpt-4*"}, "min_cost_usd": "0.5",
                "action": "require_approval",
                "enabled": False,
            },
            {
                "name": "runaway-session-cost", "description": "Stops a conversation that has cost more than it can be worth.",
                "condition": "session.cost_usd >= 3", "action": "block",
            },
        ],
    }  # fmt: skip
    again = office.ask("policies.import", document=document, replace=True)
    assert (again["unchanged"], again["changed"]) == (4, False)
    assert [change.what for change in office.trail.changes] == ["policies.import"]

    less = office.ask("policies.import", document="version: 1\npolicies: [{name: loop, action: queue}]", replace=True)
    assert (less["updated"], less["deleted"]) == (1, 3)
    [left] = office.ask("policies.list")["policies"]
    assert (left["action"], left["condition"]) == ("queue", None)  # what a file leaves out is as usual
    assert office.trail.changes[1].before.keys() == {"loop", "pace", "dear", "runaway-session-cost"}


def test_people_of_a_tenant_replace_theirs_alone(office: Office) -> None:
    office.ask("policies.create", name="everybody's", action="block")
    office.ask("policies.create", MAX, name="ours", action="block", scope={"tenant": "acme"})
    done = office.ask("policies.import", MAX, document="version: 1\npolicies: []", replace=True)
    assert [one["name"] for one in done["policies"]] == ["ours"]
    with pytest.raises(BadInput, match=r"policies\.0: A policy without a tenant"):
        office.ask("policies.import", MAX, document="version: 1\npolicies: [{name: x, action: block}]")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("version: 2\npolicies: []", "version 1"),
        ("policies: []", "version 1"),
        ("- a", "write `version: 1` and `policies:`"),
        ("version: 1\npolicies: {}", "write `version: 1`"),
        ("version: 1\npolicies: []\nmore: 1", "and nothing else"),
        ("version: 1\npolicies:\n- name: 'x\n", "no YAML, line 4, column 1"),
        ("a: &a [1]\nb: *a", "anchors and aliases are not followed"),
        ("[" * 50_000, "at most 8 deep"),
        ("version: 1\npolicies: [{name: x, action: fly}, {nme: y}]", r"policies\.0: action.*policies\.1: nme"),
        ("version: 1\npolicies: [{name: z, action: block, condition: 'trace.calls ='}]", r"policies\.0: condition, position 13"),
    ],
)  # fmt: skip
def test_a_set_that_can_be_none_is_refused_with_the_places(office: Office, document: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        office.ask("policies.import", document=document)
    assert office.ask("policies.list")["policies"] == []


def test_decisions_go_by_policies(office: Office) -> None:
    office.ask("policies.create", name="cheaper", action="downgrade", downgrade_to="gpt-4o-mini", scope={"agent": "triage"})
    office.ask("policies.create", name="calls of a run", action="block", condition="trace.calls >= 2")
    office.ask("policies.create", name="pace", action="throttle", rate="1/10", scope={"agent": "fast"})
    assert office.ask("decisions.create", **CALL, agent="triage")["model"] == "gpt-4o-mini"
    first, second, third = (office.ask("decisions.create", **CALL, trace_id=TRACE) for _ in range(3))
    assert (first["action"], second["action"], third["action"], third["http_status"]) == ("allow", "allow", "block", 402)
    [reason] = third["reasons"]
    assert (reason["rule"], reason["rule_id"], reason["figures"]) == ("calls of a run", "2", {"trace.calls": "2"})
    office.ask("reservations.release", reservation_id=first["reservation_id"])
    assert office.ask("decisions.create", **CALL, trace_id=TRACE)["action"] == "allow"
    assert office.ask("decisions.create", **CALL, agent="fast")["action"] == "allow"
    throttled = office.ask("decisions.create", **CALL, agent="fast")
    assert (throttled["action"], throttled["retry_after_s"]) == ("throttle", 9.0)  # a second later
    assert [one["rule_id"] for one in office.ask("decisions.list", gate="policy")["decisions"]] == ["3", "2", "1"]
