"""What budgets say of calls before they are made, and what they hold for them: never more than the limit, given back to the pico."""

from __future__ import annotations

import multiprocessing
import threading

import pytest
from counting_rig import USD, CountingRig
from ledger_rig import CENT, SECOND, call

from otel_finops.base.clock import SystemClock
from otel_finops.governance.budget_gate import BudgetGate
from otel_finops.governance.budget_store import Edit, followed_budgets
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.periods import Period
from otel_finops.governance.reservations import Reservations
from otel_finops.identity.principals import Editor
from otel_finops.ledger.fx_store import store_rates
from otel_finops.pricing.ecb import EuroRate
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

DOLLAR = USD


@pytest.fixture
def rig(store: Store) -> CountingRig:
    return CountingRig(store)


def test_a_call_that_fits_is_held_and_shows_as_spent(rig: CountingRig) -> None:
    budget = rig.make(hard=True, amount=10 * DOLLAR)
    assert rig.hold("r1", 4 * DOLLAR) is None
    status = rig.status(budget)
    assert (status.booked, status.reserved, status.spent, status.remaining) == (0, 4 * DOLLAR, 4 * DOLLAR, 6 * DOLLAR)


def test_the_last_pico_can_be_held_and_not_one_more(rig: CountingRig) -> None:
    budget = rig.make(hard=True, amount=10 * DOLLAR)
    assert rig.hold("r1", 3 * DOLLAR + 1) is None
    assert rig.hold("r2", 7 * DOLLAR) is not None
    assert rig.hold("r3", 7 * DOLLAR - 1) is None
    assert rig.status(budget).remaining == 0
    assert rig.hold("r4", 1) is not None


def test_a_refusal_tells_the_figures_and_holds_nothing(rig: CountingRig) -> None:
    wide = rig.make("wide", hard=True, amount=100 * DOLLAR)
    narrow = rig.make("narrow", {"tenant": "default"}, hard=True, amount=5 * DOLLAR)
    rig.hold("r1", 4 * DOLLAR)
    refusal = rig.hold("r2", 2 * DOLLAR)
    assert refusal is not None
    [reason] = refusal.reasons
    assert (refusal.action, reason.rule, reason.rule_id) == ("block", "narrow", str(narrow.no))
    assert {name: reason.figures[name] for name in ("limit_usd", "spent_usd", "reserved_usd", "estimate_usd")} == {
        "limit_usd": "5", "spent_usd": "4", "reserved_usd": "4", "estimate_usd": "2",
    }  # fmt: skip
    assert "narrow allows 5 USD until 2026-12-01T00:00:00Z; spent: 4 (0 of it pending, 4 held); this call may take 2 USD" in reason.text
    assert rig.status(wide).reserved == 4 * DOLLAR


def test_a_soft_budget_that_is_spent_only_says_so(rig: CountingRig) -> None:
    budget = rig.make("soft", amount=DOLLAR)
    assert rig.hold("r1", 3 * DOLLAR) is None
    with rig.store.read() as transaction:
        said = rig.gate.check(transaction, rig.asked(DOLLAR))
    assert said is not None
    assert (said.action, said.reasons[0].rule) == ("allow", "soft")
    assert rig.status(budget).reserved == 3 * DOLLAR


def test_check_says_what_hold_would_say_and_holds_nothing(rig: CountingRig) -> None:
    budget = rig.make(hard=True, amount=DOLLAR)
    with rig.store.read() as transaction:
        assert rig.gate.check(transaction, rig.asked(DOLLAR)) is None
        said = rig.gate.check(transaction, rig.asked(DOLLAR + 1))
    assert said is not None
    assert said.action == "block"
    assert rig.status(budget).spent == 0


def test_limits_of_tokens_and_of_calls_are_held_too(rig: CountingRig) -> None:
    tokens, calls = rig.make("tokens", hard=True, kind="tokens", amount=1000), rig.make("calls", hard=True, kind="calls", amount=2)
    assert rig.hold("r1", None, 600) is None
    assert rig.hold("r2", None, 401) is not None
    assert rig.hold("r3", None, 400) is None
    assert rig.hold("r4", None, 0) is not None  # nothing is left of either
    assert (rig.status(tokens).reserved, rig.status(calls).reserved) == (1000, 2)


def test_a_call_of_unknown_cost_needs_that_anything_is_left(rig: CountingRig) -> None:
    rig.make(hard=True, amount=DOLLAR)
    assert rig.hold("r1", None) is None
    assert rig.hold("r2", DOLLAR) is None
    assert rig.hold("r3", None) is not None
    assert rig.hold("r4", 0) is None  # this one is known to cost nothing


def test_what_was_booked_before_leaves_less(rig: CountingRig) -> None:
    rig.make(hard=True, amount=CENT)
    rig.settle(call(1))  # 0.35 of a cent
    assert rig.hold("r1", CENT * 66 // 100) is not None
    assert rig.hold("r2", CENT * 65 // 100) is None


def test_what_is_journalled_and_not_settled_leaves_less(rig: CountingRig) -> None:
    budget = rig.make(hard=True, amount=CENT)
    rig.send(call(1))
    assert rig.status(budget).pending == CENT * 35 // 100
    assert rig.hold("r1", CENT * 66 // 100) is not None
    assert rig.hold("r2", CENT * 65 // 100) is None
    rig.settle()
    assert (rig.status(budget).pending, rig.status(budget).booked) == (0, CENT * 35 // 100)


def test_a_journalled_call_with_a_live_reservation_is_not_counted_twice(rig: CountingRig) -> None:
    budget = rig.make(hard=True)
    other = rig.make("other", {"agent": "planner"})
    with rig.store.write() as transaction:  # as nobody said the agent then, the other budget holds nothing
        Reservations([rig.gate], SECOND, SECOND).make(transaction, rig.asked(CENT), "r1", rig.clock.now_ns())
    rig.send(call(1, attribution={"reservation": "r1", "agent": "planner"}))
    assert (rig.status(budget).pending, rig.status(budget).reserved) == (0, CENT)
    assert (rig.status(other).pending, rig.status(other).reserved) == (CENT * 35 // 100, 0)


def test_settling_turns_the_hold_and_releasing_gives_it_back_to_the_pico(rig: CountingRig) -> None:
    budget = rig.make(hard=True)
    rig.hold("r1", 10 * DOLLAR, 100)
    rig.hold("r2", 1)
    with rig.store.write() as transaction:
        rig.gate.turn(transaction, "r1", 3 * DOLLAR + 7, None)
    assert rig.status(budget).reserved == 3 * DOLLAR + 8
    rig.release("r1", "r1", "unknown")
    assert rig.status(budget).reserved == 1
    rig.release("r1", "r2")
    assert rig.held_sums() == rig.noted_holds() == {}


def test_a_rolling_window_forgets_what_is_behind_it(rig: CountingRig) -> None:
    budget = rig.make(hard=True, amount=CENT, period=Period.of("rolling_hours", length=2))
    rig.settle(call(1, at_s=-3600), call(2, trace=2, at_s=-3 * 3600))
    assert rig.status(budget).booked == CENT * 35 // 100
    assert rig.hold("r1", CENT * 66 // 100) is not None
    assert rig.hold("r2", CENT * 65 // 100) is None
    rig.clock.advance(3720)  # the piece that ran at eleven is two minutes long
    assert rig.status(budget).booked == 0
    assert rig.hold("r3", CENT * 35 // 100) is None
    assert rig.hold("r4", 1) is not None


def test_what_the_window_before_left_is_carried_over(rig: CountingRig) -> None:
    budget = rig.make(hard=True, amount=CENT, period=Period.of("daily"), carry_over=True)
    rig.settle(call(1))
    rig.clock.advance(86_400)
    assert rig.status(budget).carried == CENT * 65 // 100
    assert rig.hold("r1", CENT * 166 // 100) is not None
    assert rig.hold("r2", CENT * 165 // 100) is None


def test_a_limit_in_euro_is_held_at_the_rate_of_the_day(rig: CountingRig) -> None:
    with rig.store.write() as transaction:  # one euro is 1.25 USD
        store_rates(transaction, [EuroRate("2026-11-20", "USD", "1.25")], "hist.csv", b"", "test", NOON)
    budget = rig.make(hard=True, amount=4 * CENT // 10, currency="EUR")  # 0.5 of a US cent
    rig.settle(call(1))  # 0.35 of a US cent, which is 0.28 of a cent of the euro
    assert rig.status(budget).booked == CENT * 28 // 100
    assert rig.hold("r1", CENT * 15 // 100 + 2) is not None
    assert rig.hold("r2", CENT * 15 // 100) is None
    assert rig.status(budget).remaining == 0


def test_a_limit_in_euro_over_some_hours_counts_these_hours_alone(rig: CountingRig) -> None:
    with rig.store.write() as transaction:  # one euro is 1.25 USD
        store_rates(transaction, [EuroRate("2026-11-20", "USD", "1.25")], "hist.csv", b"", "test", NOON)
    budget = rig.make(hard=True, amount=4 * CENT // 10, currency="EUR", period=Period.of("rolling_hours", length=2))
    rig.settle(call(1, at_s=-3 * 3600), call(2, trace=2, at_s=-3600))  # each 0.28 of a cent of the euro, one of them too long ago
    assert rig.status(budget).booked == CENT * 28 // 100
    assert rig.hold("r1", CENT * 15 // 100 + 2) is not None
    assert rig.hold("r2", CENT * 15 // 100) is None


def test_the_first_call_of_a_limit_in_euro_is_held_at_its_rate_too(rig: CountingRig) -> None:
    with rig.store.write() as transaction:  # one euro is 1.25 USD
        store_rates(transaction, [EuroRate("2026-11-20", "USD", "1.25")], "hist.csv", b"", "test", NOON)
    rig.make(hard=True, amount=4 * DOLLAR, currency="EUR")
    assert rig.hold("r1", 5 * DOLLAR + 1) is not None
    assert rig.hold("r2", 5 * DOLLAR) is None


def test_a_disabled_budget_is_counted_and_not_asked(rig: CountingRig) -> None:
    budget = rig.make(hard=True, amount=1, enabled=False)
    rig.settle(call(1))
    assert rig.hold("r1", DOLLAR) is None
    assert (rig.status(budget).booked, rig.status(budget).reserved) == (CENT * 35 // 100, 0)


def test_what_is_said_while_the_store_is_away_is_the_budgets_own(rig: CountingRig) -> None:
    rig.make("silent", hard=True)
    assert rig.gate.away(GovernedCall()) is None
    rig.make("open", {"agent": "planner"}, hard=True, fail_open=True)
    rig.make("closed", {"tenant": "acme"}, hard=True, fail_open=False)
    said = rig.gate.away(GovernedCall(agent="planner"))
    assert said is not None
    assert said.action == "allow"
    said = rig.gate.away(GovernedCall(agent="planner", tenant="acme"))
    assert said is not None
    assert (said.action, said.reasons[0].rule) == ("block", "closed")


def test_people_of_a_tenant_loosen_nothing_for_while_the_store_is_away(rig: CountingRig) -> None:
    """Who sees all tenants says by the settings what holds then; a tenant's people can only be stricter."""
    rig.budgets.create(
        Edit(lambda one: one._replace(name="laxer", hard=True, fail_open=True), {"tenant": "acme"}), Editor("max", ("acme",))
    )
    strict = Edit(lambda one: one._replace(name="stricter", hard=True, fail_open=False), {"tenant": "globex"})
    rig.budgets.create(strict, Editor("gil", ("globex",)))
    rig.clock.advance(0.6)
    assert rig.gate.away(GovernedCall(tenant="acme")) is None
    said = rig.gate.away(GovernedCall(tenant="globex"))
    assert said is not None
    assert (said.action, said.reasons[0].rule) == ("block", "stricter")


def hold_many(url: str, worker: int, tries: int, results: object) -> None:
    """What one process of the race does: hold a cent again and again."""
    clock = SystemClock()
    store = Store.open(url, clock)
    gate = BudgetGate(followed_budgets(store, clock))
    admitted = 0
    for number in range(tries):
        with store.write() as transaction:
            asked = GovernedCall(at_ns=NOON + SECOND, pico=CENT, tokens=10)
            gate.lock(transaction, [asked])
            admitted += gate.hold(transaction, asked, f"{worker}-{number}") is None
    store.close()
    results.put(admitted)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "period", [pytest.param(Period.of("monthly"), marks=pytest.mark.long), Period.of("rolling_hours", length=3)], ids=["monthly", "rolling"]
)
def test_however_many_processes_hold_the_limit_is_kept(rig: CountingRig, database_url: str, period: Period) -> None:
    budget = rig.make("narrow", hard=True, amount=37 * CENT, period=period)
    rig.make("wide", {"tenant": "default"}, hard=True, amount=1000 * CENT)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=hold_many, args=(database_url, worker, 30, results)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sum(results.get(timeout=5) for _ in workers) == 37  # of sixty that were tried
    assert rig.status(budget).reserved == 37 * CENT
    assert rig.held_sums() == rig.noted_holds()


def test_threads_that_hold_while_others_book_pass_no_limit(rig: CountingRig) -> None:
    budget = rig.make(hard=True, amount=CENT * 35 // 100 * 10)
    admitted: list[int] = []

    def hold() -> None:
        for number in range(8):
            name = f"{threading.get_ident()}-{number}"
            if rig.hold(name, CENT * 35 // 100) is None:
                admitted.append(1)

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    rig.settle(*(call(one, trace=one) for one in range(1, 5)))
    for thread in threads:
        thread.join()
    status = rig.status(budget)
    assert status.booked == 4 * (CENT * 35 // 100)
    assert status.reserved == len(admitted) * (CENT * 35 // 100)
    assert len(admitted) <= 10
