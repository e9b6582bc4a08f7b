from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.loadgen import Plan, run
from benchmarks.payloads import Payload, Shape, build

SHAPE = Shape(spans=64, content_bytes=100)


def spans_of(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span for rs in request.resource_spans for ss in rs.scope_spans for span in ss.spans]


def answers_of(body: bytes) -> list[str]:
    return [a.value.string_value for span in spans_of(body) for a in span.attributes if a.key == "gen_ai.response.id"]


@pytest.fixture
def payload() -> Payload:
    return build(1, SHAPE)[0]


def test_a_request_has_the_shape_asked_for(payload: Payload) -> None:
    spans = spans_of(bytes(payload.buffer))
    genai = [span for span in spans if any(a.key.startswith("gen_ai.") for a in span.attributes)]
    assert len(spans) == payload.spans == 64
    assert len(genai) == payload.genai
    assert abs(len(genai) - 32) <= 2


def test_renewed_spans_are_all_new_and_keep_their_trees(payload: Payload) -> None:
    rng, seen, answers = random.Random(1), set[bytes](), set[str]()
    before = [(span.name, span.start_time_unix_nano) for span in spans_of(bytes(payload.buffer))]
    for _ in range(3):
        payload.renew(rng)
        spans = spans_of(bytes(payload.buffer))
        trace_of = {span.span_id: span.trace_id for span in spans}
        assert [(span.name, span.start_time_unix_nano) for span in spans] == before
        assert len(trace_of) == 64
        assert all(trace_of[span.parent_span_id] == span.trace_id for span in spans if span.parent_span_id)
        assert not seen & set(trace_of)
        assert not answers & set(answers_of(bytes(payload.buffer)))
        seen |= set(trace_of)
        answers |= set(answers_of(bytes(payload.buffer)))


def test_answer_ids_are_kept_when_a_gateway_is_played(payload: Payload) -> None:
    before = answers_of(bytes(payload.buffer))
    payload.renew(random.Random(1), answers=False)
    assert answers_of(bytes(payload.buffer)) == before


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int], grpc.StatusCode | None]], tuple[str, list[bytes]]]]:
    servers = []

    def start(fault: Callable[[int], grpc.StatusCode | None]) -> tuple[str, list[bytes]]:
        bodies: list[bytes] = []

        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            bodies.append(body)
            code = fault(len(bodies))
            if code:
                context.abort(code, "try later")
            return b""

        server = grpc.server(futures.ThreadPoolExecutor(1))
        handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}", bodies

    yield start
    for server in servers:
        server.stop(0).wait()


def test_only_what_is_answered_ok_counts_as_accepted(serve) -> None:
    target, bodies = serve(lambda number: grpc.StatusCode.UNAVAILABLE if number % 5 == 0 else None)
    outcome = run(Plan(target, connections=2, requests=20, warm=0, shape=SHAPE, payloads=2))
    assert len(bodies) == 20
    assert outcome.accepted_spans == 16 * 64
    assert outcome.errors == {"UNAVAILABLE: try later": 4}
    assert len({span.span_id for body in bodies for span in spans_of(body)}) == 20 * 64


def test_the_open_loop_keeps_its_rate(serve) -> None:
    target, bodies = serve(lambda number: None)
    outcome = run(Plan(target, connections=2, seconds=1.0, rate=640.0, warm=1, shape=SHAPE, payloads=2))
    assert outcome.warm_spans == 2 * 64
    assert 9 <= len(bodies) - 2 <= 11  # 640 spans a second in requests of 64 are ten requests
    assert outcome.errors == {}
