"""What the store needs to know of a database engine, implemented by `store.sqlite` and `store.postgres`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, PoolProxiedConnection

from otel_finops.base.errors import FinopsError
from otel_finops.store.unit_of_work import EngineName, Transaction


class Driver(Protocol):
    """One database engine.

    Attributes:
        name: which one.
        engine: SQLAlchemy's engine; its pool holds the connections.
        place: where the database is, safe to show.
    """

    name: EngineName
    engine: Engine
    place: str

    def connection(self, *, write: bool) -> PoolProxiedConnection:
        """A connection for one transaction. Where only one can write at a time, all that write use one, whose page cache then stays
        valid from one to the next."""
        ...

    def give_back(self, pooled: PoolProxiedConnection, *, write: bool) -> None:
        """Take a connection back once its transaction has ended; the pool knows of one that was thrown away."""
        ...

    def writer_turn(self) -> AbstractContextManager[None]:
        """Held during a writing transaction: where only one can write, the others wait here in the order of arrival."""
        ...

    def migrating(self) -> AbstractContextManager[Connection]:
        """A connection in a writing transaction that no other process can migrate beside; committed on exit."""
        ...

    def copy_before_upgrade(self, revision: str, now_ns: int) -> Path | None:
        """Copy the database beside itself before it is upgraded; None where that is the administrator's work."""
        ...

    def begin(self, connection: Any, *, write: bool, durable: bool = True) -> None:
        """Begin a transaction on a driver's connection."""
        ...

    def committed(self) -> None:
        """Told after every writing transaction that ended well."""
        ...

    def close(self) -> None:
        """Close all connections that are not in use."""
        ...

    def transaction(self, connection: Any) -> Transaction:
        """The transaction that has begun on a driver's connection."""
        ...

    def missing(self) -> bool:
        """Whether there is no database yet, so that opening it would make one."""
        ...

    def confirm(self, transaction: Transaction) -> None:
        """Raise StartRefused when the database cannot keep what the store promises."""
        ...

    def relieve(self, error: BaseException) -> None:
        """Do against a driver's error what can be done at once, after its connection was given up; nothing for most."""
        ...

    def short_of_room(self) -> bool:
        """Whether writes are refused because the disk is full, as far as that is known without writing."""
        ...

    def reserve_bytes(self) -> int | None:
        """Room that is kept for a full disk; None where none is to be kept."""
        ...

    def fault(self, error: BaseException) -> FinopsError | None:
        """What to tell others of a driver's error: None when it is no fault of the database but of the program."""
        ...

    def is_locked(self, error: BaseException) -> bool:
        """Another process holds a lock that was waited for in vain."""
        ...

    def refusal(self, error: BaseException) -> str | None:
        """Why the service must not start on this database, and how to mend it; None when the error is not of that kind."""
        ...
