"""Connections that are cut, delayed and repeated, before the service and behind it: nothing acknowledged is lost, nothing is doubled.

Each run prints its seed; PROXY_SEED runs it again.
"""

from __future__ import annotations

import gzip
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cutting_proxy import Fault, cutting, seeded_plan
from e2e_exporters import PRICE, Key, exporter, keys, stock_calls
from e2e_service import Service, eventually, running
from e2e_spans import body, trace_id
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from otlp_backend import Backend, grpc_backend, http_backend

SEED = int(os.environ.get("PROXY_SEED", "11"))
SPANS = 5


def send_all(way: str, port: int, batches: list[list[ReadableSpan]]) -> int:
    """Export every batch until it is acknowledged; how often that took more than one export."""
    sender, failed = exporter(way, port), 0
    for batch in batches:
        for _ in range(20):
            if sender.export(batch) is SpanExportResult.SUCCESS:
                break
            failed += 1
        else:
            raise AssertionError("a batch was refused twenty times")
    sender.shutdown()
    return failed


@contextmanager
def hop_behind_a_proxy(backend: Backend, way: str, seed: int) -> Iterator[str]:
    """The next hop's endpoint, which breaks half of its connections."""
    with ExitStack() as stack:
        if way == "grpc":
            port = int(stack.enter_context(grpc_backend(backend)).rsplit(":", 1)[1])
        else:
            port = urlsplit(stack.enter_context(http_backend(backend))).port or 0
        proxy = stack.enter_context(cutting(port, seeded_plan(seed, 2_000, sound=0.5)))
        yield f"127.0.0.1:{proxy.port}" if way == "grpc" else f"http://127.0.0.1:{proxy.port}"
        print(f"behind the service: {dict(proxy.met)}")


def seen(backend: Backend) -> Counter[Key]:
    found: Counter[Key] = Counter()
    for sent, headers in list(backend.seen):
        content = gzip.decompress(sent) if headers.get("content-encoding") == "gzip" else sent
        for of_resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            found.update((span.trace_id, span.span_id) for of_scope in of_resource.scope_spans for span in of_scope.spans)
    return found


def check_ledger(service: Service, sent: list[Key]) -> None:
    """Every span once in the journal and once, with its price, in the ledger."""
    database = service.settled(60)
    for table in ("journal", "entries"):
        rows = Counter(database.span_keys(table))
        print(f"T2 {table}: lost {len(set(sent) - set(rows))}, doubled {sum(rows.values()) - len(rows)}, of {len(sent)}")
        assert rows == Counter(sent)
    assert sum((Decimal(row["cost_usd"]) for row in database.entries()), Decimal(0)) == len(sent) * PRICE


def through_both_proxies(tmp_path: Path, way: str, seed: int, batches: int, senders: int = 4) -> None:
    """Stock exporters, a breaking network, the service, another breaking network, the next hop."""
    print(f"seed {seed}")
    backend = Backend()
    with hop_behind_a_proxy(backend, way, seed + 1) as endpoint:
        settings = {"FORWARD__ENDPOINT": endpoint, "FORWARD__TIMEOUT": "1", "FORWARD__PATIENCE": "3600"}
        with running(f"sqlite:///{tmp_path / 'ledger.db'}", **settings) as service:
            load = [[stock_calls(SPANS) for _ in range(batches)] for _ in range(senders)]
            target = service.grpc_port if way == "grpc" else service.http_port
            began = time.monotonic()
            with cutting(target, seeded_plan(seed, 1_500)) as proxy, ThreadPoolExecutor(senders) as pool:
                failed = sum(pool.map(lambda own: send_all(way, proxy.port, own), load))
                print(f"before the service: {dict(proxy.met)}; {failed} exports given up and repeated; {time.monotonic() - began:.1f} s")
                assert len(proxy.met) >= 4, "the plan broke nothing"
            sent = [key for own in load for batch in own for key in keys(batch)]
            check_ledger(service, sent)
            arrived = seen(backend)
            print(f"T11 {way}: the next hop saw {len(arrived)} of {len(sent)} spans, {sum(arrived.values())} times")
            assert set(arrived) == set(sent)
            service.stop()
            service.database.verify()


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_t2_t11_broken_connections_lose_and_double_nothing(tmp_path: Path, way: str) -> None:
    through_both_proxies(tmp_path, way, SEED, batches=5)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 105))
@pytest.mark.parametrize("way", ["grpc", "http"])
def test_t2_t11_broken_connections_for_long(tmp_path: Path, way: str, seed: int) -> None:
    through_both_proxies(tmp_path, way, seed, batches=60)


# --- T11: our own count --------------------------------------------------------------------------------------------


def swallow_every_other(number: int) -> Fault:
    """Every other connection loses the answer to its first request; the others end after some requests."""
    return Fault("sound", request_bytes=2_500) if number % 2 else Fault("answered, then cut", deaf_after=400)


@contextmanager
def counting_service(tmp_path: Path, way: str, backend: Backend, plan: Callable[[int], Fault], **settings: str) -> Iterator[Service]:
    with ExitStack() as stack:
        if way == "grpc":
            port = int(stack.enter_context(grpc_backend(backend)).rsplit(":", 1)[1])
        else:
            port = urlsplit(stack.enter_context(http_backend(backend))).port or 0
        proxy = stack.enter_context(cutting(port, plan))
        endpoint = f"127.0.0.1:{proxy.port}" if way == "grpc" else f"http://127.0.0.1:{proxy.port}"
        more = {"FORWARD__ENDPOINT": endpoint, "FORWARD__PATIENCE": "3600", **settings}
        yield stack.enter_context(running(f"sqlite:///{tmp_path / 'ledger.db'}", **more))


def taken(service: Service, content: bytes) -> bool:
    return service.post(content).status_code == 200


@pytest.mark.parametrize("mode", ["inline", "spool"])
@pytest.mark.parametrize("way", ["grpc", "http"])
def test_t11_a_hop_that_answers_and_is_cut_off(tmp_path: Path, way: str, mode: str) -> None:
    """The hop has it, we do not know: it gets the same ids again, and we count each span as passed on once."""
    backend, traces = Backend(), [trace_id(number, 311) for number in range(12)]
    settings = {"FORWARD__MODE": mode, "FORWARD__SPOOL_PATH": str(tmp_path / "spool")}
    with counting_service(tmp_path, way, backend, swallow_every_other, **settings) as service:
        for content in [body(trace, SPANS) for trace in traces]:
            eventually(partial(taken, service, content))
        eventually(lambda: service.series("finops_forwarded_spans_total", fate="passed") == SPANS * len(traces), 40)
        if mode == "spool":
            assert service.metric("finops_spooled_requests") == 0
        arrived = seen(backend)
        sent = [(trace, (index + 1).to_bytes(8, "big")) for trace in traces for index in range(SPANS)]
        doubled = sum(arrived.values()) - len(arrived)
        print(f"T11 {way} {mode}: {len(arrived)} of {len(sent)} spans at the hop, {doubled} twice by id, counted as passed once each")
        assert set(arrived) == set(sent)
        assert doubled > 0
        check_ledger(service, sent)
