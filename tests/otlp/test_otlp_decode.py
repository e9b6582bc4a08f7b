"""What becomes of spans on their way from bytes: good ones whole, bad ones counted, hostile ones harmless."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from math import inf, nan
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_finops.base import limits
from otel_finops.base.errors import TooLarge, Undecodable
from otel_finops.base.span import SpanLink, WantedKeys
from otel_finops.base.times import NS_PER_DAY
from otel_finops.otlp.batch import KNOWN_VALUES, DecodedBatch
from otel_finops.otlp.decode import decode
from otel_finops.testing import NOON

WANTED = WantedKeys(frozenset({"gen_ai.usage.input_tokens", "a", "b", "service.name"}), ("metadata.",))
Make = Callable[..., ExportTraceServiceRequest]
HEX_FIELDS = ("traceId", "spanId", "parentSpanId")


def from_protobuf(request: ExportTraceServiceRequest) -> DecodedBatch:
    return decode(request.SerializeToString(), "protobuf", WANTED, NOON)


def from_json(document: object) -> DecodedBatch:
    return decode(json.dumps(document).encode(), "json", WANTED, NOON)


def otlp_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """proto3 JSON with OTLP's differences: hex ids and integer enums."""
    document = MessageToDict(request, use_integers_for_enums=True)
    for resource_spans in document.get("resourceSpans", []):
        for scope_spans in resource_spans.get("scopeSpans", []):
            for span in scope_spans.get("spans", []):
                for holder in [span, *span.get("links", [])]:
                    for name in HEX_FIELDS:
                        if name in holder:
                            holder[name] = b64decode(holder[name]).hex()
    return document


def reasons(batch: DecodedBatch) -> dict[str, int]:
    return {rejection.reason: rejection.spans for rejection in batch.rejections}


def span_json(**changes: object) -> dict[str, Any]:
    span = {
        "traceId": "01" * 16,
        "spanId": "02" * 8,
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(NOON),
        "endTimeUnixNano": str(NOON),
    }
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{**span, **changes}]}]}]}


def test_a_span_is_read_whole_and_only_with_the_wanted_attributes(request_of: Make) -> None:
    def edit(span: Any, _: int) -> None:
        span.parent_span_id, span.trace_state, span.dropped_attributes_count = bytes([7] * 8), "k=v", 2
        span.status.code = 2
        span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 12
        span.attributes.add(key="gen_ai.input.messages").value.string_value = "secret"
        span.attributes.add(key="metadata.team").value.array_value.values.add().string_value = "x"
        span.links.add(trace_id=bytes([3] * 16), span_id=bytes([4] * 8))
        span.links.add(trace_id=b"", span_id=bytes([4] * 8))
        span.events.add(name="other").attributes.add(key="exception.type").value.string_value = "No"
        span.events.add(name="exception").attributes.add(key="exception.type").value.string_value = "RateLimitError"

    batch = from_protobuf(request_of(1, edit))
    (span,) = batch.spans
    assert (span.parent_span_id, span.trace_state, span.flags, span.dropped_attributes) == (bytes([7] * 8), "k=v", 1, 2)
    assert (span.name, span.kind, span.start_ns, span.end_ns) == ("chat", 3, NOON - 2_000, NOON - 1_000)
    assert (span.is_error, span.exception_type) == (True, "RateLimitError")
    assert span.attributes == {"gen_ai.usage.input_tokens": 12, "metadata.team": ("x",)}
    assert (span.resource, span.scope, span.scope_version) == ({"service.name": "shop"}, "tests", "1.0")
    assert span.links == (SpanLink(bytes([3] * 16), bytes([4] * 8)),)
    assert (batch.received, batch.rejections, batch.repairs) == (1, (), {"links_dropped": 1})


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_an_exception_that_was_raised_again_as_a_text_has_the_name_in_it(request_of: Make, encoding: str) -> None:
    """So LangSmith's exporter tells of a run that failed."""

    def edit(span: Any, _: int) -> None:
        event = span.events.add(name="exception")
        event.attributes.add(key="exception.message").value.string_value = "APITimeoutError('Request timed out.')\n\nTraceback ..."
        event.attributes.add(key="exception.type").value.string_value = "Exception"

    request = request_of(1, edit)
    batch = from_protobuf(request) if encoding == "protobuf" else from_json(otlp_json(request))
    assert batch.spans[0].exception_type == "APITimeoutError"


def test_all_spans_of_a_resource_share_one_mapping(request_of: Make) -> None:
    first, second = from_protobuf(request_of(2)).spans
    assert first.resource is second.resource


@pytest.mark.parametrize(
    ("trace_id", "span_id", "expected"),
    [
        (bytes(16), bytes([1] * 8), "bad_trace_id"),
        (bytes([1] * 15), bytes([1] * 8), "bad_trace_id"),
        (bytes([1] * 17), bytes([1] * 8), "bad_trace_id"),
        (b"", bytes([1] * 8), "bad_trace_id"),
        (bytes([1] * 16), bytes(8), "bad_span_id"),
        (bytes([1] * 16), bytes([1] * 7), "bad_span_id"),
        (bytes([1] * 16), bytes([1] * 9), "bad_span_id"),
    ],
)
def test_t20_t21_a_bad_id_costs_one_span_of_a_thousand(request_of: Make, trace_id: bytes, span_id: bytes, expected: str) -> None:
    def edit(span: Any, index: int) -> None:
        if index == 500:
            span.trace_id, span.span_id = trace_id, span_id

    request = request_of(1_000, edit)
    for batch in (from_protobuf(request), from_json(otlp_json(request))):
        assert (len(batch.spans), reasons(batch), batch.received) == (999, {expected: 1}, 1_000)


def test_a_zero_parent_is_a_root_and_a_short_one_is_mended_and_counted(request_of: Make) -> None:
    def edit(span: Any, index: int) -> None:
        span.parent_span_id = bytes(8) if index == 0 else b"\x01\x02"

    for batch in (from_protobuf(request_of(2, edit)), from_json(otlp_json(request_of(2, edit)))):
        assert [span.parent_span_id for span in batch.spans] == [None, None]
        assert batch.repairs == {"bad_parent_id": 1}


YEAR = 366 * NS_PER_DAY


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 0),
        (1_000_000_000, 2_000_000_000),
        (NOON + 10 * YEAR, NOON + 10 * YEAR),
        (NOON, 2**64 - 1),
        (2**64 - 1, 2**64 - 1),
        (2**63, NOON),
    ],
)
def test_t54_impossible_times_are_rejected(request_of: Make, start: int, end: int) -> None:
    def edit(span: Any, _: int) -> None:
        span.start_time_unix_nano, span.end_time_unix_nano = start, end

    for batch in (from_protobuf(request_of(1, edit)), from_json(otlp_json(request_of(1, edit)))):
        assert reasons(batch) == {"bad_time": 1}


def test_t54_an_end_before_the_start_is_mended_and_counted(request_of: Make) -> None:
    def edit(span: Any, _: int) -> None:
        span.end_time_unix_nano = NOON - 3_000

    batch = from_protobuf(request_of(1, edit))
    assert (batch.spans[0].end_ns, batch.repairs) == (NOON - 2_000, {"end_before_start": 1})


def test_t14_two_hundred_thousand_empty_spans_are_refused_quickly() -> None:
    scope = b"\x12\x00" * 200_000
    body = field(0x0A, field(0x12, scope))
    started = time.process_time()
    with pytest.raises(TooLarge, match="smaller batches"):
        decode(body, "protobuf", WANTED, NOON)
    assert time.process_time() - started < 1
    with pytest.raises(TooLarge):
        from_json({"resourceSpans": [{"scopeSpans": [{"spans": [{}] * 200_000}]}]})


def field(tag: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([tag]) + length + bytes([size]) + content


def test_millions_of_empty_fields_are_refused() -> None:
    with pytest.raises(TooLarge):
        decode(b"\x0a\x00" * (limits.FIELDS_PER_REQUEST_MAX + 1), "protobuf", WANTED, NOON)
    with pytest.raises(TooLarge):
        decode(b"[" * (limits.JSON_CONTAINERS_MAX + 1), "json", WANTED, NOON)


@pytest.mark.parametrize("levels", [10, 100, 10_000])
def test_t15_nesting_rejects_the_span_or_the_body_and_nothing_falls_over(request_of: Make, levels: int) -> None:
    def edit(span: Any, _: int) -> None:
        span.attributes.add(key="a").value.string_value = "NEST"

    nested = AnyValue(string_value="deep").SerializeToString()
    document = '{"stringValue":"deep"}'
    for _ in range(levels):
        nested = field(0x2A, field(0x0A, nested))
        document = '{"arrayValue":{"values":[' + document + "]}}"
    spans = (
        field(0x0A, bytes([1] * 16))
        + field(0x12, bytes([1] * 8))
        + b"\x39"
        + NOON.to_bytes(8, "little")
        + field(0x4A, field(0x0A, b"a") + field(0x12, nested))
    )
    batch = decode(field(0x0A, field(0x12, field(0x12, spans))), "protobuf", WANTED, NOON)
    text = json.dumps(span_json(attributes=[{"key": "a", "value": "NEST"}])).replace('"NEST"', document)
    if levels == 10:
        assert batch.spans[0].attributes == decode(text.encode(), "json", WANTED, NOON).spans[0].attributes
        return
    assert reasons(batch) == {"too_deep": 1}
    if levels == 100:
        assert reasons(decode(text.encode(), "json", WANTED, NOON)) == {"too_deep": 1}
        return
    with pytest.raises(Undecodable, match="nested too deeply"):
        decode(text.encode(), "json", WANTED, NOON)


def test_t16_many_attributes_reject_their_span_and_long_texts_are_cut(request_of: Make) -> None:
    def edit(span: Any, index: int) -> None:
        if index == 0:
            for number in range(limits.ATTRIBUTES_PER_SPAN_MAX + 1):
                span.attributes.add(key=f"k{number}").value.int_value = 1
        if index == 1:
            span.attributes.add(key="a").value.string_value = "é" * 1_000_000
            span.attributes.add(key="metadata." + "x" * 65_536).value.string_value = "y"
            span.attributes.add(key="b").value.array_value.values.extend([AnyValue(int_value=1)] * 5_000)
            span.name = "n" * 1_000

    for batch in (from_protobuf(request_of(2, edit)), from_json(otlp_json(request_of(2, edit)))):
        assert reasons(batch) == {"too_many_attributes": 1}
        (span,) = batch.spans
        assert span.attributes == {"a": "é" * limits.VALUE_CHARS_MAX, "b": (1,) * limits.VALUE_ITEMS_MAX}
        assert (len(span.name), span.name[-1], batch.repairs) == (limits.NAME_CHARS_MAX, "…", {"value_cut": 2})


def test_of_a_repeated_key_the_last_value_counts(request_of: Make) -> None:
    def edit(span: Any, _: int) -> None:
        span.attributes.add(key="a").value.int_value = 1
        span.attributes.add(key="a").value.int_value = 2

    for batch in (from_protobuf(request_of(1, edit)), from_json(otlp_json(request_of(1, edit)))):
        assert batch.spans[0].attributes == {"a": 2}


def test_values_seen_before_are_read_alike_and_mended_ones_are_counted_each_time(request_of: Make) -> None:
    def edit(span: Any, _: int) -> None:
        span.attributes.add(key="a").value.string_value = "nul\0"
        span.attributes.add(key="b").value.array_value.values.add().string_value = "stop"
        span.attributes.add(key="metadata.yes").value.bool_value = True
        span.attributes.add(key="metadata.one").value.int_value = 1
        span.attributes.add(key="gen_ai.input.messages").value.string_value = "a secret"

    for _ in range(2):
        batch = from_protobuf(request_of(2, edit))
        assert [repr(span.attributes) for span in batch.spans] == 2 * [
            repr({"a": "nul\ufffd", "b": ("stop",), "metadata.yes": True, "metadata.one": 1})
        ]
        assert batch.repairs == {"text_replaced": 2}
    assert not any(b"secret" in raw for raw in KNOWN_VALUES)


@pytest.mark.parametrize("trace_id", ["ab" * 16, "AB" * 16, "aB" * 16])
def test_t19_json_ids_are_hex_in_either_case(trace_id: str) -> None:
    assert from_json(span_json(traceId=trace_id)).spans[0].trace_id == bytes([0xAB] * 16)


@pytest.mark.parametrize("trace_id", ["AQIDBAUGBwgJCgsMDQ4PEA==", "01" * 15, "01 " * 16, "zz" * 16, 5, None, "", "0" * 32])
def test_t19_json_ids_that_are_no_hex_of_the_right_length_are_rejected(trace_id: object) -> None:
    assert reasons(from_json(span_json(traceId=trace_id))) == {"bad_trace_id": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"intValue": "12"}, 12),
        ({"intValue": 12}, 12),
        ({"intValue": 12.0}, 12),
        ({"intValue": str(2**63 - 1)}, 2**63 - 1),
        ({"intValue": str(2**63)}, nan),
        ({"intValue": 10**30}, nan),
        ({"intValue": "9" * 5_000}, nan),
        ({"intValue": "twelve"}, nan),
        ({"intValue": True}, nan),
        ({"intValue": [1]}, nan),
        ({"doubleValue": 1.5}, 1.5),
        ({"doubleValue": "1.5"}, 1.5),
        ({"doubleValue": "NaN"}, nan),
        ({"doubleValue": float("nan")}, nan),
        ({"doubleValue": float("inf")}, inf),
        ({"boolValue": True}, True),
        ({"boolValue": "true"}, None),
        ({"stringValue": 5}, None),
        ({"stringValue": "nul\0"}, "nul\ufffd"),
        ({"stringValue": "cut \ud83d"}, "cut \ufffd"),
        ({"bytesValue": "AAAA"}, None),
        ({"kvlistValue": {"values": [{"key": "k", "value": {"intValue": 1}}]}}, {"k": 1}),
        ({"arrayValue": {}}, ()),
        ({}, None),
        (None, None),
    ],
)
def test_t19_json_values(value: object, expected: object) -> None:
    batch = from_json(span_json(attributes=[{"key": "a", "value": value}]))
    assert repr(batch.spans[0].attributes) == repr({} if expected is None else {"a": expected})  # as text, since NaN equals nothing


def test_a_huge_number_written_out_costs_only_its_value() -> None:
    text = json.dumps(span_json(attributes=[{"key": "a", "value": {"doubleValue": "HUGE"}}])).replace('"HUGE"', "1e400")
    assert decode(text.encode(), "json", WANTED, NOON).spans[0].attributes == {"a": inf}


def test_t19_unknown_fields_are_ignored_and_enum_names_reject_the_span() -> None:
    assert len(from_json(span_json(novelty={"x": 1})).spans) == 1
    assert reasons(from_json(span_json(kind="SPAN_KIND_CLIENT"))) == {"bad_enum": 1}
    assert reasons(from_json(span_json(status={"code": "STATUS_CODE_ERROR"}))) == {"bad_enum": 1}
    assert from_json(span_json(status={"code": 2})).spans[0].is_error


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"5", b"{", b'{"resourceSpans": 5}', b'{"resourceSpans": [5]}', b'{"resource_spans": []}', b"\xff\xfe"],
)
def test_a_body_that_is_no_json_request_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable, match="no OTLP/JSON trace request"):
        decode(body, "json", WANTED, NOON)


@pytest.mark.parametrize("body", [b"\x0a", b"\x0a\x05ab", b"\xff" * 12, b"\x0b", b"\x00\x1f"])
def test_a_body_that_is_no_protobuf_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable, match="no OTLP protobuf trace request"):
        decode(body, "protobuf", WANTED, NOON)


def test_bytes_that_are_no_utf8_cost_a_character_not_the_batch(request_of: Make) -> None:
    body = request_of(1).SerializeToString().replace(b"chat", b"ch\xff\x00")
    batch = decode(body, "protobuf", WANTED, NOON)
    assert (batch.spans[0].name, batch.repairs["text_replaced"]) == ("ch\ufffd\ufffd", 1)


def test_one_damaged_span_among_good_ones_is_rejected_alone(request_of: Make) -> None:
    def edit(span: Any, index: int) -> None:
        span.name = "damaged" if index == 1 else "fine"

    body = request_of(3, edit).SerializeToString().replace(b"\x2a\x07damaged", b"\x2a\x7fdamaged")
    batch = decode(body, "protobuf", WANTED, NOON)
    assert (len(batch.spans), reasons(batch)) == (2, {"bad_span": 1})


@given(st.binary(max_size=300))
def test_t47_random_bytes_raise_nothing_but_undecodable(body: bytes) -> None:
    for encoding in ("protobuf", "json"):
        with suppress(Undecodable, TooLarge):
            decode(body, encoding, WANTED, NOON)


SEED = ExportTraceServiceRequest()
_SPAN = SEED.resource_spans.add().scope_spans.add().spans.add(trace_id=bytes([1] * 16), span_id=bytes([2] * 8), name="chat")
_SPAN.start_time_unix_nano = _SPAN.end_time_unix_nano = NOON
_SPAN.attributes.add(key="a").value.kvlist_value.values.add(key="k").value.double_value = 0.5
_SPAN.events.add(name="exception").attributes.add(key="exception.type").value.string_value = "E"
_SPAN.links.add(trace_id=bytes([1] * 16), span_id=bytes([2] * 8))
SEED_BODIES = {"protobuf": SEED.SerializeToString(), "json": json.dumps(otlp_json(SEED)).encode()}


@given(
    st.sampled_from(["protobuf", "json"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), max_size=4),
    st.integers(0, 10_000),
)
@settings(max_examples=400)
def test_t47_damaged_requests_raise_nothing_but_undecodable(encoding: Any, edits: list[tuple[int, bytes]], cut: int) -> None:
    body = SEED_BODIES[encoding]
    for at, piece in edits:
        at %= len(body) + 1
        body = body[:at] + piece + body[at + len(piece) :]
    try:
        batch = decode(body[: cut % (2 * len(body) + 1)], encoding, WANTED, NOON)
    except (Undecodable, TooLarge):
        return
    assert batch.received == len(batch.spans) + sum(reasons(batch).values())


texts = st.text(max_size=20)
values = st.recursive(
    st.one_of(
        texts.map(lambda text: AnyValue(string_value=text)),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: AnyValue(int_value=number)),
        st.floats().map(lambda number: AnyValue(double_value=number)),
        st.booleans().map(lambda flag: AnyValue(bool_value=flag)),
        st.binary(max_size=5).map(lambda raw: AnyValue(bytes_value=raw)),
        st.just(AnyValue()),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: AnyValue(array_value={"values": items})),
    max_leaves=5,
)


@st.composite
def requests(draw: st.DrawFn) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    scope_spans = request.resource_spans.add().scope_spans.add()
    scope_spans.scope.name = draw(texts)
    for _ in range(draw(st.integers(0, 3))):
        span = scope_spans.spans.add(
            name=draw(texts), trace_state=draw(texts), kind=draw(st.integers(0, 5)), flags=draw(st.integers(0, 2**32 - 1))
        )
        span.trace_id = draw(st.binary(min_size=16, max_size=16) | st.binary(max_size=17))
        span.span_id, span.parent_span_id = draw(st.binary(min_size=8, max_size=8)), draw(st.binary(max_size=9))
        span.start_time_unix_nano = draw(st.integers(NOON - 10**12, NOON) | st.integers(0, 2**64 - 1))
        span.end_time_unix_nano = draw(st.integers(NOON - 10**12, NOON) | st.integers(0, 2**64 - 1))
        span.status.code = draw(st.integers(0, 2))
        for key in draw(st.lists(st.sampled_from(["a", "b", "unwanted", "metadata.x", ""]), max_size=4)):
            span.attributes.add(key=key).value.CopyFrom(draw(values))
        for link in draw(st.lists(st.binary(max_size=16), max_size=2)):
            span.links.add(trace_id=link.ljust(16, b"1"), span_id=link[:8])
    return request


@given(requests())
@settings(max_examples=200)
def test_json_and_protobuf_of_one_request_decode_equal(request: ExportTraceServiceRequest) -> None:
    one, other = from_protobuf(request), from_json(otlp_json(request))
    assert one[:3] == other[:3]
    if not one.rejections:
        assert one.repairs == other.repairs
