"""Log requests: records of known events are decoded, all others counted, in both encodings alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as Wire
from test_otlp_status import call_grpc, post

from otel_finops.base import limits
from otel_finops.base.errors import TooLarge, Undecodable
from otel_finops.base.protocols import Credential, ExportOutcome, ExportRequest
from otel_finops.base.span import Rejection, WantedKeys
from otel_finops.otlp.admission import Admission
from otel_finops.otlp.decode import DecodedLogs, decode_logs
from otel_finops.otlp.http_server import HttpReceiver
from otel_finops.otlp.intake import reception
from otel_finops.otlp.receive_grpc import GrpcReceiver
from otel_finops.otlp.signals import export_answer
from otel_finops.otlp.status import Refusals
from otel_finops.settings.addresses import Address
from otel_finops.testing import NOON, FakeClock

EXPORT_LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
WANTED = WantedKeys(frozenset({"model", "input_tokens", "service.name"}))
EVENTS = frozenset({"acme.answer", "acme.failure"})
TRACE, SPAN = bytes(range(1, 17)), bytes(range(1, 9))


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def record(*attributes: KeyValue, **fields: Any) -> Wire:
    return Wire(**{"time_unix_nano": NOON, "attributes": attributes, **fields})


def named(name: str, **fields: Any) -> Wire:
    return record(text("event.name", name), **fields)


def request(*records: Wire) -> ExportLogsServiceRequest:
    made = ExportLogsServiceRequest()
    resource_logs = made.resource_logs.add()
    resource_logs.resource.attributes.append(text("service.name", "tool"))
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = "acme.events"
    scope_logs.log_records.extend(records)
    return made


def decoded(*records: Wire) -> DecodedLogs:
    return decode_logs(request(*records).SerializeToString(), "protobuf", WANTED, EVENTS, NOON)


def from_json(*records: object, **resource_logs: Any) -> DecodedLogs:
    document = {"resourceLogs": [{"scopeLogs": [{"scope": {"name": "acme.events"}, "logRecords": list(records)}], **resource_logs}]}
    return decode_logs(json.dumps(document).encode(), "json", WANTED, EVENTS, NOON)


class Intake:
    """Remembers the requests; raises the faults it was given, one for each request, before it takes one."""

    def __init__(self) -> None:
        self.requests: list[ExportRequest] = []
        self.faults: list[Exception] = []
        self.outcome = ExportOutcome(1, (Rejection("bad_time", "too early", 1),))

    def __call__(self, request: ExportRequest, /) -> ExportOutcome:
        self.requests.append(request)
        if self.faults:
            raise self.faults.pop(0)
        return self.outcome


@pytest.fixture
def gate() -> Iterator[tuple[Intake, int, int]]:
    """Listeners with an intake for logs: it, and the ports of gRPC and HTTP."""
    intake = Intake()
    shared = reception(Intake(), lambda token: Credential(), Admission(), Refusals(FakeClock().monotonic))._replace(log_intake=intake)
    grpc, http = GrpcReceiver(shared, Address("127.0.0.1", 0), threads=2), HttpReceiver(shared, Address("127.0.0.1", 0), threads=2)
    for receiver in (grpc, http):
        receiver.start()
    yield intake, grpc.port, http.port
    assert shared.counters.snapshot()["log_records_rejected", "bad_time"] == 3
    for receiver in (grpc, http):
        receiver.stop(1)


def reasons(batch: DecodedLogs) -> dict[str, int]:
    return {rejection.reason: rejection.spans for rejection in batch.rejections}


def test_a_record_of_a_known_event_is_read_whole() -> None:
    attributes = [text("event.name", "acme.answer"), text("model", "gpt-4o"), text("prompt", "a secret")]
    counted = KeyValue(key="input_tokens", value=AnyValue(int_value=12))
    batch = decoded(record(*attributes, counted, trace_id=TRACE, span_id=SPAN, dropped_attributes_count=3))
    [read] = batch.records
    assert (read.event, read.time_ns, read.trace_id, read.span_id) == ("acme.answer", NOON, TRACE, SPAN)
    assert read.attributes == {"event.name": "acme.answer", "model": "gpt-4o", "input_tokens": 12}  # what nobody asked for stays unread
    assert (read.resource, read.scope, read.dropped_attributes) == ({"service.name": "tool"}, "acme.events", 3)
    assert (batch.received, batch.ignored, batch.rejections) == (1, 0, ())


@pytest.mark.parametrize("fields", [{"event_name": "acme.answer"}, {"body": AnyValue(string_value="acme.answer")}])
def test_the_event_may_be_named_in_the_records_own_field_or_in_its_body(fields: dict[str, Any]) -> None:
    [read] = decoded(record(**fields)).records
    assert read.event == "acme.answer"
    [read] = decoded(named("answer", **fields)).records  # a short name in the attribute beside it is not ours to know
    assert read.event == "acme.answer"


def test_other_records_are_counted_whatever_is_in_them() -> None:
    long_body = AnyValue(string_value="acme.answer" * 10_000)
    batch = decoded(named("acme.prompt"), record(body=long_body), named("acme.prompt", time_unix_nano=1), record())
    assert (batch.records, batch.received, batch.ignored, batch.rejections) == ([], 4, 4, ())


def test_a_record_without_its_own_time_happened_when_it_was_observed() -> None:
    [read] = decoded(named("acme.answer", time_unix_nano=0, observed_time_unix_nano=NOON + 5)).records
    assert read.time_ns == NOON + 5


def test_impossible_ids_are_taken_as_absent_and_impossible_times_refused() -> None:
    batch = decoded(
        named("acme.answer", trace_id=bytes(16), span_id=bytes(8)),
        named("acme.answer", trace_id=b"short", span_id=SPAN),
        named("acme.answer", time_unix_nano=1),
        named("acme.failure", time_unix_nano=0),
        named("acme.failure", time_unix_nano=NOON + 800 * 86_400 * 10**9),
    )
    assert [(read.trace_id, read.span_id) for read in batch.records] == [(None, None), (None, SPAN)]
    assert (batch.repairs, reasons(batch)) == ({"bad_trace_id": 1}, {"bad_time": 3})
    assert batch.received == len(batch.records) + 3


def test_one_unreadable_record_does_not_cost_its_neighbours() -> None:
    body = bytearray(request(named("acme.answer"), named("acme.failure")).SerializeToString())
    at = body.rindex(b"acme.failure") - 2
    body[at - 1] = 0x7A  # a wire type inside of the last record that ends nowhere
    body[at] = 0x7F
    batch = decode_logs(bytes(body), "protobuf", WANTED, EVENTS, NOON)
    assert [read.event for read in batch.records] == ["acme.answer"]
    assert (batch.received, sum(reasons(batch).values()) + batch.ignored) == (2, 1)


def test_limits_are_those_of_spans() -> None:
    deep = AnyValue(string_value="x")
    for _ in range(limits.VALUE_DEPTH_MAX + 1):
        outer = AnyValue()
        outer.array_value.values.append(deep)
        deep = outer
    many = [text("x", "y")] * (limits.ATTRIBUTES_PER_SPAN_MAX + 1)
    batch = decoded(record(text("event.name", "acme.answer"), KeyValue(key="model", value=deep)), record(*many), named("acme.answer"))
    assert (reasons(batch), len(batch.records)) == ({"too_deep": 1, "too_many_attributes": 1}, 1)
    scope_logs = b"\x12\x00" * (limits.SPANS_PER_REQUEST_MAX + 1)
    resource_logs = b"\x12" + varint(len(scope_logs)) + scope_logs
    with pytest.raises(TooLarge, match="log records in one request"):
        decode_logs(b"\x0a" + varint(len(resource_logs)) + resource_logs, "protobuf", WANTED, EVENTS, NOON)


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def test_json_decodes_equal() -> None:
    wire = {
        "timeUnixNano": str(NOON), "traceId": TRACE.hex().upper(), "spanId": SPAN.hex(), "droppedAttributesCount": 3,
        "body": {"stringValue": "acme.answer"}, "attributes": [
            {"key": "model", "value": {"stringValue": "gpt-4o"}}, {"key": "input_tokens", "value": {"intValue": "12"}},
            {"key": "tools", "value": {}},
        ],
    }  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "tool"}}]}
    counted = KeyValue(key="input_tokens", value=AnyValue(int_value=12))
    same = record(
        text("model", "gpt-4o"),
        counted,
        body=AnyValue(string_value="acme.answer"),
        trace_id=TRACE,
        span_id=SPAN,
        dropped_attributes_count=3,
    )
    assert from_json(wire, resource=resource).records == decoded(same).records


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("no object", "bad_log_record"),
        ({"attributes": "none"}, "bad_log_record"),
        ({"eventName": 7}, "bad_log_record"),
        ({"timeUnixNano": "soon"}, "bad_time"),
        ({"eventName": "acme.answer"}, "bad_time"),
    ],
)
def test_broken_json_records_are_refused_one_by_one(broken: object, reason: str) -> None:
    batch = from_json(broken, {"eventName": "acme.answer", "timeUnixNano": NOON, "traceId": "zz", "spanId": ""})
    assert (reasons(batch), len(batch.records), batch.repairs) == ({reason: 1}, 1, {"bad_trace_id": 1})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "no JSON object"),
        (b"{", "no JSON"),
        (b'{"resource_logs": []}', r"lowerCamelCase \(resourceLogs\)"),
        (b'{"resourceLogs": 1}', "resourceLogs is no array"),
        (b'{"resourceLogs": [{"scopeLogs": [{"logRecords": {}}]}]}', "logRecords is no array"),
    ],
)
def test_what_is_no_log_request_is_undecodable(body: bytes, why: str) -> None:
    with pytest.raises(Undecodable, match=f"no OTLP/JSON log request: .*{why}"):
        decode_logs(body, "json", WANTED, EVENTS, NOON)
    with pytest.raises(Undecodable, match="no OTLP protobuf log request"):
        decode_logs(b"\x0a\x7f", "protobuf", WANTED, EVENTS, NOON)


def test_partial_success_names_log_records() -> None:
    outcome = ExportOutcome(5, (Rejection("bad_time", "too early", 2),))
    answer = json.loads(export_answer("logs", outcome, "json"))
    assert answer == {"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "2 log records refused (bad_time): too early"}}
    read = ExportLogsServiceResponse.FromString(export_answer("logs", outcome, "protobuf")).partial_success
    assert (read.rejected_log_records, read.error_message) == (2, "2 log records refused (bad_time): too early")
    assert (export_answer("logs", ExportOutcome(5), "json"), export_answer("logs", ExportOutcome(5), "protobuf")) == (b"{}", b"")


def test_both_listeners_hand_logs_to_their_intake(gate: tuple[Intake, int, int]) -> None:
    """OK only after the intake's return, refused records in a partial success, the same faults as for spans."""
    intake, grpc_port, http_port = gate
    answer = call_grpc(grpc_port, request(named("acme.answer")).SerializeToString(), EXPORT_LOGS)
    assert ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records == 1
    posted = post(http_port, b'{"resourceLogs": []}', encoding="json", path="/v1/logs")
    assert posted.json()["partialSuccess"]["rejectedLogRecords"] == "1"
    assert [taken.encoding for taken in intake.requests] == ["protobuf", "json"]
    intake.faults = [RuntimeError("a bug of ours"), Undecodable("no log request")]
    assert [post(http_port, b"{}", encoding="json", path="/v1/logs").status_code for _ in range(3)] == [503, 400, 200]


def test_recorded_requests(corpus: Path) -> None:
    """Of Codex's 19 records 12 are events of its stream, the others of no interest; names in the attribute of all."""
    body = (corpus / "codex__run" / "logs-1.binpb").read_bytes()
    batch = decode_logs(body, "protobuf", WANTED, frozenset({"codex.sse_event"}), NOON)
    assert (batch.received, len(batch.records), batch.ignored, batch.rejections) == (19, 12, 7, ())
    assert {read.scope for read in batch.records} == {"codex_otel.log_only"}
