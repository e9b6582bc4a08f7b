"""What the database sums into `other` is what a scrape that reads every row would show there, to the last token."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from ledger_rig import NOON, Rig, span_id, trace_id

from otel_finops.ledger.entry import Entry
from otel_finops.metrics.exposition import LedgerCollector, MetricsPage
from otel_finops.metrics.ledger_source import ledger_source
from otel_finops.store.engine import Store


def entries(count: int, seed: int) -> list[Entry]:
    """Charges and reversals of dozens of models, agents and methods; a third of them unpriced."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        priced = chance.random() < 0.66
        made.append(
            Entry(
                chance.choice(("charge", "charge", "charge", "reversal")),
                "default",
                chance.choice(("acme", "globex", "other")),
                trace_id(1),
                span_id(number + 1),
                None,
                "call",
                NOON,
                provider=chance.choice(("openai", "other")),
                request_model=chance.choice(("other", f"model-{chance.randrange(12)}")),
                operation=chance.choice(("chat", "embeddings", "other")),
                usage={"input_uncached": chance.randrange(9), "output": chance.randrange(9)},
                cost_pico=chance.randrange(10**12) if priced else None,
                cost_method=chance.choice(("computed", "reported")) if priced else "unpriced",
                unpriced_reason=None if priced else chance.choice(("unknown_model", "no_usage")),
                agent=chance.choice((None, "planner", "writer")),
            )
        )
    return [entry._replace(cost_pico=-entry.cost_pico) if entry.kind == "reversal" and entry.cost_pico else entry for entry in made]


def page(rig: Rig, labels: Sequence[str], series_max: int, summed_after: int) -> str:
    source = ledger_source(rig.reader, lambda: 1.0, labels=labels, series_max=summed_after)
    collector = LedgerCollector(source, labels=labels, series_max=series_max)
    return MetricsPage(collector, process=False).render(None).body.decode()


@pytest.mark.parametrize("labels", [(), ("agent",), ("tenant", "agent")])
def test_a_scrape_is_the_same_whoever_sums_the_rest(store: Store, labels: tuple[str, ...]) -> None:
    rig = Rig(store)
    for seed in range(4):
        with store.write() as transaction:
            rig.rollups.apply(transaction, entries(60, seed))
        for series_max in (1, 2, 5, 12, 30, 200):
            assert page(rig, labels, series_max, series_max) == page(rig, labels, series_max, 10**6)


def test_what_is_read_does_not_grow_with_the_number_of_label_sets(store: Store) -> None:
    rig = Rig(store)
    with store.write() as transaction:
        rig.rollups.apply(transaction, [e._replace(request_model=f"m-{n}") for n, e in enumerate(entries(400, 1))])
    rows = rig.reader.counters(first=5)
    assert len(rows) <= 5 + 5 + 1
    everything = rig.reader.counters()
    assert len(everything) > 300
    assert sum(row.cost_pico for row in rows) == sum(row.cost_pico for row in everything)
    assert sum(row.calls - row.reversed_calls for row in rows) == sum(row.calls - row.reversed_calls for row in everything)


def test_tenants_are_told_apart_before_their_names_are_left_out(store: Store) -> None:
    rig = Rig(store)
    with store.write() as transaction:
        rig.rollups.apply(transaction, entries(200, 3))
    for tenants in (("acme",), ("globex", "other"), ()):
        kept, everything = (rig.reader.counters(("tenant", "model"), tenants, first) for first in (2, None))
        assert sum(row.cost_pico for row in kept) == sum(row.cost_pico for row in everything)
        assert sum(row.calls for row in kept) == sum(row.calls for row in everything)
