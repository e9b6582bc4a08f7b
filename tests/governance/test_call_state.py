"""What a trace or a session came to so far: booked, pending, and held for calls that are being made, none of it twice."""

from __future__ import annotations

import pytest
from ledger_rig import Rig, call, plain, trace_id

from otel_finops.base.money import PICO_PER_USD
from otel_finops.genai.sighting import AGENT
from otel_finops.governance.call_state import CallStates, CallsUnderWay, NotedCalls, NotKept, TraceState
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.projections import projections
from otel_finops.governance.reservations import Reservations
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.subjects import SubjectKind
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store

MILLI = PICO_PER_USD // 1000
COST = 3_500_000_000
"""Of one call of the rig: 0.0035 USD, 1,100 tokens."""
ALL = frozenset(("cost_usd", "calls", "tokens", "calls_per_minute", "cost_usd_per_minute", "depth"))
SUMS = frozenset(("cost_usd", "calls", "tokens"))


class Governed(Rig):
    """A ledger whose reservations note calls, as the service puts it together."""

    def __init__(self, store: Store, *, asked: bool = True) -> None:
        super().__init__(store)
        kept = projections(Settings(), store, self.clock)
        assert any(isinstance(one, NotedCalls) for one in kept)
        self.settler = Settler(
            store, self.leases, self.settler._engine, [Rollups(), *kept], self.clock, sleep=self.clock.advance, recent=self.recent,
            trace_projections=[self.figures],
        )  # fmt: skip
        self.reservations = Reservations([CallsUnderWay(lambda: asked)], 600 * 10**9, 900 * 10**9)
        self.states = CallStates(self.clock, figures=True)

    def hold(self, reservation_id: str, asked: GovernedCall) -> None:
        with self.store.write() as transaction:
            now_ns = self.clock.now_ns()
            self.reservations.make(transaction, asked._replace(at_ns=now_ns), reservation_id, now_ns)

    def trace(self, asked: GovernedCall, fields: frozenset[str] = ALL) -> TraceState:
        with self.store.read() as transaction:
            return self.states.trace(transaction, asked, fields)

    def session(self, asked: GovernedCall, fields: frozenset[str] = ALL) -> TraceState:
        with self.store.read() as transaction:
            return self.states.session(transaction, asked, fields)

    def ref(self, realm: str, kind: SubjectKind, clear: str) -> str:
        with self.store.write() as transaction:
            return self.subjects.refs(transaction, realm, kind, [clear])[clear]


@pytest.fixture
def rig(store: Store) -> Governed:
    return Governed(store)


ASKED = GovernedCall(trace=trace_id(1), pico=2 * MILLI, tokens=500)


def test_nothing_is_known_of_a_call_without_trace_and_session(rig: Governed) -> None:
    assert rig.trace(GovernedCall()) == TraceState() == rig.session(GovernedCall())


def test_a_call_is_counted_once_from_its_decision_until_it_is_booked(rig: Governed) -> None:
    rig.hold("r1", ASKED)
    held = TraceState(2 * MILLI, 1, 500, 1, 2 * MILLI, 0)
    assert rig.trace(ASKED) == held

    rig.send(call(1, attribution={"reservation": "r1"}))  # pending and held: one call, the larger amount
    assert rig.trace(ASKED, SUMS) == TraceState(COST, 1, 500)

    rig.settle()
    assert rig.trace(ASKED, SUMS) == TraceState(COST, 1, 1100)
    assert rig.trace(ASKED, frozenset({"calls_per_minute"})).calls_of_minute == 1  # it was let through within the minute all the same
    rig.clock.advance(61)
    assert rig.trace(ASKED, frozenset({"calls_per_minute"})).calls_of_minute == 0


def test_booked_pending_and_held_of_different_calls_add_up(rig: Governed) -> None:
    rig.settle(call(1), call(2))
    rig.hold("r1", ASKED)
    rig.hold("r2", ASKED)
    assert rig.trace(ASKED, SUMS) == TraceState(2 * COST + 4 * MILLI, 4, 2200 + 1000)


def test_settling_turns_and_releasing_takes_back(rig: Governed) -> None:
    rig.hold("r1", ASKED)
    with rig.store.write() as transaction:
        rig.reservations.settle(transaction, "r1", 7 * MILLI, 90, rig.clock.now_ns(), None)
    assert rig.trace(ASKED, SUMS) == TraceState(7 * MILLI, 1, 90)
    with rig.store.write() as transaction:
        rig.reservations.release(transaction, "r1", rig.clock.now_ns(), None)
    assert rig.trace(ASKED, SUMS) == TraceState()


def test_a_trace_is_its_tenants_alone(rig: Governed) -> None:
    rig.settle(call(1, attribution={"tenant": "acme"}), call(2, attribution={"tenant": "globex"}))
    rig.hold("r1", ASKED._replace(tenant="globex"))
    assert rig.trace(ASKED._replace(tenant="acme"), SUMS) == TraceState(COST, 1, 1100)
    assert rig.trace(ASKED._replace(tenant="globex"), SUMS) == TraceState(COST + 2 * MILLI, 2, 1600)


def test_spans_of_a_shared_credential_are_found_from_the_tenants_own(rig: Governed) -> None:
    rig.settle(call(1, attribution={"tenant": "acme"}))  # realm `default`
    assert rig.trace(ASKED._replace(tenant="acme", realm="acme"), SUMS) == TraceState(COST, 1, 1100)


def test_a_session_is_all_of_its_traces_in_both_realms(rig: Governed) -> None:
    seven = {"session": "chat-7", "tenant": "acme"}
    rig.settle(call(1, trace=1, attribution=seven), call(2, trace=2, attribution=seven))
    rig.settle(call(3, trace=3, attribution={**seven, "session": "chat-8"}))
    own = GovernedCall("acme", "acme", session=rig.ref("acme", "session", "chat-7"), trace=trace_id(9), pico=MILLI, tokens=10)
    rig.hold("r1", own)
    assert rig.session(own, SUMS) == TraceState(2 * COST + MILLI, 3, 2210)


def test_agents_within_agents(rig: Governed) -> None:
    """1 (agent) > 2 (agent) > 3 (agent) > a call, and 4 (agent) beside 2."""
    agents = [
        plain(number, parent=parent, kind=AGENT, genai=True, attribution={"agent": f"a{number}"})
        for number, parent in ((1, None), (2, 1), (3, 2), (4, 1))
    ]
    rig.settle(*agents, call(9, parent=3))
    assert rig.trace(ASKED, frozenset({"depth"})).depth == 3
    assert rig.trace(ASKED._replace(trace=trace_id(2)), frozenset({"depth"})).depth == 0


def test_nothing_is_noted_while_nobody_asks(store: Store) -> None:
    rig = Governed(store, asked=False)
    rig.hold("r1", ASKED)
    assert rig.trace(ASKED, SUMS) == TraceState()


def test_what_is_over_does_not_stay(rig: Governed) -> None:
    for number in range(8):
        rig.hold(f"r{number}", ASKED)
        with rig.store.write() as transaction:
            rig.reservations.release(transaction, f"r{number}", rig.clock.now_ns(), None)
    rig.clock.advance(61)
    for number in range(8, 10):
        rig.hold(f"r{number}", ASKED)
    with rig.store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM policy_calls") == [(2,)]  # each new one sweeps four


def test_sums_that_are_not_kept_are_not_guessed(store: Store) -> None:
    rig = Governed(store)
    rig.states = CallStates(rig.clock, figures=False)
    with pytest.raises(NotKept):
        rig.trace(ASKED, frozenset({"calls"}))
    assert rig.trace(ASKED, frozenset({"calls_per_minute"})) == TraceState()
