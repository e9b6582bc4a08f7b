"""`ledger verify`: walks every shard's chain, row by row in constant memory, and says where it first breaks.

Found by the walk alone: rows that were edited, deleted, inserted or swapped, blocks that were changed, lost or doubled.
A tail that was cut off, or rewritten with fitting hashes, is sound in itself: only a signed head that was kept elsewhere
shows it (`ledger.head`).

Where rows were pruned, a block still proves their count and sum by its hash, and the rows that are left by the sealed statement of the
pruning (`ledger.pruned`); what the pruned rows said can no longer be proved, and the report says of which months.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from otel_finops.base.progress import tell
from otel_finops.ledger.blocks import NO_HASH, Block, Seal, blocks_after, last_block, stored_shards
from otel_finops.ledger.pruned import Months, Remains, Statement, add_months, blocks_of, remains, statements, unsealed
from otel_finops.ledger.rows import BOOK_ORDER, COLUMN_LIST, COLUMNS, DIGEST_BYTES, read_values
from otel_finops.store.unit_of_work import Transaction

BLOCKS_AT_ONCE: Final = 256
_COST: Final = COLUMNS.index("cost_pico")
_SELECT: Final = f"SELECT {COLUMN_LIST} FROM entries WHERE shard = ? AND block_seq > ? AND block_seq <= ? ORDER BY {BOOK_ORDER}"
_SEQ_MAX: Final = 2**63 - 1


class Fault(NamedTuple):
    """The first place at which a shard's chain breaks.

    Attributes:
        shard, seq: the block, or where a block should be.
        idx: the row within the block; None when no single row can be named.
        what: a sentence for people.
    """

    shard: int
    seq: int
    idx: int | None
    what: str

    @property
    def place(self) -> str:
        """The id of the entry, or of the block."""
        return f"{self.shard}-{self.seq}" if self.idx is None else f"{self.shard}-{self.seq}-{self.idx}"


class Report(NamedTuple):
    """What a walk found.

    Attributes:
        faults: the first fault of every shard that has one; empty when the ledger is sound.
        shards, blocks, entries: how much was walked.
        total_pico: exact sum of all entries' money that was walked, pico-USD.
        pruned: entries that are gone and the sum of their money, by month; their number and sum are proved, what they said is not.
    """

    faults: tuple[Fault, ...]
    shards: int
    blocks: int
    entries: int
    total_pico: int
    pruned: Months = {}  # noqa: RUF012 - never written to

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


class _ChainBroken(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.what)
        self.fault = fault


def verify(transaction: Transaction) -> Report:
    """Walk all shards on one snapshot."""
    walks = [_ShardWalk(transaction, shard) for shard in stored_shards(transaction)]
    faults = [fault for walk in walks if (fault := walk.run()) is not None]
    pruned: Months = {}
    for walk in walks:
        add_months(pruned, walk.pruned)
    sums = (sum(w.blocks for w in walks), sum(w.entries for w in walks), sum(w.total_pico for w in walks))
    return Report(tuple(faults), len(walks), *sums, pruned)


class _ShardWalk:
    """One shard, from its first block to the first fault."""

    def __init__(self, transaction: Transaction, shard: int) -> None:
        self._transaction = transaction
        self._shard = shard
        self._last: Block | None = None
        self.blocks = 0
        self.entries = 0
        self.total_pico = 0
        self.pruned: Months = {}

    def run(self) -> Fault | None:
        try:
            seq, last = -1, last_block(self._transaction, self._shard)
            while page := blocks_after(self._transaction, self._shard, seq, BLOCKS_AT_ONCE):
                self._page(page, seq)
                seq = page[-1].seq
                tell(f"blocks of shard {self._shard}", seq + 1, last.seq + 1 if last else None)
            self._no_more_rows(seq)
            self._no_rows_before_the_first()
            self._no_open_statement(seq)
        except _ChainBroken as broken:
            return broken.fault
        return None

    def _page(self, page: list[Block], after: int) -> None:
        upto = page[-1].seq
        left = remains(self._transaction, self._shard, after, upto)
        stated = statements(self._transaction, self._shard, after, upto)
        rows = _Rows(self._transaction.iterate(_SELECT, (self._shard, after, upto)))
        for block in page:
            self._link(block)
            self._stray(rows, block.seq)
            if block.seq in stated:
                self._statement(block, stated[block.seq])
            if block.seq in left:
                self._left_over(block, left[block.seq], rows)
            elif block.seq not in stated:
                self._content(block, rows)
            self._last = block
            self.blocks += 1

    def _link(self, block: Block) -> None:
        expected = self._last.seq + 1 if self._last else 0
        if block.seq != expected:
            raise self._broken(expected, None, f"the block is missing; block {block.seq} comes next")
        if block.prev_hash != (self._last.hash if self._last else NO_HASH):
            raise self._broken(block.seq, None, "the block does not link to the one before it")
        if self._last and block.recorded_ns <= self._last.recorded_ns:
            raise self._broken(block.seq, None, "the block is not younger than the one before it")

    def _statement(self, block: Block, statement: Statement) -> None:
        """A block that seals what was pruned."""
        said = statement.digest(blocks_of(self._transaction, self._shard, block.seq))
        if block.entry_count or block.sum_pico or block.row_digests or block.sealed(said).hash != block.hash:
            raise self._broken(block.seq, None, "the block's hash does not fit the statement of what was pruned")
        add_months(self.pruned, statement.months)

    def _left_over(self, block: Block, left: Remains, rows: _Rows) -> None:
        """A block that lost rows: what is left of them, and what its hash still proves."""
        seal, last = Seal(), -1
        for values in rows.of_block(block.seq):
            idx = values[2]
            if not isinstance(idx, int) or not last < idx < block.entry_count or seal.count >= left.left_count:
                raise self._broken(block.seq, idx if isinstance(idx, int) else None, "the row was inserted after others were pruned")
            self._digested(block, seal, values, idx)
            last = idx
        if seal.count < left.left_count:
            raise self._broken(block.seq, None, "a row is missing that no statement says was pruned")
        if seal.digest != left.left_digest:
            raise self._broken(block.seq, None, "the rows that are left do not fit the statement of what was pruned")
        if block.sealed(left.rows_digest).hash != block.hash:
            raise self._broken(block.seq, None, "the block's hash does not fit its count, sum or pruned rows")
        self._count(seal)

    def _content(self, block: Block, rows: _Rows) -> None:
        seal = Seal()
        for values in rows.of_block(block.seq):
            self._row(block, seal, values)
        if seal.count < block.entry_count:
            raise self._broken(block.seq, seal.count, "the row is missing")
        recomputed = seal.block(block.shard, block.seq, block.prev_hash, block.recorded_ns)
        if recomputed.hash != block.hash:
            raise self._broken(block.seq, None, "the block's hash does not fit its rows")
        if recomputed.sum_pico != block.sum_pico:
            raise self._broken(block.seq, None, "the block's sum does not fit its rows")
        if recomputed.row_digests != block.row_digests:
            raise self._broken(block.seq, None, "the block's row digests were changed")
        self._count(seal)

    def _count(self, seal: Seal) -> None:
        self.entries += seal.count
        self.total_pico += seal.sum_pico

    def _row(self, block: Block, seal: Seal, values: list[Any]) -> None:
        idx = values[2]
        if not isinstance(idx, int):
            raise self._broken(block.seq, None, "a row's place is no number")
        if seal.count >= block.entry_count:
            raise self._broken(block.seq, idx, "the row was inserted: the block has fewer rows")
        if idx != seal.count:
            raise self._broken(block.seq, min(idx, seal.count), "the row is missing" if idx > seal.count else "the row was inserted")
        self._digested(block, seal, values, idx)

    def _digested(self, block: Block, seal: Seal, values: list[Any], idx: int) -> None:
        cost = values[_COST]
        digest = seal.add(values, cost if isinstance(cost, int) else None)
        position = idx * DIGEST_BYTES
        if digest != block.row_digests[position : position + DIGEST_BYTES] and len(block.row_digests) == block.entry_count * DIGEST_BYTES:
            raise self._broken(block.seq, idx, "the row was changed")

    def _stray(self, rows: _Rows, seq: int) -> None:
        place = rows.place()
        if place is not None and place[0] < seq:
            raise self._broken(place[0], place[1], "the row belongs to no block")

    def _no_more_rows(self, seq: int) -> None:
        place = _Rows(self._transaction.iterate(_SELECT + " LIMIT 1", (self._shard, seq, _SEQ_MAX))).place()
        if place is not None:
            raise self._broken(place[0], place[1], "the row belongs to no block")

    def _no_rows_before_the_first(self) -> None:
        sql = (
            "SELECT block_seq, idx FROM entries WHERE shard = ? AND block_seq < 0 "
            "UNION ALL SELECT seq, NULL FROM blocks WHERE shard = ? AND seq < 0"
        )
        for seq, idx in self._transaction.execute(sql, (self._shard, self._shard)):
            raise self._broken(seq, idx, "the row or block was inserted before the first block")

    def _no_open_statement(self, last_seq: int) -> None:
        """Rows that are said to be pruned by what no block seals."""
        seq = unsealed(self._transaction, self._shard, last_seq)
        further = seq if seq is not None else next(iter(statements(self._transaction, self._shard, last_seq, _SEQ_MAX)), None)
        if further is not None:
            raise self._broken(further, None, "a statement of what was pruned is sealed by no block")

    def _broken(self, seq: int, idx: int | None, what: str) -> _ChainBroken:
        return _ChainBroken(Fault(self._shard, seq, idx, what))


class _Rows:
    """Rows of a shard in book order, with a look at the next one."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = map(read_values, rows)
        self._next = next(self._rows, None)

    def place(self) -> tuple[int, int] | None:
        """(block, idx) of the next row."""
        return None if self._next is None else (self._next[1], self._next[2])

    def of_block(self, seq: int) -> Iterator[list[Any]]:
        """The rows of one block."""
        while self._next is not None and self._next[1] == seq:
            values, self._next = self._next, next(self._rows, None)
            yield values
