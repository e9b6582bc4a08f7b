"""Log records and spans of one session find each other across traces, whichever comes first, and without chaining long sessions."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from empty_ledgers import empty_store
from journal_rows import Sender, row
from ledger_rig import Rig, call
from test_neighbours import sets, usage

from otel_finops.base.limits import NEIGHBOUR_TRACES_MAX
from otel_finops.genai.sighting import RANK_LOG, Sighting
from otel_finops.ledger.call_keys import SESSION_BUCKET, keys_of
from otel_finops.store.engine import Store

SESSION: dict[str, Any] = {"attribution": {"session": "s"}}
SPAN: dict[str, Any] = {"dialect": "claude_code", "scope": "tracing", **SESSION}
LOG: dict[str, Any] = {"rank": RANK_LOG, "scope": "request of events", **SESSION}


@pytest.fixture
def sender(store: Store) -> Sender:
    return Sender(store)


def test_a_record_leads_to_its_sessions_first_span_and_that_span_to_all_records(sender: Sender) -> None:
    """Traces 1 and 2 hold spans, 3 to 5 records, with other numbers, an hour and more later; 6 is of another session."""
    sender.send(
        row(1, 1, **SPAN, **usage(1, 1)),
        row(2, 2, start_s=60, **SPAN, **usage(2, 2)),
        *(row(trace, trace, start_s=3600 * trace, **LOG, **usage(trace, trace)) for trace in (3, 4, 5)),
        row(6, 6, start_s=99, **LOG | {"attribution": {"session": "t"}}, **usage(6, 6)),
    )
    assert sets(sender, 5) == [[1, 3, 5]]  # the first span, and from there the first record
    assert sets(sender, 1) == [[1, 3, 4, 5]]  # records that were decided without the first span must be decided again
    assert sets(sender, 2) == [[1, 2, 3]]  # the first record, and from there the first span
    assert sets(sender, 6) == [[6]]


def test_sessions_join_nothing_without_both_sources(sender: Sender) -> None:
    sender.send(*[row(trace, trace, start_s=trace, **SPAN, **usage(trace, 1)) for trace in range(10, 15)])
    sender.send(*[row(trace, trace, start_s=trace, **LOG | {"instance": "other"}, **usage(trace, 1)) for trace in range(20, 25)])
    assert sets(sender, 10, 11, 20, 21) == [[10], [11], [20], [21]]


def test_applications_that_write_no_such_records_have_no_session_keys() -> None:
    assert [key.bucket for key in keys_of(call(1, attribution={"session": "s"})) if key.bucket == SESSION_BUCKET] == []
    assert [key.bucket for key in keys_of(call(1, usage={}, **SPAN)) if key.bucket == SESSION_BUCKET] == []  # it carries no usage
    assert [key.bucket for key in keys_of(call(1, usage={}, **LOG)) if key.bucket == SESSION_BUCKET] == [SESSION_BUCKET]
    assert [key.bucket for key in keys_of(call(1, **LOG | {"attribution": {}})) if key.bucket == SESSION_BUCKET] == []


def test_a_record_is_found_by_the_output_with_and_without_reasoning(sender: Sender) -> None:
    thought = {"usage": {"input_uncached": 10, "output": 733, "reasoning": 512}, "input_readings": (10,)}
    nobody: dict[str, Any] = {"attribution": {}}
    sender.send(row(1, 1, **SPAN | nobody, **usage(10, 221)), row(2, 2, **LOG | nobody, **thought))
    assert sets(sender, 1) == sets(sender, 2) == [[1, 2]]


def test_a_long_session_stays_bounded(sender: Sender) -> None:
    """300 interactions, each in a trace of its own with a span and its record."""
    for trace in range(1, 301):
        numbers = {"start_s": 60 * trace, **usage(1000 + trace, trace)}
        sender.send(row(trace, trace, **SPAN, **numbers), row(trace, 1000 + trace, **LOG, **numbers))
    assert sets(sender, 300) == [[1, 300]]
    assert sets(sender, 150, 151) == [[1, 150, 151]]
    [first] = sets(sender, 1)
    assert len(first) == NEIGHBOUR_TRACES_MAX


def session() -> list[Sighting]:
    """Three calls in two traces of spans; records of two of them and of a fourth, in a third and a fourth trace; a turn's sum."""
    return [
        call(1, trace=1, at_s=10, usage={"input_uncached": 100, "output": 10}, **SPAN),
        call(2, trace=2, at_s=5000, usage={"input_uncached": 200, "output": 20}, **SPAN),
        call(3, trace=2, at_s=5100, usage={"input_uncached": 300, "output": 30}, **SPAN),
        call(11, trace=3, at_s=11, usage={"input_uncached": 100, "output": 10}, reported_pico=5, reported_source="cost_usd", **LOG),
        call(13, trace=3, at_s=5100, usage={"input_uncached": 300, "output": 30}, **LOG),
        call(14, trace=4, at_s=9000, usage={"input_uncached": 400, "output": 40}, **LOG),
    ]


def test_the_ledger_is_the_same_whatever_came_first(tmp_path: Path) -> None:
    """Each span and record is delivered and settled alone, in many orders."""
    dumps = []
    for seed in range(12):
        store = empty_store(f"sqlite:///{tmp_path / f'{seed}.db'}")
        rig = Rig(store)
        parts = session()
        random.Random(seed).shuffle(parts)
        for part in parts:
            rig.settle(part)
        dumps.append([{**entry, "entry_id": None} for entry in rig.canonical()])
        net = rig.net()
        assert {span: entry.role for span, entry in net.items() if entry.role == "call"} == {
            f"{number:016x}": "call" for number in (1, 2, 3)
        }
        assert net[f"{14:016x}"].counted_in is None
        assert net[f"{1:016x}"].reported_source == "cost_usd"
        store.close()
    assert all(dump == dumps[0] for dump in dumps)
