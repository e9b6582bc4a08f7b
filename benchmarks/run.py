"""Measures the whole service: durable spans a second on one core, CPU per million spans, acknowledgement times, memory, settle lag.

    python -m benchmarks.run --seconds 30 --peer mlflow --mlflow-command PATH

Every server gets core 0 and the generator core 1, one after another in the same run, so that the null server and the peers are
yardsticks for the machine at that minute.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import loadgen, servers
from benchmarks.loadgen import Outcome
from benchmarks.servers import Meter, Server

_DRAIN_S: Final = 300.0
_STALLED_S: Final = 60.0
_PEER_REQUESTS: Final = 12
"""Peers are slow: a dozen requests of 512 spans take them long enough."""


class _Drain(NamedTuple):
    """What the store held once it moved no more, and how long that took after the last answer."""

    stored: int | None = None
    due: int | None = None
    seconds: float = 0.0


def measure(server: Server, options: argparse.Namespace, folder: Path, requests: int = 0) -> dict[str, Any]:
    """Run a server under load and wait until all that it acknowledged is stored and worked on."""
    plan = loadgen.plan_of(options, server.target, protocol=server.protocol, headers=server.headers, requests=requests, warm=0)
    with servers.running(server, folder / f"{server.name.split()[0].lower()}.log") as process:
        warm = loadgen.run(plan._replace(requests=2 * plan.connections, rate=0.0, seed=plan.seed + 1)).accepted_spans
        _drain(server, warm)
        meter = Meter(process.pid)
        before = meter.cpu_s()
        outcome = loadgen.run(plan)
        loaded = meter.cpu_s() - before
        drain = _drain(server, warm + outcome.accepted_spans)
        drained = meter.cpu_s() - before
        meter.stop()
    stored = None if drain.stored is None else drain.stored - warm
    return {
        "server": server.name,
        "protocol": server.protocol,
        "acknowledged_spans_per_s": round(outcome.spans_per_s),
        **_stored(server, outcome, drain._replace(stored=stored)),
        "cpu_s_per_million_until_acknowledged": _per_million(loaded, outcome),
        "cpu_s_per_million_until_drained": _per_million(drained, outcome),
        "p50_ms": outcome.p50_ms,
        "p99_ms": outcome.p99_ms,
        "max_ms": outcome.max_ms,
        **_memory(meter.rss_mb),
        "accepted_spans": outcome.accepted_spans,
        "errors": outcome.errors,
        "generator_cpu_s_per_million": _per_million(outcome.generator_cpu_s, outcome),
    }


def _drain(server: Server, wanted: int) -> _Drain:
    """Wait until the store holds the spans wanted and nothing is due, or until nothing moves any more."""
    if server.database is None:
        return _Drain()
    began = changed = time.monotonic()
    last: tuple[int, int] | None = None
    while True:
        state = servers.ask(server, server.count_sql), servers.ask(server, server.due_sql) if server.due_sql else 0
        now = time.monotonic()
        if state != last:
            last, changed = state, now
        if (state[0] >= wanted and state[1] == 0) or now - began > _DRAIN_S or now - changed > _STALLED_S:
            return _Drain(*state, now - began)
        time.sleep(0.2)


def _stored(server: Server, outcome: Outcome, drain: _Drain) -> dict[str, Any]:
    """Rates of what was really in the store. A server with `due_sql` acknowledges after its commit, the others are given until it shows."""
    if drain.stored is None:
        return {}
    later = 0.0 if server.due_sql else drain.seconds
    durable = {
        "stored_spans": drain.stored,
        "durable_spans_per_s": round(min(drain.stored, outcome.accepted_spans) / (outcome.wall_s + later)),
    }
    if not server.due_sql:
        return durable
    booked = round(outcome.accepted_spans / (outcome.wall_s + drain.seconds)) if drain.due == 0 else None
    return {**durable, "booked_spans_per_s": booked, "settle_lag_s": round(drain.seconds, 1), "traces_still_due": drain.due}


def _memory(rss_mb: list[float]) -> dict[str, Any]:
    if not rss_mb:
        return {}
    third = max(1, len(rss_mb) // 3)
    first, last = statistics.median(rss_mb[:third]), statistics.median(rss_mb[-third:])
    return {"rss_mb_first_third": round(first), "rss_mb_last_third": round(last), "rss_mb_peak": round(max(rss_mb))}


def _per_million(seconds: float, outcome: Outcome) -> float:
    return round(seconds / max(1, outcome.accepted_spans) * 1e6, 1)


def _peers(options: argparse.Namespace, folder: Path) -> list[Server]:
    found = []
    for name in options.peer:
        command = getattr(options, f"{name}_command")
        if servers.is_executable(command):
            (folder / name).mkdir()
            found.append(servers.PEERS[name](folder / name, command))
        else:
            print(f"SKIPPED: {name} is not installed ({command} is not executable)", file=sys.stderr)
    return found


def _forwarding(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The same load with a null server as next hop, on the generator's core, so that what it costs is not counted."""
    (folder / "forwarding").mkdir()
    hop = servers.null_server(folder)
    with servers.running(hop, folder / "hop.log") as process:
        os.sched_setaffinity(process.pid, {servers.GENERATOR_CORE} & os.sched_getaffinity(0) or os.sched_getaffinity(0))
        return measure(servers.forwarding(folder / "forwarding", hop.target, options.protocol), options, folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    loadgen.add_options(parser)
    parser.add_argument("--protocol", choices=("grpc", "http"), default="grpc", help="for otel-finops")
    parser.add_argument("--peer", action="append", default=[], choices=sorted(servers.PEERS))
    parser.add_argument("--mlflow-command", default="mlflow")
    parser.add_argument("--phoenix-command", default="phoenix")
    parser.add_argument("--peer-requests", type=int, default=_PEER_REQUESTS)
    parser.add_argument("--forward", action="store_true", help="measure otel-finops in front of a next hop too: a null server on core 1")
    parser.add_argument("--only-null", action="store_true", help="measure the null server alone")
    return parser.parse_args()


def main() -> None:
    """One JSON line for each server."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="otel-finops-bench-") as name:
        folder = Path(name)
        print(json.dumps(measure(servers.null_server(folder), options, folder)), flush=True)
        if not options.only_null:
            print(json.dumps(measure(servers.otel_finops(folder, options.protocol), options, folder)), flush=True)
        if options.forward:
            print(json.dumps(_forwarding(options, folder)), flush=True)
        for peer in _peers(options, folder):
            print(json.dumps(measure(peer, options, folder, options.peer_requests)), flush=True)


if __name__ == "__main__":
    main()
