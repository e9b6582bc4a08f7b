"""Who corrected money, why and by how much: one row for a run, one for each block that it wrote.

An entry names its block, and the block's round names the run; so every correction can be led back to who asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.store.unit_of_work import Transaction

_BEGIN: Final = (
    "INSERT INTO correction_runs (verb, who, why, selection, price_version, started_ns) VALUES (?, ?, ?, ?, ?, ?) RETURNING run_no"
)
_ROUND: Final = "INSERT INTO correction_rounds (shard, block_seq, run_no, rows, before_pico, after_pico) VALUES (?, ?, ?, ?, ?, ?)"
_RUNS: Final = "SELECT run_no, verb, who, why, selection, price_version, started_ns FROM correction_runs"
_ROUNDS: Final = "SELECT run_no, shard, block_seq, rows, before_pico, after_pico FROM correction_rounds WHERE run_no IN ({})"


class Asked(NamedTuple):
    """What a run is on record with.

    Attributes:
        verb: `reprice`, `estimate`, `allowances` or `spread`.
        selection: which rows were meant, as JSON values.
        price_version: of the prices in use.
    """

    verb: str
    who: str
    why: str
    selection: Mapping[str, Any]
    price_version: str
    started_ns: int


class CorrectionRun(NamedTuple):
    """A run that changed something; money in pico-USD.

    Attributes:
        rows: how many rows it changed.
        before_pico, after_pico: what those rows cost before and after, unpriced ones as 0.
        blocks: how many blocks it wrote.
    """

    run_no: int
    asked: Asked
    rows: int
    before_pico: int
    after_pico: int
    blocks: int


def begin(transaction: Transaction, asked: Asked) -> int:
    """Put a run on record; returns its number."""
    row = asked._replace(selection=orjson.dumps(asked.selection, option=orjson.OPT_SORT_KEYS).decode())  # type: ignore[arg-type]  # as text
    [(run_no,)] = transaction.execute(_BEGIN, row)
    return int(run_no)


def record_round(transaction: Transaction, run_no: int, block: tuple[int, int], rows: int, before_pico: int, after_pico: int) -> None:
    """Put on record that a run wrote a block (shard, seq), in the transaction that writes it."""
    transaction.execute(_ROUND, (*block, run_no, rows, str(before_pico), str(after_pico)))


def correction_runs(transaction: Transaction, before_no: int | None, limit: int) -> list[CorrectionRun]:
    """A page of runs, newest first; `before_no` is the last number of the page before."""
    where, values = ("", ()) if before_no is None else (" WHERE run_no < ?", (before_no,))
    return _with_rounds(transaction, transaction.execute(f"{_RUNS}{where} ORDER BY run_no DESC LIMIT ?", (*values, limit)))


def run_of_block(transaction: Transaction, shard: int, block_seq: int) -> CorrectionRun | None:
    """The run that wrote a block; None for blocks of settling."""
    sql = f"{_RUNS} WHERE run_no = (SELECT run_no FROM correction_rounds WHERE shard = ? AND block_seq = ?)"
    found = _with_rounds(transaction, transaction.execute(sql, (shard, block_seq)))
    return found[0] if found else None


def _with_rounds(transaction: Transaction, rows: list[tuple[Any, ...]]) -> list[CorrectionRun]:
    sums = {int(row[0]): [0, 0, 0, 0] for row in rows}
    if sums:
        for run_no, _, _, changed, before, after in transaction.select_in(_ROUNDS, list(sums)):
            sums[run_no] = [mine + more for mine, more in zip(sums[run_no], (changed, int(before), int(after), 1), strict=True)]
    return [CorrectionRun(int(row[0]), _asked(row), *sums[int(row[0])]) for row in rows]


def _asked(row: tuple[Any, ...]) -> Asked:
    _, verb, who, why, selection, price_version, started_ns = row
    return Asked(verb, who, why, orjson.loads(selection), price_version, started_ns)
