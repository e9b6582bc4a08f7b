"""After an error of the disk no connection is used again: a second fsync can succeed without having written what the first did not."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_finops.base.errors import Unavailable
from otel_finops.store.engine import Store
from otel_finops.store.sqlite import SqliteConnection
from otel_finops.testing import FakeClock

CODES = ("SQLITE_IOERR_FSYNC", "SQLITE_IOERR_WRITE", "SQLITE_FULL", "SQLITE_CORRUPT")


class Failing(SqliteConnection):
    """A connection whose next commits fail; every connection that was opened is remembered."""

    opened: list[Failing]
    code: int | None = None
    commits = 0
    closed = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened.append(self)

    def commit(self) -> None:
        self.commits += 1
        if (code := type(self).code) is not None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = code
            raise error
        super().commit()

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Failing]]:
    class One(Failing):
        opened: list[Failing] = []  # noqa: RUF012 - of this test alone

    connect = sqlite3.dbapi2.connect
    monkeypatch.setattr(sqlite3.dbapi2, "connect", lambda *args, **kwargs: connect(*args, **{**kwargs, "factory": One}))
    yield One
    for connection in One.opened:
        connection.close()


@pytest.mark.parametrize("code", CODES)
def test_a_failed_commit_is_never_tried_again_on_its_connection(tmp_path: Path, failing: type[Failing], code: str) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'ledger.db'}", FakeClock())
    with store.write() as transaction:
        transaction.execute("CREATE TABLE t (a)")
    [writer] = failing.opened
    commits = writer.commits
    failing.code = getattr(sqlite3, code)
    with pytest.raises(Unavailable, match="send it again later"), store.write() as transaction:
        transaction.execute("INSERT INTO t VALUES (1)")
    failing.code = None
    assert (writer.closed, writer.commits) == (True, commits + 1)
    with store.write() as transaction:
        transaction.execute("INSERT INTO t VALUES (2)")
    assert len(failing.opened) == 2
    assert (failing.opened[1].closed, writer.commits) == (False, commits + 1)
    with store.read() as transaction:
        assert transaction.execute("SELECT a FROM t") == [(2,)]
    store.close()


def test_a_migration_that_met_the_disk_leaves_no_connection_behind(tmp_path: Path, failing: type[Failing]) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'ledger.db'}", FakeClock())
    before = len(failing.opened)
    failing.code = sqlite3.SQLITE_IOERR_FSYNC
    with pytest.raises(Unavailable), store.faults(), store.driver.migrating() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
    failing.code = None
    assert all(one.closed for one in failing.opened[before:])
    with store.read() as transaction:
        assert transaction.execute("SELECT name FROM sqlite_master") == []
    store.close()


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int fails(void) { const char *file = getenv("FAIL_SYNC"); return file && access(file, F_OK) == 0; }
int fsync(int fd) { if (fails()) { errno = EIO; return -1; } return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { if (fails()) { errno = EIO; return -1; } return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""
WRITES = """
import sqlite3, sys
from pathlib import Path
from otel_finops.base.errors import Unavailable
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

folder = Path(sys.argv[1])
store = Store.open(f"sqlite:///{folder / 'ledger.db'}", FakeClock())
with store.write() as transaction:
    transaction.execute("CREATE TABLE t (a)")
confirmed = []
for number in range(12):
    if number == 4: (folder / "fail").touch()
    if number == 8: (folder / "fail").unlink()
    try:
        with store.write() as transaction:
            transaction.execute("INSERT INTO t VALUES (?)", (number,))
        confirmed.append(number)
    except Unavailable as fault:
        assert "disk reported an error" in str(fault), fault
with store.read() as transaction:
    found = [number for (number,) in transaction.execute("SELECT a FROM t ORDER BY a")]
    assert transaction.execute("PRAGMA integrity_check") == [("ok",)]
assert confirmed == [0, 1, 2, 3, 8, 9, 10, 11], confirmed
assert set(confirmed) <= set(found), found
"""


def test_a_disk_whose_syncs_really_fail_confirms_nothing_and_heals(tmp_path: Path) -> None:
    """The system's fsync fails for a while, under the same SQLite that the service uses."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("SKIPPED LOUDLY: no C compiler to build a failing fsync with")
    (tmp_path / "shim.c").write_text(SHIM)
    library = tmp_path / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(tmp_path / "shim.c"), "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", WRITES, str(tmp_path)],
        env={"LD_PRELOAD": str(library), "FAIL_SYNC": str(tmp_path / "fail"), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
