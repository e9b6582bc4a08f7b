"""What deciding costs: CPU microseconds and bytes per call of `decide`, and memory while many traces are open.

    python -m benchmarks.decide --traces 10000 100000

Prints one JSON line for each shape of a neighbourhood and one for each number of open traces. Open traces have no root yet; they lie in the
journal, are settled in rounds of `limits.SETTLE_SPANS_MAX` spans, and must not need more memory the more of them there are.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from otel_finops.base.clock import SystemClock
from otel_finops.genai.roles import decide
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_CLIENT, RANK_FRAMEWORK, RANK_GATEWAY, Sighting
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.subjects import Subjects
from otel_finops.pricing.engine import PriceEngine
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.store.upgrade import upgrade

_SECOND: Final = 1_000_000_000
_NOON: Final = 1_795_262_400 * _SECOND
_SPANS_PER_COMMIT: Final = 4_096
_MB: Final = 1024


def _span(trace: int, span: int, parent: int | None, at: float, *, kind: str = OTHER, scope: str = "app", **facts: Any) -> Sighting:
    start_ns = _NOON + round((at + trace % 1_000_000 / 20) * _SECOND)  # twenty traces a second
    return Sighting(
        "default", f"{trace:032x}", f"{span:016x}", None if parent is None else f"{parent:016x}", "chat gpt-4o" if kind == CALL else "work",
        start_ns, start_ns + _SECOND, kind, kind != OTHER, "shop", scope, **facts,
    )  # fmt: skip


def _call(trace: int, span: int, parent: int | None, at: float, number: int, scope: str, rank: int, **facts: Any) -> Sighting:
    prompt, output = 1_000 + (number + 7 * trace) % 4_999, 100 + (number + 11 * trace) % 701
    known: dict[str, Any] = {
        "operation": "chat", "provider": "openai", "request_model": "gpt-4o", "price_models": ("gpt-4o",), "usage_source": "reported",
        "usage": {"input_uncached": prompt, "output": output}, "input_readings": (prompt,), "usage_rule": "semconv.inclusive",
    }  # fmt: skip
    return _span(trace, span, parent, at, kind=CALL, scope=scope, rank=rank, **(known | facts))


def single(calls: int, trace: int = 1) -> Iterator[Sighting]:
    """Calls under one agent, each seen once."""
    yield _span(trace, 1, None, 0, kind=AGENT, attribution={"agent": "planner"})
    for number in range(calls):
        yield _call(trace, 10 + number, 1, number, number, "client", RANK_CLIENT, response_id=f"r{trace}-{number}")


def wrapped(calls: int, trace: int = 1) -> Iterator[Sighting]:
    """Each call seen by a framework without an answer id, and by the client's library below it."""
    yield _span(trace, 1, None, 0, kind=AGENT, attribution={"agent": "planner"})
    for number in range(calls):
        span = 10 + 2 * number
        yield _call(trace, span, 1, number, number, "framework", RANK_FRAMEWORK)
        yield _call(trace, span + 1, span, number, number, "client", RANK_CLIENT, response_id=f"r{trace}-{number}")


def gateway(calls: int, trace: int = 1) -> Iterator[Sighting]:
    """Each call seen by the client's library, and by a gateway in a trace of its own."""
    yield from single(calls, trace)
    for number in range(calls):
        facts: dict[str, Any] = {"response_id": f"r{trace}-{number}"}
        seen = _call(trace, 1, None, number + 0.1, number, "gateway", RANK_GATEWAY, **facts)
        yield seen._replace(trace_id=f"{1_000_000 * (1 + number) + trace:032x}", instance="gateway")


def twins(calls: int, trace: int = 1) -> Iterator[Sighting]:
    """Calls that are all equal and without answer ids, each seen by two libraries side by side: the most there is to pair."""
    yield _span(trace, 1, None, 0, kind=AGENT, attribution={"agent": "planner"})
    for number in range(calls):
        yield _call(trace, 10 + 2 * number, 1, number * 0.01, 0, "framework", RANK_FRAMEWORK)
        yield _call(trace, 11 + 2 * number, 1, number * 0.01, 0, "client", RANK_CLIENT)


SHAPES: Final[dict[str, Callable[[int], Iterator[Sighting]]]] = {"single": single, "wrapped": wrapped, "gateway": gateway, "twins": twins}


def deciding(shape: str, calls: int) -> dict[str, Any]:
    """Time and memory of one neighbourhood with that many calls; the best of some runs."""
    sightings = list(SHAPES[shape](calls))
    runs = max(1, 2_000 // calls)
    best = min(_timed(sightings, runs) for _ in range(3))
    tracemalloc.start()
    decisions = decide(sightings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    charged = sum(decision.role == "call" for decision in decisions)
    return {
        "shape": shape, "calls": calls, "spans": len(sightings), "charged": charged, "us_per_call": round(best / calls * 1e6, 1),
        "bytes_per_call": round(peak / calls),
    }  # fmt: skip


def _timed(sightings: Sequence[Sighting], runs: int) -> float:
    began = time.process_time()
    for _ in range(runs):
        decide(sightings)
    return (time.process_time() - began) / runs


def open_traces(traces: int, folder: Path) -> dict[str, Any]:
    """Journal that many traces without a root, then settle them; how long that took and the most memory that the process ever had."""
    clock, prices = SystemClock(), PriceEngine.load()
    store = Store.open(f"sqlite:///{folder / f'{traces}.db'}", clock)
    upgrade(store, automatic=True)
    before_mb, began = _peak_mb(), time.perf_counter()
    spans = chain.from_iterable(islice(wrapped(2, 1 + number), 1, None) for number in range(traces))
    count = 0
    while batch := list(islice(spans, _SPANS_PER_COMMIT)):
        rows = [JournalRow(s, prices.quote(prices.priceable(s))) for s in batch]
        with store.write() as transaction:
            record(transaction, rows, now_ns=clock.now_ns(), settle_after_ns=3_600 * _SECOND, subjects=Subjects())
        count += len(rows)
    journalled_mb, journalled_s = _peak_mb(), time.perf_counter() - began
    began = time.perf_counter()
    settled = Settler(store, Leases(store, clock, "bench"), prices, [Rollups()], clock).settle_all()
    settled_s = time.perf_counter() - began
    store.close()
    return {
        "open_traces": traces, "spans": count, "settled": settled, "journal_s": round(journalled_s, 1), "settle_s": round(settled_s, 1),
        "peak_rss_mb_before": before_mb, "peak_rss_mb_journalled": journalled_mb, "peak_rss_mb_settled": _peak_mb(),
    }  # fmt: skip


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _MB


def main() -> None:
    """JSON lines; the numbers of open traces should grow, as memory is the most that the process ever had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="*", default=[5, 1_000, 10_000])
    parser.add_argument("--traces", type=int, nargs="*", default=[10_000, 100_000])
    options = parser.parse_args()
    for calls in options.calls:
        for shape in SHAPES:
            print(json.dumps(deciding(shape, calls)), flush=True)
    with tempfile.TemporaryDirectory(prefix="otel-finops-decide-") as folder:
        for traces in sorted(options.traces):
            print(json.dumps(open_traces(traces, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
