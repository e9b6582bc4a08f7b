"""Leases: one holder at a time, and a holder that slept cannot write."""

from __future__ import annotations

import threading

import pytest

from otel_finops.base.errors import Busy
from otel_finops.store.engine import Store
from otel_finops.store.lease import Lease, Leases
from otel_finops.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def held(leases: Leases, name: str = "shard:0") -> Lease:
    lease = leases.acquire(name)
    assert lease is not None
    return lease


def test_one_holder_at_a_time(store: Store, clock: FakeClock) -> None:
    mine, theirs = Leases(store, clock, "mine"), Leases(store, clock, "theirs")
    lease = held(mine)
    assert theirs.acquire("shard:0") is None
    assert mine.acquire("shard:0") is None
    assert theirs.holder_of("shard:0") == "mine"
    held(theirs, "shard:1")
    lease.release()
    assert theirs.holder_of("shard:0") is None
    assert held(theirs).token > lease.token


def test_a_silent_holder_loses_its_lease_after_ten_seconds(store: Store, clock: FakeClock) -> None:
    mine, theirs = Leases(store, clock, "mine"), Leases(store, clock, "theirs")
    slept = held(mine)
    assert theirs.acquire("shard:0") is None
    clock.advance(10.001)
    taken = held(theirs)
    with pytest.raises(Busy, match="was lost to theirs") as lost, store.write() as transaction:
        slept.confirm(transaction)
    assert lost.value.holder == "theirs"
    slept.release()
    assert mine.holder_of("shard:0") == "theirs"
    with store.write() as transaction:
        taken.confirm(transaction)


def test_confirming_renews(store: Store, clock: FakeClock) -> None:
    mine, theirs = Leases(store, clock, "mine"), Leases(store, clock, "theirs")
    lease = held(mine)
    theirs.holder_of("shard:0")
    clock.advance(9)
    with store.write() as transaction:
        lease.confirm(transaction)
    clock.advance(9)
    assert theirs.acquire("shard:0") is None


def test_an_expired_lease_that_nobody_took_can_still_be_confirmed(store: Store, clock: FakeClock) -> None:
    lease = held(Leases(store, clock, "mine"))
    clock.advance(60)
    with store.write() as transaction:
        lease.confirm(transaction)


def test_a_confirmation_that_is_rolled_back_renews_nothing(store: Store, clock: FakeClock) -> None:
    mine, theirs = Leases(store, clock, "mine"), Leases(store, clock, "theirs")
    lease = held(mine)
    theirs.holder_of("shard:0")
    clock.advance(9)
    with pytest.raises(ZeroDivisionError), store.write() as transaction:  # noqa: PT012
        lease.confirm(transaction)
        raise ZeroDivisionError
    clock.advance(2)
    held(theirs)


def test_a_released_lease_is_lost(store: Store, clock: FakeClock) -> None:
    lease = held(Leases(store, clock, "mine"))
    lease.release()
    with pytest.raises(Busy, match="was lost"), store.write() as transaction:
        lease.confirm(transaction)


def test_of_many_who_ask_at_once_one_gets_it(store: Store, clock: FakeClock) -> None:
    got: list[Lease | None] = []

    def ask(holder: str) -> None:
        got.append(Leases(store, clock, holder).acquire("job:prune"))

    threads = [threading.Thread(target=ask, args=(f"holder {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([lease for lease in got if lease is not None]) == 1
    assert len(got) == 8
