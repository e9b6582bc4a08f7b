from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from otel_finops.ledger.reader import CounterTotals, LedgerReader
from otel_finops.metrics.exposition import CounterRow, Exemplar
from otel_finops.metrics.ledger_source import ledger_source

TOTALS = CounterTotals({"provider": "openai", "tenant": "acme"}, 5, 3, 2, 1, 0, {"output": 7}, {"output": 4}, ("ab" * 16, 5, 9))


def test_what_the_reader_counted_is_what_is_exported() -> None:
    asked: list[Any] = []

    def counters(labels: tuple[str, ...], tenants: object, first: int) -> list[CounterTotals]:
        asked.append((labels, tenants, first))
        return [TOTALS, TOTALS._replace(exemplar=None)]

    reader = SimpleNamespace(counters=counters, conflicts=lambda: 2, pending=lambda tenants: (11, 1))
    answer = ledger_source(cast(LedgerReader, reader), lambda: 60.0, labels=("tenant",), series_max=500)()
    first, second = answer.rows
    assert first == CounterRow(TOTALS.dimensions, 5, 3, 2, 1, 0, {"output": 7}, {"output": 4}, Exemplar("ab" * 16, 5, 9))
    assert second.exemplar is None
    assert (answer.conflicts, answer.pending_pico, answer.price_book_age_s) == (2, 11, 60.0)
    assert asked == [(("provider", "model", "operation", "cost_method", "tenant"), None, 500)]
