"""Periods: months of the whole ledger that are closed some days after their end, or by hand, and never opened again.

Closing holds the leases of all shards, and everybody who appends holds one: so a transaction that appends either is done before
the month is closed, or sees that it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_DAY, format_ns, month_end_ns, month_start_ns
from otel_finops.ledger.held_lease import held_lease
from otel_finops.ledger.period_bounds import closed_until_ns, month_name, month_ns
from otel_finops.ledger.rollups import MONTH
from otel_finops.ledger.shards import SHARDS, lease_name
from otel_finops.ledger.spend import PERIOD, Question, Tally, late_amounts, tally
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.store.unit_of_work import Transaction

SCHEDULE: Final = "schedule"
"""Who closed a month that closed by itself."""

_SELECT: Final = "SELECT month, closed_ns, closed_by, why FROM periods"
_INSERT: Final = "INSERT INTO periods (month, from_ns, to_ns, closed_ns, closed_by, why, cost_pico, calls) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class Period(NamedTuple):
    """A month of the ledger.

    Attributes:
        month: YYYY-MM, UTC.
        closed_ns, closed_by, why: when, by whom and why it was closed; None while it is open.
        cost_pico, calls: what belongs to it, late rows included.
        late_cost_pico, late_calls: of that, what came too late for the month in which it started; calls can be fewer than none
            where late entries took calls back.
    """

    month: str
    closed_ns: int | None
    closed_by: str | None
    why: str | None
    cost_pico: int
    calls: int
    late_cost_pico: int
    late_calls: int


def periods(transaction: Transaction, tenants: Tenants) -> list[Period]:
    """All months with anything in them and all closed ones, newest first; the sums are those of the tenants."""
    allowed = restricted(tenants)
    sums = {key[0]: found for key, found in tally(transaction, Question(allowed, (PERIOD,))).items()}
    late = late_amounts(transaction, allowed)
    closed = {month: (closed_ns, by, why) for month, closed_ns, by, why in transaction.execute(_SELECT)}
    none = Tally()
    found = []
    for month in sorted({*sums, *closed}, reverse=True):
        total, came_late = sums.get(month, none), late.get(month, none)
        found.append(
            Period(
                month, *closed.get(month, (None, None, None)), total.cost_pico, total.calls, came_late.cost_pico, came_late.calls
            )
        )  # fmt: skip
    return found


class Periods:
    """Closes months.

    Args:
        sleep: waits seconds; tests replace it.
    """

    def __init__(self, store: Store, leases: Leases, clock: Clock, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._leases = leases
        self._clock = clock
        self._sleep = sleep

    def would_close(self, month: str) -> list[str]:
        """The months that `close` would close; raises BadInput as it does."""
        start_ns = self._over(month)
        with self._store.read() as transaction:
            return [month_name(at_ns) for at_ns in _to_close(transaction, start_ns)]

    def close(self, month: str, who: str, why: str) -> list[str]:
        """Close a month, and the open ones before it; returns their names, oldest first.

        Raises:
            BadInput: no month, one that is not over, or one that is closed.
            Busy: somebody else appended for longer than 30 s, or a lease was lost; nothing was closed.
        """
        start_ns = self._over(month)
        with ExitStack() as held:
            leases = [held.enter_context(held_lease(self._leases, lease_name(shard), self._clock, self._sleep)) for shard in range(SHARDS)]
            with self._store.write() as transaction:
                for lease in leases:
                    lease.confirm(transaction)
                return [self._closed(transaction, at_ns, who, why) for at_ns in _to_close(transaction, start_ns)]

    def close_due(self, after_days: float) -> list[str]:
        """Close every month that ended so many days ago; returns their names."""
        start_ns = _last_over(self._clock.now_ns() - round(after_days * NS_PER_DAY))
        with self._store.read() as transaction:
            first_ns = _first_open(transaction)
        if first_ns is None or first_ns > start_ns:
            return []
        return self.close(month_name(start_ns), SCHEDULE, f"ledger.close_after_days: {after_days:g} days after its end")

    def _over(self, month: str) -> int:
        """The start of a month that is over."""
        start_ns = month_ns(month)
        if month_end_ns(start_ns) > self._clock.now_ns():
            raise BadInput(f"{month} is not over; a month can be closed from {format_ns(month_end_ns(start_ns))[:10]} on")
        return start_ns

    def _closed(self, transaction: Transaction, start_ns: int, who: str, why: str) -> str:
        month = month_name(start_ns)
        sums = tally(transaction, Question(None, (), filters={PERIOD: (month,)})).get((), Tally())
        row = (month, start_ns, month_end_ns(start_ns), self._clock.now_ns(), who, why, str(sums.cost_pico), sums.calls)
        transaction.execute(_INSERT, row)
        return month


def _last_over(instant_ns: int) -> int:
    """The start of the last month that was over at an instant."""
    return month_start_ns(month_start_ns(instant_ns) - 1)


def _first_open(transaction: Transaction) -> int | None:
    """The start of the first month that can be closed; None where nothing was ever booked or closed."""
    closed_ns = closed_until_ns(transaction)
    if closed_ns:
        return closed_ns
    [(first_ns,)] = transaction.execute("SELECT MIN(bucket_ns) FROM rollups WHERE level = ?", (MONTH,))
    return None if first_ns is None else int(first_ns)


def _to_close(transaction: Transaction, last_ns: int) -> Iterator[int]:
    """The starts of the months to close, up to and with the given one.

    Raises:
        BadInput: it is closed already.
    """
    if last_ns < closed_until_ns(transaction):
        raise BadInput(f"{month_name(last_ns)} is closed already; a closed month is never opened again")
    first_ns = _first_open(transaction)
    start_ns = last_ns if first_ns is None else min(first_ns, last_ns)
    while start_ns <= last_ns:
        yield start_ns
        start_ns = month_end_ns(start_ns)
