"""Outcomes in a store: what spans tell, what somebody says in their place, and what it costs after corrections."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import CENT, PRICES, Rig, call, plain, trace_id
from other_prices import TimesPrices

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.genai.sighting import AGENT, SaidOutcome
from otel_finops.insight.outcome_reads import OutcomeQuery
from otel_finops.insight.outcomes import Share
from otel_finops.insight.outcomes_given import OutcomeDesk, Saying
from otel_finops.insight.outcomes_said import SaidOutcomes
from otel_finops.ledger.corrections import Corrector, Selection
from otel_finops.ledger.reprice import reprice
from otel_finops.ledger.settle import Settler
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

COST = 35 * CENT // 100
"""What the rig's call costs: 0.0035 USD; it has 1,100 tokens."""
WELL, BADLY = SaidOutcome(True, "task"), SaidOutcome(False, "task")
ALL = OutcomeQuery(None)
ACME = {"tenant": "acme"}


@pytest.fixture
def rig(store: Store) -> Rig:
    made = Rig(store)
    made.settler = Settler(
        store, made.leases, PRICES, [made.rollups], made.clock, sleep=made.clock.advance, recent=made.recent,
        trace_projections=[made.figures, SaidOutcomes()],
    )  # fmt: skip
    return made


@pytest.fixture
def desk(rig: Rig) -> OutcomeDesk:
    return OutcomeDesk(rig.store, rig.clock)


def agent(trace: int, outcome: SaidOutcome | None, **more: Any) -> Any:
    attribution = {"agent": "support", **ACME, **more.pop("attribution", {})}
    return plain(1, trace=trace, kind=AGENT, genai=True, outcome=outcome, attribution=attribution, **more)


def test_what_spans_tell_is_reported(rig: Rig, desk: OutcomeDesk) -> None:
    """Trace 1 succeeds with two calls, trace 2 fails with one, trace 3 tells nothing: 3 calls for one success."""
    rig.settle(agent(1, WELL), call(2, parent=1), call(3, parent=1), agent(2, BADLY), call(2, trace=2, parent=1), call(2, trace=3))
    [(key, tally)] = desk.report(ALL, ("agent", "model")).groups
    assert key == ("support", "gpt-4o")
    assert (tally.attempts, tally.successes, tally.whole) == (2, 1, Share(3, 0, 0, 3300, 3 * COST))
    assert (tally.failed.pico, tally.per_success) == (COST, 3 * COST)
    assert desk.spent(ALL) == 4 * COST


def test_late_calls_and_other_words_make_it_anew(rig: Rig, desk: OutcomeDesk) -> None:
    rig.settle(agent(1, BADLY), call(2, parent=1))
    rig.settle(call(3, parent=1))
    rig.settle(agent(1, WELL, end_ns=NOON + 20 * 10**9))
    total = desk.report(ALL, ()).total
    assert (total.attempts, total.successes, total.whole.pico) == (1, 1, 2 * COST)


def test_somebodys_word_takes_the_place_of_the_spans(rig: Rig, desk: OutcomeDesk) -> None:
    rig.settle(agent(1, WELL), call(2, parent=1))
    assert desk.record([Saying(trace_id(1), "task", False, note="reopened")], None, who="ann") == 1
    assert desk.record([Saying(trace_id(1), "task", False)], None, who="ann") == 0
    total = desk.report(ALL, ()).total
    assert (total.attempts, total.successes, total.failed.pico) == (1, 0, COST)
    assert desk.report(ALL, ("agent", "model")).groups[0][0] == ("support", "gpt-4o")
    desk.record([Saying(trace_id(1), "task", None)], None, who="ann")
    assert desk.report(ALL, ()).total.successes == 1
    assert [(one.success, one.stands, one.note) for one in desk.given(None, None, None, None, 10)] == [
        (None, False, ""), (False, False, "reopened"),
    ]  # fmt: skip


def test_another_kind_and_another_tenant_take_nobodys_place(rig: Rig, desk: OutcomeDesk) -> None:
    rig.settle(agent(1, WELL), call(2, parent=1))
    desk.record([Saying(trace_id(1), "paid", True), Saying(trace_id(1), "task", False, "globex")], None, who="ann")
    report = desk.report(ALL, ("name", "tenant"))
    assert {key: tally.successes for key, tally in report.groups} == {("task", "acme"): 1, ("paid", "acme"): 1}
    assert report.without_cost == 1  # globex has no calls there


def test_what_is_said_before_the_trace_comes_counts_when_it_is_booked(rig: Rig, desk: OutcomeDesk) -> None:
    desk.record([Saying(trace_id(1), "task", True, "acme")], None, who="ann")
    assert desk.report(ALL, ()).without_cost == 1
    rig.settle(agent(1, None), call(2, parent=1))
    assert desk.report(ALL, ()).total.per_success == COST


def test_whose_outcome_it_is(rig: Rig, desk: OutcomeDesk) -> None:
    """Trace 1 is acme's, in trace 2 acme and globex have calls, trace 3 is not known."""
    theirs = call(3, trace=2, attribution={"tenant": "globex"}, response_id="x")
    rig.settle(agent(1, None), call(2, parent=1), call(2, trace=2, attribution=ACME, response_id="y"), theirs)
    well = [Saying(trace_id(number), "task", True) for number in (1, 2, 3)]
    desk.record([well[0]], None, who="ann")
    with pytest.raises(BadInput, match="several tenants have calls in it"):
        desk.record([well[1]], None, who="ann")
    with pytest.raises(BadInput, match="nothing of it is booked yet"):
        desk.record([well[2]], None, who="ann")
    desk.record(well[1:], ("globex",), who="bob")
    with pytest.raises(NotFound):
        desk.record([well[0]._replace(tenant="acme")], ("globex",), who="bob")
    assert [one.tenant for one in desk.given(None, None, None, None, 10)] == ["globex", "globex", "acme"]
    assert desk.given(("initech",), None, None, None, 10) == []
    assert desk.report(OutcomeQuery(("initech",)), ()).total.attempts == 0


def test_all_of_a_list_is_recorded_or_nothing(rig: Rig, desk: OutcomeDesk) -> None:
    rig.settle(agent(1, None), call(2, parent=1))
    with pytest.raises(BadInput, match="nobody has said anything of trace"):
        desk.record([Saying(trace_id(1), "task", True), Saying(trace_id(1), "paid", None)], None, who="ann")
    assert desk.given(None, None, None, None, 10) == []
    assert desk.record([Saying(trace_id(1), "task", True)], None, who="ann", dry_run=True) == 1
    assert desk.given(None, None, None, None, 10) == []


def test_times_and_kinds_are_chosen(rig: Rig, desk: OutcomeDesk) -> None:
    rig.settle(agent(1, WELL, end_ns=NOON + 5), call(2, parent=1))
    desk.record([Saying(trace_id(1), "paid", True, at_ns=NOON + 9)], None, who="ann")
    assert desk.report(ALL._replace(from_ns=NOON + 5, to_ns=NOON + 9), ("name",)).groups[0][0] == ("task",)
    assert desk.report(ALL._replace(from_ns=NOON + 6, to_ns=NOON + 10), ("name",)).groups[0][0] == ("paid",)
    assert desk.report(ALL._replace(name="paid"), ()).total.attempts == 1


def test_corrections_move_the_cost_of_outcomes(rig: Rig, desk: OutcomeDesk) -> None:
    """At twice the price the same calls cost twice as much, with what somebody said and without."""
    rig.settle(agent(1, WELL), call(2, parent=1), call(2, trace=2))
    desk.record([Saying(trace_id(2), "task", True, "default")], None, who="ann")
    kept = [rig.rollups, rig.figures, SaidOutcomes()]
    corrector = Corrector(rig.store, rig.leases, TimesPrices(2), kept, rig.clock, sleep=rig.clock.advance)
    reprice(corrector, Selection(0, 2**62), who="ann", why="other prices")
    assert desk.report(ALL, ()).total.whole == Share(2, 0, 0, 2200, 4 * COST)
