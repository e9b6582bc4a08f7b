"""Unit costs, worked out by hand over a small ledger on both engines."""

from __future__ import annotations

import pytest
from ledger_rig import CENT, PRICES, Rig, call, plain
from other_prices import TimesPrices

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_DAY, NS_PER_SECOND
from otel_finops.genai.sighting import AGENT, SaidOutcome
from otel_finops.insight.cache_savings import Savings
from otel_finops.insight.outcomes_said import SaidOutcomes
from otel_finops.insight.unit_costs import UnitAsked, UnitCostDesk, Units
from otel_finops.ledger.corrections import Corrector, Selection
from otel_finops.ledger.distinct import Distinct, distinct_counts
from otel_finops.ledger.periods import Periods
from otel_finops.ledger.reprice import reprice
from otel_finops.ledger.retention import LedgerPruner
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.spend import Question
from otel_finops.ledger.spend_entries import Amounts
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

COST = 35 * CENT // 100
"""What the rig's call costs: 1,000 tokens in and 100 out are 0.0035 USD."""
ALL = UnitAsked(None, NOON - NS_PER_DAY, NOON + NS_PER_DAY)


def said(tenant: str = "acme", **more: str) -> dict[str, str]:
    return {"tenant": tenant, **more}


@pytest.fixture
def rig(store: Store) -> Rig:
    """Six calls in three traces: two sessions, two users, one call that names neither."""
    made = Rig(store)
    made.settler = Settler(
        store, made.leases, PRICES, [made.rollups], made.clock, sleep=made.clock.advance, recent=made.recent,
        trace_projections=[made.figures, SaidOutcomes()],
    )  # fmt: skip
    made.settle(
        plain(1, kind=AGENT, genai=True, outcome=SaidOutcome(True, "task"), attribution=said()),
        call(2, parent=1, attribution=said(session="s1", user="ann")),
        call(3, parent=1, attribution=said(session="s1", user="bob")),
        call(1, trace=2, attribution=said(session="s2", user="ann", agent="planner")),
        call(2, trace=2, attribution=said()),
        call(1, trace=3, attribution=said("globex", session="s1")),
        call(2, trace=3, attribution=said("globex", session="s1"), usage={"input_uncached": 400, "cache_read": 600, "output": 100}),
    )
    return made


def report(rig: Rig, asked: UnitAsked = ALL) -> Units:
    return UnitCostDesk(rig.store).report(asked).total


def test_costs_of_one_of_each(rig: Rig) -> None:
    """5 calls of 0.0035 and one of 0.00275 are 0.02025 USD; realms are one here, so that s1 is one session."""
    found = report(rig)
    cost = 5 * COST + 275 * CENT // 1000
    assert found == Units(Amounts(cost, 6, 6600, 0, 0, 6000, 600), Distinct(3, 2, 2, cost, cost - COST, 3 * COST))
    assert (found.per_call, found.per_trace) == (3_375_000_000, 6_750_000_000)
    assert (found.per_session, found.per_user) == ((cost - COST) // 2, 5_250_000_000)
    assert found.per_1k_tokens == 3_068_181_818  # 0.02025 USD / 6.6
    assert found.cache_hit_rate == 0.1


def test_groups_tenants_filters_and_times(rig: Rig) -> None:
    desk = UnitCostDesk(rig.store)
    by_tenant = dict(desk.report(ALL._replace(group_by=("tenant",))).groups)
    assert by_tenant[("acme",)] == Units(Amounts(4 * COST, 4, 4400, 0, 0, 4000, 0), Distinct(2, 2, 2, 4 * COST, 3 * COST, 3 * COST))
    assert by_tenant[("globex",)].distinct[:3] == (1, 1, 0)
    assert report(rig, ALL._replace(tenants=("globex",))).amounts.calls == 2
    assert report(rig, ALL._replace(filters={"user": ("ann",)})).distinct[:3] == (2, 2, 1)
    assert report(rig, ALL._replace(filters={"agent": ("planner",)})).per_call == COST
    empty = report(rig, ALL._replace(to_ns=NOON))
    assert (empty.per_call, empty.per_1k_tokens, empty.cache_hit_rate) == (None, None, None)
    with pytest.raises(BadInput, match="cannot be grouped by 'session'"):
        desk.report(ALL._replace(group_by=("session",)))


def test_savings_of_caches_and_outcomes(rig: Rig) -> None:
    """600 tokens read at 1.25 instead of 2.50 USD a million: 0.00075 USD. Trace 1 is one success of two calls."""
    found = UnitCostDesk(rig.store).report(ALL)
    assert found.savings == {("openai", "gpt-4o"): Savings(1, 0, 600, 0, 75 * CENT // 1000, 0)}
    assert found.outcomes is not None
    assert found.outcomes["task"].per_success == 2 * COST
    assert UnitCostDesk(rig.store).report(ALL._replace(filters={"agent": ("planner",)})).outcomes is None


def test_sums_by_trace_and_entries_tell_the_same(rig: Rig) -> None:
    """A whole time, times that cut traces 1 to 3 behind their first calls, and one tenant; with sums by trace, without, and with a part."""
    rig.settle(call(3, trace=2, at_s=60, attribution=said(session="s1", user="cid")))
    desk, cut = UnitCostDesk(rig.store), NOON + 30 * NS_PER_SECOND
    asked = [
        ALL, ALL._replace(group_by=("tenant",)), ALL._replace(to_ns=cut), ALL._replace(from_ns=cut),
        ALL._replace(tenants=("acme",), group_by=("tenant",)), ALL._replace(tenants=()),
    ]  # fmt: skip
    kept = [desk.report(one) for one in asked]
    assert [(one.total.distinct[:3]) for one in kept] == [(3, 2, 3), (3, 2, 3), (3, 2, 2), (1, 1, 1), (2, 2, 3), (0, 0, 0)]
    for left_out in ("trace_no = 1", "trace_no > 0"):
        with rig.store.write() as transaction:
            transaction.execute(f"DELETE FROM trace_sums WHERE {left_out}")
        assert [desk.report(one) for one in asked] == kept


def test_only_sums_by_trace_are_read_where_they_tell(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.insight.unit_costs.distinct_counts", None)
    assert report(rig).distinct.traces == 3
    assert report(rig, ALL._replace(group_by=("tenant",))).distinct.traces == 3
    with pytest.raises(TypeError):
        report(rig, ALL._replace(group_by=("model",)))


def test_corrected_calls_count_as_they_stand(rig: Rig) -> None:
    """Everything at twice the price: the same numbers of traces, sessions and users, and twice the money."""

    def counted() -> dict[tuple[str, ...], Distinct]:
        with rig.store.read() as transaction:
            return distinct_counts(transaction, Question(None, ("tenant",)), ALL.from_ns, ALL.to_ns)

    before = counted()
    corrector = Corrector(rig.store, rig.leases, TimesPrices(2), [rig.rollups], rig.clock, sleep=rig.clock.advance)
    reprice(corrector, Selection(0, 2**62), who="ann", why="other prices")
    assert counted() == {key: Distinct(*one[:3], *(2 * pico for pico in one[3:])) for key, one in before.items()}
    assert [one[:3] for _, one in sorted(before.items())] == [(2, 2, 2), (1, 1, 0)]


def test_what_was_pruned_is_in_no_average_by_trace(store: Store) -> None:
    """Two traces, of September and of now, a call of 0.0035 USD each. September's entries go: two calls and 0.007 USD are still known, by
    one trace of 0.0035 and not of 0.007.
    """
    rig = Rig(store)
    rig.settle(call(1, at_s=-60 * 86_400, attribution=said(user="ann")), call(1, trace=2, attribution=said(user="bob")))
    asked = ALL._replace(from_ns=NOON - 90 * NS_PER_DAY)
    assert report(rig, asked) == Units(Amounts(2 * COST, 2, 2200, 0, 0, 2000, 0), Distinct(2, 0, 2, 2 * COST, 0, 2 * COST))
    Periods(store, rig.leases, rig.clock, rig.clock.advance).close("2026-10", "ann", "done")
    pruner = LedgerPruner(store, rig.leases, rig.clock, sleep=rig.clock.advance)
    pruner.prune(pruner.months_before(30), "test")
    found = report(rig, asked)
    assert found == Units(Amounts(2 * COST, 2, 2200, 0, 0, 2000, 0), Distinct(1, 0, 1, COST, 0, COST))
    assert (found.per_call, found.per_trace, found.per_user) == (COST, COST, COST)
