"""What came as OTLP/JSON travels on as protobuf."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_finops.otlp.transcode import Transcoded, to_protobuf

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


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
    body, lost = to_protobuf(request(span(attributes=attributes, parentSpanId="00f067aa0ba902b7", links=links)))
    [carried] = read(body)
    assert not lost
    assert (carried.trace_id.hex(), carried.span_id.hex(), carried.parent_span_id.hex()) == (TRACE, SPAN, "00f067aa0ba902b7")
    assert (carried.start_time_unix_nano, carried.end_time_unix_nano) == (1795308198634759509, 1795308198634759510)
    assert carried.kind == 3
    assert [kv.key for kv in carried.attributes] == [item["key"] for item in attributes]
    assert [kv.value.int_value for kv in carried.attributes[1:]] == [12, 7]
    assert carried.links[0].trace_id.hex() == TRACE


def test_unknown_fields_are_left_out() -> None:
    body, lost = to_protobuf(request(span(invented=1), alsoInvented={}))
    assert (len(read(body)), lost) == (1, frozenset())


def test_a_rejected_span_keeps_its_place_and_nothing_else() -> None:
    body, lost = to_protobuf(request(span(name="one"), span(name="two", traceId="xyz"), span(name="three")), rejected=[1])
    assert [carried.name for carried in read(body)] == ["one", "", "three"]
    assert lost == {1}


def test_a_span_that_cannot_be_written_costs_its_neighbours_nothing() -> None:
    broken = span(name="two", attributes=[{"key": "a", "value": {"intValue": "12.5"}}])
    body, lost = to_protobuf(request(span(name="one"), broken, "no span", span(name="three")), rejected=[2])
    assert [carried.name for carried in read(body)] == ["one", "", "", "three"]
    assert lost == {1, 2}


def test_a_resource_that_cannot_be_written_loses_the_request() -> None:
    document = request(span())
    document["resourceSpans"][0]["resource"]["attributes"][0]["value"] = {"intValue": "12.5"}
    assert to_protobuf(document) == Transcoded(b"", frozenset({0}))


def test_an_empty_request() -> None:
    assert to_protobuf({}) == (b"", frozenset())


def test_half_an_emoji_costs_neither_the_span_nor_its_neighbours() -> None:
    """JavaScript leaves a lone surrogate where it cuts a text; protobuf's texts are Unicode. As a field's name it is an unknown field."""
    cut = [{"key": "gen_ai.input.messages", "value": {"stringValue": "well done \ud83d"}}]
    body, lost = to_protobuf(request(span(name="one", attributes=cut), span(name="two", **{"odd \udd00": 1}), span(name="three")))
    assert not lost
    assert [carried.name for carried in read(body)] == ["one", "two", "three"]
    assert read(body)[0].attributes[0].value.string_value == "well done \ufffd"


def test_whole_emoji_in_two_halves_become_one_when_texts_are_mended() -> None:
    body, _ = to_protobuf(request(span(name="\ud83d\ude00 and \ud83d")))
    assert read(body)[0].name == "\U0001f600 and \ufffd"
