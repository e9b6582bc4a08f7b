"""The pipeline from bytes to the journal, and `ingest` over files: OK only after the commit, every span counted once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_finops.app import Core, open_core
from otel_finops.base.errors import BadInput, Undecodable
from otel_finops.base.protocols import Credential, ExportRequest
from otel_finops.ingest import ingest_files
from otel_finops.operations.context import Window
from otel_finops.operations.local import StoreReads
from otel_finops.settings import load

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
    first = ingest_files(paths, core.pipeline, core.metrics, core.settler)
    assert (first.received, first.journalled, first.settled_traces) == (5, 5, 1)
    again = ingest_files(paths, core.pipeline, core.metrics, core.settler)
    assert (again.received, again.journalled, again.duplicate, again.settled_traces) == (5, 0, 5, 0)


def test_ingest_names_the_file_and_the_request_at_fault(core: Core, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"resourceSpans": []}\nnonsense\n')
    with pytest.raises(BadInput, match=r"bad\.jsonl: request 2: .*no JSON"):
        ingest_files([path], core.pipeline, core.metrics, core.settler)
