"""Watched prices: what changed, what is announced, and what the last days' calls would have cost by either; worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import Rig, call
from price_lists import BASE, ROWS, Prices, row

from otel_finops.base.errors import NotFound
from otel_finops.insight.price_watch import changes_of
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.price_watches import PriceWatches
from otel_finops.operations.watch_desk import WatchDesk
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.house_rules import HouseRules, Override
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, FakeClock

DAY = 86_400 * 10**9
DEARER = {**ROWS, "gpt-4o": row(5)}


def told(engine: PriceEngine, model: str, provider: str | None = "openai") -> list[tuple[int, str, list[tuple[str, object, object]]]]:
    return [(one.at_ns, one.kind, [tuple(price) for price in one.prices]) for one in changes_of(engine, provider, model, NOON - 30 * DAY)]


def test_changes_between_lists_by_rules_and_by_announced_dates_are_told() -> None:
    night = {"models": {"openai/gpt-4.1": {"prices": [["", row(2, 8)], ["2027-01-01", row(3, 8)]]}}}
    lists = [BASE._replace(dated=night), BASE._replace(version="c" * 16, valid_from_ns=NOON, rows=DEARER)]
    rules = HouseRules((Override("1", "override", None, "our-model", None, row(9), NOON + DAY, None),))
    engine = PriceEngine(PriceBook.of(lists, rules))
    assert told(engine, "gpt-4o") == [(NOON, "changed", [("input_cost_per_token", 2.5e-6, 5e-6)])]
    [(at_ns, kind, moved)] = told(engine, "gpt-4.1")
    assert (at_ns > NOON, kind, moved) == (True, "changed", [("input_cost_per_token", 2e-6, 3e-6)])
    [(at_ns, kind, _)] = told(engine, "our-model")
    assert (at_ns, kind) == (NOON + DAY, "appeared")
    assert told(engine, "acme/one", "acme") == told(engine, "no-such-model") == []


def test_a_row_that_the_list_drops_is_retired() -> None:
    fewer = {key: fields for key, fields in ROWS.items() if key != "gpt-4o"}
    engine = PriceEngine(PriceBook.of([BASE, BASE._replace(version="c" * 16, valid_from_ns=NOON, rows=fewer)]))
    assert told(engine, "gpt-4o") == [(NOON, "retired", [])]


def desk_of(rig: Rig, current: CurrentPrices) -> WatchDesk:
    return WatchDesk(rig.store, rig.clock, current, 30)


def test_what_a_change_would_have_cost_is_exact(store: Store) -> None:
    """Three calls of 1,000 tokens in and 100 out, one of them of another tenant, one of 40 days ago.

    Each costs 0.0025 + 0.001 = 0.0035 USD before (2.50 and 10 USD a million), and 0.005 + 0.001 = 0.006 USD after.
    """
    rig = Rig(store)
    prices = Prices(store, rig.clock)
    rig.use(prices.current.fresh)
    rig.settle(
        call(1, trace=1), call(2, trace=2, at_s=10, attribution={"tenant": "acme"}), call(3, trace=3, at_s=-40 * 86_400),
        call(4, trace=4, at_s=20, request_model="gpt-4.1", price_models=("gpt-4.1",)),
    )  # fmt: skip
    rig.clock.advance(60)
    prices.refresh(DEARER)
    desk = desk_of(rig, prices.current)
    watch, new = desk.add("*", "openai", "gpt-4o", who="ann")
    assert (new, desk.add("*", "openai", "gpt-4o", who="bob")) == (True, (watch, False))
    desk.add("*", None, "gpt-4.1", who="ann")
    [found] = desk.changes(None, 30, None)
    assert (found.watch, found.change.at_ns, found.change.after) == (watch, rig.clock.now_ns(), "gpt-4o")
    assert found.impact == (2, 7_000_000_000, 12_000_000_000, 0)
    [longer] = desk.changes(None, 60, None)
    assert longer.impact == (3, 10_500_000_000, 18_000_000_000, 0)
    [acmes] = desk.changes(("acme",), 30, None)
    assert acmes.impact == (1, 3_500_000_000, 6_000_000_000, 0), "nobody sees what others spend"
    assert desk.count() == 1
    rig.clock.advance(31 * 86_400)
    assert (desk.count(), desk.changes(None, 30, None)) == (0, []), "it was a month ago"


def test_hours_of_the_day_stay_the_call_s_own(store: Store) -> None:
    """The list knows a cheap hour from noon to one: 1 USD a million before, 2 after, instead of 4. The call began at noon, the change
    comes at eight in the evening: 1,000 tokens cost 0.001 before and 0.002 after, 100 out 0.001.
    """

    def by_hours(usd: float) -> dict[str, Any]:
        return {**row(4), "off_peak_pricing": {"hours_utc": "12:00-13:00", "input_cost_per_token": usd / 1e6}}

    rig = Rig(store)
    prices = Prices(store, rig.clock, BASE._replace(rows={"gpt-4o": by_hours(1)}))
    rig.use(prices.current.fresh)
    rig.settle(call(1))
    rig.clock.advance(8 * 3600)
    prices.refresh({"gpt-4o": by_hours(2)})
    desk = desk_of(rig, prices.current)
    desk.add("*", "openai", "gpt-4o", who="ann")
    [found] = desk.changes(None, 30, None)
    assert found.impact == (1, 2_000_000_000, 3_000_000_000, 0)


def test_watches_belong_to_tenants_and_end_on_record(store: Store) -> None:
    clock = FakeClock()
    watches = PriceWatches(store, clock)
    for tenant in ("acme", "globex", "*"):
        watches.add(tenant, None, "gpt-4o", who="ann")
    assert [one.tenant for one in watches.all(("acme",))] == ["acme", "*"]
    assert [one.tenant for one in watches.all(None)] == ["acme", "globex", "*"]
    for no in (2, 3, 9):
        with pytest.raises(NotFound, match=f"There is no watch {no}"):
            watches.end(no, ("acme",), who="eve")
    assert [watches.end(1, ("acme",), who="ann")[1] for _ in range(2)] == [True, False]
    assert [one.tenant for one in watches.all(("acme",))] == ["*"]
    with store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM price_watches") == [(4,)]
