"""Two transactions that touch the same counts never wait for each other in a circle; with two real connections of PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from counting_rig import USD, CountingRig
from empty_ledgers import empty_store
from ledger_rig import CENT, call

from otel_finops.governance import spending
from otel_finops.governance.counts import Sums, write
from otel_finops.governance.holds import take_back
from otel_finops.governance.periods import Period
from otel_finops.store.engine import Store

pytestmark = pytest.mark.postgres


@pytest.fixture
def rig(postgres_database: str) -> Iterator[CountingRig]:
    store = empty_store(postgres_database)
    yield CountingRig(store)
    store.close()


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def waiting(store: Store, elsewhere: ThreadPoolExecutor, work: Callable[[], Any]) -> Future[Any]:
    """Something that is done at the same time, begun and waiting for a lock by now."""
    begun = elsewhere.submit(work)
    for _ in range(500):
        with store.read() as transaction:
            if transaction.execute("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"):
                return begun
        time.sleep(0.01)
    raise AssertionError("it does not wait")


def test_a_budget_is_deleted_while_somebody_gives_back_what_he_held_of_it(rig: CountingRig, elsewhere: ThreadPoolExecutor) -> None:
    budget = rig.make(hard=True)
    rig.hold("r1")
    with rig.store.write() as transaction:
        sums = Sums()
        take_back(transaction, ["r1"], sums)
        deleting = waiting(rig.store, elsewhere, lambda: rig.delete(budget))
        write(transaction, sums)
    deleting.result(10)
    assert rig.held_sums() == rig.noted_holds() == {}


def test_two_hold_in_windows_that_have_just_begun_in_different_order(rig: CountingRig, elsewhere: ThreadPoolExecutor) -> None:
    acme, beta = (rig.make(name, {"tenant": name}, hard=True) for name in ("acme", "beta"))
    calls = [rig.asked(tenant=name) for name in ("acme", "beta")]

    def held_in_order() -> None:
        with rig.store.write() as transaction:
            rig.gate.lock(transaction, calls)
            for call in calls:
                assert rig.gate.hold(transaction, call, f"in order {call.tenant}") is None

    with rig.store.write() as transaction:
        rig.gate.lock(transaction, calls)
        assert rig.gate.hold(transaction, calls[1], "beta first") is None
        other = waiting(rig.store, elsewhere, held_in_order)
        assert rig.gate.hold(transaction, calls[0], "acme last") is None
    other.result(10)
    assert (rig.status(acme).reserved, rig.status(beta).reserved) == (2 * USD, 2 * USD)


def test_rows_of_a_window_are_locked_when_they_are_known_to_be_there_too(rig: CountingRig, elsewhere: ThreadPoolExecutor) -> None:
    budget = rig.make(hard=True)
    for _ in range(2):  # the first makes the row
        with rig.store.write() as transaction:
            rig.gate.lock(transaction, [rig.asked()])
            held = waiting(rig.store, elsewhere, lambda: rig.hold("r1"))
        assert held.result(10) is None
        rig.release("r1")
    assert rig.status(budget).reserved == 0


def test_what_is_booked_while_a_status_is_read_does_not_vanish(
    rig: CountingRig, elsewhere: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deciding reads statement by statement: a call that was pending at first and is booked later is in at least one of them."""
    budget = rig.make(amount=USD, period=Period.of("daily"), hard=True, carry_over=True)
    rig.send(call(1))  # 0.0035 USD, pending
    rig.clock.advance(86_400)
    settled: list[int] = []

    def then_settle(read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*args: Any) -> Any:
            found = read(*args)
            if not settled:
                settled.append(elsewhere.submit(rig.settler.settle_all).result(10))
            return found

        return reading

    monkeypatch.setattr(spending, "read_rows", then_settle(spending.read_rows))
    monkeypatch.setattr(spending, "_pending", then_settle(spending._pending))
    with rig.store.write() as transaction:
        read = rig.spending.statuses(transaction, [budget], rig.clock.now_ns())[budget.no]
    assert settled
    assert read.carried <= USD - CENT * 35 // 100
    assert rig.status(budget).carried == USD - CENT * 35 // 100
