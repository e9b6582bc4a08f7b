"""Spans travel on: enriched, otherwise as they came, whatever happens to the next hop; and the ledger never pays for it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from e2e_service import Service, eventually, free_ports, running
from e2e_spans import body, json_body, recorded, regrouped
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_backend import Backend, grpc_backend, http_backend

NewTrace = Callable[[], bytes]
ADDED = {"gen_ai.usage.cost", "finops.cost.method", "finops.price.key", "finops.price.version", "finops.hop"}


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def spans(bodies: list[bytes]) -> list[Span]:
    return [
        span
        for one in bodies
        for resource in ExportTraceServiceRequest.FromString(one).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def said(span: Span) -> dict[str, Any]:
    return {kv.key: getattr(kv.value, kv.value.WhichOneof("value") or "string_value") for kv in span.attributes}


def arrived(backend: Backend) -> list[Span]:
    return spans([gzip.decompress(sent) if headers.get("content-encoding") == "gzip" else sent for sent, headers in backend.seen])


def test_what_arrives_is_what_was_sent_but_for_the_additions(database: str, backend: Backend, corpus: Path) -> None:
    """Recorded requests of many libraries, in any grouping, some spans twice: equal spans n of n."""
    bodies = regrouped(recorded(corpus, "otel-", "traceloop", "openinference"), seed=7)
    with grpc_backend(backend) as hop, running(database, FORWARD__ENDPOINT=hop) as service:
        for one in bodies:
            service.send(one)
        service.stop()
    before, after = spans(bodies), arrived(backend)
    assert len(after) == len(before) > 200
    priced = 0
    for sent, got in zip(before, after, strict=True):
        added = {kv.key for kv in got.attributes[len(sent.attributes) :]}
        assert "finops.hop" in added <= ADDED
        priced += "gen_ai.usage.cost" in added
        del got.attributes[len(sent.attributes) :]
        assert got == sent
    assert priced > 50


def test_a_call_arrives_with_its_cost_over_http_too(database: str, backend: Backend, new_trace: NewTrace) -> None:
    """1,000 tokens in at 2.50 and 200 out at 10.00 USD a million: 0.0025 + 0.0020 = 0.0045 USD. JSON arrives as protobuf, but for
    what protobuf cannot hold."""
    with http_backend(backend) as hop, running(database, FORWARD__ENDPOINT=hop, FORWARD__HEADERS='{"x-key": "abc"}') as service:
        service.send(body(new_trace()))
        odd = json_body(new_trace(), {"odd": {"intValue": "12.5"}, "even": {"intValue": "12"}})
        assert service.post(odd, {"content-type": "application/json"}).status_code == 200
        assert service.series("finops_forwarded_spans_total", fate="passed") == 2
        assert service.metric("finops_forward_dropped_values_total") == 1
    assert [said(span)["gen_ai.usage.cost"] for span in arrived(backend)] == [0.0045, 0.0045]
    assert ("odd" in said(arrived(backend)[1]), said(arrived(backend)[1])["even"]) == (False, 12)
    assert {headers["x-key"] for _, headers in backend.seen} == {"abc"}


def test_while_the_hop_is_away_senders_repeat_and_nothing_is_counted_twice(database: str, backend: Backend, new_trace: NewTrace) -> None:
    backend.http_status = 503
    sent = body(new_trace(), 3)
    with http_backend(backend) as hop, running(database, FORWARD__ENDPOINT=hop) as service:
        refused = [service.post(sent) for _ in range(2)]
        assert [answer.status_code for answer in refused] == [503, 503]
        assert refused[0].headers["retry-after"]
        backend.http_status = 200
        backend.seen.clear()
        service.send(sent)
        assert len(arrived(backend)) == 3
        assert service.settled().number("SELECT COUNT(*) FROM entries") == 3
        assert service.metric("finops_cost_usd_total") == pytest.approx(0.0135)


def test_after_patience_the_ledger_goes_on_alone_and_counts_what_it_did_not_pass_on(
    database: str, backend: Backend, new_trace: NewTrace
) -> None:
    [port] = free_ports(1)
    with running(database, FORWARD__ENDPOINT=f"127.0.0.1:{port}", FORWARD__PATIENCE="0", FORWARD__TIMEOUT="0.5") as service:
        for _ in range(3):
            service.send(body(new_trace()))
        assert service.series("finops_forwarded_spans_total", fate="skipped") == 3
        assert service.ready()
        assert "next hop has been away" in str(service.get("health"))
        with grpc_backend(backend, port):
            eventually(lambda: service.send(body(new_trace())) and arrived(backend), every_s=0.5)
        assert service.settled().number("SELECT COUNT(*) FROM entries") >= 4


def test_a_required_hop_keeps_refusing(database: str, new_trace: NewTrace) -> None:
    [port] = free_ports(1)
    with running(
        database, FORWARD__ENDPOINT=f"127.0.0.1:{port}", FORWARD__PATIENCE="0", FORWARD__REQUIRED="true", FORWARD__TIMEOUT="0.5"
    ) as service:
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as refused:
                service.call(body(new_trace()))
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not service.ready()


def test_a_refusal_for_good_is_partial_success(database: str, backend: Backend, new_trace: NewTrace) -> None:
    backend.http_status = 400
    with http_backend(backend) as hop, running(database, FORWARD__ENDPOINT=hop) as service:
        partial = service.send(body(new_trace(), 3)).partial_success
        assert partial.rejected_spans == 3
        assert "next hop refused" in partial.error_message
        assert service.settled().number("SELECT COUNT(*) FROM entries") == 3
        assert len(backend.seen) == 1


def test_what_comes_back_is_neither_recorded_nor_passed_on_again(database: str, backend: Backend, new_trace: NewTrace) -> None:
    with http_backend(backend) as hop, running(database, FORWARD__ENDPOINT=hop, FORWARD__COMPRESSION="none") as service:
        service.send(body(new_trace(), 3))
        [(came_back, _)] = backend.seen
        service.send(came_back)
        assert len(backend.seen) == 1
        assert service.metric("finops_ignored_spans_total") == 3
        assert service.metric("finops_journalled_spans_total") == 3


def test_the_queue_on_disk_survives_kill_9_and_keeps_the_order(
    database: str, backend: Backend, tmp_path: Path, new_trace: NewTrace
) -> None:
    [port] = free_ports(1)
    settings = {
        "FORWARD__ENDPOINT": f"127.0.0.1:{port}", "FORWARD__MODE": "spool", "FORWARD__SPOOL_PATH": str(tmp_path / "spool"),
        "FORWARD__TIMEOUT": "0.5",
    }  # fmt: skip
    traces = [new_trace() for _ in range(20)]
    with closing(Service(database, **settings).start()) as service:
        for trace in traces[:10]:
            service.send(body(trace))
        assert service.metric("finops_spooled_requests") == 10
        service.kill()
        with grpc_backend(backend, port):
            service.start()
            for trace in traces[10:]:
                service.send(body(trace))
            eventually(lambda: len(arrived(backend)) >= 20)
            eventually(lambda: service.metric("finops_spooled_requests") == 0)
            service.stop()
    assert [span.trace_id for span in arrived(backend)] == traces


def test_without_metering_spans_travel_on_unpriced(database: str, backend: Backend, new_trace: NewTrace) -> None:
    with http_backend(backend) as hop, running(database, FORWARD__ENDPOINT=hop, METERING__ENABLED="false") as service:
        service.send(body(new_trace()))
        [span] = arrived(backend)
        assert "gen_ai.usage.cost" not in said(span)
        assert service.metric("finops_ignored_spans_total") == 1


def test_files_that_are_taken_in_do_not_travel_on(database: str, backend: Backend, tmp_path: Path, new_trace: NewTrace) -> None:
    file = tmp_path / "request.binpb"
    file.write_bytes(body(new_trace()))
    with http_backend(backend) as hop:
        service = Service(database)
        service.database.command("ingest", str(file), FORWARD__ENDPOINT=hop)
        assert service.database.number("SELECT COUNT(*) FROM entries") == 1
    assert not backend.seen
