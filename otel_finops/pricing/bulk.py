"""Pricing many calls at once: column by column with NumPy, to the very pico-USD that `PriceEngine.quote` comes to.

For repricing what is already in columns, and for questions of the kind "what would it have cost". The rates of all kinds of calls
are laid out in tables of integers; a row then costs one look-up and one multiplication for each unit. All arithmetic is on 64-bit
integers and only where it cannot overflow, rounded half-even per line as for a single call. What the tables cannot tell is
asked of the engine row by row: units that are no tokens, off-peak hours, impossible counts, missing rates, absurd amounts.

Without NumPy (extra `analytics`) every row is asked of the engine; the answers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from otel_finops.base.limits import UNITS_PER_CALL_MAX
from otel_finops.genai.usage import INPUT_PARTS, OUTPUT_PARTS, PROMPT_UNITS
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall
from otel_finops.pricing.rates import Column, Rate, Sheet

try:
    import numpy as np
except ImportError:
    VECTORISED = False
else:
    VECTORISED = True
"""Whether NumPy is there, so that columns are worked on as such."""

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints: TypeAlias = NDArray[np.int64]
    Bools: TypeAlias = NDArray[np.bool_]

_WHOLES: Final = (*PROMPT_UNITS, "output")
_PARTS: Final = {"input_uncached": INPUT_PARTS, "output": OUTPUT_PARTS}
_TOKENS: Final = frozenset((*_WHOLES, *INPUT_PARTS, *OUTPUT_PARTS))
_CHUNK: Final = 32_768
"""Rows worked on at a time: their columns stay in the processor's cache."""
_INT_MAX: Final = 2**63 - 1
_SAFE: Final = 2**62
"""No sum or product that stays below it can overflow, nor can twice a remainder."""
_ONE_BY_ONE: Final = 0
_UNPRICED: Final = 1


class Batch(NamedTuple):
    """Calls in columns.

    Attributes:
        kind: for each row the number of its kind among those that the pricer was made for.
        at_ns: the billing moments.
        usage: counts by unit, 0 for none; the columns are as long as `kind`.
    """

    kind: Sequence[int]
    at_ns: Sequence[int]
    usage: Mapping[str, Sequence[int]]


class Priced(NamedTuple):
    """Prices in columns.

    Attributes:
        cost_pico: pico-USD, 0 where there is no price.
        priced: whether there is one; what has none is unpriced and not free.
    """

    cost_pico: Sequence[int]
    priced: Sequence[bool]

    def total_pico(self) -> int:
        """The sum of all prices, exact beyond 2^63."""
        costs: Any = self.cost_pico
        if isinstance(costs, list):
            return sum(costs)
        return (int((costs >> 32).sum()) << 32) + int((costs & 0xFFFF_FFFF).sum())


class BulkPricer:
    """Prices batches of calls of some kinds.

    Args:
        engine: the prices.
        kinds: what calls have in common: names, tier, region and so on; their usage and moment do not count.
        from_ns, to_ns: the tables are made for this time, from inclusive, to exclusive; rows outside of it are priced one by one.
    """

    def __init__(self, engine: PriceEngine, kinds: Sequence[PriceableCall], from_ns: int, to_ns: int) -> None:
        self._engine = engine
        self._kinds = tuple(kinds)
        self._tables = _Tables(engine, self._kinds, from_ns, to_ns) if VECTORISED else None

    def price(self, batch: Batch) -> Priced:
        """The prices of all rows.

        Raises:
            TypeError: counts, kinds or moments that are no integers.
            ValueError: columns of different lengths.
            IndexError: a kind that the pricer was not made for.
        """
        for name, column in (("at_ns", batch.at_ns), *batch.usage.items()):
            if len(column) != len(batch.kind):
                raise ValueError(f"{name}: {len(column)} rows, where `kind` has {len(batch.kind)}")
        if self._tables is None:
            return self._one_by_one(batch)
        return self._by_columns(batch, self._tables)

    def _one_by_one(self, batch: Batch) -> Priced:
        for name, column in (("kind", batch.kind), ("at_ns", batch.at_ns), *batch.usage.items()):
            if any(type(value) is not int for value in column):
                raise TypeError(f"{name}: not all integers")
        if any(not 0 <= kind < len(self._kinds) for kind in batch.kind):
            raise IndexError(f"kinds are numbered 0 to {len(self._kinds) - 1}")
        costs = [self._cost(batch, row) for row in range(len(batch.kind))]
        return Priced([cost or 0 for cost in costs], [cost is not None for cost in costs])

    def _cost(self, batch: Batch, row: int) -> int | None:
        usage = {unit: int(column[row]) for unit, column in batch.usage.items() if column[row]}
        call = self._kinds[int(batch.kind[row])]._replace(usage=usage, at_ns=int(batch.at_ns[row]))
        return self._engine.quote(call).cost_pico

    def _by_columns(self, batch: Batch, tables: _Tables) -> Priced:
        columns = Batch(
            _integers("kind", batch.kind),
            _integers("at_ns", batch.at_ns),
            {unit: _integers(unit, column) for unit, column in batch.usage.items()},
        )
        kind: Any = columns.kind
        if len(kind) and not 0 <= int(kind.min()) <= int(kind.max()) < len(self._kinds):
            raise IndexError(f"kinds are numbered 0 to {len(self._kinds) - 1}")
        cost, priced = np.zeros(len(kind), np.int64), np.ones(len(kind), np.bool_)
        for start in range(0, len(kind), _CHUNK):
            rows = slice(start, start + _CHUNK)
            piece = Batch(kind[rows], columns.at_ns[rows], {unit: column[rows] for unit, column in columns.usage.items()})
            asked = tables.price(piece, cost[rows], priced[rows])
            for row in asked.tolist():
                single = self._cost(piece, row)
                cost[start + row], priced[start + row] = single or 0, single is not None
        return Priced(cost, priced)  # type: ignore[arg-type]  # arrays are sequences in all that callers need


class _Tables:
    """The rates of all kinds as arrays.

    A kind and an interval of time lead to a sheet, a sheet and a length of the prompt to a column of rates. Sheet 0 stands for "ask
    the engine", sheet 1 for "has no price".
    """

    def __init__(self, engine: PriceEngine, kinds: Sequence[PriceableCall], from_ns: int, to_ns: int) -> None:
        self._from_ns, self._to_ns = from_ns, to_ns
        changes = [_changes(engine, kind, from_ns, to_ns) for kind in kinds]
        self._bounds = np.array(sorted({instant for found in changes for instant in found or ()} - {from_ns}), np.int64)
        self._intervals = len(self._bounds) + 1
        self._sheets: dict[int, tuple[int, Sheet]] = {}
        instants = [from_ns, *self._bounds.tolist()]
        numbers = [
            _ONE_BY_ONE if found is None else self._number(engine, kind._replace(at_ns=instant))
            for kind, found in zip(kinds, changes, strict=True)
            for instant in instants
        ]
        self._sheet_of = np.array(numbers, np.int64)
        self._lay_out([sheet for _, sheet in self._sheets.values()])

    def _number(self, engine: PriceEngine, call: PriceableCall) -> int:
        _, sheet = engine.terms(call)
        if sheet is None:
            return _UNPRICED
        if not _fits(sheet):
            return _ONE_BY_ONE
        return self._sheets.setdefault(id(sheet), (len(self._sheets) + 2, sheet))[0]

    def _lay_out(self, sheets: Sequence[Sheet]) -> None:
        none = Column((), {}, frozenset())
        ladders = [[(-1, none)], [(-1, none)], *([(-1, sheet.first), *sheet.later] for sheet in sheets)]
        columns = [column for ladder in ladders for _, column in ladder]
        widest = max(len(ladder) for ladder in ladders)
        edges = [[edge for edge, _ in ladder[1:]] + [_INT_MAX] * (widest - len(ladder)) for ladder in ladders]
        self._first_column = np.array([sum(map(len, ladders[:number])) for number in range(len(ladders))], np.int64)
        self._edges = np.array(edges, np.int64).reshape(len(ladders), widest - 1).T.copy()
        self._rates = {unit: _RateTable([dict(column.wholes).get(unit) for column in columns]) for unit in _WHOLES}
        parts = {part: [column.parts.get(part) for column in columns] for part in (*INPUT_PARTS, *OUTPUT_PARTS)}
        self._apart = {part: _RateTable(rates) for part, rates in parts.items() if any(rates)}

    def price(self, piece: Batch, cost: Ints, priced: Bools) -> Ints:
        """Write the prices of a piece's rows into `cost` and `priced`; returns the rows that the engine must be asked for."""
        kind: Any = piece.kind
        at_ns: Any = piece.at_ns
        usage: Mapping[str, Any] = piece.usage
        place = kind
        if self._intervals > 1:
            place = kind * self._intervals + np.searchsorted(self._bounds, at_ns, side="right")
        sheet = self._sheet_of[place]
        ask = (sheet == _ONE_BY_ONE) | (at_ns < self._from_ns) | (at_ns >= self._to_ns)
        for unit, counts in usage.items():
            _flag_impossible(unit, counts, ask)
        column = self._columns(sheet, usage)
        for unit, counts, table in self._billed(usage, column, ask):
            table.charge(unit, counts, column, cost, ask)
        np.logical_and(priced, sheet != _UNPRICED, out=priced)
        cost[~priced] = 0
        return np.flatnonzero(ask & (sheet != _UNPRICED)) if ask.any() else np.zeros(0, np.int64)

    def _columns(self, sheet: Ints, usage: Mapping[str, Any]) -> Ints:
        """The number of the column of rates that holds for each row."""
        column = self._first_column[sheet]
        counted = [usage[unit] for unit in PROMPT_UNITS if unit in usage]
        if len(self._edges) and counted:
            prompt = sum(counted[1:], counted[0])
            for edge in self._edges:
                column += prompt > edge[sheet]
        return column

    def _billed(self, usage: Mapping[str, Any], column: Ints, ask: Bools) -> Iterator[tuple[str, Ints, _RateTable]]:
        """Counts to multiply, separately billed parts taken out of their wholes, as for a single call."""
        for unit in _WHOLES:
            whole = usage.get(unit)
            parts = [part for part in _PARTS.get(unit, ()) if part in usage]
            if not parts:
                if whole is not None:
                    yield unit, whole, self._rates[unit]
                continue
            rest = left = np.zeros(len(column), np.int64) if whole is None else whole
            if unit == "output":
                ask |= sum(usage[part] for part in parts) > rest
            for part in parts:
                count = np.minimum(usage[part], left)
                left = left - count
                if part in self._apart:
                    table = self._apart[part]
                    billed = np.where(table.known[column], count, 0)
                    rest = rest - billed
                    yield part, billed, table
            yield unit, rest, self._rates[unit]


class _RateTable:
    """One unit's rates by column: numerators and denominators of pico-USD."""

    def __init__(self, rates: Sequence[Rate | None]) -> None:
        self.known = np.array([rate is not None for rate in rates], np.bool_)
        self._numerators = np.array([0 if rate is None else rate.numerator for rate in rates], np.int64)
        self._denominators = np.array([1 if rate is None else rate.denominator for rate in rates], np.int64)
        self._largest = int(self._numerators.max(initial=0))
        self._fractions = bool((self._denominators != 1).any())
        self._gaps = not self.known.all()

    def charge(self, unit: str, counts: Ints, column: Ints, cost: Ints, ask: Bools) -> None:
        """Add a line to every row's cost; rows for which that could overflow, or that have no rate, are flagged."""
        rates = self._numerators[column]
        if int(counts.max(initial=0)) * self._largest >= _SAFE // 16:
            ask |= counts.astype(np.float64) * rates >= _SAFE / 16
        amounts = counts * rates
        if self._fractions:
            denominators = self._denominators[column]
            rows = np.flatnonzero(denominators != 1)
            amounts[rows] = _half_even(amounts[rows], denominators[rows])
        cost += amounts
        if self._gaps:
            ask |= (counts > 0) & ~self.known[column]


def _half_even(numerators: Ints, denominators: Ints) -> Ints:
    """See `money.divide_half_even`."""
    quotients = numerators // denominators
    twice = 2 * (numerators - quotients * denominators)
    quotients += (twice > denominators) | ((twice == denominators) & (quotients % 2 == 1))
    return quotients


def _flag_impossible(unit: str, counts: Ints, ask: Bools) -> None:
    """Flag rows with counts that the engine refuses, or of units that the tables do not have."""
    if not len(counts):
        return
    if unit not in _TOKENS:
        ask |= counts != 0
    elif int(counts.min()) < 0 or int(counts.max()) > UNITS_PER_CALL_MAX:
        ask |= (counts < 0) | (counts > UNITS_PER_CALL_MAX)


def _changes(engine: PriceEngine, kind: PriceableCall, from_ns: int, to_ns: int) -> tuple[int, ...] | None:
    """When a kind's sheet changes; None when its rows are asked of the engine one by one."""
    if kind.usage_source == "missing" or kind.seconds:
        return None
    return engine.changes(kind, from_ns, to_ns)


def _fits(sheet: Sheet) -> bool:
    """Whether all its rates can be calculated with in 64 bits."""
    columns = (sheet.first, *(column for _, column in sheet.later))
    rates = [rate for column in columns for rate in (*dict(column.wholes).values(), *column.parts.values()) if rate is not None]
    return all(rate.numerator < _SAFE and rate.denominator < _SAFE for rate in rates) and all(edge < _INT_MAX for edge, _ in sheet.later)


def _integers(name: str, column: Sequence[int]) -> Any:
    found = np.asarray(column)
    if not len(found):
        return np.zeros(0, np.int64)
    if found.dtype.kind not in "iu" or (found.dtype == np.uint64 and int(found.max()) > _INT_MAX):
        raise TypeError(f"{name}: not all integers of 64 bits")
    return found.astype(np.int64, copy=False)
