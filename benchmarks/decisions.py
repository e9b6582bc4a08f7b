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
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
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


def _asked(connection: socket.socket, question: bytes) -> str:
    """The status of the answer, once all of it is there."""
    connection.sendall(question)
    read = b""
    while (end := read.find(b"\r\n\r\n")) < 0:
        read += connection.recv(65536)
    status, _, headers = read[:end].decode().partition("\r\n")
    length = next(int(line.partition(":")[2]) for line in headers.split("\r\n") if line.lower().startswith("content-length"))
    while len(read) < end + 4 + length:
        read += connection.recv(65536)
    return status.split(" ")[1]


def _run(plan: Plan, question: Callable[[Plan, int], bytes]) -> Outcome:
    """Connections take turns, each a thread, since an event loop's timers are a millisecond late; one that is late asks at once."""
    questions = [question(plan, number) for number in range(round(plan.rate * plan.seconds))]
    numbers = iter(range(len(questions)))
    start = time.perf_counter() + 0.1
    latencies: list[float] = []
    statuses: Counter[str] = Counter()

    def work() -> None:
        with socket.create_connection((plan.host, plan.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in numbers:
                due = start + number / plan.rate
                if (early := due - time.perf_counter()) > 0:
                    time.sleep(early)
                statuses[_asked(connection, questions[number])] += 1
                latencies.append((time.perf_counter() - due) * 1000)

    threads = [threading.Thread(target=work) for _ in range(plan.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
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
