"""Calls that no instrumentation saw, written down as the conventions have it; never a reason for the application to fail."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from otel_finops.client.attribution import Held, attribution, entered, stamp_spans
from otel_finops.client.recording import Recorded, record
from otel_finops.client.usage import Usage

CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "usage": {
        "prompt_tokens": 3517,
        "completion_tokens": 419,
        "prompt_tokens_details": {"cached_tokens": 2304},
        "completion_tokens_details": {"reasoning_tokens": 64},
    },
}


class Spans:
    """A provider and what it exported."""

    def __init__(self, **options: Any) -> None:
        self.provider = TracerProvider(**options)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        stamp_spans(self.provider)

    @property
    def only(self) -> ReadableSpan:
        (span,) = self._exporter.get_finished_spans()
        return span


def test_an_answer_becomes_one_conventional_span() -> None:
    spans = Spans()
    began = time.time_ns()
    recorded = record(CHAT, provider="openai", model="gpt-4o", duration_s=2, tracer_provider=spans.provider)
    span = spans.only
    assert (span.name, span.kind, span.instrumentation_scope and span.instrumentation_scope.name) == (
        "chat gpt-4o",
        SpanKind.CLIENT,
        "otel_finops.client",
    )
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "openai.response.service_tier": "default",
        "gen_ai.usage.input_tokens": 3517,
        "gen_ai.usage.output_tokens": 419,
        "gen_ai.usage.cache_read.input_tokens": 2304,
        "gen_ai.usage.reasoning.output_tokens": 64,
    }
    assert recorded == Recorded(trace.format_trace_id(span.context.trace_id), trace.format_span_id(span.context.span_id))
    assert span.start_time is not None
    assert span.end_time is not None
    assert 2_000_000_000 <= span.end_time - span.start_time < 3_000_000_000
    assert span.end_time >= began


def test_anthropics_cached_tokens_become_part_of_the_input_as_the_conventions_want_it() -> None:
    usage = {
        "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 150,
        "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 100}, "service_tier": "standard",
    }  # fmt: skip
    spans = Spans()
    record({"model": "claude", "id": "msg_1", "usage": usage}, provider="anthropic", tracer_provider=spans.provider)
    said = dict(spans.only.attributes or {})
    assert spans.only.name == "chat claude"
    assert {key: said[key] for key in said if "usage" in key} == {
        "gen_ai.usage.input_tokens": 360,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 200,
        "gen_ai.usage.cache_creation.input_tokens": 150,
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 100,
    }
    assert said["anthropic.response.service_tier"] == "standard"


def test_counts_alone_are_enough() -> None:
    spans = Spans()
    record(
        provider="house",
        model="llama-4",
        operation="embeddings",
        usage=Usage(input_uncached=9),
        started_ns=1,
        tracer_provider=spans.provider,
    )
    assert (spans.only.name, spans.only.start_time) == ("embeddings llama-4", 1)
    assert dict(spans.only.attributes or {}) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "house",
        "gen_ai.request.model": "llama-4",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 0,
    }


def test_a_failed_call_says_of_its_fault_only_the_kind() -> None:
    spans = Spans()
    record(provider="openai", model="gpt-4o", error=TimeoutError("prompt: secret"), tracer_provider=spans.provider)
    assert (spans.only.attributes or {})["error.type"] == "TimeoutError"
    assert (spans.only.status.status_code, spans.only.status.description) == (StatusCode.ERROR, None)


def test_a_meters_guess_is_written_under_a_name_that_says_so() -> None:
    spans = Spans()
    record(provider="openai", model="gpt-4o", usage=Usage(9, output=3), estimated=True, tracer_provider=spans.provider)
    assert spans.only.instrumentation_scope is not None
    assert spans.only.instrumentation_scope.name == "otel_finops.client.estimate"
    assert (spans.only.attributes or {})["gen_ai.request.stream"] is True


def test_it_belongs_to_whom_the_block_names_and_bears_the_guards_reservation() -> None:
    spans = Spans()
    with attribution(tenant="acme"), entered({}, decision=Held("r1")):
        record(provider="openai", model="m", attributes={"team": "blue"}, tracer_provider=spans.provider)
    said = spans.only.attributes or {}
    assert (said["finops.tenant"], said["finops.reservation"], said["team"]) == ("acme", "r1", "blue")


def test_it_joins_the_trace_of_the_current_span() -> None:
    spans = Spans()
    around = spans.provider.get_tracer("t").start_span("turn")
    with trace.use_span(around):
        recorded = record(provider="openai", model="m", tracer_provider=spans.provider)
    assert recorded is not None
    assert recorded.trace_id == trace.format_trace_id(around.get_span_context().trace_id)


@pytest.mark.parametrize("provider", [trace.NoOpTracerProvider(), TracerProvider(sampler=ALWAYS_OFF)])
def test_where_spans_go_nowhere_nothing_is_written(provider: trace.TracerProvider) -> None:
    assert record(CHAT, provider="openai", tracer_provider=provider) is None


class Hostile:
    """An answer that fails whenever it is looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")


def test_it_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    spans = Spans()
    assert record(CHAT, provider="openai", started_ns="yesterday", tracer_provider=spans.provider) is None  # type: ignore[arg-type]
    assert record(CHAT, provider="openai", attributes=5, tracer_provider=spans.provider) is None  # type: ignore[arg-type]
    assert record(Hostile(), provider="openai", tracer_provider=spans.provider) is not None
    assert spans.only.name == "chat"
    assert {message for message in caplog.messages if "recorded" in message} == {"A model call could not be recorded."}
