"""The store: opens the database that the settings name and hands out transactions.

A transaction that ends badly is rolled back, and a connection on which the driver reported a fault is thrown away before
anybody uses it again: after a failed fsync a second one can falsely succeed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, Self

from sqlalchemy import Engine, PoolProxiedConnection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, FinopsError, StartRefused
from otel_finops.store.driver import Driver
from otel_finops.store.sqlite import SqliteDriver
from otel_finops.store.unit_of_work import EngineName, Transaction


class _OnlyTried(Exception):
    """Takes a dry run back."""


class Store:
    """One database. Safe to use from many threads.

    Attributes:
        clock: the time that leases use.
        engine: SQLAlchemy's engine, for reports by Core and for migrations.
        place: where the database is, safe to show to users.
    """

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self.driver = driver
        self.clock = clock
        self.engine: Engine = driver.engine
        self.place = driver.place
        self._here = _Here()

    @classmethod
    def open(cls, url: str, clock: Clock, *, create: bool = True, reserve: bool = False) -> Self:
        """Open the database of a SQLAlchemy URL and try a write lock on it.

        Args:
            url: which one.
            clock: the time that leases use.
            create: make a SQLite file that is not there; without it that is refused, and no file appears.
            reserve: keep room on a SQLite file's disk for the day on which it is full (`store.reserve`).

        Raises:
            StartRefused: no such engine, missing extra, or a database that cannot be used; the text says how to mend it.
            Busy: another process holds the write lock.
        """
        store = cls(_driver(url, owner=create, reserve=reserve), clock)
        if not create and store.driver.missing():
            raise StartRefused(
                f"{store.place} does not exist: name the ledger (--database sqlite:///FILE, or database.url), "
                "or make one with `otel-finops serve` or `otel-finops ingest`"
            )
        try:
            with store._session(write=True) as transaction:
                store.driver.confirm(transaction)
        except FinopsError as fault:
            cause = fault.__cause__
            refusal = store.driver.refusal(cause) if cause else None
            store.close()
            if cause and store.driver.is_locked(cause):
                raise Busy(f"{store.place} is locked by another process; try again when that is done") from fault
            raise StartRefused(refusal or str(fault)) from fault
        return store

    @property
    def engine_name(self) -> EngineName:
        """`sqlite` or `postgresql`."""
        return self.driver.name

    @property
    def short_of_room(self) -> bool:
        """Writes are refused because the disk is full; they go on by themselves once there is room."""
        return self.driver.short_of_room()

    @property
    def reserve_bytes(self) -> int | None:
        """Room on the disk that is kept for a full one: 0 when it was given up, None where none is to be kept."""
        return self.driver.reserve_bytes()

    @contextmanager
    def write(self, *, housekeeping: bool = False, durable: bool = True) -> Iterator[Transaction]:
        """A writing transaction: committed (durably) on exit, rolled back on an exception. Inside `together` it is a part of the whole.

        Args:
            durable: False: the commit need not survive a power failure until the next durable one; the end of the process it does survive.
            housekeeping: what is written is of no interest to anybody afterwards, such as a lease: `beside_first_write` does not mean it.

        Raises:
            Busy: other writers kept the database too long.
            Unavailable: the database is away, full, locked or broken; nothing of this transaction is known to be stored.
        """
        whole = self._here.whole
        if whole is not None:
            with whole.part() as transaction:
                yield transaction
            return
        beside = None if housekeeping else self._here.beside
        if beside is None:
            with self._writing(durable=durable) as transaction:
                yield transaction
            return
        self._here.beside = None
        try:
            with self._writing() as transaction:
                yield transaction
                beside(transaction)
        except BaseException:
            self._here.beside = beside
            raise

    @contextmanager
    def write_or_try(self, *, dry_run: bool) -> Iterator[Transaction]:
        """`write`; of a dry run nothing stays: all of it is rolled back at the end, and what `after_commit` was given never runs."""
        with suppress(_OnlyTried), self.write() as transaction:
            yield transaction
            if dry_run:
                raise _OnlyTried

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A reading transaction: one snapshot of the whole database. Inside `together`, after the first write, it is a part of the
        whole and sees what was written there.

        Raises:
            Busy, Unavailable: as `write`.
        """
        whole = self._here.whole
        if whole is not None and whole.has_begun:
            with whole.part(harmless=_HARMLESS_TO_READS) as transaction:
                yield transaction
            return
        with self._session(write=False) as transaction:
            yield transaction

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one transaction of all that this thread writes to this store inside the block: committed (durably) on exit, rolled back
        on an exception, and also when a part of it failed though somebody caught the exception.

        The transaction begins with the first write, so that what comes before keeps nobody waiting; what `Transaction.after_commit`
        was given runs once all of it is durable. A block inside another one is a part of that. No lease can be taken inside: others
        would wait for it until the whole is done.

        Raises:
            Busy, Unavailable: as `write`; nothing of the whole is known to be stored.
        """
        if (outer := self._here.whole) is not None:
            with outer.guarded():
                yield
            return
        with ExitStack() as stack:
            whole = self._here.whole = _Whole(lambda: stack.enter_context(self._writing()), self.driver.fault)
            try:
                yield
                whole.confirm()
            except BaseException:
                if whole.broken is not None:
                    raise whole.broken from None  # whatever was made of it: the connection that saw it must not be used again
                raise
            finally:
                self._here.whole = None
        for action in whole.afterwards:
            action()

    def afterwards(self, action: Callable[[], None]) -> None:
        """Have `action` run once all that this thread writes together is durable and others may write again; at once outside of
        `together`. It must not raise: what was written stands.
        """
        if self._here.whole is None:
            action()
        else:
            self._here.whole.afterwards.append(action)

    @contextmanager
    def beside_first_write(self, action: Callable[[Transaction], None]) -> Iterator[None]:
        """Have `action` write into the first transaction that this thread commits inside the block, last of all: both stand, or
        neither. Where nothing is written it does not run.
        """
        former, self._here.beside = self._here.beside, action
        try:
            yield
        finally:
            self._here.beside = former

    @property
    def is_together(self) -> bool:
        """Whether this thread is inside a block of `together`."""
        return self._here.whole is not None

    @contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[Transaction]:
        with self.driver.writer_turn(), self._session(write=True, durable=durable) as transaction:
            yield transaction

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.driver.close()

    @contextmanager
    def _session(self, *, write: bool, durable: bool = True) -> Iterator[Transaction]:
        with self.faults():
            pooled = self.driver.connection(write=write)
        try:
            with self.faults(pooled):
                connection: Any = pooled.driver_connection
                self.driver.begin(connection, write=write, durable=durable)
                transaction = self.driver.transaction(connection)
                yield transaction
                connection.commit()
            transaction.committed()
            if write:
                self.driver.committed()
        finally:
            with contextlib.suppress(DBAPIError):
                self.driver.give_back(pooled, write=write)

    @contextmanager
    def faults(self, pooled: PoolProxiedConnection | None = None) -> Iterator[None]:
        """Turn a driver's faults into ours, after the connection was rolled back or thrown away."""
        try:
            yield
        except PoolTimeout as error:
            raise Busy("all database connections are in use; nothing was stored, send it again") from error
        except BaseException as error:
            original = error.orig if isinstance(error, DBAPIError) and error.orig else error
            fault = self.driver.fault(original)
            if pooled is not None:
                _give_up(pooled, broken=fault is not None)
            self.driver.relieve(original)
            if fault is None:
                raise
            raise fault from original


_HARMLESS_TO_READS: Final = (FinopsError, GeneratorExit)
"""Raised by who reads, and not by the driver, which would have ended the transaction."""


class _Whole:
    """The one transaction of a block of `Store.together`, once it has begun.

    Attributes:
        afterwards: what is to be done once it is durable.
        broken: the driver's error that ended it; None while there was none.
    """

    def __init__(self, begin: Callable[[], Transaction], fault_of: Callable[[BaseException], FinopsError | None]) -> None:
        self.afterwards: list[Callable[[], None]] = []
        self.broken: BaseException | None = None
        self._begin = begin
        self._fault_of = fault_of
        self._transaction: Transaction | None = None
        self._failed: BaseException | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything was written."""
        return self._transaction is not None

    @contextmanager
    def part(self, harmless: tuple[type[BaseException], ...] = ()) -> Iterator[Transaction]:
        """The transaction; the first part begins it."""
        self.confirm()
        with self.guarded(harmless):
            if self._transaction is None:
                self._transaction = self._begin()
                self._transaction.provisional = True
            yield self._transaction

    @contextmanager
    def guarded(self, harmless: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
        """Remember a failure: what is half done must not be committed, whoever catches the exception."""
        try:
            yield
        except harmless:
            raise
        except BaseException as error:
            self._failed = self._failed or error
            fault = self._fault_of(error)
            if fault is None:
                raise
            self.broken = self.broken or error
            raise fault from error

    def confirm(self) -> None:
        """Raise what a part failed with."""
        if self._failed is not None:
            raise self._failed


class _Here(threading.local):
    """What this thread is inside of, and what waits for its first write."""

    whole: _Whole | None = None
    beside: Callable[[Transaction], None] | None = None


def _give_up(pooled: PoolProxiedConnection, *, broken: bool) -> None:
    """Roll back; a connection that is broken, or that cannot even roll back, is closed and never used again."""
    try:
        pooled.rollback()
    except Exception:  # noqa: BLE001 - whatever the driver says, the connection is thrown away
        broken = True
    if broken:
        pooled.invalidate()


def _driver(url: str, *, owner: bool, reserve: bool) -> Driver:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StartRefused(
            "database.url is no SQLAlchemy URL, e.g. sqlite:///otel-finops.db or postgresql+psycopg://user@host/name"
        ) from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return SqliteDriver(parsed, owner=owner, reserve=reserve)
    if parsed.drivername == "postgresql+psycopg":
        return _postgres(parsed)
    raise StartRefused(f"database.url: {parsed.drivername!r} is not supported; use sqlite:///FILE or postgresql+psycopg://user@host/name")


def _postgres(url: Any) -> Driver:
    try:
        from otel_finops.store.postgres import PostgresDriver  # noqa: PLC0415 - psycopg is an optional extra
    except ImportError as error:
        raise StartRefused("PostgreSQL needs an extra that is not installed: pip install 'otel-finops[postgres]'") from error
    return PostgresDriver(url)
