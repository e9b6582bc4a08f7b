"""Rows for the journal, with plain numbers in place of ids and times."""

from __future__ import annotations

from typing import Any

from otel_finops.genai.sighting import AGENT, CALL, OTHER, Sighting
from otel_finops.ledger.journal import JournalRow, Recorded, record
from otel_finops.ledger.subjects import Subjects
from otel_finops.pricing.quote import CostLine, Quote
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, CountingIds, FakeClock

SECOND = 1_000_000_000
QUOTE = Quote(
    72_275_000,
    "computed",
    (CostLine("input_uncached", 10, "0.0000025", 25_000_000), CostLine("output", 5, "0.000009455", 47_275_000)),
    "openai/gpt-4o",
    "exact",
    "digest",
)


def hex_trace(number: int) -> str:
    return f"{number:032x}"


def hex_span(number: int) -> str:
    return f"{number:016x}"


def sighting(
    trace: int, span: int, *, parent: int | None = None, kind: str = CALL, start_s: float = 0, lasts_s: float = 1, **said: Any
) -> Sighting:
    """A span of the realm `default`; calls have a prompt of 10 and an output of 5 tokens unless told otherwise."""
    start_ns = NOON + round(start_s * SECOND)
    values: dict[str, Any] = {"realm": "default", "name": f"span {span}", "instance": "shop", "scope": "openai", "genai": kind != OTHER}
    if kind == CALL:
        values.update(operation="chat", provider="openai", request_model="gpt-4o", usage_source="reported", price_models=("gpt-4o",))
        values.update(usage={"input_uncached": 10, "output": 5}, input_readings=(10,))
    values.update(said)
    return Sighting(
        trace_id=hex_trace(trace),
        span_id=hex_span(span),
        parent_span_id=None if parent is None else hex_span(parent),
        start_ns=start_ns,
        end_ns=start_ns + round(lasts_s * SECOND),
        kind=kind,
        **values,
    )


def row(trace: int, span: int, **said: Any) -> JournalRow:
    """A row with a quote of 72,275,000 pico-USD if it is a call."""
    made = sighting(trace, span, **said)
    return JournalRow(made, QUOTE if made.kind == CALL else None)


def agent_trace(trace: int, calls: int = 3) -> list[JournalRow]:
    """An agent with calls, each of which made an HTTP request."""
    root = trace * 1000
    rows = [row(trace, root, kind=AGENT, lasts_s=9, attribution={"user": "ann", "session": f"s{trace}"})]
    for number in range(1, calls + 1):
        rows.append(row(trace, root + number, parent=root, attribution={"user": "ann"}, response_id=f"answer-{trace}-{number}"))
        rows.append(row(trace, root + 500 + number, parent=root + number, kind=OTHER))
    return rows


class Sender:
    """Journals rows at a time that stands still."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.subjects = Subjects(CountingIds(), self.clock)

    def send(self, *rows: JournalRow) -> Recorded:
        with self.store.write() as transaction:
            return record(transaction, rows, now_ns=self.clock.now_ns(), settle_after_ns=5 * SECOND, subjects=self.subjects)

    def query(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.store.read() as transaction:
            return transaction.execute(sql, params)
