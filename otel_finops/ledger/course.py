"""The course of spend: the sums of pieces of time that follow each other, whatever zone cuts them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, TypeAlias

from otel_finops.base.limits import DASHBOARD_CELLS_MAX
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, parse_ns
from otel_finops.ledger.spend import Question, Tallies, Tally, tally
from otel_finops.store.unit_of_work import Transaction

Span: TypeAlias = tuple[int, int]
"""[from_ns, to_ns) of the calls' start."""
Cells: TypeAlias = dict[tuple[int | str, ...], Tally]
"""Sums by the number of the piece and the question's groups; pieces of a group in which nothing was are not there."""
_SHORT_NS: Final = 2 * NS_PER_DAY
"""Pieces that are longer on average hold whole days, whose sums are fewer than those of their hours."""


def cells_of(transaction: Transaction, question: Question, spans: Sequence[Span]) -> Cells:
    """Sums of each piece by the question's groups; its own time does not count.

    Pieces that are cut at whole days (UTC), and short ones that are cut at whole hours, are read in one go, others one by one.

    Raises:
        BadInput: an unknown key, or too many groups.
    """
    unit = next((name for name, length in (("day", NS_PER_DAY), ("hour", NS_PER_HOUR)) if _fits(spans, length)), None)
    if unit is None or (unit == "hour" and spans[-1][1] - spans[0][0] > len(spans) * _SHORT_NS):
        pieces = ((place, _tallied(transaction, question, question.group_by, span)) for place, span in enumerate(spans))
        return {(place, *key): found for place, tallies in pieces for key, found in tallies.items()}
    whole = spans[0][0], spans[-1][1]
    cells: Cells = {}
    places = _Places(spans)
    for (*key, moment), found in _tallied(transaction, question, (*question.group_by, unit), whole).items():
        cells.setdefault((places.of(moment), *key), Tally()).add(*found.amounts)
    return cells


def _tallied(transaction: Transaction, question: Question, group_by: tuple[str, ...], span: Span) -> Tallies:
    return tally(transaction, question._replace(group_by=group_by, from_ns=span[0], to_ns=span[1]).checked(), DASHBOARD_CELLS_MAX)


def _fits(spans: Sequence[Span], length: int) -> bool:
    """Whether all cuts between pieces are multiples of a length; the outer ends need not be."""
    return all(start % length == 0 for start, _ in spans[1:])


class _Places:
    """Which piece an hour or a day (UTC) belongs to: the last one that begins at its start or before it, else the first."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._starts = [start for start, _ in spans]
        self._known: dict[str, int] = {}

    def of(self, moment: str) -> int:
        """The number of the piece."""
        place = self._known.get(moment)
        if place is None:
            place = self._known[moment] = max(0, bisect_right(self._starts, parse_ns(moment)) - 1)
        return place
