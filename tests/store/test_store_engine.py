"""What the store promises, on both engines."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import otel_finops.store.sqlite as sqlite_store
from otel_finops.base.errors import Busy, StartRefused, Unavailable
from otel_finops.ledger.tables import counters
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

INSERT = "INSERT INTO counters (name, value) VALUES (?, ?)"


def names(store: Store) -> list[str]:
    with store.read() as transaction:
        return [name for (name,) in transaction.execute("SELECT name FROM counters ORDER BY name")]


def test_a_transaction_is_committed_on_exit(store: Store) -> None:
    with store.write() as transaction:
        transaction.execute(INSERT, ("a", 1))
    assert names(store) == ["a"]


def test_a_transaction_is_rolled_back_on_an_exception(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as transaction:  # noqa: PT012
        transaction.execute(INSERT, ("a", 1))
        raise ZeroDivisionError
    assert names(store) == []


def test_a_broken_constraint_is_the_callers_and_the_store_goes_on(store: Store) -> None:
    with pytest.raises(Exception, match=r"(?i)unique"), store.write() as transaction:
        transaction.executemany(INSERT, [("a", 1), ("a", 2)])
    with store.write() as transaction:
        assert transaction.executemany(INSERT, [("b", 1), ("c", 2)]) == 2
    assert names(store) == ["b", "c"]


def test_a_reader_sees_one_moment(store: Store) -> None:
    with store.read() as reader:
        assert reader.execute("SELECT COUNT(*) FROM counters") == [(0,)]
        with store.write() as writer:
            writer.execute(INSERT, ("a", 1))
        assert reader.execute("SELECT COUNT(*) FROM counters") == [(0,)]
    assert names(store) == ["a"]


def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(Unavailable, match="cannot be written"), store.read() as transaction:
        transaction.execute(INSERT, ("a", 1))
    assert names(store) == []


def test_a_transaction_on_sqlite_tells_its_connection_nothing_twice(tmp_path: Path) -> None:
    """After `PRAGMA query_only` all statements would be compiled anew."""
    store = Store.open(f"sqlite:///{tmp_path / 'a.db'}", FakeClock())
    said: list[str] = []
    for write in (False, True):
        pooled = store.driver.connection(write=write)
        assert isinstance(pooled.driver_connection, sqlite3.Connection)
        pooled.driver_connection.set_trace_callback(said.append)
        store.driver.give_back(pooled, write=write)
    for _ in range(2):
        said.clear()
        with store.write() as transaction:
            transaction.execute("SELECT 1")
        with store.read() as transaction:
            transaction.execute("SELECT 2")
    assert said == ["BEGIN IMMEDIATE", "SELECT 1", "COMMIT", "BEGIN", "SELECT 2", "COMMIT"]
    store.close()


def test_rows_are_written_and_looked_up_in_pieces(store: Store) -> None:
    rows = [(f"n{number:04d}", number) for number in range(1_337)]
    with store.write() as transaction:
        returned = transaction.write_values(
            "INSERT INTO counters (name, value) VALUES", rows, "ON CONFLICT (name) DO NOTHING RETURNING name"
        )
        assert len(returned) == 1_337
        again = transaction.write_values("INSERT INTO counters (name, value) VALUES", rows, "ON CONFLICT (name) DO NOTHING RETURNING name")
        assert again == []
        transaction.write_values("UPDATE counters SET value = v.column2 FROM (VALUES", [("n0007", -7)], ") AS v WHERE name = v.column1")
    with store.read() as transaction:
        found = list(
            transaction.select_in("SELECT value FROM counters WHERE value < ? AND name IN ({})", [n for n, _ in rows], before=(10,))
        )
        assert sorted(value for (value,) in found) == [-7, 0, 1, 2, 3, 4, 5, 6, 8, 9]
        assert list(transaction.select_in("SELECT value FROM counters WHERE name IN ({})", [])) == []
        assert sum(value for _, value in transaction.iterate("SELECT name, value FROM counters")) == 1_336 * 1_337 // 2 - 14


def test_what_waits_for_the_commit_runs_only_after_it(store: Store) -> None:
    done: list[str] = []
    with pytest.raises(ZeroDivisionError), store.write() as transaction:  # noqa: PT012
        transaction.after_commit(lambda: done.append("rolled back"))
        raise ZeroDivisionError
    with store.write() as transaction:
        transaction.after_commit(lambda: done.append("committed"))
        assert done == []
    assert done == ["committed"]


def test_reports_read_by_core(store: Store) -> None:
    with store.write() as transaction:
        transaction.execute(INSERT, ("a", 2**62))
    with store.engine.connect() as connection:
        assert connection.execute(counters.select()).all() == [("a", 2**62)]


def test_writers_of_many_threads_all_get_their_turn(store: Store) -> None:
    def add(thread: int) -> None:
        for step in range(10):
            with store.write() as transaction:
                transaction.execute(INSERT, (f"{thread}-{step}", 1))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(store)) == 60


def test_every_sqlite_commit_is_synced(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'a.db'}", FakeClock())
    with store.read() as transaction:
        found = [transaction.execute(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "recursive_triggers")]
    assert found == [[("wal",)], [(2,)], [(1,)]]
    store.close()


def test_a_commit_that_need_not_be_durable_leaves_the_next_one_so(store: Store) -> None:
    asks, waits, waits_not = {
        "sqlite": ("PRAGMA synchronous", [(2,)], [(1,)]), "postgresql": ("SHOW synchronous_commit", [("on",)], [("off",)])
    }[store.engine_name]  # fmt: skip
    with pytest.raises(ZeroDivisionError), store.write(durable=False):
        raise ZeroDivisionError
    with store.write() as transaction:
        assert transaction.execute(asks) == waits
    with store.write(durable=False) as transaction:
        assert transaction.execute(asks) == waits_not
        transaction.execute(INSERT, ("a", 1))
    with store.together(), store.write(durable=False) as transaction:
        assert transaction.execute(asks) == waits  # a part of what is durable
        transaction.execute(INSERT, ("b", 1))
    assert names(store) == ["a", "b"]


def test_one_thread_cannot_wait_for_itself(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'a.db'}", FakeClock())
    with pytest.raises(RuntimeError, match="open in this thread"), store.write(), store.write():
        pass
    store.close()


def test_another_process_that_holds_the_lock_makes_it_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "PRAGMAS", (*sqlite_store.PRAGMAS, "PRAGMA busy_timeout = 50"))
    store = Store.open(f"sqlite:///{tmp_path / 'a.db'}", FakeClock())
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another process"), store.write():
        pass
    with pytest.raises(Busy, match=r"a\.db is locked by another process; try again"):
        Store.open(f"sqlite:///{tmp_path / 'a.db'}", FakeClock())
    other.execute("ROLLBACK")
    with store.write() as transaction:
        transaction.execute("CREATE TABLE t (a)")
    other.close()
    store.close()


def test_a_full_disk_loses_nothing_and_heals_without_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own page limit plays the full disk: the same error, SQLITE_FULL."""
    pages = [40]

    def prepare(connection: Any, record: object) -> None:
        real_prepare(connection, record)
        connection.execute(f"PRAGMA max_page_count = {pages[0]}")

    real_prepare = sqlite_store._prepare
    monkeypatch.setattr(sqlite_store, "_prepare", prepare)
    store = Store.open(f"sqlite:///{tmp_path / 'a.db'}", FakeClock())
    with store.write() as transaction:
        transaction.execute("CREATE TABLE t (a BLOB)")
    confirmed = 0
    with pytest.raises(Unavailable, match="disk is full"):  # noqa: PT012
        for _ in range(100):
            with store.write() as transaction:
                transaction.execute("INSERT INTO t VALUES (zeroblob(8000))")
            confirmed += 1
    with store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM t") == [(confirmed,)]
        assert transaction.execute("PRAGMA integrity_check") == [("ok",)]
    pages[0] = 1_000
    store.close()
    with store.write() as transaction:
        transaction.execute("INSERT INTO t VALUES (zeroblob(8000))")
    with store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM t") == [(confirmed + 1,)]
    store.close()


@pytest.mark.postgres
def test_a_server_that_goes_away_and_comes_back(postgres_url: str, postgres_database: str) -> None:
    store = Store.open(postgres_database, FakeClock())
    with store.write() as transaction:
        transaction.execute("CREATE TABLE t (a BIGINT)")
        [(name,)] = transaction.execute("SELECT current_database()")
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name})
        for _ in range(3):
            with pytest.raises(Unavailable, match="nothing that was confirmed is lost") as refused, store.write() as transaction:
                transaction.execute("INSERT INTO t VALUES (1)")
            assert str(name) not in str(refused.value)
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    with store.write() as transaction:
        transaction.execute("INSERT INTO t VALUES (1)")
    admin.dispose()
    store.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:////no/such/folder/ledger.db", "create its folder"),
        ("sqlite://", "SQLite needs a file"),
        ("sqlite:///:memory:", "SQLite needs a file"),
        ("mysql://user@host/name", "is not supported"),
        ("no url", "is no SQLAlchemy URL"),
    ],
)
def test_a_start_is_refused_with_the_way_to_mend_it(url: str, says: str) -> None:
    with pytest.raises(StartRefused, match=says):
        Store.open(url, FakeClock())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("this is not a database, but it is long enough to be read as one" * 10)
    with pytest.raises(StartRefused, match="is not a database: move that file away"):
        Store.open(f"sqlite:///{tmp_path / 'a.db'}", FakeClock())


@pytest.mark.postgres
def test_an_unreachable_server_is_refused_without_its_password(postgres_url: str) -> None:
    with pytest.raises(StartRefused, match="start it, or mend") as refused:
        Store.open("postgresql+psycopg://me:secret@127.0.0.1:1/ledger", FakeClock())
    assert "secret" not in str(refused.value)
    with pytest.raises(StartRefused, match="does not exist: create it"):
        Store.open(postgres_url.replace("/postgres?", "/nowhere?"), FakeClock())


def test_a_file_that_is_not_there_is_made_only_where_that_is_wanted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with pytest.raises(StartRefused, match=r"a\.db does not exist: name the ledger"):
        Store.open(url, FakeClock(), create=False)
    assert list(tmp_path.iterdir()) == []
    Store.open(url, FakeClock()).close()
    Store.open(url, FakeClock(), create=False).close()


def test_a_file_that_was_removed_or_replaced_takes_no_more_writes(tmp_path: Path) -> None:
    """SQLite goes on writing to a file without a name, and everything is gone when the last connection closes."""
    path = tmp_path / "ledger.db"
    store = Store.open(f"sqlite:///{path}", FakeClock())
    for change in (path.unlink, path.touch):
        change()
        with pytest.raises(Unavailable, match="removed or replaced"), store.write():
            pass
        with pytest.raises(Unavailable, match="removed or replaced"), store.read():
            pass
    store.close()
