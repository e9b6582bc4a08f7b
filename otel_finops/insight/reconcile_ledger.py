"""The ledger's side of a reconciliation: what was booked by stretch of time and model, by how well it is known."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.base.errors import TooLarge
from otel_finops.base.limits import OTHER_UNIT_TRACES_MAX
from otel_finops.genai.usage import INPUT_PARTS
from otel_finops.insight.bills.line import COARSE_UNITS, FINE_UNITS, coarse_unit
from otel_finops.insight.reconcile import LedgerSide
from otel_finops.ledger.entry import ESTIMATED
from otel_finops.ledger.rolled_usage import RolledUsage, rolled_usage
from otel_finops.ledger.spend import Question
from otel_finops.ledger.spend_entries import changed_calls, free_failures, standing_charges
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import COVERED, PriceableCall
from otel_finops.store.unit_of_work import Transaction

CUT: Final = frozenset({"no_usage_stream", "no_usage_timeout"})
MISSING: Final = frozenset({"no_usage", "bad_usage"})
_OUTPUT_PARTS: Final = ("audio_out", "image_out", "video_out")
_UNPRICED: Final = "unpriced"
_QUOTED: Final = 1_000
"""Tokens that are quoted to learn the price of one: few enough for no tier of long prompts."""


class Asked(NamedTuple):
    """Which calls a bill is for.

    Attributes:
        tenants: None for all.
        providers: the families that bill, "" among them where calls without a provider may be meant.
        from_ns, to_ns: whole days or hours.
        scope: values by dimension.
    """

    tenants: Collection[str] | None
    providers: Collection[str]
    from_ns: int
    to_ns: int
    scope: Mapping[str, str] = {}

    @property
    def filters(self) -> dict[str, Collection[str]]:
        """The same as filters of questions."""
        return {"provider": self.providers, **{name: (value,) for name, value in self.scope.items()}}


class OtherUnit(NamedTuple):
    """What calls used of a unit that is no token: when, of which model, how much, at what cost."""

    at_ns: int
    model: str
    unit: str
    quantity: int
    amount_pico: int


class Failed(NamedTuple):
    """Calls of a day that were answered with an error."""

    day_ns: int
    provider: str
    model: str
    calls: int


class Booked:
    """Adds up what the ledger has of a cell; `covered`: calls that a flat fee pays, which are on no bill by the call."""

    def __init__(self) -> None:
        self._side = LedgerSide()
        self._quantities: dict[str, int] = {}
        self._unpriced: dict[str, int] = {}
        self.covered = 0
        self.names: set[str] = set()

    def take(self, row: RolledUsage) -> None:
        """Add calls that were priced alike."""
        side = self._side
        self.names.add(row.model)
        if row.cost_method == COVERED:
            self.covered += row.calls
        elif row.cost_method == ESTIMATED:
            self._side = side._replace(estimated=side.estimated + row.calls, estimated_pico=side.estimated_pico + row.cost_pico)
        elif row.cost_method != _UNPRICED:
            self._side = side._replace(priced=side.priced + row.calls, priced_pico=side.priced_pico + row.cost_pico)
            _add(self._quantities, row.usage)
        elif row.unpriced_reason in CUT:
            self._side = side._replace(cut=side.cut + row.calls)
        elif row.unpriced_reason in MISSING:
            self._side = side._replace(missing=side.missing + row.calls)
        else:
            self._side = side._replace(unpriced=side.unpriced + row.calls)
            _add(self._unpriced, row.usage)

    def take_failed(self, calls: int) -> None:
        """Calls among those added that were answered with an error and cost nothing."""
        self._side = self._side._replace(priced=self._side.priced - calls, failed=self._side.failed + calls)

    def take_other(self, used: OtherUnit, *, moved: bool = False) -> None:
        """What they used of a unit that is no token; `moved`: its cost is another cell's, and comes here from there."""
        self._quantities[used.unit] = self._quantities.get(used.unit, 0) + used.quantity
        if moved:
            self._side = self._side._replace(priced=self._side.priced + 1, priced_pico=self._side.priced_pico + used.amount_pico)

    def lose(self, amount_pico: int) -> None:
        """A part of the cost belongs to another cell."""
        self._side = self._side._replace(priced_pico=self._side.priced_pico - amount_pico)

    def side(self, billed_units: Collection[str], weights: Mapping[str, Fraction]) -> LedgerSide:
        """All of it, in the units of the bill.

        Args:
            weights: price of one by fine unit.
        """
        quantities, unpriced = (_coarse(found, billed_units) for found in (self._quantities, self._unpriced))
        return self._side._replace(
            quantities=quantities, unpriced_quantities=unpriced, weights=_coarse_weights(weights, self._quantities, billed_units)
        )

    @property
    def units(self) -> Collection[str]:
        """Of which there are counts."""
        return self._quantities.keys() | self._unpriced.keys()


def rolled(transaction: Transaction, asked: Asked) -> Iterator[RolledUsage]:
    """What roll-ups say of these calls, in units none of which is a part of another."""
    for row in rolled_usage(transaction, asked.tenants, asked.from_ns, asked.to_ns, asked.filters):
        yield row._replace(usage=_disjoint(row.usage))


def failures(transaction: Transaction, asked: Asked) -> Iterator[Failed]:
    """Calls that failed and cost nothing, but those that a flat fee covers."""
    question = Question(asked.tenants, ("day", "provider", "model", "cost_method"), asked.from_ns, asked.to_ns, asked.filters)
    for (day_ns, provider, model, method), calls in free_failures(transaction, question, asked.from_ns, asked.to_ns):
        if method != COVERED:
            yield Failed(day_ns, provider, model, calls)


def other_units(transaction: Transaction, asked: Asked, units: Collection[str]) -> Iterator[OtherUnit]:
    """What calls used of units that roll-ups do not have; only such calls are read, one by one."""
    if not units:
        return
    question = Question(asked.tenants, (), asked.from_ns, asked.to_ns, asked.filters)
    named = " OR ".join(f"usage LIKE '%\"{unit}\"%'" for unit in sorted(units) if unit.isidentifier())
    where, values = standing_charges(transaction, question, f"({named})")
    times = (asked.from_ns, asked.to_ns, asked.from_ns, asked.to_ns)
    sql = f"SELECT started_ns, COALESCE(response_model, request_model), usage, cost_lines FROM entries e WHERE {where}"
    for count, (started_ns, model, usage, lines) in enumerate(transaction.iterate(sql, (*times, *values))):
        if count >= OTHER_UNIT_TRACES_MAX:
            raise TooLarge(f"more than {OTHER_UNIT_TRACES_MAX} calls used {', '.join(sorted(units))}; ask for less time")
        yield from _others(started_ns, model or "", orjson.loads(usage), orjson.loads(lines), units)
    for net in changed_calls(transaction, question, asked.from_ns, asked.to_ns):
        yield from _others(net.started_ns, net.response_model or net.request_model or "", net.usage, net.cost_lines, units)


def _others(at_ns: int, model: str, usage: Mapping[str, Any], lines: Collection[Any], units: Collection[str]) -> Iterator[OtherUnit]:
    for unit in units:
        if quantity := usage.get(unit):
            yield OtherUnit(at_ns, model, unit, int(quantity), sum(int(line[3]) for line in lines if line[0] == unit))


def unit_prices(engine: PriceEngine, provider: str, model: str, units: Collection[str], at_ns: int) -> dict[str, Fraction]:
    """What one of each fine unit costs by the price book at a moment; units without a price are left out."""
    found = {}
    for unit in units:
        part_of = "input_uncached" if unit in INPUT_PARTS else "output" if unit in _OUTPUT_PARTS else unit
        call = PriceableCall(provider, (model,), {part_of: _QUOTED, unit: _QUOTED}, at_ns)
        cost_pico = engine.quote(call).cost_pico
        if cost_pico:
            found[unit] = Fraction(cost_pico, _QUOTED)
    return found


def parts_of(units: Collection[str]) -> set[str]:
    """The fine units of which these are made."""
    return {part for unit in units for part in COARSE_UNITS.get(unit, (unit,)) if part in FINE_UNITS}


def _disjoint(usage: Mapping[str, int]) -> dict[str, int]:
    """Counts of which none is a part of another: sound and pictures apart from text, reasoning within the output."""
    count = usage.get
    text = {
        "input_uncached": count("input_uncached", 0) - sum(count(part, 0) for part in INPUT_PARTS),
        "output": count("output", 0) - sum(count(part, 0) for part in _OUTPUT_PARTS),
    }
    kept = {unit: text.get(unit, count(unit, 0)) for unit in FINE_UNITS}
    return {unit: value for unit, value in kept.items() if value}


def _add(sums: dict[str, int], usage: Mapping[str, int]) -> None:
    for unit, value in usage.items():
        sums[unit] = sums.get(unit, 0) + value


def _coarse(quantities: Mapping[str, int], billed: Collection[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for unit, value in quantities.items():
        name = coarse_unit(unit, billed)
        found[name] = found.get(name, 0) + value
    return found


def _coarse_weights(weights: Mapping[str, Fraction], quantities: Mapping[str, int], billed: Collection[str]) -> dict[str, Fraction]:
    """Of a coarse unit what its parts cost on average, as the ledger has them; else the dearest of them that is priced."""
    found: dict[str, Fraction] = {}
    for name in {coarse_unit(unit, billed) for unit in weights}:
        parts = [unit for unit in weights if coarse_unit(unit, billed) == name]
        total = sum(quantities.get(unit, 0) for unit in parts)
        if total > 0:
            found[name] = sum((weights[unit] * quantities.get(unit, 0) for unit in parts), Fraction(0)) / total
        else:
            found[name] = max(weights[unit] for unit in parts)
    return found
