"""What came as OTLP/JSON travels on as protobuf."""

from __future__ import annotations

import json
from base64 import b64decode
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_finops.otlp.transcode import to_protobuf

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
IDS_IN_JSON = {"traceId", "spanId", "parentSpanId"}
WRONG = {"key": "wrong", "value": {"intValue": "12.5"}}
NAMES = st.sampled_from([
    "attributes", "key", "value", "stringValue", "intValue", "doubleValue", "arrayValue", "values", "kvlistValue", "events", "links",
    "status", "code", "name", "timeUnixNano", "kind", "flags", "trace_id", "unknown", "\ud800",
])  # fmt: skip


def span(**other: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE, "spanId": SPAN, "name": "chat", "kind": 3, "startTimeUnixNano": "1795308198634759509",
        "endTimeUnixNano": 1795308198634759510, **other,
    }  # fmt: skip


def request(*spans: Any, **other: Any) -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "a"}, "spans": list(spans), **other}]}]}


def read(body: bytes) -> list[Any]:
    parsed = ExportTraceServiceRequest.FromString(body)
    assert parsed.resource_spans[0].resource.attributes[0].value.string_value == "shop"
    return list(parsed.resource_spans[0].scope_spans[0].spans)


def test_ids_times_and_attributes_are_the_same() -> None:
    attributes = [
        {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}},
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "12"}},
        {"key": "gen_ai.usage.output_tokens", "value": {"intValue": 7}},
    ]
    links = [{"traceId": TRACE.upper(), "spanId": SPAN}]
    body, dropped = to_protobuf(request(span(attributes=attributes, parentSpanId="00f067aa0ba902b7", links=links)))
    [carried] = read(body)
    assert dropped == 0
    assert (carried.trace_id.hex(), carried.span_id.hex(), carried.parent_span_id.hex()) == (TRACE, SPAN, "00f067aa0ba902b7")
    assert (carried.start_time_unix_nano, carried.end_time_unix_nano) == (1795308198634759509, 1795308198634759510)
    assert carried.kind == 3
    assert [kv.key for kv in carried.attributes] == [item["key"] for item in attributes]
    assert [kv.value.int_value for kv in carried.attributes[1:]] == [12, 7]
    assert carried.links[0].trace_id.hex() == TRACE


VALUES = st.recursive(
    st.builds(lambda text: AnyValue(string_value=text), st.text(max_size=200))
    | st.builds(lambda number: AnyValue(int_value=number), st.integers(-(2**63), 2**63 - 1))
    | st.builds(lambda number: AnyValue(double_value=number), st.floats(allow_nan=False))
    | st.builds(lambda value: AnyValue(bool_value=value), st.booleans())
    | st.builds(lambda content: AnyValue(bytes_value=content), st.binary(max_size=5))
    | st.builds(AnyValue),
    lambda inner: st.builds(lambda values: AnyValue(array_value=ArrayValue(values=values)), st.lists(inner, max_size=3))
    | st.builds(
        lambda keys, value: AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=key, value=value) for key in keys])),
        st.lists(st.text(max_size=3), max_size=3), inner,
    ),
    max_leaves=6,
)  # fmt: skip
ATTRIBUTES = st.lists(st.builds(KeyValue, key=st.text(max_size=200), value=VALUES), max_size=4)
COUNTS, TIMES, TEXTS, IDS = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.text(max_size=5), st.binary(min_size=8, max_size=16)
SPANS = st.builds(
    Span, trace_id=IDS, span_id=IDS, parent_span_id=st.binary(max_size=8), trace_state=TEXTS, name=TEXTS, kind=st.integers(0, 5),
    start_time_unix_nano=TIMES, end_time_unix_nano=TIMES, attributes=ATTRIBUTES, dropped_attributes_count=COUNTS,
    events=st.lists(
        st.builds(Span.Event, time_unix_nano=TIMES, name=TEXTS, attributes=ATTRIBUTES, dropped_attributes_count=COUNTS), max_size=2
    ),
    dropped_events_count=COUNTS, flags=COUNTS, dropped_links_count=COUNTS,
    links=st.lists(
        st.builds(
            Span.Link, trace_id=IDS, span_id=IDS, trace_state=TEXTS, attributes=ATTRIBUTES, dropped_attributes_count=COUNTS, flags=COUNTS
        ), max_size=2,
    ),
    status=st.builds(Status, message=TEXTS, code=st.integers(0, 2)),
)  # fmt: skip
RESOURCES = st.builds(
    Resource, attributes=ATTRIBUTES, dropped_attributes_count=COUNTS,
    entity_refs=st.lists(
        st.builds(EntityRef, schema_url=TEXTS, type=TEXTS, id_keys=st.lists(TEXTS), description_keys=st.lists(TEXTS)), max_size=1
    ),
)  # fmt: skip
SCOPES = st.builds(InstrumentationScope, name=TEXTS, version=TEXTS, attributes=ATTRIBUTES, dropped_attributes_count=COUNTS)


def as_json(sent: ExportTraceServiceRequest) -> dict[str, Any]:
    """OTLP/JSON of a request, written by Google's library but for the ids, which OTLP has in hex."""
    return with_hex_ids(MessageToDict(sent, use_integers_for_enums=True))


def with_hex_ids(part: Any) -> Any:
    if isinstance(part, list):
        return [with_hex_ids(one) for one in part]
    if isinstance(part, dict):
        return {name: b64decode(one).hex() if name in IDS_IN_JSON else with_hex_ids(one) for name, one in part.items()}
    return part


@settings(deadline=None)
@given(RESOURCES, SCOPES, st.lists(SPANS, max_size=2), TEXTS)
def test_what_protobufs_own_library_writes_comes_back_as_it_was(
    resource: Resource, scope: InstrumentationScope, spans: list[Span], url: str
) -> None:
    sent = ExportTraceServiceRequest()
    of_resource = sent.resource_spans.add(resource=resource, schema_url=url)
    of_resource.scope_spans.add(scope=scope, spans=spans, schema_url=url)
    of_resource.scope_spans.add()
    body, dropped = to_protobuf(json.loads(json.dumps(as_json(sent))))
    assert dropped == 0
    assert ExportTraceServiceRequest.FromString(body) == sent


def test_recorded_requests_come_back_as_they_were(corpus: Path) -> None:
    recorded = [ExportTraceServiceRequest.FromString(path.read_bytes()) for path in sorted(corpus.glob("*/request-*.binpb"))]
    for sent in recorded:
        assert ExportTraceServiceRequest.FromString(to_protobuf(as_json(sent)).body) == sent
    assert len(recorded) > 10


def test_unknown_fields_are_left_out() -> None:
    body, dropped = to_protobuf(request(span(invented=1), alsoInvented={}))
    assert (len(read(body)), dropped) == (1, 0)


def test_a_rejected_span_keeps_its_place_and_nothing_else() -> None:
    body, _ = to_protobuf(request(span(name="one"), span(name="two", traceId="xyz"), span(name="three")), rejected=[1])
    assert [carried.name for carried in read(body)] == ["one", "", "three"]


def test_a_span_without_an_attribute_that_protobuf_cannot_hold_travels_on() -> None:
    """Its neighbours lose nothing, nor do the other attributes."""
    attributes = [WRONG, {"key": "model", "value": {"stringValue": "gpt-4o"}}, {"key": "list", "value": {"arrayValue": {"values": [12]}}}]
    body, dropped = to_protobuf(
        request(span(name="one"), span(name="two", attributes=attributes), "no span", span(name="three")), rejected=[2]
    )
    carried = read(body)
    assert [one.name for one in carried] == ["one", "two", "", "three"]
    assert [kv.key for kv in carried[1].attributes] == ["model"]
    assert carried[1].trace_id.hex() == TRACE
    assert dropped == 2


def test_so_do_the_spans_of_a_resource_or_scope_that_has_one() -> None:
    document = request(span(), scope={"name": "a", "version": 3, "attributes": [WRONG]})
    document["resourceSpans"][0]["resource"]["attributes"].append(WRONG)
    body, dropped = to_protobuf(document)
    assert len(read(body)) == 1
    assert ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].scope.name == "a"
    assert dropped == 3  # the two attributes, and the version that is no text


@pytest.mark.parametrize(
    "field",
    [
        {"droppedAttributesCount": 2**40},
        {"status": {"code": 2, "message": 5}},
        {"events": [{"name": "exception", "timeUnixNano": "never", "attributes": []}]},
        {"events": {"name": "no list"}},
        {"links": [{"traceId": TRACE, "spanId": SPAN, "flags": "x"}]},
        {"attributes": [{"key": "two values", "value": {"stringValue": "a", "intValue": "1"}}]},
        {"attributes": [{"key": "deep", "value": json.loads('{"arrayValue": {"values": [' * 300 + "]}}" * 300)}]},
    ],
    ids=lambda field: next(iter(field)),
)
def test_a_field_of_a_span_that_protobuf_cannot_hold_is_left_out(field: dict[str, Any]) -> None:
    body, dropped = to_protobuf(request(span(**field), span(name="two")))
    assert [(carried.name, carried.trace_id.hex()) for carried in read(body)] == [("chat", TRACE), ("two", TRACE)]
    assert dropped == 1


def test_numbers_that_are_none_travel_on() -> None:
    """Python's JSON has a bare NaN, which protobuf's JSON writes as a text."""
    values = [{"key": "a", "value": {"doubleValue": number}} for number in (nan, inf, -inf)]
    body, dropped = to_protobuf(request(span(attributes=values)))
    assert [repr(kv.value.double_value) for kv in read(body)[0].attributes] == ["nan", "inf", "-inf"]
    assert dropped == 0


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=25))  # fmt: skip
def test_whatever_stands_in_a_span_it_travels_on(anything: Any) -> None:
    odd = {**span(), **(anything if isinstance(anything, dict) else {"attributes": anything}), "traceId": TRACE, "spanId": SPAN}
    body, _ = to_protobuf(request(odd))
    assert [carried.trace_id.hex() for carried in read(body)] == [TRACE]


def test_protobufs_own_names_are_unknown_fields() -> None:
    document = request(span(trace_id=None, start_time_unix_nano="1"), scope_spans=None) | {"resource_spans": None}
    document["resourceSpans"][0]["scope_spans"] = None
    [carried] = read(to_protobuf(document).body)
    assert (carried.trace_id.hex(), carried.start_time_unix_nano) == (TRACE, 1795308198634759509)


def test_an_empty_request() -> None:
    assert to_protobuf({}) == (b"", 0)


def test_half_an_emoji_costs_neither_the_span_nor_its_neighbours() -> None:
    """JavaScript leaves a lone surrogate where it cuts a text; protobuf's texts are Unicode. As a field's name it is an unknown field."""
    cut = [{"key": "gen_ai.input.messages", "value": {"stringValue": "well done \ud83d"}}]
    body, dropped = to_protobuf(request(span(name="one", attributes=cut), span(name="two", **{"odd \udd00": 1}), span(name="three")))
    assert dropped == 0
    assert [carried.name for carried in read(body)] == ["one", "two", "three"]
    assert read(body)[0].attributes[0].value.string_value == "well done \ufffd"


def test_whole_emoji_in_two_halves_become_one_when_texts_are_mended() -> None:
    body, _ = to_protobuf(request(span(name="\ud83d\ude00 and \ud83d")))
    assert read(body)[0].name == "\U0001f600 and \ufffd"
