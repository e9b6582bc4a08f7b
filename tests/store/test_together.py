"""Several transactions as one: all of it stands, or nothing; and what is written beside the first transaction of a piece of work."""

# ruff: noqa: PT012 - it is whole blocks that fail here
from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from otel_finops.base.errors import NotFound, Unavailable
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.store.unit_of_work import Transaction
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock

_ADD = "INSERT INTO counters (name, value) VALUES (?, 1)"


def add(store: Store, name: str) -> None:
    with store.write() as transaction:
        transaction.execute(_ADD, (name,))


def names(store: Store) -> list[str]:
    with store.read() as transaction:
        return [name for (name,) in transaction.execute("SELECT name FROM counters ORDER BY name")]


def seen_by_others(store: Store) -> list[str]:
    """What another thread reads."""
    found: list[list[str]] = []
    thread = threading.Thread(target=lambda: found.append(names(store)))
    thread.start()
    thread.join()
    return found[0]


def test_parts_see_each_other_and_others_see_all_of_them_at_once(store: Store) -> None:
    with store.together():
        add(store, "a")
        add(store, "b")
        assert (names(store), seen_by_others(store)) == (["a", "b"], [])
    assert seen_by_others(store) == ["a", "b"]


def test_a_failure_at_the_end_undoes_every_part(store: Store) -> None:
    with pytest.raises(NotFound), store.together():
        add(store, "a")
        add(store, "b")
        raise NotFound("no")
    assert names(store) == []


def test_a_part_that_failed_undoes_the_whole_though_somebody_caught_it(store: Store) -> None:
    with pytest.raises(NotFound, match="half done"), store.together():
        add(store, "a")
        with pytest.raises(NotFound), store.write() as transaction:
            transaction.execute(_ADD, ("b",))
            raise NotFound("half done")
    assert names(store) == []


def test_nothing_is_written_after_a_part_failed(store: Store) -> None:
    with pytest.raises(NotFound), store.together():
        with pytest.raises(NotFound), store.write():
            raise NotFound("no")
        add(store, "a")
    assert names(store) == []


def test_who_finds_nothing_while_reading_spoils_nothing(store: Store) -> None:
    with store.together():
        add(store, "a")
        with pytest.raises(NotFound), store.read() as transaction:
            transaction.execute("SELECT 1")
            raise NotFound("no such thing")
    assert names(store) == ["a"]


def test_a_statement_that_the_database_refuses_while_reading_undoes_the_whole(store: Store) -> None:
    """PostgreSQL has given the transaction up by then, and would take a commit for a rollback without a word."""
    with pytest.raises(Exception, match="no_such_table"), store.together():
        add(store, "a")
        with pytest.raises(Exception, match="no_such_table"), store.read() as transaction:
            transaction.execute("SELECT 1 FROM no_such_table")
    assert names(store) == []


def test_a_fault_of_the_disk_is_told_in_safe_words_inside_and_outside_and_its_connection_is_given_up(tmp_path: Path) -> None:
    full = sqlite3.OperationalError("database or disk is full: INSERT INTO counters")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    store = Store.open(f"sqlite:///{tmp_path / 'ledger.db'}", FakeClock())
    upgrade(store)
    with store.write() as transaction:
        before = transaction._connection  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="the database's disk is full; nothing was stored") as told, store.together():
        add(store, "a")
        with pytest.raises(Unavailable, match="disk is full"), store.write():
            raise full
        raise NotFound("what a handler makes of it")
    assert told.value.__cause__ is full
    add(store, "b")
    with store.write() as transaction:
        assert transaction._connection is not before  # type: ignore[attr-defined]
    assert names(store) == ["b"]
    store.close()


def test_memos_follow_once_the_whole_is_durable(store: Store) -> None:
    memos: list[str] = []
    with store.together():
        with store.write() as transaction:
            transaction.execute(_ADD, ("a",))
            transaction.after_commit(lambda: memos.append("written"))
        store.afterwards(lambda: memos.append(f"others may write, {seen_by_others(store)} is there"))
        assert (memos, transaction.provisional) == ([], True)
    assert memos == ["written", "others may write, ['a'] is there"]


def test_memos_of_what_was_undone_never_run(store: Store) -> None:
    memos: list[str] = []
    with pytest.raises(NotFound), store.together():
        with store.write() as transaction:
            transaction.after_commit(lambda: memos.append("written"))
        store.afterwards(lambda: memos.append("afterwards"))
        raise NotFound("no")
    assert memos == []


def test_outside_of_a_whole_what_comes_afterwards_comes_at_once(store: Store) -> None:
    memos: list[str] = []
    store.afterwards(lambda: memos.append("now"))
    assert memos == ["now"]


def test_it_begins_with_the_first_write_so_that_slow_beginnings_keep_nobody_waiting(store: Store) -> None:
    with store.together():
        assert names(store) == []
        writer = threading.Thread(target=add, args=(store, "of another"))
        writer.start()
        writer.join(timeout=4)
        assert not writer.is_alive()
        assert names(store) == ["of another"]
        add(store, "own")
    assert names(store) == ["of another", "own"]


def test_a_whole_inside_another_is_a_part_of_it(store: Store) -> None:
    with pytest.raises(NotFound), store.together():
        with store.together():
            add(store, "a")
        assert store.is_together
        raise NotFound("no")
    assert names(store) == []
    assert not store.is_together


def test_the_other_threads_of_a_process_are_not_inside(store: Store) -> None:
    with store.together():
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(store.is_together))
        thread.start()
        thread.join()
        assert seen == [False]


def test_no_lease_is_taken_inside(store: Store) -> None:
    """Its holder could not be asked for it before the whole is over, and on SQLite nobody else could give one back."""
    with store.together(), pytest.raises(RuntimeError, match="a change that takes leases is a run"):
        Leases(store, store.clock, "test").acquire("shard:1")


# --- beside the first write ------------------------------------------------------------------------------------------


def note(transaction: Transaction) -> None:
    transaction.execute(_ADD, ("note",))


def test_a_note_is_written_once_with_the_first_transaction(store: Store) -> None:
    with store.beside_first_write(note):
        add(store, "a")
        assert names(store) == ["a", "note"]
        add(store, "b")
    assert names(store) == ["a", "b", "note"]


def test_work_that_writes_nothing_leaves_no_note_and_leases_are_nothing(store: Store) -> None:
    with store.beside_first_write(note):
        lease = Leases(store, store.clock, "test").acquire("shard:1")
        assert lease is not None
        lease.release()
    add(store, "later")
    assert names(store) == ["later"]


def test_the_note_comes_with_the_next_one_when_the_first_transaction_was_undone(store: Store) -> None:
    with store.beside_first_write(note):
        with pytest.raises(NotFound), store.write() as transaction:
            transaction.execute(_ADD, ("undone",))
            raise NotFound("no")
        add(store, "a")
    assert names(store) == ["a", "note"]


def test_a_note_that_fails_undoes_what_it_stands_beside(store: Store) -> None:
    def fail(transaction: Transaction) -> None:
        raise NotFound("cannot be noted")

    with pytest.raises(NotFound, match="cannot be noted"), store.beside_first_write(fail):
        add(store, "a")
    assert names(store) == []
