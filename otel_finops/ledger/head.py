"""The signed head: what the ledger's chains ended with at a moment, signed, to be kept where the ledger's owner cannot change it.

A chain proves that nothing inside it was changed; only a head that was exported earlier proves that its end was not cut off
or rewritten. Signatures are Ed25519 (RFC 8032) over the head's JSON without `signature`, keys sorted, no blanks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput
from otel_finops.base.times import format_ns
from otel_finops.ledger.blocks import block_at, last_block, stored_shards
from otel_finops.ledger.verify import Fault
from otel_finops.store.unit_of_work import Transaction

HEAD_FORMAT: Final = "otel-finops-head-1"


def load_key(path: Path) -> Ed25519PrivateKey:
    """The signing key; made on first use in a file that only this user can read (mode 0600, PKCS 8 in PEM).

    Raises:
        BadInput: the file holds no Ed25519 key, or cannot be read or written.
    """
    try:
        if not path.exists():
            _make_key(path)
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"the signing key {path.name!r} cannot be used: it must be an Ed25519 key in PEM that this user can read") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"the signing key {path.name!r} is no Ed25519 key")
    return key


def export_head(transaction: Transaction, key: Ed25519PrivateKey, clock: Clock) -> dict[str, Any]:
    """The signed head of all shards.

    Returns:
        `{format, time, shards: {"3": {seq, hash, entries}}, entries, public_key, signature}`; hashes, key and signature as hex.
    """
    shards: dict[str, dict[str, Any]] = {}
    for shard in stored_shards(transaction):
        block = last_block(transaction, shard)
        if block is not None:
            shards[str(shard)] = {"seq": block.seq, "hash": block.hash.hex(), "entries": _entries_up_to(transaction, shard, block.seq)}
    head: dict[str, Any] = {
        "format": HEAD_FORMAT,
        "time": format_ns(clock.now_ns()),
        "shards": shards,
        "entries": sum(shard["entries"] for shard in shards.values()),
        "public_key": key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex(),
    }
    head["signature"] = key.sign(_signed_bytes(head)).hex()
    return head


def verify_head(transaction: Transaction, head: Mapping[str, Any], public_key: str | None = None) -> list[Fault]:
    """Compare the ledger with a head that was exported earlier; it may have grown since, but nothing else.

    Args:
        public_key: hex of the key that must have signed it; without it the head's own key is believed, which only shows
            that the head was not changed by somebody without the key.

    Returns:
        One fault for every shard whose chain was cut off, rewritten or shortened; empty when all is well.

    Raises:
        BadInput: it is no signed head, or not signed by that key.
    """
    _check_signature(head, public_key)
    faults = (_compared(transaction, int(shard), state) for shard, state in sorted(head["shards"].items()))
    return [fault for fault in faults if fault is not None]


def _compared(transaction: Transaction, shard: int, state: Mapping[str, Any]) -> Fault | None:
    block = block_at(transaction, shard, state["seq"])
    if block is None:
        last = last_block(transaction, shard)
        seq = last.seq + 1 if last else 0
        return Fault(shard, seq, None, f"the chain was cut off: the head names block {state['seq']}")
    if block.hash.hex() != state["hash"]:
        return Fault(shard, block.seq, None, "the chain was rewritten: the head names another hash for this block")
    if _entries_up_to(transaction, shard, block.seq) != state["entries"]:
        return Fault(shard, block.seq, None, "the number of entries up to this block is not the head's")
    return None


def _entries_up_to(transaction: Transaction, shard: int, seq: int) -> int:
    """Entries that the blocks up to `seq` say they hold."""
    return int(transaction.execute("SELECT SUM(entry_count) FROM blocks WHERE shard = ? AND seq <= ?", (shard, seq))[0][0] or 0)


def _check_signature(head: Mapping[str, Any], public_key: str | None) -> None:
    try:
        if head["format"] != HEAD_FORMAT or (public_key is not None and head["public_key"] != public_key.strip().lower()):
            raise BadInput("the head was signed by another key, or is of another format")
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head["public_key"]))
        key.verify(bytes.fromhex(head["signature"]), _signed_bytes(head))
    except (KeyError, ValueError, TypeError, InvalidSignature) as error:
        raise BadInput("this is no signed head of a ledger, or it was changed after it was signed") from error


def _signed_bytes(head: Mapping[str, Any]) -> bytes:
    return orjson.dumps({name: value for name, value in head.items() if name != "signature"}, option=orjson.OPT_SORT_KEYS)


def _make_key(path: Path) -> None:
    """Write a new key, never over an existing file and never readable by others, not even for a moment."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
