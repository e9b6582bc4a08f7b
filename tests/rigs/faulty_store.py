"""A SQLite driver whose calls fail by a plan: every statement, every transaction's begin and every commit is a call."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from otel_finops.store.sqlite import SqliteConnection

CODES = ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_FULL", "SQLITE_BUSY", "SQLITE_NOMEM")
IO_ERROR = "OSError"
KINDS = (*CODES, IO_ERROR)


class Injected(NamedTuple):
    """One fault: which, and whether the call had done its work before (a commit whose answer got lost)."""

    kind: str
    afterwards: bool

    def error(self) -> Exception:
        if self.kind == IO_ERROR:
            return OSError(5, "Input/output error")
        error = sqlite3.OperationalError("injected")
        error.sqlite_errorcode = getattr(sqlite3, self.kind)
        error.sqlite_errorname = self.kind
        return error


class Faults:
    """Counts the calls and says which of them fail.

    Attributes:
        calls: so many were made since `arm`.
        injected: so many failed.
    """

    def __init__(self) -> None:
        self.calls = self.injected = 0
        self._plan: Callable[[int], Injected | None] = lambda number: None

    def arm(self, plan: Callable[[int], Injected | None]) -> None:
        """Count from 1 on; `plan` is told the number of each call."""
        self.calls = self.injected = 0
        self._plan = plan

    def disarm(self) -> None:
        """Let everything succeed."""
        self._plan = lambda number: None

    def around(self, call: Callable[[], Any]) -> Any:
        """Make the call, or fail."""
        self.calls += 1
        fault = self._plan(self.calls)
        if fault is None:
            return call()
        self.injected += 1
        if fault.afterwards:
            call()
        raise fault.error()


def at_call(number: int, seed: int) -> Callable[[int], Injected | None]:
    """One fault, at this call."""
    rng = random.Random(f"{seed}-{number}")
    fault = Injected(rng.choice(KINDS), rng.random() < 0.3)
    return lambda call: fault if call == number else None


def every(nth: int, seed: int, until: int) -> Callable[[int], Injected | None]:
    """A fault at every n-th call, up to one call."""
    rng = random.Random(f"{seed}-{nth}")
    return lambda call: Injected(rng.choice(KINDS), rng.random() < 0.3) if call % nth == 0 and call <= until else None


@contextmanager
def faulty_connections(faults: Faults) -> Iterator[None]:
    """All SQLite connections that are opened from now on ask `faults`."""

    class Faulty(SqliteConnection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            return faults.around(lambda: super(Faulty, self).execute(sql, parameters))  # type: ignore[no-any-return]

        def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
            return faults.around(lambda: super(Faulty, self).executemany(sql, parameters))  # type: ignore[no-any-return]

        def commit(self) -> None:
            faults.around(super().commit)

    module: Any = sqlite3.dbapi2
    connect = module.connect
    module.connect = lambda *args, **more: connect(*args, **{**more, "factory": Faulty})
    try:
        yield
    finally:
        module.connect = connect
