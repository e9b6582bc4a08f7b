"""Keeps the service at a rated load for long and looks whether anything grows that should not.

    python -m benchmarks.soak --minutes 60 --rate 1000

Prints one JSON line: how fast resident memory grew (MB in ten minutes, a straight line through all samples after the first fifth, when
caches have filled), file descriptors and threads at the beginning and at the end, and whether every span is accounted for:
received = journalled + duplicates + ignored + rejected, and received = sent. Exit code 1 when memory grows by more than 1 MB in ten
minutes (only judged from ten minutes on), descriptors or threads grow, or spans are not accounted for.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from benchmarks import loadgen, servers
from benchmarks.loadgen import Plan
from benchmarks.payloads import Shape

SLOPE_MAX: Final = 1.0
"""MB in ten minutes."""
JUDGED_FROM_MINUTES: Final = 10.0
DESCRIPTORS_MORE_MAX: Final = 8
"""Readers' connections to the database that the load opened and keeps."""
THREADS_MORE_MAX: Final = 2
_SETTLED_SHARE: Final = 0.2
_SAMPLES: Final = 400
_COUNTED: Final = ("finops_received_spans_total", "finops_journalled_spans_total", "finops_duplicate_spans_total",
                   "finops_ignored_spans_total", "finops_rejected_spans_total")  # fmt: skip


class Sample(NamedTuple):
    """What the process had at one moment."""

    at_s: float
    rss_mb: float
    descriptors: int
    threads: int


class Watcher:
    """Samples a process in a thread of its own."""

    def __init__(self, pid: int, every_s: float) -> None:
        self.samples: list[Sample] = []
        self._process = psutil.Process(pid)
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> list[Sample]:
        """The samples."""
        self._stop.set()
        self._thread.join()
        return self.samples

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(self._every_s):
            process = self._process
            with process.oneshot():
                memory = process.memory_info().rss / 1e6
                self.samples.append(Sample(time.monotonic() - began, memory, process.num_fds(), process.num_threads()))


def slope_mb_per_10_min(samples: Sequence[Sample]) -> float:
    """Least squares over the samples."""
    mean_t = sum(sample.at_s for sample in samples) / len(samples)
    mean_m = sum(sample.rss_mb for sample in samples) / len(samples)
    spread = sum((sample.at_s - mean_t) ** 2 for sample in samples)
    together = sum((sample.at_s - mean_t) * (sample.rss_mb - mean_m) for sample in samples)
    return 600.0 * together / spread if spread else 0.0


def settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Without those of the beginning."""
    return samples[int(len(samples) * _SETTLED_SHARE) :]


def counts(metrics_url: str) -> dict[str, int]:
    """Spans by fate, as the service counts them."""
    with urllib.request.urlopen(metrics_url, timeout=30) as answer:  # an address of our own
        lines = answer.read().decode().splitlines()
    found = dict.fromkeys(_COUNTED, 0)
    for line in lines:
        name = line.split("{")[0].split(" ")[0]
        if name in found:
            found[name] += int(float(line.rsplit(" ", 1)[1]))
    return found


def identity_holds(said: dict[str, int], sent: int) -> bool:
    """Every span that was sent is accounted for, once."""
    received, *fates = (said[name] for name in _COUNTED)
    return received == sum(fates) == sent


def soak(minutes: float, plan: Plan, folder: Path) -> dict[str, Any]:
    """Run the service under load and tell how it fared."""
    server = servers.otel_finops(folder)
    plan = plan._replace(target=server.target, seconds=60 * minutes)
    with servers.running(server, folder / "soak.log") as process:
        watcher = Watcher(process.pid, max(0.25, 60 * minutes / _SAMPLES))
        outcome = loadgen.run(plan)
        samples = settled(watcher.stop())
        _until_settled(server)
        said = counts(server.ready_url.replace("/readyz", "/metrics"))
        due = servers.ask(server, server.due_sql)
    first, last = samples[0], samples[-1]
    return {
        "minutes": minutes,
        "spans_sent": outcome.accepted_spans + outcome.warm_spans,
        "spans_per_s": round(outcome.spans_per_s),
        "p99_ms": outcome.p99_ms,
        "errors": outcome.errors,
        "rss_mb": [round(first.rss_mb, 1), round(last.rss_mb, 1)],
        "rss_slope_mb_per_10_min": round(slope_mb_per_10_min(samples), 2),
        "descriptors": [first.descriptors, last.descriptors],
        "threads": [first.threads, last.threads],
        "counts": said,
        "identity_holds": identity_holds(said, outcome.accepted_spans + outcome.warm_spans),
        "traces_not_settled": due,
    }


def _until_settled(server: servers.Server) -> None:
    give_up_at = time.monotonic() + 60
    while servers.ask(server, server.due_sql) != 0 and time.monotonic() < give_up_at:
        time.sleep(0.5)


def faults(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    wrong = []
    if found["minutes"] >= JUDGED_FROM_MINUTES and found["rss_slope_mb_per_10_min"] > SLOPE_MAX:
        wrong.append("memory grows")
    if found["descriptors"][1] > found["descriptors"][0] + DESCRIPTORS_MORE_MAX:
        wrong.append("file descriptors grow")
    if found["threads"][1] > found["threads"][0] + THREADS_MORE_MAX:
        wrong.append("threads grow")
    if not found["identity_holds"] or found["traces_not_settled"]:
        wrong.append("spans are not accounted for")
    return wrong


def main() -> int:
    """One soak, one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=1000.0, help="spans a second")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--spans", type=int, default=64, help="per request")
    options = parser.parse_args()
    plan = Plan("", connections=options.connections, rate=options.rate, shape=Shape(spans=options.spans))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        found = soak(options.minutes, plan, Path(folder))
    found["faults"] = faults(found)
    print(json.dumps(found))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
