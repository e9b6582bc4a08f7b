"""Waste in a ledger: what is read of calls and failed runs, on both engines."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import CENT, PRICES, Rig, call, plain, trace_id
from other_prices import TimesPrices

from otel_finops.genai.sighting import AGENT, SaidOutcome, Sighting
from otel_finops.governance.ready_policies import ready
from otel_finops.insight import waste_reads
from otel_finops.insight.outcomes_given import OutcomeDesk, Saying
from otel_finops.insight.outcomes_said import SaidOutcomes
from otel_finops.insight.waste_findings import Before, Finding
from otel_finops.insight.waste_reads import WasteAsked, WasteDesk, WasteReport
from otel_finops.ledger.corrections import Corrector, Selection
from otel_finops.ledger.reprice import reprice
from otel_finops.ledger.settle import Settler
from otel_finops.pricing.cascade import Cascade
from otel_finops.settings import load
from otel_finops.settings.waste import Waste
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

COST = 35 * CENT // 100
"""What the rig's call costs: 1,000 tokens in and 100 out are 0.0035 USD."""
DAY_NS = 86_400 * 10**9
ALL = WasteAsked(None, NOON - DAY_NS, NOON + DAY_NS)
ACME = {"tenant": "acme"}


@pytest.fixture
def rig(store: Store) -> Rig:
    made = Rig(store)
    made.settler = Settler(
        store, made.leases, PRICES, [made.rollups], made.clock, sleep=made.clock.advance, recent=made.recent,
        trace_projections=[made.figures, SaidOutcomes()],
    )  # fmt: skip
    return made


def report(rig: Rig, asked: WasteAsked = ALL, rules: Waste | None = None) -> dict[str, Finding]:
    """Findings by kind, where each has one."""
    found = WasteDesk(rig.store, lambda: PRICES, rules or Waste()).report(asked).findings
    assert len({one.where.kind for one in found}) == len(found)
    return {one.where.kind: one for one in found}


def agent(span: int, trace: int = 1, parent: int | None = None, **more: Any) -> Sighting:
    return plain(span, trace, parent, kind=AGENT, genai=True, attribution={"agent": "support", **ACME}, **more)


def turn(span: int, trace: int = 1, **more: Any) -> Sighting:
    """A call of the agent, a second after the one before; half a second long."""
    start = NOON + span * 10**9
    said = {"agent": "support", **ACME, **more.pop("attribution", {})}
    return call(span, trace, 1, start_ns=start, end_ns=start + 10**9 // 2, attribution=said, **more)


def test_a_loop_with_its_trace_and_its_policy(rig: Rig) -> None:
    """28 calls in turn, each of another length: three beyond the 25th."""
    usages = [{"input_uncached": 1000 + number % 7, "output": 100 + number} for number in range(28)]
    rig.settle(agent(1), *(turn(2 + number, usage=usage) for number, usage in enumerate(usages)))
    one = report(rig)["runaway_loop"]
    beyond = [entry.cost_pico or 0 for entry in sorted(rig.net().values(), key=lambda entry: entry.started_ns)][25:]
    assert (one.pico, one.calls, [trace.trace_id for trace in one.dearest]) == (sum(beyond), 3, [trace_id(1)])
    assert (one.where.tenant, one.where.agent, one.where.model) == ("acme", "support", "gpt-4o")
    assert one.policy is not None
    base = ready(one.policy.ready or "")
    assert base is not None
    assert base.condition_with(one.policy.limit) == "trace.calls >= 25"


def test_equal_calls_and_prompts_that_could_be_cached(rig: Rig) -> None:
    """2,000 tokens in four times: 2.50 USD a million, 1.25 from the cache; writing costs nothing more, so three times 0.0025 USD."""
    rig.settle(agent(1), *(turn(number, usage={"input_uncached": 2000, "output": 50}) for number in (2, 3, 4, 5)))
    found = report(rig)
    assert found["repeated_calls"].pico == 3 * (2000 * 2_500_000 + 50 * 10_000_000)
    assert found["cache_potential"].pico == 3 * 2000 * 1_250_000
    assert found["cache_potential"].policy is None


def test_what_discounted_calls_could_have_saved_is_discounted_too(store: Store) -> None:
    """The same four calls, and 20 short ones, at half the price: a cache saves 3 times 0.00125 USD and not 0.0025, a smaller model
    0.0001645 of the 0.000175 of each short call and not 0.000329.
    """
    rig = Rig(store, cascade=Cascade.of(load(None, {"OTEL_FINOPS_PRICING__DISCOUNTS": '[{"percent": "50"}]'}).pricing))
    rig.settle(
        agent(1), *(turn(number, usage={"input_uncached": 2000, "output": 65}) for number in (2, 3, 4, 5)),
        *(turn(2, trace, usage={"input_uncached": 100, "output": 10}, attribution={"agent": "short"}) for trace in range(2, 22)),
    )  # fmt: skip
    found = report(rig)
    assert found["cache_potential"].pico == 3 * 2000 * 1_250_000 // 2
    assert found["oversized_model"].pico == 20 * (350_000_000 - 21_000_000) // 2


def test_short_answers_of_a_large_model(rig: Rig) -> None:
    """20 answers of 10 tokens to 100 in 20 traces: 0.00035 USD each, by gpt-4o-mini (0.15 and 0.60 a million) 0.000021."""
    rig.settle(*(turn(2, trace, usage={"input_uncached": 100, "output": 10}) for trace in range(1, 21)))
    one = report(rig)["oversized_model"]
    assert (one.instead, one.calls, one.traces, one.pico) == ("gpt-4o-mini", 20, 20, 20 * (350_000_000 - 21_000_000))
    assert report(rig, rules=Waste(short_calls=21)) == {}


def test_failed_runs_cost_what_lies_below_the_outermost(rig: Rig) -> None:
    """Trace 1: a failed run with a call, and a failed one below it with another. Trace 2: one that did not fail. Trace 3 failed free."""
    rig.settle(
        agent(1, error_type="boom"), turn(2), agent(3, parent=1, error_type="boom"), call(4, 1, 3, attribution=ACME),
        agent(1, 2), turn(2, 2), agent(1, 3, error_type="boom"),
    )  # fmt: skip
    one = report(rig)["failing_agent"]
    assert (one.pico, one.calls, one.where.agent) == (2 * COST, 1, "support")
    assert one.policy is not None
    assert one.policy.limit == "0.003500"  # what the run cost that did not fail


def test_outcomes_tell_of_failures_too(rig: Rig) -> None:
    """Trace 1 tells of its failure, of trace 2 somebody else does; trace 3's is that of the whole trace, with its failed run in it."""
    rig.settle(
        agent(1, outcome=SaidOutcome(False, "task")), turn(2), agent(1, 2), turn(2, 2),
        agent(1, 3, error_type="boom"), turn(2, 3), call(9, 3, attribution=ACME),
    )  # fmt: skip
    desk = OutcomeDesk(rig.store, rig.clock)
    desk.record([Saying(trace_id(number), "task", False, at_ns=NOON) for number in (2, 3)], None, who="ann")
    one = report(rig)["failing_agent"]
    assert (one.pico, one.traces) == (4 * COST, 3)
    assert one.dearest[0] == (2 * COST, trace_id(3), Before())
    desk.record([Saying(trace_id(number), "task", True, "acme", NOON) for number in (1, 2, 3)], None, who="ann")
    assert "failing_agent" not in report(rig)


def test_whose_when_and_what(rig: Rig) -> None:
    rig.settle(agent(1), *(turn(number) for number in (2, 3, 4)))
    assert report(rig).keys() == {"repeated_calls"}
    assert report(rig, ALL._replace(tenants=("globex",))) == {}
    assert report(rig, ALL._replace(tenants=("acme",)))["repeated_calls"].pico == 2 * COST
    assert report(rig, ALL._replace(to_ns=NOON)) == {}
    assert report(rig, ALL._replace(kinds=("runaway_loop",))) == {}


def test_corrected_calls_count_as_they_stand(rig: Rig) -> None:
    rig.settle(agent(1), *(turn(number) for number in (2, 3, 4)))
    corrector = Corrector(rig.store, rig.leases, TimesPrices(2), [rig.rollups, rig.figures], rig.clock, sleep=rig.clock.advance)
    reprice(corrector, Selection(0, 2**62), who="ann", why="other prices")
    assert report(rig)["repeated_calls"].pico == 4 * COST


def too_much(rig: Rig, asked: WasteAsked = ALL) -> tuple[WasteReport, set[str]]:
    """What is said with room for five calls, and the traces that were found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waste_reads, "WASTE_CALLS_MAX", 5)
        found = WasteDesk(rig.store, lambda: PRICES, Waste()).report(asked)
    return found, {trace.trace_id for one in found.findings for trace in one.dearest}


def test_of_too_much_the_dearest_traces_that_can_have_waste_are_looked_at(rig: Rig) -> None:
    """Traces of two calls each at 1, 3 and 2 times the cost, and one of a single call of 100. Five calls are the two dearer ones of two
    calls, which can have repetitions, and beside them the single one. A loop takes 26, so for loops the dearest are as good as any.
    """
    for trace, times in ((1, 1), (2, 3), (3, 2)):
        rig.settle(*(turn(span, trace, usage={"input_uncached": 1000 * times, "output": 100 * times}) for span in (2, 3)))
    rig.settle(turn(2, 4, usage={"input_uncached": 100_000, "output": 10_000}))
    found, traces = too_much(rig)
    assert (found.choice.chosen, found.choice.calls, found.choice.cost_pico) == ("dearest", 7, 112 * COST)
    assert (found.calls, found.cost_pico, traces) == (5, 110 * COST, {trace_id(2), trace_id(3)})
    loops, _ = too_much(rig, ALL._replace(kinds=("runaway_loop",)))
    assert (loops.calls, loops.cost_pico) == (5, 110 * COST)
    some, _ = too_much(rig, ALL._replace(tenants=("globex",)))
    assert (some.choice.chosen, some.calls) == ("all", 0)


def test_without_sums_by_trace_the_newest_are_looked_at(rig: Rig) -> None:
    """Of three traces of two calls each the newest two, where the sums of one are not kept yet."""
    for trace in (1, 2, 3):
        rig.settle(turn(2, trace), turn(3, trace))
    with rig.store.write() as transaction:
        transaction.execute("DELETE FROM trace_sums WHERE trace_no = 3")
    found, traces = too_much(rig)
    assert (found.choice.chosen, found.calls, found.cost_pico) == ("newest", 4, 4 * COST)
    assert traces == {trace_id(2), trace_id(3)}
