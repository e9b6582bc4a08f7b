"""Exports at a real listener: clients that go away or stand still, faults in the middle, and how many may run."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha512
from typing import Any

import orjson
import pytest
import urllib3
from cli_world import run

from otel_finops.base.errors import Unauthenticated, Unavailable
from otel_finops.base.limits import EXPORTS_AT_ONCE_MAX
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.operations.local import Room
from otel_finops.otlp.http_server import AsgiServer, Listener
from otel_finops.settings.addresses import Address
from otel_finops.surfaces.api.app import build_api
from otel_finops.surfaces.web import streams

BATCH = [{"entry_id": f"1-1-{number}", "agent": sha512(bytes(number)).hexdigest() * 8} for number in range(500)]
"""Some 500 KB as JSON lines, half of it when compressed."""
WAIT_S = 20.0


class Source:
    """A ledger whose batches never end, or end in a fault; it knows whether somebody still reads it."""

    def __init__(self, batches: int | None = None, fault: Exception | None = None) -> None:
        self.batches = batches
        self.fault = fault
        self.given = 0
        self.open = 0
        self.closed = threading.Event()

    def usage(self, *_args: Any, **_known: Any) -> Iterator[list[dict[str, Any]]]:
        self.open += 1
        try:
            while self.batches is None or self.given < self.batches:
                self.given += 1
                yield BATCH
            if self.fault is not None:
                raise self.fault
        finally:
            self.open -= 1
            self.closed.set()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def port(room: Room, source: Source) -> Iterator[int]:
    app = build_api(replace(room.context, exports=source), lambda _: LOCAL)  # type: ignore[arg-type]
    server = AsgiServer(app, Address("127.0.0.1", 0), Listener("the web side", "http.address"))
    server.start()
    yield server.port
    server.stop(1)


def ask(port: int, more: bytes = b"", *, version: bytes = b"1.1", method: bytes = b"GET") -> socket.socket:
    """A client that has asked for an export and reads nothing by itself."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(method + b" /api/v1/usage/export HTTP/" + version + b"\r\nHost: 127.0.0.1\r\n" + more + b"\r\n")
    return client


def until(done: Any) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_a_slow_client_is_given_no_more_than_it_takes(port: int, source: Source) -> None:
    """What waits for it are the buffers of two sockets and a piece or two, not the ledger."""
    with ask(port) as client:
        until(lambda: source.given >= 2)
        time.sleep(0.5)
        before = source.given
        time.sleep(0.5)
        assert source.given == before < 40
        for _ in range(200):
            client.recv(65_536)
        until(lambda: source.given > before)


def test_a_client_that_goes_away_frees_everything_at_once(port: int, source: Source) -> None:
    client = ask(port)
    client.recv(1000)
    client.close()
    assert source.closed.wait(WAIT_S)
    assert source.open == 0


def test_a_client_that_stands_still_is_cut_off(port: int, source: Source, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(streams, "EXPORT_STALL_S", 0.3)
    with ask(port) as client:
        assert source.closed.wait(WAIT_S)
        answer = b""
        with suppress(ConnectionResetError):
            while piece := client.recv(1 << 20):
                answer += piece
    assert not answer.endswith(b"0\r\n\r\n")
    assert "took nothing for 0 s and is cut off" in caplog.text


@pytest.mark.parametrize("now", [Unauthenticated("revoked"), Unavailable("who knows"), LOCAL._replace(tenants=("acme",))])
def test_who_loses_his_token_meanwhile_gets_no_more_of_it(room: Room, source: Source, now: Exception | Principal) -> None:
    """An export runs for as long as its reader takes; the token that began it may be revoked, or stand for less, by then."""
    answers: list[Any] = [LOCAL]

    def known(token: str | None) -> Principal:
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return answers[-1]  # type: ignore[no-any-return]

    server = AsgiServer(
        build_api(replace(room.context, exports=source), known),  # type: ignore[arg-type]
        Address("127.0.0.1", 0),
        Listener("the web side", "http.address"),
    )
    server.start()
    try:
        with ask(server.port) as client:
            until(lambda: source.given >= 2)
            answers.append(now)
            given, answer = source.given, b""
            while piece := client.recv(1 << 20):
                answer = piece
        assert not answer.endswith(b"0\r\n\r\n")
        assert source.given <= given + 1
        assert source.closed.wait(WAIT_S)
    finally:
        server.stop(1)


@pytest.mark.parametrize("fault", [Unavailable("the store is away"), RuntimeError("a mistake of ours")])
def test_a_fault_in_the_middle_is_no_end(port: int, source: Source, fault: Exception, caplog: Any) -> None:
    source.batches, source.fault = 3, fault
    answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/usage/export", timeout=WAIT_S)
    with answer, pytest.raises(http.client.IncompleteRead) as broken:
        answer.read()
    assert len(broken.value.partial) == 3 * sum(len(orjson.dumps(row)) + 1 for row in BATCH)
    until(lambda: source.open == 0)
    assert "usage.export broke off" in caplog.text


def test_a_fault_in_the_middle_of_a_coded_answer_is_no_end_either(port: int, source: Source) -> None:
    source.batches, source.fault = 3, Unavailable("the store is away")
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"http://127.0.0.1:{port}/api/v1/usage/export", headers={"accept-encoding": "gzip"}, retries=False)


def test_the_command_line_tells_of_a_service_that_broke_off(port: int, source: Source) -> None:
    source.batches, source.fault = 3, Unavailable("the store is away")
    result = run("usage", "export", url=f"http://127.0.0.1:{port}")
    assert result.exit_code == 3
    assert result.stderr.startswith("otel-finops: the output is not whole\n")
    assert "the connection broke" in result.stderr


def test_a_fault_of_the_first_rows_is_a_problem(port: int, source: Source) -> None:
    source.batches, source.fault = 0, Unavailable("the store is away")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/usage/export", timeout=WAIT_S)
    assert (refused.value.code, refused.value.headers["retry-after"]) == (503, "2")
    refused.value.close()


def test_so_many_run_at_a_time_and_a_place_that_is_left_is_free(port: int, source: Source) -> None:
    clients = [ask(port) for _ in range(EXPORTS_AT_ONCE_MAX)]
    until(lambda: source.open == EXPORTS_AT_ONCE_MAX)
    with ask(port) as refused:
        assert refused.recv(100).startswith(b"HTTP/1.1 503 ")
    clients.pop().close()
    until(lambda: source.open == EXPORTS_AT_ONCE_MAX - 1)
    with ask(port) as taken:
        assert taken.recv(100).startswith(b"HTTP/1.1 200 ")
    for client in clients:
        client.close()
    until(lambda: source.open == 0)


def test_other_requests_are_answered_while_clients_stand_still(port: int, source: Source) -> None:
    clients = [ask(port) for _ in range(EXPORTS_AT_ONCE_MAX)]
    until(lambda: source.open == EXPORTS_AT_ONCE_MAX)
    began = time.monotonic()
    urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/spend", timeout=WAIT_S).close()
    assert time.monotonic() - began < 5
    for client in clients:
        client.close()


def test_head_has_the_headers_and_reads_no_more_than_the_first_rows(port: int, source: Source) -> None:
    with ask(port, b"Connection: close\r\n", method=b"HEAD") as client:
        answer = b""
        while piece := client.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-disposition" in answer
    assert source.given <= 2
    until(lambda: source.open == 0)


def test_http_1_0_is_refused_because_it_cannot_tell_an_end_from_a_fault(port: int, source: Source) -> None:
    with ask(port, version=b"1.0") as client:
        answer = b""
        while piece := client.recv(65_536):
            answer += piece
    assert b" 400 " in answer.splitlines()[0]
    assert b"An export needs HTTP/1.1" in answer
    assert source.given == 0
