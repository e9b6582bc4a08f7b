"""What calls of a time were charged for, by whom and of what model: what drivers of a difference are worked out from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from otel_finops.base.limits import DRIVER_CALLS_MAX
from otel_finops.base.progress import tell
from otel_finops.insight.drivers import Cell, Units, Use
from otel_finops.ledger.lined_calls import LinedCall, lined_calls
from otel_finops.ledger.spend import Question, from_pruned
from otel_finops.pricing.quote import REPORTED
from otel_finops.store.unit_of_work import Transaction

STATED: Final = "stated"
"""Unit of calls whose cost somebody stated: their tokens, as if they had one price."""
_TELL_CALLS: Final = 5_000


def read_uses(transaction: Transaction, question: Question, spans: Sequence[tuple[int, int]], calls: int) -> dict[Cell, Use]:
    """What the calls of some pieces of time used; nothing where some of them were pruned: those that are left do not stand for them.

    Args:
        question: whose, and filters; its own time does not count.
        calls: how many there are, about; of more than `DRIVER_CALLS_MAX` those of one in so many traces are read: they tell the same.
    """
    if any(amounts.calls for lower, upper in spans for _, amounts in from_pruned(transaction, question, lower, upper)):
        return {}
    every = max(1, -(-calls // DRIVER_CALLS_MAX))
    found = (call for lower, upper in spans for call in lined_calls(transaction, question, lower, upper, every))
    return uses_of(_told(found, -(-calls // every)))


def _told(calls: Iterable[LinedCall], expected: int) -> Iterator[LinedCall]:
    """The same, while `base.progress` hears how far it is."""
    for done, call in enumerate(calls):
        if done % _TELL_CALLS == 0:
            tell("calls", done, max(done, expected))
        yield call


def uses_of(calls: Iterable[LinedCall]) -> dict[Cell, Use]:
    """Calls added up by cell and unit."""
    counts: dict[Cell, int] = {}
    units: dict[Cell, dict[str, list[Fraction | int]]] = {}
    for call in calls:
        cell = Cell(call.tenant, call.agent or "", call.provider or "", call.model or "")
        counts[cell] = counts.get(cell, 0) + 1
        sums = units.setdefault(cell, {})
        for unit, quantity, amount in _charged(call):
            held = sums.setdefault(unit, [0, 0])
            held[0] += quantity
            held[1] += amount
    return {cell: Use(count, {unit: _units(*sums) for unit, sums in units[cell].items()}) for cell, count in counts.items()}


def _units(quantity: Fraction | int, amount: Fraction | int) -> Units:
    return Units(Fraction(quantity), int(amount))


def _charged(call: LinedCall) -> Iterable[tuple[str, Fraction | int, int]]:
    """Units, quantities and pico-USD; of a stated cost, which has one line for the whole call, its tokens."""
    if call.cost_method == REPORTED:
        yield STATED, call.tokens or 1, sum(line.amount_pico for line in call.lines)
        return
    for line in call.lines:
        yield line.unit, line.quantity if isinstance(line.quantity, int) else Fraction(Decimal(line.quantity)), line.amount_pico
