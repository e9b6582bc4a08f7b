"""Which shard a realm's entries belong to: nothing merges across realms, so every shard has one settler and one chain."""

from __future__ import annotations

from typing import Final
from zlib import crc32

SHARDS: Final = 8
"""Chains and leases of a ledger; fixed for its life, since `traces.shard` and `entries.shard` store the number."""


def shard_of(realm: str) -> int:
    """The shard of a realm, 0 to `SHARDS` - 1; the same on every machine and in every version."""
    return crc32(realm.encode()) % SHARDS


def lease_name(shard: int) -> str:
    """Name of the lease that whoever appends to the shard must hold."""
    return f"shard:{shard}"
