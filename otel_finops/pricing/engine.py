"""Pricing a call: its name's row, the sheet of rates that holds, and the lines.

Each line is rounded half-even once and the total is the sum of the lines, so that lines and totals add up in any order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from otel_finops.base import limits
from otel_finops.base.errors import StartRefused
from otel_finops.base.money import PICO_MAX, PICO_PER_USD, divide_half_even
from otel_finops.genai.sighting import Sighting
from otel_finops.genai.usage import INPUT_PARTS, OUTPUT_PARTS, prompt_tokens
from otel_finops.pricing import checks
from otel_finops.pricing.book import LATEST_NS, BookStatus, PriceBook, PriceRow
from otel_finops.pricing.dated import Difference
from otel_finops.pricing.match import Match, Matcher
from otel_finops.pricing.names import PLACEHOLDERS, clean
from otel_finops.pricing.quote import CostLine, PriceableCall, Quote
from otel_finops.pricing.rates import BATCH, STANDARD, Column, Rate, Sheet, factor_of, plain, sheet_of, tier_of
from otel_finops.pricing.units import bills_tokens, prices_anything, unit_prices

COMPUTED: Final = "computed"
UNPRICED: Final = "unpriced"

UNKNOWN_MODEL: Final = "unknown_model"
NO_MODEL: Final = "no_model"
NO_PROVIDER: Final = "no_provider"
MISSING_RATE: Final = "missing_rate"
NO_USAGE: Final = "no_usage"
BAD_USAGE: Final = "bad_usage"

_FREE_ERROR_REASONS: Final = frozenset({None, NO_USAGE})
"""Reasons of missing usage under which a provider's error answer costs nothing; a time-out or cut stream may have been billed."""
_TOKEN_MODES: Final = frozenset({"", "chat", "responses", "completion"})
"""Modes whose tokens must have a price; in others a row may bill another unit (pages, seconds, characters) instead."""

_NAMING: Final = ("provider", "models", "service_tier", "region_kind", "region", "speed", "image_size", "quality")
"""On what of a call its row and sheet depend, besides the moment."""
_WITHOUT_ACCOUNT: Final = itemgetter(*map(PriceableCall._fields.index, _NAMING))
_WITH_ACCOUNT: Final = itemgetter(*map(PriceableCall._fields.index, (*_NAMING, "account")))

_new = tuple.__new__
"""Makes named tuples without their constructors: quotes are made for every call."""


class _Terms(NamedTuple):
    """What the book says for a call's names, tier and place: the match and its sheet, or why there is none."""

    match: Match | None
    sheet: Sheet | None
    reason: str | None


class PriceEngine:
    """Prices calls by one price book. Holds no state but memos, so one engine may serve many threads."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._matcher = Matcher(book)
        self._terms: dict[tuple[object, ...], _Terms] = {}
        self._moments = book.moments
        self._names_in = _WITH_ACCOUNT if self._matcher.knows_accounts else _WITHOUT_ACCOUNT
        self.version = book.status.version
        """Digest of the newest price snapshot; a quote carries that of the snapshot that made its price."""
        self.knows_contracts = self._matcher.knows_accounts
        """False when there are no contract prices, so that the price does not depend on who pays."""

    @classmethod
    def load(cls, path: str | Path | None = None) -> PriceEngine:
        """An engine over the packaged snapshot, or over the price file at `path`.

        Raises:
            StartRefused: the file cannot be read or is no price list.
        """
        book = PriceBook.load(path)
        if path is not None:
            try_every_row(book, str(path))
        return cls(book)

    def status(self) -> BookStatus:
        """Source, version, date and row counts of the book in use."""
        return self._book.status

    @property
    def book(self) -> PriceBook:
        """The book in use."""
        return self._book

    def resolve(
        self, provider: str | None, model: str, at_ns: int | None = None, region: str | None = None, account: str | None = None
    ) -> Match | None:
        """The row that prices `model` as billed by `provider` at the moment of the call (None: by the newest of everything).

        None when the book has none.
        """
        return self._matcher.find(provider, model, region, LATEST_NS if at_ns is None else at_ns, account)

    def offers(self, key: str, version: str, at_ns: int) -> bool:
        """Whether the book of now still has the row of this key, at a moment, in the version that a quote named."""
        row = self._book.by_key(key, at_ns)
        return row is not None and row.version == version

    def differences(self) -> Iterator[Difference]:
        """Prices on which the list and the second source differ; the list's hold (`dated`)."""
        return self._book.differences()

    def priceable(self, sighting: Sighting) -> PriceableCall:
        """The call that a sighting shows, as far as its price depends on it; it is billed at its start."""
        return PriceableCall(
            sighting.provider,
            sighting.price_models,
            sighting.usage,
            sighting.start_ns,
            sighting.usage_source,
            sighting.missing_reason,
            sighting.error_type,
            sighting.service_tier,
            sighting.region_kind,
            sighting.region,
            sighting.speed,
        )

    def quote(self, call: PriceableCall) -> Quote:
        """The price of a call by this book, or the reason why it has none; never raises for what a sender wrote."""
        if call.usage_source == "missing" and not call.usage:
            return self._without_usage(call)
        if checks.usage_fault(call.usage) is not None or (call.seconds and checks.seconds_fault(call.seconds) is not None):
            return self._unpriced(BAD_USAGE)
        match, sheet, reason = self._terms_of(call)
        if match is None or sheet is None:
            return self._unpriced(reason or UNKNOWN_MODEL)
        if sheet.times is not None:
            sheet = sheet.times.at(call.at_ns)
        lines, total, partial = _charge(sheet, call)
        if lines is None:
            return self._unpriced(MISSING_RATE, match)
        if total > PICO_MAX:
            return self._unpriced(BAD_USAGE, match)
        return _new(Quote, (total, COMPUTED, lines, match[0], match[1], sheet.row.version, partial, None))

    def terms(self, call: PriceableCall) -> tuple[Match | None, Sheet | None]:
        """The row that prices the call and the sheet of rates that holds at its moment; None without a row."""
        match, sheet, _ = self._terms_of(call)
        return match, sheet if sheet is None or sheet.times is None else sheet.times.at(call.at_ns)

    def changes(self, call: PriceableCall, from_ns: int, to_ns: int) -> tuple[int, ...] | None:
        """The instants in [from_ns, to_ns) at which what `terms` answers for a call of these names may change; None where that goes
        by the hour.
        """
        found = {from_ns, *(moment for moment in self._book.moments if from_ns < moment < to_ns)}
        for moment in tuple(found):
            sheet = self._terms_of(call._replace(at_ns=moment)).sheet
            if sheet is not None and sheet.times is not None:
                starts = sheet.times.changes()
                if starts is None:
                    return None
                found.update(start for start in starts if from_ns < start < to_ns)
        return tuple(sorted(found))

    def _without_usage(self, call: PriceableCall) -> Quote:
        """A provider's error answer without usage costs nothing; any other call without usage has no price."""
        match = self._terms_of(call).match
        if call.error_type is not None and call.missing_reason in _FREE_ERROR_REASONS:
            return Quote(0, COMPUTED, (), match and match.key, match and match.kind, match.row.version if match else self.version)
        return self._unpriced(call.missing_reason or NO_USAGE, match)

    def _unpriced(self, reason: str, match: Match | None = None) -> Quote:
        version = match.row.version if match else self.version
        return Quote(None, UNPRICED, (), match and match.key, match and match.kind, version, False, reason)

    def _terms_of(self, call: PriceableCall) -> _Terms:
        named: tuple[object, ...] = self._names_in(call)
        asked = (named, bisect_right(self._moments, call.at_ns)) if self._moments else named
        terms = self._terms.get(asked)
        if terms is None:
            terms = self._find_terms(call)
            if len(self._terms) >= limits.PRICE_MEMO_MAX:
                self._terms.clear()
            if _is_short(named):
                self._terms[asked] = terms
        return terms

    def _find_terms(self, call: PriceableCall) -> _Terms:
        named = [model for model in call.models if clean(model[: limits.NAME_CHARS_MAX + 1]) not in PLACEHOLDERS]
        if not named:
            return _Terms(None, None, NO_MODEL)
        region = call.region if call.region_kind == "bedrock_region" else None
        found = [match for model in named if (match := self._match(call, model, region))]
        if not found:
            return _Terms(None, None, UNKNOWN_MODEL if call.provider else NO_PROVIDER)
        match = next((match for match in found if not match.row.retired), found[0])
        factor = factor_of(match.row, call.region_kind, call.region, call.speed)
        return _Terms(match, sheet_of(match.row, tier_of(call.service_tier), factor), None)

    def _match(self, call: PriceableCall, model: str, region: str | None) -> Match | None:
        """The row of a name: the operator's word, else that of the call's image size, else the common one."""
        match = self._find(call, model, region)
        if match is not None and match.kind == "override":
            return match
        return self._sized(call, model) or match

    def _find(self, call: PriceableCall, name: str, region: str | None = None) -> Match | None:
        return self._matcher.find(call.provider, name, region, call.at_ns, call.account)

    def _sized(self, call: PriceableCall, model: str) -> Match | None:
        """The row of an image model in the very size and quality of the call, for lists that have a row for each."""
        if not call.image_size:
            return None
        size = call.image_size.strip().lower().replace("-x-", "x").replace("x", "-x-")
        names = (f"{call.quality}/{size}/{model.strip()}",) if call.quality else ()
        for name in (*names, f"{size}/{model.strip()}"):
            match = self._find(call, name)
            if match is not None and match.kind != "inferred":
                return match
        return None


def try_every_row(book: PriceBook, name: str) -> None:
    """Make every row's rates once, so that a price file that cannot be used is refused at the start and not at a call.

    Raises:
        StartRefused: with the row and what is wrong in it.
    """
    for row in book.rows():
        try:
            for tier in (STANDARD, BATCH):
                sheet_of(row, tier, factor_of(row, None, None, None))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as fault:
            raise StartRefused(f"price file {name}: row {row.key!r}: {type(fault).__name__}: {fault}") from fault


def _is_short(asked: tuple[object, ...]) -> bool:
    """True when what a sender wrote may be kept in memory."""
    texts = [part for item in asked for part in (item if isinstance(item, tuple) else (item,)) if isinstance(part, str)]
    return len(texts) <= 16 and all(len(text) <= limits.NAME_CHARS_MAX for text in texts)


def _charge(sheet: Sheet, call: PriceableCall) -> tuple[tuple[CostLine, ...] | None, int, bool]:
    """Lines, their sum, and whether a fall-back was used; lines are None when a unit that must have a rate has none."""
    usage = call.usage
    column = sheet.first
    if sheet.later:
        prompt = prompt_tokens(usage)
        for edge, rates in sheet.later:
            if prompt > edge:
                column = rates
    lines: list[CostLine] = []
    total = 0
    partial = False
    seen = 0
    for unit, rate in column.wholes:
        count = usage.get(unit)
        if not count:
            continue
        seen += 1
        if rate is None:
            return _charge_slowly(sheet, column, call)
        amount = count * rate[0]
        if rate[1] != 1:
            amount = divide_half_even(amount, rate[1])
        total += amount
        if not rate[3]:
            partial = True
        lines.append(_new(CostLine, (unit, count, rate[2], amount)))
    if seen != len(usage) or call.seconds:
        return _charge_slowly(sheet, column, call)
    return tuple(lines), total, partial


def _charge_slowly(sheet: Sheet, column: Column, call: PriceableCall) -> tuple[tuple[CostLine, ...] | None, int, bool]:
    """As `_charge`, for calls with parts, units that are no tokens, or units without a rate."""
    counts, partial = _split(call.usage, column)
    lines: list[CostLine] = []
    unrated: list[str] = []
    for unit, rate in _rated(column):
        count = counts.get(unit, 0)
        if not count:
            continue
        if rate is None:
            unrated.append(unit)
            continue
        partial = partial or not rate.own
        lines.append(CostLine(unit, count, rate.text, divide_half_even(count * rate.numerator, rate.denominator)))
    if unrated and not _bills_other_units(sheet.row):
        return None, 0, False
    tokens_only = len(unrated)
    for unit, quantity, usd, own in unit_prices(sheet.row, call, sheet.tier):
        if usd is None:
            unrated.append(unit)
            continue
        partial = partial or not own
        pico = quantity * usd * PICO_PER_USD
        lines.append(CostLine(unit, _quantity(quantity), plain(usd), divide_half_even(pico.numerator, pico.denominator)))
    if len(unrated) > tokens_only and not lines:
        return None, 0, False
    lines += [CostLine(unit, _unrated_count(unit, counts, call), "0", 0) for unit in unrated]
    return tuple(lines), sum(line.amount_pico for line in lines), partial or bool(unrated)


def _bills_other_units(row: PriceRow) -> bool:
    """True when tokens without a rate cost nothing by the row, because it bills pages, seconds, characters or the like."""
    return row.mode not in _TOKEN_MODES and (not bills_tokens(row) or row.mode != "realtime") and prices_anything(row)


def _split(usage: dict[str, int], column: Column) -> tuple[dict[str, int], bool]:
    """Counts with the separately billed parts taken out of their wholes, and whether a part had no rate though it should.

    Prompt parts beyond the uncached prompt were read from the cache; they are billed there and cut here.
    """
    counts = {unit: usage.get(unit, 0) for unit, _ in column.wholes}
    missing = False
    for parts, whole in ((INPUT_PARTS, "input_uncached"), (OUTPUT_PARTS, "output")):
        left = counts[whole]
        for part in parts:
            count = min(usage.get(part, 0), left)
            left -= count
            if count and part in column.parts:
                counts[part] = count
                counts[whole] -= count
            elif count and part in column.missing_parts:
                missing = True
    return counts, missing


def _rated(column: Column) -> list[tuple[str, Rate | None]]:
    return [*column.wholes, *column.parts.items()]


def _quantity(quantity: int | Fraction) -> int | str:
    if isinstance(quantity, int):
        return quantity
    return plain(quantity)


def _unrated_count(unit: str, counts: dict[str, int], call: PriceableCall) -> int | str:
    if unit == "seconds" and call.seconds:
        return call.seconds
    return counts.get(unit) or call.usage.get(unit, 0)
