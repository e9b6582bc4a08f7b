"""Logs beside spans, from bytes to the ledger: one call however its span and its records came, and one fate for every record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_finops.app import Core, open_core
from otel_finops.base.errors import Undecodable
from otel_finops.base.protocols import Credential, Encoding, ExportRequest
from otel_finops.ingest import ingest_files
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.export import LedgerExport
from otel_finops.metrics.self_metrics import SpanCounts
from otel_finops.settings import load


class Case(NamedTuple):
    """A recorded run: what its log records come to, and its calls as (uncached, cache read, cache write, output) with logs known."""

    name: str
    encoding: Encoding
    counts: SpanCounts
    calls: list[tuple[int, int, int, int]]


CLAUDE = Case("claude-code__tool-run", "protobuf", SpanCounts(4, 2, 0, 0, 2), [(87, 0, 7183, 223), (91, 7183, 0, 241)])
CODEX = Case("codex__run", "protobuf", SpanCounts(19, 1, 0, 0, 18), [(1531, 1024, 0, 911)])
GEMINI = Case("gemini-cli__run", "json", SpanCounts(10, 2, 0, 0, 8), [(1307, 2048, 0, 733)])
CASES = (CLAUDE, CODEX, GEMINI)


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    yield from opened(tmp_path / "ledger.db")


def opened(file: Path) -> Iterator[Core]:
    with open_core(load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{file}"}), "test") as core:
        yield core


def sent(corpus: Path, case: Case, what: str) -> ExportRequest:
    suffix = "json" if case.encoding == "json" else "binpb"
    return ExportRequest((corpus / case.name / f"{what}-1.{suffix}").read_bytes(), case.encoding, Credential())


def one_by_one(logs: ExportRequest) -> list[ExportRequest]:
    """A request for every record of a protobuf request."""
    whole, parts = ExportLogsServiceRequest.FromString(logs.body), []
    for resource_logs in whole.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                part = ExportLogsServiceRequest()
                part.resource_logs.add().resource.CopyFrom(resource_logs.resource)
                part.resource_logs[0].scope_logs.add().scope.CopyFrom(scope_logs.scope)
                part.resource_logs[0].scope_logs[0].log_records.append(record)
                parts.append(logs._replace(body=part.SerializeToString()))
    return parts


def calls(core: Core) -> list[Entry]:
    batches = LedgerExport(core.store, core.subjects).standing(None)
    standing = [entry for batch in batches for entry in batch if entry.role == "call"]
    return sorted(standing, key=lambda entry: entry.started_ns)


def dump(core: Core) -> list[str]:
    return [json.dumps(row) for batch in LedgerExport(core.store, core.subjects).canonical(None) for row in batch]


def counted(entries: list[Entry]) -> list[tuple[int, int, int, int]]:
    units = ("input_uncached", "cache_read", "cache_write_5m", "output")
    return [tuple(entry.usage.get(unit, 0) for unit in units) for entry in entries]  # type: ignore[misc]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_record_has_one_fate_and_a_second_delivery_is_known(core: Core, corpus: Path, case: Case) -> None:
    logs = sent(corpus, case, "logs")
    assert core.log_pipeline(logs).accepted == case.counts.received
    assert core.metrics.log_counts() == case.counts
    core.log_pipeline(logs)
    received, journalled, *_, ignored = case.counts
    assert core.metrics.log_counts() == SpanCounts(2 * received, journalled, journalled, 0, 2 * ignored)
    assert core.metrics.span_counts().received == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_without_spans_the_records_are_charged(core: Core, corpus: Path, case: Case) -> None:
    core.log_pipeline(sent(corpus, case, "logs"))
    core.settler.settle_all()
    assert counted(calls(core)) == case.calls
    assert all(entry.cost_pico for entry in calls(core))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whichever_comes_first_the_spans_stand_and_the_ledger_is_the_same(tmp_path: Path, corpus: Path, case: Case) -> None:
    spans, logs = sent(corpus, case, "request"), sent(corpus, case, "logs")
    dumps = []
    for number, (order, at_once) in enumerate([("sl", True), ("sl", False), ("ls", True), ("ls", False)]):
        for core in opened(tmp_path / f"{number}.db"):
            for what in order:
                (core.pipeline(spans) if what == "s" else core.log_pipeline(logs))
                if not at_once:
                    core.settler.settle_all()
            core.settler.settle_all()
            dumps.append(dump(core))
            assert counted(calls(core)) == case.calls
    assert all(other == dumps[0] for other in dumps)


def test_claude_codes_cost_stands_beside_ours(core: Core, corpus: Path) -> None:
    core.log_pipeline(sent(corpus, CLAUDE, "logs"))
    core.pipeline(sent(corpus, CLAUDE, "request"))
    core.settler.settle_all()
    standing = calls(core)
    assert [entry.span_id for entry in standing] == ["b07479a4729970ab", "d37eb907fdea722a"]  # the spans'
    assert [(entry.reported_pico, entry.reported_source) for entry in standing] == [
        (39_792_000_000, "cost_usd"), (6_042_900_000, "cost_usd"),
    ]  # fmt: skip
    assert standing[1].cost_pico == 6_042_900_000


def test_records_one_by_one_in_any_order_around_the_spans(tmp_path: Path, corpus: Path) -> None:
    """Two records show calls; settling comes after each delivery."""
    spans = sent(corpus, CLAUDE, "request")
    records = [part for part in one_by_one(sent(corpus, CLAUDE, "logs")) if b"api_request" in part.body]
    dumps = []
    for number, order in enumerate(permutations([spans, *records])):
        for core in opened(tmp_path / f"{number}.db"):
            for part in order:
                (core.pipeline if part is spans else core.log_pipeline)(part)
                core.settler.settle_all()
            dumps.append(dump(core))
    assert len(dumps) == 6
    assert all(other == dumps[0] for other in dumps)


def test_what_is_no_log_request_is_refused_and_counts_no_record(core: Core) -> None:
    with pytest.raises(Undecodable):
        core.log_pipeline(ExportRequest(b"\xff\xff\xff", "protobuf", Credential()))
    assert core.metrics.log_counts().received == 0


def test_files_of_logs_are_taken_in_and_settled(core: Core, corpus: Path) -> None:
    paths = [corpus / CLAUDE.name / "logs-1.binpb", corpus / GEMINI.name / "logs-1.json"]
    first = ingest_files(paths, core.log_pipeline, core.metrics.log_counts, core.settler)
    assert (first.received, first.journalled, first.duplicate, first.ignored, first.settled_traces) == (14, 4, 0, 10, 2)
    again = ingest_files(paths, core.log_pipeline, core.metrics.log_counts, core.settler)
    assert (again.received, again.journalled, again.duplicate, again.settled_traces) == (14, 0, 4, 0)
