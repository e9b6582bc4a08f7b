"""What is stored can be read again, and the hash sees content and nothing else."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_rows import QUOTE, sighting

from otel_finops.genai.sighting import AGENT, OTHER, GuardrailVerdict, SaidOutcome, Sighting
from otel_finops.ledger import codec
from otel_finops.ledger.codec import UnknownFormat, content_hash, decode_quote, encode, referenced

CALL = sighting(
    1, 2, parent=1, response_id="chatcmpl-1", links=(("a" * 32, "b" * 16),), attribution={"user": "u-ref", "step": "plan"},
    tags={"team": "x"},
)  # fmt: skip
SKELETON = sighting(1, 3, parent=2, kind=OTHER, defaults={"service": "shop"})


def decode(payload: bytes, of: Sighting = CALL) -> Sighting:
    return codec.decode(payload, of.realm, of.trace_id, of.span_id)


def test_a_call_and_its_quote_come_back() -> None:
    assert decode(encode(CALL, QUOTE)) == CALL
    assert decode_quote(encode(CALL, QUOTE)) == QUOTE


def test_a_skeleton_comes_back_and_is_small() -> None:
    assert decode(encode(SKELETON, None), SKELETON) == SKELETON
    assert decode_quote(encode(SKELETON, None)) is None
    assert len(encode(SKELETON, None)) < 190


def test_unpriced_is_not_free() -> None:
    unpriced = QUOTE._replace(cost_pico=None, method="unpriced", lines=(), unpriced_reason="unknown_model")
    assert decode_quote(encode(CALL, unpriced)) == unpriced


def test_a_skeleton_keeps_its_error() -> None:
    failed = SKELETON._replace(error_type="timeout")
    assert decode(encode(failed, None), failed) == failed


def test_what_a_tool_does_not_say_is_not_known_afterwards_either() -> None:
    tool = CALL._replace(kind="tool", operation=None, provider=None, usage={}, input_readings=(), price_models=(), streaming=None)
    assert decode(encode(tool, None)) == tool


def test_a_cache_mark_is_content_and_its_absence_is_written_as_before_there_was_one() -> None:
    marked = CALL._replace(from_cache=True)
    assert content_hash(marked) != content_hash(CALL)
    assert len(orjson.loads(encode(CALL, QUOTE))[1][3]) == 16
    assert decode(encode(marked, QUOTE)) == marked


def test_why_an_answer_ended_is_content_and_is_not_known_of_what_was_stored_before_it_was_kept() -> None:
    ended = CALL._replace(finish_reasons=("stop",))
    assert content_hash(ended) != content_hash(CALL)
    stored = orjson.loads(encode(ended, QUOTE))
    assert stored[1][3][16:] == [False, ["stop"]]
    assert decode(orjson.dumps(stored)) == ended
    for further, known in (([], CALL), ([True], CALL._replace(from_cache=True))):
        stored[1][3][16:] = further
        assert decode(orjson.dumps(stored)) == known


def test_what_a_guardrail_said_is_no_content_and_is_written_where_there_was_one_alone() -> None:
    for plain, quote in ((CALL, QUOTE), (SKELETON, None)):
        flagged = plain._replace(guardrail=GuardrailVerdict("flag", "pii", "an address"))
        assert content_hash(flagged) == content_hash(plain)
        assert decode(encode(flagged, quote), plain) == flagged
        assert len(orjson.loads(encode(plain, quote))[2]) == 11


def test_a_quote_from_before_a_field_was_added_is_read_with_its_default() -> None:
    stored = orjson.loads(encode(CALL, QUOTE))
    stored[3].pop()  # `unpriced_reason`, the last field of a quote
    assert decode_quote(orjson.dumps(stored)) == QUOTE


def test_users_and_sessions_are_stored_as_their_references_alone() -> None:
    said = CALL._replace(attribution={"user": "ann", "step": "plan"}, defaults={"session": "s-1"})
    refs = {("default", "user", "ann"): "u-ref", ("default", "session", "s-1"): "s-ref"}
    payload = encode(referenced(said, refs), QUOTE)
    assert b"ann" not in payload
    assert b"s-1" not in payload
    assert decode(payload) == said._replace(attribution={"user": "u-ref", "step": "plan"}, defaults={"session": "s-ref"})
    assert decode(payload) == referenced(said, refs)
    assert referenced(SKELETON, {}) is SKELETON


def test_a_payload_of_a_newer_program_is_refused() -> None:
    stored = orjson.loads(encode(CALL, QUOTE))
    stored[0] = 3
    with pytest.raises(UnknownFormat, match="format 3"):
        decode(orjson.dumps(stored))


@pytest.mark.parametrize(
    "same",
    [
        CALL._replace(name="another name"),
        CALL._replace(tags={}),
        CALL._replace(attribution={"step": "plan", "user": "somebody else"}),
        CALL._replace(attribution={"session": "s1", "step": "plan"}),
        CALL._replace(defaults={"user": "u", "session": "s"}),
        CALL._replace(rank=0, dialect="x", usage_rule="other.rule", price_models=("a", "b")),
        CALL._replace(usage=dict(reversed(CALL.usage.items()))),
    ],
)
def test_the_hash_does_not_see_subjects_names_tags_order_and_what_is_ours(same: Sighting) -> None:
    assert content_hash(same) == content_hash(CALL)


@pytest.mark.parametrize(
    "other",
    [
        CALL._replace(usage={"input_uncached": 10, "output": 6}),
        CALL._replace(end_ns=CALL.end_ns + 1),
        CALL._replace(parent_span_id=None),
        CALL._replace(response_model="gpt-4o-2024-08-06"),
        CALL._replace(service_tier="flex"),
        CALL._replace(attribution={"user": "u-ref", "step": "act"}),
        CALL._replace(defaults={"service": "shop"}),
        CALL._replace(error_type="timeout"),
        CALL._replace(links=()),
        CALL._replace(kind=AGENT),
    ],
)
def test_the_hash_sees_everything_else(other: Sighting) -> None:
    assert content_hash(other) != content_hash(CALL)
    assert len(content_hash(other)) == 16


def test_the_hash_of_a_skeleton() -> None:
    assert content_hash(SKELETON) == content_hash(SKELETON._replace(name="renamed"))
    assert content_hash(SKELETON) != content_hash(SKELETON._replace(end_ns=SKELETON.end_ns + 1))


TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@given(name=TEXT, usage=st.dictionaries(TEXT, st.integers(1, 10**9), max_size=4), step=TEXT, reported=st.none() | st.integers(1, 2**62))
def test_any_content_comes_back(name: str, usage: dict[str, int], step: str, reported: int | None) -> None:
    said = CALL._replace(name=name, usage=usage, attribution={"step": step}, reported_pico=reported)
    assert decode(encode(said, None)) == said
    assert content_hash(said) == content_hash(decode(encode(said, None)))


def test_every_field_of_a_sighting_is_stored() -> None:
    """A field that is added to `Sighting` and forgotten in `encode` would be lost without a word."""
    told: dict[str, object] = {
        "realm": "acme", "trace_id": "ab" * 16, "span_id": "cd" * 8, "parent_span_id": "ef" * 8, "name": "chat", "start_ns": 1, "end_ns": 2,
        "kind": "call", "genai": True, "instance": "shop", "scope": "openai", "rank": 3, "dialect": "semconv",
        "links": (("ab" * 16, "01" * 8),), "operation": "chat", "provider": "openai", "request_model": "a", "response_model": "b",
        "price_models": ("b", "a"), "response_id": "r", "usage": {"output": 5}, "input_readings": (10, 20),
        "usage_source": "reported", "usage_rule": "semconv.inclusive", "missing_reason": "no_usage", "service_tier": "flex", "region": "eu",
        "region_kind": "data_residency", "speed": "fast", "streaming": True, "error_type": "429", "partial": True,
        "reported_pico": 7, "reported_source": "proxy",
        "attribution": {"agent": "x"}, "defaults": {"service": "y"}, "tags": {"k": "v"}, "dropped_attributes": 9,
        "speaks_for": "a\nb", "from_cache": True, "finish_reasons": ("stop", "length"),
        "guardrail": GuardrailVerdict("flag", "pii", "an address"), "outcome": SaidOutcome(True, "ticket_resolved"),
    }  # fmt: skip
    full = Sighting(**told)
    assert [name for name in Sighting._fields if getattr(full, name) == Sighting._field_defaults.get(name)] == []
    assert decode(encode(full, None), full) == full
