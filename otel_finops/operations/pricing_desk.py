"""House rules and the questions people ask of prices, over a store: what `Pricing` promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, Unavailable
from otel_finops.base.limits import PAGE_ROWS_MAX
from otel_finops.ledger.corrections import Corrected, Corrector, Selection
from otel_finops.ledger.current_prices import POLL_S, CurrentPrices
from otel_finops.ledger.price_rules import Draft, PriceRules, Rule, as_house_rules
from otel_finops.ledger.reprice import reprice
from otel_finops.ledger.unpriced import Unpriced, UnpricedQuery, UnpricedTotals, unpriced_models, unpriced_totals
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.engine import MISSING_RATE, NO_PROVIDER, UNKNOWN_MODEL, PriceEngine
from otel_finops.pricing.suggest import NearestKeys
from otel_finops.store.engine import Store

BY_PRICES: Final = (UNKNOWN_MODEL, NO_PROVIDER, MISSING_RATE)
"""Reasons that a price or another name mends."""
_LAST_NS: Final = 2**63 - 1


class Ruled(NamedTuple):
    """A rule that was set, or in a dry run could be.

    Attributes:
        repriced: what the calls without a price came to; None when that was not asked for.
        fault: why not all of them were repriced, though the rule holds; None when all were.
    """

    rule: Rule
    repriced: Sequence[Corrected] | None
    fault: str | None = None


class PricingDesk:
    """See `operations.context.Pricing`. Safe to use from many threads.

    Args:
        store: the ledger's database.
        clock: our time.
        prices: the price book of now.
        corrector: makes what reprices by an engine.
        money_rules: see `Pricing.money_rules`.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        prices: CurrentPrices,
        corrector: Callable[[PriceEngine], Corrector],
        money_rules: Callable[[], Cascade] = Cascade,
    ) -> None:
        self._store = store
        self._rules = PriceRules(store, clock)
        self._prices = prices
        self._corrector = corrector
        self.money_rules = money_rules
        self._nearest: tuple[object, NearestKeys] | None = None
        self._clock = clock
        self._lately: tuple[float, Cascade] | None = None

    def engine(self) -> PriceEngine:
        """See `Pricing.engine`."""
        return self._prices.fresh()

    def lately(self) -> tuple[PriceEngine, Cascade]:
        """See `Pricing.lately`. The book is that which this process follows; the rules are looked up as often."""
        held = self._lately
        if held is None or self._clock.monotonic() - held[0] >= POLL_S:
            try:
                held = self._clock.monotonic(), self.money_rules()
            except (Busy, Unavailable):
                if held is None:
                    raise
                held = self._clock.monotonic(), held[1]
            self._lately = held
        return self._prices(), held[1]

    def rules(self) -> Sequence[Rule]:
        """See `Pricing.rules`."""
        return self._rules.all()

    def set_rule(self, draft: Draft, *, who: str, why: str, repricing: bool, dry_run: bool) -> Ruled:
        """See `Pricing.set_rule`."""
        before = self._prices.fresh()
        rule = self._rules.add(draft, who=who, why=why, dry_run=dry_run)
        if not repricing:
            return Ruled(rule, None)
        after = _with(before, rule) if dry_run else self._prices.fresh()
        said = why if dry_run else f"{why} (price rule {rule.no})"
        done: list[Corrected] = []
        try:
            for selection in self._filled(rule.said, before, after):
                done += [reprice(self._corrector(after), selection, who=who, why=said, dry_run=dry_run)]
        except (Busy, Unavailable) as fault:
            return Ruled(rule, done, str(fault))
        return Ruled(rule, done)

    def end_rule(self, no: int, at_ns: int | None, *, who: str, why: str, dry_run: bool) -> Rule:
        """See `Pricing.end_rule`."""
        return self._rules.end(no, at_ns, who=who, why=why, dry_run=dry_run)

    def unpriced(self, query: UnpricedQuery) -> tuple[Sequence[Unpriced], UnpricedTotals]:
        """See `Pricing.unpriced`."""
        with self._store.read() as transaction:
            return unpriced_models(transaction, query), unpriced_totals(transaction, query)

    def nearest(self, name: str, provider: str | None) -> Sequence[str]:
        """See `Pricing.nearest`. The index is made anew when the lists change."""
        book = self._prices().book
        if self._nearest is None or self._nearest[0] is not book.shelves:
            self._nearest = (book.shelves, NearestKeys.of(book))
        return self._nearest[1].of_name(name, provider)

    def _filled(self, said: Draft, before: PriceEngine, after: PriceEngine) -> Iterator[Selection]:
        """The calls without a price that the rule may have given one: those of the very name, and those whose name leads to it."""
        window = said.from_ns or 0, _LAST_NS if said.to_ns is None else said.to_ns
        yield Selection(*window, provider=said.provider, model=said.model, unpriced_only=True)
        with self._store.read() as transaction:
            held = unpriced_models(transaction, UnpricedQuery(None, *window, limit=PAGE_ROWS_MAX))
        for one in held:
            if one.model is not None and one.reason in BY_PRICES and one.model.lower() != said.model:
                asked = one.provider, one.model, min(max(one.last_ns, window[0]), window[1] - 1), None, said.account
                now, then = after.resolve(*asked), before.resolve(*asked)
                if now is not None and (then is None or now.row.version != then.row.version or now.key != then.key):
                    yield Selection(*window, provider=one.provider, model=one.model, unpriced_only=True)


def _with(engine: PriceEngine, rule: Rule) -> PriceEngine:
    """The engine as if the rule held already."""
    rules, added = engine.book.rules, as_house_rules([rule])
    return PriceEngine(
        engine.book.under(rules._replace(overrides=rules.overrides + added.overrides, aliases=rules.aliases + added.aliases))
    )
