"""Questions to a service that answers, refuses, is slow, drips, hangs up or is not there: each ends by its deadline."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from fake_service import FakeService

from otel_finops.base.errors import BadInput
from otel_finops.client.faults import ServiceAway
from otel_finops.client.settings import ClientSettings
from otel_finops.client.transport import Transport


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService()
    yield fake
    fake.close()


@pytest.fixture
def transport(service: FakeService) -> Iterator[Transport]:
    made = Transport(ClientSettings(url=service.url, token="secret-1", timeout_s=20, pause_s=0.0))
    yield made
    made.close()


def test_a_question_carries_the_token_and_its_body(service: FakeService, transport: Transport) -> None:
    answer = transport.post("/decisions", {"provider": "openai", "model": "gpt-4o"})
    assert answer.ok
    assert answer.body["action"] == "allow"
    assert service.asked == [("POST", "/api/v1/decisions", {"provider": "openai", "model": "gpt-4o"}, "Bearer secret-1")]


def test_the_base_url_may_have_a_path(service: FakeService) -> None:
    transport = Transport(ClientSettings(url=service.url + "/finops/"))
    transport.get("/traces/ab")
    transport.close()
    assert service.asked[0].path == "/finops/api/v1/traces/ab"


def test_one_connection_serves_many_questions(service: FakeService, transport: Transport) -> None:
    for _ in range(20):
        transport.post("/decisions", {})
    assert service.connections == 1


def test_a_kept_connection_that_the_server_closed_is_replaced(service: FakeService, transport: Transport) -> None:
    service.headers = {"Connection": "close"}
    transport.post("/decisions", {})
    service.headers = {}
    transport.post("/decisions", {})
    idle, since = transport._idle.get_nowait()
    idle.sock._sock.shutdown(socket.SHUT_RDWR)  # as a server's keep-alive limit ends it
    transport._idle.put_nowait((idle, since))
    assert transport.post("/decisions", {}).ok
    assert service.connections == 3


def test_a_forked_process_leaves_its_parents_connections_alone(
    service: FakeService, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport.post("/decisions", {})
    parents = transport._idle
    monkeypatch.setattr("otel_finops.client.transport.os.getpid", lambda: -1)
    transport.post("/decisions", {})
    assert (service.connections, parents.qsize()) == (2, 1)
    parents.get_nowait()[0].close()
    transport.close()


def test_its_own_ends_of_them_are_closed(service: FakeService, transport: Transport) -> None:
    """Without a warning of the interpreter's, and the parent goes on with the same connection."""
    transport.post("/decisions", {})
    child = os.fork()
    if child == 0:
        connection = transport._idle.queue[0][0]
        transport.post("/decisions", {})
        os._exit(0 if connection.sock is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    transport.post("/decisions", {})
    assert service.connections == 2


def test_and_hangs_up_without_touching_a_lock_of_its_parent(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which another thread may have held when the process was forked."""
    transport._idle.mutex.acquire()
    with monkeypatch.context() as patch:
        patch.setattr("otel_finops.client.transport.os.getpid", lambda: -1)
        closing = threading.Thread(target=transport.close, daemon=True)
        closing.start()
        closing.join(10)
    assert not closing.is_alive()
    transport._idle.mutex.release()


def test_a_connection_that_was_not_used_for_long_is_not_trusted(
    service: FakeService, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport.post("/decisions", {})
    later(monkeypatch, 61)
    transport.post("/decisions", {})
    assert service.connections == 2


def test_refusals_are_answers(service: FakeService, transport: Transport) -> None:
    service.status = 401
    answer = transport.post("/decisions", {})
    assert (answer.ok, answer.status, answer.detail) == (False, 401, "the token is not known")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_in_trouble_is_away(service: FakeService, transport: Transport, status: int) -> None:
    service.status = status
    service.headers = {"Retry-After": "7"}
    with pytest.raises(ServiceAway, match=str(status)) as caught:
        transport.post("/decisions", {})
    assert caught.value.retry_after_s == 7


def test_a_slow_service_is_away_at_the_deadline(service: FakeService) -> None:
    service.delay_s = 5
    assert 0.25 < seconds_until_away(hurried(service)) < 3


def test_an_answer_that_drips_ends_at_the_deadline(service: FakeService) -> None:
    """Each byte comes in time; all of them would take 20 s."""
    service.drip_s = 0.1
    assert 0.25 < seconds_until_away(hurried(service)) < 3


def test_a_host_that_swallows_connections_ends_at_the_deadline() -> None:
    """A listener with a full backlog answers no further connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        assert 0.25 < seconds_until_away(Transport(ClientSettings(url=f"http://127.0.0.1:{port}", timeout_s=0.3))) < 3
        for filler in fillers:
            filler.close()


def test_a_name_look_up_that_hangs_ends_at_the_deadline(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the connection that comes too late serves the next question."""
    found = threading.Event()
    look_up = socket.getaddrinfo

    def hanging(*args: object, **options: object) -> object:
        found.wait(10)
        return look_up(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    transport = hurried(service)
    assert 0.25 < seconds_until_away(transport) < 3
    found.set()
    deadline = time.monotonic() + 5
    while not transport._idle.qsize() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert transport.post("/decisions", {}, timeout_s=20).ok
    assert service.connections == 1
    transport.close()


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(ServiceAway, match="cannot be reached: connection refused"):
        Transport(ClientSettings(url=f"http://127.0.0.1:{port}")).post("/decisions", {})


def test_no_address_is_no_question() -> None:
    with pytest.raises(ServiceAway, match="OTEL_FINOPS_URL"):
        Transport(ClientSettings()).post("/decisions", {})


def test_a_failure_is_followed_by_a_pause(service: FakeService, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slow answer costs one time-out, not one each call; it is told once, and so is the end of it."""
    caplog.set_level(logging.INFO, "otel_finops.client")
    transport = Transport(ClientSettings(url=service.url, pause_s=60.0))
    service.status = 503
    for _ in range(50):
        with pytest.raises(ServiceAway):
            transport.post("/decisions", {})
    assert len(service.asked) == 1
    service.status = 200
    later(monkeypatch, 61)
    assert transport.post("/decisions", {}).ok
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    transport.close()


def test_after_the_pause_one_finds_out_and_the_others_do_not_wait(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = Transport(ClientSettings(url=service.url, timeout_s=20, pause_s=1.0))
    service.status = 503
    with pytest.raises(ServiceAway):
        transport.post("/decisions", {})
    later(monkeypatch, 2)
    service.status, service.delay_s = 200, 0.5
    asking = threading.Thread(target=transport.post, args=("/decisions", {"the": "first"}))
    asking.start()
    while len(service.asked) < 2:
        pass
    with pytest.raises(ServiceAway, match="not asked again yet"):
        transport.post("/decisions", {})
    asking.join()
    service.delay_s = 0.0
    assert transport.post("/decisions", {}).ok
    transport.close()


def test_a_part_of_the_service_in_trouble_keeps_no_other_from_being_asked(service: FakeService) -> None:
    """Nobody is blocked because prices were asked for too often."""
    transport = Transport(ClientSettings(url=service.url, pause_s=10.0))
    service.refused = {"/api/v1/pricing/quote": 429}
    for _ in range(3):
        with pytest.raises(ServiceAway):
            transport.post("/pricing/quote", {})
        assert transport.post("/decisions", {}).ok
    assert len(service.asked) == 4
    transport.close()


def test_a_service_that_cannot_be_reached_is_away_as_a_whole(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a black hole costs one time-out for each pause, whatever is asked."""
    transport = Transport(ClientSettings(url=service.url, pause_s=60.0))
    tried = []

    def swallowed(*args: object, **options: object) -> None:
        tried.append(args)
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(socket, "create_connection", swallowed)
        for path in ("/decisions", "/pricing/quote", "/reservations/r1/settle", "/usage?limit=1"):
            with pytest.raises(ServiceAway):
                transport.get(path)
    assert len(tried) == 1
    later(monkeypatch, 61)
    assert transport.get("/usage?limit=1").ok
    assert transport.post("/decisions", {}).ok
    transport.close()


def test_what_is_no_json_is_an_answer_without_a_body(service: FakeService, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fake_service.json.dumps", lambda _: "<html>a proxy's page</html>")
    monkeypatch.setattr("otel_finops.client.transport.json.dumps", lambda *_, **__: "{}")
    assert transport.post("/decisions", {}).body == {}


class Rude:
    """Answers every connection with these bytes, over and over when `endless`, and hangs up."""

    def __init__(self, answer: bytes, *, endless: bool = False) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._answer, self._endless = answer, endless
        self.questions = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                question = b""
                while not question.endswith(b"}"):  # what was sent and is not read would reset the connection
                    question += connection.recv(65_536)
                self.questions += 1
                connection.sendall(self._answer)
                while self._endless:
                    connection.sendall(self._answer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.mark.parametrize(
    ("answer", "endless"),
    [
        (b"", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"\x00\xff" * 40_000, False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{", False),
        (b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200, True),
        (b"HTTP/1.1 503 Away\r\nRetry-After: 9e9\r\n\r\n", False),
    ],
)
def test_what_is_no_answer_at_all_is_an_absent_service(answer: bytes, endless: bool) -> None:
    rude = Rude(answer, endless=endless)
    transport = Transport(ClientSettings(url=rude.url, timeout_s=1.0, pause_s=0.0))
    began = time.monotonic()
    with pytest.raises(ServiceAway):
        transport.post("/decisions", {})
    assert time.monotonic() - began < 5
    rude.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b" " * 2_000_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"fffff\r\n" + b"[" * 0xFFFFF + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n["allow"',
    ],
)
def test_an_answer_that_breaks_off_is_too_long_or_too_deep_says_nothing(answer: bytes) -> None:
    rude = Rude(answer)
    transport = Transport(ClientSettings(url=rude.url, timeout_s=20, pause_s=0.0))
    for questions in (1, 2):
        assert transport.post("/decisions", {}).body == {}
        assert rude.questions == questions
    transport.close()
    rude.close()


def test_a_redirection_is_not_followed(service: FakeService) -> None:
    """The token would go with it."""
    rude = Rude(f"HTTP/1.1 307 Elsewhere\r\nLocation: {service.url}/api/v1/decisions\r\nContent-Length: 0\r\n\r\n".encode())
    transport = Transport(ClientSettings(url=rude.url, token="secret-1", timeout_s=20))
    assert (transport.post("/decisions", {}).status, service.asked) == (307, [])
    transport.close()
    rude.close()


def test_the_end_of_the_interpreter_is_quiet(service: FakeService) -> None:
    """Where a library keeps the transport until its modules are taken apart."""
    program = """
import sys
from otel_finops.client.settings import ClientSettings
from otel_finops.client.transport import Transport

kept = Transport(ClientSettings(url=sys.argv[1]))
kept.post("/decisions", {})
kept.cycle = kept
sys.kept = [kept]
"""
    ran = subprocess.run([sys.executable, "-c", program, service.url], capture_output=True, text=True, timeout=60, check=True)
    assert (ran.stdout, ran.stderr, len(service.asked)) == ("", "", 1)


def test_many_threads_ask_at_once(service: FakeService, transport: Transport) -> None:
    threads = [threading.Thread(target=transport.post, args=("/decisions", {"number": number})) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(body["number"] for body in service.decisions) == list(range(24))


def test_settings_come_from_the_environment() -> None:
    given = {"OTEL_FINOPS_URL": "https://finops.example:8443/", "OTEL_FINOPS_TOKEN": "t", "OTEL_FINOPS_FAIL": "Closed"}
    settings = ClientSettings.from_environment({**given, "OTEL_FINOPS_TIMEOUT": "2", "OTEL_FINOPS_PAUSE": " "})
    assert settings == ClientSettings(url="https://finops.example:8443/", token="t", fail="closed", timeout_s=2.0, pause_s=1.0)
    assert ClientSettings.from_environment({}) == ClientSettings()
    assert not ClientSettings().on
    assert "secret" not in repr(ClientSettings(token="secret"))


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("OTEL_FINOPS_URL", "127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("OTEL_FINOPS_URL", "http://user:pw@host", "must not carry"),
        ("OTEL_FINOPS_URL", "http://host:port", "is no URL"),
        ("OTEL_FINOPS_URL", "http://host/?a=b", "end with host"),
        ("OTEL_FINOPS_FAIL", "maybe", "open or closed"),
        ("OTEL_FINOPS_TIMEOUT", "500", "up to 30"),
        ("OTEL_FINOPS_TIMEOUT", "soon", "seconds"),
        ("OTEL_FINOPS_PAUSE", "-1", "from 0"),
        ("OTEL_FINOPS_TOKEN", "two words", "one word"),
    ],
)
def test_wrong_settings_are_named(variable: str, text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        ClientSettings.from_environment({variable: text})
    assert variable in str(caught.value)


def hurried(service: FakeService) -> Transport:
    """A transport that waits for 0.3 s."""
    return Transport(ClientSettings(url=service.url, timeout_s=0.3, pause_s=0.0))


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let time pass for transports."""
    now = time.monotonic
    monkeypatch.setattr("otel_finops.client.transport.time", SimpleNamespace(monotonic=lambda: now() + seconds))


def seconds_until_away(transport: Transport) -> float:
    began = time.monotonic()
    with pytest.raises(ServiceAway):
        transport.post("/decisions", {})
    return time.monotonic() - began
