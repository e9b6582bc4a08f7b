"""What was pruned, as the chain itself says it, and how blocks are proved whose rows are gone.

Each step of a pruning writes a statement: who took how much of which months, and for every block that lost rows the digest over all rows
that it ever had and the digest over those that are left. The next block of the shard has no rows and seals the statement:

    digest of the block = SHA-256 over the JSON array [format, shard, seq, time, who, months, entries, sum, blocks]
    months = [[month, entries, sum], ..], blocks = [[seq, rows digest, left count, left digest], ..], sums as text, digests as hex

So a block without its rows still proves count, sum and time by its hash, a block with some of them proves those, and rows that went
missing without a statement show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from otel_finops.store.unit_of_work import Transaction

FORMAT: Final = "otel-finops-pruning-1"
Months: TypeAlias = dict[str, tuple[int, int]]
"""Number of entries and exact sum of their money, pico-USD, by month (YYYY-MM)."""

_COLUMNS: Final = "block_seq, pruned_ns, who, months, entries, sum_pico"
_BLOCKS: Final = "INSERT INTO pruned_blocks (shard, seq, by_seq, rows_digest, left_count, left_digest) VALUES"


class Remains(NamedTuple):
    """How a block is proved that lost rows.

    Attributes:
        by_seq: the block that seals the statement which says so.
        rows_digest: over all rows that the block ever had.
        left_count, left_digest: of the rows that are left.
    """

    seq: int
    by_seq: int
    rows_digest: bytes
    left_count: int
    left_digest: bytes


class Statement(NamedTuple):
    """What one step of a pruning took from one shard; money in pico-USD."""

    shard: int
    seq: int
    pruned_ns: int
    who: str
    months: Months
    entries: int
    sum_pico: int

    def digest(self, blocks: Sequence[Remains]) -> bytes:
        """What the sealing block's hash is made of; the blocks in the order of their numbers."""
        said = [
            FORMAT, self.shard, self.seq, self.pruned_ns, self.who,
            [[month, entries, str(pico)] for month, (entries, pico) in sorted(self.months.items())], self.entries, str(self.sum_pico),
            [[one.seq, one.rows_digest.hex(), one.left_count, one.left_digest.hex()] for one in blocks],
        ]  # fmt: skip
        return hashlib.sha256(orjson.dumps(said)).digest()


class PrunedMonth(NamedTuple):
    """A month that was pruned.

    Attributes:
        to_ns: its end; spans that started before it are taken no more.
        begun_ns, begun_by: when and by whom the pruning was begun.
        entries, sum_pico: what went so far.
    """

    month: str
    to_ns: int
    begun_ns: int
    begun_by: str
    entries: int
    sum_pico: int


def write_statement(transaction: Transaction, statement: Statement, blocks: Sequence[Remains]) -> None:
    """Write a statement that is not sealed yet."""
    months = {month: [entries, str(pico)] for month, (entries, pico) in statement.months.items()}
    row = (statement.shard, *statement[1:4], orjson.dumps(months, option=orjson.OPT_SORT_KEYS).decode(), statement.entries)
    transaction.execute(f"INSERT INTO prunings (shard, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, str(statement.sum_pico)))
    transaction.write_values(_BLOCKS, [(statement.shard, one.seq, statement.seq, *one[2:]) for one in blocks])


def statements(transaction: Transaction, shard: int, after: int, upto: int) -> dict[int, Statement]:
    """The statements of a shard that blocks in (after, upto] seal, by those blocks' numbers."""
    sql = f"SELECT {_COLUMNS} FROM prunings WHERE shard = ? AND block_seq > ? AND block_seq <= ?"
    return {row[0]: _statement(shard, row) for row in transaction.execute(sql, (shard, after, upto))}


def last_statements(transaction: Transaction) -> dict[int, int]:
    """The block that seals the newest statement of each shard that was pruned."""
    return dict(transaction.execute("SELECT shard, MAX(block_seq) FROM prunings GROUP BY shard"))


def blocks_of(transaction: Transaction, shard: int, by_seq: int) -> list[Remains]:
    """The blocks that a statement names, in the order of their numbers."""
    sql = "SELECT seq, by_seq, rows_digest, left_count, left_digest FROM pruned_blocks WHERE shard = ? AND by_seq = ? ORDER BY seq"
    return [_remains(row) for row in transaction.execute(sql, (shard, by_seq))]


def remains(transaction: Transaction, shard: int, after: int, upto: int) -> dict[int, Remains]:
    """What holds now of the blocks in (after, upto] that lost rows, by number."""
    sql = (
        "SELECT seq, by_seq, rows_digest, left_count, left_digest FROM pruned_blocks "
        "WHERE shard = ? AND seq > ? AND seq <= ? ORDER BY seq, by_seq"
    )
    return {row[0]: _remains(row) for row in transaction.execute(sql, (shard, after, upto))}


def remains_of(transaction: Transaction, shard: int, seqs: Sequence[int]) -> dict[int, Remains]:
    """What holds now of these blocks, by number; those that lost nothing are left out."""
    sql = "SELECT seq, by_seq, rows_digest, left_count, left_digest FROM pruned_blocks WHERE shard = ? AND seq IN ({}) ORDER BY seq, by_seq"
    return {row[0]: _remains(row) for row in transaction.select_in(sql, seqs, before=(shard,))}


def unsealed(transaction: Transaction, shard: int, last_seq: int) -> int | None:
    """A block that lost rows by a statement which is not there or which no block seals; None when there is none."""
    sql = (
        "SELECT MIN(b.seq) FROM pruned_blocks b WHERE b.shard = ? AND (b.by_seq > ? OR NOT EXISTS "
        "(SELECT 1 FROM prunings p WHERE p.shard = b.shard AND p.block_seq = b.by_seq))"
    )
    [(seq,)] = transaction.execute(sql, (shard, last_seq))
    return None if seq is None else int(seq)


def pruned_until_ns(transaction: Transaction) -> int:
    """The instant before which months are pruned; 0 when none is."""
    [(found,)] = transaction.execute("SELECT MAX(to_ns) FROM pruned_months")
    return int(found or 0)


def pruned_months(transaction: Transaction) -> list[PrunedMonth]:
    """The months that were pruned, oldest first."""
    taken: dict[str, tuple[int, int]] = {}
    for (text,) in transaction.iterate("SELECT months FROM prunings"):
        add_months(taken, {month: (entries, int(pico)) for month, (entries, pico) in orjson.loads(text).items()})
    rows = transaction.execute("SELECT month, to_ns, begun_ns, begun_by FROM pruned_months ORDER BY month")
    return [PrunedMonth(month, to_ns, begun_ns, who, *taken.get(month, (0, 0))) for month, to_ns, begun_ns, who in rows]


def begin_months(transaction: Transaction, until_ns: int, now_ns: int, who: str) -> list[str]:
    """Say of every closed month before an instant that it is pruned from now on; returns those of which it was not said before."""
    sql = "SELECT month, to_ns FROM periods WHERE to_ns <= ? AND month NOT IN (SELECT month FROM pruned_months) ORDER BY month"
    found = transaction.execute(sql, (until_ns,))
    head = "INSERT INTO pruned_months (month, to_ns, begun_ns, begun_by) VALUES"
    transaction.write_values(head, [(*row, now_ns, who) for row in found])
    return [month for month, _ in found]


def add_months(sums: Months, more: Months) -> None:
    """Add up by month, in place."""
    for month, (entries, pico) in more.items():
        before = sums.get(month, (0, 0))
        sums[month] = before[0] + entries, before[1] + pico


def _statement(shard: int, row: tuple[Any, ...]) -> Statement:
    seq, pruned_ns, who, months, entries, sum_pico = row
    taken = {month: (count, int(pico)) for month, (count, pico) in orjson.loads(months).items()}
    return Statement(shard, seq, pruned_ns, who, taken, entries, int(sum_pico))


def _remains(row: tuple[Any, ...]) -> Remains:
    seq, by_seq, rows_digest, left_count, left_digest = row
    return Remains(seq, by_seq, bytes(rows_digest), left_count, bytes(left_digest))
