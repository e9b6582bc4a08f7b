"""Export requests as senders write them, and listeners with an intake that does what a test says."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_finops.base.errors import Forbidden, Unauthenticated
from otel_finops.base.protocols import Credential, ExportOutcome, ExportRequest
from otel_finops.otlp.admission import Admission
from otel_finops.otlp.http_server import HttpReceiver
from otel_finops.otlp.intake import Reception, reception
from otel_finops.otlp.receive_grpc import GrpcReceiver
from otel_finops.otlp.status import Refusals
from otel_finops.settings.addresses import Address
from otel_finops.testing import NOON, FakeClock


class Intake:
    """Remembers the requests; raises the faults it was given, one for each request, before it takes one."""

    def __init__(self) -> None:
        self.requests: list[ExportRequest] = []
        self.faults: list[Exception] = []
        self.outcome: ExportOutcome | None = None
        self.decode: Callable[[ExportRequest], ExportOutcome] | None = None

    def __call__(self, request: ExportRequest, /) -> ExportOutcome:
        self.requests.append(request)
        if self.faults:
            raise self.faults.pop(0)
        if self.decode is not None:
            return self.decode(request)
        return self.outcome or ExportOutcome(1)


def auth(token: str | None) -> Credential:
    if token == "reader":
        raise Forbidden("this token may not send")
    if token == "nobody":
        raise Unauthenticated("no such token")
    return Credential()


class Listeners:
    """Both listeners on free ports, over one reception."""

    def __init__(self) -> None:
        self.intake = Intake()
        self.reception: Reception = reception(self.intake, auth, Admission(), Refusals(FakeClock().monotonic))
        self.grpc = GrpcReceiver(self.reception, Address("127.0.0.1", 0), threads=4)
        self.http = HttpReceiver(self.reception, Address("127.0.0.1", 0), threads=4)

    def counted(self, name: str, label: str = "") -> int:
        return self.reception.counters.snapshot().get((name, label), 0)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    both = Listeners()
    both.grpc.start()
    both.http.start()
    yield both
    both.grpc.stop(1)
    both.http.stop(1)


@pytest.fixture
def http_listener() -> Iterator[Callable[..., tuple[Intake, HttpReceiver]]]:
    """Starts an OTLP/HTTP listener with other bounds than the usual ones."""
    started: list[HttpReceiver] = []

    def start(admission: Admission | None = None, **bounds: Any) -> tuple[Intake, HttpReceiver]:
        intake = Intake()
        shared = reception(intake, auth, admission or Admission(), Refusals(FakeClock().monotonic))
        receiver = HttpReceiver(shared, Address("127.0.0.1", 0), **bounds)
        receiver.start()
        started.append(receiver)
        return intake, receiver

    yield start
    for receiver in started:
        receiver.stop(1)


@pytest.fixture
def connect() -> Iterator[Callable[[int], socket.socket]]:
    """Opens plain TCP connections, closed at the end."""
    opened: list[socket.socket] = []

    def connect(port: int) -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", port), timeout=10))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.fixture
def request_of() -> Callable[..., ExportTraceServiceRequest]:
    """Makes a request of `count` good spans; `edit(span, index)` changes each."""

    def make(count: int = 1, edit: Callable[[Any, int], None] = lambda span, index: None) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.add(key="service.name").value.string_value = "shop"
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name, scope_spans.scope.version = "tests", "1.0"
        for index in range(count):
            span = scope_spans.spans.add(trace_id=bytes([1] * 16), span_id=(index + 1).to_bytes(8, "big"), name="chat", kind=3, flags=1)
            span.start_time_unix_nano, span.end_time_unix_nano = NOON - 2_000, NOON - 1_000
            edit(span, index)
        return request

    return make
