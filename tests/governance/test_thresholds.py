"""Crossings of thresholds: each is recorded once, by whoever notices first, and again only when spend fell below it in between."""

from __future__ import annotations

import threading

import pytest
from counting_rig import USD, CountingRig
from ledger_rig import CENT, SECOND, call

from otel_finops.governance.periods import Period
from otel_finops.store.engine import Store

HOUR = 3600


@pytest.fixture
def rig(store: Store) -> CountingRig:
    return CountingRig(store)


def more(span: int, trace: int, output: int, at: int) -> object:
    """The same call once more, with other numbers; 1,000 tokens in cost 0.25 cents, 100 out 0.1."""
    return call(span, trace=trace, usage={"input_uncached": 1000, "output": output}, end_ns=call(span).end_ns + at * SECOND)


def percents(rig: CountingRig) -> list[tuple[int, bool]]:
    """Which thresholds were crossed, in order, and whether each still stands."""
    return [(one.percent, one.cleared_ns is None) for one in rig.crossed()]


def test_each_threshold_is_crossed_once(rig: CountingRig) -> None:
    budget = rig.make(amount=CENT, thresholds=(50, 80, 100))
    rig.settle(call(1))  # 0.35 of the cent
    assert percents(rig) == []
    rig.settle(call(2, trace=2))  # 0.70
    rig.settle(call(3, trace=3))  # 1.05
    rig.settle(call(4, trace=4))  # 1.40
    assert percents(rig) == [(50, True), (80, True), (100, True)]
    first = rig.crossed()[0]
    assert (first.budget_no, first.limit, first.booked) == (budget.no, CENT, CENT * 70 // 100)


def test_a_correction_that_takes_spend_below_arms_it_again(rig: CountingRig) -> None:
    rig.make(amount=CENT, thresholds=(50,))
    rig.settle(more(1, 1, 300, 0))  # 0.55
    rig.settle(more(1, 1, 200, 1))  # 0.45: the earlier numbers are reversed
    assert percents(rig) == [(50, False)]
    rig.settle(more(1, 1, 400, 2))  # 0.65
    assert percents(rig) == [(50, False), (50, True)]


def test_a_clock_that_goes_back_or_ahead_by_an_hour_crosses_nothing_twice(rig: CountingRig) -> None:
    rig.make(amount=CENT, period=Period.of("daily"), thresholds=(50,))
    rig.clock.advance(12 * HOUR - 600)  # ten minutes before midnight
    at_s = 12 * HOUR - 900
    rig.settle(*(call(one, trace=one, at_s=at_s) for one in (1, 2)))
    assert percents(rig) == [(50, True)]
    rig.clock.advance(HOUR)  # ten to one, of the next day
    rig.settle(call(3, trace=3, at_s=at_s))  # late: that day is over
    rig.settle(*(call(one, trace=one, at_s=at_s + HOUR) for one in (4, 5)))
    assert percents(rig) == [(50, True), (50, True)]
    rig.clock.advance(-HOUR)  # and back into the day before
    rig.settle(call(6, trace=6, at_s=at_s))
    rig.settle(call(7, trace=7, at_s=at_s + HOUR))
    assert percents(rig) == [(50, True), (50, True)]
    assert all(pico >= 0 and tokens >= 0 and calls >= 0 for pico, tokens, calls, _ in rig.stored().values())


def test_two_settlers_that_notice_at_once_record_one_crossing(rig: CountingRig) -> None:
    rig.make(amount=CENT, thresholds=(50,))
    other = CountingRig(rig.store)
    # realms of two shards, so that both settle at the same time
    rig.send(*(call(one, trace=one, realm="acme", speaks_for="acme") for one in (1, 2)))
    other.send(*(call(one, trace=one, realm="globex", speaks_for="globex") for one in (3, 4)))
    threads = [threading.Thread(target=one.settle_realm, args=(realm,)) for one, realm in ((rig, "acme"), (other, "globex"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert percents(rig) == [(50, True)]


def test_a_lower_limit_crosses_at_once_and_a_higher_one_clears(rig: CountingRig) -> None:
    budget = rig.make(amount=100 * USD, thresholds=(50,))
    rig.settle(call(1))
    budget = rig.edit(budget, amount=CENT * 70 // 100)
    assert percents(rig) == [(50, True)]
    rig.edit(budget, amount=CENT * 71 // 100)
    assert percents(rig) == [(50, False)]


def test_a_budget_made_later_crosses_by_what_was_booked_before(rig: CountingRig) -> None:
    rig.settle(call(1))
    rig.make(amount=CENT, thresholds=(20, 50))
    assert percents(rig) == [(20, True)]


def test_a_rolling_window_that_moved_on_is_armed_again(rig: CountingRig) -> None:
    rig.make(amount=CENT, period=Period.of("rolling_hours", length=2), thresholds=(50,))
    rig.settle(*(call(one, trace=one) for one in (1, 2)))
    assert percents(rig) == [(50, True)]
    rig.clock.advance(3 * HOUR)
    with rig.store.write() as transaction:
        rig.thresholds.move_on(transaction, rig.budgets.all(), rig.clock.now_ns())
    assert percents(rig) == [(50, False)]
    rig.settle(*(call(one, trace=one, at_s=3 * HOUR) for one in (3, 4)))
    assert percents(rig) == [(50, False), (50, True)]
