"""What budgets count: the windows of booked calls, whatever becomes of those calls; and budgets that come later than what they count."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from counting_rig import OWNER, USD, CountingRig
from ledger_rig import CENT, SECOND, call, plain

from otel_finops.governance import budget_fill
from otel_finops.governance.budgets import Budget
from otel_finops.governance.periods import Period
from otel_finops.store.engine import Store


@pytest.fixture
def rig(store: Store) -> CountingRig:
    return CountingRig(store)


def test_a_booked_call_counts_in_its_window(rig: CountingRig) -> None:
    budget = rig.make()
    rig.settle(call(1))
    # 1,000 tokens at 2.50 USD a million and 100 at 10 USD a million
    assert rig.status(budget).booked == CENT * 35 // 100
    assert rig.stored() == rig.recounted()


def test_only_calls_of_the_scope_count(rig: CountingRig) -> None:
    ours = rig.make("ours", {"model": "gpt-4o*"})
    theirs = rig.make("theirs", {"provider": "anthropic"})
    rig.settle(call(1))
    assert rig.status(ours).booked == CENT * 35 // 100
    assert rig.status(theirs).booked == 0


def test_a_limit_of_tokens_and_one_of_calls(rig: CountingRig) -> None:
    tokens, calls = rig.make("tokens", kind="tokens", amount=5000), rig.make("calls", kind="calls", amount=2)
    rig.settle(call(1), call(2, trace=2))
    assert (rig.status(tokens).booked, rig.status(calls).booked) == (2200, 2)
    assert rig.status(calls).state == "exceeded"


def test_more_tokens_of_the_same_call_are_counted_and_fewer_taken_back(rig: CountingRig) -> None:
    budget = rig.make()
    rig.settle(call(1))
    rig.settle(call(1, usage={"input_uncached": 1000, "output": 200}, end_ns=call(1).end_ns + SECOND))
    assert rig.status(budget).booked == CENT * 45 // 100
    rig.settle(call(1, usage={"input_uncached": 500, "output": 200}, end_ns=call(1).end_ns + 2 * SECOND))
    assert rig.status(budget).booked == CENT * 325 // 1000
    assert rig.stored() == rig.recounted()


def test_a_call_whose_agent_is_told_later_moves_to_that_agents_budget(rig: CountingRig) -> None:
    planner, everything = rig.make("planner", {"agent": "planner"}), rig.make("everything")
    rig.settle(call(2, parent=1))
    assert rig.status(planner).booked == 0
    rig.settle(plain(1, kind="agent", genai=True, name="invoke_agent planner", attribution={"agent": "planner"}))
    assert rig.status(planner).booked == rig.status(everything).booked == CENT * 35 // 100
    assert rig.stored() == rig.recounted()


def test_a_budget_that_is_made_later_knows_what_was_booked_before(rig: CountingRig) -> None:
    rig.settle(call(1), call(2, trace=2, attribution={"tenant": "acme"}))
    budget = rig.make("later", {"tenant": "acme"})
    assert rig.status(budget).booked == CENT * 35 // 100
    assert not rig.status(budget).filling
    assert rig.stored() == rig.recounted()


def test_a_large_ledger_is_filled_in_steps_and_the_status_says_so(rig: CountingRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_fill, "BUDGET_FILL_ROWS", 2)
    rig.settle(*(call(one, trace=one, at_s=one) for one in range(1, 8)))
    budget = rig.make()
    assert rig.status(budget).filling
    rig.settle(
        call(20, trace=20), call(3, trace=3, at_s=3, usage={"input_uncached": 1000, "output": 200}, end_ns=call(3).end_ns + 9 * SECOND)
    )
    assert rig.filler.run() == 5  # nine rows, two at a time
    assert not rig.status(budget).filling
    assert rig.status(budget).booked == CENT * (8 * 35 + 10) // 100
    assert rig.stored() == rig.recounted()


def test_a_budget_that_counts_something_else_is_counted_anew(rig: CountingRig) -> None:
    rig.settle(call(1))
    budget = rig.make()
    renamed = rig.edit(budget, name="renamed", amount=7 * USD)
    assert renamed.counting == budget.counting
    narrower = rig.edit(renamed, scope={"agent": "nobody"})
    assert rig.status(narrower).booked == 0
    weekly = rig.edit(narrower, scope={}, period=Period.of("weekly"))
    assert rig.status(weekly).booked == CENT * 35 // 100
    assert rig.stored() == rig.recounted()


def test_a_deleted_budget_leaves_no_rows(rig: CountingRig) -> None:
    budget = rig.make()
    rig.settle(call(1))
    rig.budgets.delete(budget.no, OWNER)
    assert rig.stored() == {}


def test_a_budget_made_while_others_are_being_filled_is_filled_too(rig: CountingRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_fill, "BUDGET_FILL_ROWS", 2)
    rig.settle(*(call(one, trace=one, at_s=one) for one in range(1, 8)))
    first = rig.make("first")
    made: list[Budget] = []
    counted = budget_fill._counted

    def then_another(*args: Any) -> Any:
        found = counted(*args)
        if not made:
            made.append(rig.make("second"))
        return found

    monkeypatch.setattr(budget_fill, "_counted", then_another)
    rig.filler.run()
    assert rig.status(first).booked == rig.status(made[0]).booked == CENT * 7 * 35 // 100
    assert rig.stored() == rig.recounted()


def test_budgets_made_while_others_append_miss_nothing_and_count_nothing_twice(rig: CountingRig) -> None:
    others = [CountingRig(rig.store) for _ in range(2)]

    def append(place: int, other: CountingRig) -> None:
        for one in range(1, 7):
            realm = ("acme", "globex")[place]  # of two shards
            other.send(call(one, trace=100 * place + one, realm=realm, speaks_for=realm))
            other.settle_realm(realm)

    threads = [threading.Thread(target=append, args=one) for one in enumerate(others)]
    for thread in threads:
        thread.start()
    for number in range(4):
        rig.make(f"budget {number}")
    for thread in threads:
        thread.join()
    rig.settle()
    rig.filler.run()
    assert len(rig.net_calls()) == 12
    assert rig.stored() == rig.recounted()
