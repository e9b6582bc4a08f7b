"""Counts at the door: what can be priced at all, as a fault text or None."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from otel_finops.base.limits import UNITS_PER_CALL_MAX
from otel_finops.genai.usage import INPUT_PARTS, OTHER_UNITS, OUTPUT_PARTS, PROMPT_UNITS, TOKEN_UNITS

KNOWN_UNITS: Final = frozenset((*TOKEN_UNITS, *OTHER_UNITS))
_WHOLES: Final = frozenset((*PROMPT_UNITS, "output"))
_SECONDS_CHARS_MAX: Final = 40


def count_fault(unit: str, count: object) -> str | None:
    """Why the value is no count: not an integer (booleans and floats are none), negative, or absurdly large."""
    if type(count) is not int:
        return f"{unit}: not an integer"
    if count < 0:
        return f"{unit}: negative"
    if count > UNITS_PER_CALL_MAX:
        return f"{unit}: more than {UNITS_PER_CALL_MAX}"
    return None


def usage_fault(usage: Mapping[str, object]) -> str | None:
    """The first fault of a call's counts: no count, an unknown unit, or output parts that exceed the output.

    Parts of the prompt may exceed `input_uncached`: vendors count cached audio and images among them; see `excess_input_parts`.
    """
    parted = False
    for unit, count in usage.items():
        if type(count) is not int or not 0 <= count <= UNITS_PER_CALL_MAX:
            return count_fault(unit, count)
        if unit not in _WHOLES:
            if unit not in KNOWN_UNITS:
                return f"{unit}: unknown unit"
            parted = True
    return _excess(usage, OUTPUT_PARTS, "output") if parted else None


def excess_input_parts(usage: Mapping[str, object]) -> str | None:
    """A text when audio, image and video tokens together exceed the uncached prompt that they are parts of."""
    return _excess(usage, INPUT_PARTS, "input_uncached")


def _excess(usage: Mapping[str, object], parts: tuple[str, ...], whole: str) -> str | None:
    present = [part for part in parts if part in usage]
    if not present:
        return None
    total = sum(count for part in present if isinstance(count := usage[part], int))
    limit = usage.get(whole, 0)
    if isinstance(limit, int) and total > limit:
        return f"{' + '.join(present)}: more than {whole}, of which they are parts"
    return None


def seconds_fault(text: str) -> str | None:
    """Why the text is no duration that can be billed: no plain decimal, negative, not finite, or absurdly large."""
    if len(text) > _SECONDS_CHARS_MAX:
        return "seconds: too many digits"
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        return "seconds: not a number"
    if not seconds.is_finite():
        return "seconds: not finite"
    if seconds < 0:
        return "seconds: negative"
    return None if seconds <= UNITS_PER_CALL_MAX else f"seconds: more than {UNITS_PER_CALL_MAX}"
