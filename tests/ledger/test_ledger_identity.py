"""A ledger has one id, whoever asks first, and however many ask at once."""

from __future__ import annotations

import re
import threading

import pytest

from otel_finops.ledger.identity import ledger_id
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, CountingIds, FakeClock


def test_it_is_made_once_and_stays(store: Store) -> None:
    assert ledger_id(store, CountingIds()) == "0000000000000001"
    assert ledger_id(store) == "0000000000000001"
    with store.read() as transaction:
        assert transaction.execute("SELECT row_no, ledger_id, made_ns FROM ledger_identity") == [(1, "0000000000000001", NOON)]


def test_it_is_random(store: Store) -> None:
    assert re.fullmatch("[0-9a-f]{16}", ledger_id(store))


def test_processes_that_ask_at_once_hear_the_same(store: Store, database_url: str) -> None:
    """Each has a store of its own, as processes have; all of them have seen that there is no id yet before the first makes one."""
    stores = [Store.open(database_url, FakeClock()) for _ in range(4)]
    start = threading.Barrier(len(stores))
    heard: list[str] = []

    def ask(own: Store) -> None:
        start.wait()
        heard.append(ledger_id(own))

    threads = [threading.Thread(target=ask, args=(own,)) for own in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in stores:
        own.close()
    assert len(heard) == 4
    assert set(heard) == {ledger_id(store)}


def test_there_is_never_a_second_row(store: Store) -> None:
    with pytest.raises(Exception, match="ck_ledger_identity_one_row"), store.write() as transaction:
        transaction.execute("INSERT INTO ledger_identity (row_no, ledger_id, made_ns) VALUES (2, 'x', 0)")
