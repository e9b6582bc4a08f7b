"""How long what-if and routing take over a large ledger, and that they come to what single quotes come to.

    python -m benchmarks.whatif --rows 200000 --keep /var/tmp/whatif.db

The ledger is that of `benchmarks.dashboard`. Printed are seconds and CPU microseconds for each call: reading alone, one other model,
another cache-hit rate, and five candidates of a routing rule; then whether the projected sum is that of every call quoted by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks.dashboard import NOW_NS, build
from otel_finops.insight.repricing import Repricings
from otel_finops.insight.traffic import Piece, Selection, read_pieces
from otel_finops.insight.whatif import Change, otherwise
from otel_finops.pricing.engine import PriceEngine
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

ALL = Selection(None, 0, NOW_NS)
OTHER = Change("openai", "gpt-4o-mini")
CANDIDATES = tuple(Change("openai", model) for model in ("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "o3-mini"))


def timed(what: str, work: Callable[[], int]) -> None:
    """Print how long some work took; it returns how many calls it was about."""
    wall, cpu = time.perf_counter(), time.process_time()
    calls = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    said = {"calls": calls, "seconds": round(wall, 2), "cpu_us_a_call": round(cpu / calls * 1e6, 2), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({"what": what, **said}), flush=True)


def pieces(store: Store) -> list[Piece]:
    """All calls of the ledger."""
    with store.read() as transaction:
        return [one.piece for one in read_pieces(transaction, ALL)]


def one_by_one(engine: PriceEngine, all_pieces: list[Piece]) -> int:
    """The sum of single quotes of all calls that have a price as recorded, pico-USD."""
    total = 0
    for piece in all_pieces:
        kinds = [otherwise(engine, facts, OTHER) for facts in piece.kinds]
        for row, number in enumerate(piece.kind):
            usage = {unit: column[row] for unit, column in piece.usage.items() if column[row]}
            cost = engine.quote(kinds[number]._replace(usage=usage, at_ns=piece.at_ns[row])).cost_pico
            total += (cost or 0) if piece.cost_pico[row] is not None else 0
    return total


def measure(store: Store, engine: PriceEngine) -> None:
    """Print all of it."""
    repricings = Repricings(store, lambda: engine, seconds_max=3_600)

    def asked(*changes: Change) -> Any:
        return repricings.run(ALL, changes).compared

    timed("read", lambda: sum(len(piece.kind) for piece in pieces(store)))
    timed("another model", lambda: int(asked(OTHER).total.calls))
    timed("another cache-hit rate", lambda: int(asked(Change(cache_hit_rate=Fraction(8, 10))).total.calls))
    timed("five candidates", lambda: int(asked(*CANDIDATES).total.calls))
    projected, single = asked(OTHER).total.projected[0], one_by_one(engine, pieces(store))
    print(json.dumps({"projected_pico": projected, "single_quotes_pico": single, "equal": projected == single}))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--keep", help="where the SQLite ledger is kept, or is already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{options.keep or Path(folder, 'ledger.db')}"
        build(url, options.rows)
        store = Store.open(url, FakeClock(NOW_NS), create=False)
        try:
            measure(store, PriceEngine.load())
        finally:
            store.close()


if __name__ == "__main__":
    main()
