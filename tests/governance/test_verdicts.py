"""What guardrails in applications said: which calls it is about, what these cost, and the report over both ways of telling."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import CENT, PRICES, Rig, call, plain

from otel_finops.genai.sighting import AGENT, GuardrailVerdict
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.decide import Estimate, Verdict
from otel_finops.governance.guardrails import BLOCKED, FLAGGED, UNANSWERED, record
from otel_finops.governance.rulings import Reason
from otel_finops.governance.verdicts import Asked, GuardrailDesk, Told, Verdicts
from otel_finops.ledger.settle import Settler
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

COST = 35 * CENT // 100
"""What the rig's call costs: 0.0035 USD."""
FLAG = GuardrailVerdict("flag", "pii", "an address")
DENY = GuardrailVerdict("block", "Model Armor", "deny")


@pytest.fixture
def rig(store: Store) -> Rig:
    made = Rig(store)
    made.settler = Settler(
        store, made.leases, PRICES, [made.rollups], made.clock, sleep=made.clock.advance, recent=made.recent,
        trace_projections=[Verdicts()],
    )  # fmt: skip
    return made


def rows(store: Store) -> list[tuple[str, str | None, str, str]]:
    """Span, call, guardrail and verdict of all that is kept; spans and calls as small numbers."""
    with store.read() as transaction:
        found = transaction.execute("SELECT span_id, call_span_id, guardrail, verdict FROM guardrail_verdicts ORDER BY trace_no, span_id")
    return [(_number(span), None if of is None else _number(of), guardrail, verdict) for span, of, guardrail, verdict in found]


def _number(span_id: Any) -> str:
    return bytes(span_id).hex().lstrip("0")


def told(store: Store, *tenants: str) -> list[Told]:
    return list(GuardrailDesk(store).report(tenants or None, None, None).told)


def test_a_call_that_bears_a_verdict(rig: Rig) -> None:
    rig.settle(call(1, guardrail=FLAG), call(2))
    assert rows(rig.store) == [("1", "1", "pii", "flag")]
    assert told(rig.store) == [Told("pii", "flag", 1, 1, COST)]


def test_a_guardrail_below_its_call(rig: Rig) -> None:
    rig.settle(call(1), plain(2, parent=1, guardrail=DENY), plain(3, parent=2, guardrail=FLAG))
    assert rows(rig.store) == [("2", "1", "Model Armor", "block"), ("3", "1", "pii", "flag")]


def test_a_guardrail_beside_calls_is_about_the_nearest(rig: Rig) -> None:
    """Under one agent: a call at 0 s, the guardrail from 3 to 4 s, calls at 5 and 9 s."""
    second = 10**9
    guard = plain(7, parent=1, start_ns=NOON + 3 * second, end_ns=NOON + 4 * second, genai=True, guardrail=DENY)
    rig.settle(plain(1, kind=AGENT, genai=True), call(2, parent=1), call(3, parent=1, at_s=5), call(4, parent=1, at_s=9), guard)
    assert rows(rig.store) == [("7", "3", "Model Armor", "block")]


def test_a_verdict_on_a_duplicate_is_about_the_call_that_is_charged(rig: Rig) -> None:
    """The framework's span says it, the client's below it is charged."""
    rig.settle(call(1, scope="framework", rank=2, response_id="r1", guardrail=FLAG), call(2, parent=1, response_id="r1"))
    [standing] = [entry for entry in rig.net().values() if entry.role == "call"]
    assert rows(rig.store) == [("1", standing.span_id.lstrip("0"), "pii", "flag")]
    assert told(rig.store) == [Told("pii", "flag", 1, 1, COST)]


def test_a_verdict_about_no_known_call_is_counted_all_the_same(rig: Rig) -> None:
    rig.settle(plain(1, genai=True, attribution={"tenant": "acme"}), plain(2, parent=1, genai=True, guardrail=DENY), call(3, trace=2))
    assert told(rig.store, "acme") == [Told("Model Armor", "block", 1, 0, 0)]
    assert told(rig.store, "globex") == []


def test_an_answer_that_the_provider_ended_is_told_once(rig: Rig) -> None:
    ended: dict[str, Any] = {"finish_reasons": ("content_filter",), "response_id": "r1"}
    rig.settle(call(1, scope="framework", rank=2, **ended), call(2, parent=1, **ended), call(3, trace=2, finish_reasons=("stop",)))
    assert told(rig.store) == [Told("provider", "block", 1, 1, COST)]


def test_late_spans_make_the_rows_anew(rig: Rig) -> None:
    rig.settle(plain(1, genai=True), plain(2, parent=1, genai=True, guardrail=DENY))
    assert rows(rig.store) == [("2", None, "Model Armor", "block")]
    rig.settle(call(3, parent=1))
    assert rows(rig.store) == [("2", "3", "Model Armor", "block")]
    rig.settle(
        call(3, parent=1, usage={"input_uncached": 2000, "output": 200}, end_ns=NOON + 2 * 10**9)
    )  # a further version, twice as dear
    assert told(rig.store) == [Told("Model Armor", "block", 1, 1, 2 * COST)]


def test_traces_without_verdicts_leave_no_rows(rig: Rig) -> None:
    rig.settle(call(1), plain(2))
    rig.settle(call(3))
    assert rows(rig.store) == []


# --- asked by decisions --------------------------------------------------------------------------------------------


def decided(store: Store, number: int, *reasons: Reason, tenant: str = "acme", pico: int | None = COST, observed: bool = False) -> None:
    call_ = GovernedCall(tenant=tenant, pico=pico)
    verdict = Verdict(None, reasons, observed, call_, Estimate(pico, "given"))
    with store.write() as transaction:
        record(transaction, f"d{number}", call_, NOON + number, verdict)


def test_the_report_tells_what_was_flagged_blocked_and_not_answered(store: Store) -> None:
    flag = Reason("guardrail", "allow", "pii", None, "flagged", {FLAGGED: "1"})
    block = Reason("guardrail", "block", "pii", None, "blocked", {BLOCKED: "1"})
    silent = Reason("guardrail", "allow", "topics", None, "no answer", {UNANSWERED: "1"})
    decided(store, 1, flag, silent)
    decided(store, 2, flag, pico=None)
    decided(store, 3, block)
    decided(store, 4, block, observed=True)
    decided(store, 5, block, tenant="globex")
    decided(store, 6, Reason("policy", "block", "large calls", "7", "no guardrail"))
    desk = GuardrailDesk(store)
    assert list(desk.report(("acme",), None, None).asked) == [
        Asked("pii", "blocked", True, False, 1, 1, COST),
        Asked("pii", "blocked", True, True, 1, 1, COST),
        Asked("pii", "flagged", False, False, 2, 1, COST),
        Asked("topics", "unanswered", False, False, 1, 1, COST),
    ]
    assert sum(one.calls for one in desk.report(None, None, None).asked) == 6
    assert [one.calls for one in desk.report(None, NOON + 3, NOON + 5).asked] == [1, 1]
    assert list(desk.report((), None, None).asked) == []
