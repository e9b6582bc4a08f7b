"""T13, T14, T15 and T17 against the running service: what is small on the wire and large inside, and clients that never come to an end."""

from __future__ import annotations

import gzip
import selectors
import socket
import statistics
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import grpc
import httpx
import pytest
from e2e_service import EXPORT, JSON, PROTOBUF, Service, running
from e2e_spans import body, trace_id

MIB = 1024 * 1024
GOOD = body(trace_id(1, 500))
HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n"
SLOW = (b"", HEAD[:11], HEAD, HEAD + b"content-length: 9\r\n\r\nx")
"""What a slow client has said when it falls silent: nothing, half a line, half a head, half a body."""


class Met(NamedTuple):
    """What an attack came to.

    Attributes:
        answer: HTTP status or name of the gRPC status.
        grown: bytes by which the service's resident memory grew at most while it was answered.
    """

    answer: str
    seconds: float
    grown: int


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(f"sqlite:///{tmp_path_factory.mktemp('bombs') / 'ledger.db'}") as one:
        one.send(GOOD)
        one.settled()
        yield one
        one.send(body(trace_id(2, 500)))
        assert one.settled().number("SELECT COUNT(*) FROM entries") == 2
        one.stop()
        one.database.verify()


def watched(service: Service, attack: Callable[[], str]) -> Met:
    """Make the attack and look at the service's memory every few milliseconds."""
    before, most, over = service.memory(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            most[0] = max(most[0], service.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    try:
        answer = attack()
    finally:
        seconds = time.monotonic() - began
        over.set()
        watcher.join()
    return Met(answer, seconds, max(0, max(most[0], service.memory()) - before))


def squeezed(megabytes: int) -> bytes:
    """So many megabytes of zeros, gzipped."""
    squeeze, piece = zlib.compressobj(9, zlib.DEFLATED, 31), bytes(MIB)
    return b"".join([*(squeeze.compress(piece) for _ in range(megabytes)), squeeze.flush()])


def field(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def nested_protobuf(levels: int) -> bytes:
    value = field(1, b"deep")
    for _ in range(levels):
        value = field(5, field(1, value))
    key = field(1, b"gen_ai.input.messages")
    times = b"\x39" + bytes(8) + b"\x41" + bytes(8)
    span = field(1, bytes([1] * 16)) + field(2, bytes([2] * 8)) + field(9, key + field(2, value)) + times
    return field(1, field(2, field(2, span)))


def nested_json(levels: int) -> bytes:
    value = '{"arrayValue":{"values":[' * levels + '{"stringValue":"deep"}' + "]}}" * levels
    span = f'{{"traceId":"{"01" * 16}","spanId":"{"02" * 8}","attributes":[{{"key":"gen_ai.input.messages","value":{value}}}]}}'
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}'.encode()


class Bomb(NamedTuple):
    """What is sent, made when its turn comes, and the answers that are right."""

    make: Callable[[], bytes]
    send: Callable[[Service, bytes], str]
    answers: set[str]


def posted(**headers: str) -> Callable[[Service, bytes], str]:
    """Sends over HTTP; `_` stands for `-` in the headers' names."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda service, content: str(service.post(content, named).status_code)


def called(service: Service, content: bytes) -> str:
    """Sends over gRPC, which compresses."""
    with service.channel() as channel:
        try:
            channel.unary_unary(EXPORT)(content, compression=grpc.Compression.Gzip, timeout=60)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


AS_PROTOBUF, AS_JSON = posted(**PROTOBUF), posted(**JSON)
AS_GZIP, AS_JSON_GZIP = posted(**PROTOBUF, content_encoding="gzip"), posted(**JSON, content_encoding="gzip")
DEEP = {"200", "400"}
BOMBS = {
    "T13 1 MB of gzip that holds 1 GiB, HTTP": Bomb(lambda: squeezed(1024), AS_GZIP, {"413"}),
    "T13 the same for JSON": Bomb(lambda: squeezed(1024), AS_JSON_GZIP, {"413"}),
    "T13 256 MiB that gRPC compresses": Bomb(lambda: bytes(256 * MIB), called, {"RESOURCE_EXHAUSTED"}),
    "T13 100,000 gzip streams of nothing": Bomb(lambda: gzip.compress(b"") * 100_000, AS_GZIP, {"400"}),
    "T14 200,000 empty spans": Bomb(lambda: gzip.compress(field(1, field(2, b"\x12\x00" * 200_000))), AS_GZIP, {"413"}),
    "T15 nested 10 deep, protobuf": Bomb(lambda: nested_protobuf(10), AS_PROTOBUF, DEEP),
    "T15 nested 100 deep, protobuf": Bomb(lambda: nested_protobuf(100), AS_PROTOBUF, DEEP),
    "T15 nested 10,000 deep, protobuf": Bomb(lambda: nested_protobuf(10_000), AS_PROTOBUF, DEEP),
    "T15 nested 10 deep, JSON": Bomb(lambda: nested_json(10), AS_JSON, DEEP),
    "T15 nested 100 deep, JSON": Bomb(lambda: nested_json(100), AS_JSON, DEEP),
    "T15 nested 10,000 deep, JSON": Bomb(lambda: nested_json(10_000), AS_JSON, DEEP),
}


@pytest.mark.parametrize("name", BOMBS)
def test_t13_t14_t15_a_bomb_is_refused_soon_and_takes_no_memory(service: Service, name: str) -> None:
    bomb = BOMBS[name]
    content = bomb.make()
    met = watched(service, lambda: bomb.send(service, content))
    print(f"{name}: {len(content)} bytes, {met.answer} after {1000 * met.seconds:.0f} ms, memory grew {met.grown / 1e6:.0f} MB")
    assert met.answer in bomb.answers
    assert met.grown <= 100 * MIB
    assert service.post(GOOD).status_code == 200


@pytest.mark.long
def test_t17_five_hundred_connections_that_fall_silent(tmp_path: Path) -> None:
    with running(f"sqlite:///{tmp_path / 'ledger.db'}") as service, ExitStack() as stack:
        alone = waits(service, 3)
        before, began = service.memory(), time.monotonic()
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", service.http_port))) for _ in range(500)]
        for number, one in enumerate(slow):
            one.sendall(SLOW[number % len(SLOW)])
        beside = waits(service, 5)
        grown = service.memory() - before
        closed = closed_within(slow, 40)
        print(
            f"T17: {len(slow)} silent connections: p99 of a normal sender {1000 * p99(alone):.1f} ms alone, {1000 * p99(beside):.1f} ms"
            f" beside them; {closed} closed by us, the last after {time.monotonic() - began:.1f} s; memory grew {grown / 1e6:.0f} MB"
        )
        assert closed == len(slow)
        assert time.monotonic() - began < 30
        assert p99(beside) < max(2 * p99(alone), 0.2)
        service.stop()


def waits(service: Service, seconds: float) -> list[float]:
    """How long each of a normal sender's requests took, in a row, over one connection."""
    took = []
    with httpx.Client(headers=PROTOBUF, verify=False) as client:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            assert client.post(service.traces_url, content=body(trace_id(len(took), 501))).status_code == 200
            took.append(time.monotonic() - began)
    return took


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


def closed_within(connections: list[socket.socket], seconds: float) -> int:
    """How many the other side closed."""
    until, closed = time.monotonic() + seconds, 0
    with selectors.DefaultSelector() as waiting:
        for one in connections:
            waiting.register(one, selectors.EVENT_READ)
        while waiting.get_map() and time.monotonic() < until:
            for key, _ in waiting.select(1):
                try:
                    over = not key.fileobj.recv(4096)  # type: ignore[union-attr]
                except OSError:
                    over = True
                if over:
                    waiting.unregister(key.fileobj)
                    closed += 1
    return closed
