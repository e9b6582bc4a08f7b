"""CPU microseconds per span of each stage, with the service's own functions, one thread, a SQLite file in a temporary folder.

    python -m benchmarks.stages --requests 60

The stages are run one after another over the same spans, so their figures add up to what a span costs beside receiving it.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from benchmarks.payloads import Shape, build
from otel_finops.app import GC_THRESHOLDS
from otel_finops.base.clock import SystemClock
from otel_finops.base.protocols import Credential
from otel_finops.genai.dialect_loading import load_dialects
from otel_finops.genai.normalise import Normaliser
from otel_finops.genai.sighting import CALL
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.projection import Projection
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.subjects import Subjects
from otel_finops.otlp.decode import decode
from otel_finops.pricing.engine import PriceEngine
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.store.unit_of_work import Transaction
from otel_finops.store.upgrade import upgrade
from otel_finops.trees.projected import TraceFigures

_REQUESTS_PER_COMMIT: Final = 8
"""Eight senders that wait for one commit."""
_SENDER: Final = Credential()

Item = TypeVar("Item")
Result = TypeVar("Result")


class Figures(NamedTuple):
    """CPU microseconds per span; `journal_ms` and `settle_s` are wall time, of one commit and of all settling."""

    spans: int
    decode: float
    normalise: float
    quote: float
    journal: float
    settle: float
    rollups: float
    total: float
    journal_ms: float
    settle_s: float


class _Timed:
    """A projection whose CPU time is known apart."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self.seconds = 0.0

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        began = time.process_time()
        self._projection.apply(transaction, entries)
        self.seconds += time.process_time() - began


def _timed(work: Callable[[Item], Result], items: Sequence[Item]) -> tuple[list[Result], float]:
    began = time.process_time()
    results = [work(item) for item in items]
    return results, time.process_time() - began


def _groups(rows: Sequence[list[JournalRow]]) -> Iterator[list[JournalRow]]:
    for start in range(0, len(rows), _REQUESTS_PER_COMMIT):
        yield [row for batch in rows[start : start + _REQUESTS_PER_COMMIT] for row in batch]


def _bodies(requests: int, shape: Shape) -> list[bytes]:
    rng = random.Random(7)
    payloads = build(min(requests, 16), shape)
    bodies = []
    for number in range(requests):
        payload = payloads[number % len(payloads)]
        payload.renew(rng)
        bodies.append(bytes(payload.buffer))
    return bodies


def measure(requests: int, shape: Shape, folder: Path) -> Figures:
    """Carry that many requests through all stages."""
    clock, prices, normaliser = SystemClock(), PriceEngine.load(), Normaliser(load_dialects())
    store = Store.open(f"sqlite:///{folder / 'bench.db'}", clock)
    upgrade(store, automatic=True)
    bodies = _bodies(requests, shape)

    batches, decode_s = _timed(lambda body: decode(body, "protobuf", normaliser.wanted, clock.now_ns()), bodies)
    sightings, normalise_s = _timed(lambda batch: [normaliser(span, _SENDER) for span in batch.spans], batches)
    del batches
    rows, quote_s = _timed(
        lambda batch: [JournalRow(s, prices.quote(prices.priceable(s)) if s.kind == CALL else None) for s in batch], sightings
    )
    journal_s, journal_ms = _journal(store, clock, rows)
    rollups = _Timed(Rollups())
    settler = Settler(store, Leases(store, clock, "bench"), prices, [rollups], clock, trace_projections=(TraceFigures(),))
    began, began_cpu = time.perf_counter(), time.process_time()
    settler.settle_all()
    settle_cpu, settle_s = time.process_time() - began_cpu, time.perf_counter() - began
    store.close()

    spans = sum(len(batch) for batch in rows)
    stages = (decode_s, normalise_s, quote_s, journal_s, settle_cpu - rollups.seconds, rollups.seconds)
    decoding, normalising, quoting, journalling, settling, rolling = (round(seconds / spans * 1e6, 1) for seconds in stages)
    total = round(sum(stages) / spans * 1e6, 1)
    return Figures(
        spans,
        decoding,
        normalising,
        quoting,
        journalling,
        settling,
        rolling,
        total,
        journal_ms=round(journal_ms, 1),
        settle_s=round(settle_s, 2),
    )


def _journal(store: Store, clock: SystemClock, rows: Sequence[list[JournalRow]]) -> tuple[float, float]:
    """CPU seconds of all commits, and the mean wall milliseconds of one."""
    subjects, groups = Subjects(), list(_groups(rows))
    began, began_cpu = time.perf_counter(), time.process_time()
    for group in groups:
        with store.write() as transaction:
            record(transaction, group, now_ns=clock.now_ns(), settle_after_ns=0, subjects=subjects)
    return time.process_time() - began_cpu, (time.perf_counter() - began) / len(groups) * 1000


def main() -> None:
    """One JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--spans", type=int, default=512)
    parser.add_argument("--content", type=int, default=1024)
    parser.add_argument("--genai-share", type=float, default=0.5)
    options = parser.parse_args()
    shape = Shape(spans=options.spans, content_bytes=options.content, genai_share=options.genai_share)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with tempfile.TemporaryDirectory(prefix="otel-finops-stages-") as folder:
        print(json.dumps(measure(options.requests, shape, Path(folder))._asdict()))


if __name__ == "__main__":
    main()
