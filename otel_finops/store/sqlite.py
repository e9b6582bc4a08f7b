"""SQLite as the store: WAL, an fsync with every commit, one writer at a time.

The standard library's module alone is used: a second copy of SQLite in the process would break POSIX file locks.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection, create_engine, event, make_url

from otel_finops.base.errors import Busy, FinopsError, StartRefused, Unavailable
from otel_finops.base.limits import MIB
from otel_finops.base.times import format_ns
from otel_finops.store.checkpoints import PAGES_MIN, Checkpoints
from otel_finops.store.reserve import Reserve
from otel_finops.store.unit_of_work import EngineName, Row, Transaction

BUSY_TIMEOUT_MS: Final = 5_000
"""How long to wait for another process's commit: half the ten seconds after which stock exporters give up a request."""
WRITER_CACHE_KIB: Final = 32_768
"""Page cache of the connection that writes: the upper levels of the random indexes of some ten million spans."""
READER_CACHE_KIB: Final = 4_096
"""Page cache of each reading connection; it is emptied whenever somebody wrote, so that more would seldom serve twice."""
CHECKPOINT_PAGES: Final = 3 * PAGES_MIN
"""Pages in the WAL before a commit copies them back itself, because no thread beside the commits did (`store.checkpoints`); with room to
spare no more than the reserve for a full disk can take (`RESERVE_BYTES`)."""
JOURNAL_BYTES_MAX: Final = 64 * 1024 * 1024
"""To what the WAL file is cut after a checkpoint."""
READERS_MAX: Final = 16
SCARCE_BYTES: Final = MIB
"""With less room than this an error of the disk is taken for a full one: SQLite reports some of them as such (shared memory)."""
UPGRADE_WAIT_MS: Final = 120_000
"""How long to wait for another process's upgrade."""

DURABLE: Final = "FULL"
"""How commits are synced; those that need not be durable are not (`NORMAL`)."""
PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    f"PRAGMA synchronous = {DURABLE}",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit = {JOURNAL_BYTES_MAX}",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
)

_log: Final = logging.getLogger(__name__)

_TEXTS: Final = {
    sqlite3.SQLITE_BUSY: "the database is locked by another process",
    sqlite3.SQLITE_LOCKED: "the database is locked by another process",
    sqlite3.SQLITE_NOMEM: "the database ran out of memory",
    sqlite3.SQLITE_READONLY: "the database cannot be written",
    sqlite3.SQLITE_INTERRUPT: "the database was interrupted",
    sqlite3.SQLITE_IOERR: "the database's disk reported an error",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_FULL: "the database's disk is full",
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "the database is locked by another process",
    sqlite3.SQLITE_NOTADB: "the database file is not a database",
}
"""Result codes that are faults of the surroundings; every other one is a programmer's error or a broken constraint."""


class SqliteConnection(sqlite3.Connection):
    """A connection that is told whether it may write only when that changes: told so, it compiles all of its statements anew."""

    _may_write: bool | None = None

    def let_write(self, may_write: bool) -> None:
        """Take writes, or refuse them; outside of a transaction."""
        if self._may_write is not may_write:
            self._may_write = None  # not known, should it fail
            self.execute(f"PRAGMA query_only = {'OFF' if may_write else 'ON'}")
            self._may_write = may_write


class SqliteTransaction(Transaction):
    """A transaction on a connection of the standard library."""

    engine_name: EngineName = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """One statement, all its rows."""
        return self._connection.execute(sql, params).fetchall()

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """One statement for every row of parameters."""
        return max(self._connection.executemany(sql, rows).rowcount, 0)

    def iterate(self, sql: str, params: Sequence[Any] = ()) -> Iterator[Row]:
        """Stream a query's rows."""
        yield from self._connection.execute(sql, params)


class _Turnstile:
    """A lock that is handed over in the order of arrival, so that a busy writer cannot starve the others."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._owner: int | None = None

    def acquire(self, timeout_s: float) -> bool:
        me = threading.get_ident()
        if self._owner == me:
            raise RuntimeError("a writing transaction is open in this thread already")
        with self._guard:
            if self._owner is None:
                self._owner = me
                return True
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        passed = gate.acquire(timeout=timeout_s)
        with self._guard:
            if not passed and gate in self._waiting:
                self._waiting.remove(gate)
                return False
            self._owner = me
            return True

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._owner = 0
                self._waiting.popleft().release()
            else:
                self._owner = None


_turnstiles: dict[str, _Turnstile] = {}
_turnstiles_guard: Final = threading.Lock()


class SqliteDriver:
    """One SQLite file."""

    name: EngineName = "sqlite"

    def __init__(self, url: URL, *, owner: bool = True, reserve: bool = False) -> None:
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise StartRefused(
                "database.url: SQLite needs a file, e.g. sqlite:///otel-finops.db; a ledger in memory would not survive a restart."
            )
        self.path = self.path_of(url)
        self.place = f"SQLite file {self.path}"
        self._identity: tuple[int, int] | None = None
        self._doubtful_log = owner
        self._reserve = Reserve(self.path.with_name(f"{self.path.name}.reserve")) if reserve else None
        with _turnstiles_guard:
            self._turnstile = _turnstiles.setdefault(str(self.path.resolve()), _Turnstile())
        self.engine = _engine(self.path, READERS_MAX, READER_CACHE_KIB)
        self._writing_engine = _engine(self.path, 1, WRITER_CACHE_KIB)
        self._writer: PoolProxiedConnection | None = None
        self._checkpoints = Checkpoints(self.path, self.writer_turn, self._log_failed)
        self._is_relaxed = False

    @staticmethod
    def path_of(url: URL | str) -> Path:
        """The file that a URL names."""
        return Path(make_url(url).database or "").absolute()

    def connection(self, *, write: bool) -> PoolProxiedConnection:
        """The one that writes is kept at hand: to take it out of a pool and put it back costs as much as a small transaction."""
        if not write:
            return self.engine.raw_connection()
        writer, self._writer = self._writer, None
        return writer or self._writing_engine.raw_connection()

    def give_back(self, pooled: PoolProxiedConnection, *, write: bool) -> None:
        """See `Driver.give_back`."""
        if write and pooled.is_valid:
            self._writer = pooled
        else:
            pooled.close()

    @contextmanager
    def writer_turn(self) -> Iterator[None]:
        """Wait for the other writers of this process, first come, first served."""
        if not self._turnstile.acquire(BUSY_TIMEOUT_MS / 1000):
            raise Busy("the database is busy with other writes; nothing was stored, send it again")
        try:
            yield
        finally:
            self._turnstile.release()

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Hold the write lock for all migrations; another process waits for it, then finds nothing left to do."""
        with self.writer_turn(), self.engine.connect() as plain:
            raw = plain.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.execute(f"PRAGMA busy_timeout = {UPGRADE_WAIT_MS}")
            try:
                connection = plain.execution_options(write=True)
                with connection.begin():
                    yield connection
                raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            except BaseException:
                plain.invalidate()
                raise

    def copy_before_upgrade(self, revision: str, now_ns: int) -> Path:
        """Write a whole copy, named after revision and time; a copy that failed half-way is removed."""
        stamp = format_ns(now_ns)[:19].replace("-", "").replace(":", "")
        copy = self.path.with_name(f"{self.path.name}.{revision}.{stamp}Z.copy")
        try:
            with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        return copy

    def begin(self, connection: SqliteConnection, *, write: bool, durable: bool = True) -> None:
        """BEGIN, with the write lock at once when it will write: a lock taken later would fail instead of waiting.

        A commit that need not be durable does not wait for the disk; the next durable one makes it so, since it is the same log.
        """
        if self._identity is not None and self._identity != self._file():
            raise Unavailable(
                "the database's file was removed or replaced while the service was running; nothing was stored: put it back, or restart"
            )
        if write and self.short_of_room():
            raise Unavailable(f"{_TEXTS[sqlite3.SQLITE_FULL]}; nothing was stored, send it again later")
        connection.let_write(write)
        if write and self._is_relaxed is durable:
            connection.execute(f"PRAGMA synchronous = {DURABLE if durable else 'NORMAL'}")
            self._is_relaxed = not durable
        if write and self._doubtful_log:
            self._make_log_sure(connection)
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def committed(self) -> None:
        """A writing transaction ended well."""
        self._checkpoints.written(durable=not self._is_relaxed)

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._checkpoints.close()
        self.engine.dispose()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        self._writing_engine.dispose()

    def _log_failed(self, error: sqlite3.Error | OSError) -> None:
        """What the thread beside the commits met: the next commit writes again what may be lost; on a full disk it fails itself, and
        then what can be done is."""
        if isinstance(error, sqlite3.Error) and self.is_locked(error):
            return  # somebody is at it already, which is as good
        text = error.strerror if isinstance(error, OSError) else _TEXTS.get(_code(error), type(error).__name__)
        _log.warning("the database's log could not be copied back or synced: %s", text)
        if isinstance(error, OSError) or _code(error) == sqlite3.SQLITE_IOERR:
            self._doubtful_log = True

    def _make_log_sure(self, connection: sqlite3.Connection) -> None:
        """Write the WAL once more, as it is, before anything is written behind frames that a failed fsync left in it.

        The kernel keeps such frames as if they were written, so that SQLite finds them when it opens the WAL, and a later fsync says
        nothing of them: after a power cut they are a hole, and all commits behind it are lost. Written again they are the next fsync's.
        It is done at the start too, as the former run may have met such an error before it ended.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            _write_again(self.path.with_name(f"{self.path.name}-wal"))
        except OSError as error:
            raise Unavailable(f"{_TEXTS[sqlite3.SQLITE_IOERR]}; nothing was stored, send it again later") from error
        finally:
            connection.execute("ROLLBACK")
        self._doubtful_log = False

    def _file(self) -> tuple[int, int] | None:
        """Which file the path names: what is written to a file without a name is lost when the last connection closes."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def transaction(self, connection: sqlite3.Connection) -> Transaction:
        """The transaction that has begun on the connection."""
        return SqliteTransaction(connection)

    def missing(self) -> bool:
        """The file is not there."""
        return not self.path.exists()

    def confirm(self, transaction: Transaction) -> None:
        """Refuse a file system without shared memory (network drives): there the file would silently not use a WAL."""
        if transaction.execute("PRAGMA journal_mode") != [("wal",)]:
            raise StartRefused(f"{self.place} lies on a file system without write-ahead logging: put it on a local disk (database.url)")
        self._identity = self._file()
        if self._reserve is not None:
            self._reserve.prepare()

    def relieve(self, error: BaseException) -> None:
        """Distrust the WAL after an error of the disk; on a full one give the reserve up, once, and use the room to shorten the WAL."""
        if _code(error) == sqlite3.SQLITE_IOERR:
            self._doubtful_log = True
        if self._reserve is None or not self._is_full(error, self._reserve) or not self._reserve.give_up():
            return
        try:
            with closing(sqlite3.connect(self.path, timeout=0, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                [(_, pages, copied)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                _log.info("checkpoint on a full disk: %d of %d pages", copied, pages)
        except sqlite3.Error as failed:
            _log.warning("the checkpoint on a full disk failed: %s", _TEXTS.get(_code(failed), type(failed).__name__))

    @staticmethod
    def _is_full(error: BaseException, reserve: Reserve) -> bool:
        code = _code(error)
        return code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and reserve.free_bytes() < SCARCE_BYTES)

    def short_of_room(self) -> bool:
        """The reserve was given up and cannot be made again yet."""
        return self._reserve is not None and self._reserve.refuses()

    def reserve_bytes(self) -> int | None:
        """Bytes of the reserve file; None without one."""
        return None if self._reserve is None else self._reserve.held_bytes

    def fault(self, error: BaseException) -> FinopsError | None:
        """A fault of the surroundings in safe words, None for a programmer's error."""
        code = _code(error)
        text = _TEXTS.get(code)
        if text is None:
            return None
        outcome = "it is not known whether anything was stored" if code == sqlite3.SQLITE_IOERR else "nothing was stored"
        return Unavailable(f"{text}; {outcome}, send it again later")

    def is_locked(self, error: BaseException) -> bool:
        """Another connection holds the write lock."""
        return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)

    def refusal(self, error: BaseException) -> str | None:
        """Why the service must not start, and how to mend it."""
        code = _code(error)
        if code == sqlite3.SQLITE_CANTOPEN:
            return f"cannot open {self.place}: create its folder, or give this user the right to write there (database.url)"
        if code == sqlite3.SQLITE_NOTADB:
            return f"{self.place} is not a database: move that file away, or name another one in database.url"
        if code == sqlite3.SQLITE_READONLY:
            return f"{self.place} cannot be written: give this user the right to write the file and its folder (database.url)"
        if code == sqlite3.SQLITE_CORRUPT:
            return f"{self.place} is damaged: restore a copy of it, or name another file in database.url"
        text = _TEXTS.get(code)
        return f"{self.place} cannot be used: {text}" if text else None


def _code(error: BaseException) -> int:
    """The primary result code of a driver's error, -1 for anything else."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF if isinstance(error, sqlite3.Error) and hasattr(error, "sqlite_errorcode") else -1


def _write_again(file: Path) -> None:
    """Write every byte of a file to where it stands, and sync it; a file that is not there has none.

    Raises:
        OSError: the disk's.
    """
    try:
        descriptor = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        at = 0
        while piece := os.pread(descriptor, MIB, at):
            at += os.pwrite(descriptor, piece, at)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _engine(path: Path, connections: int, cache_kib: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={
            "isolation_level": None,
            "check_same_thread": False,
            "cached_statements": 512,
            "timeout": BUSY_TIMEOUT_MS / 1000,
            "factory": SqliteConnection,
        },
        pool_size=connections,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "connect", lambda connection, _record: connection.execute(f"PRAGMA cache_size = -{cache_kib}"))
    event.listen(engine, "begin", _begin_core)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in PRAGMAS:
        connection.execute(pragma).fetchall()


def _begin_core(connection: Connection) -> None:
    """SQLAlchemy leaves BEGIN to the driver, which is told here to leave it to us; the execution option
    `write=True` makes it a writing transaction, without it the connection refuses to write."""
    write = connection.get_execution_options().get("write", False)
    raw = connection.connection.driver_connection
    assert isinstance(raw, SqliteConnection)
    raw.let_write(write)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
