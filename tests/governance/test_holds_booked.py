"""What was held for a call is given back in the transaction that books it, once, whoever comes first; nothing counts twice in between."""

from __future__ import annotations

import pytest
from counting_rig import CountingRig
from ledger_rig import CENT, PRICES, SECOND, call

from otel_finops.governance.counters import Counters
from otel_finops.governance.reservations import Reservation, Reservations, booked
from otel_finops.ledger.settle import Settler
from otel_finops.store.engine import Store

CALL = CENT * 35 // 100


class HoldingRig(CountingRig):
    """With reservations, ended by what is booked."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.reservations = Reservations([self.gate], 600 * SECOND, 900 * SECOND)
        self.settler = Settler(
            store, self.leases, PRICES, [Counters(self.followed, self.thresholds, booked)], self.clock, sleep=self.clock.advance,
            recent=self.recent, pending=self.pending,
        )  # fmt: skip

    def reserve(self, reservation: str, pico: int) -> None:
        with self.store.write() as transaction:
            made = self.reservations.make(transaction, self.asked(pico), reservation, self.clock.now_ns())
        assert isinstance(made, Reservation)

    def settle_at(self, reservation: str, pico: int) -> None:
        with self.store.write() as transaction:
            self.reservations.settle(transaction, reservation, pico, None, self.clock.now_ns(), None)

    def expire(self) -> int:
        with self.store.write() as transaction:
            return self.reservations.expire(transaction, self.clock.now_ns())


@pytest.fixture
def rig(store: Store) -> HoldingRig:
    return HoldingRig(store)


@pytest.mark.parametrize("settled", [False, True])
def test_booking_takes_the_place_of_what_was_held(rig: HoldingRig, settled: bool) -> None:
    budget = rig.make(hard=True)
    rig.reserve("r1", CENT)
    if settled:
        rig.settle_at("r1", CALL + 7)
    assert rig.status(budget).spent == (CALL + 7 if settled else CENT)
    rig.send(call(1, attribution={"reservation": "r1"}))
    assert rig.status(budget).spent == (CALL + 7 if settled else CENT)  # the hold counts it
    rig.settle()
    status = rig.status(budget)
    assert (status.booked, status.pending, status.reserved) == (CALL, 0, 0)
    assert rig.held_sums() == rig.noted_holds() == {}


def test_another_tenants_call_gives_nothing_back(rig: HoldingRig) -> None:
    budget = rig.make(hard=True)
    rig.reserve("r1", CENT)  # of the default tenant
    rig.settle(call(1, attribution={"reservation": "r1", "tenant": "acme"}))
    assert rig.status(budget).reserved == CENT


def test_what_is_never_settled_is_given_back_to_the_pico_at_its_expiry(rig: HoldingRig) -> None:
    budget = rig.make(hard=True)
    for number, pico in enumerate((CENT, 1, 98_765_432_101_234)):
        rig.reserve(f"r{number}", pico)
    assert rig.status(budget).reserved == CENT + 1 + 98_765_432_101_234
    rig.clock.advance(601)
    assert rig.expire() == 3
    assert (rig.status(budget).reserved, rig.status(budget).spent) == (0, 0)


def test_a_call_that_is_booked_after_its_hold_expired_counts_once(rig: HoldingRig) -> None:
    budget = rig.make(hard=True)
    rig.reserve("r1", CENT)
    rig.clock.advance(601)
    rig.expire()
    rig.settle(call(1, attribution={"reservation": "r1"}))
    assert (rig.status(budget).booked, rig.status(budget).reserved) == (CALL, 0)
