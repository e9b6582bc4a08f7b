"""The life of a reservation: held at the estimate, turned into what the call came to, ended by its entry, by its time or by its caller."""

from __future__ import annotations

import pytest
from counting_rig import USD
from deciding_rig import ESTIMATE, DecidingRig
from ledger_rig import SECOND, call

from otel_finops.base.errors import Conflict, NotFound
from otel_finops.store.engine import Store


@pytest.fixture
def rig(store: Store) -> DecidingRig:
    return DecidingRig(store, reservation_ttl="600", settle_grace="900")


def test_from_the_decision_to_the_booked_entry_the_call_counts_once(rig: DecidingRig) -> None:
    """Estimated at 1 USD, settled at 0.004 by the caller, booked at 0.0035 by the price book."""
    budget = rig.make(hard=True, amount=2 * USD)
    held = rig.decide(USD)["reservation_id"]
    assert (rig.status(budget).reserved, rig.status(budget).spent) == (USD, USD)
    settled = rig.desk.settle(held, 4 * 10**9, None, None)
    assert (settled.state, settled.actual_pico, settled.expires_ns) == ("settled", 4 * 10**9, rig.clock.now_ns() + 900 * SECOND)
    assert rig.status(budget).spent == 4 * 10**9
    rig.settle(call(1, attribution={"reservation": held}))
    status = rig.status(budget)
    assert (status.booked, status.pending, status.reserved) == (ESTIMATE, 0, 0)
    assert rig.states() == {held: "booked"}


def test_a_span_that_names_a_live_reservation_is_counted_by_that_alone_until_it_is_booked(rig: DecidingRig) -> None:
    budget = rig.make()
    held = rig.decide(USD)["reservation_id"]
    rig.send(call(1, attribution={"reservation": held}))
    assert rig.status(budget).spent == USD
    rig.settle()
    assert rig.status(budget).spent == ESTIMATE


def test_an_entry_ends_what_was_never_settled(rig: DecidingRig) -> None:
    budget = rig.make()
    held = rig.decide(USD)["reservation_id"]
    rig.settle(call(1, attribution={"reservation": held}))
    assert (rig.status(budget).reserved, rig.states()) == (0, {held: "booked"})


def test_what_comes_to_more_than_was_estimated_counts_in_full(rig: DecidingRig) -> None:
    budget = rig.make(hard=True, amount=USD)
    held = rig.decide(ESTIMATE)["reservation_id"]
    rig.desk.settle(held, 3 * USD, 5000, None)
    assert rig.status(budget).reserved == 3 * USD
    assert rig.decide(ESTIMATE)["action"] == "block"


def test_a_reservation_that_nobody_settles_is_given_back_exactly_when_its_time_is_over(rig: DecidingRig) -> None:
    """T31: the client died. What is free again is what was held, not more and not less."""
    budget = rig.make(hard=True, amount=USD)
    first = rig.decide(USD)
    assert rig.decide(1)["action"] == "block"
    rig.clock.advance(599)
    assert (rig.decide(1)["action"], rig.status(budget).reserved) == ("block", USD)
    rig.clock.advance(1)
    again = rig.decide(USD)  # which gives back before it asks
    assert (again["action"], rig.status(budget).reserved) == ("allow", USD)
    assert rig.states()[first["reservation_id"]] == "expired"
    assert rig.held_sums() == rig.noted_holds()


def test_the_clock_alone_gives_back_as_well(rig: DecidingRig) -> None:
    budget = rig.make()
    rig.decide(USD)
    rig.decide(USD)
    assert rig.desk.expire() == "nothing is held for too long"
    rig.clock.advance(600)
    assert (rig.desk.expire(), rig.status(budget).reserved) == ("2 reservations given back", 0)


def test_a_settled_amount_whose_span_never_comes_is_given_back_after_the_grace(rig: DecidingRig) -> None:
    budget = rig.make()
    held = rig.decide(USD)["reservation_id"]
    rig.clock.advance(599)
    rig.desk.settle(held, 2 * USD, None, None)
    rig.clock.advance(899)
    assert (rig.desk.expire(), rig.status(budget).reserved) == ("nothing is held for too long", 2 * USD)
    rig.clock.advance(1)
    assert (rig.desk.expire(), rig.status(budget).reserved) == ("1 reservations given back", 0)


def test_a_late_entry_ends_nothing_twice(rig: DecidingRig) -> None:
    budget = rig.make()
    held = rig.decide(USD)["reservation_id"]
    rig.clock.advance(600)
    rig.desk.expire()
    other = rig.decide(USD)["reservation_id"]
    rig.settle(call(1, attribution={"reservation": held}), call(2, trace=2, attribution={"reservation": held}))
    assert (rig.status(budget).reserved, rig.states()) == (USD, {held: "expired", other: "held"})


def test_a_clock_that_was_an_hour_ahead_holds_nothing_for_longer(rig: DecidingRig) -> None:
    """And one that goes back an hour gives nothing back twice: no sum is negative at any time."""
    budget = rig.make()
    rig.clock.advance(3600)
    ahead = rig.decide(USD)["reservation_id"]
    rig.clock.advance(-3600)
    held = rig.decide(USD)["reservation_id"]
    rig.clock.advance(600)
    rig.desk.expire()
    assert (rig.status(budget).reserved, rig.states()) == (USD, {ahead: "held", held: "expired"})
    rig.clock.advance(-86_400 - 3600)  # the clock was a day wrong: what seems to be held for longer than a day is given back
    assert (rig.desk.expire(), rig.states()[ahead]) == ("1 reservations given back", "expired")


def test_the_caller_gives_back_what_he_does_not_need(rig: DecidingRig) -> None:
    budget = rig.make()
    held = rig.decide(USD)["reservation_id"]
    assert rig.desk.release(held, None).state == rig.desk.release(held, None).state == "released"
    assert rig.status(budget).reserved == 0
    assert rig.desk.settle(held, USD, None, None).state == "released"  # too late: nothing is held any more
    assert rig.status(budget).reserved == 0


def test_settling_twice_is_settling_once(rig: DecidingRig) -> None:
    budget = rig.make()
    held = rig.decide(USD)["reservation_id"]
    assert rig.desk.settle(held, ESTIMATE, 7, None) == rig.desk.settle(held, ESTIMATE, 7, None)
    assert rig.status(budget).reserved == ESTIMATE
    with pytest.raises(Conflict, match=r"settled already, at 0\.0035 USD"):
        rig.desk.settle(held, ESTIMATE + 1, 7, None)
    assert rig.status(budget).reserved == ESTIMATE


def test_without_an_amount_the_estimate_stays_held(rig: DecidingRig) -> None:
    budget = rig.make()
    held = rig.decide(USD)["reservation_id"]
    assert rig.desk.settle(held, None, None, None).actual_pico is None
    assert rig.status(budget).reserved == USD
    with pytest.raises(Conflict, match="at its estimate"):
        rig.desk.settle(held, USD, None, None)


def test_of_an_unknown_estimate_tokens_and_calls_are_held(rig: DecidingRig) -> None:
    money, tokens = rig.make(hard=True), rig.make("tokens", kind="tokens", amount=2000, hard=True)
    calls = rig.make("calls", kind="calls", amount=2, hard=True)
    assert rig.decide(None)["action"] == "allow"
    assert (rig.status(money).reserved, rig.status(tokens).reserved, rig.status(calls).reserved) == (0, 1100, 1)
    assert rig.decide(None)["reasons"][-1]["rule"] == "tokens"


def test_nobody_ends_anothers_reservation(rig: DecidingRig) -> None:
    """A span of globex that names a reservation of acme is counted, and what acme holds stays held."""
    budget = rig.make("acme", {"tenant": "acme"})
    held = rig.decide(USD, tenant="acme")["reservation_id"]
    rig.settle(call(1, attribution={"tenant": "globex", "reservation": held}))
    assert (rig.status(budget).reserved, rig.states()) == (USD, {held: "held"})
    for change in (lambda: rig.desk.settle(held, 1, None, ("globex",)), lambda: rig.desk.release(held, ("globex",))):
        with pytest.raises(NotFound):
            change()
    assert rig.desk.reservations(("globex",), None, None, 10) == []
    assert [one.id for one in rig.desk.reservations(("acme",), "held", None, 10)] == [held]


def test_pages_of_reservations_go_newest_first(rig: DecidingRig) -> None:
    made = []
    for _ in range(3):
        made.append(rig.decide()["reservation_id"])
        rig.clock.advance(1)
    first = rig.desk.reservations(None, None, None, 2)
    assert [one.id for one in first] == [made[2], made[1]]
    assert [one.id for one in rig.desk.reservations(None, None, (first[-1].made_ns, first[-1].id), 2)] == [made[0]]
