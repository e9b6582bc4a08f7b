"""The one place that decides which cost of a call stands (docs/pricing.md, "Which cost stands").

reported > computed > estimated > covered > unpriced, read like this: the provider's own answer is the cost. Else a subscription that
covers the call makes it 0, whatever it would have cost. Else the computed price is the cost. What then has none is unpriced; a later
run may estimate it (`ledger.estimate`), never the arrival of a span, so that the order of arrival does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from otel_finops.base.money import format_usd
from otel_finops.genai.sighting import Sighting
from otel_finops.pricing.contracts import NO_CONTRACTS, Contracts
from otel_finops.pricing.coverage import Subscription
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.house_rules import LIST_PRICES
from otel_finops.pricing.quote import COVERED, REPORTED, CostLine, PriceableCall, Quote
from otel_finops.pricing.reports import BUILT_IN_REPORTS, ReportRules, Verdict
from otel_finops.pricing.selectors import DescribedCall, PaidCall, Selector, UserRefs
from otel_finops.settings.money import Pricing


class RealMoney(NamedTuple):
    """What a call really costs, beside what stands as its cost, pico-USD.

    Attributes:
        billed, listed, contracted: None where they are the cost itself; on covered calls None where there is no price.
        effective: None where it is what is billed; on covered calls None until the fee is spread.
        account: who pays; None when no rule says.
        coverage_id: the subscription that covers the call.
    """

    billed: int | None = None
    listed: int | None = None
    contracted: int | None = None
    effective: int | None = None
    account: str | None = None
    coverage_id: str | None = None


_new = tuple.__new__
"""Makes named tuples without their constructors: a charge is made for every call."""
NO_REAL_MONEY: Final = RealMoney()


class Charge(NamedTuple):
    """The cost that stands, as a quote, and what is really paid."""

    quote: Quote
    money: RealMoney = NO_REAL_MONEY


class Cascade:
    """Decides for calls, by the rules of the settings. Holds no state."""

    def __init__(
        self,
        reports: ReportRules = BUILT_IN_REPORTS,
        contracts: Contracts = NO_CONTRACTS,
        subscriptions: tuple[Subscription, ...] = (),
    ) -> None:
        self.reports = reports
        self.subscriptions = subscriptions
        self._contracts = contracts
        self.asks = frozenset().union(*(selector.asks for selector in self._selectors()))
        """What of a call's attribution its cost depends on, see `Selector.asks`; nothing else of it moves money."""
        self._has_rules = bool(contracts.accounts or contracts.discounts or subscriptions)

    @classmethod
    def of(cls, settings: Pricing) -> Cascade:
        """The cascade with the rules of the settings."""
        subscriptions = tuple([Subscription.of(rule) for rule in settings.subscriptions])
        return cls(ReportRules.of(settings), Contracts.of(settings), subscriptions)

    def with_more(self, subscriptions: Iterable[Subscription]) -> Cascade:
        """The cascade with further flat fees, which are asked after its own."""
        return Cascade(self.reports, self._contracts, (*self.subscriptions, *subscriptions))

    @property
    def users(self) -> frozenset[str]:
        """The users that rules name, by the ids that applications send."""
        return frozenset().union(*(selector.users for selector in self._selectors()))

    def _selectors(self) -> Iterator[Selector]:
        """Those of all rules."""
        yield from (account.selector for account in self._contracts.accounts)
        yield from (trust.selector for trust in self.reports.trusted)
        yield from (discount.scope.selector for discount in self._contracts.discounts)
        yield from (subscription.scope.selector for subscription in self.subscriptions)

    def bound(self, refs: UserRefs) -> Cascade:
        """The cascade for sightings that name users by reference, as the journal keeps them."""
        subscriptions = tuple([one._replace(scope=one.scope.bound(refs)) for one in self.subscriptions])
        return Cascade(self.reports.bound(refs), self._contracts.bound(refs), subscriptions)

    def charge(self, engine: PriceEngine, sighting: Sighting) -> Charge:
        """What stands for a call by itself, with its full attribution."""
        return self.charged(engine, engine.priceable(sighting), sighting)

    def charged(self, engine: PriceEngine, call: PriceableCall, sighting: Sighting | DescribedCall) -> Charge:
        """The same, of a call and what rules may ask of it; an account that the call names is the one that pays."""
        contracts = engine.knows_contracts
        listed = engine.quote(call._replace(account=LIST_PRICES) if contracts else call)
        if not self._has_rules and sighting.reported_pico is None and not contracts:
            return _new(Charge, (listed, NO_REAL_MONEY))
        paid = PaidCall.of(sighting, listed.price_key)
        account = call.account or self._contracts.account_of(paid)
        agreed = engine.quote(call._replace(account=account)) if contracts else listed
        agreed = self._contracts.after_discount(agreed, paid, account)
        return self._decided(paid, listed.cost_pico, agreed, account)

    def verdict(self, paid: PaidCall, computed_pico: int | None) -> Verdict | None:
        """What becomes of a stated cost; see `ReportRules.verdict`."""
        return self.reports.verdict(paid, computed_pico)

    def _decided(self, paid: PaidCall, list_pico: int | None, agreed: Quote, account: str | None) -> Charge:
        if self.verdict(paid, agreed.cost_pico) == "stands" and paid.reported_pico is not None:
            stands = _reported(agreed, paid.reported_pico)
        else:
            covering = next((one for one in self.subscriptions if one.scope.holds(paid, account)), None)
            if covering is not None:
                return Charge(_covered(agreed), RealMoney(0, list_pico, agreed.cost_pico, None, account, covering.id))
            stands = agreed
        listed, contracted = _where_other(list_pico, stands), _where_other(agreed.cost_pico, stands)
        return Charge(stands, RealMoney(None, listed, contracted, None, account))


def _where_other(amount: int | None, stands: Quote) -> int | None:
    return None if amount == stands.cost_pico else amount


def _reported(agreed: Quote, pico: int) -> Quote:
    """One request at the price that the provider states: its parts are not known, and lines add up to the cost."""
    line = CostLine("requests", 1, format_usd(pico), pico)
    return agreed._replace(cost_pico=pico, method=REPORTED, lines=(line,), partial=False, unpriced_reason=None)


def _covered(agreed: Quote) -> Quote:
    return agreed._replace(cost_pico=0, method=COVERED, lines=(), unpriced_reason=None)
