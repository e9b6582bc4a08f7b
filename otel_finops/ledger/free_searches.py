"""Searches of a call that a free allowance covers: how a row says so, and the row with more or fewer of them.

A free search has a line at the rate 0; the others keep theirs. The row's list and contracted price stay what they were, so that what
the allowance saved is the contracted price less the cost, and the price without it can always be told from the row itself.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from otel_finops.base.money import PICO_PER_USD, divide_half_even
from otel_finops.ledger.entry import ESTIMATED, Entry
from otel_finops.ledger.standing import real_amounts
from otel_finops.pricing.engine import COMPUTED
from otel_finops.pricing.quote import CostLine
from otel_finops.pricing.rates import plain
from otel_finops.pricing.units import SEARCHES

_FREE: Final = "0"
_PRICED: Final = frozenset({COMPUTED, ESTIMATED})
"""Methods whose cost is the price of the call, so that the contracted price is another one only where something was free."""


def free_searches(row: Entry) -> int:
    """How many searches of the call are free by an allowance; a rate of 0 by the list is a price and none."""
    if row.cost_method not in _PRICED or row.cost_pico is None or row.contracted_pico is None:
        return 0
    return sum(int(line.quantity) for line in row.cost_lines if line.unit == SEARCHES and line.rate_usd == _FREE)


def charged_searches(row: Entry) -> int:
    """How many searches of the call could be free: those that it would be charged for without any allowance."""
    line = _search_line(_without_allowance(row))
    return 0 if line is None else int(line.quantity)


def with_free_searches(row: Entry, free: int) -> Entry:
    """The row with so many free searches, as far as it is charged for any, in place of those that it has; itself without change.

    What is left to pay is its share of the price of all, rounded half-even once.
    """
    if free == free_searches(row):
        return row
    full = _without_allowance(row)
    line = _search_line(full)
    if line is None or full.cost_pico is None or free <= 0:
        return full
    count = int(line.quantity)
    free = min(free, count)
    left = line._replace(quantity=count - free, amount_pico=divide_half_even(line.amount_pico * (count - free), count))
    if left.amount_pico == line.amount_pico:
        return full
    cost = full.cost_pico - line.amount_pico + left.amount_pico
    listed = real_amounts(full)["list_pico"]
    lines = [one for one in full.cost_lines if one is not line] + [CostLine(SEARCHES, free, _FREE, 0)]
    return full._replace(
        cost_pico=cost,
        cost_lines=tuple(lines + [left] * (free < count)),
        list_pico=None if listed == cost else listed,
        contracted_pico=full.cost_pico,
    )


def _search_line(row: Entry) -> CostLine | None:
    """The line of what the searches cost; None where they cost nothing, or where the cost is no price."""
    if row.cost_method not in _PRICED:
        return None
    return next((line for line in row.cost_lines if line.unit == SEARCHES and line.amount_pico > 0), None)


def _without_allowance(row: Entry) -> Entry:
    """The row at its price; the price of a search is taken from those that are charged, else from what all of them saved."""
    free = free_searches(row)
    if not free or row.contracted_pico is None or row.cost_pico is None:
        return row
    paid = _search_line(row)
    count = free + (int(paid.quantity) if paid else 0)
    amount = row.contracted_pico - row.cost_pico + (paid.amount_pico if paid else 0)
    rate = paid.rate_usd if paid else plain(Fraction(amount, count * PICO_PER_USD))
    listed = real_amounts(row)["list_pico"]
    others = [line for line in row.cost_lines if line.unit != SEARCHES]
    return row._replace(
        cost_pico=row.contracted_pico,
        cost_lines=(*others, CostLine(SEARCHES, count, rate, amount)),
        list_pico=None if listed == row.contracted_pico else listed,
        contracted_pico=None,
    )
