"""What is pending of budgets: what is journalled counts until it settles, exactly as long, whoever settles it."""

from __future__ import annotations

import pytest
from counting_rig import CountingRig
from ledger_rig import CENT, SECOND, call, plain

from otel_finops.governance.periods import Period
from otel_finops.store.engine import Store

CALL = CENT * 35 // 100


@pytest.fixture
def rig(store: Store) -> CountingRig:
    return CountingRig(store)


def test_a_journalled_call_is_pending_until_it_is_booked(rig: CountingRig) -> None:
    budget = rig.make()
    rig.send(call(1), call(2, parent=1))
    status = rig.status(budget)
    assert (status.booked, status.pending) == (0, 2 * CALL)
    rig.settle()
    status = rig.status(budget)
    assert status.pending == 0
    assert rig.pending_sums() == {}


def test_the_same_delivery_again_is_pending_once(rig: CountingRig) -> None:
    budget = rig.make()
    rig.send(call(1))
    rig.send(call(1))
    assert rig.status(budget).pending == CALL


def test_what_comes_while_a_trace_settles_stays_pending(rig: CountingRig) -> None:
    budget = rig.make()
    rig.send(call(1))
    with rig.store.write() as transaction:
        rig.pending.settled(transaction, [(1, 1)])  # it had seen the first batch alone
    rig.send(call(2))
    with rig.store.write() as transaction:
        rig.pending.settled(transaction, [(1, 1)])
    assert rig.status(budget).pending == CALL


def test_a_call_takes_agent_and_tenant_from_what_came_with_it(rig: CountingRig) -> None:
    planner, acme = rig.make("planner", {"agent": "planner"}), rig.make("acme", {"tenant": "acme"})
    agent = plain(1, kind="agent", genai=True, attribution={"agent": "planner"}, defaults={"tenant": "acme"})
    rig.send(agent, call(2, parent=1, defaults={"tenant": "acme"}))
    assert rig.status(planner).pending == rig.status(acme).pending == CALL


def test_calls_behind_a_rolling_window_are_not_pending_in_it(rig: CountingRig) -> None:
    rolling, monthly = rig.make("rolling", period=Period.of("rolling_hours", length=1)), rig.make("monthly")
    rig.send(call(1, at_s=-7200))
    assert (rig.status(rolling).pending, rig.status(monthly).pending) == (0, CALL)


def test_a_budget_of_another_window_does_not_hear_of_it(rig: CountingRig) -> None:
    daily = rig.make(period=Period.of("daily"))
    rig.send(call(1, at_s=-86_400))
    assert rig.status(daily).pending == 0


def test_traces_that_somebody_settled_without_taking_back_are_swept(rig: CountingRig) -> None:
    budget = rig.make()
    rig.send(call(1))
    rig.settler._pending = None
    rig.settle()
    assert rig.status(budget).pending == CALL
    with rig.store.write() as transaction:
        assert rig.pending.sweep(transaction) == 1
    assert rig.status(budget).pending == 0
    with rig.store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM budget_pending") == [(0,)]  # and sums that are even are forgotten


def test_a_trace_that_waits_is_not_swept(rig: CountingRig) -> None:
    budget = rig.make()
    rig.send(call(1))
    with rig.store.write() as transaction:
        assert rig.pending.sweep(transaction) == 0
    assert rig.status(budget).pending == CALL


def test_without_budgets_nothing_is_written(rig: CountingRig) -> None:
    rig.send(call(1))
    rig.settle()
    with rig.store.read() as transaction:
        for table in ("budget_pending", "budget_pending_traces", "budget_counters"):
            assert transaction.execute(f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_a_budget_that_is_taken_away_leaves_nothing_behind_it(rig: CountingRig) -> None:
    budget = rig.make()
    rig.send(call(1))
    rig.delete(budget)
    rig.settle(call(2, trace=2, end_ns=call(2).end_ns + SECOND))
    assert rig.pending_sums() == {}
