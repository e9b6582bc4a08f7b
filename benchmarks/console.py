"""How soon the console's pages begin to come, and how heavy they are, over a given ledger.

    python -m benchmarks.console --database sqlite:////var/tmp/dashboard.db --rounds 50
    python -m benchmarks.console --database sqlite:////var/tmp/dashboard.db --query "range=90d" --only / /explore

Every page is asked for again and again over one connection to a service in this process, as one person's browser asks. Printed for each, as
JSON lines: p50, p95 and the slowest time to the first byte and p95 to the last one, in milliseconds; the page's own size, compressed and
not, in KB; its status. At the end the same over all pages, and the size of all files (styles, scripts) that a first visit adds. A ledger is
made by `python -m benchmarks.dashboard --rows 10000000 --keep FILE` or `otel-finops demo --history`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

_TESTS: Final = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "surfaces" / "ui" / "browser")]

from console_sites import Site, running, settings_over  # noqa: E402
from page_addresses import addresses, static_files_of  # noqa: E402

_SLOW_S: Final = 2.0


class Visit(NamedTuple):
    """One answer: seconds to its first and last byte, its status, and its bytes as sent and as shown."""

    first_s: float
    last_s: float
    status: int
    sent: int
    shown: int


def visited(client: httpx.Client, address: str) -> Visit:
    """Ask once."""
    began = time.perf_counter()
    with client.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
        first_s = time.perf_counter() - began
        shown = len(answer.read())
        return Visit(first_s, time.perf_counter() - began, answer.status_code, answer.num_bytes_downloaded, shown)


def place(values: Sequence[float], part: float) -> float:
    """A quantile in milliseconds."""
    ordered = sorted(values)
    return round(1_000 * ordered[min(len(ordered) - 1, int(len(ordered) * part))], 1)


def told(visits: Sequence[Visit]) -> dict[str, Any]:
    """What is printed of visits."""
    first = [one.first_s for one in visits]
    return {
        "times": len(visits), "p50": place(first, 0.5), "p95": place(first, 0.95), "max": place(first, 1.0),
        "whole_p95": place([one.last_s for one in visits], 0.95), "kb_sent": round(visits[-1].sent / 1024, 1),
        "kb_shown": round(visits[-1].shown / 1024, 1), "status": visits[-1].status,
    }  # fmt: skip


def measured(client: httpx.Client, address: str, rounds: int) -> list[Visit]:
    """Visits after a first one that warms up; slow pages fewer times."""
    visits = [visited(client, address)]
    wanted = rounds if visits[0].last_s < _SLOW_S else max(3, rounds // 20)
    return [visited(client, address) for _ in range(wanted)]


def report(site: Site, found: Mapping[str, str], options: argparse.Namespace) -> None:
    """Measure and print."""
    every: list[Visit] = []
    with site.client() as client:
        for path, address in found.items():
            visits = measured(
                client, address + (f"{'&' if '?' in address else '?'}{options.query}" if options.query else ""), options.rounds
            )
            every += visits
            print(json.dumps({"page": path, **told(visits), "load": round(os.getloadavg()[0], 1)}), flush=True)
        files = {file: visited(client, file) for file in static_files_of(client.get("/").text)}
    summary = told(every)
    files_kb = round(sum(one.sent for one in files.values()) / 1024, 1)
    print(json.dumps({"pages": len(found), **{name: summary[name] for name in ("times", "p50", "p95", "max")}, "files_kb_sent": files_kb}))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, help="URL of a ledger")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--only", nargs="*", help="declared paths of pages, e.g. /budgets/{no}")
    parser.add_argument("--query", default="", help="what every address says besides, e.g. range=90d")
    options = parser.parse_args()
    with running(settings_over(options.database)) as site:
        found = addresses(site)
        report(site, {path: at for path, at in found.items() if not options.only or path in options.only}, options)


if __name__ == "__main__":
    main()
