"""Spend in another currency than the ledger's: every day of every group at the rate of that day, so that parts add up to the total.

A group's amount of one day is converted and rounded half-even once, to a millionth of a millionth; a group is the sum of its days,
the total the sum of its groups. So any grouping of the same calls by day gives the same amounts, and any other one amounts that
differ by less than the number of days times groups in the twelfth decimal place.
"""

from __future__ import annotations

from typing import NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import FX_CELLS_MAX, GROUPS_MAX
from otel_finops.ledger.fx_store import dated_rates
from otel_finops.ledger.spend import Key, Question, Tallies, Tally, tally
from otel_finops.pricing.fx import MissingRate
from otel_finops.store.unit_of_work import Transaction


class Converted(NamedTuple):
    """Sums in USD and in the currency asked for.

    Attributes:
        tallies: as `spend.tally` gives them.
        amounts: by the same keys, in millionths of a millionth of the currency.
        pending: what waits to be settled, at today's rate.
    """

    tallies: Tallies
    amounts: dict[Key, int]
    pending: int


def tally_converted(transaction: Transaction, question: Question, currency: str, today: str, pending_pico: int) -> Converted:
    """Sums by group key, in both currencies.

    Raises:
        MissingRate: a day with spend, or today with pending spend, has no rate; or a question by period, whose rows have no days.
        BadInput: too many groups.
    """
    if question.by_period:
        raise MissingRate("currency: goes with `from` and `to`, not with period: a row's rate is that of its day")
    place = next((at for at, name in enumerate(question.group_by) if name in ("day", "hour")), None)
    daily = question if place is not None else question._replace(group_by=(*question.group_by, "day"))
    cells = tally(transaction, daily, FX_CELLS_MAX)
    days = {key: key[-1 if place is None else place][:10] for key in cells}
    rates = dated_rates(transaction, currency, {*days.values(), *((today,) if pending_pico else ())})
    tallies: Tallies = {}
    amounts: dict[Key, int] = {}
    for key, found in cells.items():
        group = key if place is not None else key[:-1]
        tallies.setdefault(group, Tally()).add(found.cost_pico, found.calls, found.tokens, found.unpriced_calls, found.unpriced_tokens)
        amounts[group] = amounts.get(group, 0) + (rates.from_usd(found.cost_pico, days[key]) if found.cost_pico else 0)
    if len(tallies) > GROUPS_MAX:
        raise BadInput(f"more than {GROUPS_MAX} groups; narrow the time, filter, or group by fewer keys")
    return Converted(tallies, amounts, rates.from_usd(pending_pico, today) if pending_pico else 0)
