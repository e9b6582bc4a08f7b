"""A call is charged once, however often, in whatever order and grouping it is delivered, and whatever happens to the answers."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from e2e_service import EXPORT, PROTOBUF, Database, Service, export_over, running
from e2e_spans import body, length_delimited, put, recorded, regrouped, trace_id
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

NewTrace = Callable[[], bytes]
Spoil = Callable[[int], bool]
"""Told the number of the delivery once the service has answered it; True swallows the answer."""


# --- T2: a service between which and the exporter answers get lost -------------------------------------------------


@contextmanager
def grpc_relay(service: Service, spoil: Spoil) -> Iterator[tuple[str, list[bytes]]]:
    """Hands requests on; where `spoil` says so it answers UNAVAILABLE instead of what the service answered."""
    delivered: list[bytes] = []

    def relay(content: bytes, context: grpc.ServicerContext) -> bytes:
        with service.channel() as channel:
            answer: bytes = channel.unary_unary(EXPORT)(content, timeout=20)
        delivered.append(content)
        if spoil(len(delivered)):
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        return answer

    server = grpc.server(ThreadPoolExecutor(4))
    service_name, method = EXPORT.strip("/").split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(relay)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service_name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", delivered
    finally:
        server.stop(0).wait()


@contextmanager
def http_relay(service: Service, spoil: Spoil) -> Iterator[tuple[str, list[bytes]]]:
    """The same over HTTP: 503, or on every second delivery a connection that is closed without an answer."""
    delivered: list[bytes] = []

    class Relay(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            answer = service.post(content)
            delivered.append(content)
            if spoil(len(delivered)):
                if len(delivered) % 2:
                    self.send_error(503)
                else:
                    self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces", delivered
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


RELAYS = {"grpc": grpc_relay, "http": http_relay}


def exporter(way: str, endpoint: str) -> GrpcExporter | HttpExporter:
    return GrpcExporter(endpoint=endpoint, insecure=True, timeout=30) if way == "grpc" else HttpExporter(endpoint=endpoint, timeout=30)


def stock_calls(count: int) -> list[ReadableSpan]:
    """Calls of 1,000 tokens in and 200 out: 0.0045 USD each."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    spans = []
    for _ in range(count):
        said = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-2024-08-06"}
        span = tracer.start_span("chat gpt-4o", attributes={**said, "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 200})
        span.end()
        assert isinstance(span, ReadableSpan)
        spans.append(span)
    return spans


def charged(database: Database, spans: list[ReadableSpan]) -> tuple[int, Decimal]:
    """Entries of these spans, and their money."""
    ids = {format(span.context.trace_id, "032x") for span in spans if span.context}
    rows = [row for row in database.entries() if row["trace_id"] in ids]
    return len(rows), sum((Decimal(row["cost_usd"]) for row in rows), Decimal(0))


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_t2_answers_that_get_lost_twice_after_the_commit(service: Service, way: str) -> None:
    spans = stock_calls(3)
    with RELAYS[way](service, lambda number: number <= 2) as (endpoint, delivered):
        sender = exporter(way, endpoint)
        outcome = sender.export(spans)
        sender.shutdown()
    rows, cost = charged(service.settled(), spans)
    ratio = cost / (3 * Decimal("0.0045"))
    print(f"T2 {way}: delivered {len(delivered)} times, {rows} rows for 3 spans, cost ratio {ratio:.3f}")
    assert (outcome, len(delivered), rows, ratio) == (SpanExportResult.SUCCESS, 3, 3, 1)


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_t2_a_service_that_is_killed_between_commit_and_answer(tmp_path: Path, way: str) -> None:
    spans = stock_calls(3)
    with running(f"sqlite:///{tmp_path / 'ledger.db'}") as service:

        def kill_once(number: int) -> bool:
            if number == 1:
                service.kill()
                service.start()
            return number == 1

        with RELAYS[way](service, kill_once) as (endpoint, delivered):
            sender = exporter(way, endpoint)
            outcome = sender.export(spans)
            sender.shutdown()
        rows, cost = charged(service.settled(), spans)
        ratio = cost / (3 * Decimal("0.0045"))
        print(f"T2 {way}, killed after the commit: delivered {len(delivered)} times, {rows} rows, cost ratio {ratio:.3f}")
        assert (outcome, rows, ratio) == (SpanExportResult.SUCCESS, 3, 1)
        assert len(delivered) >= 2
        service.stop()
        service.database.verify()


# --- T3: the same batch again and again ----------------------------------------------------------------------------


def test_t3_one_batch_a_hundred_times_over_eight_connections_at_once(tmp_path: Path) -> None:
    with running(f"sqlite:///{tmp_path / 'ledger.db'}") as service:
        trace, batch = trace_id(3), body(trace_id(3), 64)
        gate = threading.Barrier(8)

        def send(worker: int) -> int:
            gate.wait()
            times = 13 if worker < 4 else 12
            if worker % 2:
                with service.channel() as channel:
                    return sum(export_over(channel, batch).partial_success.rejected_spans == 0 for _ in range(times))
            with httpx.Client(headers=PROTOBUF, timeout=30, verify=False) as client:
                return sum(client.post(service.traces_url, content=batch).status_code == 200 for _ in range(times))

        with ThreadPoolExecutor(8) as workers:
            acknowledged = sum(workers.map(send, range(8)))
        keys = service.settled().span_keys()
        entries = service.database.span_keys("entries")
        conflicts = service.metric("finops_conflicts_total")
        total = service.get("spend")["total_usd"]
        print(
            f"T3: {acknowledged} requests acknowledged, {len(keys)} journal rows and {len(entries)} entries for 64 keys,"
            f" {conflicts:g} conflicts"
        )
        assert acknowledged == 100
        assert len(keys) == len(set(keys)) == len(entries) == len(set(entries)) == 64
        assert {key[0] for key in keys} == {trace}
        assert (conflicts, Decimal(total)) == (0, 64 * Decimal("0.0045"))
        counts = [service.metric(f"finops_{fate}_spans_total") for fate in ("received", "journalled", "duplicate")]
        print(f"T3: {counts[0]:g} spans received = {counts[1]:g} journalled + {counts[2]:g} duplicate")
        assert counts == [6_400, 64, 6_336]
        service.stop()
        service.database.verify()


# --- T4: other order, other grouping -------------------------------------------------------------------------------

CASES = ("otel-", "openinference__", "traceloop")
SEEDS = tuple(range(1, 6))
LONG_SEEDS = tuple(range(6, 61))


@pytest.fixture(scope="module")
def requests(corpus: Path) -> list[ExportTraceServiceRequest]:
    return recorded(corpus, *CASES)


def realm_of(seed: int) -> str:
    """Every seed's spans are sent with a token of a tenant of its own: nothing merges across realms, so one service serves all."""
    return f"seed-{seed:03}"


def served(url: str, requests: list[ExportTraceServiceRequest], seeds: Sequence[int]) -> dict[int, list[str]]:
    """The canonical rows of every seed, and under 0 those of the requests as they were recorded.

    The service settles at once what it gets, so that most of it is settled several times.
    """
    seeds = (0, *seeds)
    senders = [{"token_sha256": hashlib.sha256(realm_of(seed).encode()).hexdigest(), "tenants": [realm_of(seed)]} for seed in seeds]
    with running(url, LEDGER__SETTLE_AFTER="0", AUTH__SENDERS=json.dumps(senders)) as service, ThreadPoolExecutor(2) as workers:
        list(workers.map(lambda seed: deliver(service, seed, requests), seeds))
        database = service.settled(120)
        service.stop()
    database.verify()
    rows: dict[int, list[str]] = {seed: [] for seed in seeds}
    for line in database.canonical().splitlines():
        realm = json.loads(line)["realm"]
        rows[int(realm.removeprefix("seed-"))].append(line.replace(realm, "seed"))
    entries = database.number("SELECT COUNT(*) FROM entries")
    print(f"T4: {entries} entries booked for {sum(map(len, rows.values()))} rows that stand")
    return rows


def deliver(service: Service, seed: int, requests: list[ExportTraceServiceRequest]) -> None:
    bodies = regrouped(requests, seed) if seed else [request.SerializeToString() for request in requests]
    authorization = f"Bearer {realm_of(seed)}"
    for number, content in enumerate(bodies):
        if number % 2:
            service.call(content, [("authorization", authorization)])
        else:
            service.send(content, {**PROTOBUF, "authorization": authorization})


def check_same(what: str, found: list[str], wanted: list[str]) -> None:
    print(f"T4 {what}: {len(found)} rows, sha256 {sha(found)}; as recorded {sha(wanted)}")
    if found != wanted:
        different = [pair for pair in zip(found, wanted, strict=False) if pair[0] != pair[1]] or [("", "")]
        pytest.fail(f"{what}: {len(found)} rows, {len(wanted)} wanted; {len(different)} differ, first:\n" + "\n".join(different[0]))


def sha(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def serve_seeds(database_url: str, requests: list[ExportTraceServiceRequest], seeds: Sequence[int]) -> None:
    if not database_url.startswith("sqlite"):
        Database(database_url).with_tables()
    rows = served(database_url, requests, seeds)
    assert len(rows[0]) > 150
    for seed in seeds:
        check_same(f"seed {seed}, settled as it came", rows[seed], rows[0])


def test_t4_other_order_and_grouping_give_the_same_ledger(requests: list[ExportTraceServiceRequest], tmp_path: Path) -> None:
    serve_seeds(f"sqlite:///{tmp_path / 'ledger.db'}", requests, SEEDS)


@pytest.mark.long
def test_t4_many_seeds(requests: list[ExportTraceServiceRequest], database_url: str) -> None:
    serve_seeds(database_url, requests, LONG_SEEDS)


def ingested(folder: Path, rounds: list[list[bytes]]) -> list[str]:
    """Take in the requests of each round by a command of its own, which settles them; the canonical rows."""
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'ledger.db'}")
    for number, bodies in enumerate(rounds):
        file = folder / f"round-{number}.binpb"
        file.write_bytes(length_delimited(bodies))
        database.command("ingest", str(file))
    database.verify()
    return database.canonical().splitlines()


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 21))])
def test_t4_files_taken_in_one_after_the_other(requests: list[ExportTraceServiceRequest], tmp_path: Path, seed: int) -> None:
    wanted = ingested(tmp_path / "recorded", [[request.SerializeToString() for request in requests]])
    bodies = regrouped(requests, seed)
    cut = random.Random(seed).randrange(1, len(bodies))
    found = ingested(tmp_path / "regrouped", [bodies[:cut], bodies[cut:]])
    check_same(f"seed {seed}, {cut} requests, then {len(bodies) - cut}", found, wanted)


# --- T5: the same span with other numbers --------------------------------------------------------------------------

SECOND = 1_000_000_000


def rewritten(start_ns: int, output: int, later_s: int) -> Callable[[Any, int], None]:
    """A re-export: output tokens, and an end that many seconds later."""

    def edit(span: Any, index: int) -> None:
        put(span, "gen_ai.usage.output_tokens", output)
        span.end_time_unix_nano = start_ns + (1 + later_s) * SECOND

    return edit


@pytest.mark.parametrize(
    ("steps", "kinds", "total"),
    [
        # 1,000 in = 0.0025; 100 out = 0.001, 200 = 0.002, 300 = 0.003
        ([(100, 0), (200, 1), (300, 2)], ["charge", "correction", "correction"], "0.0055"),
        ([(100, 0), (300, 2), (200, 1)], ["charge", "correction"], "0.0055"),
        ([(300, 0), (100, 1)], ["charge", "reversal", "charge"], "0.0035"),
        ([(300, 1), (100, 0), (300, 1)], ["charge"], "0.0055"),
    ],
    ids=["more twice", "the newest before the middle one", "fewer", "the older one later"],
)
def test_t5_the_newest_export_stands_and_nothing_is_changed_in_place(
    service: Service, new_trace: NewTrace, steps: list[tuple[int, int]], kinds: list[str], total: str
) -> None:
    trace, start = new_trace(), time.time_ns() - 3600 * SECOND
    seen: list[tuple[Any, ...]] = []
    for output, later_s in steps:
        service.send(body(trace, 1, rewritten(start, output, later_s), start_ns=start))
        rows = service.settled().sql(f"SELECT * FROM entries WHERE hex(trace_id) = '{trace.hex().upper()}' ORDER BY shard, block_seq, idx")
        assert rows[: len(seen)] == seen, "a booked row was changed"
        seen = rows
    booked = [row for row in service.database.entries() if row["trace_id"] == trace.hex()]
    spend = service.get(f"traces/{trace.hex()}")["total_usd"]
    print(f"T5: {steps} -> {[row['kind'] for row in booked]}, total {spend}")
    assert [row["kind"] for row in booked] == kinds
    assert Decimal(spend) == sum(Decimal(row["cost_usd"]) for row in booked) == Decimal(total)


def test_t5_conflicts_are_counted(service: Service) -> None:
    # each of the cases above sent one or two further versions of its span
    assert service.metric("finops_conflicts_total") >= 5
