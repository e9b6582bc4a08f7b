"""Spans of two tenants for tests of the surfaces.

Every call is gpt-4o with 1,000 uncached prompt tokens (2.50 USD a million) and 100 output tokens (10 USD a million):
0.0025 + 0.001 = 0.0035 USD.
"""

from __future__ import annotations

from typing import Any

from otel_finops.genai.sighting import AGENT, CALL, OTHER, Sighting
from otel_finops.testing import NOON

ACME_TRACE = "0af7651916cd43dd8448eb211c80319c"
"""Realm acme: a server span, below it the agent `planner` with two calls."""
SHARED_TRACE = "1bf7651916cd43dd8448eb211c80319c"
"""Realm default: a root, a call of globex and a call of acme."""
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e=cmd()"


def sighting(trace_id: str, number: int, parent: int | None, *, kind: str = CALL, realm: str = "default", **more: Any) -> Sighting:
    start_ns = NOON + number * 1_000_000
    call: dict[str, Any] = {
        "provider": "openai", "request_model": "gpt-4o", "response_model": "gpt-4o", "price_models": ("gpt-4o",),
        "operation": "chat", "usage": {"input_uncached": 1000, "output": 100}, "usage_source": "reported",
    }  # fmt: skip
    return Sighting(
        realm=realm,
        trace_id=trace_id,
        span_id=f"{number:016x}",
        parent_span_id=None if parent is None else f"{parent:016x}",
        name=f"span {number}",
        start_ns=start_ns,
        end_ns=start_ns + 500_000,
        kind=kind,
        genai=kind != OTHER,
        instance="app",
        scope="test",
        **(call if kind == CALL else {}) | more,
    )


SIGHTINGS = [
    sighting(ACME_TRACE, 1, None, kind=OTHER, realm="acme", attribution={"tenant": "acme"}),
    sighting(ACME_TRACE, 2, 1, kind=AGENT, realm="acme", attribution={"agent": "planner", "tenant": "acme"}),
    sighting(ACME_TRACE, 3, 2, realm="acme", attribution={"tenant": "acme", "user": "user-7", "step": "plan"}),
    sighting(ACME_TRACE, 4, 2, realm="acme", attribution={"tenant": "acme", "step": "act"}, response_id="r4"),
    sighting(SHARED_TRACE, 5, None, kind=OTHER),
    sighting(SHARED_TRACE, 6, 5, attribution={"tenant": "globex", "step": HOSTILE}, response_id="r6"),
    sighting(SHARED_TRACE, 7, 5, attribution={"tenant": "acme"}, response_id="r7"),
]
