"""Curves and bars of characters, and amounts as people read them. No floats: an amount is drawn from its exact decimal."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NamedTuple


class Ink(NamedTuple):
    """What curves and bars are drawn with.

    Attributes:
        levels: from the lowest to the highest.
        nothing: for zero and less.
        bar, rest: a bar's filled and empty cells.
    """

    levels: str
    nothing: str
    bar: str
    rest: str


UNICODE: Final = Ink("▁▂▃▄▅▆▇█", "·", "█", "░")
ASCII: Final = Ink("_-=+*%#@", ".", "#", ".")
_SMALL_DIGITS: Final = 2
"""Digits that are shown of an amount below one."""


def sparkline(values: Sequence[Decimal], ink: Ink, width: int) -> str:
    """One character for each value; where they are more than fit, one for the sum of as many as are needed."""
    each = max(1, -(-len(values) // max(1, width)))
    sums = [sum(values[start : start + each], Decimal(0)) for start in range(0, len(values), each)]
    top = max(sums, default=Decimal(0))
    return "".join(ink.nothing if value <= 0 else ink.levels[_level(value, top, len(ink.levels))] for value in sums)


def _level(value: Decimal, top: Decimal, levels: int) -> int:
    return min(levels - 1, int(value * levels / top))


def bar(value: Decimal, whole: Decimal, ink: Ink, width: int) -> str:
    """A bar of `width` cells, as much of it filled as the value is of the whole; never empty for what is more than nothing."""
    if whole <= 0 or value <= 0:
        return ink.rest * width
    filled = min(width, max(1, int((value * width / whole).quantize(Decimal(1), ROUND_HALF_EVEN))))
    return ink.bar * filled + ink.rest * (width - filled)


def amount(value: Decimal) -> str:
    """An amount to the cent with thousands set apart; below one with two digits that say something (0.0035)."""
    if value == 0:
        return "0.00"
    digits = 2 if abs(value) >= 1 else min(12, max(2, _SMALL_DIGITS - 1 - value.adjusted()))
    return f"{value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN):,f}"


def share(value: Decimal, whole: Decimal) -> str:
    """A part of a whole in per cent; "" where there is no whole."""
    return "" if whole <= 0 else f"{(value * 100 / whole).quantize(Decimal('0.1'), ROUND_HALF_EVEN)} %"


def change(now: Decimal, before: Decimal) -> str:
    """What became of a number, in per cent; `new` where there was nothing before, and nothing where nothing is."""
    if before == 0:
        return "" if now == 0 else "new"
    return f"{((now - before) * 100 / abs(before)).quantize(Decimal('0.1'), ROUND_HALF_EVEN):+,f} %"
