"""A bill held against the ledger: cells of one model and one stretch of time each, their gaps by cause, and the capture rate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple, Protocol

from otel_finops.base.errors import NotFound, TooLarge
from otel_finops.base.limits import RECONCILED_CELLS_MAX
from otel_finops.base.money import PICO_PER_USD, divide_half_even
from otel_finops.base.times import NS_PER_DAY, format_ns
from otel_finops.genai.usage import OTHER_UNITS
from otel_finops.insight.bill_store import COST, OF_ALL, Label, Statement, live, statements, without
from otel_finops.insight.bills.line import EXACT_PLACES, BillLine
from otel_finops.insight.reconcile import BillSide, LedgerSide, Units, Verdict, absent_from_bill, added, judge
from otel_finops.insight.reconcile_ledger import Asked, Booked, OtherUnit, failures, other_units, parts_of, rolled, unit_prices
from otel_finops.ledger.fx_store import dated_rates
from otel_finops.ledger.tenants import Tenants
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.fx import BASE, DatedRates
from otel_finops.pricing.match import names_asked
from otel_finops.pricing.providers import families_of
from otel_finops.store.unit_of_work import Transaction

NO_MODEL: Final = ""
Span = tuple[int, int]


class Cell(NamedTuple):
    """One model in one stretch of time.

    Attributes:
        model: as the bill names it, else as the ledger does; "" for lines that name none.
        bill, ledger: the two sides; `bill` is None where the bill has no such cell.
        covered: calls that a flat fee pays, which are left out.
    """

    from_ns: int
    to_ns: int
    model: str
    bill: BillSide | None
    ledger: LedgerSide
    covered: int
    verdict: Verdict


class Reconciled(NamedTuple):
    """What came of it.

    Attributes:
        label: of the bill.
        currencies: of its amounts.
        times: what was compared.
        cells: earliest first, by model.
        total: their sum.
        other_pico: fees, taxes and credits, which are in no cell.
        open_lines: lines of times that were not over when they were imported, which are left out.
    """

    label: Label
    currencies: Sequence[str]
    times: Sequence[Span]
    cells: Sequence[Cell]
    total: Verdict
    other_pico: int
    open_lines: int


class Sums(Protocol):
    """Anything with two sides, in pico-USD."""

    @property
    def billed_pico(self) -> int:
        """By the bill."""
        ...

    @property
    def booked_pico(self) -> int:
        """By the ledger."""
        ...


def capture_rate(verdict: Sums) -> float | None:
    """Booked of billed: 1 is all of it, more is too much; None where nothing was billed."""
    return round(verdict.booked_pico / verdict.billed_pico, 6) if verdict.billed_pico > 0 else None


def reconcile(
    transaction: Transaction, engine: PriceEngine, tenant: str, name: str, from_ns: int | None = None, to_ns: int | None = None
) -> Reconciled:
    """Hold a bill against the ledger.

    Args:
        tenant: of the bill; `OF_ALL` for all tenants'.
        from_ns, to_ns: lines that lie within; None for open.

    Raises:
        NotFound: there is no such bill.
        MissingRate: there are no exchange rates for its currency and days.
        TooLarge: too many models and days.
    """
    stated = _stated(transaction, tenant, name)
    window = (from_ns or 0, 2**62 if to_ns is None else to_ns)
    cost = [one for one in stated if one.bill.aspect == COST]
    times = _times(cost or stated, window)
    lines = _Lines(stated, times, _rates(transaction, cost))
    board = _Board(lines, bool(cost))
    if times:
        _fill(transaction, board, lines, tenant)
    cells = list(board.judged(engine, lines))
    currencies = sorted({one.bill.currency for one in cost}) or [BASE]
    total = added(cell.verdict for cell in cells)
    return Reconciled(lines.label, currencies, times, cells, total, lines.other_pico, lines.open_lines)


def names_of(transaction: Transaction, tenants: Tenants) -> list[tuple[str, str]]:
    """Tenant and name of every bill that these tenants may see."""
    return sorted({(one.label.tenant, one.label.name) for one in live(transaction, tenants)})


def _stated(transaction: Transaction, tenant: str, name: str) -> list[Statement]:
    found = [one for one in live(transaction, None) if (one.label.tenant, one.label.name) == (tenant, name)]
    if not found:
        raise NotFound(f"There is no bill {name!r}.")
    aspects = sorted({one.aspect for one in found})
    return [said for aspect in aspects for said in statements(transaction, [one for one in found if one.aspect == aspect])]


def _rates(transaction: Transaction, cost: Iterable[Statement]) -> dict[str, DatedRates]:
    days: dict[str, set[str]] = {}
    for one in cost:
        days.setdefault(one.bill.currency, set()).update(_day(line.from_ns) for line in one.lines if line.amount)
    return {currency: dated_rates(transaction, currency, asked) for currency, asked in days.items() if asked}


def _times(stated: Sequence[Statement], window: Span) -> list[Span]:
    """Stretches of whole days that a bill tells of. Left out are those that were not over when it was imported, and where a line tells
    of a time as a whole, such as a month, that is not wholly within: the ledger's part of it could be held against nothing.
    """
    lower, upper = -(-window[0] // NS_PER_DAY) * NS_PER_DAY, _day_start(window[1])
    pieces = [(max(start, lower), min(end, _day_start(one.bill.at_ns), upper)) for one in stated for start, end in one.times]
    found = _joined(piece for piece in pieces if piece[0] < piece[1])
    spans = {(line.from_ns, line.to_ns) for one in stated for line in one.lines}
    cut = sorted(span for span in spans if not any(start <= span[0] and span[1] <= end for start, end in found))
    return [piece for span in found for piece in without(span, cut)]


def _joined(pieces: Iterable[Span]) -> list[Span]:
    """Stretches of time, those that overlap or touch as one."""
    found: list[Span] = []
    for start, end in sorted(pieces):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


class _Lines:
    """The lines of a bill within the times that are compared, in USD, with models under the key by which both sides know them."""

    def __init__(self, stated: Sequence[Statement], times: Sequence[Span], rates: Mapping[str, DatedRates]) -> None:
        self.label = stated[0].bill.label
        self.times = times
        self.usage: list[tuple[str, BillLine]] = []
        self.other_pico = self.open_lines = 0
        self.slack: dict[int, int] = {}
        self.names: dict[str, str] = {}
        self._aliases = {name: to for one in stated for name, to in one.models.items()}
        self._keys: dict[str, str] = {}
        for one in stated:
            for line in one.lines:
                self._take(one, line, rates.get(one.bill.currency))

    def key_of(self, model: str) -> str:
        """Under which name both sides know a model: without paths, dates and the like."""
        found = self._keys.get(model)
        if found is None:
            known = self._aliases.get(model, model)
            found = self._keys[model] = names_asked(self.label.provider, known)[-1] if known else NO_MODEL
        return found

    def _take(self, one: Statement, line: BillLine, rates: DatedRates | None) -> None:
        if line.to_ns > _day_start(one.bill.at_ns):
            self.open_lines += line.rows
            return
        if not any(start <= line.from_ns and line.to_ns <= end for start, end in self.times):
            return
        if line.amount is not None and rates is not None:
            line = line._replace(amount=rates.to_usd(line.amount, _day(line.from_ns)))
        if line.category != "usage":
            self.other_pico += line.amount or 0
            return
        key = self.key_of(line.model)
        self.names.setdefault(key, line.model)
        if line.amount is not None:
            self.slack[len(self.usage)] = _slack(one, line, rates)
        self.usage.append((key, line))


def _slack(one: Statement, line: BillLine, rates: DatedRates | None) -> int:
    """By how much roundings of the bill may make a line wrong: half of its last decimal place for each row of the file."""
    if one.places >= EXACT_PLACES:
        return 0
    half = Fraction(PICO_PER_USD * line.rows, 2 * 10**one.places)
    if rates is not None:
        half /= rates.per_usd(_day(line.from_ns))
    return divide_half_even(half.numerator, half.denominator)


class _Place:
    """A cell while it is being filled."""

    def __init__(self, span: Span, key: str) -> None:
        self.span = span
        self.key = key
        self.billed = False
        self.amount: int | None = None
        self.slack = 0
        self.units: dict[str, Units] = {}
        self.requests: int | None = None
        self.booked = Booked()

    def take(self, line: BillLine, slack: int) -> None:
        """Add a line of the bill."""
        self.billed = True
        self.slack += slack
        if line.amount is not None:
            self.amount = (self.amount or 0) + line.amount
        if line.requests is not None:
            self.requests = (self.requests or 0) + line.requests
        if line.unit:
            held = self.units.get(line.unit, Units())
            self.units[line.unit] = Units(_sum(held.quantity, line.quantity), _sum(held.amount_pico, line.amount))


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


class _Board:
    """The cells of a reconciliation: those of models that the bill names, of lines that name none, and of models that it does not have.

    Lines that name no model stand for all models without lines of their own in that time; where all of them are of one unit that is no
    token, such as searches, for that unit alone.
    """

    def __init__(self, lines: _Lines, has_amounts: bool) -> None:
        self._places: dict[str, list[_Place]] = {}
        self._beside: dict[tuple[int, str], _Place] = {}
        deciding = [(at, key, line) for at, (key, line) in enumerate(lines.usage) if line.amount is not None or not has_amounts]
        self._cut(deciding)
        self._loose = self._units_without_model(deciding)
        for at, (key, line) in enumerate(lines.usage):
            self._place_of(key, line).take(line, lines.slack.get(at, 0))

    def _cut(self, deciding: Iterable[tuple[int, str, BillLine]]) -> None:
        """Make the cells: the times of a model's lines, those that overlap as one."""
        spans: dict[str, list[Span]] = {}
        for _, key, line in deciding:
            spans.setdefault(key, []).append((line.from_ns, line.to_ns))
        for key, found in spans.items():
            self._places[key] = [_Place(span, key) for span in _merged(found)]
        if sum(map(len, self._places.values())) > RECONCILED_CELLS_MAX:
            raise TooLarge(f"more than {RECONCILED_CELLS_MAX} models and days; ask for less time")

    def _units_without_model(self, deciding: Iterable[tuple[int, str, BillLine]]) -> frozenset[str]:
        """The units of lines without a model, where each of them is no token; none otherwise."""
        units = {line.unit for _, key, line in deciding if key == NO_MODEL}
        return frozenset(units) if units <= set(OTHER_UNITS) else frozenset()

    @property
    def other_units(self) -> frozenset[str]:
        """Units of the bill that are no tokens."""
        named = {unit for places in self._places.values() for place in places for unit in place.units}
        return frozenset(named & set(OTHER_UNITS))

    def _place_of(self, key: str, line: BillLine) -> _Place:
        found = self._held(key, line.from_ns) or (None if self._loose else self._held(NO_MODEL, line.from_ns))
        if found is None:
            found = _Place((line.from_ns, line.to_ns), key)
            found.amount = 0  # counts of a model for which nothing is asked
            places = self._places.setdefault(key, [])
            places.append(found)
            places.sort(key=lambda place: place.span)
        return found

    def _held(self, key: str, at_ns: int) -> _Place | None:
        places = self._places.get(key, ())
        at = bisect_right(places, at_ns, key=lambda place: place.span[0]) - 1
        return places[at] if at >= 0 and at_ns < places[at].span[1] else None

    def booked(self, key: str, at_ns: int) -> Booked:
        """Where calls of a model at a moment are added up."""
        held = self._held(key, at_ns) or (None if self._loose else self._held(NO_MODEL, at_ns))
        if held is None:
            day = _day_start(at_ns)
            held = self._beside.setdefault((day, key), _Place((day, day + NS_PER_DAY), key))
            if len(self._beside) > RECONCILED_CELLS_MAX:
                raise TooLarge(f"more than {RECONCILED_CELLS_MAX} models and days; ask for less time")
        return held.booked

    def knows(self, key: str) -> bool:
        """Whether the bill names this model anywhere."""
        return key in self._places

    def take_other(self, key: str, used: OtherUnit) -> None:
        """Take what a call used of a unit that is no token: to where the bill has that unit."""
        own = self.booked(key, used.at_ns)
        apart = self._held(NO_MODEL, used.at_ns) if used.unit in self._loose else None
        if apart is None:
            own.take_other(used)
        else:
            own.lose(used.amount_pico)
            apart.booked.take_other(used, moved=True)

    def judged(self, engine: PriceEngine, lines: _Lines) -> Iterator[Cell]:
        """All cells, compared."""
        places = [place for found in (*self._places.values(), self._beside.values()) for place in found]
        for place in sorted(places, key=lambda place: (place.span, place.key)):
            cell = _judged(place, engine, lines)
            if cell.bill is not None or cell.ledger.billable or cell.ledger.cost_pico:
                yield cell


def _judged(place: _Place, engine: PriceEngine, lines: _Lines) -> Cell:
    name = lines.names.get(place.key) or min(place.booked.names, default=place.key) if place.key else NO_MODEL
    units = parts_of({*place.units, *place.booked.units})
    asked = min(place.booked.names - {NO_MODEL}, default=name)
    weights = unit_prices(engine, lines.label.provider, asked, units, place.span[0]) if place.key else {}
    ledger = place.booked.side(place.units, weights)
    bill = BillSide(place.amount, place.units, place.requests, place.slack) if place.billed else None
    verdict = absent_from_bill(ledger) if bill is None else judge(bill, ledger)
    return Cell(*place.span, name, bill, ledger, place.booked.covered, verdict)


def _fill(transaction: Transaction, board: _Board, lines: _Lines, tenant: str) -> None:
    """Add what the ledger has to the cells."""
    label = lines.label
    providers = {*families_of(label.provider), label.provider, NO_MODEL}
    for start, end in lines.times:
        asked = Asked(None if tenant == OF_ALL else (tenant,), providers, start, end, label.scope)
        for row in rolled(transaction, asked):
            key = lines.key_of(row.model)
            if row.provider or board.knows(key):
                board.booked(key, row.bucket_ns).take(row)
        for failed in failures(transaction, asked):
            key = lines.key_of(failed.model)
            if failed.provider or board.knows(key):
                board.booked(key, max(failed.day_ns, start)).take_failed(failed.calls)
        for used in other_units(transaction, asked, board.other_units):
            board.take_other(lines.key_of(used.model), used)


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Stretches of time, those that overlap as one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _day_start(instant_ns: int) -> int:
    return instant_ns - instant_ns % NS_PER_DAY


def _day(instant_ns: int) -> str:
    return format_ns(instant_ns)[:10]
