"""Watched prices over a store: what `operations.context.Watches` promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import NS_PER_DAY, NS_PER_SECOND
from otel_finops.insight.price_watch import Change, Impact, changes_of, impact_of
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.price_watches import PriceWatches, Watch, calls_priced_by
from otel_finops.ledger.tenants import Tenants
from otel_finops.pricing.engine import PriceEngine
from otel_finops.store.engine import Store

_MINUTE_NS: Final = 60 * NS_PER_SECOND
_NO_CALLS: Final = Impact(0, 0, 0, 0)


class Watched(NamedTuple):
    """A change of a watched model's price, and what it would have cost."""

    watch: Watch
    change: Change
    impact: Impact


class WatchDesk:
    """See `operations.context.Watches`. Safe to use from many threads.

    Attributes:
        days: how many days are looked at when nobody says.
    """

    def __init__(self, store: Store, clock: Clock, prices: CurrentPrices, days: int) -> None:
        self._store = store
        self._clock = clock
        self._prices = prices
        self._watches = PriceWatches(store, clock)
        self.days = days
        self._counted: tuple[PriceEngine, Sequence[Watch], int, int] | None = None

    def add(self, tenant: str, provider: str | None, model: str, *, who: str) -> tuple[Watch, bool]:
        """See `Watches.add`."""
        return self._watches.add(tenant, provider, model, who=who)

    def end(self, no: int, tenants: Tenants, *, who: str) -> tuple[Watch, bool]:
        """See `Watches.end`."""
        return self._watches.end(no, tenants, who=who)

    def all(self, tenants: Tenants) -> Sequence[Watch]:
        """See `Watches.all`."""
        return self._watches.all(tenants)

    def count(self) -> int:
        """How many changes of watched prices the last days saw, those announced included; counted anew once a minute at most."""
        engine, watches, minute = self._prices(), self._watches.all(None), self._clock.now_ns() // _MINUTE_NS
        if self._counted is None or self._counted[0] is not engine or self._counted[1:3] != (watches, minute):
            since_ns = self._since(self.days)
            count = sum(len(changes_of(engine, one.provider, one.model, since_ns)) for one in watches)
            self._counted = (engine, watches, minute, count)
        return self._counted[3]

    def changes(self, tenants: Tenants, days: int, no: int | None) -> Sequence[Watched]:
        """See `Watches.changes`."""
        engine, since_ns = self._prices.fresh(), self._since(days)
        found = [
            Watched(watch, change, self._impact(engine, watch, change, tenants, since_ns))
            for watch in self._watches.all(tenants)
            if no is None or watch.no == no
            for change in changes_of(engine, watch.provider, watch.model, since_ns)
        ]
        return sorted(found, key=lambda one: (-one.change.at_ns, one.watch.no))

    def _impact(self, engine: PriceEngine, watch: Watch, change: Change, tenants: Tenants, since_ns: int) -> Impact:
        keys = {key for key in (change.before, change.after) if key is not None}
        whose: Tenants = tenants if watch.tenant == ANY_TENANT else (watch.tenant,)
        with self._store.read() as transaction:
            calls = calls_priced_by(transaction, whose, keys, since_ns, self._clock.now_ns() + 1)
            return impact_of(engine, change, calls) if keys else _NO_CALLS

    def _since(self, days: int) -> int:
        return max(0, self._clock.now_ns() - days * NS_PER_DAY)
