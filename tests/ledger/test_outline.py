"""Entries in outline stand as the whole fold has them, whatever was booked for a span."""

from __future__ import annotations

from ledger_rig import SECOND, Rig, call, plain, trace_id

from otel_finops.genai.sighting import AGENT, RANK_FRAMEWORK
from otel_finops.ledger.journal import traces_with_id
from otel_finops.ledger.outline import standing_entries
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.standing import fold
from otel_finops.store.engine import Store

READ = (
    "kind", "realm", "tenant", "trace_id", "span_id", "parent_span_id", "role", "started_ns", "trace_no", "role_rule", "counted_in",
    "revision", "usage", "cost_pico", "partial", "unpriced_reason", "agent", "step", "tool", "duration_ns", "shard", "block_seq", "idx",
)  # fmt: skip


def test_an_outline_says_what_the_whole_entries_say(store: Store) -> None:
    """A plain call, a duplicate, a late agent that reattributes, a version with more output that corrects, one with fewer."""
    rig = Rig(store)
    rig.settle(call(2, parent=1), call(3, parent=2, scope="framework", rank=RANK_FRAMEWORK, response_id="r"), call(4, parent=1, at_s=50))
    rig.settle(plain(1, kind=AGENT, genai=True, attribution={"agent": "planner", "tenant": "acme"}))
    end_ns = call(4).end_ns + 60 * SECOND
    rig.settle(call(4, parent=1, at_s=50, end_ns=end_ns, usage={"input_uncached": 1000, "output": 400}))
    rig.settle(call(4, parent=1, at_s=50, end_ns=end_ns + SECOND, usage={"input_uncached": 900, "output": 400}))
    rig.settle(call(5, trace=2, request_model="no-such-model", price_models=("no-such-model",)))
    assert {entry.kind for entry in rig.entries()} == {"charge", "correction", "reversal", "reattribution"}
    with store.read() as transaction:
        numbers = [state.trace_no for number in (1, 2) for state in traces_with_id(transaction, trace_id(number))]
        outlined = standing_entries(transaction, numbers)
        whole = fold(entries_of_traces(transaction, numbers))
    assert outlined.keys() == whole.keys()
    for key, entry in whole.items():
        assert {name: getattr(outlined[key], name) for name in READ} == {name: getattr(entry, name) for name in READ}
