"""Keeps what spans say of outcomes, in the transactions that settle traces or correct them, by making a trace's rows anew."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import itemgetter
from typing import Final

from otel_finops.base.limits import FIGURES_TRACES_AT_ONCE
from otel_finops.base.money import PICO_PER_USD
from otel_finops.genai.sighting import Sighting
from otel_finops.insight.outcomes import Said, said_of
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.projection import SettledTrace, Write
from otel_finops.store.unit_of_work import Row, Transaction
from otel_finops.trees.projected import KeptRows, stored_traces

_ROWS: Final = KeptRows("outcomes_said", 2, (
    "trace_no", "span_id", "tenant", "at_ns", "name", "success", "agent", "workflow", "service", "environment", "provider", "model",
    "calls", "failed_calls", "unpriced_calls", "tokens", "cost_usd", "cost_pico",
))  # fmt: skip
_TELLING: Final = "SELECT DISTINCT trace_no FROM outcomes_said WHERE trace_no IN ({})"
_outcome: Final = itemgetter(Sighting._fields.index("outcome"))
"""Read by place: every settled span passes here."""


class SaidOutcomes:
    """The projection; settlers hand it whole traces, corrections what they append."""

    def planned(self, traces: Sequence[SettledTrace]) -> Write:
        """See `ledger.projection.TraceProjection`."""
        rows = [
            _row(trace.trace_no, said)
            for trace in traces
            if any(map(_outcome, trace.sightings))
            for said in said_of(trace.sightings, trace.standing)
        ]
        booked = {trace.trace_no: trace for trace in traces if trace.booked}

        @cache
        def held(trace_no: int) -> frozenset[str]:
            return frozenset(span.span_id for span in booked[trace_no].sightings)

        def write(transaction: Transaction) -> None:
            if rows or booked:
                _ROWS.put(transaction, rows, booked.keys(), lambda row: row[1].hex() in held(row[0]))

        return write

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """Make the rows anew of those of the entries' traces that tell of outcomes; for corrections, which see no whole traces."""
        numbers = sorted({entry.trace_no for entry in entries})
        telling = sorted(int(trace_no) for (trace_no,) in transaction.select_in(_TELLING, numbers))
        for start in range(0, len(telling), FIGURES_TRACES_AT_ONCE):
            self.planned(stored_traces(transaction, telling[start : start + FIGURES_TRACES_AT_ONCE]))(transaction)


def _row(trace_no: int, said: Said) -> Row:
    calls, failed_calls, unpriced_calls, tokens, pico = said.share
    return (
        trace_no, bytes.fromhex(said.span_id), said.tenant, said.at_ns, said.name, said.success, said.agent, said.workflow, said.service,
        said.environment, *said.made_by, calls, failed_calls, unpriced_calls, tokens, *divmod(pico, PICO_PER_USD),
    )  # fmt: skip
