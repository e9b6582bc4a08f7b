"""Blocks: each append of a shard is sealed by one row that links to the block before it.

    digest = SHA-256 over the canonical bytes of the block's rows, each followed by a newline
    hash   = SHA-256 over the JSON array [shard, seq, previous hash, count, sum, recorded_ns, digest], hashes as hex

The sum is text, since it may pass 2^63. Uniqueness of (shard, seq) and of (shard, previous hash) makes a fork impossible.
A block without rows seals a statement of what was pruned (`ledger.pruned`): its digest is the statement's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.ledger.rows import Values, canonical_bytes, row_digest
from otel_finops.store.unit_of_work import Transaction

NO_HASH: Final = bytes(32)
_BYTES: Final = (bytes, memoryview)
"""Previous hash of a shard's first block."""

COLUMN_LIST: Final = "shard, seq, prev_hash, hash, entry_count, sum_pico, recorded_ns, row_digests"
_SELECT: Final = f"SELECT {COLUMN_LIST} FROM blocks"
_INSERT: Final = f"INSERT INTO blocks ({COLUMN_LIST}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class Block(NamedTuple):
    """One sealed append; the columns of `blocks`."""

    shard: int
    seq: int
    prev_hash: bytes
    hash: bytes
    entry_count: int
    sum_pico: int
    recorded_ns: int
    row_digests: bytes

    def sealed(self, rows_digest: bytes) -> Block:
        """The block with the hash that it must have over rows of this digest."""
        header = [self.shard, self.seq, self.prev_hash.hex(), self.entry_count, str(self.sum_pico), self.recorded_ns, rows_digest.hex()]
        return self._replace(hash=hashlib.sha256(orjson.dumps(header)).digest())


class Seal:
    """Digests of a block's rows, taken one by one in the order of `idx`."""

    def __init__(self) -> None:
        self.row_digests = bytearray()
        self.count = 0
        self.sum_pico = 0
        self._digest = hashlib.sha256()

    def add(self, values: Values, cost_pico: int | None) -> bytes:
        """Take one row; returns its short digest."""
        canonical = canonical_bytes(values)
        digest = row_digest(canonical)
        self._digest.update(canonical)
        self._digest.update(b"\n")
        self.row_digests += digest
        self.count += 1
        self.sum_pico += cost_pico or 0
        return digest

    def block(self, shard: int, seq: int, prev_hash: bytes, recorded_ns: int) -> Block:
        """The block over the rows taken so far."""
        return Block(shard, seq, prev_hash, NO_HASH, self.count, self.sum_pico, recorded_ns, bytes(self.row_digests)).sealed(self.digest)

    @property
    def digest(self) -> bytes:
        """SHA-256 over the rows taken so far."""
        return self._digest.digest()


def last_block(transaction: Transaction, shard: int) -> Block | None:
    """The newest block of a shard, None when it has none."""
    rows = transaction.execute(f"{_SELECT} WHERE shard = ? ORDER BY seq DESC LIMIT 1", (shard,))
    return _block_of(rows[0]) if rows else None


def block_at(transaction: Transaction, shard: int, seq: int) -> Block | None:
    """One block, None when there is none."""
    rows = transaction.execute(f"{_SELECT} WHERE shard = ? AND seq = ?", (shard, seq))
    return _block_of(rows[0]) if rows else None


def blocks_after(transaction: Transaction, shard: int, seq: int, limit: int) -> list[Block]:
    """The next blocks of a shard behind `seq`, in order, at most `limit`."""
    return [
        _block_of(row) for row in transaction.execute(f"{_SELECT} WHERE shard = ? AND seq > ? ORDER BY seq LIMIT ?", (shard, seq, limit))
    ]


def blocks_of_numbers(transaction: Transaction, shard: int, seqs: Sequence[int]) -> dict[int, Block]:
    """Blocks of a shard by number; those that are not there are left out."""
    found = map(_block_of, transaction.select_in(f"{_SELECT} WHERE shard = ? AND seq IN ({{}})", seqs, before=(shard,)))
    return {block.seq: block for block in found}


def insert_block(transaction: Transaction, block: Block) -> None:
    """Write a block's row."""
    transaction.execute(_INSERT, block._replace(sum_pico=str(block.sum_pico)))  # type: ignore[arg-type]  # text in the column


def stored_shards(transaction: Transaction) -> list[int]:
    """All shards that have blocks or entries, ascending; also shards that nobody should have written."""
    return sorted({shard for table in ("blocks", "entries") for shard in _shards_of(transaction, table)})


def _shards_of(transaction: Transaction, table: str) -> list[int]:
    shards: list[int] = []
    found = transaction.execute(f"SELECT MIN(shard) FROM {table}")[0][0]
    while found is not None:
        shards.append(found)
        found = transaction.execute(f"SELECT MIN(shard) FROM {table} WHERE shard > ?", (found,))[0][0]
    return shards


def _block_of(row: tuple[Any, ...]) -> Block:
    """The stored block; where SQLite holds another kind of value than the column's, one whose hash fits nothing."""
    shard, seq, prev_hash, value, entry_count, sum_pico, recorded_ns, row_digests = row
    numbers = (shard, seq, entry_count, recorded_ns)
    if not (all(isinstance(one, int) for one in numbers) and all(isinstance(one, _BYTES) for one in (prev_hash, value, row_digests))):
        return Block(shard, seq, b"", b"", 0, 0, 0, b"")
    return Block(shard, seq, bytes(prev_hash), bytes(value), entry_count, _whole(sum_pico), recorded_ns, bytes(row_digests))


def _whole(text: Any) -> int:
    """A stored sum; what is no number is no block's sum, and its hash shows it."""
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0
