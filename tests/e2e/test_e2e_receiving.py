"""What the running service answers to senders good, careless and hostile, and what then stands in the ledger."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from e2e_faults import BEARER, GUARD, MIB, TELLTALE, Answer, no_room_on_disk, readers_faults, senders_faults
from e2e_service import JSON, Service, eventually, http, running
from e2e_spans import SECOND, body, calls, json_body, put, trace_id
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

NewTrace = Callable[[], bytes]


# --- the table of faults -------------------------------------------------------------------------------------------

GRPC, HTTP = "grpc", "http"
TABLE: dict[str, tuple[str | None, str, bool]] = {
    "undecodable": ("INVALID_ARGUMENT", "400", False),
    "too many spans": ("RESOURCE_EXHAUSTED", "413", False),
    "too large": ("RESOURCE_EXHAUSTED", "413", False),
    "too deep": (None, "400", False),
    "no token": ("UNAUTHENTICATED", "401", False),
    "unknown token": ("UNAUTHENTICATED", "401", False),
    "wrong content type": (None, "415", False),
    "wrong coding": (None, "415", False),
    "broken gzip": (None, "400", False),
    "wrong method": (None, "405", False),
    "wrong path": (None, "404", False),
    "all bytes spoken for": ("RESOURCE_EXHAUSTED", "429", True),
    "disk full": ("UNAVAILABLE", "503", True),
}
"""The gRPC status, the HTTP status, and whether a delay must be said."""

READERS = {
    "no token": "401", "unknown token": "401", "not allowed": "403", "no such trace": "404", "no trace id": "400", "no such column": "400",
    "bad cursor": "400", "bad number": "400", "bad time": "400", "foreign tenant": "200", "wrong path": "404",
    "metrics without token": "401",
}  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for tokens."""
    with running(f"sqlite:///{tmp_path_factory.mktemp('guarded') / 'guarded-ledger.db'}", **GUARD) as one:
        one.send(body(trace_id(9, 77)), {"content-type": "application/x-protobuf", "authorization": BEARER})
        yield one
        one.settled()
        one.stop()
        one.database.verify()


@pytest.fixture(scope="module")
def answers(guarded: Service) -> list[Answer]:
    """Every fault once, over every way."""
    return [*senders_faults(guarded), *readers_faults(guarded)]


def test_t1_every_fault_is_answered_as_the_table_says(answers: list[Answer], guarded: Service) -> None:
    wrong = []
    sent = [answer for answer in answers if answer.way != "api"]
    for answer in sent:
        over_grpc, over_http, repeated = TABLE[answer.fault]
        want = over_grpc if answer.way == GRPC else over_http
        if answer.status != want or not answer.right_form or (answer.delay is not None) != repeated:
            wrong.append(str(answer))
    print(f"T1: {len(sent) - len(wrong)} of {len(sent)} faults answered as the table says")
    assert wrong == []
    assert {answer.fault for answer in sent} == set(TABLE)


def test_t1_readers_faults_are_problems(answers: list[Answer]) -> None:
    asked = [answer for answer in answers if answer.way == "api"]
    wrong = [str(answer) for answer in asked if answer.status != READERS[answer.fault] or not answer.right_form]
    print(f"T1: {len(asked) - len(wrong)} of {len(asked)} faults of readers answered as problems")
    assert wrong == []


def test_t56_no_answer_tells_of_the_inside(answers: list[Answer]) -> None:
    hits = [f"{name}: {answer}" for answer in answers for name, pattern in TELLTALE.items() if pattern.search(answer.text)]
    print(f"T56: {len(hits)} hits in {len(answers)} answers")
    assert hits == []
    assert len(answers) >= 35


def test_after_all_faults_the_service_takes_spans_again(answers: list[Answer], guarded: Service) -> None:
    metadata = [("authorization", BEARER)]
    guarded.call(body(trace_id(10, 77), 3), metadata)
    guarded.settled()
    entries = guarded.database.span_keys("entries")
    refused = {trace_id(number, 77) for number in (1, 2, 3)}
    assert len([key for key in entries if key[0] == trace_id(10, 77)]) == 3
    assert [key for key in entries if key[0] in refused] == []
    assert guarded.database.number("SELECT COUNT(*) FROM entries WHERE realm <> 'acme' OR tenant <> 'acme'") == 0


def test_t8_a_full_disk_loses_nothing_and_is_over_as_soon_as_there_is_room(service: Service, new_trace: NewTrace) -> None:
    taken: list[bytes] = []
    refused: list[bytes] = []
    service.send(body(new_trace()))
    log_bytes = Path(service.database.url.removeprefix("sqlite:///") + "-wal").stat().st_size
    with no_room_on_disk(service, log_bytes):
        while len(refused) < 3 and len(taken) < 100:
            trace = new_trace()
            (taken if service.post(body(trace, 200)).status_code == 200 else refused).append(trace)
        with pytest.raises(grpc.RpcError) as caught:
            service.call(body(refused[0], 200))
        readable = [http("GET", f"{service.web}/api/v1/{path}").status_code for path in ("spend", "usage", "traces")]
    freed = time.monotonic()
    for trace in refused:
        eventually(lambda trace=trace: service.post(body(trace, 200)).status_code == 200, 10)
    seconds = time.monotonic() - freed
    entries = Counter(key[0] for key in service.settled().span_keys("entries"))
    lost = [trace for trace in taken + refused if entries[trace] != 200]
    print(
        f"T8: {len(taken)} batches taken, {len(refused)} refused; reads while full {readable}"
        f"; writes again after {seconds:.2f} s; lost {len(lost)}"
    )
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert (lost, readable) == ([], [200, 200, 200])


# --- limits --------------------------------------------------------------------------------------------------------


def test_t18_an_endless_body_is_refused_early(service: Service) -> None:
    piece = b"10000\r\n" + bytes(65_536) + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", service.http_port), timeout=30) as sender:
        sender.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n")
        sender.setblocking(False)
        answer = b""
        give_up_at = time.monotonic() + 30
        while not answer and sent < 512 * MIB and time.monotonic() < give_up_at:
            with suppress(BlockingIOError):
                answer = sender.recv(65_536)
            with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                sent += sender.send(piece[sent % len(piece) :])
    print(f"T18: answered {answer[:12].decode()} after {sent / MIB:.1f} MiB")
    assert answer.startswith(b"HTTP/1.1 413")
    assert 64 <= sent / MIB < 80


def test_t18_an_announced_length_over_the_limit_is_refused_before_the_body(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.http_port), timeout=10) as sender:
        head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {64 * MIB + 1}\r\n\r\n"
        sender.sendall(head.encode())
        assert sender.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("way", [GRPC, HTTP])
def test_t20_one_bad_span_does_not_sink_its_batch(service: Service, new_trace: NewTrace, way: str) -> None:
    trace = new_trace()

    def spoil(span: Any, index: int) -> None:
        if index == 500:
            span.span_id = b"\1\2\3"

    batch = body(trace, 1_000, spoil)
    answer = service.call(batch) if way == GRPC else service.send(batch)
    recorded = service.settled().number(f"SELECT COUNT(*) FROM entries WHERE hex(trace_id) = '{trace.hex().upper()}'")
    print(f"T20 {way}: {recorded} recorded, {answer.partial_success.rejected_spans} rejected: {answer.partial_success.error_message}")
    assert (recorded, answer.partial_success.rejected_spans) == (999, 1)
    assert answer.partial_success.error_message


BAD_IDS = {
    "trace id of zeros": {"trace_id": bytes(16)},
    "span id of zeros": {"span_id": bytes(8)},
    "no trace id": {"trace_id": b""},
    "no span id": {"span_id": b""},
    "short trace id": {"trace_id": b"\1" * 15},
    "short span id": {"span_id": b"\1" * 7},
    "long trace id": {"trace_id": b"\1" * 24},
    "long span id": {"span_id": b"\1" * 12},
}


def test_t21_wrong_ids_are_rejected_and_the_rest_is_kept(service: Service, new_trace: NewTrace) -> None:
    right = 0
    before = service.database.number("SELECT COUNT(*) FROM journal")
    for name, ids in BAD_IDS.items():
        trace = new_trace()

        def spoil(span: Any, index: int, ids: dict[str, bytes] = ids) -> None:
            for field, value in ids.items() if index == 1 else ():
                setattr(span, field, value)

        answer = service.send(body(trace, 3, spoil))
        kept = service.database.number(
            f"SELECT COUNT(*) FROM journal JOIN traces USING (trace_no) WHERE hex(trace_id) = '{trace.hex().upper()}'"
        )
        assert answer.partial_success.error_message, name
        right += (answer.partial_success.rejected_spans, kept) == (1, 2)
    print(f"T21: {right} of {len(BAD_IDS)} cases: the bad span rejected with a reason, two kept")
    assert right == len(BAD_IDS)
    assert service.database.number("SELECT COUNT(*) FROM journal") == before + 2 * len(BAD_IDS)


def test_t21_a_wrong_parent_id_does_not_cost_the_span(service: Service, new_trace: NewTrace) -> None:
    def spoil(span: Any, index: int) -> None:
        span.parent_span_id = (b"\0" * 8, b"\1\2\3", b"\1" * 9)[index]

    answer = service.send(body(new_trace(), 3, spoil))
    print(f"T21: wrong parents: {answer.partial_success.rejected_spans} of 3 rejected: {answer.partial_success.error_message}")
    assert answer.partial_success.rejected_spans <= 2  # a parent of zeros is none, on any reading


# --- counts and times ----------------------------------------------------------------------------------------------

NO_COUNT, TWELVE = "no count", 12
TOKENS: dict[str, tuple[object, dict[str, Any], object]] = {
    "-1": (-1, {"intValue": "-1"}, NO_COUNT),
    "2^63-1": (2**63 - 1, {"intValue": str(2**63 - 1)}, NO_COUNT),
    "NaN": (float("nan"), {"doubleValue": "NaN"}, NO_COUNT),
    "Infinity": (float("inf"), {"doubleValue": "Infinity"}, NO_COUNT),
    "-Infinity": (float("-inf"), {"doubleValue": "-Infinity"}, NO_COUNT),
    '"12"': ("12", {"stringValue": "12"}, TWELVE),
    "12.0": (12.0, {"doubleValue": 12.0}, TWELVE),
    "12.5": (12.5, {"doubleValue": 12.5}, NO_COUNT),
    "true": (True, {"boolValue": True}, NO_COUNT),
    "list": ([12], {"arrayValue": {"values": [{"intValue": "12"}]}}, NO_COUNT),
    "12": (12, {"intValue": 12}, TWELVE),
}
"""Output tokens as a Python value for protobuf and as OTLP/JSON, and what they must count as."""

COUNTED_USD = "0.00262"
"""1,000 tokens at 0.0000025 USD and 12 at 0.00001."""


def test_t22_token_values(service: Service, new_trace: NewTrace) -> None:
    sent: dict[str, tuple[str, object]] = {}
    for name, (value, in_json, want) in TOKENS.items():
        first, second = new_trace(), new_trace()
        service.send(body(first, 1, lambda span, _, value=value: put(span, "gen_ai.usage.output_tokens", value)))
        answer = service.post(json_body(second, {"gen_ai.usage.output_tokens": in_json}), JSON)
        assert answer.json() in ({}, {"partialSuccess": {}}), name
        sent[first.hex()], sent[second.hex()] = (f"{name} protobuf", want), (f"{name} JSON", want)
    rows = {row["trace_id"]: row for row in service.settled().net() if row["trace_id"] in sent}
    right = 0
    for trace, (name, want) in sent.items():
        row = rows[trace]
        found = (row["usage"].get("output"), row["cost_usd"], row["unpriced_reason"])
        print(f"T22: {name:20} -> usage {row['usage']}, cost {found[1]}, {found[2]}")
        good = found == (12, COUNTED_USD, None) if want is TWELVE else (found[1:] == (None, "bad_usage") and not found[0])
        right += good
    print(f"T22: {right} of {len(sent)} cases right")
    assert right == len(sent)


def test_t22_numbers_that_are_no_json_are_never_a_cost(service: Service, new_trace: NewTrace) -> None:
    traces = []
    for literal in (b"NaN", b"Infinity", b"-Infinity", b"1e400"):
        traces.append(new_trace())
        text = json_body(traces[-1], {"gen_ai.usage.output_tokens": {"doubleValue": 4711}}).replace(b"4711", literal)
        assert service.post(text, JSON).status_code in (200, 400)
    found = [row["unpriced_reason"] for row in service.settled().net() if bytes.fromhex(row["trace_id"]) in traces]
    print(f"T22: bare NaN, Infinity, 1e400 in JSON: {found}")
    assert set(found) <= {"bad_usage"}


YEAR = 365 * 24 * 3600 * SECOND


def times() -> dict[str, tuple[int, int]]:
    now = time.time_ns()
    return {
        "both 0": (0, 0),
        "1970": (SECOND, 2 * SECOND),
        "end before start": (now - SECOND, now - 2 * SECOND),
        "end 0": (now - SECOND, 0),
        "in ten years": (now + 10 * YEAR, now + 10 * YEAR + SECOND),
        "2554": (2**64 - 2 * SECOND, 2**64 - SECOND),
        "uint64 max": (2**64 - 1, 2**64 - 1),
        "start now, end uint64 max": (now - SECOND, 2**64 - 1),
    }


def test_t54_absurd_times_make_no_period(service: Service, new_trace: NewTrace) -> None:
    cases = times()
    for name, (start, end) in cases.items():
        trace = new_trace()

        def spoil(span: Any, index: int, start: int = start, end: int = end) -> None:
            if index == 1:
                span.start_time_unix_nano, span.end_time_unix_nano = start, end

        answer = service.send(body(trace, 2, spoil))
        rejected = answer.partial_success.rejected_spans
        rows = [row for row in service.settled().sql("SELECT trace_id, started_ns, duration_ns FROM entries") if bytes(row[0]) == trace]
        print(f"T54: {name:26} {rejected} rejected, {len(rows)} recorded, durations {[row[2] for row in rows]}")
        assert len(rows) + rejected == 2, name
        assert all(row[2] is None or 0 <= row[2] <= YEAR for row in rows), name
    now = time.time_ns()
    absurd = service.database.number(
        f"SELECT COUNT(*) FROM rollups WHERE level <> 'total' AND (bucket_ns > {now} OR bucket_ns < {now - 2 * YEAR})"
    )
    print(f"T54: {absurd} periods made for absurd times")
    assert absurd == 0


# --- stock exporters with content ----------------------------------------------------------------------------------


def stock_spans(count: int, content: int) -> list[ReadableSpan]:
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("test")
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
    spans = []
    for index in range(count):
        said = {"gen_ai.usage.input_tokens": 1000 + index, "gen_ai.usage.output_tokens": 200, "gen_ai.input.messages": "x" * content}
        span = tracer.start_span("chat gpt-4o", attributes={**attributes, **said})
        span.end()
        assert isinstance(span, ReadableSpan)
        spans.append(span)
    return spans


def exporter(way: str, service: Service, **options: Any) -> SpanExporter:
    if way == GRPC:
        return GrpcExporter(endpoint=f"http://127.0.0.1:{service.grpc_port}", insecure=True, **options)
    return HttpExporter(endpoint=service.traces_url, **options)


@pytest.mark.parametrize("way", [GRPC, HTTP])
@pytest.mark.parametrize("content", [12_000, 100_000])
def test_t55_stock_batches_with_content_are_recorded_whole(service: Service, way: str, content: int) -> None:
    spans = stock_spans(512, content)
    sender = exporter(way, service)
    began = time.monotonic()
    outcome = sender.export(spans)
    seconds = time.monotonic() - began
    sender.shutdown()
    keys = {(span.context.trace_id.to_bytes(16, "big"), span.context.span_id.to_bytes(8, "big")) for span in spans if span.context}
    arrived = len(keys & set(service.settled().span_keys("entries")))
    print(f"T55 {way}, {content // 1000} kB of content: {arrived} of 512 recorded in {seconds:.2f} s")
    assert (outcome, arrived) == (SpanExportResult.SUCCESS, 512)


def test_content_does_not_reach_the_disk(service: Service, new_trace: NewTrace) -> None:
    secret = b"my card is 4929-0000"
    request = calls(new_trace(), 1, lambda span, _: put(span, "gen_ai.input.messages", secret.decode()))
    service.send(request.SerializeToString())
    path = service.settled().url.removeprefix("sqlite:///")
    for file in (path, f"{path}-wal"):
        with suppress(FileNotFoundError), open(file, "rb") as content:
            assert secret not in content.read()
