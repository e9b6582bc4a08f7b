"""Flat fees: which calls a subscription covers, the periods that it is paid for, and how a fee is spread over what it covered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from otel_finops.base.times import NS_PER_SECOND
from otel_finops.pricing.selectors import Scope
from otel_finops.settings.money import SubscriptionRule

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Period(NamedTuple):
    """The time [from_ns, to_ns) that one fee pays for."""

    from_ns: int
    to_ns: int


class Subscription(NamedTuple):
    """A flat fee and the calls that it covers.

    Attributes:
        id: stands in `coverage_id` of covered rows.
        scope: the calls that cost nothing beside the fee.
        fee: for each begun period, in `currency`.
        from_ns: start of the first period; the others begin on its day of the month, or the month's last day where that is earlier.
        to_ns: None while it runs.
    """

    id: str
    scope: Scope
    fee: Decimal
    currency: str
    from_ns: int
    to_ns: int | None = None

    @classmethod
    def of(cls, given: SubscriptionRule) -> Subscription:
        """The subscription that the settings describe."""
        return cls(given.id, Scope.of(given), given.fee, given.currency, given.from_ns or 0, given.to_ns)

    def periods(self, until_ns: int) -> Iterator[Period]:
        """The periods that began before an instant, in order; the last one ends with the subscription."""
        end_ns = until_ns if self.to_ns is None else min(self.to_ns, until_ns)
        month = 0
        while (start := _months_later(self.from_ns, month)) < end_ns:
            following = _months_later(self.from_ns, month + 1)
            yield Period(start, following if self.to_ns is None else min(following, self.to_ns))
            month += 1


def _months_later(instant_ns: int, months: int) -> int:
    """The same time of day on the same day some months later, or on that month's last day."""
    first = _EPOCH + timedelta(seconds=instant_ns // NS_PER_SECOND)
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    last_day = (datetime(year + (month == 11), (month + 1) % 12 + 1, 1, tzinfo=UTC) - timedelta(days=1)).day
    moved = first.replace(year=year, month=month + 1, day=min(first.day, last_day))
    return (moved - _EPOCH) // timedelta(seconds=1) * NS_PER_SECOND + instant_ns % NS_PER_SECOND


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """Split an amount by weights into whole parts whose sum is the amount.

    Every part is its exact share rounded down; what is left over goes one by one to the greatest remainders, of equal ones to the
    first. Without any weight all parts are equal.

    Args:
        amount: not negative.
        weights: not negative; order them, so that the result does not depend on how they were found.
    """
    if not any(weights):
        weights = [1] * len(weights)
    total = sum(weights)
    if not total:
        return []
    shares = [divmod(amount * weight, total) for weight in weights]
    parts = [whole for whole, _ in shares]
    left = amount - sum(parts)
    for position in sorted(range(len(parts)), key=lambda at: (-shares[at][1], at))[:left]:
        parts[position] += 1
    return parts
