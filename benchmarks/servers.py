"""Servers under test: how each is started, when it is ready, and how many spans its store holds."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

SERVER_CORE: Final = 0
GENERATOR_CORE: Final = 1
_READY_S: Final = 120.0
_SAMPLE_S: Final = 0.5


class Server(NamedTuple):
    """How to run a server.

    Attributes:
        name: for the report.
        command, environment: what is started.
        target: host:port of its OTLP listener.
        ready_url: answers below 500 when it is ready; "" when an open port is enough.
        protocol: grpc or http.
        headers: that its listener wants.
        database: SQLite file of its store; None without one.
        count_sql: how many spans are stored.
        due_sql: how many traces wait to be worked on; "" when everything is done at once.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    target: str
    ready_url: str = ""
    protocol: str = "grpc"
    headers: tuple[tuple[str, str], ...] = ()
    database: Path | None = None
    count_sql: str = ""
    due_sql: str = ""


def free_port() -> int:
    """A port that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def null_server(folder: Path) -> Server:
    target = f"127.0.0.1:{free_port()}"
    return Server("null gRPC server", [sys.executable, "-m", "benchmarks.null_server", target], {}, target)


def otel_finops(folder: Path, protocol: str = "grpc") -> Server:
    grpc_port, http_port, page_port = free_port(), free_port(), free_port()
    database = folder / "otel-finops.db"
    environment = {
        "OTEL_FINOPS_DATABASE__URL": f"sqlite:///{database}",
        "OTEL_FINOPS_OTLP__GRPC_ADDRESS": f"127.0.0.1:{grpc_port}",
        "OTEL_FINOPS_OTLP__HTTP_ADDRESS": f"127.0.0.1:{http_port}",
        "OTEL_FINOPS_HTTP__ADDRESS": f"127.0.0.1:{page_port}",
    }
    return Server(
        "otel-finops",
        [sys.executable, "-m", "otel_finops", "serve"],
        environment,
        f"127.0.0.1:{grpc_port if protocol == 'grpc' else http_port}",
        f"http://127.0.0.1:{page_port}/readyz",
        protocol,
        database=database,
        count_sql="SELECT COUNT(*) FROM journal",
        due_sql="SELECT COUNT(*) FROM traces WHERE due_ns IS NOT NULL",
    )


def forwarding(folder: Path, hop: str, protocol: str = "grpc") -> Server:
    """otel-finops in front of a next hop (host:port of an OTLP/gRPC server)."""
    server = otel_finops(folder, protocol)
    onward = {"OTEL_FINOPS_FORWARD__ENDPOINT": hop, "OTEL_FINOPS_FORWARD__COMPRESSION": "none"}
    return server._replace(name="otel-finops, spans travel on", environment={**server.environment, **onward})


def mlflow(folder: Path, executable: str = "mlflow") -> Server:
    port, database = free_port(), folder / "mlflow.db"
    command = [
        executable,
        "server",
        "--workers",
        "1",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--backend-store-uri",
        f"sqlite:///{database}",
    ]
    return Server(
        "MLflow",
        command,
        {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        f"127.0.0.1:{port}",
        f"http://127.0.0.1:{port}/health",
        "http",
        (("x-mlflow-experiment-id", "0"),),
        database,
        "SELECT COUNT(*) FROM spans",
    )


def phoenix(folder: Path, executable: str = "phoenix") -> Server:
    port, grpc_port = free_port(), free_port()
    environment = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    return Server(
        "Phoenix",
        [executable, "serve"],
        environment,
        f"127.0.0.1:{grpc_port}",
        f"http://127.0.0.1:{port}/healthz",
        database=folder / "phoenix.db",
        count_sql="SELECT COUNT(*) FROM spans",
    )


PEERS: Final[dict[str, Callable[[Path, str], Server]]] = {"mlflow": mlflow, "phoenix": phoenix}


def is_executable(command: str) -> bool:
    return shutil.which(command) is not None


def ask(server: Server, sql: str) -> int:
    """A number from the server's store, by a reader of our own; -1 when the store does not answer."""
    try:
        with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True, timeout=30)) as connection:
            return int(connection.execute(sql).fetchone()[0])
    except sqlite3.OperationalError:
        return -1


class Meter:
    """CPU time and resident memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self.rss_mb: list[float] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def cpu_s(self) -> float:
        """User and system time so far; children that ended are in their parent's time only if it waited for them."""
        times = [process.cpu_times() for process in self._tree()]
        return sum(t.user + t.system for t in times)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _tree(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            try:
                self.rss_mb.append(sum(process.memory_info().rss for process in self._tree()) / 1e6)
            except psutil.NoSuchProcess:
                continue


@contextmanager
def running(server: Server, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server on its core, ready; ended on leaving, with its children."""
    own = os.sched_getaffinity(0)
    with log.open("wb") as output:
        os.sched_setaffinity(0, {SERVER_CORE} & own or own)
        try:
            process = subprocess.Popen(
                server.command, env={**os.environ, **server.environment}, stdout=output, stderr=output, start_new_session=True
            )
        finally:
            os.sched_setaffinity(0, {GENERATOR_CORE} & own or own)
        try:
            _wait_until_ready(server, process, log)
            yield process
        finally:
            _end(process)
            os.sched_setaffinity(0, own)


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(
                f"{server.name} ended with code {process.returncode}; the end of its log: {log.read_text(errors='replace')[-800:]}"
            )
        if _is_ready(server):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{server.name} was not ready within {_READY_S:.0f} s")


def _is_ready(server: Server) -> bool:
    host, _, port = server.target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        if server.ready_url:
            urllib.request.urlopen(server.ready_url, timeout=5).close()
    except (OSError, urllib.error.URLError):
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    for member in tree:
        _signal(member.terminate)
    _, alive = psutil.wait_procs(tree, timeout=10)
    for member in alive:
        _signal(member.kill)
    process.wait()


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return
