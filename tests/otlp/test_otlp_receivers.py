"""Senders good and hostile against both listeners: stock exporters, bombs, endless bodies, slow clients."""

from __future__ import annotations

import gzip
import random
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import httpx
import psutil
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_finops.base import limits
from otel_finops.base.errors import Busy, StartRefused, TooLarge, Unavailable, Undecodable
from otel_finops.base.protocols import ExportOutcome, ExportRequest
from otel_finops.base.span import WantedKeys
from otel_finops.otlp.admission import Admission
from otel_finops.otlp.decode import decode
from otel_finops.otlp.http_server import ForgivingTransport, HttpReceiver
from otel_finops.otlp.inflate import inflate
from otel_finops.otlp.receive_grpc import GrpcReceiver
from otel_finops.settings.addresses import Address

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
WANTED = WantedKeys(frozenset({"gen_ai.request.model"}))
HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"


def stock_spans(count: int, content: int) -> list[ReadableSpan]:
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("test")
    spans = []
    for _ in range(count):
        span = tracer.start_span("chat", attributes={"gen_ai.request.model": "gpt-4o", "gen_ai.input.messages": "x" * content})
        span.end()
        assert isinstance(span, ReadableSpan)
        spans.append(span)
    return spans


def exporter(kind: str, listeners: Any, **options: Any) -> SpanExporter:
    if kind == "grpc":
        return GrpcExporter(endpoint=f"http://127.0.0.1:{listeners.grpc.port}", insecure=True, **options)
    return HttpExporter(endpoint=f"http://127.0.0.1:{listeners.http.port}/v1/traces", **options)


def counting(request: ExportRequest) -> ExportOutcome:
    batch = decode(request.body, request.encoding, WANTED, time.time_ns())
    return ExportOutcome(len(batch.spans), batch.rejections)


@pytest.mark.parametrize("kind", ["grpc", "http"])
@pytest.mark.parametrize("content", [12_000, 100_000])
def test_t55_stock_batches_with_content_arrive_whole(listeners: Any, kind: str, content: int) -> None:
    listeners.intake.decode = counting
    sender = exporter(kind, listeners)
    assert sender.export(stock_spans(512, content)) is SpanExportResult.SUCCESS
    sender.shutdown()
    assert (len(listeners.intake.requests), listeners.counted("spans_accepted")) == (1, 512)


@pytest.mark.parametrize(
    ("kind", "compression"), [("grpc", grpc.Compression.Gzip), ("http", Compression.Gzip), ("http", Compression.Deflate)]
)
def test_stock_exporters_may_compress(listeners: Any, kind: str, compression: Any) -> None:
    listeners.intake.decode = counting
    sender = exporter(kind, listeners, compression=compression)
    assert sender.export(stock_spans(10, 1_000)) is SpanExportResult.SUCCESS
    sender.shutdown()
    assert listeners.counted("spans_accepted") == 10


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_t2_stock_exporters_repeat_the_same_batch_until_it_is_taken(listeners: Any, kind: str) -> None:
    listeners.intake.faults = [Unavailable("the ledger is away", retry_after_s=0.2), RuntimeError("a bug of ours")]
    sender = exporter(kind, listeners, timeout=15)
    started = time.monotonic()
    assert sender.export(stock_spans(3, 10)) is SpanExportResult.SUCCESS
    sender.shutdown()
    first, second, third = listeners.intake.requests
    assert first.body == second.body == third.body
    assert time.monotonic() - started >= (2.2 if kind == "grpc" else 3.0)  # the delays that were asked for, in whole seconds over HTTP


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """One gigabyte of zeros in a megabyte."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    megabyte = bytes(limits.MIB)
    return b"".join([*(squeeze.compress(megabyte) for _ in range(1_024)), squeeze.flush()])


def test_t13_a_gzip_bomb_over_http(listeners: Any, bomb: bytes) -> None:
    before, seen, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            seen[0] = max(seen[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    url = f"http://127.0.0.1:{listeners.http.port}/v1/traces"
    answer = httpx.post(url, content=bomb, headers={"content-type": "application/x-protobuf", "content-encoding": "gzip"}, timeout=20)
    done.set()
    watcher.join()
    assert (answer.status_code, listeners.intake.requests) == (413, [])
    assert seen[0] - before < 100 * limits.MIB
    assert listeners.reception.admission.in_flight()[:2] == (0, 0)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.NoCompression])
def test_t13_over_grpc_too_large_is_resource_exhausted_without_a_delay(listeners: Any, compression: grpc.Compression) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{listeners.grpc.port}", options=[("grpc.max_send_message_length", -1)]) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(EXPORT)(bytes(limits.BODY_BYTES_MAX + 1), compression=compression, timeout=20)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in caught.value.details()
        assert "google.rpc.retryinfo-bin" not in dict(caught.value.trailing_metadata())
        channel.unary_unary(EXPORT)(b"", timeout=20)


def test_inflate_takes_what_zlib_makes_and_refuses_the_rest() -> None:
    grown: list[int] = []
    assert inflate(gzip.compress(b"a" * 3_000_000), "gzip", grown.append) == b"a" * 3_000_000
    assert sum(grown) == 3_000_000
    assert inflate(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", grown.append) == b"ab"
    assert inflate(zlib.compress(b"a"), "deflate", grown.append) == b"a"
    for body in (b"no gzip", gzip.compress(b"a" * 100)[:-1], gzip.compress(b"a") + b"tail"):
        with pytest.raises(Undecodable):
            inflate(body, "gzip", grown.append)
    with pytest.raises(TooLarge):
        inflate(gzip.compress(b"a" * 101), "gzip", grown.append, size_max=100)


def test_a_body_of_many_gzip_streams_is_read_fast_or_refused() -> None:
    """Each of them costs what it holds, not a copy of all that come after it."""
    blocks = b"".join(gzip.compress(bytes([number % 256]) * 1000) for number in range(4_000))
    assert len(inflate(blocks, "gzip", lambda size: None)) == 4_000_000
    began = time.process_time()
    with pytest.raises(Undecodable):
        inflate(gzip.compress(b"") * 1_000_000, "gzip", lambda size: None)
    assert time.process_time() - began < 2
    with pytest.raises(Undecodable):
        inflate(zlib.compress(b"a") * 2, "deflate", lambda size: None)


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 300_001])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_inflate_gives_back_what_was_compressed(size: int, level: int) -> None:
    content = random.Random(size).randbytes(size)
    assert inflate(gzip.compress(content, level) + gzip.compress(content), "gzip", lambda size: None) == content * 2


def read_all(connection: socket.socket, seconds: float = 10) -> bytes:
    connection.settimeout(seconds)
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            received += piece
    return received


def test_t18_an_announced_length_over_the_limit_is_refused_before_a_byte_is_read(listeners: Any, connect: Any) -> None:
    connection = connect(listeners.http.port)
    connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % (limits.BODY_BYTES_MAX + 1))
    assert connection.recv(1_000).startswith(b"HTTP/1.1 413")


def test_t18_a_chunked_body_without_length_is_refused_at_the_limit(
    http_listener: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", 4 * limits.MIB)
    intake, receiver = http_listener()
    connection = connect(receiver.port)
    connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
    sent = 0
    connection.settimeout(0.001)
    answer = b""
    while not answer and sent < 64 * limits.MIB:
        connection.settimeout(10)
        connection.sendall(chunk)
        sent += 65_536
        connection.settimeout(0.001)
        try:
            answer = connection.recv(1_000)
        except TimeoutError:
            continue
    assert answer.startswith(b"HTTP/1.1 413")
    assert sent < 12 * limits.MIB  # the limit, and what lies in the system's buffers
    assert intake.requests == []


def dripping(connection: socket.socket, stop: threading.Event, drop: bytes) -> None:
    while not stop.wait(0.05):
        try:
            connection.sendall(drop)
        except OSError:
            return


@pytest.mark.parametrize(
    ("opening", "drop", "answer"),
    [
        (b"", b"", b""),
        (b"POST /v1/tr", b"", b""),
        (HEAD, b"x-drip: 1\r\n", b""),
        (HEAD + b"content-length: 1000\r\n\r\n", b"x", b"HTTP/1.1 503"),
        (HEAD + b"content-length: 1000\r\n\r\n", b"", b"HTTP/1.1 503"),
    ],
    ids=["nothing", "half a line", "dripped headers", "dripped body", "no body"],
)
def test_t17_slow_clients_are_cut_off(http_listener: Any, connect: Any, opening: bytes, drop: bytes, answer: bytes) -> None:
    intake, receiver = http_listener(deadline_s=0.5)
    slow = connect(receiver.port)
    started = time.monotonic()
    slow.sendall(opening)
    stop = threading.Event()
    drip = threading.Thread(target=dripping, args=(slow, stop, drop))
    if drop:
        drip.start()
    said = read_all(slow)
    took = time.monotonic() - started
    stop.set()
    if drop:
        drip.join()
    assert said.startswith(answer)
    assert 0.4 < took < 8
    assert intake.requests == []


def test_what_is_announced_and_does_not_come_takes_nothing_from_the_budget(http_listener: Any, connect: Any) -> None:
    _, receiver = http_listener(deadline_s=5)
    for _ in range(limits.IN_FLIGHT_BYTES_MAX // limits.BODY_BYTES_MAX + 1):
        connect(receiver.port).sendall(HEAD + b"content-length: %d\r\n\r\n\n" % limits.BODY_BYTES_MAX)
    time.sleep(0.2)
    answer = httpx.post(f"http://127.0.0.1:{receiver.port}/v1/traces", content=b"", headers={"content-type": "application/x-protobuf"})
    assert answer.status_code == 200


def test_t17_500_slow_connections_do_not_slow_a_normal_sender(http_listener: Any, connect: Any) -> None:
    _, receiver = http_listener(deadline_s=2)
    for index in range(500):
        connect(receiver.port).sendall((b"", b"POST ", HEAD + b"content-length: 9\r\n\r\n")[index % 3])
    url = f"http://127.0.0.1:{receiver.port}/v1/traces"
    with httpx.Client(headers={"content-type": "application/x-protobuf"}) as client:
        started = time.monotonic()
        assert [client.post(url).status_code for _ in range(50)] == [200] * 50
        assert time.monotonic() - started < 2


def test_connections_beyond_the_cap_are_answered_503(http_listener: Any, connect: Any) -> None:
    _, receiver = http_listener(connections_max=2)
    connect(receiver.port), connect(receiver.port)
    time.sleep(0.1)
    assert read_all(connect(receiver.port)).startswith(b"HTTP/1.1 503")


def test_headers_without_end_are_refused(http_listener: Any, connect: Any) -> None:
    _, receiver = http_listener()
    connection = connect(receiver.port)
    connection.sendall(HEAD + b"x: ")
    for _ in range(8):
        with suppress(ConnectionError):
            connection.sendall(b"y" * limits.HEADER_BYTES_MAX)
    assert b"HTTP/1.1 431" in read_all(connection)


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


def test_a_trailer_is_no_header(http_listener: Any, connect: Any) -> None:
    """It came in one piece with the head, so that a server that keeps it in the same list takes it for one."""
    intake, receiver = http_listener()
    connection = connect(receiver.port)
    connection.sendall(CHUNKED + b"2\r\n\x0a\x00\r\n0\r\ncontent-encoding: gzip\r\nauthorization: Bearer other\r\n\r\n")
    connection.sendall(HEAD + b"connection: close\r\ncontent-length: 0\r\n\r\n")
    assert read_all(connection).count(b"HTTP/1.1 200") == 2
    assert [request.body for request in intake.requests] == [b"\x0a\x00", b""]
    assert len({request.credential for request in intake.requests}) == 1


@pytest.mark.parametrize("endless", [b"0\r\nx: ", b"1;x="], ids=["trailer", "extension of a chunk"])
def test_what_surrounds_a_chunked_body_is_bounded_as_a_head_is(http_listener: Any, connect: Any, endless: bytes) -> None:
    _, receiver = http_listener()
    connection = connect(receiver.port)
    connection.sendall(CHUNKED + b"2\r\n\x0a\x00\r\n" + endless)
    for _ in range(8):
        with suppress(ConnectionError):
            connection.sendall(b"y" * limits.HEADER_BYTES_MAX)
    assert read_all(connection).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))


def test_a_body_in_very_many_small_chunks_arrives(http_listener: Any, connect: Any) -> None:
    intake, receiver = http_listener()
    connection = connect(receiver.port)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(CHUNKED)
    for _ in range(50):
        connection.sendall(b"0001;" + b"x" * 4_000 + b"\r\n")
        time.sleep(0.002)
        connection.sendall(b"a\r\n")
    connection.sendall(b"0\r\n\r\n")
    assert b"HTTP/1.1 " in connection.recv(100)
    assert [request.body for request in intake.requests] == [b"a" * 50]


def test_a_kept_connection_serves_many_requests_beyond_one_deadline(http_listener: Any) -> None:
    intake, receiver = http_listener(deadline_s=0.3)
    with httpx.Client(headers={"content-type": "application/x-protobuf"}) as client:
        for _ in range(4):
            assert client.post(f"http://127.0.0.1:{receiver.port}/v1/traces", content=b"").status_code == 200
            time.sleep(0.4)
    assert len(intake.requests) == 4


def test_a_full_budget_is_busy_and_is_given_back(http_listener: Any) -> None:
    admission = Admission(bytes_max=1_000)
    _, receiver = http_listener(admission)
    url, kind = f"http://127.0.0.1:{receiver.port}/v1/traces", {"content-type": "application/x-protobuf"}
    with admission.hold(990):
        full = httpx.post(url, content=bytes(11), headers=kind)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        assert httpx.post(url, content=gzip.compress(bytes(900)), headers={**kind, "content-encoding": "gzip"}).status_code == 429
        assert httpx.post(url, content=(bytes(4) for _ in range(3)), headers=kind).status_code == 429
    assert httpx.post(url, content=bytes(1_000), headers=kind).status_code == 200
    assert admission.in_flight() == (0, 0, 3)


def test_spans_are_budgeted_beside_bytes() -> None:
    admission = Admission(spans_max=10)
    with admission.hold(spans=6), pytest.raises(Busy):
        admission.hold(spans=5)
    with admission.hold(spans=6) as ticket:
        ticket.grow(spans=4)
        assert admission.in_flight() == (0, 10, 1)
    assert admission.in_flight() == (0, 0, 1)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(("kind", "setting"), [(GrpcReceiver, "otlp.grpc_address"), (HttpReceiver, "otlp.http_address")])
def test_a_port_in_use_says_which_setting_to_change(listeners: Any, taken_port: int, kind: Any, setting: str) -> None:
    with pytest.raises(StartRefused, match=f"cannot listen on 127.0.0.1:{taken_port}.*change {setting}"):
        kind(listeners.reception, Address("127.0.0.1", taken_port)).start()


@pytest.mark.parametrize("kind", [GrpcReceiver, HttpReceiver])
def test_two_processes_may_share_a_port_when_asked_to(listeners: Any, kind: Any) -> None:
    first = kind(listeners.reception, Address("127.0.0.1", 0), reuse_port=True)
    first.start()
    second = kind(listeners.reception, Address("127.0.0.1", first.port), reuse_port=True)
    second.start()
    assert second.port == first.port
    first.stop(1)
    second.stop(1)


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_t12_a_stop_lets_the_running_request_finish(listeners: Any, kind: str) -> None:
    entered = threading.Event()

    def slowly(request: ExportRequest) -> ExportOutcome:
        entered.set()
        time.sleep(0.5)
        return ExportOutcome(1)

    listeners.intake.decode = slowly
    results: list[SpanExportResult] = []
    sender = exporter(kind, listeners, timeout=5)
    spans = stock_spans(1, 1)
    export: Callable[[], None] = lambda: results.append(sender.export(spans))  # noqa: E731
    thread = threading.Thread(target=export)
    thread.start()
    assert entered.wait(5)
    getattr(listeners, kind).stop(5)
    thread.join()
    assert results == [SpanExportResult.SUCCESS]


@pytest.mark.parametrize(
    ("origin", "status"),
    [(None, 200), ("http://localhost:3000", 200), ("http://[::1]:3000", 200), ("https://evil.example", 403), ("null", 403)],
)
def test_pages_of_other_sites_send_no_spans_where_no_token_is_asked_for(http_listener: Any, origin: str | None, status: int) -> None:
    """Any `Host` is good: containers reach this machine by names of their own, and a browser's POST always has an `Origin`."""
    headers = {"Host": "host.docker.internal:4318", "Content-Type": "application/json"} | ({"Origin": origin} if origin else {})
    for local_pages_only in (True, False):
        intake, receiver = http_listener(local_pages_only=local_pages_only)
        answer = httpx.post(f"http://127.0.0.1:{receiver.port}/v1/traces", content=b'{"resourceSpans": []}', headers=headers)
        expected = status if local_pages_only else 200
        assert answer.status_code == expected
        assert len(intake.requests) == (expected == 200)


class GoneTransport:
    """uvloop's transport once the client has gone."""

    def __init__(self, *, closing: bool) -> None:
        self.closing, self.written = closing, b""

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        if self.closing:
            raise RuntimeError("the handler is closed")
        self.written += data

    def get_extra_info(self, name: str) -> str:
        return name


def test_an_answer_for_a_client_that_has_gone_is_dropped() -> None:
    gone, there = GoneTransport(closing=True), GoneTransport(closing=False)
    for transport in (gone, there):
        forgiving = ForgivingTransport(transport)  # type: ignore[arg-type]
        forgiving.write(b"HTTP/1.1 200 OK")
        assert forgiving.get_extra_info("peername") == "peername"
    assert (gone.written, there.written) == (b"", b"HTTP/1.1 200 OK")
