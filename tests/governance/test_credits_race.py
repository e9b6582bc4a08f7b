"""Many at a time: several processes ask a hard pool, book calls that it pays, put money in and let grants lapse, on both engines."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence

import pytest
from credit_racer import CENT, book, book_one, race
from credit_rig import CreditRig, usd
from ledger_rig import call

from otel_finops.governance.credits import Pool
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.shards import shard_of
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction
from otel_finops.testing import FakeClock


def run(url: str, work: list[tuple[Callable[..., None], int]]) -> list[tuple[int, int]]:
    """Run each piece of work (what, rounds) in a process of its own, all at once; what they tell, in no order."""
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(len(work)), context.Queue()
    processes = [context.Process(target=what, args=(url, number, rounds, gate, results)) for number, (what, rounds) in enumerate(work)]
    for one in processes:
        one.start()
    told = [results.get(timeout=120) for _ in processes]
    for one in processes:
        one.join(60)
        assert one.exitcode == 0
    return told


@pytest.mark.parametrize(("processes", "rounds"), [(3, 60), pytest.param(8, 400, marks=pytest.mark.long)])
def test_a_hard_pool_never_promises_more_than_it_has(database_url: str, store: Store, processes: int, rounds: int) -> None:
    rig = CreditRig(store)
    cents = processes * rounds // 3
    pool = rig.pool(amount=f"{cents / 100:.2f}")
    told = run(database_url, [(race, rounds)] * processes)
    kept = sum(one for one, _ in told)
    state = rig.state(pool)  # its holds come to what is held
    assert state.held == kept * CENT
    assert kept <= cents
    assert kept == cents or sum(given_back for _, given_back in told) > 0
    left = cents - kept
    assert [rig.hold(f"last {number}", "0.01") is None for number in range(left + 1)] == [True] * left + [False]


@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=pytest.mark.long)])
def test_books_add_up_while_all_of_it_happens_at_once(database_url: str, store: Store, rounds: int) -> None:
    rig = CreditRig(store)
    pool = rig.pool(amount="1", low=usd("0.5"))
    run(database_url, [(race, 8 * rounds), (book, rounds), (book, rounds)])
    state = rig.state(pool)
    assert state.spent == sum(entry.cost_pico or 0 for entry in rig.entries()) == 2 * rounds * usd("0.0035")
    assert state.balance >= 0
    assert state.balance - state.owed == state.funded + state.adjusted - state.spent - state.expired
    alerts = rig.desk.alerts(None, 2**62, 1000)
    assert sum(one.over_ns is None for one in alerts) == state.is_low


def test_of_a_pool_that_is_made_while_calls_are_booked_every_block_is_inside_or_outside(store: Store, database_url: str) -> None:
    rig = CreditRig(store)
    faults: list[BaseException] = []

    def book_many(realm: str) -> None:
        other = Store.open(database_url, FakeClock())
        booker = CreditRig(other, holder=realm)
        try:
            for number in range(1, 25):
                book_one(booker, call(number, trace=number, realm=realm, attribution={"agent": f"agent {number % 6}"}))
        except BaseException as fault:
            faults.append(fault)
        finally:
            other.close()

    threads = [threading.Thread(target=book_many, args=(realm,)) for realm in ("acme", "globex")]
    for thread in threads:
        thread.start()
    pools = []
    for number in range(6):
        while len(rig.entries()) < 6 * number and not faults:
            time.sleep(0.002)
        pools.append(rig.pool(f"pool {number}", scope={"agent": f"agent {number}"}))
    for thread in threads:
        thread.join(60)
    assert faults == []
    for number, pool in enumerate(pools):
        after = [one for one in rig.entries() if one.agent == f"agent {number}" and one.block_seq > pool.heads[one.shard]]
        assert rig.state(pool).spent == len(after) * usd("0.0035")
    assert len(rig.entries()) == 48


class Pause:
    """A projection that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """See `Projection.apply`."""
        self.reached.set()
        assert self.go_on.wait(30)


def test_who_makes_a_pool_waits_for_what_is_just_being_booked(store: Store, database_url: str) -> None:
    other = Store.open(database_url, FakeClock())
    booker, rig, pause = CreditRig(other, holder="booker"), CreditRig(store), Pause()
    projections = [*booker.settler._projections, pause]
    booker.settler._projections = tuple(projections)
    booking = threading.Thread(target=booker.settle, args=(call(1),))
    booking.start()
    assert pause.reached.wait(30)
    made: list[Pool] = []
    making = threading.Thread(target=lambda: made.append(rig.pool(amount="1")))
    making.start()
    making.join(0.3)
    assert made == []  # whether the block is the pool's own would be anybody's guess
    pause.go_on.set()
    booking.join(30)
    making.join(30)
    [entry], [pool] = rig.entries(), made
    assert pool.heads[entry.shard] == entry.block_seq
    assert rig.state(pool).spent == 0
    other.close()


def test_who_books_waits_for_a_pool_that_is_just_being_made(store: Store, database_url: str) -> None:
    other = Store.open(database_url, FakeClock())
    booker, rig = CreditRig(other, holder="booker"), CreditRig(store)
    booker.send(call(1))
    booker.clock.advance(10)
    booking = threading.Thread(target=booker.settler.settle_due, args=(shard_of("default"),))
    with store.together():
        pool = rig.pool(amount="1")
        booking.start()
        booking.join(0.3)
        assert booking.is_alive()
    booking.join(30)
    assert rig.state(pool).spent == usd("0.0035")
    other.close()
