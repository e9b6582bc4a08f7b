"""Real backends behind us, over gRPC and HTTP: what they get, and how their answers are read."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_finops.base.limits import HOP_ANSWER_BYTES_MAX
from otel_finops.otlp.next_hop import GrpcHop, HopSettings, HttpHop, Reply, open_hop

BODY = b"\x0a\x00" * 50
PARTIAL = ExportTraceServiceResponse()
PARTIAL.partial_success.rejected_spans = 2


class Backend:
    """What a fake backend answers, and what it got."""

    def __init__(self) -> None:
        self.http_status = 200
        self.code = grpc.StatusCode.OK
        self.answer = b""
        self.seen: list[tuple[bytes, dict[str, str]]] = []
        self.path = ""


@contextmanager
def http_backend(backend: Backend) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            backend.path = self.path
            backend.seen.append((body, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(backend.http_status)
            self.send_header("content-length", str(len(backend.answer)))
            self.end_headers()
            self.wfile.write(backend.answer)

        def log_message(self, *args: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_backend(backend: Backend) -> Iterator[str]:
    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        backend.seen.append((body, {str(key): str(value) for key, value in context.invocation_metadata()}))
        if backend.code is not grpc.StatusCode.OK:
            context.abort(backend.code, "told to")
        return backend.answer

    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(export)
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@pytest.fixture
def backend() -> Backend:
    return Backend()


def test_http_gets_the_body_compressed_with_our_headers(backend: Backend) -> None:
    with http_backend(backend) as endpoint:
        hop = HttpHop(HopSettings(endpoint, {"authorization": "Bearer abc"}))
        assert hop.send(BODY, 5) == Reply("taken")
        hop.close()
    [(body, headers)] = backend.seen
    assert backend.path == "/v1/traces"
    assert gzip.decompress(body) == BODY
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["authorization"] == "Bearer abc"


def test_http_keeps_the_path_of_the_endpoint_and_can_leave_bodies_alone(backend: Backend) -> None:
    with http_backend(backend) as endpoint:
        hop = HttpHop(HopSettings(f"{endpoint}/api/otlp/v1/traces", gzip=False))
        assert hop.send(BODY, 5) == Reply("taken")
        hop.close()
    assert backend.path == "/api/otlp/v1/traces"
    assert backend.seen[0][0] == BODY


@pytest.mark.parametrize(
    ("status", "fate"),
    [(429, "away"), (502, "away"), (503, "away"), (504, "away"), (302, "refused"), (400, "refused"), (401, "refused"), (500, "refused")],
)
def test_http_statuses(backend: Backend, status: int, fate: str) -> None:
    backend.http_status = status
    with http_backend(backend) as endpoint:
        hop = HttpHop(HopSettings(endpoint))
        assert hop.send(BODY, 5) == (fate, 0, f"HTTP {status}")
        hop.close()


def test_grpc_gets_the_body_with_our_metadata(backend: Backend) -> None:
    with grpc_backend(backend) as endpoint:
        hop = GrpcHop(HopSettings(endpoint, {"X-Api-Key": "abc"}))
        assert hop.send(BODY, 5) == Reply("taken")
        hop.close()
    [(body, metadata)] = backend.seen
    assert body == BODY
    assert metadata["x-api-key"] == "abc"


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        (grpc.StatusCode.UNAVAILABLE, "away"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "away"),
        (grpc.StatusCode.ABORTED, "away"),
        (grpc.StatusCode.INVALID_ARGUMENT, "refused"),
        (grpc.StatusCode.UNAUTHENTICATED, "refused"),
        (grpc.StatusCode.UNIMPLEMENTED, "refused"),
        (grpc.StatusCode.INTERNAL, "refused"),
    ],
)
def test_grpc_statuses(backend: Backend, code: grpc.StatusCode, fate: str) -> None:
    backend.code = code
    with grpc_backend(backend) as endpoint:
        hop = GrpcHop(HopSettings(endpoint))
        assert hop.send(BODY, 5) == (fate, 0, f"gRPC {code.name}")
        hop.close()


def test_partial_success_is_read_from_both(backend: Backend) -> None:
    backend.answer = PARTIAL.SerializeToString()
    with http_backend(backend) as http, grpc_backend(backend) as over_grpc:
        for endpoint in (http, over_grpc):
            hop = open_hop(HopSettings(endpoint))
            assert hop.send(BODY, 5).rejected == 2
            hop.close()


def test_a_long_answer_is_not_read(backend: Backend) -> None:
    backend.answer = b"\x0a" + b"x" * (4 * HOP_ANSWER_BYTES_MAX)
    with http_backend(backend) as endpoint:
        hop = HttpHop(HopSettings(endpoint))
        assert [hop.send(BODY, 5) for _ in range(2)] == [Reply("taken")] * 2
        hop.close()


def test_what_is_too_large_for_one_side_is_not_sent_again(backend: Backend) -> None:
    backend.answer = b"x" * (4 * HOP_ANSWER_BYTES_MAX)
    with grpc_backend(backend) as endpoint:
        hop = GrpcHop(HopSettings(endpoint))
        assert hop.send(BODY, 5).fate == "refused"
        assert hop.send(b"x" * (5 * 1024 * 1024), 5).fate == "refused"  # the server takes 4 MiB, as grpc does by default
        hop.close()


def test_nobody_there() -> None:
    for endpoint in ("http://127.0.0.1:1", "127.0.0.1:1"):
        hop = open_hop(HopSettings(endpoint))
        assert hop.send(BODY, 1).fate == "away"
        hop.close()


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("http://host:4318", HttpHop), ("https://host/v1/traces", HttpHop), ("host:4317", GrpcHop), ("grpc://host:4317", GrpcHop),
        ("grpcs://host:4317", GrpcHop),
    ],
)  # fmt: skip
def test_the_endpoint_says_how_to_speak(endpoint: str, kind: type) -> None:
    hop = open_hop(HopSettings(endpoint))
    assert isinstance(hop, kind)
    hop.close()
