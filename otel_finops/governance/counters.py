"""The projection that counts booked calls for budgets, in the transaction that appends them.

It is exact also against budgets that somebody makes at the same moment: who appends shares a lock from before he looks which budgets
there are until his entries are committed, who makes a budget has it alone (`governance.budget_store`). So of every block it is certain
whether it was counted here, or is to be filled in (`governance.budget_fill`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from otel_finops.governance.budget_store import hold_budgets
from otel_finops.governance.budgets import BudgetSet
from otel_finops.governance.counts import Matches, Sums, count_entries, write
from otel_finops.governance.followed import Followed
from otel_finops.governance.holds import take_back
from otel_finops.ledger.entry import Entry
from otel_finops.store.unit_of_work import Row, Transaction


class Watch(Protocol):
    """Who looks at windows whose counts have changed."""

    def look(self, transaction: Transaction, budgets: BudgetSet, rows: Sequence[Row], now_ns: int) -> None:
        """Look at rows as `counts.write` returned them; `now_ns` is when the entries were recorded."""
        ...


def _none(transaction: Transaction, entries: Sequence[Entry]) -> Collection[str]:
    return ()


class Counters:
    """Keeps the counts of all budgets (`ledger.projection.Projection`)."""

    def __init__(
        self,
        budgets: Followed[BudgetSet],
        watch: Watch | None = None,
        booked: Callable[[Transaction, Sequence[Entry]], Collection[str]] = _none,
    ) -> None:
        """
        Args:
            watch: looks at what has changed.
            booked: the reservations that newly booked entries end, locked; what they hold is given back here, since all rows of counts
                that a transaction touches must be locked in one order.
        """
        self._budgets = budgets
        self._watch = watch
        self._booked = booked
        self._matches = Matches(BudgetSet(0, {}))

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """Count what the entries change, and give back what was held for them."""
        hold_budgets(transaction)
        budgets = self._budgets.seen_by(transaction)
        sums = Sums()
        if len(budgets):
            count_entries(entries, self._matches_of(budgets), sums)
        take_back(transaction, self._booked(transaction, entries), sums)
        if not sums.rows:
            return
        rows = write(transaction, sums)
        if self._watch is not None and len(budgets):
            self._watch.look(transaction, budgets, rows, entries[0].recorded_ns)

    def _matches_of(self, budgets: BudgetSet) -> Matches:
        matches = self._matches
        if matches.budgets is not budgets:
            matches = self._matches = Matches(budgets)
        return matches
