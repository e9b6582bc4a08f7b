"""Calls made with the stock SDK and sent by its own exporters, as most senders send them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter

PRICE = Decimal("0.0045")
"""1,000 tokens in at 2.50 and 200 out at 10.00 USD a million."""
Key = tuple[bytes, bytes]


def stock_calls(count: int) -> list[ReadableSpan]:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    said = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-2024-08-06"}
    spans: list[ReadableSpan] = []
    for _ in range(count):
        span = tracer.start_span("chat gpt-4o", attributes={**said, "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 200})
        span.end()
        assert isinstance(span, ReadableSpan)
        spans.append(span)
    return spans


def keys(spans: list[ReadableSpan]) -> list[Key]:
    return [(span.context.trace_id.to_bytes(16, "big"), span.context.span_id.to_bytes(8, "big")) for span in spans if span.context]


def exporter(way: str, port: int) -> SpanExporter:
    if way == "grpc":
        quickly: Any = tuple((f"grpc.{which}_reconnect_backoff_ms", 50) for which in ("initial", "min", "max"))
        return GrpcExporter(endpoint=f"http://127.0.0.1:{port}", insecure=True, timeout=5, channel_options=quickly)
    return HttpExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces", timeout=5)
