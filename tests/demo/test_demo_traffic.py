from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from otel_finops.base.errors import StartRefused
from otel_finops.demo.traffic import App, make_apps, missing_modules, require_extra, run_demo_traffic

MISSING = missing_modules(make_apps())
needs_extra = pytest.mark.skipif(
    bool(MISSING), reason=f"SKIPPED LOUDLY: the demo is not tested, the extra `demo` lacks {', '.join(MISSING)}"
)
SCOPES = {
    "support-desk": {"opentelemetry.instrumentation.genai.openai"},
    "knowledge-search": {"openinference.instrumentation.openai"},
    "nightly-summaries": {"opentelemetry.instrumentation.anthropic", "com.anthropic.sdk.python"},
}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []

    def Export(self, request, context):  # noqa: N802 - gRPC's name
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def scopes(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {}
        for request in list(self.requests):
            for rs in request.resource_spans:
                service = next(a.value.string_value for a in rs.resource.attributes if a.key == "service.name")
                for ss in rs.scope_spans:
                    found.setdefault(service, Counter())[ss.scope.name] += len(ss.spans)
        return found


@pytest.fixture
def collector() -> Iterator[tuple[str, Collector]]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", service
    server.stop(0).wait()


@needs_extra
def test_three_stock_instrumentations_reach_a_collector(collector: tuple[str, Collector]) -> None:
    endpoint, received = collector
    stop = threading.Event()
    traffic = threading.Thread(target=run_demo_traffic, args=(endpoint, stop, 20.0))
    traffic.start()
    deadline = time.monotonic() + 45
    while time.monotonic() < deadline and not all(wanted <= set(received.scopes().get(app, ())) for app, wanted in SCOPES.items()):
        time.sleep(0.2)
    stop.set()
    traffic.join(20)
    assert not traffic.is_alive()
    scopes = received.scopes()
    for app, wanted in SCOPES.items():
        assert wanted <= set(scopes.get(app, ())), scopes
    keys = {a.key for r in received.requests for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans for a in s.attributes}
    assert keys >= {"finops.tenant", "finops.step", "finops.cost_center", "user.id", "session.id", "gen_ai.agent.name", "gen_ai.tool.name"}
    assert keys >= {"gen_ai.usage.input_tokens", "gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt", "traceloop.entity.name"}


def test_a_missing_extra_is_named_with_what_to_install() -> None:
    app = App("x", "x", "x", ("openai_is_not_here", "opentelemetry.instrumentation.not_here"), 1.0)
    with pytest.raises(StartRefused, match=r'openai_is_not_here, opentelemetry.*install them with: pip install "otel-finops\[demo\]"'):
        require_extra([app])
