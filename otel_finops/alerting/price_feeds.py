"""Changes of watched prices that are worth telling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_finops.alerting.findings import Finding
from otel_finops.alerting.rules import Rule
from otel_finops.base.clock import Clock
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import NS_PER_HOUR, format_ns
from otel_finops.insight.price_watch import Change, changes_of
from otel_finops.ledger.price_watches import PriceWatches, Watch
from otel_finops.pricing.diff import in_usd
from otel_finops.pricing.engine import PriceEngine
from otel_finops.store.engine import Store


class PriceChangeFeed:
    """Prices of watched models that changed of late, or will.

    Args:
        engine: the price book of this moment.
    """

    def __init__(self, store: Store, clock: Clock, engine: Callable[[], PriceEngine]) -> None:
        self._watches = PriceWatches(store, clock)
        self._engine = engine

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`; each change happened, and is told once."""
        engine, from_ns = self._engine(), max(0, now_ns - rule.params["hours"] * NS_PER_HOUR)
        return [
            _changed(watch, change, now_ns)
            for watch in self._watches.all(None)
            for change in changes_of(engine, watch.provider, watch.model, from_ns)
        ]


def _changed(watch: Watch, change: Change, now_ns: int) -> Finding:
    model = watch.model if watch.provider is None else f"{watch.model} of {watch.provider}"
    when = f"{'from' if change.at_ns > now_ns else 'since'} {format_ns(change.at_ns)[:19].replace('T', ' ')} UTC"
    moves = [f"{one.field} {_price(one.before)} to {_price(one.after)} USD" for one in change.prices]
    what = {"retired": "the list has it no longer", "appeared": "it has a price now", "unpriced": "it has no price any more"}
    said = "; ".join([what[change.kind]] if change.kind in what else []) or "; ".join(moves)
    return Finding(
        key=f"price:{watch.no}:{change.at_ns}:{change.kind}",
        tenant="" if watch.tenant == ANY_TENANT else watch.tenant,
        title=f"{model}: price {change.kind} {when}",
        text=f"{said}, {when}. prices.changes says what the last days' calls would have cost by either price.",
        labels={"model": watch.model, **({"provider": watch.provider} if watch.provider else {})},
        figures={
            f"{one.field}_{side}": _price(price) for one in change.prices for side, price in (("before", one.before), ("after", one.after))
        },
        since_ns=change.at_ns,
        link="/prices/watches",
        lasting=False,
    )


def _price(price: float | None) -> str:
    return "none" if price is None else in_usd(price)
