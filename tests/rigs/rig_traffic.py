"""Spans in which everything that settling does can happen: a small world for rigs that break or shuffle it."""

from __future__ import annotations

from ledger_rig import SECOND, call, plain

from otel_finops.genai.sighting import AGENT, RANK_FRAMEWORK, Sighting

END = call(1).end_ns
DELIVERIES: tuple[tuple[Sighting, ...], ...] = (
    (
        call(2, parent=1, scope="framework", rank=RANK_FRAMEWORK),
        call(3, parent=2, response_id="chatcmpl-3", response_model="gpt-4o-2024-08-06"),
        call(4, parent=1, usage={}, at_s=20),
    ),
    (call(6, trace=2, at_s=90, request_model="no-such-model", price_models=("no-such-model",)), call(9, trace=2, parent=8, at_s=95)),
    (
        call(4, parent=1, usage={"input_uncached": 10, "output": 7}, at_s=20, end_ns=END + 22 * SECOND),
        call(5, parent=1, at_s=7200, usage={"input_uncached": 300, "cache_read": 700, "output": 40}, service_tier="flex"),
        call(7, trace=2, parent=6, at_s=90, error_type="429", usage={}, missing_reason=None),
    ),
    (
        plain(1, kind=AGENT, genai=True, attribution={"agent": "planner", "tenant": "acme", "user": "ada"}),
        plain(8, trace=2, attribution={"tenant": "globex", "session": "s-1"}),
        call(3, parent=2, response_id="chatcmpl-3", response_model="gpt-4o-2024-08-06"),
    ),
    (call(11, trace=3, response_id="chatcmpl-3", response_model="gpt-4o-2024-08-06", scope="gateway", instance="gateway"),),
)
"""Five requests, settled after each: a wrapper, a further version with more tokens, a repeated span, a late parent that names tenant and
agent, an unknown model, an error, and the same answer seen in another trace."""
