"""The order of gates, what comes of what they say, and what is held: each gate here says what the test tells it to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pytest

from otel_finops.governance.budgets import Budget
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.decide import Asked, Decider, Estimate, Gates, Question, Verdict
from otel_finops.governance.kill_switches import Attempt, Switch, Target
from otel_finops.governance.reservations import Reservations
from otel_finops.governance.rulings import Action, Gate, Reason, Ruling
from otel_finops.governance.scopes import Scope
from otel_finops.settings.enforcement import Enforcement
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
CALL = GovernedCall(tenant="acme", provider="openai", model="gpt-4o", pico=35 * 10**8, tokens=1100, at_ns=NOW)
"""Of 0.0035 USD."""


def says(gate: Gate, action: Action, rule: str = "r", **more: Any) -> Ruling:
    return Ruling(action, (Reason(gate, action, rule, rule, f"{gate} says {action}"),), **more)


class Said:
    """A gate of every kind: it says the same of every call, or only of some models, and remembers what was done."""

    def __init__(self, name: Gate, said: Ruling | None = None, *, of: str | None = None, short: Ruling | None = None) -> None:
        self.name, self.said, self.of, self.short = name, said, of, short
        self.log: list[str] = []
        self.limits: list[Any] = []

    def _of(self, call: GovernedCall) -> Ruling | None:
        return self.said if self.of is None or call.model == self.of else None

    def rule(self, *given: Any, keep: bool | None = None) -> Ruling | None:
        self.log.append(f"asked{'' if keep is None else ' and kept' if keep else ' in vain'}")
        call = given[0].call if isinstance(given[0], Asked) else given[1]
        return self._of(call)

    def check(self, transaction: Transaction, call: GovernedCall) -> Ruling | None:
        self.log.append("asked")
        return self._of(call)

    def hold(self, transaction: Transaction, call: GovernedCall, reservation_id: str) -> Ruling | None:
        self.log.append("short" if self.short else f"held {call.model} {call.pico}")
        return self.short

    def release(self, transaction: Transaction, reservation_ids: Collection[str]) -> None:
        self.log.append("released")

    def turn(self, *given: Any) -> None:
        raise AssertionError

    def lock(self, transaction: Transaction, calls: Sequence[GovernedCall]) -> None:
        self.log.append("locked")

    def states(self, transaction: Transaction, call: GovernedCall) -> Sequence[Any]:
        return self.limits

    def away(self, call: GovernedCall) -> Ruling | None:
        return self.said

    def stopping(self, call: Attempt) -> list[Switch]:
        return [] if self.said is None or self.of not in (None, call.model) else [Switch(1, Target("global"), "ann", "a loop", 1)]


class Passes:
    """Approvals: passes that are there, and requests that were made."""

    def __init__(self, *passes: str, raced: bool = False) -> None:
        self.passes, self.raced = list(passes), raced
        self.requested: list[str] = []

    def pass_for(self, transaction: Transaction, call: GovernedCall, ruling: Ruling) -> str | None:
        return self.passes[0] if self.passes else None

    def consume(self, transaction: Transaction, pass_id: str, decision_id: str, at_ns: int) -> bool:
        if not self.raced:
            self.passes.remove(pass_id)
        return not self.raced

    def request(self, transaction: Transaction, call: GovernedCall, ruling: Ruling, decision_id: str) -> str:
        self.requested.append(decision_id)
        return "a1"


class World:
    """All gates, and one decision after another over a store."""

    def __init__(self, store: Store, approvals: Passes | None = None, **settings: Any) -> None:
        self.store = store
        self.switches, self.guardrails = Said("kill_switch"), Said("guardrail")
        self.credits, self.budgets, self.policies = Said("credits"), Said("budget"), Said("policy")
        self.approvals = approvals
        self.settings = Enforcement(**{"mode": "enforce", **settings})
        self.made = 0

    def decide(self, call: GovernedCall = CALL, *, keep: bool = True) -> Verdict:
        """Decide on a call; by any other model it costs a tenth."""
        gates = Gates(self.switches, self.guardrails, self.credits, self.budgets, self.policies, self.approvals)
        reservations = Reservations(gates.holders, 600 * SECOND, 900 * SECOND)
        decider = Decider(gates, self.settings, reservations)
        self.made += 1
        estimate = Estimate(call.pico, "priced" if call.pico is not None else "unknown")
        question = Question(Asked(f"d{self.made}", call), estimate, lambda model: Estimate((call.pico or 0) // 10, "priced"))
        before = decider.before(question.asked)
        with self.store.write() as transaction:
            return decider.decide(transaction, question, call, before, keep=keep, now_ns=NOW)

    def away(self, call: GovernedCall = CALL) -> Verdict:
        """Decide without the store."""
        gates = Gates(self.switches, self.guardrails, self.credits, self.budgets, self.policies)
        decider = Decider(gates, self.settings, Reservations((), 1, 1))
        question = Question(Asked("d0", call), Estimate(call.pico, "priced"), lambda model: Estimate(None, "unknown"))
        return decider.away(question, decider.before(question.asked))

    def held(self) -> list[tuple[str, str, int | None]]:
        """Id, state and estimate of all reservations."""
        with self.store.read() as transaction:
            return [(*row,) for row in transaction.execute("SELECT reservation_id, state, estimate_pico FROM reservations ORDER BY 1")]


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path_factory.mktemp('decide')}/ledger.db", FakeClock())
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def store(one_store: Store) -> Store:
    """Nothing here depends on the engine, so one small file serves all."""
    with one_store.write() as transaction:
        transaction.execute("DELETE FROM reservations")
    return one_store


GATES = ["switches", "guardrails", "credits", "budgets", "policies"]


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def test_a_call_that_nobody_minds_is_held_and_may_be_made(world: World) -> None:
    verdict = world.decide()
    assert (verdict.action, verdict.answered, verdict.reasons, verdict.deciding) == ("allow", "allow", (), None)
    assert verdict.reservation is not None
    assert (verdict.reservation.id, verdict.reservation.expires_ns) == ("d1", NOW + 600 * SECOND)
    assert world.held() == [("d1", "held", 35 * 10**8)]
    assert world.budgets.log == world.credits.log == ["asked", "held gpt-4o 3500000000"]


@pytest.mark.parametrize("place", range(5))
def test_the_first_gate_that_halts_a_call_decides_and_nobody_behind_it_is_asked(world: World, place: int) -> None:
    names: list[Gate] = ["kill_switch", "guardrail", "credits", "budget", "policy"]
    for later in range(place, 5):
        getattr(world, GATES[later]).said = says(names[later], "block")
    verdict = world.decide()
    assert (verdict.action, verdict.answered) == ("block", "block")
    assert [reason.gate for reason in verdict.reasons] == [names[place]]
    asked = [name for name in GATES[1:] if getattr(world, name).log]
    assert asked == GATES[1 : place + 1]
    assert (verdict.reservation, world.held()) == (None, [])


def test_reasons_of_all_that_were_asked_are_told(world: World) -> None:
    world.guardrails.said = says("guardrail", "allow")  # only flagged
    world.credits.said = says("credits", "allow")  # a soft pool is empty
    world.policies.said = says("policy", "throttle", retry_after_s=2.5)
    verdict = world.decide()
    assert [(reason.gate, reason.action) for reason in verdict.reasons] == [
        ("guardrail", "allow"), ("credits", "allow"), ("policy", "throttle"),
    ]  # fmt: skip
    assert verdict.deciding == verdict.reasons[2]
    assert verdict.ruling is not None
    assert verdict.ruling.retry_after_s == 2.5


@pytest.mark.parametrize("gate", ["guardrails", "credits", "budgets", "policies"])
def test_observing_everything_is_decided_and_nothing_stopped(store: Store, gate: str) -> None:
    world = World(store, mode="observe")
    getattr(world, gate).said = says("budget", "block")
    verdict = world.decide()
    assert (verdict.action, verdict.answered, verdict.observed) == ("block", "allow", True)
    assert world.held() == []  # as it would be if it were enforced


def test_kill_switches_hold_in_observe_mode_too(store: Store) -> None:
    world = World(store, mode="observe")
    world.switches.said = says("kill_switch", "block")
    verdict = world.decide()
    assert (verdict.answered, verdict.observed, verdict.reasons[0].text) == ("block", False, "kill switch for all calls: a loop")


def test_a_dry_run_says_the_same_and_writes_nothing(world: World) -> None:
    assert world.decide(keep=False).action == "allow"
    assert (world.held(), world.budgets.log, world.policies.log) == ([], ["asked"], ["asked in vain"])


def test_what_one_holder_cannot_hold_the_other_gives_back(world: World) -> None:
    """Somebody else took the last of the pool between asking and holding."""
    world.credits.short = says("credits", "block", "pool")
    verdict = world.decide()
    assert (verdict.answered, [reason.rule for reason in verdict.reasons]) == ("block", ["pool"])
    assert world.budgets.log == ["asked", "held gpt-4o 3500000000", "released"]
    assert world.held() == []


# --- downgrades ----------------------------------------------------------------------------------------------------------


def test_a_downgraded_call_is_held_at_the_other_models_price(world: World) -> None:
    world.policies.said = says("policy", "downgrade", model="gpt-4o-mini")
    verdict = world.decide()
    assert verdict.ruling is not None
    assert (verdict.answered, verdict.ruling.model, verdict.estimate.pico) == ("downgrade", "gpt-4o-mini", 35 * 10**7)
    assert world.budgets.log == ["asked", "asked", "held gpt-4o-mini 350000000"]
    assert len(world.policies.log) == 1  # the first match wins; another model does not ask again


@pytest.mark.parametrize("gate", ["switches", "credits", "budgets"])
def test_what_stops_the_other_model_stops_the_downgraded_call(world: World, gate: str) -> None:
    world.policies.said = says("policy", "downgrade", model="gpt-4o-mini")
    one = getattr(world, gate)
    one.said, one.of = says("budget", "block"), "gpt-4o-mini"
    assert (world.decide().answered, world.held()) == ("block", [])


@pytest.mark.parametrize("gate", ["switches", "credits", "budgets"])
def test_observing_it_is_told_what_would_stop_the_other_model_and_the_call_goes_on(store: Store, gate: str) -> None:
    world = World(store, mode="observe")
    world.policies.said = says("policy", "downgrade", model="gpt-4o-mini")
    setattr(world, gate, Said("budget", says("budget", "block"), of="gpt-4o-mini"))
    verdict = world.decide()
    assert (verdict.action, verdict.answered, verdict.observed) == ("block", "allow", True)
    assert (verdict.call.model, verdict.estimate.pico) == ("gpt-4o", 35 * 10**8)


def test_observing_a_downgraded_call_goes_on_with_its_own_model(store: Store) -> None:
    world = World(store, mode="observe")
    world.policies.said = says("policy", "downgrade", model="gpt-4o-mini")
    verdict = world.decide()
    assert (verdict.action, verdict.answered) == ("downgrade", "allow")
    assert world.held() == [("d1", "held", 35 * 10**8)]


# --- approvals -----------------------------------------------------------------------------------------------------------


def test_without_a_pass_somebody_is_asked_and_nothing_held(store: Store) -> None:
    world = World(store, Passes())
    world.policies.said = says("policy", "require_approval")
    verdict = world.decide()
    assert verdict.ruling is not None
    assert (verdict.answered, verdict.ruling.approval_id, world.held()) == ("require_approval", "a1", [])
    assert world.approvals is not None
    assert world.approvals.requested == ["d1"]


def test_a_pass_lets_one_call_through(store: Store) -> None:
    world = World(store, Passes("p1"))
    world.policies.said = says("policy", "require_approval")
    assert (world.decide().answered, world.decide().answered) == ("allow", "require_approval")
    assert world.held() == [("d1", "held", 35 * 10**8)]


def test_a_pass_that_somebody_else_took_meanwhile_lets_nothing_through(store: Store) -> None:
    world = World(store, Passes("p1", raced=True))
    world.policies.said = says("policy", "require_approval")
    assert world.decide().answered == "require_approval"
    assert world.held() == [("d1", "released", 35 * 10**8)]
    assert world.budgets.log[-1] == "released"


@pytest.mark.parametrize(("mode", "keep"), [("observe", True), ("enforce", False)])
def test_observing_and_trying_nobody_is_asked_and_no_pass_taken(store: Store, mode: str, keep: bool) -> None:
    approvals = Passes()
    world = World(store, approvals, mode=mode)
    world.policies.said = says("policy", "require_approval")
    assert world.decide(keep=keep).action == "require_approval"
    approvals.passes.append("p1")
    assert world.decide(keep=keep).action == "allow"
    assert (approvals.requested, approvals.passes) == ([], ["p1"])


# --- what nobody knows ---------------------------------------------------------------------------------------------------

HARD = Budget(7, "all", Scope(), "money", 10**12, hard=True)


@pytest.mark.parametrize(("setting", "answered"), [("allow", "allow"), ("block", "block")])
def test_whether_a_call_of_unknown_cost_passes_a_hard_limit_of_money_is_a_setting(store: Store, setting: str, answered: str) -> None:
    world = World(store, unknown_cost=setting)
    world.budgets.limits = [(HARD, None)]
    verdict = world.decide(CALL._replace(pico=None))
    assert verdict.answered == answered
    assert "hard limit all (enforcement.unknown_cost)" in verdict.reasons[0].text
    assert (verdict.reasons[0].rule_id, world.decide().reasons) == ("7", ())


@pytest.mark.parametrize("limit", [HARD._replace(hard=False), HARD._replace(kind="calls"), None])
def test_where_no_hard_limit_of_money_is_unknown_cost_is_no_matter(store: Store, limit: Budget | None) -> None:
    world = World(store, unknown_cost="block")
    world.budgets.limits = [] if limit is None else [(limit, None)]
    assert (world.decide(CALL._replace(pico=None)).answered, world.held()) == ("allow", [("d1", "held", None)])


# --- while the store is away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "budget", "answered"),
    [
        ("allow", None, "allow"),
        ("block", None, "block"),
        ("allow", "block", "block"),  # a budget that is fail-closed
        ("block", "allow", "allow"),  # one that is fail-open says it for its calls
    ],
)
def test_budgets_and_then_the_settings_say_what_holds_while_the_store_is_away(
    store: Store, setting: str, budget: Action | None, answered: str
) -> None:
    world = World(store, store_away=setting)
    world.budgets.said = None if budget is None else says("store", budget, "all")
    verdict = world.away()
    assert (verdict.answered, [reason.gate for reason in verdict.reasons]) == (answered, ["store"])
    assert world.policies.log == []


def test_switches_and_guardrails_hold_while_the_store_is_away(world: World) -> None:
    world.guardrails.said = says("guardrail", "block")
    assert (world.away().answered, world.away().reasons[0].gate) == ("block", "guardrail")
    world.switches.said = says("kill_switch", "block")
    assert world.away().reasons[0].gate == "kill_switch"
