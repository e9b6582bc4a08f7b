"""Seconds, bytes and memory of exports of a large ledger, by the API of a running service.

    python -m benchmarks.exports --rows 1000000 --keep /var/tmp/large.db
    python -m benchmarks.exports --database postgresql+psycopg://user@host/empty --rows 1000000

A ledger of made-up rows is written first (nothing is settled: the rows go through the ledger's own writer), then `otel-finops serve` runs
on it and every export is read to its end. Growth is that of the service's resident memory beyond what it had after a first export of each
format of a thousandth of the rows, so that libraries which are loaded once do not count. The machine's load stands beside each figure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import psutil

from benchmarks.servers import free_port
from otel_finops.base.clock import SystemClock
from otel_finops.base.times import format_ns
from otel_finops.ledger.append import append
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.shards import lease_name, shard_of
from otel_finops.pricing.quote import CostLine
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.store.upgrade import upgrade

REALM: Final = "default"
BLOCK_ROWS: Final = 5_000
CALLS_PER_TRACE: Final = 5
TENANTS: Final = ("acme", "globex", "initech")
FROM_NS: Final = 1_767_225_600_000_000_000
"""2026-01-01."""
STEP_NS: Final = 20_000_000
EXPORTS: Final = ("usage/export", "ledger/export?net=true")
_SAMPLE_S: Final = 0.1
_READY_S: Final = 60


def call(number: int) -> Entry:
    """A call of a few cents with what real ones say; the numbers make ids, tenants and amounts."""
    trace = number // CALLS_PER_TRACE
    uncached, output = 500 + number % 4_000, 50 + number % 700
    lines = (
        CostLine("input_uncached", uncached, "0.0000025", uncached * 2_500_000),
        CostLine("output", output, "0.00001", output * 10_000_000),
    )
    return Entry(
        "charge", REALM, TENANTS[trace % len(TENANTS)], f"{trace + 1:032x}", f"{number + 1:016x}", f"{trace + 1:016x}", "call",
        FROM_NS + number * STEP_NS, trace + 1, role_rule="call.single", operation="chat", provider="openai", request_model="gpt-4o",
        response_model="gpt-4o-2024-08-06", usage={"input_uncached": uncached, "output": output}, usage_source="reported",
        usage_rule="semconv.inclusive", streaming=bool(number % 2), cost_pico=sum(line.amount_pico for line in lines), cost_lines=lines,
        cost_method="computed", price_key="gpt-4o-2024-08-06", price_match="exact", price_version="0123456789abcdef",
        agent=f"agent-{trace % 40}", step=f"step {number % 9}", user=f"{trace % 5000:024x}", session=f"{trace % 20000:024x}",
        cost_center="growth", service="shop", environment="production", duration_ns=750_000_000 + number % 1_000_000,
        tags={"ticket": f"T-{trace % 1000}"},
    )  # fmt: skip


def build(url: str, rows: int) -> None:
    """Write the ledger, unless it is there already."""
    clock = SystemClock()
    store = Store.open(url, clock)
    upgrade(store)
    with store.read() as transaction:
        if transaction.execute("SELECT 1 FROM blocks LIMIT 1"):
            store.close()
            return
    lease = Leases(store, clock, "benchmark").acquire(lease_name(shard_of(REALM)), ttl_s=3_600)
    assert lease is not None
    began = time.monotonic()
    for first in range(0, rows, BLOCK_ROWS):
        entries = [call(number) for number in range(first, min(first + BLOCK_ROWS, rows))]
        traces = [_trace(number // CALLS_PER_TRACE) for number in range(first, first + len(entries), CALLS_PER_TRACE)]
        with store.write() as transaction:
            transaction.write_values(
                "INSERT INTO traces (trace_no, realm, trace_id, shard, first_seen_ns, version, has_genai, has_root, booked, "
                "pending_pico, pending_calls) VALUES",
                traces,
            )
            append(transaction, lease, entries, (), clock.now_ns())
    lease.release()
    store.close()
    print(f"built {rows:,} rows in {time.monotonic() - began:.0f} s", file=sys.stderr)


def _trace(number: int) -> tuple[Any, ...]:
    return number + 1, REALM, (number + 1).to_bytes(16, "big"), shard_of(REALM), FROM_NS, 1, True, True, True, 0, 0


@contextmanager
def served(url: str, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The service on this ledger; yields where its API is, and its process."""
    port = free_port()
    environment = {
        "OTEL_FINOPS_DATABASE__URL": url,
        "OTEL_FINOPS_OTLP__GRPC_ADDRESS": "",
        "OTEL_FINOPS_OTLP__HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        "OTEL_FINOPS_HTTP__ADDRESS": f"127.0.0.1:{port}",
    }
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "otel_finops", "serve"], env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/readyz")
            yield f"http://127.0.0.1:{port}/api/v1/", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_ready(url: str) -> None:
    give_up_at = time.monotonic() + _READY_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.2)
        else:
            return


class Highest:
    """Samples a process's resident memory until it is told to stop."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._stop = threading.Event()
        self.first = self.highest = process.memory_info().rss
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self.highest = max(self.highest, self._process.memory_info().rss)

    def stop(self) -> int:
        """By how many bytes it grew at most."""
        self._stop.set()
        self._thread.join()
        return self.highest - self.first


def read(url: str) -> int:
    """Read an answer to its end; returns its bytes."""
    size = 0
    with urllib.request.urlopen(url, timeout=600) as answer:
        while piece := answer.read(1 << 20):
            size += len(piece)
    return size


def measure(api: str, process: psutil.Process, path: str, form: str) -> dict[str, Any]:
    """One export in one format."""
    memory, cpu = Highest(process), process.cpu_times()
    began = time.monotonic()
    size = read(f"{api}{path}{'&' if '?' in path else '?'}format={form}")
    seconds, used = time.monotonic() - began, process.cpu_times()
    return {
        "export": path,
        "format": form,
        "seconds": round(seconds, 1),
        "cpu_s": round(used.user + used.system - cpu.user - cpu.system, 1),
        "mb": round(size / 1e6, 1),
        "rss_growth_mb": round(memory.stop() / 1e6, 1),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Build, serve, measure, print one JSON line for each export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", help="an empty database, or one that this wrote before; a SQLite file when not given")
    parser.add_argument("--keep", type=Path, help="where the SQLite file stays for the next run")
    parser.add_argument("--formats", nargs="+", default=["jsonl", "csv", "parquet"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.database or f"sqlite:///{options.keep or Path(folder) / 'large.db'}"
        build(url, options.rows)
        few = urlencode({"from": format_ns(FROM_NS), "to": format_ns(FROM_NS + options.rows // 1_000 * STEP_NS)})
        with served(url, Path(folder)) as (api, process):
            for form in options.formats:
                read(f"{api}usage/export?{few}&format={form}")
            for path in EXPORTS:
                for form in options.formats:
                    print(json.dumps(measure(api, process, path, form)), flush=True)


if __name__ == "__main__":
    main()
