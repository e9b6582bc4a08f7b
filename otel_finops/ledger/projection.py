"""The seams by which other rooms keep what is derived from the ledger: they are told inside the transaction that appends, or journals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from otel_finops.genai.sighting import Sighting
from otel_finops.ledger.entry import Entry
from otel_finops.pricing.quote import Quote
from otel_finops.store.unit_of_work import Transaction


class Projection(Protocol):
    """Something that is derived from entries and must never differ from them (roll-ups, budget counters, credits)."""

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """Write what follows from newly appended entries, in their transaction; it must not read the clock."""
        ...


class SettledTrace(NamedTuple):
    """A trace as a settling round leaves it.

    Attributes:
        trace_no: its number.
        booked: it was settled before.
        sightings: every span that the journal holds, as it stands, in the order of their ids.
        standing: what stands in the ledger, by span id; spans that the journal no longer holds are among them.
    """

    trace_no: int
    booked: bool
    sightings: Sequence[Sighting]
    standing: Mapping[str, Entry]


class Journalled(NamedTuple):
    """What a batch added to a trace.

    Attributes:
        trace_no: its number.
        version: of the trace, as the batch made it; settling tells up to which version it has seen.
        rows: spans that are new, or a further version of known ones, with the quotes of calls; users and sessions are references.
    """

    trace_no: int
    version: int
    rows: Sequence[tuple[Sighting, Quote | None]]


class PendingCalls(Protocol):
    """Something that is derived from what is journalled and not yet settled."""

    @property
    def is_asked(self) -> bool:
        """Whether anybody asks for it; where nobody does, `note` is not called and journalling costs what it costs without."""
        ...

    def note(self, transaction: Transaction, traces: Sequence[Journalled], now_ns: int) -> None:
        """Write what follows from newly journalled spans, in their transaction."""
        ...

    def settled(self, transaction: Transaction, versions: Sequence[tuple[int, int]]) -> None:
        """Take back what was written of these traces (number, version) up to these versions, in the transaction that books them."""
        ...


TRACE_TABLES: Final = ("runs", "run_shares", "trace_sums", "guardrail_verdicts", "outcomes_said")
"""Where trace projections keep their rows, by `trace_no`: they go when their trace goes (`ledger.write_off`)."""

Write: TypeAlias = Callable[[Transaction], None]


class TraceProjection(Protocol):
    """Something that is derived from whole traces, and is made anew for a trace whenever it settles."""

    def planned(self, traces: Sequence[SettledTrace]) -> Write:
        """What is to be written of these traces; it is worked out before the writing transaction, and called at its end."""
        ...
