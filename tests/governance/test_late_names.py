"""A call is booked before the span has come that names its reservation: what was held ends when that one is booked."""

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
