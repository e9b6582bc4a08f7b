"""Repricing: what stands is compared with today's prices, and the difference is booked as corrections.

A price that stands is never changed by itself: settling keeps it (`ledger.booking`), whatever the price book says meanwhile. So a
repriced row stays repriced when its trace is settled again, and only other usage or other names are priced anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from otel_finops.genai.sighting import Decision
from otel_finops.ledger.booking import Booking, repriced
from otel_finops.ledger.corrections import Corrected, Corrector, Selection
from otel_finops.ledger.entry import ESTIMATED, Entry
from otel_finops.store.unit_of_work import Transaction


class _TodaysPrice:
    """Every call at the price of today's book for the time of the call; an estimate at that of its estimated usage, unless what it
    costs does not depend on its usage any more (a flat fee, a report that is believed): then nothing is estimated."""

    verb = "reprice"

    def wants(self, net: Entry) -> bool:
        """All calls are compared."""
        return True

    def prepare(self, transaction: Transaction, nets: Sequence[Entry]) -> None:
        """Nothing is needed beside the prices."""

    def target(self, booking: Booking, decision: Decision | None, net: Entry) -> Entry | None:
        """The row at today's price, the facts as they stand."""
        if decision is None:
            return None
        fresh = booking.fresh(decision, net.trace_no)
        if not booking.same_inputs(fresh, net):
            return None
        if net.cost_method != ESTIMATED:
            return repriced(net, fresh)
        guess = booking.estimate(decision, net.trace_no, net.usage, net.usage_rule or "")
        if guess.cost_method == ESTIMATED:
            return repriced(net, guess)
        return repriced(net._replace(usage=fresh.usage, usage_source=fresh.usage_source, usage_rule=fresh.usage_rule), fresh)


def reprice(corrector: Corrector, selection: Selection, *, who: str, why: str, dry_run: bool = False) -> Corrected:
    """Book what the selected calls cost by today's prices more or less than what stands; a second run finds nothing to do.

    Raises:
        Busy, BadInput: see `Corrector.run`.
    """
    return corrector.run(_TodaysPrice(), selection, who=who, why=why, dry_run=dry_run)
