"""Exchange rates as they were imported: never changed, the newest import of a day stands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from otel_finops.pricing.ecb import EuroRate
from otel_finops.pricing.fx import BASE, DAYS_BACK, QUOTED, DatedRates, MissingRate
from otel_finops.store.unit_of_work import Transaction

_OPEN: Final = (
    "INSERT INTO fx_imports (origin, sha256, imported_ns, who, first_day, last_day) VALUES (?, ?, ?, ?, ?, ?) RETURNING import_no"
)
_INSERT: Final = "INSERT INTO fx_rates (currency, day, import_no, per_euro) VALUES"
_SPANS: Final = "SELECT currency, MIN(day), MAX(day), COUNT(DISTINCT day) FROM fx_rates GROUP BY currency ORDER BY currency"
_ALL: Final = "SELECT currency, day, per_euro FROM fx_rates ORDER BY import_no"
_SOME: Final = "SELECT currency, day, per_euro FROM fx_rates WHERE currency IN (?, ?) AND day >= ? AND day <= ? ORDER BY import_no"


class Imported(NamedTuple):
    """What an import did.

    Attributes:
        new, changed, unchanged: rates that were not known, that stood at another value, and that stood already.
    """

    first_day: str
    last_day: str
    currencies: int
    new: int
    changed: int
    unchanged: int


class CurrencySpan(NamedTuple):
    """The days for which a currency has rates."""

    currency: str
    first_day: str
    last_day: str
    days: int


def store_rates(transaction: Transaction, rates: Sequence[EuroRate], origin: str, content: bytes, who: str, now_ns: int) -> Imported:
    """Store what is not known yet; nothing is stored when all of it is.

    Args:
        rates: of one file, not empty.
        origin: the file's name, or its URL without what may be secret.
        content: the file, for its digest.
    """
    standing = {(currency, day): rate for currency, day, rate in transaction.iterate(_ALL)}
    fresh = [one for one in rates if standing.get((one.currency, one.day)) != one.rate]
    changed = sum((one.currency, one.day) in standing for one in fresh)
    days = [one.day for one in rates]
    if fresh:
        digest = hashlib.sha256(content).hexdigest()
        [(import_no,)] = transaction.execute(_OPEN, (origin, digest, now_ns, who, min(days), max(days)))
        transaction.write_values(_INSERT, [(one.currency, one.day, import_no, one.rate) for one in fresh])
    currencies = len({one.currency for one in rates})
    return Imported(min(days), max(days), currencies, len(fresh) - changed, changed, len(rates) - len(fresh))


def spans(transaction: Transaction) -> list[CurrencySpan]:
    """The currencies that have rates, by code; the euro itself, against which they are quoted, is not among them."""
    return [CurrencySpan(*row) for row in transaction.execute(_SPANS)]


def dated_rates(transaction: Transaction, currency: str, days: Iterable[str]) -> DatedRates:
    """The rates of a currency for these days and everything between them.

    Raises:
        MissingRate: the currency has no rates at all; that of a single day is found missing when it is asked for.
    """
    asked = sorted(days)
    if currency == BASE or not asked:
        return DatedRates(currency, {}, {})
    first = (date.fromisoformat(asked[0]) - timedelta(days=DAYS_BACK)).isoformat()
    found: dict[str, dict[str, Fraction]] = {currency: {}, BASE: {}}
    for code, day, rate in transaction.iterate(_SOME, (currency, BASE, first, asked[-1])):
        found[code][day] = Fraction(rate)
    if not found[currency] and currency != QUOTED:
        known = [span.currency for span in spans(transaction)]
        if known and currency not in known:
            raise MissingRate(f"There are no exchange rates of {currency}; there are rates of {', '.join((*known, QUOTED))}.")
    return DatedRates(currency, found[currency], found[BASE])
