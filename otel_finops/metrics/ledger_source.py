"""The counters of `/metrics` as the ledger's reader gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from otel_finops.base.limits import SERIES_MAX
from otel_finops.ledger.reader import DEFAULT_LABELS, LedgerReader
from otel_finops.metrics.exposition import CounterRow, Counters, CounterSource, Exemplar

ALL_TENANTS: Final = None


def ledger_source(
    reader: LedgerReader,
    price_book_age_s: Callable[[], float | None],
    *,
    labels: Sequence[str] = (),
    series_max: int = SERIES_MAX,
    decisions: Callable[[], Mapping[tuple[str, str], int]] = dict,
    policy_failures: Callable[[], int] = int,
) -> CounterSource:
    """A source that reads the whole ledger, all tenants together.

    Args:
        reader: of the ledger.
        price_book_age_s: seconds since the price snapshot was made; None when it bears no date.
        labels: opted-in labels, the same that the `LedgerCollector` is given.
        series_max: most series of one metric, the same too: what shares `other` in every metric is summed by the database.
        decisions: how many were made, by action and whether they were only observed.
        policy_failures: how many conditions of policies could not be evaluated.
    """

    def read() -> Counters:
        pending_pico, _ = reader.pending(ALL_TENANTS)
        rows = _rows(reader, (*DEFAULT_LABELS, *labels), series_max)
        return Counters(rows, reader.conflicts(), pending_pico, price_book_age_s(), decisions(), policy_failures())

    return read


def _rows(reader: LedgerReader, labels: Sequence[str], series_max: int) -> Iterator[CounterRow]:
    for totals in reader.counters(labels, ALL_TENANTS, first=series_max):
        yield CounterRow(
            dimensions=totals.dimensions,
            cost_pico=totals.cost_pico,
            reversed_pico=totals.reversed_pico,
            calls=totals.calls,
            reversed_calls=totals.reversed_calls,
            unpriced_calls=totals.unpriced_calls,
            tokens=totals.tokens,
            reversed_tokens=totals.reversed_tokens,
            exemplar=Exemplar(*totals.exemplar) if totals.exemplar else None,
        )
