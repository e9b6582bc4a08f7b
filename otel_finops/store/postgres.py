"""PostgreSQL as the store, by psycopg 3. Imported only when the settings name PostgreSQL: psycopg is an optional extra."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from itertools import count
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import RawCursor, RawServerCursor
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection, create_engine, event

from otel_finops.base.errors import FinopsError, StartRefused, Unavailable
from otel_finops.store.unit_of_work import EngineName, Row, Transaction

CONNECTIONS_MAX: Final = 8
"""Connections of one process: one for the group commit, one for settling, the rest for readers."""
CONNECT_TIMEOUT_S: Final = 5
LOCK_TIMEOUT_MS: Final = 5_000
"""Half the ten seconds after which stock exporters give up a request."""
PREPARED_MAX: Final = 512
"""Statements that one connection keeps prepared; those not used for longest go first."""
STREAM_ROWS: Final = 2_000
UPGRADE_WAIT_MS: Final = 120_000
"""How long to wait for another process's upgrade."""
UPGRADE_LOCK: Final = 0x6F74656C66696E6F
"""Number of the advisory lock; any number will do that nobody else uses."""

_SESSION: Final = (
    "SET TIME ZONE 'UTC'",
    f"SET lock_timeout = {LOCK_TIMEOUT_MS}",
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
)
"""The last one: OK is said only after the commit is durable, whatever the server's default is."""

_TEXTS: Final = {
    "25006": "the database cannot be written (it is a standby, or set read-only)",
    "40": "the database had to choose between two transactions",
    "53100": "the database's disk is full",
    "53300": "the database has no connection left",
    "53": "the database is short of resources",
    "55P03": "the database is busy with other writes",
    "57": "the database is shutting down or cancelled the work",
    "58": "the database's disk reported an error",
    "XX": "the database reported an internal error",
}
"""Safe words by SQLSTATE, or by its class where the state itself is not listed."""


class _NullDumper(Dumper):
    """NULL with a type, so that a statement has the same types, and is prepared once, wherever its rows have NULLs.

    psycopg sends None without a type. Texts are sent without one too, so only the other kinds need this.
    """

    def dump(self, obj: Any) -> Buffer | None:
        """NULL."""
        return None


class _IntegerNull:
    """Stands for None among integers."""


class _BooleanNull:
    """Stands for None among booleans."""


class _BytesNull:
    """Stands for None among bytes."""


class _IntegerNullDumper(_NullDumper):
    oid = psycopg.adapters.types["int8"].oid


class _BooleanNullDumper(_NullDumper):
    oid = psycopg.adapters.types["bool"].oid


class _BytesNullDumper(_NullDumper):
    oid = psycopg.adapters.types["bytea"].oid


_NULLS: Final[dict[type, object]] = {int: _IntegerNull(), bool: _BooleanNull(), bytes: _BytesNull()}
"""What stands for None, by the type of a column's other values."""
_NULL_DUMPERS: Final = ((_IntegerNull, _IntegerNullDumper), (_BooleanNull, _BooleanNullDumper), (_BytesNull, _BytesNullDumper))

ColumnTypes: TypeAlias = dict[tuple[str, int], list[type | None]]
"""Types of the columns of hot statements, by head and number of columns, as far as values have shown them."""
HEADS_MAX: Final = 512
"""Heads whose types are remembered; inserts name only the columns that some row fills, so there can be many. A full memo is emptied."""


class PostgresTransaction(Transaction):
    """A transaction on a psycopg connection.

    Statements go with the server's own placeholders: psycopg would read a large list of values anew with every execution.
    """

    engine_name: EngineName = "postgresql"
    _names: Final = count()

    def __init__(self, connection: psycopg.Connection[Row], column_types: ColumnTypes) -> None:
        super().__init__()
        self._connection = connection
        self._column_types = column_types

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """One statement, all its rows."""
        with RawCursor(self._connection) as cursor:
            cursor.execute(_translated(sql), params, binary=True)
            return cursor.fetchall() if cursor.description else []

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """One statement for every row of parameters."""
        with RawCursor(self._connection) as cursor:
            cursor.executemany(_translated(sql), rows)
            return max(cursor.rowcount, 0)

    def iterate(self, sql: str, params: Sequence[Any] = ()) -> Iterator[Row]:
        """Stream a query's rows."""
        with RawServerCursor(self._connection, f"stream_{next(self._names)}") as cursor:
            cursor.itersize = STREAM_ROWS
            cursor.execute(_translated(sql), params, binary=True)
            yield from cursor

    def write_values(self, head: str, rows: Sequence[Sequence[Any]], tail: str = "") -> list[Row]:
        """As the base says, with the type of each column on its NULLs too."""
        return super().write_values(head, self._with_typed_nulls(head, rows), tail) if rows else []

    def _with_typed_nulls(self, head: str, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        if len(self._column_types) >= HEADS_MAX:
            self._column_types.clear()
        types = self._column_types.setdefault((head, len(rows[0])), [None] * len(rows[0]))
        columns = list(zip(*rows, strict=True))
        changed = False
        for at, column in enumerate(columns):
            if types[at] is None:
                types[at] = next((type(value) for value in column if value is not None), None)
            null = _NULLS.get(types[at] or str)
            if null is not None and None in column:
                columns[at] = tuple([null if value is None else value for value in column])
                changed = True
        return list(zip(*columns, strict=True)) if changed else rows


class PostgresDriver:
    """One PostgreSQL database."""

    name: EngineName = "postgresql"

    def __init__(self, url: URL) -> None:
        self.place = f"PostgreSQL database {url.database} at {url.host or 'the local socket'}"
        self.engine = _engine(url)
        self._column_types: ColumnTypes = {}

    def connection(self, *, write: bool) -> PoolProxiedConnection:
        """One of the pool's."""
        return self.engine.raw_connection()

    def give_back(self, pooled: PoolProxiedConnection, *, write: bool) -> None:
        """See `Driver.give_back`."""
        pooled.close()

    def writer_turn(self) -> AbstractContextManager[None]:
        """Nobody waits: the server handles concurrent writers."""
        return nullcontext()

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Hold an advisory lock for all migrations; another process waits for it, then finds nothing left to do."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {UPGRADE_WAIT_MS}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})")
            yield connection

    def copy_before_upgrade(self, revision: str, now_ns: int) -> None:
        """None: a server's backups are its administrator's, who also says when it is upgraded."""

    def begin(self, connection: psycopg.Connection[Row], *, write: bool, durable: bool = True) -> None:
        """Set the isolation of the transaction that the first statement opens, and whether its commit waits for the disk."""
        isolation = "READ COMMITTED READ WRITE" if write else "REPEATABLE READ READ ONLY"
        unhurried = "" if durable else "; SET LOCAL synchronous_commit = off"
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}{unhurried}".encode())

    def committed(self) -> None:
        """Nothing: the server sees to its log."""

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.engine.dispose()

    def transaction(self, connection: psycopg.Connection[Row]) -> Transaction:
        """The transaction that has begun on the connection."""
        return PostgresTransaction(connection, self._column_types)

    def missing(self) -> bool:
        """Never: a server makes no database by being asked for it."""
        return False

    def confirm(self, transaction: Transaction) -> None:
        """Refuse a standby or a read-only server."""
        if transaction.execute("SELECT current_setting('transaction_read_only'), pg_is_in_recovery()") != [("off", False)]:
            raise StartRefused(f"{self.place} is read-only or a standby: name the primary server (database.url)")

    def relieve(self, error: BaseException) -> None:
        """Nothing: the server's disk is its administrator's."""

    def short_of_room(self) -> bool:
        """Never known before a write is tried."""
        return False

    def reserve_bytes(self) -> int | None:
        """None: the server's disk is its administrator's."""
        return None

    def fault(self, error: BaseException) -> FinopsError | None:
        """A fault of the surroundings in safe words, None for a programmer's error."""
        if not isinstance(error, psycopg.Error):
            return None
        state = error.sqlstate or ""
        if state == "0A000" and error.diag.source_file in ("guc.c", "variable.c"):
            state = "25006"  # a standby says of `begin` that it does not support transactions that write
        text = _TEXTS.get(state) or _TEXTS.get(state[:2])
        if text is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            text = "the database cannot be reached"
        return Unavailable(f"{text}; nothing that was confirmed is lost, send it again later") if text else None

    def is_locked(self, error: BaseException) -> bool:
        """A lock was waited for in vain (SQLSTATE lock_not_available)."""
        return isinstance(error, psycopg.Error) and error.sqlstate == "55P03"

    def refusal(self, error: BaseException) -> str | None:
        """Why the service must not start, and how to mend it."""
        if not isinstance(error, psycopg.Error):
            return None
        said = str(error)  # a failed connection has no SQLSTATE
        if "authentication failed" in said or "no password supplied" in said or "pg_hba.conf" in said:
            return f"{self.place} refuses user or password: mend database.url"
        if "does not exist" in said:
            return f"{self.place}, or its user, does not exist: create it (createdb), or mend database.url"
        fault = self.fault(error)
        return f"{self.place} cannot be used now: start it, or mend database.url ({str(fault).split(';')[0]})" if fault else None


@lru_cache(maxsize=512)
def _translated(sql: str) -> bytes:
    """The same SQL with the server's numbered placeholders; our SQL has no `?` inside texts."""
    first, *others = sql.split("?")
    return (first + "".join([f"${number}{text}" for number, text in enumerate(others, 1)])).encode()


def _engine(url: URL) -> Engine:
    arguments: dict[str, Any] = {"application_name": "otel-finops", "connect_timeout": CONNECT_TIMEOUT_S}
    engine = create_engine(
        url,
        connect_args={name: value for name, value in arguments.items() if name not in url.query},
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_use_lifo=True,  # few connections do most of the work, and hold most of the prepared statements
        pool_timeout=LOCK_TIMEOUT_MS / 1000,
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: psycopg.Connection[Row], _record: object) -> None:
    """One type for all integers keeps prepared statements the same whatever the numbers' size."""
    connection.adapters.register_dumper(int, Int8Dumper)
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    for null, dumper in _NULL_DUMPERS:
        connection.adapters.register_dumper(null, dumper)
    connection.prepared_max = PREPARED_MAX
    for statement in _SESSION:
        connection.execute(statement)
    connection.commit()
