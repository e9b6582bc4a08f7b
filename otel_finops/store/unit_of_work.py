"""One database transaction as the rooms see it: SQL with `?` placeholders that runs on SQLite and on PostgreSQL.

Both engines understand: `INSERT .. ON CONFLICT .. RETURNING`, `UPDATE .. FROM (VALUES ..) AS v` (columns `column1` ..),
row values, `WITH`, partial indexes, bare booleans (`WHERE has_root`, `NOT booked`). Where they differ, a caller asks
`engine_name`. Sums of integers come back from PostgreSQL as `Decimal`: wrap them in `int()`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, Literal, TypeAlias

EngineName: TypeAlias = Literal["sqlite", "postgresql"]
Row: TypeAlias = tuple[Any, ...]

STATEMENT_ROWS_MAX: Final = 128
"""Rows of one multi-row VALUES list: larger ones are no cheaper, and one statement hands over the interpreter lock once."""
STATEMENT_PARAMETERS_MAX: Final = 16_384
"""Parameters of one statement: SQLite's default limit is 32,766, PostgreSQL's 65,535."""
_FEW_ROWS: Final = 8
"""So few rows are one statement whatever their number: with every decision some two or three are written."""
LIST_VALUES_MAX: Final = 512
"""Values of one IN list."""


class Transaction(ABC):
    """An open transaction; it ends with the `with` block of the store that gave it.

    Attributes:
        engine_name: which engine.
        provisional: it is a part of a larger whole (`Store.together`), which may be rolled back after this part ended well: memos of
            what it read or wrote belong into `after_commit`.
    """

    engine_name: EngineName
    provisional: bool = False

    def __init__(self) -> None:
        self._after_commit: list[Callable[[], None]] = []

    def after_commit(self, action: Callable[[], None]) -> None:
        """Have `action` run once the transaction is durable, and never if it is rolled back; for memos of what was written."""
        self._after_commit.append(action)

    def committed(self) -> None:
        """Run what `after_commit` was given; the store calls it."""
        for action in self._after_commit:
            action()

    @abstractmethod
    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Run one statement and return all its rows (none for statements without any)."""

    @abstractmethod
    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run one statement for every row of parameters, in order; returns how many table rows changed."""

    @abstractmethod
    def iterate(self, sql: str, params: Sequence[Any] = ()) -> Iterator[Row]:
        """Stream the rows of a query in constant memory; valid until the transaction ends."""

    def write_values(self, head: str, rows: Sequence[Sequence[Any]], tail: str = "") -> list[Row]:
        """Run `head (?, ..), (?, ..) tail` over all rows, few rows a statement, and return what RETURNING gave.

        Use it for hot inserts (`head` = "INSERT INTO t (a, b) VALUES"), updates (`head` = "UPDATE t SET .. FROM (VALUES",
        `tail` = ") AS v WHERE ..") and look-ups by several columns (`JOIN (VALUES`): a statement a row would hand over the
        interpreter lock once a row.
        """
        if not rows:
            return []
        width = len(rows[0])
        returned: list[Row] = []
        for start, stop in _pieces(len(rows), _rows_at_once(width)):
            sql = _values_sql(head, width, stop - start, tail)
            returned += self.execute(sql, tuple(chain.from_iterable(rows[start:stop])))
        return returned

    def select_in(self, sql: str, values: Sequence[Any], before: Sequence[Any] = (), after: Sequence[Any] = ()) -> Iterator[Row]:
        """Run a query whose `{}` stands for a list, e.g. `SELECT .. WHERE trace_no IN ({})`, over any number of values.

        Args:
            sql: the query; its rows must not depend on which values share a statement (no LIMIT, no aggregate across values).
            values: the list; it is cut into pieces, each padded by repeating its last value so that few statements differ.
            before: parameters of placeholders in front of the list, after: of those behind it.
        """
        for start in range(0, len(values), LIST_VALUES_MAX):
            piece = list(values[start : start + LIST_VALUES_MAX])
            size = 1 << (len(piece) - 1).bit_length()
            piece += [piece[-1]] * (size - len(piece))
            yield from self.execute(_list_sql(sql, size), (*before, *piece, *after))


def _rows_at_once(width: int) -> int:
    """The largest power of two of rows that a statement may have."""
    rows = min(STATEMENT_ROWS_MAX, STATEMENT_PARAMETERS_MAX // width)
    return 1 << (rows.bit_length() - 1)


def _pieces(count: int, largest: int) -> Iterator[tuple[int, int]]:
    """Cut `count` into powers of two and a few that are left, so that a handful of statement texts serves all batches."""
    start = 0
    while start < count:
        left = count - start
        size = min(largest, left if left <= _FEW_ROWS else 1 << (left.bit_length() - 1))
        yield start, start + size
        start += size


@lru_cache(maxsize=1024)
def _values_sql(head: str, width: int, rows: int, tail: str) -> str:
    row = "(" + ", ".join("?" * width) + ")"
    return f"{head} {', '.join([row] * rows)} {tail}"


@lru_cache(maxsize=512)
def _list_sql(sql: str, size: int) -> str:
    return sql.replace("{}", ", ".join("?" * size))
