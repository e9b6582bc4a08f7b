"""A request that travels on is the one that came, but for what is added to its spans."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_finops.base.errors import Undecodable
from otel_finops.otlp.enrich import Edit, encode_attributes, splice

COST = Edit(encode_attributes({"gen_ai.usage.cost": 0.0125, "finops.cost.method": "computed"}))


def request(*names: str, **attributes: str) -> ExportTraceServiceRequest:
    """One scope with spans of these names and attributes."""
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add(schema_url="https://example.org/1").scope_spans.add(schema_url="https://example.org/2")
    scope.scope.name = "an.instrumentation"
    for number, name in enumerate(names):
        span = scope.spans.add(name=name, trace_id=bytes([1] * 16), span_id=bytes([number + 1] * 8), start_time_unix_nano=5)
        for key, value in attributes.items():
            span.attributes.add(key=key).value.string_value = value
    return made


def parsed(body: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(body)


def spans(made: ExportTraceServiceRequest) -> list[Span]:
    return [span for resource in made.resource_spans for scope in resource.scope_spans for span in scope.spans]


def said(span: Span) -> dict[str, object]:
    return {kv.key: getattr(kv.value, str(kv.value.WhichOneof("value"))) for kv in span.attributes}


def test_attributes_are_added_behind_the_spans_own() -> None:
    body = request("chat", model="gpt-4o").SerializeToString()
    [span] = spans(parsed(splice(body, [COST])))
    assert list(said(span).items()) == [("model", "gpt-4o"), ("gen_ai.usage.cost", 0.0125), ("finops.cost.method", "computed")]


def test_only_the_named_span_changes() -> None:
    before = request("one", "two", "three")
    after = parsed(splice(before.SerializeToString(), [Edit(b""), COST, Edit(b"")]))
    assert said(spans(after)[1]) == {"gen_ai.usage.cost": 0.0125, "finops.cost.method": "computed"}
    del spans(after)[1].attributes[:]
    assert after == before


def test_a_span_can_be_taken_out_and_the_others_stay() -> None:
    after = parsed(splice(request("one", "two", "three").SerializeToString(), [Edit(b""), None, Edit(b"")]))
    assert [span.name for span in spans(after)] == ["one", "three"]
    assert after.resource_spans[0].schema_url == "https://example.org/1"
    assert after.resource_spans[0].scope_spans[0].scope.name == "an.instrumentation"


def test_a_value_that_gives_way_stays_under_another_key() -> None:
    body = request("chat", **{"gen_ai.usage.cost": "0.5", "model": "gpt-4o"}).SerializeToString()
    edit = COST._replace(moved={b"gen_ai.usage.cost": b"finops.cost.reported"})
    [span] = spans(parsed(splice(body, [edit])))
    assert said(span) == {
        "finops.cost.reported": "0.5", "model": "gpt-4o", "gen_ai.usage.cost": 0.0125, "finops.cost.method": "computed",
    }  # fmt: skip


def test_a_value_can_go_for_good() -> None:
    body = request("chat", **{"finops.price.key": "old", "model": "gpt-4o"}).SerializeToString()
    [span] = spans(parsed(splice(body, [Edit(b"", {b"finops.price.key": None})])))
    assert said(span) == {"model": "gpt-4o"}


def test_a_key_that_stands_in_a_value_only_is_left_alone() -> None:
    body = request("chat", note="gen_ai.usage.cost").SerializeToString()
    assert splice(body, [Edit(b"", {b"gen_ai.usage.cost": None})]) == body


def test_fields_that_our_schema_does_not_know_travel_on() -> None:
    unknown = b"\xfa\x07\x03abc"  # field 127, three bytes
    span = request("chat").resource_spans[0].scope_spans[0].spans[0].SerializeToString() + unknown
    scope = b"\x12" + bytes([len(span)]) + span + unknown
    resource = b"\x12" + bytes([len(scope)]) + scope
    body = b"\x0a" + bytes([len(resource)]) + resource + unknown
    assert splice(body, [Edit(b"")]) == body
    assert splice(body, [COST]).count(unknown) == 3


def test_edits_that_do_not_fit_the_body_are_refused() -> None:
    body = request("one", "two").SerializeToString()
    for edits in ([COST], [COST] * 3):
        with pytest.raises(Undecodable):
            splice(body, edits)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_request_never_crash(body: bytes) -> None:
    with suppress(Undecodable, DecodeError):  # protobuf's parser refuses some unknown fields that travel on as they came
        splice(body, [])
        assert not spans(parsed(body))


def test_damage_inside_an_attribute_that_nobody_reads_travels_on_as_it_came() -> None:
    """The decoder skips what is not wanted unread, so a span is not refused for it; 12 7F announces 127 bytes that are not there."""
    damaged = bytes.fromhex("4a050a0161127f")
    span = Span(name="one", span_id=bytes([1] * 8))
    span.attributes.add(key="gen_ai.usage.cost").value.double_value = 1.0
    body = span.SerializeToString() + damaged
    for tag in (0x12, 0x12, 0x0A):
        body = bytes((tag, len(body))) + body
    spliced = splice(body, [Edit(COST.added, {b"gen_ai.usage.cost": b"finops.cost.reported"})])
    assert damaged in spliced
    assert b"finops.cost.reported" in spliced


def test_recorded_requests_travel_on_equal_but_for_the_additions(corpus: Path) -> None:
    rng = random.Random(5)
    looked_at = 0
    for path in sorted(corpus.glob("*/request-*.binpb")):
        before = parsed(path.read_bytes())
        edits = [rng.choice([COST, Edit(b"")]) for _ in spans(before)]
        after = parsed(splice(path.read_bytes(), edits))
        for span, edit in zip(spans(after), edits, strict=True):
            if edit is COST:
                assert [kv.key for kv in span.attributes[-2:]] == ["gen_ai.usage.cost", "finops.cost.method"]
                del span.attributes[-2:]
            looked_at += 1
        assert after == before, path
    assert looked_at > 100
