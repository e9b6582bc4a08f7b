"""Exact sums of money in SQL: a sum of 64-bit amounts may pass 64 bits, so it is taken in two parts."""

from __future__ import annotations

from typing import Final

SUM_PART: Final = 10**9


def exact_sum(amount: str) -> str:
    """Two columns, whose first times `SUM_PART` plus the second is the sum; both fit 64 bits for a billion rows of any size.

    Args:
        amount: pico-USD, as SQL.
    """
    whole = f"({amount}) / {SUM_PART}"
    return f"SUM({whole}), SUM(({amount}) - ({whole}) * {SUM_PART})"
