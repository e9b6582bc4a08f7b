"""Numbers as senders really write them: counts of tokens and amounts of money, read leniently but never guessed."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from otel_finops.base.limits import REPORTED_USD_MAX, UNITS_PER_CALL_MAX
from otel_finops.base.money import PICO_PER_USD, divide_half_even

BAD_COUNT: Final = -1
"""What `read_count` answers for a value that is no count: the call's usage is `bad_usage` and nothing is charged."""

BAD_AMOUNT: Final = -1
"""What `read_amount` answers for a cost that is none: negative, not a number, infinite, or absurd."""

_WHOLE: Final = re.compile(r"\+?(\d{1,15})(?:\.0*)?")
_AMOUNT: Final = re.compile(r"\d{1,9}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,2})?")
_NOTHING: Final = frozenset({"", "None", "null", "undefined"})


def read_count(value: object) -> int | None:
    """Read a count: an int, a whole float (`12.0`), or either as text (`"12"`, `"12.0"`).

    Returns:
        The count, None when nothing was said (None, "", "None"), `BAD_COUNT` for everything else: booleans, lists, negative,
        fractional, infinite and absurd numbers (`limits.UNITS_PER_CALL_MAX`).
    """
    if type(value) is int:
        return value if 0 <= value <= UNITS_PER_CALL_MAX else BAD_COUNT
    if value is None:
        return None
    if isinstance(value, float):
        return int(value) if 0.0 <= value <= UNITS_PER_CALL_MAX and value.is_integer() else BAD_COUNT
    if isinstance(value, str):
        return _count_in(value.strip().strip('"'))
    return BAD_COUNT


def _count_in(text: str) -> int | None:
    if text in _NOTHING:
        return None
    found = _WHOLE.fullmatch(text)
    if found is None:
        return BAD_COUNT
    count = int(found[1])
    return count if count <= UNITS_PER_CALL_MAX else BAD_COUNT


def read_amount(value: object) -> int | None:
    """Read an amount in USD as pico-USD; None where nothing was said, or 0, which means "unknown" in the field.

    Returns:
        `BAD_AMOUNT` for what is no cost of a call: negative, NaN, infinite, no number, or more than `limits.REPORTED_USD_MAX`.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return BAD_AMOUNT
    text = str(value).strip().strip('"')
    if text in _NOTHING:
        return None
    if not _AMOUNT.fullmatch(text):
        return BAD_AMOUNT
    numerator, denominator = Decimal(text).as_integer_ratio()
    pico = divide_half_even(numerator * PICO_PER_USD, denominator)
    return (pico or None) if pico <= REPORTED_USD_MAX * PICO_PER_USD else BAD_AMOUNT
