"""The signed head: what the ledger's chains ended with at a moment, signed, to be kept where the ledger's owner cannot change it.

A chain proves that nothing inside it was changed; only a head that was exported earlier proves that its end was not cut off
or rewritten, and says what is missing when a ledger came back from an older copy. For that it also names some earlier blocks, so
that what is left can be held against it.

How it is signed: `store.signing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, BaseModel, Field

from otel_finops.base.clock import Clock
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.ledger.blocks import Block, block_at, last_block, stored_shards
from otel_finops.ledger.verify import Fault
from otel_finops.store.signing import check_signature, shaped, signed
from otel_finops.store.unit_of_work import Transaction

HEAD_FORMAT: Final = "otel-finops-head-1"
_Count: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


def _instant(text: str) -> str:
    if not 0 <= parse_ns(text) < 2**63:
        raise ValueError("no instant that the ledger can hold")
    return text


_Instant: TypeAlias = Annotated[str, AfterValidator(_instant)]


class _Shard(BaseModel):
    seq: _Count
    hash: str
    entries: _Count
    recorded_at: _Instant | None = None
    earlier: list[tuple[_Count, str]] = []


class _Head(BaseModel):
    time: _Instant
    shards: dict[Annotated[int, Field(ge=0, lt=2**15)], _Shard]


def export_head(transaction: Transaction, key: Ed25519PrivateKey, clock: Clock) -> dict[str, Any]:
    """The signed head of all shards.

    Returns:
        `{format, time, shards: {"3": {seq, hash, entries, recorded_at, earlier: [[seq, hash]]}}, entries, public_key, signature}`;
        hashes, key and signature as hex, times as RFC 3339. `earlier` are the blocks 1, 2, 4, 8, .. before the last one.
    """
    shards: dict[str, dict[str, Any]] = {}
    for shard in stored_shards(transaction):
        block = last_block(transaction, shard)
        if block is not None:
            shards[str(shard)] = {
                "seq": block.seq,
                "hash": block.hash.hex(),
                "entries": _entries_up_to(transaction, shard, block.seq),
                "recorded_at": format_ns(block.recorded_ns),
                "earlier": [[one.seq, one.hash.hex()] for one in _earlier(transaction, block)],
            }
    entries = sum(shard["entries"] for shard in shards.values())
    return signed({"format": HEAD_FORMAT, "time": format_ns(clock.now_ns()), "shards": shards, "entries": entries}, key)


def verify_head(transaction: Transaction, head: Mapping[str, Any], public_key: str | None = None) -> list[Fault]:
    """Compare the ledger with a head that was exported earlier; it may have grown since, but nothing else.

    A chain whose end is missing is told from one that was rewritten: blocks that stand where the head names others, but were recorded
    after its last one, were appended to an older copy of the ledger; blocks of the head's own time were put there by somebody.

    Args:
        public_key: hex of the key that must have signed it; without it the head's own key is believed, which only shows
            that the head was not changed by somebody without the key.

    Returns:
        One fault for every shard whose chain was cut off, rewritten or shortened; empty when all is well.

    Raises:
        BadInput: it is no signed head, or not signed by that key.
    """
    check_signature(head, HEAD_FORMAT, public_key)
    said = shaped(head, _Head)
    faults = (_compared(transaction, shard, said.time, state) for shard, state in sorted(said.shards.items()))
    return [fault for fault in faults if fault is not None]


def _compared(transaction: Transaction, shard: int, made_at: str, state: _Shard) -> Fault | None:
    block = block_at(transaction, shard, state.seq)
    if block is None or block.hash.hex() != state.hash:
        return _contradicted(transaction, shard, state.recorded_at or made_at, state)
    if _entries_up_to(transaction, shard, block.seq) != state.entries:
        return Fault(shard, block.seq, None, "the number of entries up to this block is not the head's")
    return None


def _contradicted(transaction: Transaction, shard: int, recorded_at: str, state: _Shard) -> Fault:
    """What became of a chain that does not hold the head's last block."""
    last = last_block(transaction, shard)
    end = last.seq + 1 if last else 0
    younger = _first_younger(transaction, shard, parse_ns(recorded_at))
    first_missing = end if younger is None else younger
    shared = None
    for seq, value in sorted(state.earlier):
        if seq >= first_missing:
            break
        block = block_at(transaction, shard, seq)
        if block is None or block.hash.hex() != value:
            return Fault(shard, seq, None, "the chain was rewritten: the head names another hash for this block")
        shared = seq
    if first_missing > state.seq:
        return Fault(shard, state.seq, None, "the chain was rewritten: the head names another hash for this block")
    missing = state.entries - _entries_up_to(transaction, shard, first_missing - 1)
    what = f"blocks {first_missing} to {state.seq} of the head with {missing} entries are missing: "
    what += "the chain was cut off, or came back from an older copy" if younger is None else "an older copy was restored, and went on"
    return Fault(shard, first_missing, None, what + ("" if shared is None else f"; up to block {shared} it is the head's"))


def _earlier(transaction: Transaction, last: Block) -> Iterator[Block]:
    distance = 1
    while distance <= last.seq:
        block = block_at(transaction, last.shard, last.seq - distance)
        if block is not None:
            yield block
        distance *= 2


def _first_younger(transaction: Transaction, shard: int, recorded_ns: int) -> int | None:
    """The first block that was recorded after this time; None when there is none."""
    found = transaction.execute("SELECT MIN(seq) FROM blocks WHERE shard = ? AND recorded_ns > ?", (shard, recorded_ns))[0][0]
    return None if found is None else int(found)


def _entries_up_to(transaction: Transaction, shard: int, seq: int) -> int:
    """Entries that the blocks up to `seq` say they hold."""
    return int(transaction.execute("SELECT SUM(entry_count) FROM blocks WHERE shard = ? AND seq <= ?", (shard, seq))[0][0] or 0)
