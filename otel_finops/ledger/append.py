"""The only writer of entries and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_finops.ledger.blocks import NO_HASH, Seal, insert_block, last_block
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.period_bounds import closed_until_ns
from otel_finops.ledger.projection import Projection
from otel_finops.ledger.rows import Values, bind, insert_rows, stored_values
from otel_finops.ledger.shards import lease_name, shard_of
from otel_finops.store.lease import Lease
from otel_finops.store.unit_of_work import Transaction

_RECORDED: Final = Entry._fields.index("recorded_ns")
_TAGS: Final = Entry._fields.index("tags")
_SHARD: Final = Entry._fields.index("shard")
assert Entry._fields[_RECORDED:_TAGS] == ("recorded_ns", "late")
assert Entry._fields[_SHARD:] == ("shard", "block_seq", "idx", "before")


def append(transaction: Transaction, lease: Lease, entries: Sequence[Entry], projections: Sequence[Projection], now_ns: int) -> list[Entry]:
    """Seal entries of one shard into its next block and tell the projections, all in the given transaction.

    Args:
        lease: of the entries' shard; it is confirmed inside the transaction, so that a holder that slept cannot append.
        entries: in the order in which they shall stand; their place, `recorded_ns` and `late` are set here.
        now_ns: our clock; a clock that went back is overruled, so that a shard's blocks stay in order of time.

    Returns:
        The entries as they stand.

    Raises:
        Busy: the lease was lost.
        ValueError: entries of another shard than the lease's.
    """
    lease.confirm(transaction)
    if not entries:
        return []
    shard = _shard(lease, entries)
    last = last_block(transaction, shard)
    seq = last.seq + 1 if last else 0
    closed_ns = closed_until_ns(transaction)
    recorded_ns = max(now_ns, closed_ns, last.recorded_ns + 1 if last else 0)
    placed = [_placed(entry, shard, seq, idx, recorded_ns, closed_ns) for idx, entry in enumerate(entries)]
    seal = Seal()
    rows = [_sealed(seal, entry) for entry in placed]
    insert_rows(transaction, rows)
    insert_block(transaction, seal.block(shard, seq, last.hash if last else NO_HASH, recorded_ns))
    for projection in projections:
        projection.apply(transaction, placed)
    return placed


def _placed(entry: Entry, shard: int, seq: int, idx: int, recorded_ns: int, closed_ns: int) -> Entry:
    """`_replace` by slices: every entry passes here, and that costs a fifth. What started in a closed month is late."""
    late = entry.started_ns < closed_ns
    return Entry._make((*entry[:_RECORDED], recorded_ns, late, *entry[_TAGS:_SHARD], shard, seq, idx, entry.before))


def _sealed(seal: Seal, entry: Entry) -> Values:
    values = stored_values(entry)
    seal.add(values, entry.cost_pico)
    return bind(values)


def _shard(lease: Lease, entries: Sequence[Entry]) -> int:
    shards = {shard_of(realm) for realm in {entry.realm for entry in entries}}
    shard = shards.pop()
    if shards or lease.name != lease_name(shard):
        raise ValueError(f"entries of shards {sorted({shard, *shards})} under the lease {lease.name!r}")
    return shard
