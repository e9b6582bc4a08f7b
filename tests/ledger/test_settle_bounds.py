"""Settling under its bounds: one trace with a fault keeps nobody waiting, and what finds no room in a round is not charged meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from ledger_rig import Rig, call, trace_id

from otel_finops.base.errors import Unavailable
from otel_finops.base.limits import NEIGHBOUR_TRACES_MAX
from otel_finops.genai import roles
from otel_finops.genai.sighting import Decision, Sighting
from otel_finops.ledger import settle
from otel_finops.store.engine import Store


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


def test_a_trace_that_cannot_be_decided_is_put_aside_and_the_others_settle(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fragile(sightings: Iterable[Sighting]) -> list[Decision]:
        seen = list(sightings)
        if any(sighting.trace_id == trace_id(4) for sighting in seen):
            raise ZeroDivisionError("with content that must not reach the log")
        return roles.decide(seen)

    monkeypatch.setattr(settle, "decide", fragile)
    rig.send(*(call(trace, trace) for trace in range(1, 9)))
    rig.settle()
    assert {entry.trace_id for entry in rig.entries()} == {trace_id(trace) for trace in (1, 2, 3, 5, 6, 7, 8)}
    assert rig.settler.parked == 1
    assert f"trace {trace_id(4)} cannot be settled" in caplog.text
    assert "content" not in caplog.text

    monkeypatch.setattr(settle, "decide", roles.decide)
    assert rig.settle() == []
    rig.clock.advance(settle.PARKED_S)
    [entry] = rig.settle()
    assert (entry.trace_id, rig.settler.parked) == (trace_id(4), 0)


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(), Unavailable("the database is away")])
def test_a_fault_of_the_machine_is_no_traces_fault(rig: Rig, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(sightings: Iterable[Sighting]) -> list[Decision]:
        raise error

    rig.send(call(1, 1), call(2, 2))
    monkeypatch.setattr(settle, "decide", broken)
    with pytest.raises(type(error)):
        rig.settle()
    assert rig.settler.parked == 0

    monkeypatch.setattr(settle, "decide", roles.decide)
    assert len(rig.settle()) == 2


def test_of_one_answer_given_again_and_again_one_is_charged_however_many_come_at_once(rig: Rig) -> None:
    copies = NEIGHBOUR_TRACES_MAX + 44
    rig.send(*(call(n, n, response_id="cached", at_s=10 * n) for n in range(1, copies + 1)))
    rig.settle()
    assert len(rig.net()) == copies
    assert [entry.span_id for entry in rig.net().values() if entry.role == "call"] == [f"{1:016x}"]
    assert rig.total() == 3_500_000_000
