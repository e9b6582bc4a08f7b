"""Group commit: all who wait share one transaction, each hears its own outcome, nothing is confirmed before it is durable."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from journal_rows import agent_trace, hex_trace, row

from otel_finops.base.errors import Busy, Unavailable
from otel_finops.ledger.group_commit import GroupCommitter
from otel_finops.ledger.journal import JournalRow, Recorded
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction
from otel_finops.testing import FakeClock


class GatedStore:
    """A store whose writes wait until they are let through; it counts them, and fails those it is told to fail."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.fault: Exception | None = None
        self.writes = 0

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        self.entered.set()
        assert self.gate.wait(10)
        self.writes += 1
        if self.fault:
            raise self.fault
        with self.store.write() as transaction:
            yield transaction


@pytest.fixture
def gated(store: Store) -> GatedStore:
    return GatedStore(store)


@pytest.fixture
def committer(gated: GatedStore) -> Iterator[GroupCommitter]:
    made = GroupCommitter(gated, FakeClock(), batches_max=4)  # type: ignore[arg-type]
    yield made
    gated.gate.set()
    made.close()


class Submitting:
    """Submissions from threads of their own, and what came of each."""

    def __init__(self, committer: GroupCommitter) -> None:
        self.committer = committer
        self.outcomes: dict[int, Recorded | Exception] = {}
        self.threads: list[threading.Thread] = []

    def submit(self, rows: list[JournalRow]) -> None:
        number = len(self.threads)

        def run() -> None:
            try:
                self.outcomes[number] = self.committer.submit(rows)
            except Exception as error:
                self.outcomes[number] = error

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def results(self) -> list[Recorded | Exception]:
        for thread in self.threads:
            thread.join(20)
        return [self.outcomes[number] for number in range(len(self.threads))]


def wait_until_queued(committer: GroupCommitter, count: int) -> None:
    for _ in range(2000):
        if committer.waiting == count:
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"{committer.waiting} wait, not {count}")


def spans(store: Store) -> int:
    with store.read() as transaction:
        return int(transaction.execute("SELECT COUNT(*) FROM journal")[0][0])


def test_those_who_wait_share_a_transaction_and_hear_their_own(gated: GatedStore, committer: GroupCommitter) -> None:
    senders = Submitting(committer)
    senders.submit(agent_trace(1))
    assert gated.entered.wait(10)
    for number, rows in enumerate((agent_trace(2), agent_trace(3) + agent_trace(1), agent_trace(4)), start=1):
        senders.submit(rows)
        wait_until_queued(committer, number)
    assert spans(gated.store) == 0
    assert senders.outcomes == {}
    gated.gate.set()
    assert senders.results() == [Recorded(7, 0, 0), Recorded(7, 0, 0), Recorded(7, 7, 0), Recorded(7, 0, 0)]
    assert gated.writes == 2
    assert spans(gated.store) == 28


def test_a_full_queue_says_busy(gated: GatedStore, committer: GroupCommitter) -> None:
    senders = Submitting(committer)
    senders.submit(agent_trace(1))
    assert gated.entered.wait(10)
    for number in range(1, 5):
        senders.submit(agent_trace(number))
        wait_until_queued(committer, number)
    with pytest.raises(Busy, match="too many batches"):
        committer.submit(agent_trace(9))
    gated.gate.set()
    assert sum(result.journalled for result in senders.results() if isinstance(result, Recorded)) == 28


def test_a_poison_batch_fails_alone(gated: GatedStore, committer: GroupCommitter, caplog: pytest.LogCaptureFixture) -> None:
    """A reported cost beyond 64 bits cannot be encoded: no normaliser makes one, so it plays a fault of ours."""
    poison = [JournalRow(said._replace(reported_pico=2**70, name="secret name"), quote) for said, quote in agent_trace(3)]
    senders = Submitting(committer)
    senders.submit(agent_trace(1))
    assert gated.entered.wait(10)
    for number, rows in enumerate((agent_trace(2), poison, agent_trace(4)), start=1):
        senders.submit(rows)
        wait_until_queued(committer, number)
    gated.gate.set()
    first, second, failed, fourth = senders.results()
    assert [first, second, fourth] == [Recorded(7, 0, 0)] * 3
    assert isinstance(failed, Unavailable)
    assert str(failed) == "these spans could not be stored; the service's log says why"
    assert "could not be journalled" in caplog.text
    assert "secret" not in caplog.text
    assert spans(gated.store) == 21
    assert committer.submit(agent_trace(5)) == Recorded(7, 0, 0)


def test_nothing_is_confirmed_while_the_store_is_away_and_it_goes_on_after(gated: GatedStore, committer: GroupCommitter) -> None:
    gated.gate.set()
    gated.fault = Unavailable("the database's disk is full; nothing was stored, send it again later")
    for _ in range(3):
        with pytest.raises(Unavailable, match="disk is full"):
            committer.submit(agent_trace(1))
    gated.fault = None
    assert committer.submit(agent_trace(1)) == Recorded(7, 0, 0)


def test_more_rows_than_a_transaction_takes_go_in_several(store: Store) -> None:
    committer = GroupCommitter(store, FakeClock(), spans_max=10)
    rows = [row(trace, 1) for trace in range(1, 36)]
    assert committer.submit(rows) == Recorded(35, 0, 0)
    assert committer.submit(rows + rows[:1]) == Recorded(0, 36, 0)
    assert committer.submit([]) == Recorded(0, 0, 0)
    committer.close()


def test_closing_writes_what_waits_and_refuses_what_comes(gated: GatedStore, committer: GroupCommitter) -> None:
    senders = Submitting(committer)
    senders.submit(agent_trace(1))
    assert gated.entered.wait(10)
    senders.submit(agent_trace(2))
    wait_until_queued(committer, 1)
    closing = threading.Thread(target=committer.close)
    closing.start()
    gated.gate.set()
    closing.join(20)
    assert senders.results() == [Recorded(7, 0, 0)] * 2
    with pytest.raises(Unavailable, match="stopping"):
        committer.submit(agent_trace(3))
    committer.close()


def test_a_hundred_equal_batches_from_eight_threads(store: Store) -> None:
    committer = GroupCommitter(store, FakeClock())
    rows = [one for trace in range(1, 11) for one in agent_trace(trace)]
    results: list[Recorded] = []

    def send(times: int) -> None:
        results.extend(committer.submit(rows) for _ in range(times))

    threads = [threading.Thread(target=send, args=(times,)) for times in (13, 13, 13, 13, 12, 12, 12, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    committer.close()
    assert len(results) == 100
    assert sum(result.journalled for result in results) == 70
    assert {result.journalled + result.duplicates for result in results} == {70}
    with store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM traces") == [(10,)]
        assert transaction.execute("SELECT pending_calls FROM traces WHERE trace_id = ?", (bytes.fromhex(hex_trace(1)),)) == [(3,)]
