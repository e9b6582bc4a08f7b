"""Pools of credits: which of them pays a call, what moves their money, what they promise, and that their books always add up to nothing.

A call of the rig costs 0.0035 USD unless said otherwise: 1,000 tokens at 2.50 USD a million and 100 at 10 USD a million.
"""

from __future__ import annotations

from typing import Any

import pytest
from credit_rig import ANN, CreditRig, reserve, usd
from ledger_rig import SECOND, call
from other_prices import TimesPrices

from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.genai.sighting import OTHER
from otel_finops.governance import credit_desk, credit_store
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.credit_desk import Movement
from otel_finops.governance.credit_store import Draft, Editor
from otel_finops.governance.credits import Pool
from otel_finops.ledger.fx_store import store_rates
from otel_finops.pricing.ecb import EuroRate
from otel_finops.pricing.fx import MissingRate
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

MAX = Editor("max", "his own", ("acme",))
LAST = 2**63 - 1


@pytest.fixture
def rig(store: Store) -> CreditRig:
    return CreditRig(store)


def moved(rig: CreditRig, pool: Pool) -> list[tuple[str, dict[str, str]]]:
    """What moved a pool, oldest first: kind and legs in the pool's currency."""
    return [(one.kind, {account: _text(amount) for account, amount in one.legs.items()}) for one in reversed(_movements(rig, pool))]


def _movements(rig: CreditRig, pool: Pool) -> list[Movement]:
    return rig.desk.movements(pool.no, LAST, 100)


def _text(amount: int) -> str:
    return f"{amount / 10**12:.6f}".rstrip("0").rstrip(".")


def later(number: int = 1, **usage: int) -> Any:
    """A further version of the rig's first call, which stands because it ends later."""
    return call(1, usage=usage, end_ns=call(1).end_ns + number)


def no_call(number: int = 1) -> Any:
    """A further version that says that it was no call at all."""
    said = {"kind": OTHER, "usage": {}, "input_readings": (), "usage_source": "missing"}
    return call(1)._replace(**said, end_ns=call(1).end_ns + number)


def adopted(rig: CreditRig, *rates: EuroRate) -> None:
    with rig.store.write() as transaction:
        store_rates(transaction, list(rates), "hist.csv", b"", "test", NOON)


# --- what calls take ---------------------------------------------------------------------------------------------------


def test_calls_are_taken_where_they_are_booked(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    rig.settle(call(1), call(2, at_s=20))
    assert moved(rig, pool) == [
        ("topup", {"balance": "1", "source": "-1"}),
        ("debit", {"balance": "-0.007", "spend": "0.007"}),
    ]
    debit = _movements(rig, pool)[0]
    [entry, _] = rig.entries()
    assert (debit.calls, debit.shard, debit.block_seq, debit.who) == (2, entry.shard, entry.block_seq, "")
    state = rig.state(pool)
    assert (state.balance, state.spent, state.funded, state.owed) == (usd("0.993"), usd("0.007"), usd("1"), 0)


def test_what_was_booked_before_the_pool_is_never_its_own(rig: CreditRig) -> None:
    rig.settle(call(1))
    pool = rig.pool(amount="1")
    rig.settle(later(output=50, input_uncached=1000))  # fewer tokens: taken back and charged anew, in a block that is the pool's
    assert moved(rig, pool)[1:] == [("debit", {"balance": "-0.003", "spend": "0.003"})]
    rig.settle(later(2, output=100, input_uncached=1000))
    assert rig.state(pool).spent == usd("0.0035")


def test_a_correction_of_what_was_booked_before_moves_nothing(rig: CreditRig) -> None:
    rig.settle(call(1))
    pool = rig.pool(amount="1")
    rig.settle(later(output=500, input_uncached=1000))
    assert [entry.kind for entry in rig.entries()] == ["charge", "correction"]
    assert moved(rig, pool) == [("topup", {"balance": "1", "source": "-1"})]


def test_corrections_and_reversals_move_what_they_change(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    rig.settle(call(1))
    rig.settle(later(1, output=300, input_uncached=1000))  # 200 more at 10 USD a million: 0.002
    rig.settle(later(2, output=100, input_uncached=600))  # 0.0015 + 0.001 instead of 0.0055
    rig.settle(no_call(3))  # it is no call at all
    assert [entry.kind for entry in rig.entries()] == ["charge", "correction", "reversal", "charge", "reversal"]
    assert moved(rig, pool)[1:] == [
        ("debit", {"balance": "-0.0035", "spend": "0.0035"}),
        ("debit", {"balance": "-0.002", "spend": "0.002"}),
        ("refund", {"balance": "0.003", "spend": "-0.003"}),
        ("refund", {"balance": "0.0025", "spend": "-0.0025"}),
    ]
    assert rig.state(pool).balance == usd("1")


def test_who_turns_out_to_be_another_pools_caller_is_paid_by_that_one(rig: CreditRig) -> None:
    acme, planner = rig.pool("acme", "1"), rig.pool("planner", "1", scope={"tenant": "default", "agent": "planner"})
    rig.settle(call(1, attribution={"agent": "writer"}))
    rig.settle(call(1, attribution={"agent": "planner"}, end_ns=call(1).end_ns + 1))
    assert [entry.kind for entry in rig.entries()] == ["charge", "reattribution", "correction"]  # it ended later too
    assert moved(rig, acme)[1:] == [
        ("debit", {"balance": "-0.0035", "spend": "0.0035"}),
        ("refund", {"balance": "0.0035", "spend": "-0.0035"}),
    ]
    assert moved(rig, planner)[1:] == [("debit", {"balance": "-0.0035", "spend": "0.0035"})]


def test_of_pools_for_a_call_the_one_that_names_most_pays(rig: CreditRig) -> None:
    everybody = rig.pool("everybody", scope={})
    acme, twin = rig.pool("acme"), rig.pool("twin")
    models = rig.pool("models", scope={"tenant": "default", "model": "gpt-*"})
    held = rig.desk.all()

    def payer(**more: Any) -> str | None:
        pool = held.for_asked(GovernedCall(at_ns=NOON, **more))
        return None if pool is None else pool.name

    assert payer(tenant="globex") == everybody.name
    assert payer(tenant="default", model="claude-opus-4-5") == acme.name  # the older one of two that say the same
    assert payer(tenant="default", model="gpt-4o") == models.name
    assert twin.no > acme.no


def test_a_pool_of_a_time_pays_calls_that_start_in_it(rig: CreditRig) -> None:
    pool = rig.pool(amount="1", from_ns=NOON + 10 * SECOND, to_ns=NOON + 20 * SECOND)
    rig.settle(call(1, at_s=9), call(2, trace=2, at_s=10), call(3, trace=3, at_s=19), call(4, trace=4, at_s=20))
    assert rig.state(pool).spent == usd("0.007")


def test_a_closed_pool_pays_for_nothing_more_but_what_it_paid_is_corrected(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    rig.settle(call(1))
    rig.desk.close(pool.no, ANN)
    rig.settle(call(2, trace=2))
    assert rig.state(pool).spent == usd("0.0035")
    rig.settle(later(output=300, input_uncached=1000))
    assert rig.state(pool).spent == usd("0.0055")
    rig.clock.advance(1)
    assert rig.hold("r1") is None  # nobody is asked any more
    assert rig.state(pool).held == 0
    with pytest.raises(BadInput, match="was closed by ann"):
        rig.desk.fund(pool.no, usd("1"), None, ANN)


def test_free_unpriced_and_merged_calls_take_nothing(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    rig.settle(call(1, price_models=("nobody-knows",), request_model="nobody-knows"))
    assert moved(rig, pool) == [("topup", {"balance": "1", "source": "-1"})]
    rig.use(TimesPrices(2))
    rig.settle(call(2, trace=2))
    assert rig.state(pool).spent == usd("0.007")


# --- never below nothing -----------------------------------------------------------------------------------------------


def test_what_calls_cost_beyond_a_hard_pool_is_owed_and_paid_by_the_next_money(rig: CreditRig) -> None:
    pool = rig.pool(amount="0.005")
    rig.settle(call(1), call(2, trace=2))
    state = rig.state(pool)
    assert (state.balance, state.owed, state.available) == (0, usd("0.002"), usd("-0.002"))
    rig.desk.fund(pool.no, usd("0.003"), None, ANN)
    state = rig.state(pool)
    assert (state.balance, state.owed) == (usd("0.001"), 0)
    assert moved(rig, pool)[1:] == [
        ("debit", {"balance": "-0.005", "owed": "-0.002", "spend": "0.007"}),
        ("topup", {"balance": "0.001", "owed": "0.002", "source": "-0.003"}),
    ]


def test_what_is_given_back_pays_what_is_owed_first(rig: CreditRig) -> None:
    pool = rig.pool(amount="0.003")
    rig.settle(call(1))
    rig.settle(later(output=1, input_uncached=1000))  # 0.00251
    state = rig.state(pool)
    assert (state.balance, state.owed, state.spent) == (usd("0.00049"), 0, usd("0.00251"))


def test_a_soft_pool_falls_below_nothing_and_owes_once_it_is_hard(rig: CreditRig) -> None:
    pool = rig.pool(amount="0.003", hard=False)
    rig.settle(call(1))
    assert (rig.state(pool).balance, rig.state(pool).owed) == (usd("-0.0005"), 0)
    rig.desk.update(pool.no, {"hard": True}, ANN, None)
    assert (rig.state(pool).balance, rig.state(pool).owed) == (0, usd("0.0005"))
    rig.desk.update(pool.no, {"hard": False}, ANN, None)
    assert (rig.state(pool).balance, rig.state(pool).owed) == (usd("-0.0005"), 0)
    assert [kind for kind, _ in moved(rig, pool)] == ["topup", "debit", "conversion", "conversion"]


def test_no_more_is_taken_out_of_a_hard_pool_than_is_free(rig: CreditRig) -> None:
    pool = rig.pool(amount="3")
    rig.hold("r1", "1")
    with pytest.raises(BadInput, match="only 2 USD can be taken out"):
        rig.desk.adjust(pool.no, usd("-2.5"), ANN)
    before, after = rig.desk.adjust(pool.no, usd("-2"), ANN)
    assert (before.balance, after.balance, after.adjusted) == (usd("3"), usd("1"), usd("-2"))
    assert rig.state(pool).available == 0


def test_the_database_refuses_books_that_do_not_add_up(rig: CreditRig) -> None:
    rig.pool(amount="3")
    for broken in ("balance_units = balance_units + 1", "balance_units = -1, source_units = 1", "spend_pico = spend_pico + 1"):
        with pytest.raises(Exception, match=r"(?i)ck_credit_pools"), rig.store.write() as transaction:
            transaction.execute(f"UPDATE credit_pools SET {broken}")


# --- grants ------------------------------------------------------------------------------------------------------------


def left(rig: CreditRig, pool: Pool) -> list[str]:
    """What is left of each grant, the first made first."""
    return [_text(one.left) for one in reversed(rig.desk.grants(pool.no, LAST, 10))]


def test_the_grant_that_expires_first_is_used_first_and_plain_money_last(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    rig.grant(pool, "0.003", seconds=900)
    rig.grant(pool, "0.002", seconds=600)
    rig.settle(call(1))
    assert left(rig, pool) == ["0.0015", "0"]
    rig.settle(call(2, trace=2))
    assert left(rig, pool) == ["0", "0"]
    assert rig.state(pool).balance == usd("0.998")


def test_what_is_given_back_is_as_if_it_had_never_been_taken(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    rig.grant(pool, "0.003", seconds=900)
    rig.grant(pool, "0.002", seconds=600)
    rig.settle(call(1), call(2, trace=2))  # 0.002 and 0.003 of the grants, and 0.002 of plain money
    rig.settle(no_call(1))  # the plain money, and half of the last grant
    assert left(rig, pool) == ["0.0015", "0"]
    assert rig.state(pool).balance == usd("1.0015")


def test_what_is_left_of_a_grant_lapses_once(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    rig.grant(pool, "5", seconds=60)
    rig.settle(call(1))
    rig.clock.advance(60)
    state = rig.state(pool)  # nobody has posted it yet, and nobody is promised it
    assert (state.balance, state.expired, state.next_expiry_ns) == (usd("1"), usd("4.9965"), None)
    assert rig.hold("r1", "1.5") == (
        "block: The pool acme has 1 USD left for further calls (1 less 0 held), and the call may cost 1.5 USD."
    )
    assert rig.desk.expire() == (0, 0)  # the question posted it
    assert rig.desk.expire_due() == "no grant has expired"
    assert moved(rig, pool)[-1] == ("expiry", {"balance": "-4.9965", "expired": "4.9965"})


def test_the_clock_posts_what_lapsed(rig: CreditRig) -> None:
    pools = [rig.pool(f"pool {number}", scope={"agent": f"agent {number}"}) for number in range(3)]
    for pool in pools[:2]:
        rig.grant(pool, "5", seconds=60)
    rig.clock.advance(60)
    assert rig.desk.expire_due() == "grants of 2 pools have expired"
    assert [rig.state(pool).expired for pool in pools] == [usd("5"), usd("5"), 0]


def test_what_is_held_does_not_lapse_before_that_is_over(rig: CreditRig) -> None:
    pool = rig.pool()
    rig.grant(pool, "5", seconds=60)
    assert rig.hold("r1", "2") is None
    rig.clock.advance(60)
    rig.desk.expire()
    state = rig.state(pool)
    assert (state.balance, state.held, state.expired, state.available) == (usd("2"), usd("2"), usd("3"), 0)
    rig.release("r1")
    rig.desk.expire()
    assert (rig.state(pool).balance, rig.state(pool).expired) == (0, usd("5"))


def test_a_call_that_is_taken_back_after_its_grant_expired_gives_back_nothing_that_lasts(rig: CreditRig) -> None:
    pool = rig.pool()
    rig.grant(pool, "0.01", seconds=60)
    rig.settle(call(1))
    rig.clock.advance(60)
    rig.desk.expire()
    assert rig.state(pool).expired == usd("0.0065")
    rig.settle(no_call(1))
    assert (rig.state(pool).balance, rig.state(pool).expired) == (0, usd("0.01"))


def test_a_grant_pays_what_is_owed_before_it_waits_for_calls(rig: CreditRig) -> None:
    pool = rig.pool(amount="0.0005")
    rig.settle(call(1))
    rig.grant(pool, "0.005", seconds=60)
    assert left(rig, pool) == ["0.002"]
    assert (rig.state(pool).balance, rig.state(pool).owed) == (usd("0.002"), 0)


# --- alerts ------------------------------------------------------------------------------------------------------------


def test_a_low_balance_is_told_once_until_it_has_risen(rig: CreditRig) -> None:
    pool = rig.pool(amount="0.01", low=usd("0.005"))

    def told() -> list[tuple[str, bool]]:
        return [(_text(one.level), one.over_ns is None) for one in reversed(rig.desk.alerts(None, LAST, 10))]

    rig.settle(call(1))
    assert (told(), rig.state(pool).is_low) == ([], False)
    rig.settle(call(2, trace=2))
    assert (told(), rig.state(pool).is_low) == ([("0.003", True)], True)
    rig.settle(call(3, trace=3))
    assert told() == [("0.003", True)]
    rig.desk.fund(pool.no, usd("0.01"), None, ANN)
    assert told() == [("0.003", False)]
    rig.settle(call(4, trace=4), call(5, trace=5))
    assert told() == [("0.003", False), ("0.0025", True)]
    assert rig.desk.alerts(("globex",), LAST, 10) == []


# --- other currencies --------------------------------------------------------------------------------------------------


def test_calls_are_taken_at_the_rate_of_their_day_and_given_back_at_the_same(rig: CreditRig) -> None:
    adopted(rig, EuroRate("2026-11-20", "USD", "1.25"))  # the day before the calls, a Friday; 1 USD is 0.8 EUR
    pool = rig.pool(amount="1", currency="EUR")
    rig.settle(call(1))
    assert rig.state(pool).spent == usd("0.0028")
    adopted(rig, EuroRate("2026-11-21", "USD", "2"))  # published late; what is taken at a rate is given back at it
    rig.settle(later(output=300, input_uncached=1000))
    assert rig.state(pool).spent == usd("0.0044")
    rig.settle(no_call(3))
    assert (rig.state(pool).spent, rig.state(pool).balance) == (0, usd("1"))


def test_a_thousand_corrections_leave_no_rest_of_rounding(rig: CreditRig) -> None:
    adopted(rig, EuroRate("2026-11-20", "USD", "1.1734"))
    pool = rig.pool(amount="1", currency="EUR")
    rig.settle(call(1))
    for number in range(1, 8):
        rig.settle(later(number, output=100 + number, input_uncached=1000))
    rig.settle(no_call(9))
    assert rig.state(pool).spent == 0


def test_a_currency_without_rates_is_refused(rig: CreditRig) -> None:
    with pytest.raises(MissingRate, match="no exchange rate of EUR; import"):
        rig.pool(currency="EUR")
    assert len(rig.desk.all()) == 0


def test_old_rates_go_on_rather_than_that_calls_are_not_booked(rig: CreditRig) -> None:
    adopted(rig, EuroRate("2026-01-02", "USD", "1.25"))
    pool = rig.pool(amount="1", currency="EUR")
    rig.settle(call(1))
    assert rig.state(pool).spent == usd("0.0028")


def test_estimates_are_held_in_the_pools_currency(rig: CreditRig) -> None:
    adopted(rig, EuroRate("2026-11-20", "USD", "1.25"))
    pool = rig.pool(amount="1", currency="EUR")
    assert rig.hold("r1", "1.2") is None
    assert rig.state(pool).held == usd("0.96")
    assert rig.hold("r2", "0.1") == (
        "block: The pool acme has 0.04 EUR left for further calls (1 less 0.96 held), and the call may cost 0.08 EUR."
    )


# --- holding -----------------------------------------------------------------------------------------------------------


def test_a_hard_pool_promises_what_it_has_and_no_more(rig: CreditRig) -> None:
    pool = rig.pool(amount="2.5")
    assert [rig.hold(f"r{number}") for number in range(2)] == [None, None]
    refusal = "block: The pool acme has 0.5 USD left for further calls (2.5 less 2 held), and the call may cost 1 USD."
    assert rig.hold("r2") == refusal
    assert rig.hold("r3", "0.5") is None
    assert rig.state(pool).available == 0
    rig.release("r0", "r1", "nobody")
    rig.release("r0")
    assert (rig.state(pool).held, rig.state(pool).available) == (usd("0.5"), usd("2"))


@pytest.mark.parametrize(("balance", "held", "asked", "fits"), [
    ("1", "0.4", "0.6", True), ("1", "0.4", "0.600000000001", False), ("2", "0.999999999999", "0.999999999999", True),
    ("1.5", "0.9", "0.6", True), ("2.2", "0.9", "1.3", True), ("2.2", "0.9", "1.300000000001", False), ("0.000000000001", "0", "0", True),
])  # fmt: skip
def test_to_the_last_millionth_of_a_millionth(rig: CreditRig, balance: str, held: str, asked: str, fits: bool) -> None:
    rig.pool(amount=balance)
    assert rig.hold("r1", held) is None
    assert (rig.hold("r2", asked) is None) is fits


def test_what_nobody_knows_the_cost_of_needs_that_anything_is_left(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    assert rig.hold("r1", None) is None
    assert rig.state(pool).held == 0
    assert rig.hold("r2", "1") is None
    assert rig.hold("r3", "0") is None
    assert rig.hold("r4", None) == (
        "block: The pool acme has 0 USD left for further calls (1 less 1 held), and nobody knows what the call costs."
    )


def test_a_soft_pool_holds_whatever_is_asked_for_and_tells(rig: CreditRig) -> None:
    pool = rig.pool(amount="1", hard=False)
    assert rig.hold("r1", "3") is None
    with rig.store.read() as transaction:
        said = rig.gate.check(transaction, rig.asked("1"))
    assert said is not None
    assert (said.action, said.reasons[0].figures["available"]) == ("allow", "-2")
    assert rig.state(pool).held == usd("3")


def test_checking_holds_nothing(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    with rig.store.read() as transaction:
        assert rig.gate.check(transaction, rig.asked("1")) is None
        said = rig.gate.check(transaction, rig.asked("1.1"))
        assert rig.gate.check(transaction, rig.asked("9", tenant="globex")) is None
    assert said is not None
    reason = said.reasons[0]
    assert (reason.gate, reason.action, reason.rule, reason.rule_id, reason.tenant) == ("credits", "block", "acme", str(pool.no), "default")
    assert reason.figures == {"balance": "1", "owed": "0", "held": "0", "available": "1", "estimate": "1.1", "currency": "USD"}
    assert rig.state(pool).held == 0


def test_settling_holds_what_it_came_to(rig: CreditRig) -> None:
    pool = rig.pool(amount="3")
    rig.hold("r1", "2")
    with rig.store.write() as transaction:
        rig.gate.turn(transaction, "r1", usd("0.25"), None)
        rig.gate.turn(transaction, "nobody", usd("9"), None)
    assert rig.state(pool).held == usd("0.25")
    rig.release("r1")
    assert rig.state(pool).held == 0


def test_booking_a_call_ends_what_was_held_for_it(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    rig.hold("r1", "0.5")
    rig.hold("r2", "0.25")
    with rig.store.write() as transaction:  # as whoever keeps reservations leaves them in the same transaction
        reserve(transaction, "r1", ended=True)
        reserve(transaction, "r2", ended=False)
    rig.settle(call(1, attribution={"reservation": "r1"}), call(2, trace=2, attribution={"reservation": "r2"}))
    state = rig.state(pool)
    assert (state.held, state.balance) == (usd("0.25"), usd("0.993"))


def test_switched_off_it_says_nothing_but_gives_back_what_was_held(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    rig.hold("r1", "0.5")
    rig.gate._is_on = False
    assert rig.hold("r2", "9") is None
    rig.release("r1")
    assert rig.state(pool).held == 0


# --- definitions -------------------------------------------------------------------------------------------------------


def test_every_change_is_a_further_definition(rig: CreditRig) -> None:
    pool = rig.pool()
    same = rig.desk.update(pool.no, {"hard": True}, ANN, None)
    assert same.revision == pool.revision
    rig.desk.update(pool.no, {"name": "acme's", "low": usd("5")}, Editor("bob", "renamed"), pool.revision)
    with pytest.raises(Conflict, match="changed by bob"):
        rig.desk.update(pool.no, {"hard": False}, ANN, pool.revision)
    assert [(one.name, one.low, one.changed_by, one.why) for one in rig.desk.history(pool.no, None, LAST, 10)] == [
        ("acme's", usd("5"), "bob", "renamed"), ("acme", None, "ann", "prepaid"),
    ]  # fmt: skip
    assert [one.revision for one in rig.desk.history(pool.no, None, LAST, 1)] == [rig.desk.find(pool.no, ("default",)).revision]
    assert [(one.made_by, one.heads) for one in rig.desk.history(pool.no, None, LAST, 10)] == [("ann", pool.heads)] * 2
    with pytest.raises(NotFound):
        rig.desk.history(pool.no, ("globex",), LAST, 10)


def test_names_are_taken_once_while_a_pool_is_open(rig: CreditRig) -> None:
    pool = rig.pool("acme")
    with pytest.raises(BadInput, match=f"pool {pool.no} is called so"):
        rig.pool("acme")
    rig.pool("acme", scope={"tenant": "globex"})
    rig.desk.close(pool.no, ANN)
    assert rig.pool("acme").no > pool.no


def test_pools_are_their_tenants_and_those_of_the_service_its_own(rig: CreditRig) -> None:
    pool = rig.pool("bought", scope={"tenant": "acme"})
    own = rig.desk.create(Draft("own", {"tenant": "acme"}), 0, MAX)
    with pytest.raises(Forbidden, match="was made by ann, who sees all tenants"):
        rig.desk.fund(pool.no, usd("100"), None, MAX)
    with pytest.raises(NotFound):
        rig.desk.fund(own.no, usd("100"), None, Editor("gil", "mine", ("globex",)))
    assert rig.desk.fund(own.no, usd("100"), None, MAX)[1].balance == usd("100")


def test_a_dry_run_leaves_nothing(rig: CreditRig) -> None:
    pool = rig.pool(amount="1")
    before, after = rig.desk.fund(pool.no, usd("5"), rig.clock.now_ns() + SECOND, ANN, dry_run=True)
    assert (before.balance, after.balance) == (usd("1"), usd("6"))
    rig.desk.adjust(pool.no, usd("-1"), ANN, dry_run=True)
    rig.desk.create(Draft("another", {}), usd("3"), ANN, dry_run=True)
    rig.desk.close(pool.no, ANN, dry_run=True)
    assert rig.state(pool).balance == usd("1")
    assert rig.desk.grants(pool.no, LAST, 10) == []
    assert [(one.no, one.is_open) for one in rig.desk.all()] == [(pool.no, True)]


def test_faults_are_named(rig: CreditRig) -> None:
    pool = rig.pool(amount="3")
    rig.hold("r1")
    with rig.store.write() as transaction:
        transaction.execute("UPDATE credit_pools SET balance_units = balance_units + 1, spend_units = spend_units - 1")
        transaction.execute("DELETE FROM credit_holds")
    assert rig.desk.faults([pool]) == [
        "pool 1: the account balance holds 4, its postings come to 3",
        "pool 1: the account spend holds -1, its postings come to 0",
        "pool 1: 1 are held, the holds come to 0",
    ]


def test_what_was_posted_is_never_changed(rig: CreditRig) -> None:
    adopted(rig, EuroRate("2026-11-20", "USD", "1.25"))
    rig.pool(amount="1", currency="EUR")
    rig.settle(call(1))
    columns = {"credit_definitions": "why", "credit_transactions": "kind", "credit_postings": "account", "credit_rates": "per_usd"}
    for table, column in columns.items():
        for change in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
            with pytest.raises(Exception, match=f"{table} are append-only"), rig.store.write() as transaction:
                transaction.execute(change)


def test_a_clock_that_goes_back_brings_no_lapsed_money_back(rig: CreditRig) -> None:
    pool = rig.pool(low=usd("1"))
    rig.grant(pool, "2", seconds=60)
    rig.clock.advance(60)
    rig.desk.expire()
    rig.clock.advance(-3600)
    rig.desk.expire()
    state = rig.state(pool)
    assert (state.balance, state.expired) == (0, usd("2"))
    assert len(rig.desk.alerts(None, LAST, 10)) == 2  # it was low while it was empty, and is again
    rig.clock.advance(7200)
    rig.desk.expire()
    assert len(rig.desk.alerts(None, LAST, 10)) == 2


def test_there_is_an_end_to_grants_and_pools(rig: CreditRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credit_desk, "CREDIT_GRANTS_MAX", 2)
    monkeypatch.setattr(credit_store, "CREDIT_POOLS_OF_TENANT_MAX", 1)
    pool = rig.pool()
    for _ in range(2):
        rig.grant(pool, "1", seconds=60)
    with pytest.raises(BadInput, match="2 grants of this pool have money left"):
        rig.grant(pool, "1", seconds=60)
    rig.clock.advance(60)
    rig.grant(pool, "1", seconds=60)
    rig.desk.create(Draft("own", {"tenant": "acme"}), 0, MAX)
    with pytest.raises(BadInput, match="1 pools of this tenant"):
        rig.desk.create(Draft("another", {"tenant": "acme"}), 0, MAX)
    monkeypatch.setattr(credit_store, "CREDIT_POOLS_MAX", 2)
    with pytest.raises(BadInput, match="there are 2 pools already"):
        rig.pool("third")
