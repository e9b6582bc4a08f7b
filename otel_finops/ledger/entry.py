"""A ledger entry as a value. Field by field it is the contract's entry (docs/ledger.md), with ids and money unformatted."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_finops.genai.sighting import SpanKey
from otel_finops.genai.usage import Usage
from otel_finops.pricing.quote import CostLine

CHARGE: Final = "charge"
REVERSAL: Final = "reversal"
CORRECTION: Final = "correction"
ADJUSTMENT: Final = "adjustment"
REATTRIBUTION: Final = "reattribution"

ROLE_CALL: Final = "call"
ROLE_DUPLICATE: Final = "duplicate"
ROLE_WRAPPER: Final = "wrapper"
ROLE_GATEWAY_COPY: Final = "gateway_copy"

ESTIMATED: Final = "estimated"
"""The cost method of a call whose usage was estimated by `ledger.estimate`; a sender's own estimates are priced as computed."""


class Entry(NamedTuple):
    """One line of the ledger, never changed once it is written.

    Attributes:
        kind: charge, reversal, correction, adjustment or reattribution.
        realm, trace_id, span_id: the span that it speaks of, ids as lower-case hex.
        cost_pico: pico-USD; None when unpriced, and on rows that are no calls. Negative on reversals.
        cost_lines: amounts are negative on reversals too.
        user, session: subject references, never clear ids.
        started_ns, duration_ns, recorded_ns: nanoseconds; `recorded_ns` is our clock.
        revision: 0 for the first charge of a span, one more for every further entry of it.
        reverses: `entry_id` of the reversed entry.
        shard, block_seq, idx: where it stands; -1 until it is appended.
        trace_no: the ledger's own number of the trace.
        before: the state that stood before a correction, adjustment or reattribution, for projections that must move it;
            never stored, so None on entries that were read.
    All other fields are those of the contract.
    """

    kind: str
    realm: str
    tenant: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    role: str
    started_ns: int
    trace_no: int = -1
    role_rule: str | None = None
    reverses: str | None = None
    counted_in: SpanKey | None = None
    revision: int = 0
    operation: str | None = None
    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    usage: Usage = {}  # noqa: RUF012 - a shared empty mapping, never written to
    usage_source: str = "missing"
    usage_rule: str | None = None
    service_tier: str | None = None
    region: str | None = None
    region_kind: str | None = None
    speed: str | None = None
    streaming: bool | None = None
    error_type: str | None = None
    cost_pico: int | None = None
    cost_lines: tuple[CostLine, ...] = ()
    cost_method: str | None = None
    price_key: str | None = None
    price_match: str | None = None
    price_version: str | None = None
    partial: bool = False
    unpriced_reason: str | None = None
    reported_pico: int | None = None
    reported_source: str | None = None
    billed_pico: int | None = None
    list_pico: int | None = None
    contracted_pico: int | None = None
    effective_pico: int | None = None
    account: str | None = None
    coverage_id: str | None = None
    agent: str | None = None
    step: str | None = None
    tool: str | None = None
    workflow: str | None = None
    user: str | None = None
    session: str | None = None
    cost_center: str | None = None
    purpose: str | None = None
    service: str | None = None
    environment: str | None = None
    reservation_id: str | None = None
    duration_ns: int | None = None
    recorded_ns: int = 0
    late: bool = False
    tags: dict[str, str] = {}  # noqa: RUF012
    shard: int = -1
    block_seq: int = -1
    idx: int = -1
    before: Entry | None = None

    @property
    def entry_id(self) -> str:
        """Where the entry stands, as text: `shard-block-index`; unique within a ledger."""
        return f"{self.shard}-{self.block_seq}-{self.idx}"

    @property
    def key(self) -> tuple[str, str, str]:
        """(realm, trace id, span id)."""
        return self.realm, self.trace_id, self.span_id
