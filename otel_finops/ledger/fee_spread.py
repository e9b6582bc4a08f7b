"""Spreading flat fees: what a subscription's period cost is shared among the calls that it covered, as their effective cost.

Shares follow the shadow prices and add up to the fee to the picodollar (`pricing.coverage.spread`). They are booked as corrections
that move no cost, once a period is over, and again when what it covered has changed since; never when a call arrives, since its share
depends on all others. So shares are the same whatever came first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput
from otel_finops.base.money import PICO_MAX, PICO_PER_USD
from otel_finops.base.times import format_ns
from otel_finops.ledger.append import append
from otel_finops.ledger.changes import changes
from otel_finops.ledger.correction_runs import Asked, begin, record_round
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.fx_store import dated_rates
from otel_finops.ledger.held_lease import held_lease
from otel_finops.ledger.projection import Projection
from otel_finops.ledger.pruned import pruned_until_ns
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.shards import lease_name, shard_of
from otel_finops.ledger.standing import EntryKey, states
from otel_finops.pricing.coverage import Period, Subscription, spread
from otel_finops.pricing.fx import MissingRate
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.store.unit_of_work import LIST_VALUES_MAX, Transaction

VERB: Final = "spread"
_TRACES: Final = "SELECT DISTINCT trace_no FROM entries WHERE coverage_id = ? AND started_ns >= ? AND started_ns < ? ORDER BY trace_no"


class Covered(NamedTuple):
    """A standing call that a fee covered, and its share as it stands (None: none yet)."""

    started_ns: int
    key: EntryKey
    trace_no: int
    list_pico: int | None
    effective_pico: int | None


class Coverage(NamedTuple):
    """A period of a subscription and what it covered.

    Attributes:
        fee_pico: in USD, at the rate of the period's first day; None while there is none.
        over: the period has ended.
        calls: covered calls that stand.
        unknown: those of them without a shadow price; they bear no share unless all are such.
        shadow_pico: what they would have cost by the list.
        spread_pico: the shares that stand.
    """

    subscription: Subscription
    period: Period
    fee_pico: int | None
    over: bool
    calls: int
    unknown: int
    shadow_pico: int
    spread_pico: int


def coverages(transaction: Transaction, subscriptions: Iterable[Subscription], now_ns: int) -> Iterator[Coverage]:
    """Every period begun so far."""
    for subscription in subscriptions:
        for period in subscription.periods(now_ns):
            try:
                fee_pico = fee_of(transaction, subscription, period)
            except MissingRate:
                fee_pico = None  # what was covered is worth telling all the same; spreading says what to import
            rows = list(covered_rows(transaction, subscription, period))
            yield Coverage(
                subscription,
                period,
                fee_pico,
                period.to_ns <= now_ns,
                len(rows),
                sum(row.list_pico is None for row in rows),
                sum(row.list_pico or 0 for row in rows),
                sum(row.effective_pico or 0 for row in rows),
            )


def fee_of(transaction: Transaction, subscription: Subscription, period: Period) -> int:
    """The period's fee in pico-USD; raises MissingRate, and BadInput where one row could not hold it."""
    day = format_ns(period.from_ns)[:10]
    rates = dated_rates(transaction, subscription.currency, [day])
    pico = rates.to_usd(round(subscription.fee * PICO_PER_USD), day)
    if pico > PICO_MAX:
        raise BadInput(f"The fee of the subscription {subscription.id!r} is more than {PICO_MAX // PICO_PER_USD} USD; split it")
    return pico


def covered_rows(transaction: Transaction, subscription: Subscription, period: Period) -> Iterator[Covered]:
    """What stands as covered by a period, trace by trace."""
    numbers = [number for (number,) in transaction.execute(_TRACES, (subscription.id, *period))]
    for start in range(0, len(numbers), LIST_VALUES_MAX):
        for state in states(entries_of_traces(transaction, numbers[start : start + LIST_VALUES_MAX])).values():
            net = state.net
            if net is not None and _is_covered(net, subscription, period):
                yield Covered(net.started_ns, net.key, net.trace_no, net.list_pico, net.effective_pico)


def _is_covered(net: Entry, subscription: Subscription, period: Period) -> bool:
    return net.coverage_id == subscription.id and period.from_ns <= net.started_ns < period.to_ns


class Spread(NamedTuple):
    """What a run of spreading did: periods looked at, rows whose share changed, and the run's number (None: nothing changed)."""

    periods: int
    rows: int
    run_no: int | None


class FeeSpreader:
    """Books the shares of fees; safe beside settlers, in any number of processes."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        projections: Sequence[Projection],
        clock: Clock,
        subscriptions: Sequence[Subscription] | Callable[[], Sequence[Subscription]],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            projections: kept in the transactions that append, as settling keeps them.
            subscriptions: the flat fees, or what gives those of now.
            sleep: waits seconds; tests replace it.
        """
        self._store = store
        self._leases = leases
        self._projections = tuple(projections)
        self._clock = clock
        self._subscriptions = subscriptions if callable(subscriptions) else lambda: subscriptions
        self._sleep = sleep

    def coverages(self) -> list[Coverage]:
        """Every begun period of every subscription."""
        subscriptions = self._subscriptions()
        with self._store.read() as transaction:
            return list(coverages(transaction, subscriptions, self._clock.now_ns()))

    def run(self, *, who: str, why: str, ended_after_ns: int = 0) -> Spread:
        """Spread the fees of all periods that are over and ended after an instant; a second run finds nothing to do.

        Of periods whose first calls were pruned the shares stay: the others would have to bear those of the pruned ones.

        Raises:
            MissingRate: a fee's currency has no rate for the first day of a period; nothing of that period is spread.
            Busy: somebody else held a shard for long; what was done stands, and asking again goes on from there.
        """
        now_ns = self._clock.now_ns()
        with self._store.read() as transaction:
            pruned_ns = pruned_until_ns(transaction)
        done = Spread(0, 0, None)
        for subscription in self._subscriptions():
            for period in subscription.periods(now_ns):
                if ended_after_ns < period.to_ns <= now_ns and period.from_ns >= pruned_ns:
                    asked = Asked(VERB, who, why, _selection(subscription, period), "", now_ns)
                    done = self._spread(subscription, period, asked, done)
        return done

    def _spread(self, subscription: Subscription, period: Period, asked: Asked, done: Spread) -> Spread:
        with self._store.read() as transaction:
            fee_pico = fee_of(transaction, subscription, period)
            rows = sorted(covered_rows(transaction, subscription, period))
        parts = spread(fee_pico, [row.list_pico or 0 for row in rows])
        changed: dict[int, list[tuple[Covered, int]]] = {}
        for row, part in zip(rows, parts, strict=True):
            if row.effective_pico != part:
                changed.setdefault(shard_of(row.key[0]), []).append((row, part))
        run_no, written = None, 0
        for shard, shares in sorted(changed.items()):
            for start in range(0, len(shares), LIST_VALUES_MAX):
                run_no, count = self._booked(shard, shares[start : start + LIST_VALUES_MAX], asked, run_no)
                written += count
        return Spread(done.periods + 1, done.rows + written, run_no or done.run_no)

    def _booked(self, shard: int, shares: Sequence[tuple[Covered, int]], asked: Asked, run_no: int | None) -> tuple[int | None, int]:
        """One round under the shard's lease. A row that has changed since it was read is left to the next run."""
        with held_lease(self._leases, lease_name(shard), self._clock, self._sleep) as lease:
            with self._store.read() as transaction:
                entries = _corrections(transaction, shares, asked.selection["coverage_id"])
            if not entries:
                return run_no, 0
            with self._store.write() as transaction:
                placed = append(transaction, lease, entries, self._projections, self._clock.now_ns())
                number = run_no or begin(transaction, asked)
                record_round(transaction, number, (placed[0].shard, placed[0].block_seq), len(entries), 0, 0)
        return number, len(entries)


def _corrections(transaction: Transaction, shares: Sequence[tuple[Covered, int]], coverage_id: str) -> list[Entry]:
    standing = states(entries_of_traces(transaction, [row.trace_no for row, _ in shares]))
    entries: list[Entry] = []
    for row, part in shares:
        state = standing.get(row.key)
        net = None if state is None else state.net
        if net is not None and (net.coverage_id, net.list_pico, net.effective_pico) == (coverage_id, row.list_pico, row.effective_pico):
            entries += changes(state, net._replace(effective_pico=part))
    return entries


def _selection(subscription: Subscription, period: Period) -> dict[str, Any]:
    return {"coverage_id": subscription.id, "from": format_ns(period.from_ns), "to": format_ns(period.to_ns)}
