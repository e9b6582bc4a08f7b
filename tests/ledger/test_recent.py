"""Traces kept in memory are what the journal holds, or are not found."""

from __future__ import annotations

import random

import pytest
from journal_rows import SECOND, agent_trace, hex_trace, row, sighting

from otel_finops.base.limits import RECENT_SPANS_MAX
from otel_finops.genai.sighting import OTHER, Sighting
from otel_finops.ledger.journal import JournalRow, record, standing_traces, trace_states
from otel_finops.ledger.recent import Growth, RecentTraces
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store
from otel_finops.testing import CountingIds, FakeClock


class Writer:
    """One process that journals; `kept` tells of each trace in the ledger whether it is found, and that it is right."""

    def __init__(self, store: Store, recent: RecentTraces | None = None) -> None:
        self.store = store
        self.recent = recent or RecentTraces()
        self.subjects = Subjects(CountingIds(), FakeClock())

    def send(self, *rows: JournalRow) -> None:
        with self.store.write() as transaction:
            record(transaction, rows, now_ns=FakeClock().now_ns(), settle_after_ns=5 * SECOND, subjects=self.subjects, recent=self.recent)

    def kept(self) -> dict[int, bool]:
        with self.store.read() as transaction:
            numbers = [number for (number,) in transaction.execute("SELECT trace_no FROM traces")]
            read = {state.trace_no: sightings for state, sightings in standing_traces(transaction, numbers)}
            states = trace_states(transaction, numbers)
        found = {int(state.trace_id, 16): self.recent.find(state.trace_no, state.version, state.trace_id) for state in states}
        for state in states:
            kept = found[int(state.trace_id, 16)]
            assert kept is None or kept == read[state.trace_no]
        return {trace: kept is not None for trace, kept in found.items()}


@pytest.fixture
def writer(store: Store) -> Writer:
    return Writer(store)


def test_a_trace_is_kept_as_the_journal_holds_it_with_references_for_people(writer: Writer) -> None:
    writer.send(*agent_trace(1), *agent_trace(2))
    assert writer.kept() == {1: True, 2: True}


def test_spans_that_come_later_are_added(writer: Writer) -> None:
    rows = agent_trace(1, calls=5)
    random.Random(7).shuffle(rows)
    for one in rows:
        writer.send(one)
    writer.send(*rows)
    assert writer.kept() == {1: rows[0].sighting.genai}


def test_a_further_version_of_a_span_makes_the_trace_be_read(writer: Writer) -> None:
    writer.send(*agent_trace(1), *agent_trace(2))
    writer.send(row(1, 1001, lasts_s=30))
    writer.send(row(3, 3), row(3, 3, lasts_s=2))
    assert writer.kept() == {1: False, 2: True, 3: False}


def test_what_another_process_added_makes_the_trace_be_read(store: Store) -> None:
    one, other = Writer(store), Writer(store)
    one.send(*agent_trace(1))
    other.send(row(1, 5))
    assert (one.kept(), other.kept()) == ({1: False}, {1: False})
    one.send(row(1, 6))
    assert one.kept() == {1: False}


def test_what_is_rolled_back_is_not_kept(writer: Writer) -> None:
    def fail() -> None:
        with writer.store.write() as transaction:
            record(transaction, agent_trace(1), now_ns=0, settle_after_ns=0, subjects=writer.subjects, recent=writer.recent)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert writer.recent.find(1, 1, hex_trace(1)) is None


def test_traces_without_any_genai_span_take_no_room(writer: Writer) -> None:
    """They are never settled, and their numbers may be given to other traces once they are pruned."""
    writer.send(row(1, 1, kind=OTHER))
    assert writer.kept() == {1: False}


def spans(trace: int, count: int) -> list[Sighting]:
    return [sighting(trace, span) for span in range(count)]


def test_the_least_recently_used_go_first_and_memory_is_bounded() -> None:
    recent = RecentTraces(spans_max=10)
    recent.grow(Growth(trace, hex_trace(trace), 0, spans(trace, 4)) for trace in (1, 2))
    assert recent.find(1, 1, hex_trace(1)) is not None
    recent.keep(3, 7, spans(3, 4))
    assert [recent.find(trace, version, hex_trace(trace)) is not None for trace, version in ((1, 1), (2, 1), (3, 7))] == [True, False, True]
    recent.keep(4, 1, spans(4, 11))
    assert recent.find(4, 1, hex_trace(4)) is None
    assert recent.find(1, 1, hex_trace(1)) is not None
    assert RECENT_SPANS_MAX < 100_000


def test_what_is_settled_makes_room() -> None:
    recent = RecentTraces(spans_max=8)
    recent.grow(Growth(trace, hex_trace(trace), 0, spans(trace, 4)) for trace in (1, 2))
    recent.forget([1, 9])
    recent.keep(3, 1, spans(3, 4))
    assert [recent.find(trace, 1, hex_trace(trace)) is not None for trace in (1, 2, 3)] == [False, True, True]


def test_a_number_that_was_given_to_another_trace_finds_nothing() -> None:
    recent = RecentTraces()
    recent.keep(1, 1, spans(1, 2))
    assert recent.find(1, 1, hex_trace(2)) is None
    recent.grow([Growth(1, hex_trace(2), 1, spans(2, 1))])
    assert recent.find(1, 2, hex_trace(2)) is None
