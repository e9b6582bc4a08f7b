"""The journal: each span once, versions chosen by content, traces due and pending, subjects pseudonymous."""

from __future__ import annotations

import threading
from itertools import permutations

import pytest
from journal_rows import SECOND, Sender, agent_trace, hex_span, hex_trace, row

from otel_finops.genai.sighting import OTHER
from otel_finops.ledger.journal import (
    JournalRow,
    Recorded,
    clear_due,
    due_traces,
    find_trace,
    pending,
    prune_skeletons,
    record,
    record_batches,
    standing_sightings,
    trace_states,
    traces_with_id,
)
from otel_finops.ledger.shards import shard_of
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

SHARD = shard_of("default")


@pytest.fixture
def sender(store: Store) -> Sender:
    return Sender(store)


def due_now(sender: Sender, after_s: float = 0) -> list[str]:
    with sender.store.read() as transaction:
        return [state.trace_id for state in due_traces(transaction, SHARD, sender.clock.now_ns() + round(after_s * SECOND), 100)]


def standing_outputs(sender: Sender, trace: int) -> dict[str, int]:
    with sender.store.read() as transaction:
        state = find_trace(transaction, "default", hex_trace(trace))
        assert state is not None
        found = standing_sightings(transaction, [state.trace_no])[state.trace_no]
    return {seen.span_id: seen.usage.get("output", 0) for seen in found}


def test_spans_are_journalled_once(sender: Sender) -> None:
    rows = agent_trace(1) + agent_trace(2)
    assert sender.send(*rows) == Recorded(14, 0, 0)
    assert sender.send(*rows) == Recorded(0, 14, 0)
    assert sender.send(*rows, *rows, *agent_trace(3)) == Recorded(7, 28, 0)
    assert sender.query("SELECT COUNT(*) FROM journal") == [(21,)]


def test_one_batch_sent_a_hundred_times_from_eight_connections(sender: Sender) -> None:
    rows = [journalled for trace in range(20) for journalled in agent_trace(trace + 1)]
    results: list[Recorded] = []

    def send(times: int) -> None:
        results.extend(sender.send(*rows) for _ in range(times))

    threads = [threading.Thread(target=send, args=(times,)) for times in (13, 13, 13, 13, 12, 12, 12, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 100
    assert sum(result.journalled for result in results) == len(rows) == 140
    assert sum(result.duplicates for result in results) == 99 * 140
    assert sender.query("SELECT COUNT(*), COUNT(DISTINCT span_id) FROM journal") == [(140, 140)]
    assert sender.query("SELECT COUNT(*) FROM traces") == [(20,)]
    assert sender.query("SELECT * FROM counters") == []
    assert sender.query("SELECT COUNT(*) FROM subjects") == [(21,)]


def test_another_content_is_a_further_version_and_the_latest_end_stands(sender: Sender) -> None:
    early, late = row(1, 1), row(1, 1, lasts_s=2, usage={"input_uncached": 10, "output": 3})
    assert sender.send(early) == Recorded(1, 0, 0)
    assert sender.send(late, late) == Recorded(1, 1, 1)
    assert standing_outputs(sender, 1) == {hex_span(1): 3}
    assert sender.send(early, late) == Recorded(0, 2, 0)
    assert sender.query("SELECT name, value FROM counters") == [("conflicts", 1)]


def test_which_version_stands_does_not_depend_on_the_order_of_arrival(sender: Sender) -> None:
    """Equal ends: the most output stands; equal output too: the greatest hash."""
    versions = [row(0, 1, usage={"input_uncached": 10 + more, "output": output}) for output, more in ((5, 0), (9, 0), (9, 1))]
    winners = set()
    for trace, order in enumerate(permutations(versions), start=1):
        placed = [JournalRow(said._replace(trace_id=hex_trace(trace)), quote) for said, quote in order]
        assert [sender.send(one).conflicts for one in placed] == [0, 1, 1]
        with sender.store.read() as transaction:
            state = find_trace(transaction, "default", hex_trace(trace))
            assert state is not None
            [stands] = standing_sightings(transaction, [state.trace_no])[state.trace_no]
        winners.add((stands.usage["output"], stands.usage["input_uncached"]))
    assert len(winners) == 1
    assert winners < {(9, 10), (9, 11)}


def test_the_journal_is_equal_however_its_rows_are_grouped(sender: Sender) -> None:
    """T4 at the journal's level: what stands for four traces after any cutting and order is the same."""
    sender.send(*[one for trace in (1, 2) for one in agent_trace(trace)])
    cut = [one for trace in (3, 4) for one in agent_trace(trace)]
    for one in sorted(cut, key=lambda said: hash((said.sighting.span_id, 7))):
        sender.send(one)
    rows = sender.query("SELECT t.trace_id, j.span_id, j.end_ns, j.output FROM journal j JOIN traces t ON t.trace_no = j.trace_no")
    shapes = [{(span[-2:], end, output) for trace, span, end, output in rows if trace[-1] == number} for number in (1, 2, 3, 4)]
    assert [len(shape) for shape in shapes] == [7, 7, 7, 7]
    facts = sender.query("SELECT has_genai, has_root, pending_pico, pending_calls FROM traces")
    assert {tuple(map(int, fact)) for fact in facts} == {(1, 1, 3 * 72_275_000, 3)}


def test_a_trace_is_due_at_once_with_its_root_and_after_a_quiet_time_without(sender: Sender) -> None:
    sender.send(row(1, 2, parent=1))
    assert due_now(sender) == []
    sender.clock.advance(4)
    sender.send(row(1, 3, parent=1))
    assert due_now(sender, 4.9) == []
    assert due_now(sender, 5) == [hex_trace(1)]
    sender.send(row(1, 1))
    assert due_now(sender) == [hex_trace(1)]


def test_a_trace_without_genai_spans_is_never_due_until_one_comes(sender: Sender) -> None:
    sender.send(row(1, 1, kind=OTHER), row(1, 2, parent=1, kind=OTHER))
    assert due_now(sender, 10**6) == []
    sender.send(row(1, 3, parent=2))
    assert due_now(sender) == [hex_trace(1)]
    assert len(standing_outputs(sender, 1)) == 3


def test_clearing_leaves_a_trace_due_to_which_more_came(sender: Sender) -> None:
    sender.send(*agent_trace(1), *agent_trace(2))
    with sender.store.read() as transaction:
        states = due_traces(transaction, SHARD, NOON, 10)
        assert pending(transaction, None) == (6 * 72_275_000, 6)
    sender.send(row(2, 7, parent=2000))
    with sender.store.write() as transaction:
        clear_due(transaction, states)
        assert pending(transaction, None) == (4 * 72_275_000, 4)
        assert [state.booked for state in trace_states(transaction, [state.trace_no for state in states])] == [True, True]
    assert due_now(sender) == [hex_trace(2)]


def test_a_trace_that_is_never_quiet_is_due_after_a_minute(sender: Sender) -> None:
    for number in range(1, 20):
        sender.send(row(1, number, parent=99))
        sender.clock.advance(4)
    assert due_now(sender) == [hex_trace(1)]


def test_a_trace_that_grows_and_grows_is_left_to_grow_until_it_is_quiet(sender: Sender) -> None:
    sender.send(row(1, 99))
    for number in range(1, 17):
        assert due_now(sender) == [hex_trace(1)]
        sender.send(row(1, number, parent=99))
    assert due_now(sender) == []
    assert due_now(sender, 5) == [hex_trace(1)]


def test_what_was_put_off_before_the_clock_went_back_is_due(sender: Sender) -> None:
    sender.send(row(1, 1, parent=99))
    sender.clock.advance(-86_400)
    assert due_now(sender) == [hex_trace(1)]


def test_a_duplicate_makes_nothing_due(sender: Sender) -> None:
    rows = agent_trace(1)
    sender.send(*rows)
    with sender.store.write() as transaction:
        clear_due(transaction, due_traces(transaction, SHARD, NOON, 10))
    assert sender.send(*rows) == Recorded(0, 7, 0)
    assert due_now(sender, 100) == []


def test_pending_money_may_pass_what_one_column_holds(sender: Sender) -> None:
    huge = [
        JournalRow(said, quote._replace(cost_pico=2**63 - 1) if quote else None) for said, quote in (row(trace, 1) for trace in (1, 2, 3))
    ]
    sender.send(*huge)
    more = row(1, 2, parent=1)
    sender.send(JournalRow(more.sighting, huge[0].quote))
    with sender.store.read() as transaction:
        assert pending(transaction, None) == (3 * (2**63 - 1), 4)


def test_pending_of_a_tenant_is_that_of_its_own_realm(sender: Sender) -> None:
    sender.send(row(1, 1), row(2, 1, realm="acme"), row(3, 1, realm="other"))
    with sender.store.read() as transaction:
        assert pending(transaction, ["acme"]) == (72_275_000, 1)
        assert pending(transaction, ["acme", "default"]) == (72_275_000, 1)
        assert pending(transaction, []) == (0, 0)
        assert pending(transaction, ["*"]) == pending(transaction, None) == (3 * 72_275_000, 3)


def test_realms_do_not_share_traces(sender: Sender) -> None:
    assert sender.send(row(1, 1), row(1, 1, realm="acme")) == Recorded(2, 0, 0)
    with sender.store.read() as transaction:
        assert [state.realm for state in traces_with_id(transaction, hex_trace(1))] == ["acme", "default"]
        assert find_trace(transaction, "nobody", hex_trace(1)) is None


def test_users_and_sessions_are_nowhere_in_clear_but_in_their_table(sender: Sender) -> None:
    sender.send(
        row(1, 1, attribution={"user": "ann@example.com", "session": "s-1", "step": "plan"}, defaults={"user": "bob@example.com"}),
        row(1, 2, parent=1, attribution={"user": "ann@example.com"}),
    )
    payloads = b"".join(payload for (payload,) in sender.query("SELECT payload FROM journal"))
    assert b"example.com" not in payloads
    assert b"s-1" not in payloads
    assert sorted(sender.query("SELECT kind, clear FROM subjects")) == [
        ("session", "s-1"), ("user", "ann@example.com"), ("user", "bob@example.com"),
    ]  # fmt: skip
    with sender.store.read() as transaction:
        sightings = standing_sightings(transaction, [1])[1]
        refs = {seen.attribution["user"] for seen in sightings}
        assert sender.subjects.clear(transaction, refs) == {refs.pop(): "ann@example.com"}


def test_skeletons_of_traces_without_genai_are_pruned(sender: Sender) -> None:
    sender.send(row(1, 1, kind=OTHER, links=((hex_trace(9), hex_span(9)),)), row(1, 2, kind=OTHER), *agent_trace(2))
    sender.clock.advance(3600)
    sender.send(row(3, 1, kind=OTHER))
    with sender.store.write() as transaction:
        assert prune_skeletons(transaction, sender.clock.now_ns() - 1800 * SECOND, 100) == 2
        assert prune_skeletons(transaction, sender.clock.now_ns() - 1800 * SECOND, 100) == 0
    assert sender.query("SELECT COUNT(*) FROM journal") == [(8,)]
    assert sender.query("SELECT COUNT(*) FROM traces") == [(2,)]
    assert sender.query("SELECT COUNT(*) FROM trace_links") == [(0,)]
    assert sender.send(row(1, 1, kind=OTHER)) == Recorded(1, 0, 0)


def test_batches_of_one_commit_are_told_apart(sender: Sender) -> None:
    first, version = row(1, 1), row(1, 1, lasts_s=3)
    with sender.store.write() as transaction:
        recorded = record_batches(
            transaction,
            [[first, row(2, 1)], [first, version], [version]],
            now_ns=NOON, settle_after_ns=SECOND, subjects=sender.subjects,
        )  # fmt: skip
    assert recorded == [Recorded(2, 0, 0), Recorded(1, 1, 1), Recorded(0, 1, 0)]


def test_a_rolled_back_journal_leaves_nothing_behind(sender: Sender) -> None:
    """Neither rows nor a remembered reference to a subject that was never stored."""
    rows = agent_trace(1)
    with pytest.raises(ZeroDivisionError), sender.store.write() as transaction:  # noqa: PT012
        record(transaction, rows, now_ns=NOON, settle_after_ns=SECOND, subjects=sender.subjects)
        raise ZeroDivisionError
    assert sender.query("SELECT COUNT(*) FROM journal") == [(0,)]
    assert sender.send(*rows) == Recorded(7, 0, 0)
    with sender.store.read() as transaction:
        [state] = traces_with_id(transaction, hex_trace(1))
        seen = standing_sightings(transaction, [state.trace_no])[state.trace_no]
        refs = {said.attribution["user"] for said in seen if "user" in said.attribution}
        assert sender.subjects.clear(transaction, refs) == {refs.pop(): "ann"}


def test_two_writers_with_crossing_traces_do_not_block_each_other_for_ever(sender: Sender) -> None:
    """Both see the same traces in opposite orders, half of them known before."""
    known = [row(trace, 1) for trace in range(1, 30, 2)]
    sender.send(*known)
    rows = [row(trace, 2, parent=1) for trace in range(1, 31)]
    done: list[Recorded] = []

    def send(order: int) -> None:
        for step in range(5):
            later = [JournalRow(said._replace(end_ns=said.end_ns + step), quote) for said, quote in rows[::order]]
            done.extend([sender.send(*later)])

    threads = [threading.Thread(target=send, args=(order,)) for order in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 20
    assert sum(result.journalled for result in done) == 5 * 30
    assert sender.query("SELECT value FROM counters") == [(4 * 30,)]
