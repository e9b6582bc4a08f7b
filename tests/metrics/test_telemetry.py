from __future__ import annotations

import gc
import socket
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from otel_finops.base.errors import StartRefused
from otel_finops.metrics import catalog, telemetry
from otel_finops.metrics.self_metrics import SelfMetrics
from otel_finops.metrics.telemetry import Target, Telemetry
from otel_finops.settings.addresses import Address

NOWHERE = [Address("127.0.0.1", 1)]


class Spans(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []

    def Export(self, request, context):  # noqa: N802
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self) -> None:
        self.requests: list[metrics_service_pb2.ExportMetricsServiceRequest] = []

    def Export(self, request, context):  # noqa: N802
        self.requests.append(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


@pytest.fixture
def collector():
    server = grpc.server(futures.ThreadPoolExecutor(2))
    spans, metrics = Spans(), Metrics()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(spans, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(metrics, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port, spans, metrics
    server.stop(0).wait()


def begin(target: Target, metrics: SelfMetrics | None = None, listeners: list[Address] = NOWHERE) -> Telemetry:
    return telemetry.start(target, metrics or SelfMetrics(), listeners, version="0.1.0", instance="i-1")


def test_it_is_off_without_an_endpoint_and_costs_next_to_nothing() -> None:
    off = begin(Target(""))
    assert off.on is False
    gc.disable()
    started = time.process_time()
    for _ in range(100_000):
        with off.span("receive") as span:
            span.set("spans", 512)
    seconds = time.process_time() - started
    gc.enable()
    assert seconds / 100_000 < 5e-6  # a batch of 512 spans may take 40 ms
    assert off.shutdown() is True


def test_spans_and_metrics_reach_a_stock_collector_and_hold_only_numbers(collector) -> None:
    port, spans, metrics = collector
    counted = SelfMetrics(lambda: {("requests_refused", "busy"): 1})
    counted.spans(5, journalled=4, duplicate=1)
    counted.watch(catalog.QUEUE, lambda: 3)
    own = begin(Target(f"http://127.0.0.1:{port}"), counted)
    with own.span("journal") as span:
        span.set("spans", 5)
    with pytest.raises(ValueError, match="secret"), own.span("settle"):
        raise ValueError("secret text of a sender")
    assert own.shutdown() is True

    sent = [span for r in spans.requests for rs in r.resource_spans for ss in rs.scope_spans for span in ss.spans]
    assert [span.name for span in sent] == ["journal", "settle"]
    assert [(a.key, a.value.int_value) for a in sent[0].attributes] == [("finops.spans", 5)]
    assert [(a.key, a.value.string_value) for a in sent[1].attributes] == [("error.type", "ValueError")]
    assert sent[1].status.code == 2
    assert "secret" not in str(sent)
    resource = {a.key: a.value.string_value for a in spans.requests[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "otel-finops"

    values = {
        metric.name: {p.as_int or p.as_double for p in (*metric.sum.data_points, *metric.gauge.data_points)}
        for r in metrics.requests for rm in r.resource_metrics for sm in rm.scope_metrics for metric in sm.metrics
    }  # fmt: skip
    assert values["finops.received_spans"] == {5}
    assert values["finops.journalled_spans"] == {4}
    assert values["finops.refused_requests"] == {1}
    assert values["finops.queue_batches"] == {3}


def test_http_protobuf_goes_to_the_two_paths() -> None:
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append((self.path, self.headers["x-token"]))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    own = begin(Target(f"http://127.0.0.1:{server.server_port}/", "http/protobuf", {"x-token": "t"}))
    with own.span("receive"):
        pass
    assert own.shutdown()
    server.shutdown()
    server.server_close()
    assert set(paths) == {("/v1/traces", "t"), ("/v1/metrics", "t")}


@pytest.mark.parametrize(
    ("endpoint", "listener"),
    [
        ("http://127.0.0.1:4317", Address("127.0.0.1", 4317)),
        ("http://localhost:4317", Address("127.0.0.1", 4317)),
        ("http://localhost:4318/v1/traces", Address("0.0.0.0", 4318)),
        ("http://127.9.9.9:4317", Address("", 4317)),
        ("http://0.0.0.0:4317", Address("127.0.0.1", 4317)),
        ("http://localhost", Address("127.0.0.1", 80)),
        (f"http://{socket.gethostname()}:4317", Address("0.0.0.0", 4317)),
    ],
)
def test_the_services_own_listeners_are_refused(endpoint: str, listener: Address) -> None:
    with pytest.raises(StartRefused, match="own listener"):
        begin(Target(endpoint), listeners=[Address("127.0.0.1", 9), listener])


def test_other_places_are_not_refused() -> None:
    telemetry.refuse_own_tail("http://127.0.0.1:4319", [Address("127.0.0.1", 4317)])
    telemetry.refuse_own_tail("http://127.0.0.2:4317", [Address("127.0.0.1", 4317)])
    telemetry.refuse_own_tail("http://192.0.2.7:4317", [Address("0.0.0.0", 4317)])
    telemetry.refuse_own_tail("http://collector.invalid:4317", [Address("127.0.0.1", 4317)])


@pytest.mark.parametrize("endpoint", ["ftp://x:1", "127.0.0.1:4319", "http://x:notaport"])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(StartRefused, match="no endpoint"):
        begin(Target(endpoint))


def test_shutting_down_is_bounded_when_nobody_answers() -> None:
    with socket.socket() as silent:  # accepts connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        own = begin(Target(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        with own.span("receive"):
            pass
        started = time.monotonic()
        assert own.shutdown(timeout_s=0.5) is False
        assert time.monotonic() - started < 2
