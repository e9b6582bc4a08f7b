"""The signed head of the trail: with what every chain ended at a moment, to be kept where the ledger's owner cannot change it.

The walk proves that nothing inside a chain was changed; only a head that was exported earlier shows that an end was cut off, or that a
chain was written anew from somewhere on. How it is signed: `store.signing`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field

from otel_finops.audit.chain import end_of
from otel_finops.audit.verify import AuditFault
from otel_finops.base.clock import Clock
from otel_finops.base.times import format_ns
from otel_finops.store.signing import check_signature, shaped, signed
from otel_finops.store.unit_of_work import Transaction

HEAD_FORMAT: Final = "otel-finops-audit-head-1"
_ENDS: Final = (
    "SELECT e.tenant, e.seq, e.hash FROM audit_entries e JOIN (SELECT tenant, MAX(seq) AS seq FROM audit_entries GROUP BY tenant) AS last "
    "ON last.tenant = e.tenant AND last.seq = e.seq"
)
_Seq: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class _Head(BaseModel):
    chains: dict[str, tuple[_Seq, str]]


_AT: Final = "SELECT hash FROM audit_entries WHERE tenant = ? AND seq = ?"
_ANCHOR: Final = "SELECT seq, hash FROM audit_anchors WHERE tenant = ?"


def export_head(transaction: Transaction, key: Ed25519PrivateKey, clock: Clock) -> dict[str, Any]:
    """The signed head of all chains: `{format, time, chains: {tenant: [seq, hash]}, public_key, signature}`, hashes as hex."""
    ends = {tenant: [int(seq), bytes(hash_).hex()] for tenant, seq, hash_ in transaction.iterate(_ENDS)}
    return signed({"format": HEAD_FORMAT, "time": format_ns(clock.now_ns()), "chains": ends}, key)


def verify_head(
    transaction: Transaction, head: Mapping[str, Any], public_key: str | None, tenants: Collection[str] | None
) -> Iterator[AuditFault]:
    """Compare the chains of these tenants (None: all) with a head that was exported earlier; they may have grown since, and their
    beginnings may have been pruned, but nothing else.

    Yields:
        A fault for every chain that was cut off or rewritten.

    Raises:
        BadInput: it is no signed head of a trail, or not signed by that key.
    """
    check_signature(head, HEAD_FORMAT, public_key)
    for tenant, (seq, hash_) in sorted(shaped(head, _Head).chains.items()):
        if (tenants is None or tenant in tenants) and (fault := _compared(transaction, tenant, seq, hash_)) is not None:
            yield fault


def _compared(transaction: Transaction, tenant: str, seq: int, hash_: str) -> AuditFault | None:
    for pruned_seq, pruned_hash in transaction.execute(_ANCHOR, (tenant,)):
        if seq < pruned_seq or (seq == pruned_seq and bytes(pruned_hash).hex() == hash_):
            return None
    found = transaction.execute(_AT, (tenant, seq))
    if not found:
        last = end_of(transaction, tenant).seq
        return AuditFault(tenant, last + 1, f"entries {last + 1} to {seq} of the head are missing: the end of the chain was cut off")
    if bytes(found[0][0]).hex() != hash_:
        return AuditFault(tenant, seq, "the chain was rewritten: the head names another hash for this entry")
    return None
