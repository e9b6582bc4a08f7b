"""Where the keys of calls are kept, so that a twin in another scope, or an equal answer, is found by index.

A random index costs a page for every row. Number keys therefore wait in `lone_keys`, in the order of arrival, while their
area (the service instance) has shown one scope only: twins come from different scopes. When a second one shows up, the keys
of the area move to `call_keys` in the same transaction, so that nothing depends on who came first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, TypeAlias

from otel_finops.ledger.call_keys import ANSWER_BUCKET, CallKey
from otel_finops.store.unit_of_work import Row, Transaction

PLACE_BYTES: Final = 8
"""How much of the trace id stands in a place: enough to break ties, short since every key carries it."""

PlacedKey: TypeAlias = tuple[int, bytes, CallKey]
"""(trace number, place, key); the place is the first 8 bytes of the trace id and the span id."""

_INSERT: Final = "INSERT INTO call_keys (bucket, key, scope, start_ns, place, trace_no, output, end_ns, area) VALUES"
_WIDEN: Final = (
    "ON CONFLICT (bucket, key, scope, start_ns, place, trace_no, output) DO UPDATE SET end_ns = excluded.end_ns "
    "WHERE excluded.end_ns > call_keys.end_ns"
)
_INSERT_LONE: Final = "INSERT INTO lone_keys (area, trace_no, place, bucket, key, start_ns, output, scope, end_ns) VALUES"
_WIDEN_LONE: Final = (
    "ON CONFLICT (area, trace_no, place, bucket, key, start_ns, output) DO UPDATE SET end_ns = excluded.end_ns "
    "WHERE excluded.end_ns > lone_keys.end_ns"
)
_MOVE: Final = (
    "INSERT INTO call_keys (bucket, key, scope, start_ns, place, trace_no, output, end_ns, area) "
    "SELECT bucket, key, scope, start_ns, place, trace_no, output, end_ns, area FROM lone_keys WHERE area = ? "
    "ORDER BY bucket, key, scope, start_ns"
)
_MOVED: Final = "DELETE FROM lone_keys WHERE area = ?"
_INSERT_SCOPES: Final = "INSERT INTO area_scopes (area, scope) VALUES"
_NEW_SCOPES: Final = "ON CONFLICT (area, scope) DO NOTHING RETURNING area"
_FIND_SCOPES: Final = "SELECT area, scope FROM area_scopes WHERE area IN ({})"


def insert_keys(transaction: Transaction, keys: Sequence[PlacedKey]) -> None:
    """Insert the keys of new versions of spans; equal keys of one span are widened to the latest end."""
    answers = [placed for placed in keys if placed[2].bucket == ANSWER_BUCKET]
    numbers = [placed for placed in keys if placed[2].bucket != ANSWER_BUCKET]
    _note_scopes(transaction, answers)
    crowded = _crowded(transaction, numbers)
    sought = answers + [placed for placed in numbers if placed[2].area in crowded]
    lone = [placed for placed in numbers if placed[2].area not in crowded]
    transaction.write_values(_INSERT, _widened((_sought_row(placed) for placed in sought), 7, 7), _WIDEN)
    transaction.write_values(_INSERT_LONE, _widened((_lone_row(placed) for placed in lone), 7, 8), _WIDEN_LONE)


def _crowded(transaction: Transaction, numbers: Collection[PlacedKey]) -> set[int]:
    """The areas of number keys in which several scopes were seen, these included; their waiting keys are moved."""
    areas = sorted({key.area for _, _, key in numbers})
    if transaction.engine_name == "postgresql":
        _lock(transaction, numbers, areas)
    new = _note_scopes(transaction, numbers)
    scopes: dict[int, int] = {}
    for area, _ in transaction.select_in(_FIND_SCOPES, areas):
        scopes[area] = scopes.get(area, 0) + 1
    crowded = {area for area, count in scopes.items() if count > 1}
    for area in sorted(crowded & new):
        transaction.execute(_MOVE, (area,))
        transaction.execute(_MOVED, (area,))
    return crowded


def _note_scopes(transaction: Transaction, keys: Iterable[PlacedKey]) -> set[int]:
    """Note which scopes were seen in which areas; returns the areas with a scope that was new."""
    pairs = sorted({(key.area, key.scope) for _, _, key in keys})
    return {area for (area,) in transaction.write_values(_INSERT_SCOPES, pairs, _NEW_SCOPES)}


def _lock(transaction: Transaction, numbers: Iterable[PlacedKey], areas: Sequence[int]) -> None:
    """Keep others from adding a scope to the areas until the transaction ends, and everybody out of those that get a new one.

    Without this two writers could each put the first keys of two scopes among the waiting ones. A scope that another writer
    commits between look and lock makes the lock stricter than needed, never looser.
    """
    known = set(transaction.select_in(_FIND_SCOPES, areas))
    new = {key.area for _, _, key in numbers if (key.area, key.scope) not in known}
    for area in areas:
        transaction.execute(f"SELECT pg_advisory_xact_lock{'' if area in new else '_shared'}(?)", (area,))


def _widened(rows: Iterable[Row], identity: int, end: int) -> list[Row]:
    """One row for each first `identity` columns, with the latest value of column `end`: a statement may touch a row once only."""
    latest: dict[Row, Row] = {}
    for row in rows:
        held = latest.get(row[:identity])
        if held is None or held[end] < row[end]:
            latest[row[:identity]] = row
    return [latest[key] for key in sorted(latest)]


def _sought_row(placed: PlacedKey) -> Row:
    trace_no, place, key = placed
    return key.bucket, key.key, key.scope, key.start_ns, place, trace_no, key.output, key.end_ns, key.area


def _lone_row(placed: PlacedKey) -> Row:
    trace_no, place, key = placed
    return key.area, trace_no, place, key.bucket, key.key, key.start_ns, key.output, key.scope, key.end_ns
