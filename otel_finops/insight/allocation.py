"""Sharing costs among cost centres: who bears what, to the picodollar. Values in, values out.

Every amount that is shared is cut into parts by largest remainder: each part is its exact share rounded down, and what is left over goes
one picodollar at a time to the greatest remainders, of equal ones to the first. So the parts of an amount always add up to it, and what is
given away is what others receive.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.pricing.coverage import spread

Method: TypeAlias = Literal["even", "proportional", "fixed", "tag"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
Weight: TypeAlias = Literal["cost", "tokens", "calls"]
WEIGHTS: Final[tuple[Weight, ...]] = get_args(Weight)
CELL_KEYS: Final = ("tenant", "cost_center", "provider", "model", "operation", "agent", "service", "environment")
"""What shared costs can be chosen by: what roll-ups know of a call."""
WHOLE: Final = 100 * 10**6
"""A hundred percent, in the millionths of a percent in which fixed shares are kept."""

Entity: TypeAlias = tuple[str, str]
"""Who bears a cost: (tenant whose own cost centre it is, else '', code); the code '' is the bucket of what is not allocated."""
UNALLOCATED: Final[Entity] = ("", "")


class Cell(NamedTuple):
    """What the ledger says of the calls that have the same values of `CELL_KEYS`.

    Attributes:
        key: these values, '' for not known.
        cost_pico: of any sign: a month can hold nothing but late corrections.
    """

    key: tuple[str, ...]
    cost_pico: int
    calls: int = 0
    tokens: int = 0
    unpriced_calls: int = 0

    @property
    def tenant(self) -> str:
        """Whose calls they are."""
        return self.key[0]

    @property
    def cost_center(self) -> str:
        """The code that the calls bear, '' for none."""
        return self.key[1]


class Sharing(NamedTuple):
    """How a shared cost is cut.

    Attributes:
        no: of the rule.
        name: of the rule.
        tenant: whose rule it is, which takes from and gives to that tenant alone; None: of all.
        source: which calls' cost it takes, values by `CELL_KEYS` ('' for not known); None for a rule with an amount of its own.
        method: `even`: the same for every target; `proportional`: by the targets' own `weight`; `fixed`: by `shares`, what they leave of
            a hundred percent stays where it was; `tag`: by what the calls with each value of `tag` cost.
        weight: of proportional rules.
        targets: codes; empty for everyone with own cost, but those from whom it is taken.
        shares: of fixed rules, millionths of a percent by code, together at most `WHOLE`.
        tag: of tag rules, the key.
        values: of tag rules, codes by value; other values are taken as codes where they are among `targets`.
        amounts: of a rule with an amount of its own: what falls due in the report's time, a fee positive and a credit negative.
    """

    no: int
    name: str
    tenant: str | None
    source: Mapping[str, str] | None
    method: Method
    weight: Weight = "cost"
    targets: tuple[str, ...] = ()
    shares: Mapping[str, int] = {}
    tag: str | None = None
    values: Mapping[str, str] = {}
    amounts: tuple[int, ...] = ()

    @property
    def wanted(self) -> Mapping[int, str] | None:
        """The values that a cell has whose cost is shared by this rule, by their places in its key; None: it shares no cell's."""
        if self.source is None or (self.tenant is not None and self.source.get("tenant", self.tenant) != self.tenant):
            return None
        source = self.source if self.tenant is None else {**self.source, "tenant": self.tenant}
        return {place: source[name] for place, name in enumerate(CELL_KEYS) if name in source}


class Extra(NamedTuple):
    """A fee or a credit that is no rule's: what a subscription costs, or what prepaid credits paid.

    Attributes:
        name: what it is.
        amount: pico-USD, a credit negative.
        weights: by whom it is borne, in proportion; empty: it is not allocated.
    """

    name: str
    amount: int
    weights: Mapping[Entity, int]


class Line:
    """What one entity bears, pico-USD.

    Attributes:
        direct: what its own calls cost; this is what the ledger says.
        given: of that, what rules took away.
        received: what rules brought of others' costs.
        fees, credits: its part of what is not in the ledger; credits are negative.
    """

    __slots__ = ("calls", "credits", "direct", "fees", "given", "received", "tokens", "unpriced_calls")

    def __init__(self) -> None:
        self.direct = self.given = self.received = self.fees = self.credits = self.calls = self.tokens = self.unpriced_calls = 0

    @property
    def total(self) -> int:
        """What is charged in the end."""
        return self.direct - self.given + self.received + self.fees + self.credits


class Outcome(NamedTuple):
    """What a rule did.

    Attributes:
        pool: what it found to share.
        parts: what each entity was given of it, in the order of entities.
        rest: what stayed where it was, or, of an amount, is not allocated.
        claimed: cells that it found; 0 for amounts.
    """

    rule: Sharing
    pool: int
    parts: tuple[tuple[Entity, int], ...]
    rest: int
    claimed: int = 0


class Allocation(NamedTuple):
    """Everybody's lines, and what each rule and each extra did."""

    lines: Mapping[Entity, Line]
    outcomes: tuple[Outcome, ...]
    extras: tuple[tuple[Extra, tuple[tuple[Entity, int], ...]], ...]


TagCosts: TypeAlias = Callable[[Sharing, Sequence[Cell]], Mapping[tuple[str, ...], Mapping[str, int]]]
"""By cell's key, what its calls with each value of the rule's tag cost ('' for calls without it)."""


def divided(amount: int, weights: Sequence[int]) -> list[int]:
    """Cut an amount of either sign by weights (not negative) into whole parts that add up to it; without any weight all are equal."""
    return spread(amount, weights) if amount >= 0 else [-part for part in spread(-amount, weights)]


def allocate(
    cells: Sequence[Cell], rules: Sequence[Sharing], own: Collection[Entity], tag_costs: TagCosts, extras: Iterable[Extra] = ()
) -> Allocation:
    """Share costs by rules.

    Rules take in their order; a cell is taken by the first that wants it, as a whole, and what somebody receives is not shared again. So
    no dollar is moved twice, and the order of sharing does not matter.

    Args:
        own: cost centres that belong to a tenant alone; other codes are one for all tenants, whether somebody defined them or not.
        tag_costs: reads what rules by tag need; asked once for each.
    """
    shared = _Shared(cells, own)
    claims = shared.claimed(rules)
    outcomes = [shared.by_amount(rule) if rule.source is None else shared.by_cells(rule, claims[rule.no], tag_costs) for rule in rules]
    borne = tuple((extra, shared.by_extra(extra)) for extra in extras)
    return Allocation(shared.lines, tuple(outcomes), borne)


class _Shared:
    """The lines while they are made."""

    def __init__(self, cells: Sequence[Cell], own: Collection[Entity]) -> None:
        self._cells = cells
        self._own = own
        self._base: dict[Entity, dict[Weight, int]] = {}
        self.lines: dict[Entity, Line] = {}
        for cell in cells:
            line = self._line(self.entity(cell.tenant, cell.cost_center))
            line.direct += cell.cost_pico
            line.calls += cell.calls
            line.tokens += cell.tokens
            line.unpriced_calls += cell.unpriced_calls

    def entity(self, tenant: str, code: str) -> Entity:
        """Who bears what is said to be of a code: the tenant's own cost centre, else the one of all."""
        return (tenant, code) if code and (tenant, code) in self._own else ("", code)

    def claimed(self, rules: Sequence[Sharing]) -> dict[int, list[Cell]]:
        """Each rule's cells; what nobody takes is what proportional rules go by."""
        claims: dict[int, list[Cell]] = {rule.no: [] for rule in rules}
        takers = _Takers(rules)
        for cell in self._cells:
            taker = takers.first(cell)
            if taker is not None:
                claims[taker.no].append(cell)
                continue
            base = self._base.setdefault(self.entity(cell.tenant, cell.cost_center), dict.fromkeys(WEIGHTS, 0))
            for name, amount in zip(WEIGHTS, (cell.cost_pico, cell.tokens, cell.calls), strict=True):
                base[name] += amount
        return claims

    def by_cells(self, rule: Sharing, cells: Sequence[Cell], tag_costs: TagCosts) -> Outcome:
        """Move the cells' cost. It is cut for each of those from whom it is taken by himself, so that a rest stays with him."""
        pools: dict[Entity, list[Cell]] = {}
        for cell in cells:
            pools.setdefault(self.entity(cell.tenant, cell.cost_center), []).append(cell)
        costs = tag_costs(rule, cells) if rule.method == "tag" and cells else {}
        parts: dict[Entity, int] = {}
        pool = 0
        for giver in sorted(pools):
            amount = sum(cell.cost_pico for cell in pools[giver])
            pool += amount
            taken = self._by_tag(rule, pools[giver], costs) if rule.method == "tag" else self._cut(rule, amount, pools)
            for taker, part in taken.items():
                self._line(giver).given += part
                self._line(taker).received += part
                parts[taker] = parts.get(taker, 0) + part
        return Outcome(rule, pool, tuple(sorted(parts.items())), pool - sum(parts.values()), len(cells))

    def by_amount(self, rule: Sharing) -> Outcome:
        """Charge fees and give credits that the ledger knows nothing of; what nobody bears is not allocated."""
        parts: dict[Entity, int] = {}
        rest = 0
        for amount in rule.amounts:
            taken = self._cut(rule, amount, ())
            left = amount - sum(taken.values())
            rest += left
            for taker, part in (*taken.items(), (UNALLOCATED, left)):
                self._charge(taker, part, amount)
            for taker, part in taken.items():
                parts[taker] = parts.get(taker, 0) + part
        return Outcome(rule, sum(rule.amounts), tuple(sorted(parts.items())), rest)

    def by_extra(self, extra: Extra) -> tuple[tuple[Entity, int], ...]:
        """Charge it, in proportion to its weights."""
        takers = sorted(taker for taker, weight in extra.weights.items() if weight > 0) or [UNALLOCATED]
        parts = divided(extra.amount, [extra.weights.get(taker, 1) for taker in takers])
        for taker, part in zip(takers, parts, strict=True):
            self._charge(taker, part, extra.amount)
        return tuple(zip(takers, parts, strict=True))

    def _charge(self, taker: Entity, part: int, amount: int) -> None:
        if not part:
            return
        line = self._line(taker)
        if amount >= 0:
            line.fees += part
        else:
            line.credits += part

    def _cut(self, rule: Sharing, amount: int, givers: Collection[Entity]) -> dict[Entity, int]:
        """Who gets what of an amount; empty where there is nobody to bear it."""
        tenant = rule.tenant or ""
        if rule.method == "fixed":
            takers = [self.entity(tenant, code) for code in rule.shares]
            shares = list(rule.shares.values())
            parts = divided(amount, [*shares, WHOLE - sum(shares)])[: len(takers)]
            return _added(zip(takers, parts, strict=True))
        takers = sorted({self.entity(tenant, code) for code in rule.targets}) or self._with_own_cost(rule, givers)
        weights = [max(self._base.get(taker, {}).get(rule.weight, 0), 0) if rule.method == "proportional" else 1 for taker in takers]
        return dict(zip(takers, divided(amount, weights), strict=True)) if takers else {}

    def _with_own_cost(self, rule: Sharing, givers: Collection[Entity]) -> list[Entity]:
        """Everyone who has something of his own by the rule's weight."""
        return sorted(taker for taker, base in self._base.items() if base[rule.weight] > 0 and taker != UNALLOCATED and taker not in givers)

    def _by_tag(self, rule: Sharing, cells: Sequence[Cell], costs: Mapping[tuple[str, ...], Mapping[str, int]]) -> dict[Entity, int]:
        """Who gets what of each cell: by what its calls with each value cost; what no value leads away stays."""
        taken: list[tuple[Entity, int]] = []
        for cell in cells:
            found = sorted((value, cost) for value, cost in costs.get(cell.key, {}).items() if cost > 0)
            if found:
                parts = divided(cell.cost_pico, [cost for _, cost in found])
                for (value, _), part in zip(found, parts, strict=True):
                    taker = self._of_value(rule, cell.tenant, value)
                    if taker is not None:
                        taken.append((taker, part))
        return _added(taken)

    def _of_value(self, rule: Sharing, tenant: str, value: str) -> Entity | None:
        """To whom a tag's value leads; None: nowhere."""
        code = rule.values.get(value, value)
        if not code or (value not in rule.values and code not in rule.targets):
            return None
        return self.entity(tenant, code)

    def _line(self, entity: Entity) -> Line:
        found = self.lines.get(entity)
        if found is None:
            found = self.lines[entity] = Line()
        return found


class _Takers:
    """The rules by what they want, so that a cell is not held against each of them."""

    def __init__(self, rules: Sequence[Sharing]) -> None:
        self._rules = rules
        self._by_places: dict[tuple[int, ...], dict[tuple[str, ...], int]] = {}
        for number, rule in enumerate(rules):
            if (wanted := rule.wanted) is not None:
                self._by_places.setdefault(tuple(wanted), {}).setdefault(tuple(wanted.values()), number)

    def first(self, cell: Cell) -> Sharing | None:
        """The first rule that wants the cell."""
        found = (rules.get(tuple([cell.key[place] for place in places])) for places, rules in self._by_places.items())
        number = min((number for number in found if number is not None), default=None)
        return None if number is None else self._rules[number]


def _added(parts: Iterable[tuple[Entity, int]]) -> dict[Entity, int]:
    total: dict[Entity, int] = {}
    for taker, part in parts:
        total[taker] = total.get(taker, 0) + part
    return total
