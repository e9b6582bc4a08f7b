"""The log of SQLite is copied back beside the commits, and begins anew."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from empty_ledgers import empty_store

from otel_finops.base.errors import Busy
from otel_finops.store import checkpoints
from otel_finops.store.checkpoints import Checkpoints


class Place:
    """A file with a log, and what was told of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.turns = 0
        self.errors: list[str] = []
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.connection.execute("CREATE TABLE t (x BLOB)")
        self.checkpoints = Checkpoints(path, self.turn, lambda error: self.errors.append(str(error)))

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.turns += 1
        yield

    def write(self) -> None:
        """Some hundred pages."""
        self.connection.execute("INSERT INTO t VALUES (randomblob(1000000))")
        self.checkpoints.written(durable=True)
        self.finish()

    def finish(self) -> None:
        """Wait until the thread has nothing to do any more and is gone."""
        thread = self.checkpoints._thread
        if thread is not None:
            thread.join(30)
            assert not thread.is_alive()

    @property
    def log_bytes(self) -> int:
        return self.path.with_name(f"{self.path.name}-wal").stat().st_size


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    monkeypatch.setattr(checkpoints, "SYNC_S", 0.001)
    found = Place(tmp_path / "a ledger.db")
    yield found
    found.checkpoints.close()
    found.connection.close()


def test_a_log_that_is_not_long_yet_is_copied_and_nobody_waits(place: Place) -> None:
    place.write()
    assert place.path.stat().st_size > 1_000_000
    assert (place.turns, place.errors) == (0, [])


def test_a_long_log_begins_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PAGES_MIN", 100)
    place.write()
    length = place.log_bytes
    for _ in range(3):
        place.write()
    assert place.log_bytes == length  # each time it is written over from its beginning
    assert place.turns == 4


def test_it_is_not_done_with_every_commit_and_closing_ends_the_thread(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 3600.0)
    size = place.path.stat().st_size
    for _ in range(3):
        place.connection.execute("INSERT INTO t VALUES (randomblob(1000000))")
        place.checkpoints.written(durable=True)
    place.checkpoints.close()
    place.finish()
    assert place.path.stat().st_size == size


def test_what_was_not_synced_is_soon_or_when_it_is_closed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: synced.set())
    place.checkpoints.written(durable=True)
    place.finish()
    assert not synced.is_set()
    place.checkpoints.written(durable=False)
    place.finish()
    assert synced.is_set()
    synced.clear()
    monkeypatch.setattr(checkpoints, "SYNC_S", 3600.0)
    place.checkpoints.written(durable=False)
    place.checkpoints.close()
    assert synced.is_set()


def test_a_log_that_cannot_be_synced_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    place.checkpoints.written(durable=False)
    place.finish()
    assert place.errors == ["[Errno 5] Input/output error"]


def test_where_others_write_for_long_it_is_left_for_the_next_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PAGES_MIN", 1)

    @contextmanager
    def taken() -> Iterator[None]:
        raise Busy("the database is busy with other writes")
        yield

    monkeypatch.setattr(place.checkpoints, "_writer_turn", taken)
    place.write()
    assert place.errors == []


def test_a_fault_is_told(place: Place) -> None:
    place.connection.execute("INSERT INTO t VALUES (randomblob(1000000))")
    place.path.rename(place.path.with_name("moved.db"))
    place.checkpoints.written(durable=True)
    place.finish()
    assert place.errors == ["unable to open database file"]


def test_what_is_closed_begins_none(place: Place) -> None:
    place.checkpoints.close()
    size = place.path.stat().st_size
    place.write()
    assert place.path.stat().st_size == size


def test_a_store_that_is_closed_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    store = empty_store(f"sqlite:///{tmp_path}/ledger.db")
    for number in range(20):
        with store.write() as transaction:
            transaction.execute("INSERT INTO counters (name, value) VALUES (?, 1)", (f"n{number}",))
    store.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "checkpoints"]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM counters WHERE name LIKE 'n%'").fetchone() == (20,)
