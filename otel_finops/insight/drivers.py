"""Why spend is another than expected: the difference taken apart into what drives it, pure calculation that adds up to the pico.

What was used now is compared with what is usual: the calls of some earlier time, scaled so that they cost what was expected. Who was never
seen before drives all that he spends. Of everybody else (an agent of a tenant) the difference is, in this order and without a rest:

* calls: a model that gains calls while others of the same agent lose them has replaced them, up to the smaller of both numbers. That part
  is the model mix: what a call of the model usually costs less what a call of those usually costs. What is left is volume, at what a call
  of the model usually costs. Both are the new model's where the model was never seen before.
* quantities at usual rates: of prompts, what comes of other shares of cached tokens at the length that prompts have now, then what comes
  of their length; of everything else (output, searches, images) how much of it a call takes.
* price: quantities of now at other rates per unit, whatever made them so: lists, contracts, tiers, discounts.

This is a chain of replacements (first how often, then how much, then at what price); another order would give the parts that belong to two
causes at once to the other one. The order is fixed and stated, so that figures can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.base.limits import DRIVER_GROUPS_MAX
from otel_finops.genai.usage import PROMPT_UNITS

Kind: TypeAlias = Literal[
    "new_tenant", "new_agent", "new_model", "volume", "model_mix", "price", "tokens_per_call", "cache_hits", "unknown"
]  # fmt: skip
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""`unknown`: the calls of one of the two times are gone, so that nobody can say."""

DETAILS_MAX: Final = 5
"""Details of one driver that are named, greatest first."""
PROMPT: Final = "prompt"
"""Unit of a detail about the length of prompts."""
_CACHE_READ: Final = "cache_read"
_OTHERS: Final = ("", "")


class Cell(NamedTuple):
    """Whose calls, and of what; '' for not known."""

    tenant: str
    agent: str
    provider: str
    model: str


class Units(NamedTuple):
    """What was charged for a unit: how much of it, and pico-USD."""

    quantity: Fraction
    amount: int


class Use(NamedTuple):
    """What the calls of a cell came to.

    Attributes:
        calls: those that cost anything.
        units: by what was charged.
    """

    calls: int
    units: Mapping[str, Units]

    @property
    def amount(self) -> int:
        """Pico-USD."""
        return sum(one.amount for one in self.units.values())


Uses: TypeAlias = Mapping[Cell, Use]


class Known(NamedTuple):
    """Who was seen before: tenants, (tenant, agent), (provider, model). What is not known ('') counts as seen."""

    tenants: frozenset[str]
    agents: frozenset[tuple[str, str]]
    models: frozenset[tuple[str, str]]


class Detail(NamedTuple):
    """A part of a driver.

    Attributes:
        amount: pico-USD.
        cell: whom and what it is about; '' where it is about several.
        unit: of a price, or what a call took more of; '' for calls and shares.
        before, after: what was usual and what is: calls; USD per unit in pico; units per call; the share of the prompt that was read from
            a cache. None where it cannot be said.
    """

    amount: int
    cell: Cell
    unit: str
    before: Fraction | None
    after: Fraction | None


class Driver(NamedTuple):
    """What of a difference is due to one kind of cause, in pico-USD, with its largest details."""

    kind: Kind
    amount: int
    details: tuple[Detail, ...]


class _Figure(NamedTuple):
    """A ratio that can be added up: the parts of both are summed before one is divided by the other."""

    before: Fraction = Fraction(0)
    before_by: Fraction = Fraction(0)
    after: Fraction = Fraction(0)
    after_by: Fraction = Fraction(0)

    def plus(self, other: _Figure) -> _Figure:
        return _Figure(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class _Effect(NamedTuple):
    """A part of a difference, not yet rounded."""

    kind: Kind
    cell: Cell
    unit: str
    amount: Fraction
    figure: _Figure


class _Pair(NamedTuple):
    """What a cell used now, and what would be usual, both scaled to the money that they stand for.

    Attributes:
        is_new: the model was never seen before.
    """

    cell: Cell
    calls: Fraction
    units: Mapping[str, _Scaled]
    usual_calls: Fraction
    usual_units: Mapping[str, _Scaled]
    is_new: bool

    @property
    def amount(self) -> Fraction:
        return sum((one.amount for one in self.units.values()), Fraction(0))

    @property
    def gained(self) -> Fraction:
        return self.calls - self.usual_calls

    @property
    def usual_cost(self) -> Fraction:
        """Of a call; where none was usual, what one costs now."""
        if self.usual_calls:
            return sum((one.amount for one in self.usual_units.values()), Fraction(0)) / self.usual_calls
        return self.amount / self.calls if self.calls else Fraction(0)


class _Scaled(NamedTuple):
    quantity: Fraction
    amount: Fraction

    @property
    def rate(self) -> Fraction | None:
        return self.amount / self.quantity if self.quantity else None


_NONE: Final = _Scaled(Fraction(0), Fraction(0))


def drivers_of(now: Uses, usual: Uses, value: int, expected: int, known: Known) -> tuple[Driver, ...]:
    """The drivers of `value - expected`, greatest amount first; they add up to it exactly.

    Args:
        now: what was used in the time in question.
        usual: what was used at other times, of any length.
        value, expected: what the time in question cost, and what it would usually cost, pico-USD.
        known: who was seen before.
    """
    spent, compared = (sum(use.amount for use in uses.values()) for uses in (now, usual))
    if (value and spent <= 0) or (expected and compared <= 0):
        return (Driver("unknown", value - expected, ()),)
    scale = Fraction(value, spent) if spent > 0 else Fraction(0)
    scale_usual = Fraction(expected, compared) if compared > 0 else Fraction(0)
    effects: list[tuple[_Effect, int]] = []
    for group, cells in _groups(now, usual, scale, scale_usual):
        pairs = [_pair(cell, now.get(cell), usual.get(cell), scale, scale_usual, known) for cell in cells]
        effects += _rounded(list(_effects(group, pairs, known)))
    return _drivers(_settled(effects, value - expected))


def _groups(now: Uses, usual: Uses, scale: Fraction, scale_usual: Fraction) -> Iterator[tuple[tuple[str, str], list[Cell]]]:
    """Cells by tenant and agent; of too many, those whose money changed least are taken together."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    change: dict[tuple[str, str], Fraction] = {}
    for cell in sorted({*now, *usual}):
        group = cell.tenant, cell.agent
        groups.setdefault(group, []).append(cell)
        moved = _amount(now.get(cell)) * scale - _amount(usual.get(cell)) * scale_usual
        change[group] = change.get(group, Fraction(0)) + moved
    order = sorted(groups, key=lambda group: (-abs(change[group]), group))
    for group in order[:DRIVER_GROUPS_MAX]:
        yield group, groups[group]
    if rest := [cell for group in order[DRIVER_GROUPS_MAX:] for cell in groups[group]]:
        yield _OTHERS, rest


def _amount(use: Use | None) -> int:
    return 0 if use is None else use.amount


def _pair(cell: Cell, now: Use | None, usual: Use | None, scale: Fraction, scale_usual: Fraction, known: Known) -> _Pair:
    is_new = bool(cell.model) and (cell.provider, cell.model) not in known.models
    return _Pair(cell, *_scaled(now, scale), *_scaled(usual, scale_usual), is_new)


def _scaled(use: Use | None, scale: Fraction) -> tuple[Fraction, dict[str, _Scaled]]:
    if use is None:
        return Fraction(0), {}
    return use.calls * scale, {unit: _Scaled(one.quantity * scale, one.amount * scale) for unit, one in use.units.items()}


def _effects(group: tuple[str, str], pairs: Sequence[_Pair], known: Known) -> Iterator[_Effect]:
    """All effects of one agent of a tenant; they add up to the difference of his money."""
    tenant, agent = group
    newcomer: Kind | None = None
    if tenant and tenant not in known.tenants:
        newcomer, agent = "new_tenant", ""
    elif agent and (tenant, agent) not in known.agents:
        newcomer = "new_agent"
    if newcomer is not None:
        for pair in pairs:
            yield _Effect(newcomer, Cell(tenant, agent, "", ""), "", pair.amount - _usual_amount(pair), _calls(pair))
        return
    yield from _of_calls(pairs)
    for pair in pairs:
        if pair.calls and pair.usual_calls:
            yield from _of_a_call(pair)
        yield from _without_calls(pair)


def _without_calls(pair: _Pair) -> Iterator[_Effect]:
    """Money of calls that cost nothing any more, or nothing yet: what was corrected so that parts of it cancel out."""
    stray = (pair.amount if not pair.calls else 0) - (_usual_amount(pair) if not pair.usual_calls else 0)
    if stray:
        yield _Effect("volume", _whose(pair.cell), "", Fraction(stray), _Figure())


def _usual_amount(pair: _Pair) -> Fraction:
    return sum((one.amount for one in pair.usual_units.values()), Fraction(0))


def _calls(pair: _Pair) -> _Figure:
    return _Figure(pair.usual_calls, Fraction(0), pair.calls, Fraction(0))


def _of_calls(pairs: Sequence[_Pair]) -> Iterator[_Effect]:
    """What more and fewer calls come to, at what they usually cost: replaced ones as mix, the rest as volume."""
    gained = sum((pair.gained for pair in pairs if pair.gained > 0), Fraction(0))
    lost = sum((-pair.gained for pair in pairs if pair.gained < 0), Fraction(0))
    lost_money = sum((-pair.gained * pair.usual_cost for pair in pairs if pair.gained < 0), Fraction(0))
    replaced = min(gained, lost)
    of_lost = lost_money / lost if lost else Fraction(0)
    for pair in pairs:
        kind: Kind = "new_model" if pair.is_new and pair.gained > 0 else "volume"
        cell = _whose(pair.cell) if kind == "volume" else pair.cell
        part = replaced / (gained if pair.gained > 0 else lost) if replaced else Fraction(0)
        yield _Effect(kind, cell, "", (1 - part) * pair.gained * pair.usual_cost, _calls(pair))
        if pair.gained > 0:
            mix: Kind = "new_model" if pair.is_new else "model_mix"
            figure = _Figure() if pair.is_new else _calls(pair)
            yield _Effect(mix, pair.cell, "", part * pair.gained * (pair.usual_cost - of_lost), figure)


def _whose(cell: Cell) -> Cell:
    return Cell(cell.tenant, cell.agent, "", "")


def _of_a_call(pair: _Pair) -> Iterator[_Effect]:
    """What a call costs more than usual: cached share and length of prompts, what else it takes, and prices."""
    prompt = sum((pair.units.get(unit, _NONE).quantity for unit in PROMPT_UNITS), Fraction(0))
    usual_prompt = sum((pair.usual_units.get(unit, _NONE).quantity for unit in PROMPT_UNITS), Fraction(0))
    shares = _Figure(
        pair.usual_units.get(_CACHE_READ, _NONE).quantity, usual_prompt, pair.units.get(_CACHE_READ, _NONE).quantity, prompt
    )  # fmt: skip
    length = _Figure(usual_prompt, pair.usual_calls, prompt, pair.calls)
    for unit in sorted({*pair.units, *pair.usual_units}):
        one, usual = pair.units.get(unit, _NONE), pair.usual_units.get(unit, _NONE)
        rate = _rate(one, usual)
        per_calls = usual.quantity / pair.usual_calls * pair.calls
        if unit in PROMPT_UNITS and prompt and usual_prompt:
            at_length = usual.quantity / usual_prompt * prompt
            yield _Effect("cache_hits", pair.cell, "", rate * (one.quantity - at_length), _Figure())
            yield _Effect("tokens_per_call", pair.cell, PROMPT, rate * (at_length - per_calls), _Figure())
        else:
            figure = _Figure(usual.quantity, pair.usual_calls, one.quantity, pair.calls)
            yield _Effect("tokens_per_call", pair.cell, unit, rate * (one.quantity - per_calls), figure)
        priced = pair.cell._replace(tenant="", agent="")
        yield _Effect(
            "price", priced, unit, one.amount - rate * one.quantity, _Figure(usual.amount, usual.quantity, one.amount, one.quantity)
        )
    yield _Effect("cache_hits", pair.cell, "", Fraction(0), shares)
    yield _Effect("tokens_per_call", pair.cell, PROMPT, Fraction(0), length)


def _rate(one: _Scaled, usual: _Scaled) -> Fraction:
    """What a unit usually costs; what was not used before has no other price than its own."""
    return usual.rate if usual.rate is not None else one.rate or Fraction(0)


def _rounded(effects: Sequence[_Effect]) -> list[tuple[_Effect, int]]:
    """Whole picos: half-even each."""
    return [(effect, round(effect.amount)) for effect in effects]


def _settled(effects: list[tuple[_Effect, int]], difference: int) -> list[tuple[_Effect, int]]:
    """What rounding left over, some picos, goes to the largest effect."""
    left = difference - sum(amount for _, amount in effects)
    if left and effects:
        place = max(range(len(effects)), key=lambda one: (abs(effects[one][1]), -one))
        effects[place] = effects[place][0], effects[place][1] + left
    return effects


def _drivers(effects: Iterable[tuple[_Effect, int]]) -> tuple[Driver, ...]:
    found: dict[Kind, dict[tuple[Cell, str], tuple[int, _Figure]]] = {}
    for effect, amount in effects:
        details = found.setdefault(effect.kind, {})
        before = details.get((effect.cell, effect.unit), (0, _Figure()))
        details[effect.cell, effect.unit] = before[0] + amount, before[1].plus(effect.figure)
    drivers = [_driver(kind, details) for kind, details in found.items()]
    return tuple(sorted((one for one in drivers if one.amount or one.details), key=lambda one: (-one.amount, KINDS.index(one.kind))))


def _driver(kind: Kind, found: Mapping[tuple[Cell, str], tuple[int, _Figure]]) -> Driver:
    parts = sorted(((amount, cell, unit, figure) for (cell, unit), (amount, figure) in found.items() if amount), key=lambda one: one[1:3])
    parts.sort(key=lambda one: -abs(one[0]))
    details = tuple(Detail(amount, cell, unit, *_said(kind, figure)) for amount, cell, unit, figure in parts[:DETAILS_MAX])
    return Driver(kind, sum(amount for amount, _ in found.values()), details)


def _said(kind: Kind, figure: _Figure) -> tuple[Fraction | None, Fraction | None]:
    if kind in ("price", "tokens_per_call", "cache_hits"):
        return _ratio(figure.before, figure.before_by), _ratio(figure.after, figure.after_by)
    return figure.before, figure.after


def _ratio(part: Fraction, by: Fraction) -> Fraction | None:
    return part / by if by else None
