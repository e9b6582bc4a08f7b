"""A ledger in one hand: journal, settler and reader over one store, with a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from otel_finops.genai.sighting import CALL, OTHER, RANK_CLIENT, Sighting
from otel_finops.ledger.booking import NO_RULES
from otel_finops.ledger.bound_rules import Rules
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.export import LedgerExport
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.reader import LedgerReader
from otel_finops.ledger.recent import RecentTraces
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.rows import COLUMN_LIST, entry_of
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.standing import fold
from otel_finops.ledger.subjects import Subjects
from otel_finops.pricing.engine import PriceEngine
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.testing import NOON, CountingIds, FakeClock
from otel_finops.trees.projected import TraceFigures

PRICES = PriceEngine.load()
SECOND = 1_000_000_000
CENT = 10**10
"""One US cent in pico-USD."""


class Rig:
    """Everything that settling needs, over one store."""

    def __init__(self, store: Store, engine: Any = PRICES, holder: str = "test", cascade: Rules = NO_RULES) -> None:
        self.store = store
        self.clock = FakeClock()
        self.leases = Leases(store, self.clock, holder)
        self.subjects = Subjects(CountingIds())
        self.rollups = Rollups()
        self.figures = TraceFigures()
        self.recent = RecentTraces()
        self.reader = LedgerReader(store, self.subjects)
        self.export = LedgerExport(store, self.subjects)
        self.use(engine, cascade)

    def use(self, engine: Any, cascade: Rules = NO_RULES) -> None:
        """Go on with other prices and rules."""
        projections, sleep, recent = [self.rollups], self.clock.advance, self.recent
        self.settler = Settler(
            self.store, self.leases, engine, projections, self.clock, sleep=sleep, cascade=cascade, recent=recent,
            trace_projections=[self.figures],
        )  # fmt: skip

    def send(self, *sightings: Sighting) -> None:
        """Journal one delivery."""
        rows = [JournalRow(sighting, PRICES.quote(PRICES.priceable(sighting)) if sighting.kind == CALL else None) for sighting in sightings]
        with self.store.write() as transaction:
            now_ns = self.clock.now_ns()
            record(transaction, rows, now_ns=now_ns, settle_after_ns=5 * SECOND, subjects=self.subjects, recent=self.recent)

    def settle(self, *sightings: Sighting) -> list[Entry]:
        """Journal a delivery, settle everything, and return what was booked by it."""
        before = len(self.entries())
        if sightings:
            self.send(*sightings)
        self.clock.advance(1)
        self.settler.settle_all()
        return self.entries()[before:]

    def entries(self) -> list[Entry]:
        """All entries, in the order in which they were booked."""
        with self.store.read() as transaction:
            rows = transaction.execute(f"SELECT {COLUMN_LIST} FROM entries ORDER BY recorded_ns, shard, idx")
        return [entry_of(row) for row in rows]

    def total(self) -> int:
        """Sum of all money ever booked, pico-USD."""
        return sum(entry.cost_pico or 0 for entry in self.entries())

    def net(self) -> dict[str, Entry]:
        """What stands, by span id."""
        return {entry.span_id: entry for entry in fold(self.entries()).values()}

    def canonical(self) -> list[dict[str, Any]]:
        """The canonical dump, read back."""
        return json.loads(json.dumps(all_of(self.export.canonical(None))))  # type: ignore[no-any-return]

    def spent(self, **filters: str) -> int:
        """Spend by roll-ups, pico-USD."""
        return self.reader.spend(None, filters={name: (value,) for name, value in filters.items()}).total_pico


def all_of(batches: Iterable[Iterable[Any]]) -> list[Any]:
    """What all batches hold."""
    return [row for batch in batches for row in batch]


def trace_id(number: int) -> str:
    """A trace id."""
    return f"{number:032x}"


def span_id(number: int) -> str:
    """A span id."""
    return f"{number:016x}"


def call(span: int, trace: int = 1, parent: int | None = None, **known: Any) -> Sighting:
    """A chat call of gpt-4o with 1,000 tokens in and 100 out, unless said otherwise.

    gpt-4o costs 2.50 USD a million tokens in and 10 USD a million out, so: 0.0025 + 0.0010 = 0.0035 USD.
    """
    usage = known.pop("usage", {"input_uncached": 1000, "output": 100})
    at = known.pop("at_s", 0)
    facts: dict[str, Any] = {
        "realm": "default",
        "start_ns": NOON + at * SECOND,
        "end_ns": NOON + (at + 1) * SECOND,
        "kind": CALL,
        "genai": True,
        "instance": "shop",
        "scope": "client",
        "rank": RANK_CLIENT,
        "operation": "chat",
        "provider": "openai",
        "request_model": "gpt-4o",
        "price_models": ("gpt-4o",),
        "usage": usage,
        "input_readings": (usage["input_uncached"],) if usage else (),
        "usage_source": "reported" if usage else "missing",
        "usage_rule": "semconv.inclusive",
        "missing_reason": None if usage else "no_usage_stream",
    }
    return Sighting(
        **{
            "trace_id": trace_id(trace),
            "span_id": span_id(span),
            "parent_span_id": None if parent is None else span_id(parent),
            "name": "chat gpt-4o",
            **facts,
            **known,
        }
    )


def plain(span: int, trace: int = 1, parent: int | None = None, **known: Any) -> Sighting:
    """A span that is no GenAI span, or an agent's with `kind=`."""
    facts: dict[str, Any] = {
        "realm": "default",
        "start_ns": NOON,
        "end_ns": NOON + 9 * SECOND,
        "kind": OTHER,
        "genai": False,
        "instance": "shop",
        "scope": "web",
    }
    ids = {"trace_id": trace_id(trace), "span_id": span_id(span), "parent_span_id": None if parent is None else span_id(parent)}
    return Sighting(**{**ids, "name": "work", **facts, **known})
