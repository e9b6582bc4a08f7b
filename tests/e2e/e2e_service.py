"""The real service as a process of its own: started on free ports, stopped, killed; its ledger read back by API, command line and SQL."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import grpc
import httpx
import psutil
from empty_ledgers import fill
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from otel_finops.base.clock import SystemClock
from otel_finops.ledger.verify import Report, verify
from otel_finops.store.engine import Store

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
READY_S = 60.0
_NO_TLS = ssl.create_default_context()


def http(method: str, url: str, **options: Any) -> httpx.Response:
    """One request over a connection of its own; making a TLS context for each, as httpx does, would take longer than the request."""
    return httpx.request(method, url, verify=_NO_TLS, **{"timeout": 30, **options})


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without any telemetry setting, and these of the product: `LEDGER__SETTLE_AFTER` and so on."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**env, **{f"OTEL_FINOPS_{name}": value for name, value in settings.items()}}


def eventually(done: Callable[[], Any], within_s: float = 20.0, every_s: float = 0.05) -> Any:
    """What `done` returns once that is true; fails after `within_s`."""
    give_up_at = time.monotonic() + within_s
    while not (found := done()):
        assert time.monotonic() < give_up_at, f"not within {within_s:g} s: {found!r}"
        time.sleep(every_s)
    return found


class Finished(Exception):
    """The process ended where it should have become ready."""


class Database:
    """A ledger's database, read and attacked by plain SQL, and by the command line."""

    def __init__(self, url: str) -> None:
        self.url = url

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """One statement in a transaction of its own; raises what the driver raises."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    def number(self, statement: str) -> int:
        return int(self.sql(statement)[0][0])

    def span_keys(self, table: str = "journal") -> list[tuple[bytes, bytes]]:
        """Trace and span id of every row."""
        if table == "entries":
            return [(bytes(t), bytes(s)) for t, s in self.sql("SELECT trace_id, span_id FROM entries")]
        return [(bytes(t), bytes(s)) for t, s in self.sql("SELECT trace_id, span_id FROM journal JOIN traces USING (trace_no)")]

    def due(self) -> int:
        return self.number("SELECT COUNT(*) FROM traces WHERE due_ns IS NOT NULL")

    def command(self, *words: str, code: int = 0, **settings: str) -> str:
        """Run a command on this database; returns its standard output."""
        done = run_command("--database", self.url, *words, **settings)
        assert done.returncode == code, f"{words}: exit code {done.returncode}: {done.stderr}"
        return done.stdout

    def verify(self) -> Report:
        """The verdict on the chain, which must be that all is well."""
        store = Store.open(self.url, SystemClock())
        try:
            with store.read() as transaction:
                report = verify(transaction)
        finally:
            store.close()
        assert not report.faults, report.faults
        return report

    def canonical(self) -> str:
        return self.command("ledger", "export", "--net", "--canonical")

    def entries(self) -> list[dict[str, Any]]:
        """All entries in the order of the ledger."""
        return [json.loads(line) for line in self.command("ledger", "export").splitlines()]

    def net(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.command("ledger", "export", "--net").splitlines()]

    def with_tables(self) -> Database:
        """The same with all tables, as `db upgrade` leaves an empty database."""
        fill(self.url)
        return self


def run_command(*words: str, stdin: str = "", timeout_s: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `otel-finops` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "otel_finops", *words],
        env=environment(settings), input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip


class Service:
    """`otel-finops serve` on ports of its own, which it keeps over restarts.

    Args:
        database: the URL of its ledger.
        settings: further settings, named as their variables are without the prefix.
    """

    def __init__(self, database: str, **settings: str) -> None:
        self.database = Database(database)
        self.grpc_port, self.http_port, self.web_port = free_ports(3)
        self.settings = {
            "DATABASE__URL": database,
            "OTLP__GRPC_ADDRESS": f"127.0.0.1:{self.grpc_port}",
            "OTLP__HTTP_ADDRESS": f"127.0.0.1:{self.http_port}",
            "HTTP__ADDRESS": f"127.0.0.1:{self.web_port}",
            "LEDGER__SETTLE_AFTER": "0.3",
            "DATABASE__RESERVE": "false",  # 32 MiB for every ledger would fill the tests' disk
            **settings,
        }
        self.log = ""
        """What all its runs wrote to standard error."""
        self.printed = ""
        """What they wrote to standard output."""
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    # --- its life ---

    def start(self) -> Service:
        """Start and wait until it is ready.

        Raises:
            Finished: it ended instead.
        """
        # What it writes goes through pipes, so that limits on the size of files do not touch it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "otel_finops", "serve"],
            env=environment(self.settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._readers = [threading.Thread(target=read, args=(self._process,), daemon=True) for read in (self._read_log, self._read_printed)]
        for reader in self._readers:
            reader.start()
        eventually(self._is_ready, READY_S)
        return self

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self.log += line

    def _read_printed(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.printed += line

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            self._ended()
            raise Finished(f"exit code {self._process.returncode}: {self.log}")
        return self.ready()

    def ready(self) -> bool:
        """What /readyz says now; False when it does not answer."""
        with suppress(httpx.HTTPError):
            return http("GET", f"{self.web}/readyz", timeout=5).status_code == 200
        return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def traces_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/v1/traces"

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, *, clean_log: bool = True) -> float:
        """SIGTERM; returns the seconds until its end. It must end with code 0 and must not have met a bug of its own."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        code = self._ended()
        seconds = time.monotonic() - began
        assert code == 0, f"exit code {code}: {self.log}"
        assert not clean_log or "Traceback" not in self.log, self.log
        return seconds

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self._ended()

    def _ended(self) -> int:
        assert self._process is not None
        try:
            return self._process.wait(40)
        finally:
            self._process.kill()
            self._process.wait()
            for reader in self._readers:
                reader.join(10)

    def close(self) -> None:
        """Make sure that nothing runs any more."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def memory(self) -> int:
        """Resident bytes now."""
        return int(psutil.Process(self.pid).memory_info().rss)

    # --- sending ---

    def post(self, body: bytes, headers: Mapping[str, str] = PROTOBUF, timeout_s: float = 30) -> httpx.Response:
        return http("POST", self.traces_url, content=body, headers=dict(headers), timeout=timeout_s)

    def send(self, body: bytes, headers: Mapping[str, str] = PROTOBUF) -> ExportTraceServiceResponse:
        """One protobuf request over HTTP, which must be answered OK."""
        answer = self.post(body, headers)
        assert answer.status_code == 200, (answer.status_code, answer.content)
        return ExportTraceServiceResponse.FromString(answer.content)

    def call(self, body: bytes, metadata: Sequence[tuple[str, str]] = (), timeout_s: float = 30) -> ExportTraceServiceResponse:
        """One request over gRPC; raises grpc.RpcError."""
        with self.channel() as channel:
            return export_over(channel, body, metadata, timeout_s)

    def channel(self) -> grpc.Channel:
        return open_channel(self.grpc_port)

    # --- reading back ---

    def get(self, path: str, token: str | None = None, **query: Any) -> Any:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = http("GET", f"{self.web}/api/v1/{path}", params=query, headers=headers)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.json()

    def metric(self, name: str, token: str | None = None) -> float:
        """Sum over all series of a metric."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        lines = http("GET", f"{self.web}/metrics", headers=headers).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def series(self, name: str, **labels: str) -> float:
        """One series of a metric; 0 when it is not there."""
        said = ",".join(f'{label}="{value}"' for label, value in labels.items())
        wanted = f"{name}{{{said}}}"
        found = [float(line.rsplit(" ", 1)[1]) for line in http("GET", f"{self.web}/metrics").text.splitlines() if line.startswith(wanted)]
        return found[0] if found else 0.0

    def settled(self, within_s: float = 30.0) -> Database:
        """Wait until nothing is due any more."""
        eventually(lambda: self.database.due() == 0, within_s)
        return self.database


def open_channel(port: int) -> grpc.Channel:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=options)


def export_over(
    channel: grpc.Channel, body: bytes, metadata: Sequence[tuple[str, str]] = (), timeout_s: float = 30
) -> ExportTraceServiceResponse:
    """One request over an open channel; raises grpc.RpcError."""
    answer = channel.unary_unary(EXPORT)(body, timeout=timeout_s, metadata=tuple(metadata))
    return ExportTraceServiceResponse.FromString(answer)


@contextmanager
def running(database: str, **settings: str) -> Iterator[Service]:
    """A service that is ready; killed at the end unless the test ended it."""
    service = Service(database, **settings)
    try:
        yield service.start()
    finally:
        service.close()


@contextmanager
def occupied_port() -> Iterator[int]:
    """A port that somebody else listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        yield taken.getsockname()[1]
