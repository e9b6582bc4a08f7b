"""Asking the ledger what its calls would have cost: reads them once, however many changes are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

from otel_finops.base.limits import WHATIF_S_MAX
from otel_finops.insight.traffic import Selection, read_pieces
from otel_finops.insight.whatif import Change, Compared, Comparison
from otel_finops.pricing.engine import PriceEngine
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction


class Repriced(NamedTuple):
    """What came of it; `until_ns` lies before the end that was asked for where it would have taken too long: calls that started before
    it were compared.
    """

    compared: Compared
    until_ns: int


class Repricings:
    """Compares what calls of one ledger cost.

    Args:
        engine: gives the prices of now.
        seconds_max: after which a comparison ends where it is.
    """

    def __init__(self, store: Store, engine: Callable[[], PriceEngine], seconds_max: float = WHATIF_S_MAX) -> None:
        self._store = store
        self._engine = engine
        self._seconds_max = seconds_max

    @property
    def engine(self) -> PriceEngine:
        """The prices of now."""
        return self._engine()

    def run(self, selection: Selection, changes: Sequence[Change]) -> Repriced:
        """Compare; reads one snapshot and writes nothing.

        Raises:
            BadInput: see `traffic.read_pieces`.
        """
        with self._store.read() as transaction:
            return self.read(transaction, selection, changes)

    def read(self, transaction: Transaction, selection: Selection, changes: Sequence[Change]) -> Repriced:
        """The same within a snapshot that somebody holds."""
        comparison = Comparison(self._engine(), changes)
        began = monotonic()
        for one in read_pieces(transaction, selection):
            comparison.take(one.piece)
            if one.is_last and one.until_ns < selection.to_ns and monotonic() - began > self._seconds_max:
                return Repriced(comparison.result(), one.until_ns)
        return Repriced(comparison.result(), selection.to_ns)
