"""Copies of the database: made while a service writes, and put back while none does.

SQLite is copied by its backup API from one snapshot, which a read transaction holds: the writer goes on beside it, and the copy is
one moment of the ledger. PostgreSQL is copied by `pg_dump` and put back by `pg_restore`, one transaction each.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Busy, Unavailable
from otel_finops.base.limits import BACKUP_STEP_PAGES
from otel_finops.base.times import format_ns
from otel_finops.store.engine import Store
from otel_finops.store.sqlite import SqliteDriver
from otel_finops.store.upgrade import OWN_TABLES

Progress = Callable[[int, int], None]
"""Told how many pages were copied, of how many."""

_SIDE_FILES: Final = ("-wal", "-shm", "-journal")
_TOOL_TIMEOUT_S: Final = 24 * 3600.0
_LOOKS: Final = 10


def back_up(store: Store, file: Path, *, overwrite: bool, progress: Progress = lambda done, all_: None) -> None:
    """Write a copy of the whole database to a file that only this user can read; it appears when it is complete and on disk.

    Raises:
        BadInput: the file exists already (without `overwrite`) or cannot be written, or `pg_dump` is missing or failed.
        Busy, Unavailable: the database's.
    """
    if file.exists() and not overwrite:
        raise BadInput(f"{file} exists already: name another file, or give --overwrite")
    with _private_file(file) as partial:
        if isinstance(store.driver, SqliteDriver):
            _copy_sqlite(store.driver.path, partial, progress)
        else:
            _dump_postgres(store.engine.url, partial)


@contextmanager
def _private_file(file: Path) -> Iterator[Path]:
    """A new file of mode 0600 beside `file` that takes its name when all went well, and is removed when not."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        _remove(partial)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from error
    try:
        yield partial
        _sync(partial)
        partial.replace(file)
        _sync(file.parent)
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from error
    finally:
        _remove(partial)


def _copy_sqlite(source: Path, target: Path, progress: Progress) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, isolation_level=None)) as reading,
            closing(sqlite3.connect(target, isolation_level=None)) as writing,
        ):
            reading.execute("PRAGMA query_only = ON")
            reading.execute("BEGIN")
            reading.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()  # from here on its snapshot stands
            writing.execute("PRAGMA journal_mode = OFF")
            reading.backup(writing, pages=BACKUP_STEP_PAGES, progress=lambda _status, left, all_: progress(all_ - left, all_))
            writing.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            raise BadInput(f"{target.parent} has no room for the copy, or cannot be written") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Busy("the database is locked by another process; try again") from error
        raise Unavailable("the database could not be read to its end: run `otel-finops ledger verify`") from error


# --- putting back: SQLite ------------------------------------------------------------------------------------------


@contextmanager
def copy_to_try(file: Path, database: Path) -> Iterator[Path]:
    """A copy of a backup beside the database, mode 0600, to be checked before it takes its place; the backup itself is only read.

    Raises:
        BadInput: the backup cannot be read, is no SQLite database or is damaged, or there is no room for the copy.
    """
    tried = database.with_name(f"{database.name}.restoring")
    try:
        _remove(tried)
        for suffix in ("", "-wal"):  # somebody may have copied a running service's files
            if suffix == "" or file.with_name(file.name + suffix).exists():
                _copy_private(file.with_name(file.name + suffix), tried.with_name(tried.name + suffix))
        _check_file(tried, file)
        yield tried
    except OSError as error:
        raise BadInput(f"{file} cannot be copied to {database.parent}: {error.strerror}") from error
    finally:
        _remove(tried)


def _to_one_file(database: Path) -> None:
    """Copy a database's log back and remove it, so that the file is all of it."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()


def _check_file(tried: Path, named: Path) -> None:
    """SQLite's own check of every page and index."""
    try:
        with closing(sqlite3.connect(tried, isolation_level=None)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchall()
    except sqlite3.DatabaseError as error:
        raise BadInput(f"{named} is no SQLite database, or is damaged") from error
    if found != [("ok",)]:
        raise BadInput(f"{named} is damaged: {found[0][0]}")


@contextmanager
def without_others(database: Path) -> Iterator[bool]:
    """Hold a SQLite file alone, its log copied back; nobody can use it meanwhile. Gives whether there is anything in it to lose.

    A file that is missing or empty has nothing; one that is damaged, or another program's, has something.

    Raises:
        Busy: a service or a command uses it.
    """
    if not database.exists():
        yield False
        return
    with closing(sqlite3.connect(database, isolation_level=None, timeout=0.5)) as connection:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            holds = _holds_something(connection)
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Busy(f"a service or a command uses {database}: stop it before restoring") from error
            holds = True
        yield holds


def _holds_something(connection: sqlite3.Connection) -> bool:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= OWN_TABLES:
        return bool(tables)
    return any(connection.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0] for table in OWN_TABLES)


def put_in_place(tried: Path, database: Path, clock: Clock) -> Path | None:
    """Let a checked copy take the database's place, in one step; returns what the former database is called now, None if there was none.

    Call it within `without_others`.
    """
    former = None
    if database.exists():
        stamp = format_ns(clock.now_ns())[:19].replace("-", "").replace(":", "")
        former = database.with_name(f"{database.name}.before-restore.{stamp}Z")
        os.link(database, former)
        for suffix in _SIDE_FILES:  # those of a damaged file; beside the new one they would be taken for its own
            with contextlib.suppress(FileNotFoundError):
                database.with_name(database.name + suffix).replace(former.with_name(former.name + suffix))
    _to_one_file(tried)
    _sync(tried)
    tried.replace(database)
    _sync(database.parent)
    return former


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


def _dump_postgres(url: URL, target: Path) -> None:
    _run_tool("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def restore_postgres(store: Store, file: Path) -> None:
    """Put a dump back into an empty database in one transaction; all of it or nothing.

    Raises:
        BadInput: the file is no such dump, or `pg_restore` is missing or failed.
        Busy: others use the database.
    """
    if not os.access(file, os.R_OK):
        raise BadInput(f"{file} cannot be read")
    if _others_at_work(store):
        raise Busy("others use the database: stop the service before restoring")
    words = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
    _run_tool("pg_restore", store.engine.url, *words, after=[str(file)])


def _others_at_work(store: Store) -> bool:
    """Whether there are sessions but ours; one that was just closed takes a moment to go."""
    store.close()
    for _ in range(_LOOKS):
        with store.read() as transaction:
            [(others,)] = transaction.execute(
                "SELECT COUNT(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        if not others:
            return False
        time.sleep(0.1)
    return True


def _run_tool(name: str, url: URL, *words: str, after: list[str] | None = None) -> None:
    """Run a program of PostgreSQL's; the password goes by the environment, where other users of the machine cannot read it."""
    program = shutil.which(name)
    shown = url.set(drivername="postgresql", password=None).render_as_string()
    if program is None:
        how = f"{name} {' '.join(words)}"
        raise BadInput(f"{name} is not installed here: install PostgreSQL's client programs, or run where they are: {how} DATABASE")
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    done = subprocess.run(  # noqa: S603 - a program found by name, arguments as a list
        [program, *words, f"--dbname={shown}", *(after or [])],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BadInput(f"{name} failed: {done.stderr.strip()[-1000:]}")


# --- files ---------------------------------------------------------------------------------------------------------


def _copy_private(source: Path, target: Path) -> None:
    with source.open("rb") as reading, os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writing:
        shutil.copyfileobj(reading, writing, 1024 * 1024)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(file: Path) -> None:
    for suffix in ("", *_SIDE_FILES):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
