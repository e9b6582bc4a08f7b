"""How work came out: whose calls an outcome bears, and what each success cost."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_rig import CENT, call, plain, span_id

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import OUTCOME_KINDS_OF_TRACE_MAX
from otel_finops.genai.sighting import AGENT, SaidOutcome, Sighting
from otel_finops.insight.outcome_report import report_of
from otel_finops.insight.outcomes import UNKNOWN, Outcome, Said, Share, Tally, said_of, shares
from otel_finops.ledger.entry import Entry
from otel_finops.testing import NOON

WELL, BADLY = SaidOutcome(True, "task"), SaidOutcome(False, "task")


def booked(sighting: Sighting, pico: int | None = 1000, **more: Any) -> Entry:
    """A call's entry of 10 tokens."""
    known: dict[str, Any] = {"provider": "openai", "request_model": "gpt-4o", "usage": {"output": 10}, "cost_pico": pico}
    return Entry(
        "charge", "default", sighting.attribution.get("tenant", "default"), sighting.trace_id, sighting.span_id, sighting.parent_span_id,
        "call", sighting.start_ns, **{**known, **more},
    )  # fmt: skip


def told(*spans: Sighting, costs: dict[int, int | None] | None = None, **more: Any) -> dict[int, Said]:
    """What a trace tells, by the spans' numbers; its calls cost 1000 pico-USD unless said otherwise."""
    standing = {
        one.span_id: booked(one, (costs or {}).get(int(one.span_id, 16), 1000), **more.get(f"call_{int(one.span_id, 16)}", {}))
        for one in spans
        if one.kind == "call"
    }
    return {int(said.span_id, 16): said for said in said_of(spans, standing)}


def agent(number: int, parent: int | None = None, **more: Any) -> Sighting:
    return plain(number, parent=parent, kind=AGENT, genai=True, attribution={"agent": f"agent {number}"}, **more)


def test_an_agents_outcome_bears_everything_below_it() -> None:
    found = told(agent(1, outcome=WELL), plain(2, parent=1), call(3, parent=2), call(4, parent=1))
    assert found[1] == Said(
        span_id(1), "default", NOON + 9 * 10**9, "task", True, "agent 1", None, None, None, ("openai", "gpt-4o"), Share(2, 0, 0, 20, 2000)
    )


def test_the_only_outcome_of_a_trace_bears_all_of_it() -> None:
    """Attempt 1 fails and tells nothing, attempt 2 tells a success: it was paid for with both."""
    found = told(plain(1), agent(2, parent=1), call(3, parent=2), agent(4, parent=1, outcome=WELL), call(5, parent=4))
    assert found[4].share == Share(2, 0, 0, 20, 2000)


def test_outcomes_beside_each_other_share_what_lies_below_neither() -> None:
    """Of the router's call of 1001 the first bears 501 and the call, the second 500 and the tokens' other half: 10 = 5 + 5."""
    spans = plain(1), call(2, parent=1), agent(3, parent=1, outcome=BADLY), call(4, parent=3), agent(5, parent=1, outcome=WELL)
    found = told(*spans, call(6, parent=5), costs={2: 1001})
    assert found[3].share == Share(2, 0, 0, 15, 1501)
    assert found[5].share == Share(1, 0, 0, 15, 1500)


def test_an_outcome_within_another_is_paid_once() -> None:
    """The planner succeeds with a researcher that failed: its own call is its own, the researcher's the researcher's."""
    found = told(agent(1, outcome=WELL), call(2, parent=1), agent(3, parent=1, outcome=BADLY), call(4, parent=3), costs={2: 7, 4: 5})
    assert (found[1].share.pico, found[3].share.pico) == (7, 5)


def test_another_kind_of_outcome_counts_the_trace_once_more() -> None:
    found = told(agent(1, outcome=WELL), agent(2, parent=1, outcome=SaidOutcome(True, "searched")), call(3, parent=2))
    assert (found[1].share.pico, found[2].share.pico) == (1000, 1000)


def test_failed_and_unpriced_calls_are_told() -> None:
    found = told(agent(1, outcome=WELL), call(2, parent=1), call(3, parent=1), costs={3: None}, call_2={"error_type": "500"})
    assert found[1].share == Share(2, 1, 1, 20, 1000)


def test_several_models_are_nobodys() -> None:
    found = told(agent(1, outcome=WELL), call(2, parent=1), call(3, parent=1), call_3={"request_model": "gpt-4o-mini"})
    assert found[1].made_by == UNKNOWN
    assert told(agent(1, outcome=WELL))[1].made_by == UNKNOWN


def test_other_tenants_calls_are_not_borne() -> None:
    theirs = call(3, parent=1, attribution={"tenant": "globex"})
    found = told(plain(1, attribution={"tenant": "acme"}, outcome=WELL), call(2, parent=1, attribution={"tenant": "acme"}), theirs)
    assert (found[1].tenant, found[1].share.calls) == ("acme", 1)


def test_kinds_beyond_the_limit_are_left_out() -> None:
    spans = [plain(number, outcome=SaidOutcome(True, f"kind {number}")) for number in range(1, OUTCOME_KINDS_OF_TRACE_MAX + 9)]
    assert len(told(*spans)) == OUTCOME_KINDS_OF_TRACE_MAX


def test_parents_in_a_circle() -> None:
    found = told(agent(1, parent=2, outcome=WELL), plain(2, parent=1), call(3, parent=2))
    assert found[1].share.calls == 1


def test_chains_and_crowds_take_no_long_time() -> None:
    """100,000 spans each below the one before it, and each telling an outcome."""
    size = 100_000
    chain = [plain(number, parent=number - 1 or None, outcome=WELL) for number in range(1, size)]
    began = perf_counter()
    found = said_of([*chain, call(size, parent=size - 1)], {span_id(size): booked(call(size, parent=size - 1))})
    assert perf_counter() - began < 20
    assert len(found) == size - 1
    assert [said.span_id for said in found if said.share.pico] == [span_id(size - 1)]


@given(st.tuples(*[st.integers(0, 10**30)] * 5), st.integers(1, 50))
def test_parts_add_up(amounts: tuple[int, ...], parts: int) -> None:
    found = shares(Share(*amounts), parts)
    assert tuple(map(sum, zip(*found, strict=True))) == amounts
    assert max(one.pico for one in found) - min(one.pico for one in found) <= 1


# --- sums ------------------------------------------------------------------------------------------------------------


def outcome(success: bool, pico: int | None, **more: Any) -> Outcome:
    known: dict[str, Any] = {"tenant": "acme", "trace_id": "t", "span_id": None, "name": "task", "at_ns": NOON, "agent": None,
                             "workflow": None, "service": None, "environment": None, "made_by": UNKNOWN}  # fmt: skip
    share = None if pico is None else Share(1, 0, 0, 10, pico)
    return Outcome(**{**known, "success": success, "share": share, **more})


def test_failures_are_paid_by_successes() -> None:
    """0.02 USD an attempt of which every second one succeeds: 0.04 for each success."""
    total = report_of([outcome(number % 2 == 0, 2 * CENT) for number in range(10)]).total
    assert (total.attempts, total.successes, total.per_attempt, total.per_success) == (10, 5, 2 * CENT, 4 * CENT)
    assert (total.whole.pico, total.failed.pico) == (20 * CENT, 10 * CENT)


def test_without_success_there_is_no_price_of_one() -> None:
    assert report_of([outcome(False, 7)]).total.per_success is None
    assert Tally().per_attempt is None


def test_outcomes_without_cost_are_told_and_not_counted() -> None:
    report = report_of([outcome(True, None), outcome(True, 4)])
    assert (report.without_cost, report.total.attempts, report.total.per_success) == (1, 1, 4)


def test_groups_are_dearest_first() -> None:
    rows = [outcome(True, 4, agent="a"), outcome(False, 9, agent="b"), outcome(True, 1, agent="a")]
    assert [(key, tally.whole.pico) for key, tally in report_of(rows, ("agent",)).groups] == [(("b",), 9), (("a",), 5)]
    assert [key for key, _ in report_of(rows, ("day", "name")).groups] == [("2026-11-21", "task")]
    with pytest.raises(BadInput, match="cannot be grouped by 'colour'; use one of name, tenant"):
        report_of(rows, ("colour",))
