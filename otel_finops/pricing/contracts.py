"""Who pays for a call and what was agreed: accounts and discounts. Contract prices themselves are rows of the book (`house_rules`)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from otel_finops.base.money import PICO_PER_USD, divide_half_even
from otel_finops.pricing.quote import CostLine, Quote
from otel_finops.pricing.rates import plain
from otel_finops.pricing.selectors import PaidCall, Scope, Selector, UserRefs
from otel_finops.settings.money import Pricing


class Account(NamedTuple):
    """An account at a provider and the calls that it pays for."""

    name: str
    selector: Selector


class Discount(NamedTuple):
    """What is left of a price after a discount, as a factor: 7/8 for 12.5 %."""

    left: Fraction
    scope: Scope


class Contracts(NamedTuple):
    """All accounts and discounts, in the order of the settings; the first that fits a call holds, discounts are never added up."""

    accounts: tuple[Account, ...] = ()
    discounts: tuple[Discount, ...] = ()

    @classmethod
    def of(cls, settings: Pricing) -> Contracts:
        """What the settings describe."""
        accounts = [Account(rule.account, Selector.of(rule)) for rule in settings.accounts]
        discounts = [Discount(1 - Fraction(rule.percent) / 100, Scope.of(rule)) for rule in settings.discounts]
        return cls(tuple(accounts), tuple(discounts))

    def bound(self, refs: UserRefs) -> Contracts:
        """See `Selector.bound`."""
        accounts = [account._replace(selector=account.selector.bound(refs)) for account in self.accounts]
        return Contracts(tuple(accounts), tuple([one._replace(scope=one.scope.bound(refs)) for one in self.discounts]))

    def account_of(self, call: PaidCall) -> str | None:
        """The account that pays; None when no rule says."""
        return next((account.name for account in self.accounts if account.selector.fits(call)), None)

    def after_discount(self, quote: Quote, call: PaidCall, account: str | None) -> Quote:
        """The quote less the discount that holds, line by line: each line is still quantity times rate, rounded once."""
        discount = next((one for one in self.discounts if one.scope.holds(call, account)), None)
        if discount is None or not quote.cost_pico:
            return quote
        lines = tuple([_less(line, discount.left) for line in quote.lines])
        return quote._replace(cost_pico=sum(line.amount_pico for line in lines), lines=lines)


NO_CONTRACTS: Final = Contracts()


def _less(line: CostLine, left: Fraction) -> CostLine:
    rate = Fraction(Decimal(line.rate_usd)) * left
    pico = Fraction(Decimal(line.quantity)) * rate * PICO_PER_USD
    return line._replace(rate_usd=plain(rate), amount_pico=divide_half_even(pico.numerator, pico.denominator))
