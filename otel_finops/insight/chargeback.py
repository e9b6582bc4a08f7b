"""Chargeback: what each cost centre bears in a time, by what the ledger has booked, by the rules for shared costs, by fees and by credits.

All of it is read on one snapshot. The direct costs are those of `ledger.spend`, so their sum is the ledger's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from otel_finops.base.limits import CHARGEBACK_CELLS_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import format_ns, month_end_ns
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.credits import PoolSet
from otel_finops.governance.scopes import Scope
from otel_finops.insight.allocation import CELL_KEYS, Allocation, Cell, Entity, Extra, Sharing, allocate, divided
from otel_finops.insight.cost_center_store import read_book
from otel_finops.insight.cost_centers import Book
from otel_finops.ledger.fee_spread import fee_of
from otel_finops.ledger.period_bounds import month_ns
from otel_finops.ledger.spend import PERIOD, Question, from_pruned, tally
from otel_finops.ledger.spend_entries import from_entries
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.pricing.coverage import Period, Subscription
from otel_finops.pricing.fx import MissingRate
from otel_finops.pricing.quote import COVERED
from otel_finops.store.unit_of_work import Transaction

_ALWAYS: Final = ("tenant", "cost_center")
_PAID: Final = (
    "SELECT t.pool_no, SUM(p.amount_units), SUM(p.amount_pico / 1000000), SUM(p.amount_pico % 1000000) FROM credit_transactions t "
    "JOIN credit_postings p ON p.transaction_no = t.transaction_no AND p.account = 'balance' "
    "WHERE t.kind IN ('debit', 'refund') AND t.at_ns >= ? AND t.at_ns < ? GROUP BY t.pool_no"
)
_PART: Final = 10**6
_NOWHERE: Final = "\0"
"""Stands for all values of a tag of which no rule tells: no rule can name it, since no database would keep it."""
_NOBODY: Final = (
    "the fee of {} from {} on is not allocated: calls that a fee covered in that time were pruned, so nobody can say what it covered"
)


class Asked(NamedTuple):
    """What a report is about.

    Attributes:
        tenants: whose calls; None for all.
        of_all: whoever asks sees all tenants: definitions that are of all tenants are shown and, where the report is about all of
            them, hold.
        month: the month to which the rows belong, as `ledger.period_bounds` has it; None for a time.
        from_ns, to_ns: the start of the calls, from inclusive, to exclusive; with a month its ends.
        allocated: with rules, fees and credits; else what the calls cost alone.
        revision: by the definitions as they stood then; None for those of now.
    """

    tenants: Tenants
    of_all: bool
    month: str | None
    from_ns: int
    to_ns: int
    allocated: bool = True
    revision: int | None = None

    @classmethod
    def of_month(cls, tenants: Tenants, of_all: bool, month: str, *, allocated: bool, revision: int | None) -> Asked:
        """A month; raises BadInput for what is none."""
        start_ns = month_ns(month)
        return cls(tenants, of_all, month, start_ns, month_end_ns(start_ns), allocated, revision)


class Chargeback(NamedTuple):
    """A report.

    Attributes:
        book: the definitions by which it was made, those that whoever asks may see.
        allocation: who bears what.
        ledger_pico: what the ledger says of the same calls.
        notes: what people should know, e.g. that a fee has no exchange rate.
    """

    book: Book
    allocation: Allocation
    ledger_pico: int
    notes: tuple[str, ...]


def chargeback(transaction: Transaction, asked: Asked, subscriptions: Iterable[Subscription], pools: PoolSet) -> Chargeback:
    """Make a report.

    Args:
        subscriptions: the flat fees.
        pools: the pools of prepaid credits.

    Raises:
        BadInput: no such revision, or more groups than `limits.CHARGEBACK_CELLS_MAX`.
    """
    book = _visible(read_book(transaction, asked.revision), asked)
    rules = [rule for rule in book.sharings(asked.from_ns, asked.to_ns) if _holds(rule, asked)] if asked.allocated else []
    scopes = {pool.no: pool.scope for pool in pools if _pays(pool.tenant, asked)} if asked.allocated else {}
    dimensions = _dimensions(rules, scopes.values())
    cells = _cells(transaction, asked, dimensions)
    own = {one.entity for one in book.centers.values() if one.tenant is not None}
    notes: list[str] = []
    extras = [*_fees(transaction, asked, subscriptions, own, notes), *_credits(transaction, asked, pools, scopes, cells, own, notes)]

    def tag_costs(rule: Sharing, claimed: Sequence[Cell]) -> Mapping[tuple[str, ...], Mapping[str, int]]:
        return _tag_costs(transaction, asked, dimensions, rule, claimed)

    allocation = allocate(cells, rules, own, tag_costs, extras)
    return Chargeback(book, allocation, sum(cell.cost_pico for cell in cells), tuple(notes))


def _visible(book: Book, asked: Asked) -> Book:
    """Somebody who is bound to tenants sees what is theirs, and nothing that is of all."""
    return book if asked.of_all else book.narrowed(asked.tenants or ())


def _holds(rule: Sharing, asked: Asked) -> bool:
    """A rule of all tenants needs the figures of all."""
    return asked.tenants is None if rule.tenant is None else asked.tenants is None or rule.tenant in asked.tenants


def _pays(tenant: str | None, asked: Asked) -> bool:
    return asked.tenants is None or tenant in asked.tenants


def _dimensions(rules: Iterable[Sharing], scopes: Iterable[Scope]) -> tuple[str, ...]:
    """What cells must be told apart by."""
    named = {name for rule in rules for name in rule.source or ()} | {name for scope in scopes for name, _ in scope.parts}
    return tuple(name for name in CELL_KEYS if name in _ALWAYS or name in named)


def _cells(transaction: Transaction, asked: Asked, dimensions: Sequence[str]) -> list[Cell]:
    """What the ledger says, in a stated order."""
    question = Question(restricted(asked.tenants), tuple(dimensions))
    if asked.month is not None:
        question = question._replace(filters={PERIOD: (asked.month,)})
    else:
        question = question._replace(from_ns=asked.from_ns, to_ns=asked.to_ns)
    found = tally(transaction, question.checked(), CHARGEBACK_CELLS_MAX)
    return [
        Cell(_key(dimensions, values), one.cost_pico, one.calls, one.tokens, one.unpriced_calls) for values, one in sorted(found.items())
    ]


def _key(dimensions: Sequence[str], values: Sequence[str]) -> tuple[str, ...]:
    known = dict(zip(dimensions, values, strict=True))
    return tuple(known.get(name, "") for name in CELL_KEYS)


def _tag_costs(
    transaction: Transaction, asked: Asked, dimensions: Sequence[str], rule: Sharing, claimed: Sequence[Cell]
) -> Mapping[tuple[str, ...], Mapping[str, int]]:
    """What the calls of each cell that a rule took cost, by the value of its tag; values that lead nowhere are one. Of pruned calls nobody
    knows any.
    """
    leading = {*rule.values, *rule.targets}
    keys = {cell.key for cell in claimed}
    filters = {name: (value,) for name, value in (rule.source or {}).items()}
    question = Question(restricted(asked.tenants), (*dimensions, "tags"), filters=filters)
    costs: dict[tuple[str, ...], dict[str, int]] = {}
    span = asked.from_ns, asked.to_ns
    pruned = from_pruned(transaction, question._replace(group_by=tuple(dimensions)), *span)
    known = from_entries(transaction, question, *span)
    for (*values, tags), amounts in chain(known, (((*values, None), amounts) for values, amounts in pruned)):
        key = _key(dimensions, values)
        if key in keys:
            value = str(json.loads(tags).get(rule.tag, "")) if tags else ""
            value = value if value in leading else _NOWHERE
            by_value = costs.setdefault(key, {})
            by_value[value] = by_value.get(value, 0) + amounts.amount
    return costs


def _fees(
    transaction: Transaction, asked: Asked, subscriptions: Iterable[Subscription], own: Collection[Entity], notes: list[str]
) -> Iterator[Extra]:
    """Flat fees whose periods begin in the time, each borne by what it covered."""
    if not asked.allocated:
        return
    for subscription in subscriptions:
        for period in subscription.periods(asked.to_ns):
            if period.from_ns >= asked.from_ns:
                try:
                    fee = fee_of(transaction, subscription, period)
                except MissingRate as fault:
                    notes.append(f"the fee of {subscription.id} is left out: {fault}")
                    continue
                pruned = _pruned_covered(transaction, period)
                if not pruned:
                    yield from _fee(transaction, asked, subscription, period, fee, own)
                    continue
                if asked.tenants is None:
                    yield Extra(f"fee of {subscription.id}", fee, {})
                if asked.tenants is None or not pruned.isdisjoint(asked.tenants):
                    notes.append(_NOBODY.format(subscription.id, format_ns(period.from_ns)[:10]))


def _pruned_covered(transaction: Transaction, period: Period) -> set[str]:
    """Tenants with calls that a flat fee covered, of which entries no longer tell which one."""
    question = Question(None, ("tenant",), filters={"cost_method": (COVERED,)})
    return {tenant for (tenant,), amounts in from_pruned(transaction, question, *period) if amounts.calls}


def _fee(
    transaction: Transaction, asked: Asked, subscription: Subscription, period: Period, fee: int, own: Collection[Entity]
) -> Iterator[Extra]:
    """The part of a fee that the tenants asked for bear: it is cut among all, so their parts add up to it."""
    question = Question(None, _ALWAYS, filters={"coverage_id": (subscription.id,)}, basis="list")
    shadow: dict[tuple[str, str], list[int]] = {}
    for (tenant, code), amounts in from_entries(transaction, question, *period):
        held = shadow.setdefault((tenant, code), [0, 0])
        held[0] += amounts.amount
        held[1] += amounts.calls
    takers = sorted(shadow)
    known = any(shadow[taker][0] > 0 for taker in takers)
    parts = divided(fee, [max(shadow[taker][0] if known else shadow[taker][1], 0) for taker in takers])
    if not takers:
        if asked.tenants is None:
            yield Extra(f"fee of {subscription.id}", fee, {})
        return
    borne: dict[Entity, int] = {}
    for (tenant, code), part in zip(takers, parts, strict=True):
        if part and (asked.tenants is None or tenant in asked.tenants):
            entity = (tenant, code) if (tenant, code) in own else ("", code)
            borne[entity] = borne.get(entity, 0) + part
    if borne:
        yield Extra(f"fee of {subscription.id}", sum(borne.values()), borne)


def _credits(
    transaction: Transaction,
    asked: Asked,
    pools: PoolSet,
    scopes: Mapping[int, Scope],
    cells: Sequence[Cell],
    own: Collection[Entity],
    notes: list[str],
) -> Iterator[Extra]:
    """What prepaid credits paid in the time, for those whose calls the pool is for, in proportion to what these cost."""
    if not scopes:
        return
    for no, units, high, low in transaction.execute(_PAID, (asked.from_ns, asked.to_ns)):
        pool = pools.get(int(no))
        paid = -(int(units) * PICO_PER_USD + int(high) * _PART + int(low))
        if pool is None or pool.no not in scopes or not paid:
            continue
        if pool.currency != "USD":
            notes.append(f"what pool {pool.no} ({pool.name}) paid is left out: it holds {pool.currency}")
            continue
        weights: dict[Entity, int] = {}
        for cell in cells:
            if cell.cost_pico > 0 and _known_part(pool.scope).matches(_call_of(cell)):
                entity = (cell.tenant, cell.cost_center) if (cell.tenant, cell.cost_center) in own else ("", cell.cost_center)
                weights[entity] = weights.get(entity, 0) + cell.cost_pico
        yield Extra(f"credits of pool {pool.no} ({pool.name})", -paid, weights)


def _known_part(scope: Scope) -> Scope:
    """The scope as far as cells know it."""
    return Scope(tuple((name, value) for name, value in scope.parts if name in CELL_KEYS))


def _call_of(cell: Cell) -> GovernedCall:
    tenant, *values = cell.key
    cost_center, provider, model, operation, agent, service, environment = (value or None for value in values)
    return GovernedCall(
        tenant, cost_center=cost_center, provider=provider, model=model, operation=operation, agent=agent, service=service,
        environment=environment,
    )  # fmt: skip
