"""The seam by which other rooms keep derived sums: they are told of entries inside the transaction that appends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from otel_finops.ledger.entry import Entry
from otel_finops.store.unit_of_work import Transaction


class Projection(Protocol):
    """Something that is derived from entries and must never differ from them (roll-ups, budget counters, credits)."""

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """Write what follows from newly appended entries, in their transaction; it must not read the clock."""
        ...
