"""The examples of docs/client.md run as they stand there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fake_service import FakeService
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_finops.client import costs, guard
from otel_finops.client.service import Service
from otel_finops.client.settings import ClientSettings
from otel_finops.demo.provider import FakeProvider
from otel_finops.testing import CountingIds

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def fake() -> Iterator[FakeService]:
    service = FakeService()
    lines = [{"unit": "input_uncached", "rate_usd": "0.0000025"}, {"unit": "output", "rate_usd": "0.00001"}]
    service.answers["/api/v1/health"] = {"ok": True, "parts": []}
    service.answers["/api/v1/pricing/quote"] = {"usd": "0.01", "quotes": [{"usd": "0.01", "lines": lines}]}
    service.answers[f"/api/v1/traces/{TRACE}?sums_only=true"] = {
        "trace_id": TRACE, "total_usd": "0.25", "unpriced_calls": 0, "pending": False, "steps": [],
    }  # fmt: skip
    yield service
    service.close()


def test_the_pages_examples_run(fake: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as a reader would try them: guards, a stream, costs, recorded calls, blocks."""
    service, exporter, provider = Service(ClientSettings(fake.url, timeout_s=5)), InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    for module in (guard, costs):
        monkeypatch.setattr(module, "the_service", lambda: service)
    vendor = FakeProvider(seed=3, ids=CountingIds())
    known: dict[str, Any] = {
        "openai_client": openai.OpenAI(base_url=vendor.url + "/v1", api_key="none"),
        "messages": [{"role": "user", "content": "Where is my order?"}],
        "trace_id": TRACE,
    }
    assert len(EXAMPLES) == 6
    for example in EXAMPLES:
        exec(example, known)
    asyncio.run(known["summarise"]())
    vendor.close()
    assert service.settlements.flush(5)
    assert {name: settled["actual_usd"] for name, settled in fake.settled.items()} == dict.fromkeys(("r1", "r2", "r3", "r4"), "0.01")
    assert (known["row"]["currency"], known["turn"].usd) == ("USD", "0.25")
    assert known["text"].split()
    assert [span.name for span in exporter.get_finished_spans()] == ["chat gpt-4o", "chat llama-4"]
    asked = fake.decisions[-1]
    assert {name: asked[name] for name in ("tenant", "step", "user", "tags", "text_chars")} == {
        "tenant": "acme", "step": "search", "user": "u-17", "tags": {"team": "blue"}, "text_chars": 18,
    }  # fmt: skip
