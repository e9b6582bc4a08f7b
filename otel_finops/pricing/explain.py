"""Why a call costs what it costs: the names that were asked, the rules that spoke, the row and where it is from, tier, hours and lines.

It is told from the same engine that made the quote; what a rule changed is found by asking the book without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from otel_finops.base.times import format_ns
from otel_finops.genai.usage import INPUT_PARTS, OUTPUT_PARTS, prompt_tokens
from otel_finops.pricing.book import PriceBook, PriceRow
from otel_finops.pricing.engine import MISSING_RATE, PriceEngine
from otel_finops.pricing.forms import PARTS, WHOLES
from otel_finops.pricing.house_rules import Alias, HouseRules, Override
from otel_finops.pricing.match import Match, names_asked
from otel_finops.pricing.quote import CostLine, PriceableCall, Quote
from otel_finops.pricing.rates import BATCH, STANDARD, Column, Sheet, exact, factor_of, plain
from otel_finops.pricing.rule_prices import PER_UNIT, service_tier_of, shown
from otel_finops.pricing.sources.fields import prices_of
from otel_finops.pricing.units import unit_prices

_RULE: Final = "rule:"
_STANDARD: Final = "standard"
_FIELD_OF: Final[Mapping[str, str]] = {**WHOLES, **PARTS}
_INSTEAD: Final = {
    "cache_read": "the input rate (Fireworks: half of it)",
    "cache_write_5m": "the input rate",
    "cache_write_1h": "the 5 minute rate",
    "cache_write_12h": "the 5 minute rate",
    "annotated_pages": "the page rate",
}
"""What stands in for a unit without a rate (docs/pricing.md)."""


class Ruled(NamedTuple):
    """A house rule that spoke: its number, its layer (`alias`, `contract`, `override`), and what it did."""

    rule: int
    kind: str
    effect: str


class Source(NamedTuple):
    """Where a row is from.

    Attributes:
        source, source_version, version, date: of the price list's snapshot.
        valid_from_ns: from when that snapshot's changes hold; None = from the beginning.
        retired: the list no longer has the row.
        dated: its prices change by date or hour (second source).
    """

    source: str
    source_version: str
    version: str
    date: str
    valid_from_ns: int | None
    retired: bool
    dated: bool


class ExplainedLine(NamedTuple):
    """A line of the quote, the price field that it is from (None: none of its own), and what there is to say of it."""

    line: CostLine
    field: str | None
    note: str | None


class Explanation(NamedTuple):
    """Why.

    Attributes:
        quote: what is explained.
        names: that were asked in the provider's rows, in order.
        rules: house rules that spoke, in the order in which they act.
        by_list: what the lists alone would have found.
        match: the row that was found; None without one.
        source: where the row is from; None for a row that rules alone made.
        tier_asked, tier_billed: of service; `standard` where the row has no such price.
        prompt, above: tokens of the whole prompt, and the edge that it crossed (None: none).
        factor: the surcharge for place and speed, "1" without one.
        lines: of the quote.
        inside: parts (audio, images, reasoning, ...) that the row does not bill apart: they are in the lines of their wholes.
        missing: units of the call for which the row has no rate, where that is why it has no price.
    """

    quote: Quote
    names: tuple[str, ...]
    rules: tuple[Ruled, ...]
    by_list: Match | None
    match: Match | None
    source: Source | None
    tier_asked: str | None
    tier_billed: str
    prompt: int
    above: int | None
    factor: str
    lines: tuple[ExplainedLine, ...]
    inside: tuple[str, ...]
    missing: tuple[str, ...]


def explain(engine: PriceEngine, call: PriceableCall) -> Explanation:
    """The quote of a call with its reasons."""
    quote = engine.quote(call)
    match, sheet = engine.terms(call)
    by_list, listed_row, rules = _ruled(engine.book, call)
    factor = factor_of(match.row, call.region_kind, call.region, call.speed) if match else Fraction(1)
    prompt = prompt_tokens(call.usage)
    return Explanation(
        quote,
        tuple(dict.fromkeys(name for model in call.models for name in names_asked(call.provider, model))),
        rules,
        by_list,
        match,
        None if listed_row is None else _source(engine.book, listed_row),
        call.service_tier,
        _tier_billed(sheet),
        prompt,
        None if sheet is None else max((edge for edge, _ in sheet.later if prompt > edge), default=None),
        plain(factor),
        tuple(_explained(line, sheet, prompt, factor) for line in quote.lines) if sheet else (),
        _inside(call, quote) if quote.cost_pico is not None else (),
        _missing(call, sheet, prompt) if sheet and quote.unpriced_reason == MISSING_RATE else (),
    )


def _ruled(book: PriceBook, call: PriceableCall) -> tuple[Match | None, PriceRow | None, tuple[Ruled, ...]]:
    """What the lists find alone, the list's row under the rules, and the rules that spoke: aliases, then contracts, then overrides."""
    names, contracts = HouseRules((), book.rules.aliases), tuple(one for one in book.rules.overrides if one.layer == "contract")
    steps = [_found(book.under(rules), call) for rules in (HouseRules(), names, names._replace(overrides=contracts), book.rules)]
    by_list, named, agreed, final = steps
    ruled: list[Ruled] = []
    if named is not None and named.kind == "override":
        ruled += [_alias_ruled(one) for one in _speaking_alias(book, call, named)]
    for before, after in ((named, agreed), (agreed, final)):
        if after is not None and after.row.version.startswith(_RULE) and (before is None or before.row.version != after.row.version):
            ruled += [_override_ruled(one) for one in book.rules.overrides if after.row.version == f"{_RULE}{one.rule_id}"]
    return by_list, named.row if named is not None else None, tuple(ruled)


def _found(book: PriceBook, call: PriceableCall) -> Match | None:
    return PriceEngine(book).terms(call)[0]


def _speaking_alias(book: PriceBook, call: PriceableCall, named: Match) -> Iterator[Alias]:
    """The alias that led to the row: the one that finds it alone, the later one first."""
    for one in reversed(book.rules.aliases):
        if one.target.lower() == named.key.lower():
            alone = _found(book.under(HouseRules((), (one,))), call)
            if alone is not None and alone.kind == "override":
                yield one
                return


def _alias_ruled(one: Alias) -> Ruled:
    return Ruled(int(one.rule_id), "alias", f"{one.name} stands for {one.target}{_dated(one)}")


def _override_ruled(one: Override) -> Ruled:
    prices = ", ".join(f"{name}={price}" for name, price in shown(one.fields).items())
    whose = f" for the account {one.account}" if one.account else ""
    return Ruled(int(one.rule_id), one.layer, f"{one.model}: {prices}{whose}{_dated(one)}")


def _dated(one: Alias | Override) -> str:
    begin = "" if one.valid_from_ns is None else f", from {format_ns(one.valid_from_ns)}"
    return begin + ("" if one.valid_to_ns is None else f", to {format_ns(one.valid_to_ns)}")


def _source(book: PriceBook, row: PriceRow) -> Source | None:
    one = book.snapshot(row.version)
    if one is None:
        return None
    return Source(one.source, one.source_version, one.version, one.date, one.valid_from_ns, row.retired, row.seasons is not None)


def _tier_billed(sheet: Sheet | None) -> str:
    """The tier whose prices were used: a tier for which the row has none is billed as standard; a batch has half of the standard price."""
    if sheet is None or sheet.tier == STANDARD:
        return _STANDARD
    has_prices = sheet.tier == BATCH or any(name.endswith(sheet.tier) for name in sheet.row.fields)
    return service_tier_of(sheet.tier) if has_prices else _STANDARD


# --- lines -----------------------------------------------------------------------------------------------------------


def _explained(line: CostLine, sheet: Sheet, prompt: int, factor: Fraction) -> ExplainedLine:
    column = _column(sheet, prompt)
    rate = dict(column.wholes).get(line.unit) or column.parts.get(line.unit)
    if rate is None:
        field = _field(sheet, PER_UNIT.get(line.unit, ()), line.rate_usd, Fraction(1))
        unbilled = line.rate_usd == "0" and field is None
        return ExplainedLine(line, field, "the row has no price for it, and bills something else" if unbilled else None)
    base = (_FIELD_OF[line.unit],)
    if rate.own:
        return ExplainedLine(line, _field(sheet, base, line.rate_usd, factor), None)
    standard = _field(sheet, base, line.rate_usd, factor / 2) if sheet.tier == BATCH and line.unit != "cache_read" else None
    instead = _INSTEAD.get(line.unit, "another rate") if standard is None else "half of the standard price"
    return ExplainedLine(line, standard, f"no price of its own; {instead} stands in")


def _column(sheet: Sheet, prompt: int) -> Column:
    return next((rates for edge, rates in reversed(sheet.later) if prompt > edge), sheet.first)


def _field(sheet: Sheet, bases: Sequence[str], rate_usd: str, factor: Fraction) -> str | None:
    """The field of the row (or of its hours, or of a range) that states this rate: of several the one that says most."""
    found = []
    for path, value in prices_of(sheet.row.fields):
        name = path.rpartition(".")[2]
        speaks = any(name == base or name.startswith(f"{base}_") for base in bases) or path.startswith(tuple(bases))
        if speaks and plain(exact(value) * factor) == rate_usd:
            found.append((bool(sheet.tier) and name.endswith(sheet.tier), name in bases, -len(path), path))
    return max(found)[-1] if found else None


def _missing(call: PriceableCall, sheet: Sheet, prompt: int) -> tuple[str, ...]:
    """Units of the call for which the row has no rate."""
    tokens = (unit for unit, rate in _column(sheet, prompt).wholes if rate is None and call.usage.get(unit))
    others = (one.unit for one in unit_prices(sheet.row, call, sheet.tier) if one.usd is None)
    return (*tokens, *others)


def _inside(call: PriceableCall, quote: Quote) -> tuple[str, ...]:
    """Parts of the prompt and the output that were billed within their whole."""
    billed = {line.unit for line in quote.lines}
    return tuple(unit for unit in (*INPUT_PARTS, *OUTPUT_PARTS) if call.usage.get(unit) and unit not in billed)
