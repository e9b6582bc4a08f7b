"""Money in other currencies: dated rates as exact fractions, never guessed and never 1:1.

Rates are those of the European Central Bank: units of a currency for one euro, one for each of its working days. What one US dollar
is in a currency is the quotient of two of them of the same day. A day without a rate (weekends, holidays, a rate not yet published)
takes the last one before it, at most `DAYS_BACK` days old.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.base.money import divide_half_even

BASE: Final = "USD"
"""What the ledger is kept in."""
QUOTED: Final = "EUR"
"""What rates are quoted against."""
DAYS_BACK: Final = 7
"""The longest run of days without a rate is Christmas to New Year; an older rate would be the wrong month's."""

DayRates: TypeAlias = Mapping[str, Fraction]
"""Units of a currency for one euro, by day (YYYY-MM-DD)."""


class OtherCurrency(NamedTuple):
    """A currency in which a report shows its amounts besides USD; what is pending is converted at the rate of `today`."""

    currency: str
    today: str


class MissingRate(BadInput):
    """No rate for a currency and day; the message says what to import."""


class DatedRates(NamedTuple):
    """What one US dollar is in a currency, day by day.

    Attributes:
        currency: ISO code.
        per_euro: of that currency; days for which anything may be asked, and `DAYS_BACK` more in front.
        usd_per_euro: the same for the dollar.
    """

    currency: str
    per_euro: DayRates
    usd_per_euro: DayRates

    def per_usd(self, day: str) -> Fraction:
        """The rate that holds on a day.

        Raises:
            MissingRate: there is none on it or the days before it.
        """
        if self.currency == BASE:
            return Fraction(1)
        found = self.day_of(day)
        if found is None:
            raise MissingRate(
                f"There is no exchange rate of {self.currency} for {day} nor for the {DAYS_BACK} days before it; import the European "
                "Central Bank's history of rates: otel-finops fx import --from eurofxref-hist.zip"
            )
        return (Fraction(1) if self.currency == QUOTED else self.per_euro[found]) / self.usd_per_euro[found]

    def day_of(self, day: str) -> str | None:
        """The day whose rate holds; None when there is none."""
        asked = date.fromisoformat(day)
        for back in range(DAYS_BACK + 1):
            tried = (asked - timedelta(days=back)).isoformat()
            if tried in self.usd_per_euro and (self.currency == QUOTED or tried in self.per_euro):
                return tried
        return None

    def from_usd(self, pico: int, day: str) -> int:
        """Pico-dollars as millionths of a millionth of the currency, rounded half-even once."""
        amount = pico * self.per_usd(day)
        return divide_half_even(amount.numerator, amount.denominator)

    def to_usd(self, pico: int, day: str) -> int:
        """The other way round."""
        amount = pico / self.per_usd(day)
        return divide_half_even(amount.numerator, amount.denominator)
