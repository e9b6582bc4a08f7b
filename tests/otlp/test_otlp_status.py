"""T1 and T56: what a sender is answered for every fault, over gRPC, HTTP with protobuf and HTTP with JSON."""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_finops.base.errors import Busy, FinopsError, Forbidden, TooLarge, Unauthenticated, Unavailable, Undecodable
from otel_finops.base.protocols import ExportOutcome
from otel_finops.base.span import Rejection
from otel_finops.otlp.status import Refusals

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SECRET = "postgresql://finops:hunter2@db/ledger SELECT * FROM entries /var/lib/x.db"


class Row(NamedTuple):
    fault: Exception
    code: grpc.StatusCode
    http: int
    delay_s: float | None


ROWS = [
    Row(Undecodable("no OTLP"), grpc.StatusCode.INVALID_ARGUMENT, 400, None),
    Row(Unauthenticated("no such token"), grpc.StatusCode.UNAUTHENTICATED, 401, None),
    Row(Forbidden("may not send"), grpc.StatusCode.PERMISSION_DENIED, 403, None),
    Row(TooLarge("too many spans"), grpc.StatusCode.RESOURCE_EXHAUSTED, 413, None),
    Row(Busy("queue full", retry_after_s=1.5), grpc.StatusCode.RESOURCE_EXHAUSTED, 429, 1.5),
    Row(Unavailable("store away", retry_after_s=3), grpc.StatusCode.UNAVAILABLE, 503, 3.0),
    Row(FinopsError(SECRET), grpc.StatusCode.UNAVAILABLE, 503, 2.0),
    Row(RuntimeError(SECRET), grpc.StatusCode.UNAVAILABLE, 503, 2.0),
    Row(KeyError(SECRET), grpc.StatusCode.UNAVAILABLE, 503, 2.0),
    Row(OSError(28, SECRET), grpc.StatusCode.UNAVAILABLE, 503, 2.0),
    Row(MemoryError(SECRET), grpc.StatusCode.UNAVAILABLE, 503, 2.0),
    Row(RecursionError(SECRET), grpc.StatusCode.UNAVAILABLE, 503, 2.0),
]
row = pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row.fault).__name__)


def call_grpc(port: int, body: bytes = b"", path: str = EXPORT, **options: Any) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]) as channel:
        answer: bytes = channel.unary_unary(path)(body, timeout=20, **options)
        return answer


def refused(port: int, *arguments: Any, **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call_grpc(port, *arguments, **options)
    return caught.value


def post(port: int, body: bytes = b"", *, encoding: str = "x-protobuf", path: str = "/v1/traces", **headers: str) -> httpx.Response:
    sent = {"content-type": f"application/{encoding}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(f"http://127.0.0.1:{port}{path}", content=body, headers=sent, timeout=20)


def delay_of(info: RetryInfo) -> float:
    return info.retry_delay.seconds + info.retry_delay.nanos / 1e9


@row
def test_t1_over_grpc(listeners: Any, row: Row) -> None:
    listeners.intake.faults = [row.fault]
    error = refused(listeners.grpc.port)
    trailers = dict(error.trailing_metadata())
    assert error.code() is row.code
    assert SECRET not in error.details()
    if row.delay_s is None:
        assert not {"grpc-status-details-bin", "google.rpc.retryinfo-bin"} & trailers.keys()
        return
    assert delay_of(RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"])) == row.delay_s
    status, detail = Status.FromString(trailers["grpc-status-details-bin"]), RetryInfo()
    assert status.details[0].Unpack(detail)
    assert (status.code, status.message, delay_of(detail)) == (row.code.value[0], error.details(), row.delay_s)


@row
def test_t1_over_http_with_protobuf(listeners: Any, row: Row) -> None:
    listeners.intake.faults = [row.fault]
    answer = post(listeners.http.port)
    assert (answer.status_code, answer.headers["content-type"]) == (row.http, "application/x-protobuf")
    status = Status.FromString(answer.content)
    assert status.code == row.code.value[0]
    assert len(status.message) > 5
    assert SECRET.encode() not in answer.content
    assert answer.headers.get("retry-after") == {None: None, 1.5: "2", 2.0: "2", 3.0: "3"}[row.delay_s]


@row
def test_t1_over_http_with_json(listeners: Any, row: Row) -> None:
    listeners.intake.faults = [row.fault]
    answer = post(listeners.http.port, encoding="json; charset=utf-8")
    assert (answer.status_code, answer.headers["content-type"]) == (row.http, "application/json")
    body = answer.json()
    assert body["code"] == row.code.value[0]
    assert SECRET not in answer.text
    assert [detail["retryDelay"] for detail in body.get("details", [])] == {None: [], 1.5: ["1.500s"], 2.0: ["2s"], 3.0: ["3s"]}[
        row.delay_s
    ]


def test_t1_some_bad_spans_are_a_partial_success(listeners: Any) -> None:
    listeners.intake.outcome = ExportOutcome(998, (Rejection("bad_trace_id", "ids are 16 bytes"), Rejection("bad_time", "too old", 2)))
    message = "1 spans refused (bad_trace_id): ids are 16 bytes; 2 spans refused (bad_time): too old"
    for body in (call_grpc(listeners.grpc.port), post(listeners.http.port).content):
        partial = ExportTraceServiceResponse.FromString(body).partial_success
        assert (partial.rejected_spans, partial.error_message) == (3, message)
    answer = post(listeners.http.port, encoding="json")
    assert (answer.status_code, answer.json()) == (200, {"partialSuccess": {"rejectedSpans": "3", "errorMessage": message}})
    assert (listeners.counted("spans_accepted"), listeners.counted("spans_rejected", "bad_time")) == (3 * 998, 6)


def test_t1_all_well_is_an_empty_answer(listeners: Any) -> None:
    assert call_grpc(listeners.grpc.port) == b""
    protobuf, as_json = post(listeners.http.port), post(listeners.http.port, encoding="json")
    assert (protobuf.status_code, protobuf.content, protobuf.headers["content-type"]) == (200, b"", "application/x-protobuf")
    assert (as_json.status_code, as_json.json(), as_json.headers["content-type"]) == (200, {}, "application/json")


def test_t1_wrong_path_method_and_types(listeners: Any) -> None:
    port = listeners.http.port
    url = f"http://127.0.0.1:{port}/v1/traces"
    assert (post(port, path="/v1/nothing").status_code, post(port, path="/").status_code) == (404, 404)
    wrong = httpx.get(url)
    assert (wrong.status_code, wrong.headers["allow"], wrong.json()["message"]) == (405, "POST", "OTLP/HTTP requests are sent with POST")
    for encoding in ("text", "x-protobuf-delimited", ""):
        assert post(port, encoding=encoding).status_code == 415
    assert post(port, content_encoding="br").status_code == 415
    assert post(port, content_encoding="gzip, gzip").status_code == 415
    assert refused(listeners.grpc.port, b"", EXPORT.replace("Export", "Nothing")).code() is grpc.StatusCode.UNIMPLEMENTED
    assert listeners.intake.requests == []


@pytest.mark.parametrize(
    ("token", "code", "http"), [("nobody", grpc.StatusCode.UNAUTHENTICATED, 401), ("reader", grpc.StatusCode.PERMISSION_DENIED, 403)]
)
@pytest.mark.parametrize("signal", ["trace", "metrics", "logs"])
def test_every_signal_asks_for_the_credential(listeners: Any, token: str, code: grpc.StatusCode, http: int, signal: str) -> None:
    service = f"/opentelemetry.proto.collector.{signal}.v1.{signal.capitalize()}Service/Export"
    assert refused(listeners.grpc.port, b"", service, metadata=(("authorization", f"Bearer {token}"),)).code() is code
    path = f"/v1/{'traces' if signal == 'trace' else signal}"
    answer = post(listeners.http.port, b"x" * 1_000, path=path, authorization=f"bearer {token}")
    assert answer.status_code == http
    assert ("www-authenticate" in answer.headers) == (http == 401)
    assert listeners.intake.requests == []


@pytest.mark.parametrize("signal", ["metrics", "logs"])
def test_what_nobody_takes_in_is_answered_ok_counted_and_named_once_in_the_log(listeners: Any, signal: str, caplog: Any) -> None:
    service = f"/opentelemetry.proto.collector.{signal}.v1.{signal.capitalize()}Service/Export"
    with caplog.at_level(logging.WARNING, "otel_finops.otlp"):
        assert call_grpc(listeners.grpc.port, b"\x0a\x00", service) == b""
        assert post(listeners.http.port, b"{}", encoding="json", path=f"/v1/{signal}").json() == {}
    assert listeners.counted("requests_ignored", signal) == 2
    assert [record.message for record in caplog.records] == [
        f"OTLP {signal} are received and ignored; send traces and logs only, or send {signal} elsewhere"
    ]
    assert listeners.intake.requests == []


def test_unexpected_faults_are_logged_once_in_ten_seconds_a_kind(caplog: Any) -> None:
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    with caplog.at_level(logging.ERROR):
        for now[0] in (0.0, 1.0, 9.0, 10.0):
            refusals.refusal(RuntimeError("boom"))
        refusals.refusal(KeyError("boom"))
    assert [record.message.split()[4].rstrip(";") for record in caplog.records] == ["RuntimeError", "RuntimeError", "KeyError"]


def test_faults_are_counted_by_name(listeners: Any) -> None:
    listeners.intake.faults = [Unavailable("away"), Busy("full"), RuntimeError()]
    for _ in range(4):
        post(listeners.http.port)
    post(listeners.http.port, path="/nothing")
    assert listeners.counted("requests_refused", "unavailable") == 2
    assert listeners.counted("requests_refused", "busy") == 1
    assert listeners.counted("requests_refused", "no_such_path") == 1
    assert listeners.counted("requests", "http") == 4


def test_t56_no_answer_names_anything_of_ours(listeners: Any) -> None:
    texts: list[str] = []
    for row in ROWS:
        for encoding in ("x-protobuf", "json"):
            listeners.intake.faults = [row.fault]
            texts.append(post(listeners.http.port, encoding=encoding).content.decode("latin-1"))
        listeners.intake.faults = [row.fault]
        error = refused(listeners.grpc.port)
        texts.append(f"{error.details()} {error.trailing_metadata()}")
    everything = json.dumps(texts)
    assert [word for word in ("hunter2", "SELECT", "Traceback", "/var", ".py", "postgresql") if word in everything] == []
