"""Whatever a sender writes into any attribute, a sighting comes out and keeps the ledger's invariants."""

from __future__ import annotations

from typing import Any

from genai_corpus import ANYONE, normaliser
from hypothesis import given, settings
from hypothesis import strategies as st
from span_making import span

from otel_finops.base.limits import UNITS_PER_CALL_MAX
from otel_finops.genai.sighting import CALL
from otel_finops.genai.usage import INPUT_PARTS, OUTPUT_PARTS, TOKEN_UNITS

KEYS = sorted(normaliser().wanted.exact)
COUNT_KEYS = [key for key in KEYS if "token" in key]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 10_000), st.floats(), st.text(max_size=40),
    st.sampled_from(["LLM", "AGENT", "chat", "12", '{"usage": {"input_tokens": 5, "cache_read_input_tokens": 9}}', "workflow"]),
    st.tuples(st.text(max_size=5)), st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)  # fmt: skip
ATTRIBUTES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=12)
COUNTS = st.dictionaries(st.sampled_from(COUNT_KEYS), st.integers(0, UNITS_PER_CALL_MAX), max_size=8)
RESOURCES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5)


@settings(max_examples=300, deadline=None)
@given(ATTRIBUTES, COUNTS, RESOURCES, st.booleans())
def test_invariants_hold(attributes: dict[str, Any], counts: dict[str, int], resource: dict[str, Any], failed: bool) -> None:
    seen = normaliser()(span(attributes | counts, resource=resource, is_error=failed), ANYONE)
    usage = seen.usage
    assert set(usage) <= set(TOKEN_UNITS)
    assert all(type(count) is int and 0 < count <= UNITS_PER_CALL_MAX for count in usage.values())
    assert sum(usage.get(part, 0) for part in INPUT_PARTS) <= usage.get("input_uncached", 0)
    assert sum(usage.get(part, 0) for part in OUTPUT_PARTS) <= usage.get("output", 0)
    assert (seen.usage_source == "missing") == (not usage)
    assert usage == {} or seen.missing_reason is None
    if seen.kind == CALL and not usage:
        assert seen.missing_reason is not None or seen.error_type is not None
    assert all(value.isprintable() and len(value) <= 256 for value in (*seen.attribution.values(), *seen.defaults.values()))
    assert seen.defaults["tenant"]
    assert seen.response_id is None or not seen.response_id.isdigit()
