"""Flat fees spread over the calls that they covered: exact, the same whatever came first, and again when something changes."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from empty_ledgers import empty_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rig import SECOND, Rig, call, plain, span_id

from otel_finops.genai.sighting import Sighting
from otel_finops.ledger.fee_spread import FeeSpreader, Spread
from otel_finops.ledger.fx_store import store_rates
from otel_finops.ledger.rows import to_contract
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.ecb import EuroRate
from otel_finops.pricing.fx import MissingRate
from otel_finops.settings.money import Pricing
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

USD = 10**12
DAY_S = 24 * 3600
SEAT = {"id": "seat", "services": ["coder"], "fee": 20, "from": "2026-10-22"}
"""The calls of the rig are made on 2026-11-21, the last day of its first period."""


class Covered:
    """A rig with subscriptions, two days after the first period is over."""

    def __init__(self, store: Store, *subscriptions: dict[str, Any]) -> None:
        self.cascade = Cascade.of(Pricing.model_validate_json(json.dumps({"subscriptions": subscriptions})))
        self.rig = Rig(store, cascade=self.cascade)
        rig = self.rig
        self.spreader = FeeSpreader(store, rig.leases, [rig.rollups], rig.clock, self.cascade.subscriptions, sleep=rig.clock.advance)
        self.end_of_period()

    def end_of_period(self) -> None:
        self.rig.clock.advance(2 * DAY_S)

    def settle(self, *sightings: Sighting) -> None:
        self.rig.settle(*sightings)

    def spread(self) -> Spread:
        return self.spreader.run(who="test", why="test")

    def effective(self) -> dict[str, str | None]:
        """What stands, by the last digits of the span's id."""
        return {span.lstrip("0"): to_contract(entry)["effective_usd"] for span, entry in sorted(self.rig.net().items())}


def covered(span: int, **known: Any) -> Sighting:
    return call(span, trace=span, attribution={"service": "coder"}, **known)


def test_a_fee_is_shared_by_shadow_prices_and_moves_no_cost(store: Store) -> None:
    """Three calls of 0.0035, 0.0035 and 0.0070: a quarter, a quarter and a half of 20 USD."""
    ledger = Covered(store, SEAT)
    double = {"input_uncached": 2000, "output": 200}
    ledger.settle(covered(1), covered(2, at_s=9), covered(3, at_s=18, usage=double), call(4, trace=4))
    assert ledger.spread()[:2] == (1, 3)
    assert ledger.effective() == {"1": "5", "2": "5", "3": "10", "4": "0.0035"}
    assert ledger.rig.total() == ledger.rig.spent() == 3_500_000_000
    assert ledger.spread() == Spread(1, 0, None)


def test_shares_that_do_not_come_out_even_add_up_to_the_fee(store: Store) -> None:
    ledger = Covered(store, SEAT)
    ledger.settle(*(covered(span, at_s=9 * span) for span in (1, 2, 3)))
    ledger.spread()
    assert sorted(ledger.effective().values(), key=str) == ["6.666666666666", "6.666666666667", "6.666666666667"]


def test_a_call_without_a_shadow_price_bears_nothing_beside_others(store: Store) -> None:
    ledger = Covered(store, SEAT)
    ledger.settle(covered(1), covered(2, at_s=9, request_model="new", price_models=("new",)))
    ledger.spread()
    assert ledger.effective() == {"1": "20", "2": "0"}


def test_nothing_is_spread_before_the_period_is_over(store: Store) -> None:
    ledger = Covered(store, {**SEAT, "from": "2026-11-01"})
    ledger.settle(covered(1))
    assert ledger.spread() == Spread(0, 0, None)
    assert ledger.effective() == {"1": None}


def test_a_call_that_comes_late_takes_its_share_from_the_others(store: Store) -> None:
    ledger = Covered(store, SEAT)
    ledger.settle(covered(1))
    ledger.spread()
    ledger.settle(covered(2, at_s=9))
    assert ledger.effective() == {"1": "20", "2": None}
    assert ledger.spread().rows == 2
    assert ledger.effective() == {"1": "10", "2": "10"}


def test_settling_a_trace_again_keeps_the_share(store: Store) -> None:
    ledger = Covered(store, SEAT)
    ledger.settle(covered(1))
    ledger.spread()
    assert ledger.rig.settle(plain(9, trace=1)) == []
    more = covered(1, usage={"input_uncached": 1000, "output": 200})._replace(end_ns=NOON + 3 * SECOND)
    ledger.settle(more)
    assert ledger.effective() == {"1": "20"}


def test_a_fee_in_another_currency_is_that_of_its_first_day(store: Store) -> None:
    """20 EUR on 2026-10-22 at 1.25 USD are 25 USD."""
    ledger = Covered(store, {**SEAT, "currency": "EUR"})
    ledger.settle(covered(1))
    with pytest.raises(MissingRate, match="EUR for 2026-10-22"):
        ledger.spread()
    with store.write() as transaction:
        store_rates(transaction, [EuroRate("2026-10-21", "USD", "1.25")], "hist.csv", b"", "test", NOON)
    ledger.spread()
    assert ledger.effective() == {"1": "25"}
    [one, _] = ledger.spreader.coverages()
    assert (one.fee_pico, one.spread_pico, one.calls, one.shadow_pico, one.over) == (25 * USD, 25 * USD, 1, 3_500_000_000, True)


def test_the_shares_are_the_same_whatever_came_first_and_however_often_they_were_spread(tmp_path: Any) -> None:
    """Two spans of one call, a second call and one that is not covered, in every order, spread after every delivery."""
    wrapper = covered(1)._replace(scope="framework", rank=2, response_id="r-1")
    sightings = [
        wrapper,
        covered(1, parent=1)._replace(span_id=span_id(5), response_id="r-1"),
        covered(2, at_s=60),
        call(3, trace=3, at_s=90),
    ]
    results = set()
    for number, order in enumerate(permutations(sightings)):
        store = empty_store(f"sqlite:///{tmp_path}/{number}.db")
        ledger = Covered(store, SEAT)
        for sighting in order:
            ledger.settle(sighting)
            if number % 2:
                ledger.spread()
        ledger.spread()
        results.add(repr(ledger.rig.canonical()))
        store.close()
    assert len(results) == 1


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.lists(st.integers(1, 10**6), min_size=1, max_size=12), fee=st.integers(0, 9 * 10**6))
def test_effective_costs_of_a_period_are_the_fee(store: Store, counts: list[int], fee: int) -> None:
    name = f"seat-{fee}-{'-'.join(map(str, counts))}"[:200]
    ledger = Covered(store, {**SEAT, "id": name, "services": [name], "fee": fee})
    for number, count in enumerate(counts, 1):
        usage = {"input_uncached": count, "output": 1}
        ledger.rig.send(call(number, trace=number, realm=name, at_s=9 * number, usage=usage, attribution={"service": name}))
    ledger.settle()
    ledger.spread()
    [one, *_] = ledger.spreader.coverages()
    assert (one.calls, one.spread_pico) == (len(counts), fee * USD)
