"""A database that cannot be written: writers are told to come back, readers read, and it is over as soon as the cause is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from postgres_server import demote_server, promote_server, running_server
from small_disk import small_disk

from otel_finops.base.errors import StartRefused, Unavailable
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock


def insert(store: Store) -> None:
    with store.write() as transaction:
        transaction.execute("INSERT INTO t VALUES (1)")


def count(store: Store) -> int:
    with store.read() as transaction:
        return int(transaction.execute("SELECT COUNT(*) FROM t")[0][0])


def test_a_sqlite_file_that_becomes_read_only(tmp_path: Path) -> None:
    """A file system that is mounted anew for reading alone, as the kernel does by itself after errors."""
    with small_disk(tmp_path, "64m"):

        def mount(how: str) -> None:
            subprocess.run(["mount", "-o", f"remount,{how}", str(tmp_path)], check=True)

        url = f"sqlite:///{tmp_path / 'ledger.db'}"
        store = Store.open(url, FakeClock(), reserve=True)
        with store.write() as transaction:
            transaction.execute("CREATE TABLE t (a INTEGER)")
        insert(store)
        store.close()  # a kernel does not ask whether files are open; `mount` does
        mount("ro")
        for _ in range(3):
            with pytest.raises(Unavailable, match="send it again later"):
                insert(store)
        with pytest.raises(StartRefused, match="give this user the right to write"):
            Store.open(url, FakeClock())
        mount("rw")
        insert(store)
        assert count(store) == 2
        store.close()


@pytest.mark.postgres
def test_a_server_that_becomes_a_standby_and_a_server_again() -> None:
    """A failover: writers are refused for as long as the address names a standby, which can be read."""
    with running_server() as url:
        store = Store.open(url, FakeClock())
        with store.write() as transaction:
            transaction.execute("CREATE TABLE t (a INTEGER)")
        insert(store)
        demote_server(url)
        with pytest.raises(Unavailable):  # that the sessions ended is noticed first
            count(store)
        assert count(store) == 1
        for _ in range(3):
            with pytest.raises(Unavailable, match="cannot be written"):
                insert(store)
        with pytest.raises(StartRefused, match="cannot be written"):
            Store.open(url, FakeClock())
        promote_server(url)
        insert(store)
        assert count(store) == 2
        store.close()
