"""The emergency reserve: given up once on a full disk, made again when there is room; writes wait in between."""

from __future__ import annotations

import logging
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from small_disk import Resize, small_disk

from otel_finops.base.errors import Unavailable
from otel_finops.base.limits import MIB, RESERVE_BYTES
from otel_finops.store.engine import Store
from otel_finops.store.reserve import LOOK_EVERY_S, Reserve
from otel_finops.testing import FakeClock

SIZE = 2 * MIB


@pytest.fixture
def resize(tmp_path: Path) -> Iterator[Resize]:
    """`tmp_path` is a file system of 80 MB; gives the function that resizes it."""
    with small_disk(tmp_path, "80m") as resized:
        yield resized


class Room(Reserve):
    """A reserve on a disk whose free room is set by hand."""

    free = 100 * MIB

    def free_bytes(self) -> int:
        return self.free


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reserve(tmp_path: Path, clock: FakeClock) -> Room:
    made = Room(tmp_path / "ledger.db.reserve", SIZE, clock.monotonic)
    made.prepare()
    return made


def test_it_is_a_private_file_of_its_whole_size(reserve: Room) -> None:
    found = reserve.path.stat()
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (SIZE, 0o600)
    assert found.st_blocks * 512 >= SIZE  # allocated, not only promised
    assert (reserve.held_bytes, reserve.refuses()) == (SIZE, False)


def test_it_is_given_up_once_and_made_again_when_there_is_twice_the_room(reserve: Room, clock: FakeClock) -> None:
    reserve.free = 2 * SIZE - 1
    assert [reserve.give_up(), reserve.give_up()] == [True, False]
    assert not reserve.path.exists()
    assert (reserve.held_bytes, reserve.refuses()) == (0, True)
    reserve.free = 2 * SIZE
    assert reserve.refuses(), "it was looked a moment ago"
    clock.advance(LOOK_EVERY_S)
    assert not reserve.refuses()
    assert (reserve.held_bytes, reserve.path.stat().st_size) == (SIZE, SIZE)
    assert reserve.give_up()


def test_a_disk_that_never_had_room_for_it_refuses_nothing(tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    reserve = Room(tmp_path / "no such folder" / "ledger.db.reserve", SIZE, clock.monotonic)
    reserve.prepare()
    assert "no room for an emergency reserve of 2 MiB" in caplog.text
    assert (reserve.held_bytes, reserve.refuses(), reserve.give_up()) == (0, False, False)
    reserve.path.parent.mkdir()
    clock.advance(LOOK_EVERY_S)
    assert (reserve.refuses(), reserve.held_bytes) == (False, SIZE)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "ledger.db.reserve").symlink_to(tmp_path / "precious")
    reserve = Room(tmp_path / "ledger.db.reserve", SIZE, clock.monotonic)
    reserve.prepare()
    assert reserve.held_bytes == 0
    assert (tmp_path / "precious").read_text() == "mine"


def opened(folder: Path, *, reserve: bool) -> Store:
    """A store with a table."""
    store = Store.open(f"sqlite:///{folder / 'ledger.db'}", FakeClock(), reserve=reserve)
    with store.write() as transaction:
        transaction.execute("CREATE TABLE t (a BLOB)")
    with store.read() as transaction:  # its connection stays open, so that no writer's is ever the last one
        transaction.execute("SELECT * FROM t")
    return store


def fill(store: Store) -> int:
    """Write rows of 100 kB until the disk is full; returns how many were confirmed."""
    confirmed = 0
    with pytest.raises(Unavailable, match="disk is full"):  # noqa: PT012
        while True:
            with store.write() as transaction:
                transaction.execute("INSERT INTO t VALUES (zeroblob(100000))")
            confirmed += 1
            assert confirmed < 1_000
    return confirmed


def test_on_a_full_disk_reads_checkpoints_and_deletes_work_and_writes_resume(
    tmp_path: Path, resize: Resize, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = opened(tmp_path, reserve=True)
    assert (store.reserve_bytes, store.short_of_room, caplog.text) == (RESERVE_BYTES, False, "")
    confirmed = fill(store)
    assert (store.reserve_bytes, store.short_of_room) == (0, True)
    assert "the emergency reserve of 32 MiB was given up" in caplog.text
    assert "the checkpoint on a full disk failed" not in caplog.text
    assert (tmp_path / "ledger.db-wal").stat().st_size == 0
    for _ in range(3):
        with pytest.raises(Unavailable, match="disk is full; nothing was stored"), store.write() as transaction:
            transaction.execute("INSERT INTO t VALUES (1)")
    with store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM t") == [(confirmed,)]
        assert transaction.execute("PRAGMA integrity_check") == [("ok",)]
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:  # the administrator
        assert other.execute("DELETE FROM t WHERE rowid <= 3").rowcount == 3
        assert other.execute("PRAGMA wal_checkpoint").fetchone()[0] == 0
    resize("200m")
    began = time.monotonic()
    while store.short_of_room:
        assert time.monotonic() - began < 10
        time.sleep(0.05)
    with store.write() as transaction:
        transaction.execute("INSERT INTO t VALUES (1)")
    assert (store.reserve_bytes, (tmp_path / "ledger.db.reserve").stat().st_size) == (RESERVE_BYTES, RESERVE_BYTES)
    assert "writing goes on" in caplog.text
    with store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM t") == [(confirmed - 3 + 1,)]
    store.close()


def test_without_it_even_deletes_and_checkpoints_fail_on_a_full_disk(tmp_path: Path, resize: Resize) -> None:
    """Why it is there."""
    store = opened(tmp_path, reserve=False)
    fill(store)
    with pytest.raises(Unavailable, match="disk is full"), store.write() as transaction:
        transaction.execute("DELETE FROM t WHERE rowid <= 300")
    with (
        closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other,
        pytest.raises(sqlite3.OperationalError, match="full"),
    ):
        other.execute("PRAGMA wal_checkpoint").fetchall()
    assert (store.reserve_bytes, store.short_of_room) == (None, False)
    store.close()
