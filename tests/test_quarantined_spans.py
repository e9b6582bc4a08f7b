"""A span that cannot be recorded, from the request to the metrics: its sender hears partial success, every span is counted once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from prometheus_client import CollectorRegistry

from otel_finops.app import Core, Service, open_core
from otel_finops.base.errors import Unavailable
from otel_finops.base.protocols import Credential, ExportOutcome, ExportRequest
from otel_finops.genai.sighting import Sighting
from otel_finops.ledger import codec
from otel_finops.metrics import catalog
from otel_finops.otlp.signals import export_answer
from otel_finops.settings import load

NOON_NS = 1_795_262_400_000_000_000


@pytest.fixture(autouse=True)
def bug(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Writing fails for the span 03...03 while `there` is true."""
    state = {"there": True}

    def encode(sighting: Sighting, *others: Any) -> bytes:
        if state["there"] and sighting.span_id == "03" * 8:
            raise KeyError(sighting.name)
        return codec.encode(sighting, *others)

    monkeypatch.setattr("otel_finops.ledger.journal.encode", encode)
    return state


def opened(folder: Path, **environ: str) -> Iterator[Core]:
    off = dict.fromkeys(("OTLP__GRPC_ADDRESS", "OTLP__HTTP_ADDRESS", "HTTP__ADDRESS"), "")
    named = {f"OTEL_FINOPS_{name}": value for name, value in {**off, **environ}.items()}
    with open_core(load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{folder / 'ledger.db'}", **named}), "test") as core:
        yield core


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    yield from opened(tmp_path)


@pytest.fixture
def core_without_guard(tmp_path: Path) -> Iterator[Core]:
    yield from opened(tmp_path, FEATURES__QUARANTINE="false")


def request() -> ExportRequest:
    """Spans 01...01 to 05...05 of one trace, calls of gpt-4o, and one with a broken id."""
    spans = [
        {
            "traceId": "ab" * 16, "spanId": span_id, "name": "chat", "kind": 3,
            "startTimeUnixNano": str(NOON_NS), "endTimeUnixNano": str(NOON_NS + 10**9),
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in SAID.items()],
        }
        for span_id in [f"{number:02x}" * 8 for number in range(1, 6)] + ["0a"]
    ]  # fmt: skip
    body = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "client"}, "spans": spans}]}]}
    return ExportRequest(json.dumps(body).encode(), "json", Credential())


SAID = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}


def sent(core: Core, times: int) -> ExportOutcome | str:
    answer: ExportOutcome | str = ""
    for _ in range(times):
        try:
            answer = core.pipeline(request())
        except Unavailable as fault:
            answer = str(fault)
    return answer


def test_the_sender_hears_partial_success_and_every_span_is_counted_once(core: Core) -> None:
    assert sent(core, 2) == "these spans could not be stored; the service's log says why"
    assert core.metrics.span_counts() == (0, 0, 0, 0, 0)
    outcome = sent(core, 1)
    assert isinstance(outcome, ExportOutcome)
    assert (outcome.accepted, outcome.rejected) == (4, 2)
    assert [(one.reason, one.spans) for one in outcome.rejections] == [("bad_span_id", 1), ("quarantined", 1)]
    answer = ExportTraceServiceResponse.FromString(export_answer("traces", outcome, "protobuf"))
    assert answer.partial_success.rejected_spans == 2
    assert "quarantine" in answer.partial_success.error_message
    assert core.metrics.span_counts() == (6, 4, 0, 2, 0)
    registry = CollectorRegistry()
    registry.register(core.metrics)
    assert registry.get_sample_value("finops_rejected_spans_total", {"reason": "quarantined"}) == 1
    assert sent(core, 1) == outcome
    assert core.metrics.span_counts() == (12, 4, 4, 4, 0)


def test_the_gauge_counts_what_is_held(core: Core, bug: dict[str, bool]) -> None:
    Service(core)
    assert core.metrics.gauge(catalog.QUARANTINED) == 0
    sent(core, 3)
    assert core.metrics.gauge(catalog.QUARANTINED) == 1
    bug["there"] = False
    core.quarantine.retry(None, None)
    assert core.metrics.gauge(catalog.QUARANTINED) == 0


def test_a_retried_span_is_settled_and_priced_like_any_late_one(core: Core, bug: dict[str, bool]) -> None:
    sent(core, 3)
    core.settler.settle_all()
    with core.store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM entries WHERE role = 'call'") == [(4,)]
    bug["there"] = False
    core.quarantine.retry(None, None)
    core.settler.settle_all()
    with core.store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM entries WHERE role = 'call'") == [(5,)]


def test_with_the_feature_off_the_batch_is_refused_for_ever_and_nothing_is_held(core_without_guard: Core) -> None:
    core = core_without_guard
    Service(core)
    assert sent(core, 5) == "these spans could not be stored; the service's log says why"
    assert core.metrics.span_counts().received == 0
    assert core.quarantine.count() == 0
    assert core.metrics.gauge(catalog.QUARANTINED) is None


def test_log_records_whose_call_cannot_be_recorded_are_counted_too(core: Core, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four records of which two show a call; the one with 223 output tokens cannot be written."""

    def encode(sighting: Sighting, *others: Any) -> bytes:
        if sighting.usage.get("output") == 223:
            raise KeyError
        return codec.encode(sighting, *others)

    monkeypatch.setattr("otel_finops.ledger.journal.encode", encode)
    logs = ExportRequest((corpus / "claude-code__tool-run" / "logs-1.binpb").read_bytes(), "protobuf", Credential())
    for _ in range(2):
        with pytest.raises(Unavailable):
            core.log_pipeline(logs)
    outcome = core.log_pipeline(logs)
    assert (outcome.accepted, [(one.reason, one.spans) for one in outcome.rejections]) == (3, [("quarantined", 1)])
    assert core.metrics.log_counts() == (4, 1, 0, 1, 2)
    assert core.quarantine.count() == 1
