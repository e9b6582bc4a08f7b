"""The one function that takes entries out of the ledger: whole traces of one shard, with a sealed statement of what went.

Everything is one transaction under the shard's lease: whenever it is broken off, the ledger is as before or as after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from otel_finops.base.errors import BrokenLedger
from otel_finops.ledger.blocks import NO_HASH, Block, Seal, blocks_of_numbers, insert_block, last_block
from otel_finops.ledger.door import opened
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.ledger.period_bounds import month_name, month_of
from otel_finops.ledger.projection import TRACE_TABLES
from otel_finops.ledger.pruned import Months, Remains, Statement, add_months, remains_of, write_statement
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.rows import BOOK_ORDER, COLUMN_LIST, COLUMNS, entry_of, read_values
from otel_finops.ledger.standing import states
from otel_finops.store.unit_of_work import LIST_VALUES_MAX, Transaction

_SEQ: Final = COLUMNS.index("block_seq")
_TRACE: Final = COLUMNS.index("trace_no")
_COST: Final = COLUMNS.index("cost_pico")
_OF_BLOCKS: Final = f"SELECT {COLUMN_LIST} FROM entries WHERE shard = ? AND block_seq IN ({{}}) ORDER BY {BOOK_ORDER}"


class WrittenOff(NamedTuple):
    """What went: entries and their money by month, and the starts of the first and the last of them (None: nothing went)."""

    months: Months
    oldest_ns: int | None
    newest_ns: int | None


def write_off(transaction: Transaction, shard: int, trace_nos: Collection[int], rollups: Rollups, who: str, now_ns: int) -> WrittenOff:
    """Take all entries of these traces out of a shard.

    The caller holds the shard's lease, has confirmed it in this transaction, and knows that the traces belong to months that go.

    Raises:
        BrokenLedger: a block does not verify, or rows changed meanwhile; nothing is taken out then.
    """
    sql = f"SELECT {COLUMN_LIST} FROM entries WHERE trace_no IN ({{}})"
    entries = sorted(map(entry_of, transaction.select_in(sql, sorted(trace_nos))), key=_place)
    if not entries:
        return WrittenOff({}, None, None)
    last = last_block(transaction, shard)
    assert last is not None  # entries stand in blocks
    recorded_ns = max(now_ns, last.recorded_ns + 1)
    months = _months(entries)
    sum_pico = sum(entry.cost_pico or 0 for entry in entries)
    statement = Statement(shard, last.seq + 1, recorded_ns, who, months, len(entries), sum_pico)
    touched = sorted({entry.block_seq for entry in entries})
    left = list(_remains(transaction, statement, touched, frozenset(trace_nos)))
    write_statement(transaction, statement, left)
    with opened(transaction, "entries", statement.seq, shard):
        deleted = transaction.executemany("DELETE FROM entries WHERE trace_no = ?", [(number,) for number in sorted(trace_nos)])
    if deleted != len(entries):
        raise BrokenLedger(f"{deleted} instead of {len(entries)} entries of shard {shard} would go; run `ledger verify`")
    empty = Block(shard, statement.seq, last.hash, NO_HASH, 0, 0, recorded_ns, b"")
    insert_block(transaction, empty.sealed(statement.digest(left)))
    for table in TRACE_TABLES:
        transaction.executemany(f"DELETE FROM {table} WHERE trace_no = ?", [(number,) for number in sorted(trace_nos)])
    rollups.note_pruned(transaction, [net for net in _nets(entries) if net.role == ROLE_CALL])
    starts = [entry.started_ns for entry in entries]
    return WrittenOff(months, min(starts), max(starts))


def _place(entry: Entry) -> tuple[int, int]:
    return entry.block_seq, entry.idx


def _months(entries: Sequence[Entry]) -> Months:
    months: Months = {}
    for entry in entries:
        add_months(months, {month_name(month_of(entry)): (1, entry.cost_pico or 0)})
    return months


def _nets(entries: Sequence[Entry]) -> Iterator[Entry]:
    return (state.net for state in states(entries).values() if state.net is not None)


def _remains(transaction: Transaction, statement: Statement, touched: Sequence[int], gone: Collection[int]) -> Iterator[Remains]:
    """What will be left of every touched block, each checked before it loses rows: what is broken must be found, not forgotten."""
    for start in range(0, len(touched), LIST_VALUES_MAX):
        piece = touched[start : start + LIST_VALUES_MAX]
        blocks = blocks_of_numbers(transaction, statement.shard, piece)
        known = remains_of(transaction, statement.shard, piece)
        rows = transaction.select_in(_OF_BLOCKS, piece, before=(statement.shard,))
        for seq, of_block in groupby(map(read_values, rows), key=itemgetter(_SEQ)):
            whole, left = Seal(), Seal()
            for values in of_block:
                _weigh(values, whole)
                if values[_TRACE] not in gone:
                    _weigh(values, left)
            rows_digest = _proved(blocks.get(seq), known.get(seq), whole, f"{statement.shard}-{seq}")
            yield Remains(seq, statement.seq, rows_digest, left.count, left.digest)


def _weigh(values: list[Any], seal: Seal) -> None:
    cost = values[_COST]
    seal.add(values, cost if isinstance(cost, int) else None)


def _proved(block: Block | None, known: Remains | None, whole: Seal, place: str) -> bytes:
    """The digest over all rows that a block ever had; raises BrokenLedger when what stands there now does not verify."""
    if block is not None and known is not None and (whole.count, whole.digest) == (known.left_count, known.left_digest):
        return known.rows_digest
    if block is not None and known is None and whole.count == block.entry_count and block.sealed(whole.digest).hash == block.hash:
        return whole.digest
    raise BrokenLedger(f"block {place} does not verify, so nothing of it is pruned; run `ledger verify`")
