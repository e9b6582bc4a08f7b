"""The pipeline from bytes to the journal, and `ingest` over files: OK only after the commit, every span counted once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_finops import ingest
from otel_finops.app import Core, open_core
from otel_finops.base.errors import BadInput, Busy, Undecodable
from otel_finops.base.protocols import Credential, ExportOutcome, ExportRequest
from otel_finops.ingest import ingest_files
from otel_finops.ledger.export import LedgerExport
from otel_finops.ledger.shards import SHARDS, lease_name
from otel_finops.operations.local import StoreReads
from otel_finops.operations.readers import Window
from otel_finops.settings import load
from otel_finops.store.lease import Leases

CASE = "otel-v2__manual-tree"
"""Five spans with an embedding and a chat call: 229 tokens at 0.02 USD a million are 0.00000458 USD; 3,517 tokens at 2.50 and
419 at 10.00 USD a million are 0.0087925 + 0.00419 = 0.0129825 USD."""


def opened(folder: Path, **environ: str) -> Iterator[Core]:
    environ = {f"OTEL_FINOPS_{name}": value for name, value in environ.items()}
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{folder / 'ledger.db'}", **environ})
    with open_core(settings, "test") as core:
        yield core


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    yield from opened(tmp_path)


@pytest.fixture
def core_without_metering(tmp_path: Path) -> Iterator[Core]:
    yield from opened(tmp_path, METERING__ENABLED="false")


def request(corpus: Path) -> ExportRequest:
    return ExportRequest((corpus / CASE / "request-1.binpb").read_bytes(), "protobuf", Credential())


def test_spans_are_journalled_priced_and_pending_until_they_settle(core: Core, corpus: Path) -> None:
    reads = StoreReads(core.store, core.subjects)
    assert core.pipeline(request(corpus)).accepted == 5
    waiting = reads.spend(None, (), Window(None, None), {})
    assert (waiting.total_pico, waiting.pending_pico) == (0, 12_987_080_000)
    assert core.settler.settle_all() == 1
    settled = reads.spend(None, (), Window(None, None), {})
    assert (settled.total_pico, settled.pending_pico) == (12_987_080_000, 0)


def test_a_second_delivery_is_counted_and_changes_nothing(core: Core, corpus: Path) -> None:
    for _ in range(2):
        core.pipeline(request(corpus))
    assert core.metrics.span_counts() == (10, 5, 5, 0, 0)


def test_what_is_no_otlp_is_refused_and_counts_no_span(core: Core) -> None:
    with pytest.raises(Undecodable):
        core.pipeline(ExportRequest(b"\xff\xff\xff", "protobuf", Credential()))
    assert core.metrics.span_counts().received == 0


def test_without_metering_spans_are_answered_and_ignored(core_without_metering: Core, corpus: Path) -> None:
    core = core_without_metering
    assert core.pipeline(request(corpus)).accepted == 5
    assert core.metrics.span_counts() == (5, 0, 0, 0, 5)
    assert core.settler.settle_all() == 0


def test_nothing_is_left_in_flight(core: Core, corpus: Path) -> None:
    core.pipeline(request(corpus))
    assert core.admission.in_flight()[:2] == (0, 0)


def test_ingest_twice_is_ingest_once(core: Core, corpus: Path) -> None:
    paths = [corpus / CASE / "request-1.binpb"]
    first = ingest_files(paths, core.pipeline, core.metrics.span_counts, core.settler)
    assert (first.received, first.journalled, first.settled_traces) == (5, 5, 1)
    again = ingest_files(paths, core.pipeline, core.metrics.span_counts, core.settler)
    assert (again.received, again.journalled, again.duplicate, again.settled_traces) == (5, 0, 5, 0)


def test_ingest_of_a_busy_ledger_says_what_is_stored(core: Core, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender of a request is told to send it again; whoever runs a command needs other words."""
    path = corpus / CASE / "request-1.binpb"
    intakes = iter([core.pipeline, _busy])
    said = r"request-1\.binpb: request 1: the database is busy.*; what came before it is stored\. Run the command again"
    with pytest.raises(Busy, match=said):
        ingest_files([path, path], lambda request: next(intakes)(request), core.metrics.span_counts, core.settler)
    others = Leases(core.store, core.clock, "serve elsewhere")
    for shard in range(SHARDS):
        others.acquire(lease_name(shard))
    monkeypatch.setattr(ingest, "LEASE_WAIT_S", 0.1)
    said = "all is stored, but not all of it is settled: .*serve elsewhere.*A service on this database settles the rest"
    with pytest.raises(Busy, match=said):
        ingest_files([path], core.pipeline, core.metrics.span_counts, core.settler)


def _busy(request: ExportRequest) -> ExportOutcome:
    raise Busy("the database is busy with other writes; nothing was stored, send it again")


def test_ingest_names_the_file_and_the_request_at_fault(core: Core, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"resourceSpans": []}\nnonsense\n')
    with pytest.raises(BadInput, match=r"bad\.jsonl: request 2: .*no JSON"):
        ingest_files([path], core.pipeline, core.metrics.span_counts, core.settler)


NOON_NS = 1_795_262_400_000_000_000


def span(span_id: str, parent: str, scope: str, start_s: float, **said: str) -> dict[str, object]:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
    named = {key.replace("__", "."): value for key, value in said.items()}
    return {
        "scope": {"name": scope},
        "spans": [
            {
                "traceId": "ab" * 16,
                "spanId": span_id,
                "parentSpanId": parent,
                "name": "chat",
                "kind": 3,
                "startTimeUnixNano": str(NOON_NS + int(start_s * 1e9)),
                "endTimeUnixNano": str(NOON_NS + 3_000_000_000),
                "attributes": [{"key": key, "value": value_of(value)} for key, value in {**attributes, **named}.items()],
            }
        ],
    }


def value_of(value: str | int) -> dict[str, str]:
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}


def sent(core: Core, *scope_spans: dict[str, object]) -> None:
    body = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": list(scope_spans)}]}
    core.pipeline(ExportRequest(json.dumps(body).encode(), "json", Credential()))
    core.settler.settle_all()


def canonical(core: Core) -> str:
    return "\n".join(json.dumps(row, sort_keys=True) for batch in LedgerExport(core.store, core.subjects).canonical(None) for row in batch)


def test_a_late_twin_that_knows_the_model_prices_a_call_that_was_unpriced(tmp_path: Path) -> None:
    """gpt-4o: 1,000 tokens at 2.50 and 100 at 10.00 USD a million are 0.0025 + 0.001 = 0.0035 USD."""
    inner = span("01" * 8, "02" * 8, "client", 1, gen_ai__provider__name="azure.ai.openai", gen_ai__request__model="my-deployment")
    outer = span("02" * 8, "", "framework", 0.5, gen_ai__provider__name="azure.ai.openai", gen_ai__request__model="gpt-4o")
    (tmp_path / "late").mkdir()
    for late in opened(tmp_path / "late"):
        sent(late, inner)
        assert StoreReads(late.store, late.subjects).spend(None, (), Window(None, None), {}).groups[0].unpriced_calls == 1
        sent(late, outer)
        told_late = canonical(late)
        assert StoreReads(late.store, late.subjects).spend(None, (), Window(None, None), {}).total_pico == 3_500_000_000
    for together in opened(tmp_path):
        sent(together, inner, outer)
        assert canonical(together) == told_late
