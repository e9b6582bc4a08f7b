"""The poison guard: batches that fail again and again are taken apart, nothing is lost, and nothing is given up in masses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from journal_rows import agent_trace, hex_span, hex_trace, row

from otel_finops.base.errors import NotFound, Unavailable
from otel_finops.genai.sighting import Sighting
from otel_finops.ledger import codec
from otel_finops.ledger.codec import content_hash
from otel_finops.ledger.group_commit import GroupCommitter, _Submission
from otel_finops.ledger.journal import JournalRow, Recorded, find_trace, standing_sightings
from otel_finops.ledger.poison import PoisonGuard
from otel_finops.ledger.quarantine import Failed, Held, Quarantine, rejections
from otel_finops.ledger.subjects import Subjects
from otel_finops.pricing.quote import Quote
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, CountingIds, FakeClock

FAR = 2**63
"""One nanosecond more than either engine can store: no decoder lets it pass, so it plays a fault that the database finds."""


class Bug:
    """A fault of ours in writing spans: `encode` fails for spans that it is told of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hits: Callable[[Sighting], bool] = lambda sighting: False
        self.error: type[Exception] = TypeError
        self.met = 0
        self._encode = codec.encode
        monkeypatch.setattr("otel_finops.ledger.journal.encode", self._write)

    def in_spans(self, *numbers: int) -> None:
        spans = {hex_span(number) for number in numbers}
        self.hits = lambda sighting: sighting.span_id in spans

    def mend(self) -> None:
        self.hits = lambda sighting: False

    def _write(self, sighting: Sighting, quote: Quote | None) -> bytes:
        if self.hits(sighting):
            self.met += 1
            raise self.error(f"cannot write {sighting.name} of {sighting.attribution}")
        return self._encode(sighting, quote)


class Service:
    """A committer with its guard over a store, as a process has them; it can be started anew."""

    def __init__(self, store: Store, **bounds: int) -> None:
        self.store = store
        self.bounds = bounds
        self.clock = FakeClock()
        self.start()

    def start(self) -> None:
        of_table = {name: bound for name, bound in self.bounds.items() if name in ("spans_max", "per_reason_max")}
        self.subjects = Subjects(CountingIds(), self.clock)
        self.quarantine = Quarantine(self.store, self.clock, self.subjects, settle_after_s=5, **of_table)
        guard = PoisonGuard(
            self.quarantine,
            spans_max=self.bounds.get("of_one_batch", 32),
            remembered_max=self.bounds.get("remembered_max", 100),
        )
        self.committer = GroupCommitter(self.store, self.clock, subjects=self.subjects, guard=guard)

    def restart(self) -> None:
        self.committer.close()
        self.start()

    def send(self, rows: Sequence[JournalRow]) -> Recorded | str:
        """What the sender hears: counts, or why it must send again."""
        try:
            return self.committer.submit(rows)
        except Unavailable as fault:
            return str(fault)

    def send_thrice(self, rows: Sequence[JournalRow]) -> Recorded | str:
        assert [self.send(rows), self.send(rows)] == [REFUSED, REFUSED]
        return self.send(rows)

    def held(self, tenants: tuple[str, ...] | None = None) -> list[Held]:
        return self.quarantine.held(tenants, limit=1000)

    def journalled(self) -> list[str]:
        with self.store.read() as transaction:
            return [bytes(span_id).hex() for (span_id,) in transaction.execute("SELECT span_id FROM journal ORDER BY span_id")]


REFUSED = "these spans could not be stored; the service's log says why"


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> Bug:
    return Bug(monkeypatch)


@pytest.fixture
def service(store: Store) -> Iterator[Service]:
    made = Service(store)
    yield made
    made.committer.close()


@pytest.fixture
def make(store: Store) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(**bounds: int) -> Service:
        made.append(Service(store, **bounds))
        return made[-1]

    yield make
    for one in made:
        one.committer.close()


def test_the_third_equal_failure_saves_all_but_the_span_at_fault(service: Service, bug: Bug, caplog: pytest.LogCaptureFixture) -> None:
    bug.in_spans(7)
    rows = [row(trace, trace, name="secret name", attribution={"user": "secret user"}) for trace in range(1, 101)]
    assert service.send(rows) == REFUSED
    assert service.send(rows) == REFUSED
    assert service.journalled() == []
    assert service.send(rows) == Recorded(99, 0, 0, quarantined=1)
    assert service.journalled() == [hex_span(number) for number in range(1, 101) if number != 7]
    [held] = service.held()
    assert (held.realm, held.trace_id, held.span_id) == ("default", hex_trace(7), hex_span(7))
    assert (held.since_ns, held.retryable) == (NOON, True)
    assert held.reason.startswith("TypeError at test_poison._write:")
    assert " < ledger.journal._insert_spans:" in held.reason
    assert "secret" not in held.reason + caplog.text


def test_the_sender_hears_partial_success(service: Service, bug: Bug) -> None:
    bug.in_spans(1000)
    saved = service.send_thrice(agent_trace(1))
    assert saved == Recorded(6, 0, 0, quarantined=1)
    assert isinstance(saved, Recorded)
    [rejection] = rejections(saved)
    assert (rejection.reason, rejection.spans) == ("quarantined", 1)
    assert "need not be sent again" in rejection.message
    assert rejections(Recorded(7, 0, 0)) == ()


def test_a_batch_is_known_by_what_it_holds_in_any_order_and_an_answer_that_got_lost_does_no_harm(service: Service, bug: Bug) -> None:
    bug.in_spans(1000)
    rows = agent_trace(1)
    assert [service.send(rows), service.send(rows[::-1])] == [REFUSED, REFUSED]
    assert service.send(rows) == Recorded(6, 0, 0, quarantined=1)
    assert service.send(rows) == Recorded(0, 6, 0, quarantined=1)
    assert len(service.held()) == 1


def test_other_batches_and_other_errors_count_for_themselves(service: Service, bug: Bug) -> None:
    bug.in_spans(1000, 2000)
    for number in (1, 2, 1, 2):
        assert service.send(agent_trace(number)) == REFUSED
    bug.error = ValueError
    assert service.send(agent_trace(1)) == REFUSED
    assert service.send(agent_trace(1)) == REFUSED
    assert service.send(agent_trace(1)) == Recorded(6, 0, 0, quarantined=1)
    bug.error = TypeError
    assert service.send(agent_trace(2)) == Recorded(6, 0, 0, quarantined=1)
    assert [held.reason.split()[0] for held in service.held()] == ["TypeError", "ValueError"]


def test_a_fault_of_the_store_counts_for_nothing(service: Service, bug: Bug) -> None:
    """The same batch, refused by a full disk in between: nothing is taken apart while the store is at fault."""
    bug.in_spans(1000)
    rows = agent_trace(1)
    assert [service.send(rows), service.send(rows)] == [REFUSED, REFUSED]
    bug.hits, bug.error = lambda sighting: sighting.span_id == hex_span(1000), _DiskFull
    for _ in range(5):
        assert service.send(rows) == "the disk is full"
    bug.error = OSError
    for _ in range(5):
        assert service.send(rows) == REFUSED
    assert service.held() == []
    bug.error = TypeError
    assert service.send(rows) == Recorded(6, 0, 0, quarantined=1)


class _DiskFull(Unavailable):
    def __init__(self, text: str) -> None:
        super().__init__("the disk is full")


def test_the_store_going_away_while_a_batch_is_taken_apart_loses_nothing(service: Service, bug: Bug) -> None:
    bug.in_spans(1503)
    rows = agent_trace(1)
    assert [service.send(rows), service.send(rows)] == [REFUSED, REFUSED]
    met = bug.met

    def fails_then_is_away(sighting: Sighting) -> bool:
        if bug.met > met + 1:
            bug.error = _DiskFull
        return sighting.span_id == hex_span(1503)

    bug.hits = fails_then_is_away
    assert service.send(rows) == "the disk is full"
    assert service.held() == []
    bug.error = TypeError
    bug.in_spans(1503)
    saved = service.send_thrice(rows)
    assert isinstance(saved, Recorded)
    assert (saved.journalled + saved.duplicates, saved.quarantined) == (6, 1)
    assert saved.duplicates > 0


def test_rows_that_fail_only_together_are_all_recorded(service: Service, bug: Bug) -> None:
    seen: list[str] = []

    def fails_beside_another(sighting: Sighting) -> bool:
        seen.append(sighting.span_id)
        return len(seen) > 1 and seen[-2:] == [hex_span(1), hex_span(2)]

    bug.hits = fails_beside_another
    rows = [row(trace, trace) for trace in (1, 2)]
    assert [service.send(rows), service.send(rows)] == [REFUSED, REFUSED]

    def forgets(sighting: Sighting) -> bool:
        fails = fails_beside_another(sighting)
        if fails:
            seen.clear()
        elif sighting.span_id == hex_span(1) and len(seen) > 1:
            seen[:] = seen[-1:]
        return fails and bug.met < 4

    bug.hits = forgets
    assert service.send(rows) == Recorded(2, 0, 0)
    assert service.held() == []


def test_a_fault_that_the_database_finds(service: Service) -> None:
    """Its number is beyond 64 bits: the SQLite module and PostgreSQL's driver or server refuse it, each in its own words."""
    rows = [row(trace, trace) for trace in range(1, 20)]
    far = rows[4].sighting._replace(end_ns=FAR)
    rows[4] = JournalRow(far, rows[4].quote)
    assert service.send_thrice(rows) == Recorded(18, 0, 0, quarantined=1)
    [held] = service.held()
    assert (held.span_id, held.retryable) == (hex_span(5), True)
    assert "ledger.journal._insert_spans:" in held.reason
    done = service.quarantine.retry(None, None)
    assert (done.recorded, [one.no for one in done.held]) == (Recorded(0, 0, 0), [held.no])


def test_what_cannot_be_written_down_is_kept_by_its_ids(service: Service) -> None:
    """A reported cost beyond 64 bits cannot be encoded at all."""
    rows = agent_trace(1)
    rows[1] = JournalRow(rows[1].sighting._replace(reported_pico=2**70), rows[1].quote)
    assert service.send_thrice(rows) == Recorded(6, 0, 0, quarantined=1)
    [held] = service.held()
    assert (held.span_id, held.retryable) == (hex_span(1001), False)
    done = service.quarantine.retry(None, held.no)
    assert (done.recorded, done.held, done.fault) == (Recorded(0, 0, 0), [held], None)


def test_after_a_restart_what_is_held_is_there_and_failures_are_counted_anew(service: Service, bug: Bug) -> None:
    bug.in_spans(1000)
    service.send_thrice(agent_trace(1))
    service.send(agent_trace(1))
    before = service.held()
    service.restart()
    assert service.held() == before
    assert service.send_thrice(agent_trace(1)) == Recorded(0, 6, 0, quarantined=1)
    assert service.held() == before


def test_after_the_fault_is_mended_a_retry_records_the_span_as_it_was_sent(service: Service, bug: Bug) -> None:
    bug.in_spans(1000, 1001)
    rows = agent_trace(1)
    assert service.send_thrice(rows) == Recorded(5, 0, 0, quarantined=2)
    with service.store.read() as transaction:
        assert sorted(transaction.execute("SELECT kind, clear FROM subjects")) == [("session", "s1"), ("user", "ann")]
        payloads = b"".join(bytes(payload) for (payload,) in transaction.execute("SELECT payload FROM quarantine"))
    assert b"ann" not in payloads
    still = service.quarantine.retry(None, None)
    assert [one.span_id for one in still.held] == [hex_span(1000), hex_span(1001)]
    bug.mend()
    done = service.quarantine.retry(None, None)
    assert (done.recorded, done.held, done.fault) == (Recorded(2, 0, 0), [], None)
    assert [one.span_id for one in done.tried] == [hex_span(1000), hex_span(1001)]
    assert service.held() == []
    assert service.send(rows) == Recorded(0, 7, 0)
    with service.store.read() as transaction:
        found = find_trace(transaction, "default", hex_trace(1))
        assert found is not None
        stored = {one.span_id: one for one in standing_sightings(transaction, [found.trace_no])[found.trace_no]}
        refs = {ref for (ref,) in transaction.execute("SELECT ref FROM subjects")}
        assert transaction.execute("SELECT pending_calls, due_ns FROM traces") == [(3, NOON)]
    assert {stored[hex_span(1000)].attribution["user"], stored[hex_span(1000)].attribution["session"]} == refs
    assert {content_hash(stored[one.sighting.span_id]) for one in rows} == {content_hash(one.sighting) for one in rows}


def test_one_of_them_is_retried_or_dropped_by_its_number(service: Service, bug: Bug) -> None:
    bug.in_spans(1000, 1001, 1002)
    service.send_thrice(agent_trace(1))
    newest, middle, oldest = service.held()
    bug.mend()
    assert service.quarantine.retry(None, middle.no).recorded == Recorded(1, 0, 0)
    assert service.quarantine.drop(None, oldest.no) == [oldest]
    assert service.held() == [newest]
    for gone in (middle.no, oldest.no, 999):
        with pytest.raises(NotFound, match=f"no span {gone} in quarantine"):
            service.quarantine.retry(None, gone)
        with pytest.raises(NotFound):
            service.quarantine.drop(None, gone)
    assert service.quarantine.drop(None, None) == [newest]
    assert service.quarantine.drop(None, None) == []
    assert service.quarantine.count() == 0


def test_a_retry_of_what_its_sender_sent_again_is_a_duplicate(service: Service, bug: Bug) -> None:
    bug.in_spans(1000)
    service.send_thrice(agent_trace(1))
    bug.mend()
    assert service.send(agent_trace(1)) == Recorded(1, 6, 0)
    assert service.quarantine.retry(None, None).recorded == Recorded(0, 1, 0)
    assert service.held() == []


def test_a_retry_ends_where_the_store_goes_away_and_says_what_it_did(service: Service, bug: Bug) -> None:
    bug.in_spans(1000, 1001)
    service.send_thrice(agent_trace(1))
    bug.error = _DiskFull
    with pytest.raises(Unavailable, match="disk is full"):
        service.quarantine.retry(None, None)
    bug.in_spans(1001)
    done = service.quarantine.retry(None, None)
    assert (done.recorded, done.held, done.fault) == (Recorded(1, 0, 0), [], "the disk is full")
    assert [one.span_id for one in service.held()] == [hex_span(1001)]


def test_a_fault_that_hits_many_spans_of_a_batch_is_not_obeyed(make: Callable[..., Service], bug: Bug) -> None:
    service = make(of_one_batch=3)
    bug.hits = lambda sighting: int(sighting.span_id, 16) > 16
    rows = [row(trace, trace) for trace in range(1, 21)]
    for _ in range(3):
        assert service.send_thrice(rows) == "too many of these spans could not be stored; the service's log says why"
    assert service.held() == []
    bug.in_spans(18, 19, 20)
    assert service.send_thrice(rows) == Recorded(1, 16, 0, quarantined=3)


def test_a_bug_that_fails_everything_is_not_obeyed_in_small_batches_either(make: Callable[..., Service], bug: Bug) -> None:
    service = make(per_reason_max=5)
    bug.hits = lambda sighting: True
    heard = [service.send_thrice([row(trace, trace)]) for trace in range(1, 9)]
    assert heard[:5] == [Recorded(0, 0, 0, quarantined=1)] * 5
    assert heard[5:] == ["these spans could not be stored, like too many others before; the service's log says why"] * 3
    bug.error = ValueError
    assert service.send_thrice([row(9, 9)]) == Recorded(0, 0, 0, quarantined=1)
    bug.mend()
    assert service.quarantine.retry(None, None).recorded == Recorded(6, 0, 0)
    assert service.send([row(trace, trace) for trace in range(1, 10)]) == Recorded(3, 6, 0)


def test_with_a_full_quarantine_senders_keep_their_spans(make: Callable[..., Service], bug: Bug) -> None:
    service = make(spans_max=2)
    bug.in_spans(1000, 2000, 2001, 3000)
    assert service.send_thrice(agent_trace(1)) == Recorded(6, 0, 0, quarantined=1)
    full = "these spans could not be stored and the quarantine is full; the operator must look after it"
    assert service.send_thrice(agent_trace(2)) == full
    assert len(service.held()) == 1
    assert service.send_thrice(agent_trace(3)) == Recorded(6, 0, 0, quarantined=1)
    assert service.send(agent_trace(4)) == Recorded(7, 0, 0)
    service.quarantine.drop(None, None)
    assert service.send_thrice(agent_trace(2)) == Recorded(0, 5, 0, quarantined=2)


def test_only_so_many_failed_batches_are_remembered(make: Callable[..., Service], bug: Bug) -> None:
    """Two are: of three that take turns each is forgotten before it comes again."""
    service = make(remembered_max=2)
    bug.in_spans(1000, 2000, 3000)
    for number in (1, 2, 3) * 4:
        assert service.send(agent_trace(number)) == REFUSED
    for number in (1, 2) * 2:
        assert service.send(agent_trace(number)) == REFUSED
    assert service.send(agent_trace(1)) == Recorded(6, 0, 0, quarantined=1)


def test_tenants_see_and_touch_what_is_in_their_own_realms(service: Service, bug: Bug) -> None:
    """The shared realm is for those who see all tenants: whose its spans are is known only after settling."""
    rows = [row(number, number, realm=realm) for number, realm in enumerate(("acme", "globex", "default"), 1)]
    bug.in_spans(1, 2, 3)
    assert service.send_thrice(rows) == Recorded(0, 0, 0, quarantined=3)
    assert [one.realm for one in service.held()] == ["default", "globex", "acme"]
    assert [one.realm for one in service.held(("acme",))] == ["acme"]
    assert [one.realm for one in service.held(("acme", "globex", "default"))] == ["globex", "acme"]
    assert service.held(("default",)) == []
    [others] = service.held(("globex",))
    with pytest.raises(NotFound):
        service.quarantine.drop(("acme",), others.no)
    with pytest.raises(NotFound):
        service.quarantine.retry(("acme",), others.no)
    assert [one.realm for one in service.quarantine.drop(("acme",), None)] == ["acme"]
    assert len(service.held()) == 2


def test_versions_of_a_span_are_held_apart(service: Service, bug: Bug) -> None:
    bug.in_spans(1)
    service.send_thrice([row(1, 1)])
    service.send_thrice([row(1, 1, lasts_s=2)])
    assert len(service.held()) == 2
    bug.mend()
    assert service.quarantine.retry(None, None).recorded == Recorded(2, 0, 1)


def test_without_a_guard_a_batch_is_refused_for_ever(store: Store, bug: Bug) -> None:
    bug.in_spans(1000)
    committer = GroupCommitter(store, FakeClock())
    for _ in range(5):
        with pytest.raises(Unavailable, match="could not be stored"):
            committer.submit(agent_trace(1))
    committer.close()


def test_a_batch_that_fails_in_a_group_of_others_is_counted_once(service: Service, bug: Bug) -> None:
    """The group fails as a whole first, then its batches go one by one: that is one failure of the batch and not two."""
    bug.in_spans(1000)
    group = [_Submission(agent_trace(number), Future()) for number in (1, 2, 3)]
    for _ in range(2):
        service.committer._write_group(group)
        assert str(group[0].outcome.exception()) == REFUSED
        group[0] = _Submission(agent_trace(1), Future())
        group[1:] = [_Submission(one.rows, Future()) for one in group[1:]]
    service.committer._write_group(group)
    assert [one.outcome.result() for one in group] == [Recorded(6, 0, 0, quarantined=1), Recorded(0, 7, 0), Recorded(0, 7, 0)]


def test_the_bound_of_the_table_holds_when_processes_fill_it_at_once(store: Store, database_url: str) -> None:
    stores = [Store.open(database_url, FakeClock()) for _ in range(4)]
    start = threading.Barrier(len(stores))
    kept: list[bool] = []

    def fill(process: int, own: Store) -> None:
        quarantine = Quarantine(own, FakeClock(), Subjects(), settle_after_s=5, spans_max=10)
        start.wait()
        for number in range(5):
            try:
                quarantine.keep([Failed(row(1, 10 * process + number + 1), "TypeError at nowhere")])
                kept.append(True)
            except Unavailable:
                kept.append(False)

    together(fill, list(enumerate(stores)))
    for own in stores:
        own.close()
    assert sorted(kept) == [False] * 10 + [True] * 10
    assert Quarantine(store, FakeClock(), Subjects(), settle_after_s=5).count() == 10


def test_two_that_retry_at_once_record_a_span_once(service: Service, bug: Bug, database_url: str) -> None:
    bug.in_spans(*range(1, 21))
    service.send_thrice([row(trace, trace) for trace in range(1, 21)])
    bug.mend()
    stores = [Store.open(database_url, FakeClock()) for _ in range(2)]
    recorded: list[Recorded] = []

    def retry(own: Store) -> None:
        recorded.append(Quarantine(own, FakeClock(), Subjects(), settle_after_s=5).retry(None, None).recorded)

    together(retry, [(own,) for own in stores])
    for own in stores:
        own.close()
    assert sum(one.journalled for one in recorded) == 20
    assert sum(one.duplicates for one in recorded) == 0
    assert service.held() == []


def together(action: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
    threads = [threading.Thread(target=action, args=given) for given in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
