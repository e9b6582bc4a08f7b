"""An application's client against the running service: what calls cost, calls that only the application saw, and guards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2e_service import Service, eventually, http
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_finops.client import service as clients
from otel_finops.client.attribution import attribution
from otel_finops.client.costs import Cost, cost, trace_cost
from otel_finops.client.faults import CallBlocked
from otel_finops.client.guard import guard
from otel_finops.client.recording import record
from otel_finops.client.settings import ClientSettings
from otel_finops.client.usage import Usage

ANSWER = {"id": "chatcmpl-e2e-1", "model": "gpt-4o-2024-08-06", "usage": {"prompt_tokens": 1000, "completion_tokens": 200}}
PRICE = "0.0045"
"""1,000 tokens at 2.50 and 200 at 10 USD a million."""


class App:
    """An application with a stock SDK and the client."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(service.traces_url)))
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: self.provider)
        self.client = clients.Service(ClientSettings(service.web, timeout_s=10))

    def instrumented_call(self, response_id: str, **attributes: Any) -> None:
        """A span as an instrumentation of the vendor's SDK writes it."""
        said = {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.response.id": response_id,
        }  # fmt: skip
        tracer = self.provider.get_tracer("opentelemetry.instrumentation.openai_v2")
        tracer.start_span("chat gpt-4o", kind=trace.SpanKind.CLIENT, attributes={**said, **attributes}).end()


@pytest.fixture
def app(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    made = App(service, monkeypatch)
    yield made
    made.provider.shutdown()


def test_a_recorded_call_costs_in_the_ledger_what_was_told_at_once(app: App, service: Service) -> None:
    with app.provider.get_tracer("shop").start_as_current_span("turn") as turn, attribution(tenant="acme", step="answer"):
        recorded = record(ANSWER, provider="openai", model="gpt-4o", duration_s=0.5)
        at_once = cost(ANSWER, provider="openai", service=app.client)
    assert recorded is not None
    trace_id = trace.format_trace_id(turn.get_span_context().trace_id)
    assert at_once == Cost(PRICE, trace_id, booked=False, calls=1, tokens=1200)
    assert trace_cost(trace_id, wait=20, service=app.client) == Cost(PRICE, trace_id, booked=True, calls=1, tokens=1200)
    assert cost(trace_id=recorded.trace_id, span_id=recorded.span_id, service=app.client) == Cost(PRICE, trace_id, True, tokens=1200)
    (row,) = service.get("usage", trace_id=trace_id)["entries"]
    assert (row["tenant"], row["step"], row["service"], row["usage_source"]) == ("acme", "answer", "shop", "reported")


def test_a_call_that_an_instrumentation_saw_too_is_booked_once(app: App) -> None:
    used = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 200}
    with app.provider.get_tracer("shop").start_as_current_span("turn") as turn:
        app.instrumented_call("chatcmpl-e2e-2", **used)
        recorded = record({**ANSWER, "id": "chatcmpl-e2e-2"}, provider="openai", model="gpt-4o")
    trace_id = trace.format_trace_id(turn.get_span_context().trace_id)
    assert trace_cost(trace_id, wait=20, service=app.client) == Cost(PRICE, trace_id, booked=True, calls=1, tokens=1200)
    assert recorded is not None
    assert cost(trace_id=trace_id, span_id=recorded.span_id, service=app.client) == Cost(PRICE, trace_id, True, tokens=1200)


def test_what_a_meter_counted_of_a_cut_stream_fills_the_gap_of_an_instrumentation(app: App, service: Service) -> None:
    with app.provider.get_tracer("shop").start_as_current_span("turn") as turn:
        app.instrumented_call("chatcmpl-e2e-3", **{"gen_ai.request.stream": True})
        counted = Usage(input_uncached=1000, output=200)
        record(provider="openai", model="gpt-4o", usage=counted, response_id="chatcmpl-e2e-3", estimated=True)
    trace_id = trace.format_trace_id(turn.get_span_context().trace_id)
    assert trace_cost(trace_id, wait=20, service=app.client) == Cost(PRICE, trace_id, booked=True, calls=1, tokens=1200)
    standing = [row for row in service.get("usage", trace_id=trace_id)["entries"] if row["role"] == "call"]
    assert [row["usage_source"] for row in standing] == ["estimated"]


def test_a_guarded_calls_reservation_ends_when_its_span_is_booked(app: App, service: Service) -> None:
    with app.provider.get_tracer("shop").start_as_current_span("turn") as turn:
        with guard("openai", "gpt-4o", input_tokens=1000, max_output_tokens=500, service=app.client) as call:
            reservation_id = call.decision.reservation_id
            assert call.decision.estimate_usd == "0.0075"  # 1,000 at 2.50 and 500 at 10 USD a million
            record({**ANSWER, "id": "chatcmpl-e2e-4"}, provider="openai", model="gpt-4o")
            call.used(ANSWER)
        assert app.client.settlements.flush(10)
        assert reservation_id is not None
        settled = service.get(f"reservations/{reservation_id}")
        assert (settled["state"], settled["actual_usd"]) == ("settled", PRICE)
    trace_cost(turn.get_span_context().trace_id, wait=20, service=app.client)
    eventually(lambda: service.get(f"reservations/{reservation_id}")["state"] == "booked")


def test_a_kill_switch_stops_guarded_calls_and_no_others(app: App, service: Service) -> None:
    switch = {"scope": "model", "name": "gpt-4.1-nano", "why": "too many words"}
    answer = http("POST", f"{service.web}/api/v1/kill-switches", json=switch)
    assert answer.status_code == 200, answer.text
    with pytest.raises(CallBlocked, match="too many words") as blocked, guard("openai", "gpt-4.1-nano", service=app.client):
        pytest.fail("the call was made")
    assert (blocked.value.action, blocked.value.http_status) == ("block", 402)
    with guard("openai", "gpt-4o", service=app.client) as call:
        assert call.decision.action == "allow"
