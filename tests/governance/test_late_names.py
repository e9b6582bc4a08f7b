"""What a span says of its reservation: also when it comes after its call was booked, and when the reservation is another tenant's."""

from __future__ import annotations

import pytest
from deciding_rig import ESTIMATE, DecidingRig
from ledger_rig import SECOND, call

from otel_finops.store.engine import Store


@pytest.mark.parametrize("grown", [0, 100], ids=["attribution alone", "more tokens too"])
def test_a_name_that_comes_late_ends_its_reservation_once(store: Store, grown: int) -> None:
    rig = DecidingRig(store)
    budget = rig.make(hard=True)
    reservation = rig.decide()["reservation_id"]
    rig.settle(call(1))
    assert (rig.status(budget).booked, rig.status(budget).reserved) == (ESTIMATE, ESTIMATE)
    named = call(1, attribution={"reservation": reservation}, usage={"input_uncached": 1000, "output": 100 + grown})
    rig.settle(named._replace(end_ns=named.end_ns + SECOND))
    # Output costs 10 USD a million tokens.
    assert (rig.status(budget).booked, rig.status(budget).reserved) == (ESTIMATE + grown * 10**7, 0)
    assert rig.states() == {reservation: "booked"}
    assert rig.noted_holds() == {}


def test_what_is_taken_back_ends_nothing(store: Store) -> None:
    rig = DecidingRig(store)
    budget = rig.make(hard=True)
    reservation = rig.decide(tenant="acme")["reservation_id"]
    rig.settle(call(1, attribution={"reservation": reservation, "tenant": "beta"}))  # of another tenant
    larger = call(1, attribution={"reservation": reservation, "tenant": "beta"}, usage={"input_uncached": 10, "output": 1})
    entries = rig.settle(larger._replace(end_ns=larger.end_ns + SECOND))
    assert [one.kind for one in entries] == ["reversal", "charge"]
    assert rig.status(budget).reserved == ESTIMATE
    assert rig.states() == {reservation: "held"}


def test_a_call_that_names_another_tenants_reservation_is_pending_like_any_other(store: Store) -> None:
    rig = DecidingRig(store)
    budget = rig.make(hard=True)
    reservation = rig.decide(tenant="acme")["reservation_id"]
    rig.send(call(1, attribution={"reservation": reservation, "tenant": "beta"}))
    assert (rig.status(budget).reserved, rig.status(budget).pending) == (ESTIMATE, ESTIMATE)
    rig.send(call(1, trace=2, attribution={"reservation": reservation, "tenant": "acme"}))
    assert (rig.status(budget).reserved, rig.status(budget).pending) == (ESTIMATE, ESTIMATE)
    rig.settle()
    assert (rig.status(budget).booked, rig.status(budget).reserved, rig.status(budget).pending) == (2 * ESTIMATE, 0, 0)
