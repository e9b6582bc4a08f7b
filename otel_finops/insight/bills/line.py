"""A bill as a value: lines by model, unit and stretch of time, whatever file they came in."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput, TooLarge
from otel_finops.base.limits import BILL_LINES_MAX, NAME_CHARS_MAX
from otel_finops.base.money import PICO_PER_USD, divide_half_even
from otel_finops.base.times import NS_PER_DAY
from otel_finops.genai.usage import OTHER_UNITS, PROMPT_UNITS, WRITE_UNITS

Category: TypeAlias = Literal["usage", "other"]
"""`other`: fees, taxes, credits and the like, which no call explains."""

FINE_UNITS: Final = (*PROMPT_UNITS, "output", "audio_in", "image_in", "video_in", "audio_out", "image_out", "video_out")
"""Tokens; unlike in the ledger's counts, none of them is a part of another one: `input_uncached` and `output` are the text alone."""
COARSE_UNITS: Final[dict[str, tuple[str, ...]]] = {
    "cache_write": WRITE_UNITS,
    "prompt": (*PROMPT_UNITS, "audio_in", "image_in", "video_in"),
    "completion": ("output", "audio_out", "image_out", "video_out"),
    "tokens": FINE_UNITS,
}
"""Units of bills that tell less, with what they are the sum of; those of the fewest parts first."""
UNITS: Final = frozenset({"", *FINE_UNITS, *COARSE_UNITS, *OTHER_UNITS})
EXACT_PLACES: Final = 12
"""Decimal places from which on amounts are as exact as ours."""
_QUANTITY_MAX: Final = 10**18


class BillLine(NamedTuple):
    """One line, or many of them that differ in nothing that is compared.

    Attributes:
        from_ns, to_ns: of the usage, `to_ns` exclusive.
        model: as the bill names it, "" where it does not.
        unit: of `UNITS`, "" where it names none.
        category: usage, or other.
        amount: millionths of a millionth of the bill's currency; None where it says none.
        quantity, requests: None where it says none.
        rows: how many lines of the file it is.
    """

    from_ns: int
    to_ns: int
    model: str = ""
    unit: str = ""
    category: Category = "usage"
    amount: int | None = None
    quantity: int | None = None
    requests: int | None = None
    rows: int = 1


class Bill(NamedTuple):
    """What a file says.

    Attributes:
        format: which importer read it, see `insight.bills.reading`.
        provider: the family that bills; None where the file does not say.
        aspect: `cost` for a bill with amounts, `usage.KIND` for counts alone; files of one name and aspect replace each other.
        currency: ISO code.
        from_ns, to_ns: the time that it tells everything of.
        lines: sorted, those that differ in nothing but numbers added up.
        places: decimal places of its amounts, to whose last one they may be rounded.
        skipped: lines of other products.
    """

    format: str
    provider: str | None
    aspect: str
    currency: str
    from_ns: int
    to_ns: int
    lines: tuple[BillLine, ...]
    places: int
    skipped: int = 0

    @property
    def amount(self) -> int:
        """The sum of all amounts."""
        return sum(line.amount or 0 for line in self.lines)


class Builder:
    """Adds up lines as a file is read, so that any number of them fits the memory.

    Args:
        name: of the file, for faults.
        exact: its amounts are not rounded to the decimal places with which they are written.
    """

    def __init__(self, name: str, *, exact: bool = False) -> None:
        self._name = name
        self._exact = exact
        self._sums: dict[tuple[int, int, str, str, Category], list[int | None]] = {}
        self._currency: str | None = None
        self.places = self.skipped = 0
        self._from_ns: int | None = None
        self._to_ns: int | None = None

    def covers(self, from_ns: int, to_ns: int) -> None:
        """The file tells of this time, though there be no line in it."""
        if not 0 <= from_ns < to_ns:
            raise BadInput(f"{self._name}: a line's time ends before it begins")
        self._from_ns = from_ns if self._from_ns is None else min(self._from_ns, from_ns)
        self._to_ns = to_ns if self._to_ns is None else max(self._to_ns, to_ns)

    def in_currency(self, code: str) -> None:
        """Raises BadInput for a second currency: sums of two mean nothing."""
        code = code.strip().upper()
        if len(code) != 3 or not code.isascii() or not code.isalpha():
            raise BadInput(f"{self._name}: {code[:20]!r} is no ISO 4217 currency code")
        if self._currency not in (None, code):
            raise BadInput(f"{self._name}: amounts in {self._currency} and in {code}; import a file for each currency, under two names")
        self._currency = code

    def add(self, line: BillLine) -> None:
        """Take a line; times within one day (UTC) become that day."""
        day = line.from_ns - line.from_ns % NS_PER_DAY
        times = (day, day + NS_PER_DAY) if line.to_ns <= day + NS_PER_DAY else (line.from_ns, line.to_ns)
        self.covers(*times)
        model = line.model.strip()
        if len(model) > NAME_CHARS_MAX:
            raise BadInput(f"{self._name}: a model's name has more than {NAME_CHARS_MAX} characters: {model[:60]!r}")
        held = self._sums.setdefault((*times, model, line.unit, line.category), [None, None, None, 0])
        for place, value in enumerate((line.amount, line.quantity, line.requests, line.rows)):
            if value is not None:
                held[place] = (held[place] or 0) + value
        if len(self._sums) > BILL_LINES_MAX:
            raise TooLarge(f"{self._name}: more than {BILL_LINES_MAX} lines of different models, units and days; import it in parts")

    def money(self, value: Any, where: str, *, cents: bool = False) -> int:
        """Read an amount, exactly.

        Args:
            where: for the fault, e.g. `bill.csv, line 12, BilledCost`.
            cents: it is in hundredths.
        """
        number = decimal_of(value, where)
        places = max(0, -int(number.as_tuple().exponent)) + (2 if cents else 0)
        self.places = max(self.places, min(places, 12))
        exact = Fraction(number) * PICO_PER_USD / (100 if cents else 1)
        if abs(exact) > _QUANTITY_MAX * 1_000:
            raise BadInput(f"{where}: the amount is too large")
        return divide_half_even(exact.numerator, exact.denominator)

    def count(self, value: Any, where: str) -> int | None:
        """Read a number of tokens or requests; None for none."""
        if value is None or value == "":
            return None
        number = decimal_of(value, where)
        if not 0 <= number <= _QUANTITY_MAX:
            raise BadInput(f"{where}: a count lies between 0 and {_QUANTITY_MAX:.0e}")
        whole = Fraction(number)
        return divide_half_even(whole.numerator, whole.denominator)

    def scaled(self, value: Any, by: int, where: str) -> int | None:
        """Read a quantity in thousands or millions of a unit."""
        number = decimal_of(value, where)
        return self.count(number * by, where) if number > 0 else None

    def built(self, format_: str, provider: str | None, aspect: str) -> Bill:
        """The bill.

        Raises:
            BadInput: the file says nothing of any time.
        """
        if self._from_ns is None or self._to_ns is None:
            raise BadInput(f"{self._name}: no line and no time that it tells of; give `from_day` and `to_day` if nothing was used")
        lines = tuple(_line(key, held) for key, held in sorted(self._sums.items()))
        places = EXACT_PLACES if self._exact else self.places
        return Bill(format_, provider, aspect, self._currency or "USD", self._from_ns, self._to_ns, lines, places, self.skipped)


def _line(key: tuple[int, int, str, str, Category], held: list[int | None]) -> BillLine:
    amount, quantity, requests, rows = held
    return BillLine(*key, amount, quantity, requests, rows or 0)


def decimal_of(value: Any, where: str) -> Decimal:
    """A number as it is written; of JSON's numbers that means the shortest text that reads as the same.

    Raises:
        BadInput: it is none.
    """
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or not -30 <= int(number.as_tuple().exponent) <= 18:
        raise BadInput(f"{where}: {str(value)[:40]!r} is no number; write it with a decimal point and without thousands separators")
    return number


def coarse_unit(unit: str, named: Iterable[str]) -> str:
    """Under which of the units that a bill names a count of the ledger falls; itself where under none."""
    names = set(named)
    if unit in names:
        return unit
    return next((coarse for coarse, parts in COARSE_UNITS.items() if coarse in names and unit in parts), unit)
