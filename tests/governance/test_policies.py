"""Policies: which one is for a call, what it says, who may change it, and how soon every process goes by it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.base.money import PICO_PER_USD
from otel_finops.governance import policy_store
from otel_finops.governance.budgets import Budget, BudgetStatus
from otel_finops.governance.call_state import CallStates, CallsUnderWay
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.periods import Window
from otel_finops.governance.policies import Policy
from otel_finops.governance.policy_gate import StoredPolicyGate
from otel_finops.governance.policy_store import Edit, PolicyStore, followed_policies
from otel_finops.governance.rates import Rate
from otel_finops.governance.reservations import Reservations
from otel_finops.governance.rulings import Ruling
from otel_finops.governance.scopes import Scope
from otel_finops.identity.principals import Editor
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import CountingIds, FakeClock

CENT = PICO_PER_USD // 100
ROOT = Editor("ann")
MAX = Editor("max", ("acme",))
CALL = GovernedCall(tenant="acme", provider="openai", model="gpt-4o", agent="writer", pico=5 * CENT, tokens=900)
DAY = Window(0, 86_400 * 10**9)
NEARLY = (Budget(1, "team", Scope(), "money", PICO_PER_USD), BudgetStatus(DAY, PICO_PER_USD, 0, 95 * CENT, 0, 0))


class Rig:
    """Policies over one store, and what they say."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.subjects = Subjects(CountingIds())
        self.policies = PolicyStore(store, self.clock, self.subjects)
        self.gate = self.another_process()
        self.budgets_asked = 0

    def another_process(self) -> StoredPolicyGate:
        return StoredPolicyGate(followed_policies(self.store, self.clock), CallStates(self.clock, figures=True), self.clock)

    def make(self, name: str, action: str = "block", editor: Editor = ROOT, **said: Any) -> Policy:
        scope, model = said.pop("scope", {}), said.pop("model", None)
        made = self.policies.create(Edit({"name": name, "action": action, **said}, scope, model), editor)
        self.clock.advance(1)  # more than processes need to know
        return made

    def change(self, no: int, editor: Editor = ROOT, *, revision: int | None = None, **said: Any) -> tuple[Policy, Policy]:
        scope, model = said.pop("scope", None), said.pop("model", None)
        done = self.policies.update(no, Edit(said, scope, model, revision), editor)
        self.clock.advance(1)
        return done

    def rule(self, call: GovernedCall = CALL, *, keep: bool = True, gate: StoredPolicyGate | None = None) -> Ruling | None:
        with self.store.write() as transaction:
            return (gate or self.gate).rule(transaction, call, self._budgets, keep=keep)

    def decided(self, call: GovernedCall = CALL) -> str | None:
        """The name of the policy that decides."""
        ruling = self.rule(call)
        return None if ruling is None else ruling.reasons[0].rule

    def failures(self) -> Sequence[tuple[int, str]]:
        found = self.policies.failures(self.policies.all())
        return [(one.times, one.reason) for _, one in sorted(found.items())]

    def _budgets(self) -> Sequence[tuple[Budget, BudgetStatus]]:
        self.budgets_asked += 1
        return (NEARLY,)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """On SQLite; what writes more than definitions is tested on each engine."""
    store = Store.open(f"sqlite:///{tmp_path / 'policies.db'}", FakeClock())
    upgrade(store)
    yield Rig(store)
    store.close()


@pytest.fixture
def any_rig(store: Store) -> Rig:
    return Rig(store)


@pytest.mark.parametrize(
    ("said", "is_for"),
    [
        ({}, True),
        ({"scope": {"tenant": "acme"}}, True),
        ({"scope": {"tenant": "globex"}}, False),
        ({"scope": {"provider": "OpenAI", "agent": "writer"}}, True),
        ({"scope": {"agent": "editor"}}, False),
        ({"model": "gpt-4*"}, True),
        ({"model": "GPT-4O"}, True),
        ({"model": "o3*"}, False),
        ({"min_pico": 5 * CENT}, True),  # from it on
        ({"min_pico": 5 * CENT + 1}, False),
        ({"condition": "estimate.usd > 0.04"}, True),
        ({"condition": "estimate.usd > 0.05"}, False),
        ({"condition": "budget.ratio > 0.9 && budget.name == 'team'"}, True),
        ({"scope": {"agent": "writer"}, "model": "gpt*", "min_pico": CENT, "condition": "call.provider == 'openai'"}, True),
        ({"scope": {"agent": "writer"}, "model": "gpt*", "min_pico": CENT, "condition": "call.provider != 'openai'"}, False),
        ({"enabled": False}, False),
    ],
)
def test_for_which_calls_a_policy_is(rig: Rig, said: dict[str, Any], is_for: bool) -> None:
    rig.make("one", **said)
    assert (rig.decided() == "one") is is_for


def test_the_first_that_is_for_a_call_decides_by_priority_and_then_by_number(rig: Rig) -> None:
    rig.make("late", "block", priority=200)
    rig.make("second", "queue")
    rig.make("third", "block")
    rig.make("others", "block", priority=1, scope={"agent": "editor"})
    assert rig.decided() == "second"
    rig.make("before", "allow", priority=50)
    assert rig.decided() == "before"
    ruling = rig.rule()
    assert ruling is not None
    assert (ruling.action, len(ruling.reasons)) == ("allow", 1)


def test_what_costs_a_look_up_is_not_read_where_no_policy_asks(rig: Rig) -> None:
    rig.make("plain", "allow", min_pico=50 * CENT)
    rig.make("another agent's", condition="budget.ratio > 0.5", scope={"agent": "editor"})
    assert rig.rule() is None
    assert rig.budgets_asked == 0
    assert not rig.gate.asks_for_calls()
    rig.make("budget", condition="budget.ratio > 0.5 || budgets.size() > 3")
    rig.rule()
    assert rig.budgets_asked == 1
    rig.make("loop", condition="trace.calls > 5", scope={"agent": "editor"})
    assert rig.gate.asks_for_calls()
    rig.change(4, enabled=False)
    assert not rig.gate.asks_for_calls()


@pytest.mark.parametrize(
    ("action", "said", "expected"),
    [
        ("allow", {}, (None, None)),
        ("block", {}, (None, None)),
        ("require_approval", {}, (None, None)),
        ("downgrade", {"downgrade_to": "gpt-4o-mini"}, (None, "gpt-4o-mini")),
        ("queue", {}, (30.0, None)),
        ("queue", {"retry_after_s": 2.5}, (2.5, None)),
    ],
)
def test_what_each_action_says(rig: Rig, action: str, said: dict[str, Any], expected: tuple[float | None, str | None]) -> None:
    policy = rig.make("one", action, min_pico=CENT, **said)
    ruling = rig.rule()
    assert ruling is not None
    assert (ruling.action, ruling.retry_after_s, ruling.model) == (action, *expected)
    [reason] = ruling.reasons
    assert (reason.gate, reason.action, reason.rule, reason.rule_id, reason.tenant) == ("policy", action, "one", str(policy.no), None)
    assert reason.figures == {"estimate_usd": "0.05", "min_cost_usd": "0.01"}
    assert reason.text.endswith("estimate_usd is 0.05, min_cost_usd is 0.01")


def test_a_downgrade_is_not_for_calls_of_that_model(rig: Rig) -> None:
    rig.make("cheaper", "downgrade", downgrade_to="gpt-4o-mini", model="gpt-4o*")
    assert rig.decided() == "cheaper"
    assert rig.rule(CALL._replace(model="GPT-4o-mini")) is None


def test_a_cost_that_nobody_knows_is_not_from_a_cost_on(rig: Rig) -> None:
    rig.make("dear", min_pico=0)
    assert rig.rule(CALL._replace(pico=None)) is None


def test_a_throttle_lets_calls_on_to_the_next_policy_while_it_has_room(any_rig: Rig) -> None:
    rig = any_rig
    rig.make("pace", "throttle", rate=Rate(2, 60.0, "agent"))
    assert rig.rule() is None
    assert rig.rule() is None
    ruling = rig.rule()
    assert ruling is not None
    assert (ruling.action, ruling.retry_after_s) == ("throttle", 30 - 0)
    assert rig.rule(CALL._replace(agent="editor")) is None
    rig.clock.advance(30)
    rig.make("no", "block", priority=200)  # one second later
    assert rig.decided() == "no"
    rig.change(2, enabled=False)
    assert rig.rule() is None  # what the blocked call had taken was given back
    assert rig.decided() == "pace"


def test_a_dry_run_takes_nothing_and_counts_nothing(rig: Rig) -> None:
    rig.make("pace", "throttle", rate=Rate(1, 60.0))
    rig.make("broken", condition="1 / (estimate.tokens - 900) > 1")
    for _ in range(3):
        ruling = rig.rule(keep=False)
        assert ruling is not None
        assert ruling.action == "allow"
    assert rig.failures() == []
    rig.rule()
    assert rig.rule(keep=False).action == "throttle"  # type: ignore[union-attr]


def test_a_policy_that_fails_is_counted_told_and_skipped(any_rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig = any_rig
    rig.make("broken", "block", condition="100 / (estimate.tokens - 900) > 1")
    rig.make("sound", "queue")
    for _ in range(3):
        ruling = rig.rule()
        assert ruling is not None
        assert (ruling.action, [one.rule for one in ruling.reasons]) == ("queue", ["sound", "broken"])
        assert ruling.reasons[1].text == "policy broken could not be evaluated and was skipped: a division by zero"
    assert rig.failures() == [(3, "a division by zero")]
    assert [record.getMessage() for record in caplog.records] == [
        "policy 1 (broken) cannot be evaluated for some calls and is skipped: a division by zero"
    ]
    assert rig.decided(CALL._replace(tokens=901)) == "broken"  # other calls it is for all the same


def test_one_whose_stored_text_can_be_read_no_longer_fails_in_the_same_way(rig: Rig) -> None:
    rig.make("old", "block", condition="trace.calls >= 0")
    with rig.store.write() as transaction:  # as a later version might find it
        transaction.execute("UPDATE policies SET definition = REPLACE(definition, 'trace.calls', 'trace.loops')")
    ruling = rig.rule(gate=rig.another_process())
    assert ruling is not None
    assert ruling.action == "allow"
    assert rig.failures()[0][1].startswith("condition, position 7: there is no field trace.loops")


def test_every_process_goes_by_a_change_within_half_a_second(any_rig: Rig) -> None:
    rig = any_rig
    other = rig.another_process()
    assert rig.rule(gate=other) is None
    rig.policies.create(Edit({"name": "now", "action": "block"}, {}), ROOT)
    assert rig.rule(gate=other) is None
    rig.clock.advance(0.5)
    assert rig.rule(gate=other) is not None
    rig.policies.delete(1, ROOT)
    rig.clock.advance(0.5)
    assert rig.rule(gate=other) is None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"name": " "}, "name: 1 to"),
        ({"name": "a\nb"}, "printable"),
        ({"action": "stop"}, "action: one of"),
        ({"action": "downgrade"}, "downgrade_to: the action downgrade needs it"),
        ({"action": "downgrade", "downgrade_to": "gpt-*"}, "the name of one model"),
        ({"action": "throttle"}, "rate: the action throttle needs it"),
        ({"action": "throttle", "rate": Rate(0, 60.0)}, "rate: 1 to"),
        ({"action": "throttle", "rate": Rate(1, 60.0, "planet")}, "rate: 1 to"),  # type: ignore[arg-type]
        ({"rate": Rate(1, 60.0)}, "rate: only with the action throttle"),
        ({"retry_after_s": 5.0}, "retry_after_s: only with the action queue"),
        ({"action": "queue", "retry_after_s": 0.0}, "retry_after_s: more than 0"),
        ({"min_pico": -1}, "min_cost_usd"),
        ({"priority": -1}, "priority: 0 to"),
        ({"condition": "trace.call > 1"}, "condition, position 7"),
        ({"scope": {"planet": "mars"}}, "scope.planet: there is no such dimension"),
        ({"scope": {"model": "a"}, "model": "b"}, "say it once"),
    ],
)
def test_what_can_be_no_policy_is_refused(rig: Rig, said: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        rig.make(**{"name": "one", **said})
    assert len(rig.policies.all()) == 0


def test_changes_stay_in_the_history(any_rig: Rig) -> None:
    rig = any_rig
    made = rig.make("one", "queue", retry_after_s=5.0, condition="trace.calls > 5", model="gpt-4*")
    before, after = rig.change(made.no, action="block")  # what belongs to the former action goes
    assert (before.retry_after_s, after.retry_after_s, after.condition) == (5.0, None, "trace.calls > 5")
    assert dict(after.scope.parts) == {"model": "gpt-4*"}
    assert rig.change(made.no, action="block") == (after, after)  # nothing new
    _, after = rig.change(made.no, model="", condition=None, scope={"agent": "writer"})
    assert (dict(after.scope.parts), after.condition) == ({"agent": "writer"}, None)
    with pytest.raises(Conflict, match="changed by ann"):
        rig.change(made.no, revision=made.revision, enabled=False)
    assert rig.policies.delete(made.no, ROOT, revision=after.revision) == after
    history = rig.policies.history(made.no)
    assert [(one.left.action, one.deleted) for one in history] == [("block", True), ("block", False), ("block", False), ("queue", False)]
    assert {one.left.made_by for one in history} == {"ann"}
    with pytest.raises(NotFound):
        rig.change(made.no, enabled=False)
    assert rig.make("one").no == made.no + 1  # numbers are never given twice


def test_names_are_taken_within_a_tenant(rig: Rig) -> None:
    rig.make("loop")
    rig.make("loop", scope={"tenant": "acme"})
    with pytest.raises(BadInput, match="policy 2 is called so already"):
        rig.make("loop", editor=MAX, scope={"tenant": "acme"}, priority=1)


def test_who_is_bound_to_tenants_changes_those_of_his_tenants_that_he_may(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.make("everybody's")
    rig.make("the service's", scope={"tenant": "acme"})
    own = rig.make("his own", editor=MAX, scope={"tenant": "acme"})
    foreign = rig.make("another's", scope={"tenant": "globex"})
    for no in (1, foreign.no, 99):
        with pytest.raises(NotFound, match=f"There is no policy {no}"):
            rig.change(no, MAX, enabled=False)
    with pytest.raises(Forbidden, match="made by ann, who sees all tenants"):
        rig.change(2, MAX, enabled=False)
    assert not rig.change(own.no, MAX, enabled=False)[1].enabled
    monkeypatch.setattr(policy_store, "POLICIES_OF_TENANT_MAX", 1)
    with pytest.raises(BadInput, match="1 policies of this tenant already"):
        rig.make("one too many", editor=MAX, scope={"tenant": "acme"})
    rig.make("the service makes more", scope={"tenant": "acme"})
    monkeypatch.setattr(policy_store, "POLICIES_MAX", 5)
    with pytest.raises(BadInput, match="5 policies already"):
        rig.make("of anybody")


def test_users_are_stored_as_references_of_every_realm_that_they_may_be_in(any_rig: Rig) -> None:
    rig = any_rig
    policy = rig.make("ann's", scope={"tenant": "acme", "user": "ann@example.com"})
    with rig.store.read() as transaction:
        [(definition,)] = transaction.execute("SELECT definition FROM policies")
    assert "ann@" not in definition
    assert rig.policies.scopes([policy]) == [{"tenant": "acme", "user": "ann@example.com"}]
    with rig.store.write() as transaction:
        refs = [rig.subjects.refs(transaction, realm, "user", ["ann@example.com"])["ann@example.com"] for realm in ("acme", "default")]
    for ref in refs:
        assert rig.decided(CALL._replace(user=ref)) == "ann's"
    assert rig.rule(CALL._replace(user="another")) is None


def test_a_whole_set_stands_or_nothing_of_it(any_rig: Rig) -> None:
    rig = any_rig
    rig.make("kept", "block", priority=7)
    rig.make("changed", "block")
    rig.make("left", "block")
    rig.make("acme's", "block", scope={"tenant": "acme"})
    said = [
        Edit({"name": "kept", "action": "block", "priority": 7}, {}),
        Edit({"name": "changed", "action": "queue"}, {}),
        Edit({"name": "new", "action": "allow"}, {"tenant": "acme"}),
    ]
    with pytest.raises(BadInput, match=r"policies\.3: action: one of"):
        rig.policies.put([*said, Edit({"name": "x", "action": "stop"}, {})], ROOT, replace=False)
    with pytest.raises(BadInput, match=r"policies\.3\.name: it stands twice"):
        rig.policies.put([*said, said[0]], ROOT, replace=False)
    assert [(one.name, one.action) for one in rig.policies.all()] == [
        ("kept", "block"), ("changed", "block"), ("left", "block"), ("acme's", "block"),
    ]  # fmt: skip

    tried = rig.policies.put(said, ROOT, replace=True, dry_run=True)
    assert [one.deed for one in tried] == ["keep", "update", "create", "delete", "delete"]
    assert len(rig.policies.all()) == 4

    done = rig.policies.put(said, ROOT, replace=False)
    assert [one.deed for one in done] == ["keep", "update", "create"]
    done = rig.policies.put([said[2]], MAX, replace=True)
    assert [one.deed for one in done] == ["keep"]  # he may change none of them
    assert {one.name for one in rig.policies.all()} == {"kept", "changed", "left", "acme's", "new"}


@pytest.mark.parametrize("processes", [4])
def test_no_call_too_many_passes_a_limit_of_calls_however_many_ask_at_once(database_url: str, processes: int) -> None:
    """Each has a database connection of its own, as processes have."""
    rigs = [Rig(Store.open(database_url, FakeClock())) for _ in range(processes)]
    upgrade(rigs[0].store)
    rigs[0].make("five calls", condition="trace.calls >= 5")
    passed: list[str] = []

    def work(number: int) -> None:
        rig = rigs[number]
        reservations = Reservations([CallsUnderWay(rig.gate.asks_for_calls)], 600 * 10**9, 900 * 10**9)
        for turn in range(5):
            with rig.store.write() as transaction:
                if rig.gate.rule(transaction, CALL._replace(trace="0" * 31 + "1"), tuple, keep=True) is None:
                    held = reservations.make(transaction, CALL._replace(trace="0" * 31 + "1"), f"{number}-{turn}", rig.clock.now_ns())
                    assert not isinstance(held, Ruling)
                    passed.append(held.id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rig in rigs:
        rig.store.close()
    assert len(passed) == 5
