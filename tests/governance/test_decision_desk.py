"""The desk of decisions: one transaction for many, one answer for a key, an answer also while the store is away."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import Any

import pytest
from counting_rig import USD
from deciding_rig import ESTIMATE, DecidingRig

from otel_finops.base.errors import KeyReused, Unavailable
from otel_finops.governance.decision_desk import told
from otel_finops.governance.decisions import Key, Query
from otel_finops.governance.kill_switches import Target
from otel_finops.store.engine import Store

ALL = Query(None)


@pytest.fixture
def rig(store: Store) -> DecidingRig:
    return DecidingRig(store)


def test_concurrent_questions_never_hold_more_than_there_is(rig: DecidingRig) -> None:
    """Ten USD, and forty callers at once at two desks that want one each: ten are let through."""
    budget = rig.make(hard=True, amount=10 * USD)
    answers: list[str] = []
    desks = [rig.desk, rig.another_desk()]
    questions = [rig.question(USD) for _ in range(40)]

    def ask(number: int) -> None:
        answers.append(desks[number % 2].decide(questions[number])["action"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answers) == {"allow": 10, "block": 30}
    assert rig.status(budget).reserved == 10 * USD
    assert len(rig.desk.page(ALL, None, 100)[0]) == 40


def test_a_decision_stands_on_record_with_everything_that_the_caller_was_told(rig: DecidingRig) -> None:
    rig.make("small", {"tenant": "acme"}, hard=True, amount=USD)
    said = {"tenant": "acme", "agent": "planner", "purpose": "search", "trace": "ab" * 16}
    answer = rig.decide(2 * USD, user="ann", session="s1", **said)
    assert (answer["action"], answer["http_status"], answer["reservation_id"]) == ("block", 402, None)
    found = rig.desk.find(answer["decision_id"], ("acme",))
    assert found is not None
    one, names = found
    assert one.answer == answer
    assert (one.action, one.gate, one.observed, one.call.pico, one.call.tokens) == ("block", "budget", False, 2 * USD, 1100)
    assert (one.call.tenant, one.call.agent, one.call.purpose, one.call.trace) == ("acme", "planner", "search", "ab" * 16)
    assert (names[one.call.user or ""], names[one.call.session or ""]) == ("ann", "s1")
    assert rig.desk.find(answer["decision_id"], ("globex",)) is None


def test_no_clear_id_is_stored_with_a_decision(rig: DecidingRig) -> None:
    rig.decide(user="walrus", session="walrus-session")
    with rig.store.read() as transaction:
        [row] = transaction.execute("SELECT * FROM decisions")
    assert "walrus" not in str(row)


def test_the_same_key_answers_the_same_and_holds_once(rig: DecidingRig) -> None:
    budget = rig.make(hard=True, amount=10 * USD)
    first, again = (rig.decide(USD, key=Key("k", "a question")) for _ in range(2))
    assert first == again
    assert rig.another_desk().decide(rig.question(USD), Key("k", "a question")) == first
    assert rig.status(budget).reserved == USD
    other = rig.decide(USD, key=Key("k", "a question"), tenant="acme")  # keys are a tenant's own
    assert other["decision_id"] != first["decision_id"]
    with pytest.raises(KeyReused, match="make a new key for every call"):
        rig.decide(USD, key=Key("k", "another question"))
    assert len(rig.desk.page(ALL, None, 10)[0]) == 2


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_a_kill_switch_holds_for_who_was_told_to_go_on_before(store: Store, mode: str) -> None:
    rig = DecidingRig(store, mode=mode)
    first = rig.decide(USD, key=Key("k", "a question"))
    assert first["action"] == "allow"
    rig.switches.set(Target("global"), who="ann", why="a loop")
    rig.clock.advance(1)
    for _ in range(2):
        assert rig.decide(USD, key=Key("k", "a question"))["action"] == "block"
    rig.switches.clear(Target("global"), who="ann", why="over")
    rig.clock.advance(1)
    assert rig.decide(USD, key=Key("k", "a question")) == first
    assert len(rig.desk.page(ALL, None, 10)[0]) == 3


def test_one_key_at_the_same_moment_is_decided_once(rig: DecidingRig) -> None:
    budget = rig.make(hard=True, amount=10 * USD)
    desks = [rig.desk, rig.another_desk()]
    questions = [rig.question(USD) for _ in range(8)]
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda number=number: answers.append(desks[number % 2].decide(questions[number], Key("k", "q"))))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["decision_id"] for answer in answers}) == 1
    assert rig.status(budget).reserved == USD


def test_a_dry_run_answers_the_same_and_writes_nothing(rig: DecidingRig) -> None:
    budget = rig.make(hard=True, amount=USD)
    tried = rig.try_out(rig.question(2 * USD, user="nobody yet"))
    assert (tried["action"], tried["recorded"], tried["reasons"][0]["rule"]) == ("block", False, "all")
    assert rig.try_out(rig.question(USD))["action"] == "allow"
    assert (rig.status(budget).reserved, rig.states(), rig.desk.page(ALL, None, 10)[0]) == (0, {}, [])
    with rig.store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM subjects") == [(0,)]


# --- what was kept from being spent --------------------------------------------------------------------------------------


def test_blocked_spend_is_the_sum_of_what_was_stopped(rig: DecidingRig) -> None:
    rig.make("no calls", {"agent": "planner"}, kind="calls", amount=0, hard=True)
    for pico in (USD, 2 * USD, None):
        rig.decide(pico, agent="planner", tenant="acme")
    rig.decide(USD, agent="writer", tenant="acme")
    [one] = rig.desk.stopped(ALL)
    assert (one.action, one.observed, one.gate, one.calls, one.estimated, one.pico) == ("block", False, "budget", 3, 2, 3 * USD)
    assert rig.desk.stopped(ALL._replace(tenants=("globex",))) == []
    assert rig.desk.stopped(ALL._replace(from_ns=rig.clock.now_ns() + 1)) == []
    assert rig.desk.counted() == {("allow", "false"): 1, ("block", "false"): 3}


def test_blocked_spend_is_told_by_rule_those_with_most_calls_first(rig: DecidingRig) -> None:
    for agent, calls in (("planner", 1), ("writer", 2)):
        rig.make(f"no calls of {agent}", {"agent": agent}, kind="calls", amount=0, hard=True)
        for _ in range(calls):
            rig.decide(USD, agent=agent)
    found = [(one.gate, one.rule_id, one.calls, one.pico) for one in rig.desk.stopped_by_rule(ALL)]
    assert found == [("budget", "2", 2, 2 * USD), ("budget", "1", 1, USD)]
    assert [one.rule_id for one in rig.desk.stopped(ALL)] == [None]


def test_sums_beyond_what_one_number_holds_are_exact(rig: DecidingRig) -> None:
    """Three times nine million USD is more than 2^63 pico-USD."""
    rig.switches.set(Target("global"), who="ann", why="a loop")
    for _ in range(3):
        rig.decide(9_000_000 * USD + 1)
    assert rig.desk.stopped(ALL)[0].pico == 27_000_000 * USD + 3


def test_what_was_only_observed_is_told_apart(store: Store) -> None:
    rig = DecidingRig(store, mode="observe")
    rig.make(kind="calls", amount=0, hard=True)
    answer = rig.decide(USD)
    assert (answer["action"], answer["http_status"], answer["decided"], answer["observed"]) == ("allow", 200, "block", True)
    [one] = rig.desk.stopped(ALL)
    assert (one.observed, one.pico) == (True, USD)
    assert rig.desk.counted() == {("block", "true"): 1}
    assert rig.desk.page(ALL._replace(observed=False), None, 10)[0] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("tenant", "acme"), ("provider", "openai"), ("model", "gpt-4o"), ("agent", "planner"), ("user", "ann"), ("session", "s1"),
     ("trace_id", "ab" * 16), ("action", "allow"), ("cost_center", "c1"), ("environment", "prod")],
)  # fmt: skip
def test_decisions_are_found_by_what_they_are_about(rig: DecidingRig, name: str, value: str) -> None:
    said = {"tenant": "acme", "agent": "planner", "cost_center": "c1", "environment": "prod", "trace": "ab" * 16}
    wanted = rig.decide(user="ann", session="s1", **said)["decision_id"]
    rig.switches.set(Target("provider", "anthropic"), who="ann", why="a loop")
    rig.decide(user="bob", session="s2", tenant="globex", provider="anthropic", model="claude", agent="writer")
    found = rig.desk.page(ALL._replace(filters={name: value}), None, 10)[0]
    assert [one.id for one in found] == [wanted]
    assert rig.desk.page(ALL._replace(filters={name: "nothing such"}), None, 10)[0] == []


# --- whose figures -------------------------------------------------------------------------------------------------------


def test_figures_of_a_budget_of_several_tenants_are_not_told_to_one(rig: DecidingRig) -> None:
    """What all tenants spend is not acme's to know; that the budget stops the call is."""
    rig.make("everybody", hard=True, amount=USD)
    rig.make("ours", {"tenant": "acme"}, hard=True, amount=USD)
    answer = rig.decide(2 * USD, tenant="acme")
    everything, theirs = told(answer, None), told(answer, ("acme",))
    by_rule = {one["rule"]: one for one in everything["reasons"]}
    assert all(by_rule[rule]["figures"] for rule in ("everybody", "ours"))
    shown = {one["rule"]: one for one in theirs["reasons"]}
    assert (shown["everybody"]["figures"], shown["everybody"]["text"]) == ({}, "budget everybody of several tenants says block")
    assert shown["ours"] == by_rule["ours"]
    assert all("tenant" not in one for one in theirs["reasons"])


# --- while the store is away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "action"), [("allow", "allow"), ("block", "block")])
def test_while_the_store_is_away_the_settings_decide(store: Store, monkeypatch: pytest.MonkeyPatch, setting: str, action: str) -> None:
    rig = DecidingRig(store, store_away=setting)
    assert rig.decide()["recorded"]
    tries = 0

    @contextmanager
    def away(*_: Any, **__: Any) -> Any:
        nonlocal tries
        tries += 1
        raise Unavailable("the database cannot be reached")
        yield

    with monkeypatch.context() as patched:
        patched.setattr(rig.store, "write", away)
        answers = [rig.decide() for _ in range(5)]
        assert {one["action"] for one in answers} == {action}
        assert answers[0]["reasons"][0]["text"].endswith("(enforcement.store_away)")
        assert (answers[0]["recorded"], answers[0]["reservation_id"]) == (False, None)
        assert tries == 2  # the first one twice; the others do not wait for it again
    rig.clock.advance(1)
    assert rig.decide()["recorded"]


def test_kill_switches_hold_while_the_store_is_away(rig: DecidingRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.switches.set(Target("agent", "rogue"), who="ann", why="a loop")
    rig.decide(agent="rogue")

    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("the database cannot be reached")

    monkeypatch.setattr(rig.store, "write", away)
    monkeypatch.setattr(rig.store, "read", away)
    rig.clock.advance(10)
    assert rig.decide(agent="rogue")["action"] == "block"
    assert rig.decide(agent="planner")["action"] == "allow"


def test_a_fault_of_ours_is_not_the_reason_that_a_healthy_call_fails(
    rig: DecidingRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("otel_finops.governance.reservations.Reservations.make", broken)
    assert (rig.decide()["action"], rig.decide()["recorded"]) == ("allow", False)
    assert "could not be decided on" in caplog.text


def test_who_waits_for_another_does_so_for_a_bounded_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is stuck in the store; the second is answered all the same, and the first in the end."""
    rig = DecidingRig(store, store_timeout="0.05")
    stuck, go_on = threading.Event(), threading.Event()
    real = rig.desk._reservations.make

    def slow(*given: Any) -> Any:
        stuck.set()
        assert go_on.wait(10)
        return real(*given)

    monkeypatch.setattr(rig.desk._reservations, "make", slow)
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(rig.decide()))
    first.start()
    assert stuck.wait(10)
    late = rig.decide()
    assert (late["recorded"], late["action"], late["reasons"][0]["gate"]) == (False, "allow", "store")
    go_on.set()
    first.join()
    assert answers[0]["recorded"]
    assert rig.desk.reservation(answers[0]["reservation_id"], None).estimate_pico == ESTIMATE
