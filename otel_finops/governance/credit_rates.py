"""Exchange rates by which credits are debited: the dated ones, kept as each was first used: what is given back is what was taken."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from otel_finops.base.limits import CREDIT_RATES_KNOWN_MAX
from otel_finops.base.money import divide_half_even
from otel_finops.ledger.fx_store import dated_rates
from otel_finops.pricing.fx import BASE, QUOTED, MissingRate
from otel_finops.store.unit_of_work import Transaction

_FIND: Final = "SELECT per_usd FROM credit_rates WHERE currency = ? AND day = ?"
_KEEP: Final = "INSERT INTO credit_rates (currency, day, per_usd) VALUES (?, ?, ?) ON CONFLICT (currency, day) DO NOTHING"
_BEFORE: Final = "SELECT MAX(a.day) FROM fx_rates a JOIN fx_rates b ON b.day = a.day AND b.currency = ? WHERE a.currency = ? AND a.day <= ?"
_AFTER: Final = "SELECT MIN(a.day) FROM fx_rates a JOIN fx_rates b ON b.day = a.day AND b.currency = ? WHERE a.currency = ? AND a.day > ?"


class CreditRates:
    """Rates by currency and day. Safe to use from many threads.

    The rate of a day is the dated one, or where that is missing the last one before it, however old, or the next one: a debit cannot
    wait for somebody to import rates. A pool is only made in a currency that has rates.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Fraction] = {}

    def kept(self, transaction: Transaction, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Fraction]:
        """The rate of each (currency, day), kept from now on; in order, so that two writers cannot wait for each other."""
        found = {key: self._of(transaction, *key, keep=True) for key in sorted(wanted)}
        transaction.after_commit(lambda: self._remember(found))
        return found

    def looked_up(self, transaction: Transaction, currency: str, day: str) -> Fraction:
        """The rate that would be kept; nothing is written.

        Raises:
            MissingRate: the currency has no rate at all.
        """
        return self._of(transaction, currency, day, keep=False)

    def _of(self, transaction: Transaction, currency: str, day: str, *, keep: bool) -> Fraction:
        if currency == BASE:
            return Fraction(1)
        known = self._known.get((currency, day))
        if known is not None:
            return known
        if rows := transaction.execute(_FIND, (currency, day)):
            return Fraction(rows[0][0])
        rate = _nearest(transaction, currency, day)
        if not keep:
            return rate
        transaction.execute(_KEEP, (currency, day, str(rate)))
        return Fraction(transaction.execute(_FIND, (currency, day))[0][0])  # another one's, where he was first

    def _remember(self, found: dict[tuple[str, str], Fraction]) -> None:
        if len(self._known) > CREDIT_RATES_KNOWN_MAX:
            self._known = {}
        self._known.update(found)


def converted(pico: int, per_usd: Fraction) -> int:
    """Pico-USD as millionths of a millionth of a currency, rounded half-even once."""
    return pico if per_usd == 1 else divide_half_even(pico * per_usd.numerator, per_usd.denominator)


def _nearest(transaction: Transaction, currency: str, day: str) -> Fraction:
    quoted = BASE if currency == QUOTED else currency
    [(nearest,)] = transaction.execute(_BEFORE, (BASE, quoted, day))
    if nearest is None:
        [(nearest,)] = transaction.execute(_AFTER, (BASE, quoted, day))
    if nearest is None:
        raise MissingRate(
            f"There is no exchange rate of {currency}; import the European Central Bank's history of rates: "
            "otel-finops fx import --from eurofxref-hist.zip"
        )
    return dated_rates(transaction, currency, [nearest]).per_usd(nearest)
