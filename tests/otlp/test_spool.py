"""The queue in front of the next hop: durable, in order, bounded, and never a reason not to start."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from otel_finops.base.clock import SystemClock
from otel_finops.base.errors import StartRefused
from otel_finops.otlp import spool as spool_module
from otel_finops.otlp.next_hop import Reply
from otel_finops.otlp.spool import Spool, SpoolForwarder
from otel_finops.testing import FakeClock

MANY = 10_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forward.spool"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    made = Spool(path, MANY, FakeClock())
    yield made
    made.close()


def leave(spool: Spool) -> list[bytes]:
    """All that waits, in the order in which it leaves."""
    left = []
    while (waiting := spool.first()) is not None:
        left.append(waiting.body)
        spool.remove(waiting)
    return left


def test_requests_leave_in_the_order_in_which_they_came(spool: Spool) -> None:
    for body in (b"one", b"two", b"three"):
        assert spool.put(body, 1)
    assert (spool.requests, spool.size) == (3, 11)
    assert leave(spool) == [b"one", b"two", b"three"]
    assert (spool.requests, spool.size) == (0, 0)


def test_what_waits_survives_a_restart(path: Path) -> None:
    first = Spool(path, MANY, FakeClock())
    first.put(b"one", 7)
    first.close()
    second = Spool(path, MANY, FakeClock())
    assert (second.requests, second.size) == (1, 3)
    assert second.first() == (1, 7, b"one")
    second.close()


def fill_for_ever(path: Path, told: multiprocessing.connection.Connection) -> None:
    spool = Spool(path, 10**9, SystemClock())
    number = 0
    while True:
        spool.put(b"%d" % number, 1)
        told.send(number)
        number += 1


def test_what_was_put_survives_kill_9(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=fill_for_ever, args=(path, theirs))
    process.start()
    last = -1
    while last < 50:
        last = ours.recv()
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    while ours.poll():
        last = ours.recv()
    spool = Spool(path, MANY, FakeClock())
    left = leave(spool)
    assert left[: last + 1] == [b"%d" % number for number in range(last + 1)]
    assert len(left) <= last + 2  # the one that was put and not yet told
    spool.close()


def test_only_its_owner_can_read_it(spool: Spool, path: Path) -> None:
    spool.put(b"a prompt", 1)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_what_has_left_leaves_no_content_behind(path: Path) -> None:
    spool = Spool(path, MANY, FakeClock())
    spool.put(b"a very secret prompt " * 200, 1)
    leave(spool)
    spool.close()
    assert not any(b"secret" in file.read_bytes() for file in path.parent.iterdir())


def test_a_full_queue_refuses_and_takes_again_once_there_is_room(path: Path) -> None:
    spool = Spool(path, 10, FakeClock())
    assert spool.put(b"12345678", 1)
    assert not spool.put(b"123", 1)
    assert spool.put(b"12", 1)
    assert leave(spool) == [b"12345678", b"12"]
    assert spool.put(b"123", 1)
    spool.close()


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be looked at" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_queue_is_put_aside(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    spool = Spool(path, MANY, FakeClock())
    assert spool.put(b"one", 1)
    [aside] = path.parent.glob("*.damaged.*")
    assert aside.read_bytes() == damage
    spool.close()


def test_a_queue_that_another_process_has_is_refused(spool: Spool, path: Path) -> None:
    spool.put(b"one", 1)
    with pytest.raises(StartRefused, match=r"forward\.spool_path"):
        Spool(path, MANY, FakeClock())


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"forward\.spool_path"):
        Spool(tmp_path / "nowhere" / "file", MANY, FakeClock())


class Hop:
    """Answers what it was told, the last answer again and again; tells when it has got enough."""

    def __init__(self, *replies: Reply, enough: int = 1) -> None:
        self.replies = deque(replies)
        self.seen: list[bytes] = []
        self.given_s: list[float] = []
        self.enough = enough
        self.satisfied = Event()

    def send(self, body: bytes, timeout_s: float) -> Reply:
        self.seen.append(body)
        self.given_s.append(timeout_s)
        if len(self.seen) == self.enough:
            self.satisfied.set()
        return self.replies.popleft() if len(self.replies) > 1 else self.replies[0]

    def close(self) -> None:
        self.satisfied.set()


TAKEN, REFUSES, AWAY = Reply("taken"), Reply("refused"), Reply("away")


def test_a_request_waits_until_the_hop_takes_it(spool: Spool) -> None:
    clock = FakeClock()
    forwarder = SpoolForwarder(spool, hop := Hop(AWAY, AWAY, TAKEN), clock, timeout_s=2)
    assert forwarder.pass_on(b"one", 5) == ()
    first = forwarder.send_first()
    clock.advance(60)
    assert str(forwarder.fault) == "the next hop has been away for 60 s; 1 requests wait on disk"
    assert [first, *(forwarder.send_first() for _ in range(3))] == [False, False, True, None]
    assert forwarder.fault is None
    assert hop.seen == [b"one"] * 3
    assert forwarder.counters.snapshot() == {"passed": 5}


def test_what_is_refused_for_good_is_let_go(spool: Spool) -> None:
    forwarder = SpoolForwarder(spool, Hop(REFUSES, TAKEN), FakeClock(), timeout_s=2)
    forwarder.pass_on(b"one", 5)
    forwarder.pass_on(b"two", 3)
    assert [forwarder.send_first() for _ in range(3)] == [True, True, None]
    assert forwarder.counters.snapshot() == {"refused": 5, "passed": 3}


def test_what_has_left_and_cannot_be_removed_is_not_sent_again(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk nothing can be deleted."""
    forwarder = SpoolForwarder(spool, hop := Hop(TAKEN), FakeClock(), timeout_s=2)
    forwarder.pass_on(b"one", 5)
    with monkeypatch.context() as full:
        full.setattr(spool, "remove", _no_room)
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError):
                forwarder.send_first()
    assert [forwarder.send_first(), forwarder.send_first()] == [True, None]
    assert hop.seen == [b"one"]
    assert forwarder.counters.snapshot() == {"passed": 5}


def _no_room(waiting: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def test_what_finds_no_room_is_counted(path: Path) -> None:
    spool = Spool(path, 4, FakeClock())
    forwarder = SpoolForwarder(spool, Hop(TAKEN), FakeClock(), timeout_s=2)
    assert forwarder.pass_on(b"12345", 9) == ()
    assert forwarder.counters.snapshot() == {"skipped": 9}
    spool.close()


def test_the_thread_sends_what_an_earlier_run_left_and_what_comes(path: Path) -> None:
    before = Spool(path, MANY, FakeClock())
    before.put(b"left", 1)
    before.close()
    forwarder = SpoolForwarder(Spool(path, MANY, FakeClock()), hop := Hop(TAKEN, enough=3), SystemClock(), timeout_s=2)
    forwarder.start()
    forwarder.pass_on(b"one", 1)
    forwarder.pass_on(b"two", 1)
    assert hop.satisfied.wait(10)
    forwarder.close()
    assert hop.seen == [b"left", b"one", b"two"]


def test_a_request_that_takes_longer_than_the_time_out_is_given_more_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would keep all that came after it waiting for ever."""
    monkeypatch.setattr(spool_module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(spool_module, "LONGEST_PAUSE_S", 0.04)
    forwarder = SpoolForwarder(Spool(path, MANY, FakeClock()), hop := Hop(AWAY, enough=5), SystemClock(), timeout_s=0.015)
    forwarder.pass_on(b"large", 1)
    forwarder.start()
    assert hop.satisfied.wait(10)
    forwarder.close()
    assert hop.given_s[:5] == [0.015, 0.02, 0.04, 0.04, 0.04]


def test_a_fault_in_sending_does_not_end_the_thread(path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(spool_module, "FIRST_PAUSE_S", 0.01)

    class Faulty(Hop):
        def send(self, body: bytes, timeout_s: float) -> Reply:
            super().send(body, timeout_s)
            if len(self.seen) == 1:
                raise ValueError("Bearer hunter2")
            return TAKEN

    forwarder = SpoolForwarder(Spool(path, MANY, FakeClock()), hop := Faulty(TAKEN, enough=2), SystemClock(), timeout_s=2)
    forwarder.pass_on(b"one", 1)
    forwarder.start()
    assert hop.satisfied.wait(10)
    forwarder.close()
    assert hop.seen == [b"one", b"one"]
    assert "could not be sent: ValueError" in caplog.text
    assert "hunter2" not in caplog.text


def test_closing_waits_for_an_answer_only_so_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "CLOSE_S", 0.05)
    asked, over = Event(), Event()

    class Silent(Hop):
        def send(self, body: bytes, timeout_s: float) -> Reply:
            asked.set()
            over.wait(10)
            return TAKEN

    forwarder = SpoolForwarder(Spool(path, MANY, FakeClock()), Silent(TAKEN), SystemClock(), timeout_s=10)
    forwarder.pass_on(b"one", 1)
    forwarder.start()
    assert asked.wait(10)
    forwarder.close()
    over.set()
    after = Spool(path, MANY, FakeClock())
    assert leave(after) == [b"one"]
    after.close()


def test_closing_does_not_wait_for_a_hop_that_is_away(path: Path) -> None:
    forwarder = SpoolForwarder(Spool(path, MANY, FakeClock()), hop := Hop(AWAY), SystemClock(), timeout_s=2)
    forwarder.pass_on(b"one", 1)
    forwarder.start()
    assert hop.satisfied.wait(10)
    forwarder.close()
    after = Spool(path, MANY, FakeClock())
    assert leave(after) == [b"one"]
    after.close()


def overwritten(path: Path) -> None:
    """Garbage over all of the file but its first page, as a bad disk leaves it."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def test_a_queue_that_is_damaged_while_in_use_is_put_aside_and_what_waited_is_counted(path: Path) -> None:
    spool, hop = Spool(path, 10 * MANY, FakeClock()), Hop(TAKEN)
    forwarder = SpoolForwarder(spool, hop, FakeClock(), timeout_s=1)
    counted = forwarder.counters.snapshot
    for _ in range(60):
        assert spool.put(os.urandom(200_000), 10)
    assert forwarder.send_first()
    overwritten(path)
    while not counted().get("skipped"):  # what lay in SQLite's cache still leaves
        forwarder.send_first()
    assert sum(counted().values()) == 600
    assert (spool.requests, spool.size) == (0, 0)
    assert len([file for file in path.parent.iterdir() if ".damaged." in file.name and not file.name.endswith(("-wal", "-shm"))]) == 1
    passed = len(hop.seen)
    for number in range(100):
        assert spool.put(b"%d" % number, 1)
        assert forwarder.send_first()
    assert hop.seen[passed:] == [b"%d" % number for number in range(100)]
    forwarder.close()


def test_a_queue_that_was_closed_is_not_taken_for_damaged(path: Path) -> None:
    """The thread that hands the queue over may come back from the hop after the end of the service."""
    spool = Spool(path, MANY, FakeClock())
    spool.put(b"one", 1)
    waiting = spool.first()
    assert waiting is not None
    spool.close()
    with pytest.raises(sqlite3.ProgrammingError):
        spool.remove(waiting)
    assert not any(".damaged." in file.name for file in path.parent.iterdir())
    after = Spool(path, MANY, FakeClock())
    assert leave(after) == [b"one"]
    after.close()
