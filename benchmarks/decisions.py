"""Asks a service for decisions at a steady rate and measures how long they take, beside a route that does nothing.

    python -m benchmarks.decisions --rate 500 --seconds 20

Open loop: every question has a time at which it is to be asked, and its latency counts from that time, so that a service that stalls
is not flattered by questions that were never asked. The yardstick is `/healthz` of the same process, asked in the same way: no thread,
no database, the same server and the same machine at that minute.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import sys
import tempfile
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from benchmarks import servers
from benchmarks.servers import Meter, Server

_WARM_S: Final = 2.0
_HEAD: Final = "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n"


class Plan(NamedTuple):
    """What to ask.

    Attributes:
        host, port: of the service's web side.
        rate: questions a second.
        seconds: for how long.
        connections: at most so many at a time.
        users: different users that ask.
    """

    host: str
    port: int
    rate: float
    seconds: float
    connections: int = 32
    users: int = 100


class Outcome(NamedTuple):
    """What came of it; latencies in milliseconds from the time at which each was to be asked."""

    answered: int
    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    statuses: dict[str, int]


def decision(plan: Plan, number: int) -> bytes:
    """A question for a decision, each of its own trace."""
    body = json.dumps(
        {
            "provider": "openai", "model": "gpt-4o", "input_tokens": 1000, "max_output_tokens": 100, "agent": "planner",
            "user": f"user-{number % plan.users}", "trace_id": f"{number + 1:032x}", "tenant": "acme",
        }
    ).encode()  # fmt: skip
    more = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return _HEAD.format(method="POST", path="/api/v1/decisions", host=plan.host, more=more).encode() + body


def nothing(plan: Plan, number: int) -> bytes:
    """A question that costs the service nothing but the answering."""
    return _HEAD.format(method="GET", path="/healthz", host=plan.host, more="").encode()


class _Line:
    """A connection, and what it is at: nothing, or the answer to a question that was due at some moment."""

    def __init__(self, plan: Plan) -> None:
        self.socket = socket.create_connection((plan.host, plan.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._read = b""

    def ask(self, question: bytes, due: float) -> None:
        """Questions are short: they fit into an empty socket's buffer."""
        self.due = due
        self._read = b""
        self.socket.sendall(question)

    def answered(self) -> str | None:
        """The status, once all of the answer is there."""
        self._read += self.socket.recv(65536)
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return None
        status, _, headers = self._read[:end].decode().partition("\r\n")
        length = next(int(line.partition(":")[2]) for line in headers.split("\r\n") if line.lower().startswith("content-length"))
        return status.split(" ")[1] if len(self._read) >= end + 4 + length else None


def _run(plan: Plan, question: Callable[[Plan, int], bytes]) -> Outcome:
    """One thread that never sleeps: timers are late, and threads wait for each other, both by as much as is measured here."""
    questions = deque(question(plan, number) for number in range(round(plan.rate * plan.seconds)))
    count = len(questions)
    lines = [_Line(plan) for _ in range(plan.connections)]
    free, waiting = deque(lines), select.epoll()
    by_number = {line.socket.fileno(): line for line in lines}
    for number in by_number:
        waiting.register(number, select.EPOLLIN)
    latencies: list[float] = []
    statuses: Counter[str] = Counter()
    start = time.perf_counter() + 0.1
    while len(latencies) < count:
        now = time.perf_counter()
        while questions and free and (due := start + (count - len(questions)) / plan.rate) <= now:
            free.popleft().ask(questions.popleft(), due)
        for number, _ in waiting.poll(0):
            line = by_number[number]
            if (status := line.answered()) is not None:
                statuses[status] += 1
                latencies.append((time.perf_counter() - line.due) * 1000)
                free.append(line)
    took = time.perf_counter() - start
    waiting.close()
    for line in lines:
        line.socket.close()
    latencies.sort()
    p50, p99 = (latencies[min(len(latencies) - 1, round(len(latencies) * part))] for part in (0.5, 0.99))
    return Outcome(len(latencies), len(latencies) / took, p50, p99, latencies[-1], dict(statuses))


def run(plan: Plan, question: Callable[[Plan, int], bytes]) -> Outcome:
    """Ask, after a short while that does not count."""
    _run(plan._replace(seconds=_WARM_S), question)
    return _run(plan, question)


def _post(server: Server, path: str, body: dict[str, Any]) -> None:
    url = server.ready_url.replace("/readyz", f"/api/v1/{path}")
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=30).close()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A service of its own, with so many budgets for the calls and others beside them."""
    server = servers.otel_finops(folder)
    environment = {**server.environment, "OTEL_FINOPS_ENFORCEMENT__MODE": "enforce", "OTEL_FINOPS_LOG__LEVEL": "warning"}
    if options.database:
        environment["OTEL_FINOPS_DATABASE__URL"] = options.database
    server = server._replace(environment=environment)
    address = server.ready_url.split("/")[2]
    host, _, port = address.rpartition(":")
    plan = Plan(host, int(port), options.rate, options.seconds)
    with servers.running(server, folder / "serve.log") as process:
        if options.all_cores:
            for thread in psutil.Process(process.pid).threads():
                os.sched_setaffinity(thread.id, range(os.cpu_count() or 1))
        for number in range(options.budgets):
            scope = {} if number == 0 else {"tenant": "acme"} if number == 1 else {"user": f"user-{number}"}
            _post(server, "budgets", {"name": f"budget {number}", "scope": scope, "amount": "100000", "hard": True})
        null = run(plan, nothing)
        meter = Meter(process.pid)
        before = meter.cpu_s()
        found = run(plan, decision)
        cpu_s = meter.cpu_s() - before
        meter.stop()
    return {
        "rate": options.rate,
        "budgets": options.budgets,
        "decisions": found._asdict(),
        "null": null._asdict(),
        "p99_ratio": round(found.p99_ms / null.p99_ms, 2),
        "cpu_ms_each": round(1000 * cpu_s / (found.answered + options.rate * _WARM_S), 3),
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=500.0, help="questions a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--budgets", type=int, default=0, help="hard budgets: one for all, one for the tenant, the rest for single users")
    parser.add_argument("--all-cores", action="store_true", help="the service may use all of them")
    parser.add_argument("--database", default="", help="another database than a SQLite file of its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        json.dump(measure(options, Path(folder)), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
