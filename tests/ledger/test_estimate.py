"""Estimates: by the median of such calls, by a run and never at arrival, and taken back when the usage comes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rig import CENT, SECOND, Rig, call, plain, span_id
from other_prices import TimesPrices
from test_cascade_booked import cascade
from test_reprice import EVER, corrector, exported, run
from test_same_ledger import NUMBERS, a_store, check_sums, folder  # noqa: F401 - the fixture

from otel_finops.genai.sighting import RANK_FRAMEWORK, Sighting
from otel_finops.ledger.corrections import Corrected, Corrector, Selection
from otel_finops.ledger.estimate import Habits, estimate
from otel_finops.ledger.reprice import reprice
from otel_finops.pricing.engine import PriceEngine
from otel_finops.store.engine import Store

DAY = 86_400
COST = 35 * CENT // 100
PRICES = PriceEngine.load()


def guess(rig: Rig, selection: Selection = EVER, engine: Any = PRICES, *, samples: int = 3, dry_run: bool = False) -> Corrected:
    return estimate(corrector(rig, engine), selection, Habits(30, samples), who="ann", why="month's end", dry_run=dry_run)


def told(*usages: dict[str, int], first: int = 100, **known: Any) -> list[Sighting]:
    """Calls whose usage is known, a minute apart, before the one that is asked about."""
    return [call(first + n, trace=first + n, at_s=-60 * (n + 1), usage=usage, **known) for n, usage in enumerate(usages)]


SILENT = call(1, usage={})
USUAL = told(
    {"input_uncached": 900, "output": 50}, {"input_uncached": 1000, "output": 100, "reasoning": 60}, {"input_uncached": 5000, "output": 300}
)


def test_a_call_without_usage_is_charged_the_median(store: Store) -> None:
    """900, 1000, 5000 in and 50, 100, 300 out: 1000 and 100. Only one of three reasoned, so none is the middle: 0.0035 USD."""
    rig = Rig(store)
    rig.settle(SILENT, *USUAL)
    done = guess(rig)
    assert (done.total.rows, done.total.priced, done.total.after_pico) == (1, 1, COST)
    entry = rig.entries()[-1]
    assert (entry.kind, entry.cost_pico, entry.cost_method, entry.usage_source) == ("correction", COST, "estimated", "estimated")
    assert entry.usage == {"input_uncached": 1000, "output": 100}
    assert entry.usage_rule == "estimate.median: 3 calls of this tenant, model, operation and purpose from 2026-10-22 to 2026-11-21"
    assert [row.unpriced_calls for row in rig.reader.spend(None).groups] == [0]
    check_sums(rig)
    assert guess(rig).total.rows == 0


@pytest.mark.parametrize(
    "strangers",
    [
        {"request_model": "gpt-4o-mini"},
        {"provider": "azure"},
        {"operation": "embeddings"},
        {"attribution": {"purpose": "search"}},
        {"attribution": {"tenant": "acme"}},
        {"usage_source": "estimated"},
        {"error_type": "timeout"},
    ],
)
def test_other_calls_tell_nothing_of_it(store: Store, strangers: dict[str, Any]) -> None:
    rig = Rig(store)
    rig.settle(SILENT, *USUAL[:2], *told({"input_uncached": 5000, "output": 300}, first=200, **strangers))
    assert guess(rig) == Corrected(None, guess(rig).groups, guess(rig).total, 0, 0, 0)
    assert rig.net()[SILENT.span_id].cost_pico is None
    assert guess(rig, samples=2).total.priced == 1


def test_calls_of_later_days_and_of_long_ago_tell_nothing_of_it(store: Store) -> None:
    rig = Rig(store)
    far = [call(n, trace=n, at_s=at * DAY) for n, at in ((300, 1), (301, 2), (302, -31), (303, -40))]
    rig.settle(SILENT, *USUAL[:2], *far)
    assert guess(rig).entries == 0
    assert guess(rig, samples=2).total.priced == 1


def test_what_was_reversed_tells_nothing_of_it(store: Store) -> None:
    """Its usage was told wrongly at first: what stands counts, and that is 3,000 in and 300 out."""
    rig = Rig(store)
    rig.settle(*told({"input_uncached": 9000, "output": 900}))
    later = USUAL[0].end_ns + SECOND
    rig.settle(*(one._replace(end_ns=later) for one in told({"input_uncached": 3000, "output": 300})), SILENT)
    guess(rig, samples=1)
    assert rig.net()[SILENT.span_id].usage == {"input_uncached": 3000, "output": 300}


@pytest.mark.parametrize("usage", [{"input_uncached": 700, "output": 70}, {"input_uncached": 2000, "output": 200}])
def test_late_usage_replaces_the_estimate_exactly(store: Store, usage: dict[str, int]) -> None:
    """Fewer or more than was estimated: 0.7 or 2 times 0.0035 USD, by reversal and charge."""
    rig = Rig(store)
    rig.settle(SILENT, *USUAL)
    others = rig.total()
    guess(rig)
    booked = rig.settle(call(1, usage=usage, end_ns=SILENT.end_ns + SECOND))
    assert [(entry.kind, entry.cost_method) for entry in booked] == [("reversal", "estimated"), ("charge", "computed")]
    assert rig.total() - others == COST * usage["output"] // 100
    check_sums(rig)


def test_settling_again_without_news_of_the_usage_keeps_the_estimate(store: Store) -> None:
    """A twin that does not know it either, a parent that brings an agent, and prices that have changed meanwhile."""
    rig = Rig(store)
    rig.settle(call(1, parent=9, usage={}, response_id="chatcmpl-1"), *USUAL)
    others = rig.total()
    guess(rig)
    rig.use(TimesPrices(5))
    rig.settle(
        call(2, parent=9, usage={}, response_id="chatcmpl-1", scope="framework", rank=RANK_FRAMEWORK),
        plain(9, kind="agent", genai=True, attribution={"agent": "planner"}),
    )
    assert rig.total() - others == COST
    assert [(net.agent, net.cost_method) for net in rig.net().values() if net.trace_id == SILENT.trace_id and net.role == "call"] == [
        ("planner", "estimated")
    ]
    assert guess(rig).entries == 0
    check_sums(rig)


def test_an_estimate_is_repriced_as_any_price(store: Store) -> None:
    rig = Rig(store)
    rig.settle(SILENT, *USUAL)
    guess(rig)
    run(rig, EVER._replace(from_ns=SILENT.start_ns), TimesPrices(2))
    net = rig.net()[SILENT.span_id]
    assert (net.cost_pico, net.cost_method, net.usage_source) == (2 * COST, "estimated", "estimated")
    assert net.usage == {"input_uncached": 1000, "output": 100}
    run(rig, EVER._replace(from_ns=SILENT.start_ns), TimesPrices(2, unknown=("gpt-4o",)))
    net = rig.net()[SILENT.span_id]
    assert (net.cost_pico, net.cost_method, net.usage, net.unpriced_reason) == (None, "unpriced", {}, "no_usage_stream")
    check_sums(rig)


def test_a_dry_run_estimates_alike_and_writes_nothing(store: Store) -> None:
    rig = Rig(store)
    rig.settle(SILENT, *USUAL)
    before = exported(rig)
    dry = guess(rig, dry_run=True)
    assert exported(rig) == before
    assert guess(rig)._replace(run_no=None) == dry


def test_what_is_unpriced_for_another_reason_is_left_alone(store: Store) -> None:
    rig = Rig(store)
    rig.settle(
        call(1, request_model="house-model", price_models=("house-model",)),
        call(2, trace=2, usage={}, missing_reason="bad_usage"),
        call(3, trace=3, usage={}, error_type="429", missing_reason=None),
        *USUAL,
    )
    assert guess(rig).total.rows == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(order=st.permutations([SILENT, call(2, trace=2, usage={}, at_s=30), *USUAL]), cuts=st.lists(st.integers(0, 5), max_size=3))
def test_the_order_of_arrival_does_not_matter(folder: Any, order: list[Sighting], cuts: list[int]) -> None:  # noqa: F811
    """Runs in between may find too few calls, or fewer than there are in the end. What they estimate stands, and nothing else: so
    here only the last one may estimate, and finds the same in any order."""
    rig = Rig(a_store(folder, next(NUMBERS)))
    for number, sighting in enumerate(order):
        rig.settle(sighting)
        if number in cuts:
            guess(rig, samples=4)
    guess(rig)
    assert [rig.net()[span_id(number)].usage for number in (1, 2)] == 2 * [{"input_uncached": 1000, "output": 100}]
    check_sums(rig)
    rig.store.close()


SEAT = cascade(subscriptions=[{"id": "seat", "services": ["coder"], "fee": 20, "from": "2026-11-01"}])


def test_a_flat_fee_takes_an_estimate_back_and_leaves_nothing_to_estimate(store: Store) -> None:
    """What a fee covers costs 0 whatever was used, so a guess must not stand there as a fact that settling would take away."""
    rig = Rig(store)
    rig.settle(*(one._replace(attribution={"service": "coder"}) for one in (SILENT, *USUAL)))
    assert guess(rig).total.after_pico == COST
    rules = Corrector(rig.store, rig.leases, PRICES, [rig.rollups], rig.clock, SEAT, sleep=rig.clock.advance)
    reprice(rules, EVER, who="ann", why="a seat from this month on")
    covered = rig.net()[SILENT.span_id]
    assert (covered.cost_method, covered.cost_pico, covered.usage, covered.usage_source) == ("covered", 0, {}, "missing")
    assert (again := reprice(rules, EVER, who="ann", why="once more")).entries == again.skipped == 0
    rig.use(PRICES, SEAT)
    assert rig.settle(plain(9, trace=1)) == []
    check_sums(rig)


def test_what_a_new_flat_fee_covers_is_not_estimated(store: Store) -> None:
    rig = Rig(store)
    rig.settle(*(one._replace(attribution={"service": "coder"}) for one in (SILENT, *USUAL)))
    rules = Corrector(rig.store, rig.leases, PRICES, [rig.rollups], rig.clock, SEAT, sleep=rig.clock.advance)
    assert estimate(rules, EVER, Habits(30, 3), who="ann", why="month's end").entries == 0
    assert rig.net()[SILENT.span_id].unpriced_reason == "no_usage_stream"
