"""T16: spans with very many attributes, very long values and very long keys, on the way through the whole service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from e2e_service import Service
from e2e_spans import calls, put

from otel_finops.base import limits

ROW_BYTES_MAX = 16 * 1024
"""Whatever a sender puts into a span, its row stays near the size of a common one."""


def spoiled(span: Any, index: int) -> None:
    """A common call; one with 10,000 attributes; one with more; one with long values; one with long keys."""
    if index == 1:
        for number in range(limits.ATTRIBUTES_PER_SPAN_MAX - len(span.attributes)):
            span.attributes.add(key=f"metadata.key-{number}").value.string_value = f"value {number}"
    if index == 2:
        for number in range(limits.ATTRIBUTES_PER_SPAN_MAX):
            span.attributes.add(key=f"k{number}").value.int_value = number
    if index == 3:
        for key in ("gen_ai.agent.name", "user.id", "session.id", "finops.tenant", "finops.step", "gen_ai.tool.name", "server.address"):
            put(span, key, "ä" * 1_000_000)
        span.name, span.trace_state = "n" * 1_000_000, "s=" + "t" * 1_000_000
    if index == 4:
        for number in range(16):
            span.attributes.add(key=f"metadata.{number}." + "k" * 65_536).value.string_value = "v"


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_t16_large_spans_make_no_large_rows(service: Service, new_trace: Callable[[], bytes], way: str) -> None:
    """The one with too many attributes is refused and says so; the others are charged, in rows of common size."""
    trace = new_trace()
    content = calls(trace, 5, spoiled).SerializeToString()
    partial = (service.call(content) if way == "grpc" else service.send(content)).partial_success
    assert partial.rejected_spans == 1
    assert "attributes" in partial.error_message
    database = service.settled()
    where = f"trace_no = (SELECT trace_no FROM traces WHERE trace_id = X'{trace.hex()}')"
    rows = database.sql(f"SELECT LENGTH(payload) FROM journal WHERE {where}")
    entries = [row for row in database.entries() if row["trace_id"] == trace.hex()]
    subjects = database.sql("SELECT MAX(LENGTH(CAST(clear AS BLOB))) FROM subjects")
    largest = max(size for (size,) in rows + subjects)
    print(f"T16 {way}: {len(content) / 1e6:.1f} MB in 5 spans, 1 rejected, largest row {largest} bytes")
    assert (len(rows), len(entries)) == (4, 4)
    assert {entry["cost_usd"] for entry in entries} == {"0.0045"}
    assert largest < ROW_BYTES_MAX
