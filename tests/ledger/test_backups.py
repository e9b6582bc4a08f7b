"""Backup and restore: one moment of the ledger, checked before it takes a ledger's place, and nothing charged twice afterwards."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ledger_rig import Rig, call
from typer.testing import CliRunner, Result

from otel_finops.base.errors import BadInput, Busy, StartRefused
from otel_finops.ledger.head import export_head, verify_head
from otel_finops.ledger.verify import verify
from otel_finops.operations.backups import Restored, back_up_database, restore_database
from otel_finops.settings import load
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store
from otel_finops.store.signing import load_key
from otel_finops.store.upgrade import upgrade
from otel_finops.surfaces.cli.main import build_cli
from otel_finops.testing import FakeClock


class Place:
    """One SQLite ledger, opened and closed as a service that starts and stops."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.settings: Settings = load(None, {"OTEL_FINOPS_DATABASE__URL": self.url})
        self.clock = FakeClock()

    def start(self) -> Rig:
        store = Store.open(self.url, FakeClock())
        upgrade(store)
        rig = Rig(store)
        rig.clock = self.clock
        rig.leases._clock = self.clock
        rig.settler._clock = self.clock
        return rig

    def entries(self) -> int:
        """How many entries there are after a start."""
        rig = self.start()
        found = len(rig.entries())
        rig.store.close()
        return found

    def restore(self, file: Path, *, overwrite: bool = False) -> Restored:
        return restore_database(self.settings, file, overwrite=overwrite, clock=self.clock)

    def cli(self, *words: str) -> Result:
        return CliRunner().invoke(build_cli(), ["--database", self.url, *words])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "ledger.db")


@pytest.fixture
def rig(place: Place) -> Iterator[Rig]:
    """A service that runs."""
    started = place.start()
    yield started
    started.store.close()


@pytest.fixture
def copy(place: Place, rig: Rig, tmp_path: Path) -> Path:
    """A backup with one block of two entries, made while the service runs; the ledger has gone on to a third entry since."""
    rig.settle(call(1), call(2, trace=2, at_s=60))
    file = tmp_path / "backup.db"
    back_up_database(place.settings, file)
    rig.settle(call(3, trace=3, at_s=120))
    return file


def test_a_backup_is_private_whole_and_one_file(copy: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT COUNT(*) FROM entries").fetchall() == [(2,)]
        assert database.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
    assert sorted(found.name for found in tmp_path.glob("backup.db*")) == ["backup.db"]


def test_a_backup_is_one_moment_while_others_write(place: Place, rig: Rig, tmp_path: Path) -> None:
    """Every transaction adds a row to both tables: a copy of two moments would hold more of one."""
    with rig.store.write() as transaction:
        transaction.execute("CREATE TABLE a (n BLOB)")
        transaction.execute("CREATE TABLE b (n BLOB)")
        transaction.executemany("INSERT INTO a VALUES (zeroblob(4000))", [()] * 6_000)
        transaction.executemany("INSERT INTO b VALUES (zeroblob(4000))", [()] * 6_000)
    stop, written = threading.Event(), [6_000]

    def write() -> None:
        while not stop.is_set():
            with rig.store.write() as transaction:
                transaction.execute("INSERT INTO a VALUES (zeroblob(4000))")
                transaction.execute("INSERT INTO b VALUES (zeroblob(4000))")
            written[0] += 1

    writer = threading.Thread(target=write)
    seen: list[int] = []

    def progress(done: int, all_: int) -> None:
        if not seen:
            writer.start()
        else:
            while written[0] == seen[-1]:  # between any two steps the writer gets through
                pass
        seen.append(written[0])

    back_up_database(place.settings, tmp_path / "backup.db", progress=progress)
    stop.set()
    writer.join()
    assert len(seen) > 5
    assert written[0] > 6_000 + 5
    with closing(sqlite3.connect(tmp_path / "backup.db")) as database:
        assert database.execute("SELECT (SELECT COUNT(*) FROM a), (SELECT COUNT(*) FROM b)").fetchall() == [(6_000, 6_000)]


def test_a_backup_overwrites_nothing_unasked_and_leaves_no_half_copy(place: Place, rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(BadInput, match="exists already: name another file, or give --overwrite"):
        back_up_database(place.settings, tmp_path / "precious")
    assert (tmp_path / "precious").read_text() == "mine"
    assert back_up_database(place.settings, tmp_path / "precious", overwrite=True) > 4096
    with pytest.raises(BadInput, match="cannot be written"):
        back_up_database(place.settings, tmp_path / "no such folder" / "backup.db")
    with pytest.raises(StartRefused, match="does not exist"):
        back_up_database(Place(tmp_path / "nothing.db").settings, tmp_path / "b.db")
    assert {found.name for found in tmp_path.iterdir()} == {"precious", "ledger.db", "ledger.db-wal", "ledger.db-shm"}


def test_a_restored_ledger_takes_redelivered_spans_once(place: Place, rig: Rig, copy: Path) -> None:
    """The copy holds calls 1 and 2; senders then send all three again, twice."""
    before = rig.canonical()
    rig.store.close()
    result = place.restore(copy, overwrite=True)
    assert (result.done, result.report and result.report.entries, result.former) == (
        True, 2, place.path.with_name("ledger.db.before-restore.20261121T120002Z"),
    )  # fmt: skip
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600
    again = place.start()
    place.clock.advance(3600)
    assert {entry.span_id[-1] for entry in again.entries()} == {"1", "2"}
    for _ in range(2):
        again.settle(call(1), call(2, trace=2, at_s=60), call(3, trace=3, at_s=120))
    assert [(entry.kind, entry.span_id[-1]) for entry in again.entries()] == [("charge", "1"), ("charge", "2"), ("charge", "3")]
    assert again.total() == again.spent() == 3 * 3_500_000_000
    assert again.canonical() == before
    with again.store.read() as transaction:
        assert verify(transaction).sound
    again.store.close()


def test_a_head_tells_what_the_restored_ledger_lacks_until_and_after_it_went_on(place: Place, rig: Rig, copy: Path, tmp_path: Path) -> None:
    with rig.store.read() as transaction:
        head = export_head(transaction, load_key(tmp_path / "key"), rig.clock)
    rig.store.close()
    place.restore(copy, overwrite=True)
    again = place.start()
    with again.store.read() as transaction:
        [fault] = verify_head(transaction, head)
    assert (fault.seq, fault.what.split(":")[0]) == (1, "blocks 1 to 1 of the head with 1 entries are missing")
    assert "came back from an older copy; up to block 0 it is the head's" in fault.what
    place.clock.advance(60)
    again.settle(call(4, trace=4))
    with again.store.read() as transaction:
        [fault] = verify_head(transaction, head)
    assert fault.what == (
        "blocks 1 to 1 of the head with 1 entries are missing: an older copy was restored, and went on; up to block 0 it is the head's"
    )
    again.store.close()


def test_a_ledger_with_entries_is_replaced_only_when_told(place: Place, rig: Rig, copy: Path) -> None:
    rig.store.close()
    with pytest.raises(BadInput, match="holds entries or spans: give --overwrite"):
        place.restore(copy)
    result = place.restore(copy, overwrite=True)
    assert result.former is not None
    with closing(sqlite3.connect(result.former)) as former:
        assert former.execute("SELECT COUNT(*) FROM entries").fetchall() == [(3,)]


def test_an_empty_or_missing_ledger_is_filled_unasked(copy: Path, tmp_path: Path) -> None:
    missing, empty = Place(tmp_path / "missing.db"), Place(tmp_path / "empty.db")
    empty.start().store.close()
    assert (missing.restore(copy).former, empty.restore(copy).done) == (None, True)
    for one in (missing, empty):
        assert one.entries() == 2


def test_a_ledger_in_use_is_left_alone(place: Place, rig: Rig, copy: Path) -> None:
    with pytest.raises(Busy, match="a service or a command uses"):
        place.restore(copy, overwrite=True)
    assert len(rig.entries()) == 3
    assert "ledger.db.restoring" not in os.listdir(place.path.parent)


def test_a_copy_that_is_damaged_forged_or_foreign_is_refused(place: Place, rig: Rig, copy: Path, tmp_path: Path) -> None:
    rig.store.close()
    torn, forged, text = tmp_path / "torn", tmp_path / "forged", tmp_path / "text"
    content = bytearray(copy.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 9000] = os.urandom(9000)
    torn.write_bytes(content)
    text.write_text("no database " * 1000)
    shutil.copy(copy, forged)
    with closing(sqlite3.connect(forged)) as database, database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE entries SET cost_pico = 1 WHERE idx = 1")
    for file in (torn, text, tmp_path / "absent"):
        with pytest.raises(BadInput, match=file.name):
            place.restore(file, overwrite=True)
    with closing(sqlite3.connect(tmp_path / "foreign")) as database, database:
        database.execute("CREATE TABLE songs (a)")
    with pytest.raises(BadInput, match="another program's tables"):
        place.restore(tmp_path / "foreign", overwrite=True)
    with pytest.raises(BadInput, match="the database itself"):
        place.restore(place.path, overwrite=True)
    refused = place.cli("db", "restore", str(forged), "--overwrite")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "-0-1: the row was changed" in refused.stderr
    assert "was not restored" in refused.stderr
    rest = {found.name for found in tmp_path.iterdir()}
    assert rest == {"ledger.db", "backup.db", "torn", "forged", "text", "foreign"}
    assert place.entries() == 3


def test_a_damaged_ledger_is_replaced_with_its_log_out_of_the_way(place: Place, rig: Rig, copy: Path) -> None:
    """The log of the former file beside the new one would be taken for its own."""
    rig.store.close()
    place.path.write_bytes(b"damaged" * 1000)
    log = place.path.with_name("ledger.db-wal")
    log.write_bytes(b"log")
    result = place.restore(copy, overwrite=True)
    assert result.former is not None
    assert result.former.read_bytes()[:7] == b"damaged"
    assert result.former.with_name(result.former.name + "-wal").read_bytes() == b"log"
    assert not log.exists()
    assert place.entries() == 2


def test_a_copied_running_ledger_with_its_log_can_be_restored(place: Place, rig: Rig, tmp_path: Path) -> None:
    """Somebody copied the files by hand: what stands in the log counts."""
    rig.settle(call(1))
    for suffix in ("", "-wal"):
        shutil.copy(f"{place.path}{suffix}", tmp_path / f"byhand{suffix}")
    other = Place(tmp_path / "other.db")
    assert (result := other.restore(tmp_path / "byhand")).report
    assert result.report.entries == 1
    assert (tmp_path / "byhand-wal").stat().st_size > 0


def test_commands(place: Place, rig: Rig, tmp_path: Path) -> None:
    rig.settle(call(1))
    file = str(tmp_path / "backup.db")
    assert place.cli("db", "backup", file).stdout.startswith(f"The database was copied to {file} (")
    assert place.cli("db", "backup", file).exit_code == 2
    assert place.cli("db", "backup", file, "--overwrite").exit_code == 0
    assert place.cli("db", "restore", file, "--overwrite").exit_code == 3
    rig.store.close()
    assert place.cli("db", "restore", file).exit_code == 2
    done = place.cli("db", "restore", file, "--overwrite")
    assert done.exit_code == 0
    assert "Restored: 1 entries in 1 blocks." in done.stdout
    assert "The former database is" in done.stdout


@pytest.mark.postgres
@pytest.mark.skipif(shutil.which("pg_dump") is None, reason="SKIPPED LOUDLY: no pg_dump")
def test_postgresql_is_dumped_and_restored_into_an_empty_database(
    postgres_database: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": postgres_database})
    store = Store.open(postgres_database, FakeClock())
    upgrade(store)
    rig = Rig(store)
    rig.settle(call(1), call(2, trace=2, at_s=60))
    file = tmp_path / "backup.dump"
    assert back_up_database(settings, file) > 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(BadInput, match="has tables already"):
        restore_database(settings, file)
    expected = rig.canonical()
    store.close()
    admin = Store.open(postgres_url, FakeClock())
    with closing(admin.engine.raw_connection()) as pooled:
        pooled.driver_connection.autocommit = True  # type: ignore[union-attr]
        pooled.cursor().execute(f"CREATE DATABASE empty_{os.getpid()}")
    admin.close()
    name = postgres_database.rpartition("/")[2].partition("?")[0]
    empty = postgres_database.replace(f"/{name}?", f"/empty_{os.getpid()}?")
    other = load(None, {"OTEL_FINOPS_DATABASE__URL": empty})
    (tmp_path / "text").write_text("no dump")
    with pytest.raises(BadInput, match="pg_restore failed"):
        restore_database(other, tmp_path / "text")
    busy = Store.open(empty, FakeClock())
    with pytest.raises(Busy, match="stop the service"):
        restore_database(other, file)
    busy.close()
    result = restore_database(other, file)
    assert result.report
    assert (result.report.sound, result.report.entries) == (True, 2)
    back = Store.open(empty, FakeClock())
    again = Rig(back)
    again.settle(call(1), call(2, trace=2, at_s=60))
    assert again.canonical() == expected
    with pytest.raises(Exception, match="append-only"), back.write() as transaction:
        transaction.execute("DELETE FROM entries")
    back.close()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInput, match="pg_dump is not installed here: install PostgreSQL's client programs, or run where they are"):
        back_up_database(settings, tmp_path / "again.dump")
    assert not list(tmp_path.glob("again*"))
