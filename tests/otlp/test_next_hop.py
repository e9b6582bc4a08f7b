"""Real backends behind us, over gRPC and HTTP: what they get, and how their answers are read."""

from __future__ import annotations

import gzip

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp_backend import Backend, grpc_backend, http_backend

from otel_finops.base.limits import HOP_ANSWER_BYTES_MAX
from otel_finops.otlp.next_hop import GrpcHop, HopSettings, HttpHop, Reply, open_hop

BODY = b"\x0a\x00" * 50
PARTIAL = ExportTraceServiceResponse()
PARTIAL.partial_success.rejected_spans = 2


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
