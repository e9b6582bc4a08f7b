"""Proving the ledger."""

from __future__ import annotations

from pydantic import Field

from otel_finops.base.errors import Forbidden
from otel_finops.base.money import format_usd
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.shapes import Count, Usd

_HEAD_CHARS_MAX = 65_536


class VerifyQuery(Input):
    """What to hold the ledger against."""

    head: str | None = Field(
        default=None, max_length=_HEAD_CHARS_MAX, description="A signed head that `ledger head` printed earlier, as JSON."
    )
    public_key: str | None = Field(default=None, max_length=64, description="Hex of the key that must have signed the head.")


class ChainFault(Output):
    """The first place at which a shard's chain breaks."""

    shard: int
    block: int
    row: int | None
    place: str
    message: str


class Verification(Output):
    """Outcome of walking all blocks."""

    ok: bool
    shards: Count
    blocks: Count
    entries: Count
    total_usd: Usd
    head_compared: bool
    faults: list[ChainFault]


@operation(
    "ledger.verify",
    "ledger/verify",
    takes=VerifyQuery,
    output=Verification,
    permission="view",
    feature="ledger",
    summary="Walk the chain of blocks and name the first block or row that was changed.",
)
def verify(context: Context, principal: Principal, given: VerifyQuery) -> Json:
    """The verdict; a chain is shared by tenants, so only those who see all of them may ask."""
    if principal.tenants is not None:
        raise Forbidden("ledger.verify reads all tenants' rows; it needs a token for all tenants.")
    report, against_head = context.verify(given.head, given.public_key)
    faults = [*report.faults, *(against_head or ())]
    return {
        "ok": not faults,
        "shards": report.shards,
        "blocks": report.blocks,
        "entries": report.entries,
        "total_usd": format_usd(report.total_pico),
        "head_compared": against_head is not None,
        "faults": [{"shard": f.shard, "block": f.seq, "row": f.idx, "place": f.place, "message": f.what} for f in faults],
    }
