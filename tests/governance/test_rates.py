"""Rates: so many calls at once, then evenly, shared by all processes, whatever their clocks do."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_finops.governance import rates
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.rates import Rate, RateOf
from otel_finops.store.engine import Store
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock

SECOND = 10**9
T0 = 1_790_000_000 * SECOND
THREE_A_MINUTE = Rate(3, 60.0)
WRITER, EDITOR = GovernedCall(agent="writer"), GovernedCall(agent="editor")


def take(store: Store, rate: Rate, at_s: float, call: GovernedCall = WRITER, policy: int = 1) -> float:
    with store.write() as transaction:
        return rates.take(transaction, policy, rate, call, T0 + round(at_s * SECOND))


def look(store: Store, rate: Rate, at_s: float, call: GovernedCall = WRITER) -> float:
    with store.read() as transaction:
        return rates.look(transaction, 1, rate, call, T0 + round(at_s * SECOND))


def rows(store: Store) -> int:
    with store.read() as transaction:
        return int(transaction.execute("SELECT COUNT(*) FROM policy_rates")[0][0])


def test_three_a_minute(store: Store) -> None:
    at_and_wait = [
        (0, 0.0), (0, 0.0), (0, 0.0),  # three at once
        (0, 20.0),  # the fourth when a third of the minute is over
        (5, 15.0),  # refusals take nothing
        (20, 0.0), (20, 20.0),
        (60, 0.0), (60, 0.0),  # forty seconds later two are free again
        (60, 20.0),
        (3600, 0.0), (3600, 0.0), (3600, 0.0), (3600, 20.0),  # and never more than three, however long nobody came
    ]  # fmt: skip
    for at_s, wait_s in at_and_wait:
        assert look(store, THREE_A_MINUTE, at_s) == wait_s
        assert take(store, THREE_A_MINUTE, at_s) == wait_s


def test_each_has_a_rate_of_its_own(store: Store) -> None:
    by_agent = Rate(1, 60.0, "agent")
    assert take(store, by_agent, 0) == 0
    assert take(store, by_agent, 0) == 60
    assert take(store, by_agent, 0, EDITOR) == 0
    assert take(store, by_agent, 0, GovernedCall()) == 0  # those that do not say share one
    assert take(store, by_agent, 0, GovernedCall()) == 60
    assert take(store, Rate(1, 60.0), 0, policy=2) == 0
    assert take(store, Rate(1, 60.0), 0, EDITOR, policy=2) == 60  # `all`: whoever calls


@pytest.mark.parametrize("of", ["agent", "user", "session", "trace", "service"])
def test_nobody_uses_up_the_rate_of_another_tenants(store: Store, of: RateOf) -> None:
    """Two tenants have an agent, or whatever else, of one name; and no two of them look like a third one's."""
    rate = Rate(1, 60.0, of)

    def call(tenant: str, name: str) -> GovernedCall:
        said: dict[str, Any] = {of: name}
        return GovernedCall(tenant=tenant, **said)

    ours, theirs = call("acme", "writer"), call("globex", "writer")
    assert take(store, rate, 0, ours) == 0
    assert take(store, rate, 0, ours) == 60
    assert take(store, rate, 0, theirs) == 0
    assert [take(store, rate, 0, one) for one in (call("a:b", "c"), call("a", "b:c"))] == [0, 0]


def test_what_was_taken_for_a_call_that_is_not_made_is_given_back(store: Store) -> None:
    assert [take(store, THREE_A_MINUTE, 0) for _ in range(3)] == [0, 0, 0]
    with store.write() as transaction:
        rates.give_back(transaction, 1, THREE_A_MINUTE, WRITER)
    assert take(store, THREE_A_MINUTE, 0) == 0
    assert take(store, THREE_A_MINUTE, 0) == 20


def test_a_clock_that_goes_back_stops_nobody_for_long(store: Store) -> None:
    assert [take(store, THREE_A_MINUTE, 3600) for _ in range(3)] == [0, 0, 0]
    assert take(store, THREE_A_MINUTE, 3590) == 30  # ten seconds: two processes may differ by so much, and nothing is forgotten
    assert take(store, THREE_A_MINUTE, 0) == 0  # an hour: that was never taken, by our clock
    assert [take(store, THREE_A_MINUTE, 0) for _ in range(3)] == [0, 0, 20]


def test_another_rate_of_the_same_policy_holds_at_once(store: Store) -> None:
    assert [take(store, THREE_A_MINUTE, 0) for _ in range(3)] == [0, 0, 0]  # all is there again at 60
    assert take(store, Rate(6, 60.0), 0) == 10  # one is free again every ten seconds
    assert take(store, Rate(12, 120.0), 0) == 0


def test_rates_that_are_over_are_forgotten(store: Store) -> None:
    of_traces = Rate(1, 1.0, "trace")
    for number in range(20):
        take(store, of_traces, 0, GovernedCall(trace=f"{number:032x}"))
    assert rows(store) == 20
    for number in range(20, 30):
        take(store, of_traces, 60, GovernedCall(trace=f"{number:032x}"))
    assert rows(store) == 10  # each new one sweeps four


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 5), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_never_more_than_twice_the_calls_in_any_span_of_the_rate_and_refusals_say_when(waits: list[int], calls: int, per_s: int) -> None:
    """By its row alone: at once `calls`, and one each `per_s / calls` seconds, so in any `per_s` seconds at most twice as many."""
    rate, free_ns, now_ns, passed = Rate(calls, float(per_s)), 0, T0, list[int]()
    for wait in waits:
        now_ns += wait * SECOND // 3
        wait_s = rate.wait_s(free_ns, now_ns)
        if wait_s == 0:
            free_ns = max(free_ns, now_ns) + rate.each_ns
            passed.append(now_ns)
        else:
            assert rate.wait_s(free_ns, now_ns + round(wait_s * SECOND)) == 0
    for first in passed:
        assert sum(1 for at in passed if first <= at < first + rate.whole_ns) <= 2 * calls


@pytest.mark.parametrize("together", [6])
def test_under_concurrency_exactly_as_many_pass_as_there_are(database_url: str, together: int) -> None:
    stores = [Store.open(database_url, FakeClock()) for _ in range(together)]
    upgrade(stores[0])
    waits: list[float] = []
    rate = Rate(20, 3600.0)

    def work(store: Store) -> None:
        for _ in range(10):
            with store.write() as transaction:
                rates.lock(transaction)
                waits.append(rates.take(transaction, 1, rate, WRITER, T0))

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert sorted(waits) == [0.0] * 20 + [180.0] * 40
