"""Reading much of the ledger in steps that are one consistent state together, though each is a short transaction of its own.

A transaction that stays open as long as a slow reader takes has a price for everybody else: SQLite's WAL cannot be copied back and
grows, PostgreSQL's vacuum keeps all rows that died meanwhile. Entries make it needless: they are only ever appended, block after block,
so what lies before the last block of each shard at one moment, its *extent*, is the same for ever. Only retention takes rows away, whole
periods at a time; a read that it crosses is refused instead of answered with a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from otel_finops.base.errors import Unavailable
from otel_finops.ledger.blocks import last_block, stored_shards
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.pruned import last_statements
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

Place: TypeAlias = tuple[Any, ...]
Condition: TypeAlias = tuple[str, tuple[Any, ...]]
"""SQL and its parameters."""
Made = TypeVar("Made")

STEP_ROWS: Final = 512
"""Rows of one step: some 5 MB as values, and 20 to 40 ms until somebody else has a turn."""


class Extent(NamedTuple):
    """What the ledger held at a moment.

    Attributes:
        last_seqs: the last block of every shard.
    """

    last_seqs: Mapping[int, int]

    @classmethod
    def of(cls, transaction: Transaction) -> Extent:
        """Of what this transaction sees."""
        blocks = (last_block(transaction, shard) for shard in stored_shards(transaction))
        return cls({block.shard: block.seq for block in blocks if block is not None})

    def confirm(self, transaction: Transaction) -> None:
        """Raise Unavailable when some of it was pruned since: what is left is no state that ever was."""
        if any(seq > self.last_seqs.get(shard, -1) for shard, seq in last_statements(transaction).items()):
            raise Unavailable("retention pruned the ledger while it was read: ask again for what is left")

    def covers(self, entry: Entry) -> bool:
        """Whether the entry was booked by then."""
        return entry.block_seq <= self.last_seqs.get(entry.shard, -1)


class Stretch(NamedTuple):
    """Rows of a table in the order of a unique key, to be read step by step.

    A statement has one bound on either side: beside the place of a step SQLite would choose a wider one to search by, and read again and
    again what lies between.

    Attributes:
        table: which.
        columns: what of each row, as SQL.
        within, values: the condition that the key's index serves first, as SQL with parameters.
        key: the columns of the key behind what `within` fixes.
        begin: the place behind which it begins, None for the first row.
        upto, upto_value: how it ends, a condition on the key with one parameter; empty for the last row.
        wanted, wanted_values: a further condition; empty for all rows. A step looks at as many rows as others, however few meet it.
    """

    table: str
    columns: str
    within: str
    values: tuple[Any, ...]
    key: tuple[str, ...]
    begin: Place | None = None
    upto: str = ""
    upto_value: Any = None
    wanted: str = ""
    wanted_values: tuple[Any, ...] = ()

    def step(self, transaction: Transaction, after: Place | None, rows_max: int) -> tuple[list[Row], Place | None]:
        """The rows behind a place, and the place behind which the next step begins; None when that was the last."""
        if self.wanted:
            return self._sparse_step(transaction, after, rows_max)
        rows = self._rows(transaction, f"{self._key}, {self.columns}", after, self._end, f"LIMIT {rows_max}")
        end = rows[-1][: len(self.key)] if len(rows) == rows_max else None
        return [row[len(self.key) :] for row in rows], end

    def _sparse_step(self, transaction: Transaction, after: Place | None, rows_max: int) -> tuple[list[Row], Place | None]:
        ends = self._rows(transaction, self._key, after, self._end, f"LIMIT 1 OFFSET {rows_max - 1}")
        end = ends[0] if ends else None
        upto, values = self._end if end is None else (f" AND ({self._key}) <= ({self._marks})", end)
        return self._rows(transaction, self.columns, after, (f"{upto} AND {self.wanted}", (*values, *self.wanted_values)), ""), end

    def _rows(self, transaction: Transaction, columns: str, after: Place | None, more: Condition, tail: str) -> list[Row]:
        behind = "" if after is None else f" AND ({self._key}) > ({self._marks})"
        sql = f"SELECT {columns} FROM {self.table} WHERE {self.within}{behind}{more[0]} ORDER BY {self._key} {tail}"
        return transaction.execute(sql, (*self.values, *(after or ()), *more[1]))

    @property
    def _end(self) -> Condition:
        return (f" AND {self.upto}", (self.upto_value,)) if self.upto else ("", ())

    @property
    def _key(self) -> str:
        return ", ".join(self.key)

    @property
    def _marks(self) -> str:
        return ", ".join("?" * len(self.key))


def in_steps(
    store: Store,
    extent: Extent,
    stretches: Iterable[Stretch],
    made: Callable[[Transaction, list[Row]], Made],
    rows_max: int = STEP_ROWS,
) -> Iterator[Made]:
    """What is made of each step's rows, one step a transaction; between two of them nothing is held.

    Raises:
        Unavailable: a part of the extent was pruned meanwhile, or the store cannot answer now.
        Busy: the store cannot answer now.
    """
    for stretch in stretches:
        after = stretch.begin
        while True:
            with store.read() as transaction:
                extent.confirm(transaction)
                rows, after = stretch.step(transaction, after, rows_max)
                result = made(transaction, rows)
            yield result
            if after is None:
                break
