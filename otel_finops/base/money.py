"""Money as integers of pico-USD (1e-12 USD), and the one place where it is rounded, read and written.

A price of one token can be 1.3e-10 USD; pico-USD hold every published token price exactly but for a few
converted currencies, and integers add in any order to the same sum.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

PICO_PER_USD: Final = 10**12
PICO_MAX: Final = 2**63 - 1
"""The largest amount one row can hold (9.22 million USD): SQLite and PostgreSQL store a signed 64-bit integer."""

_PLAIN_DECIMAL: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,30})?")


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded to the nearest integer, ties to even; the denominator is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def format_usd(pico: int) -> str:
    """Write pico-USD as a plain decimal string in USD: no exponent, no trailing zeros (`72_275_000_00` -> "0.0072275")."""
    sign = "-" if pico < 0 else ""
    whole, fraction = divmod(abs(pico), PICO_PER_USD)
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:012d}".rstrip("0")


def parse_usd(text: str) -> int:
    """Read a plain decimal string in USD as pico-USD, digits past the twelfth rounded half-even.

    Raises:
        ValueError: the text is no plain decimal (exponents, NaN, blanks and signs other than a leading `-` are none).
    """
    if not _PLAIN_DECIMAL.fullmatch(text):
        raise ValueError(f"not a plain decimal amount: {text[:40]!r}")
    numerator, denominator = Decimal(text).as_integer_ratio()
    return divide_half_even(numerator * PICO_PER_USD, denominator)
