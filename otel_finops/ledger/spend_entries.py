"""Sums of standing calls straight from the entries: for keys that roll-ups do not have, hours that are cut, and other money than the cost.

Where nothing but charges was booked in a trace the database adds up; the few other traces are folded span by span.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, get_args

import orjson

from otel_finops.base.limits import PRICE_MEMO_MAX
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR
from otel_finops.genai.usage import Usage
from otel_finops.ledger.brief_rows import CHANGED, COST, FACTS_OF_MONEY, BriefRow, all_tenants, brief_rows
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.ledger.exact_sum import SUM_PART, exact_sum
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.standing import fold
from otel_finops.ledger.tables import DIMENSIONS
from otel_finops.pricing.quote import COVERED
from otel_finops.store.unit_of_work import LIST_VALUES_MAX, EngineName, Transaction

if TYPE_CHECKING:
    from otel_finops.ledger.spend import Question

Basis: TypeAlias = Literal["cost", "list", "contracted", "billed", "effective"]
"""Which money is summed up: the cost that stands, or one of the amounts that a row bears beside it."""
BASES: Final[tuple[Basis, ...]] = get_args(Basis)
RAW_KEYS: Final = {
    "realm": "realm", "step": "step", "tool": "tool", "workflow": "workflow", "user": "user_ref", "session": "session_ref",
    "purpose": "purpose", "service_tier": "service_tier", "region": "region", "price_key": "price_key", "error_type": "error_type",
}  # fmt: skip
"""Keys that only entries know, with their columns."""
FAILED: Final = "error_type IS NOT NULL"
"""As the partial index has it."""

_TIMES: Final = {"day": NS_PER_DAY, "hour": NS_PER_HOUR}
_COLUMNS: Final = {
    **{name: name for name in DIMENSIONS if name != "model"},
    "model": "COALESCE(response_model, request_model)",
    "day": "started_ns",
    "hour": "started_ns",
    **RAW_KEYS,
    "coverage_id": "coverage_id",
    "tags": "tags",
}
"""The last two are for questions of our own: nobody asks for sums by them."""
_OTHER_MONEY: Final = "(billed_pico IS NOT NULL OR list_pico IS NOT NULL OR contracted_pico IS NOT NULL OR effective_pico IS NOT NULL)"
"""Rows on which some amount is not the cost; as the partial index has it."""
_AMOUNTS: Final[Mapping[str, str]] = {
    "cost": COST,
    **{
        name: f"(CASE WHEN {name}_pico IS NOT NULL THEN {name}_pico WHEN cost_method = '{COVERED}' THEN NULL ELSE cost_pico END)"
        for name in BASES
        if name != "cost"
    },
}
"""What an entry adds to each money; where nothing is stored it is the cost, of covered calls not known (`standing.real_amounts`)."""
_UNITS: Final[Mapping[EngineName, str]] = {
    "sqlite": "COALESCE(json_extract(usage, '$.{}'), 0)",
    "postgresql": "COALESCE(((usage::jsonb) ->> '{}')::bigint, 0)",
}
_CHARGES: Final = f"kind = 'charge' AND role = '{ROLE_CALL}' AND started_ns >= ? AND started_ns < ?"
_NOT_CHANGED: Final[Mapping[EngineName, str]] = {
    "sqlite": f"e.trace_no NOT IN (SELECT trace_no FROM entries WHERE {CHANGED} AND started_ns >= ? AND started_ns < ?)",
    "postgresql": f"NOT EXISTS (SELECT 1 FROM entries c WHERE c.trace_no = e.trace_no AND c.{CHANGED} "
    "AND c.started_ns >= ? AND c.started_ns < ?)",
}
"""Each engine plans the other's form badly where many traces were changed."""

Key: TypeAlias = tuple[Any, ...]
"""Values of the group's keys in their order, '' for not known, times as the start of the day or hour."""


class Amounts(NamedTuple):
    """What a group grows by, of any sign.

    Attributes:
        amount: money.
        unknown, unknown_tokens: calls without such an amount, and their tokens.
        prompt, cache_read: tokens, of questions that ask for them.
    """

    amount: int
    calls: int = 0
    tokens: int = 0
    unknown: int = 0
    unknown_tokens: int = 0
    prompt: int = 0
    cache_read: int = 0


class PricedBy(NamedTuple):
    """What of a standing call its price depends on, besides its counts and its moment; as in `ledger.entry.Entry`."""

    provider: str | None
    request_model: str | None
    response_model: str | None
    operation: str | None
    usage_source: str
    unpriced_reason: str | None
    error_type: str | None
    service_tier: str | None
    region: str | None
    region_kind: str | None
    speed: str | None
    account: str | None
    cost_method: str | None

    @property
    def model(self) -> str | None:
        """The answer's, else the request's."""
        return self.response_model or self.request_model


class SingleCall(NamedTuple):
    """A standing call; `cost_pico` is None where it has no price."""

    started_ns: int
    cost_pico: int | None
    usage: Usage
    facts: PricedBy


_SINGLE: Final = f"SELECT started_ns, cost_pico, usage, {', '.join(PricedBy._fields)} FROM entries e WHERE "
_CHANGED_TRACES: Final = f"SELECT DISTINCT trace_no FROM entries WHERE {CHANGED} AND started_ns >= ? AND started_ns < ? ORDER BY trace_no"
_TRACES_AT_ONCE: Final = 500
_new = tuple.__new__
"""Makes named tuples without their constructors: questions of single calls read millions."""


def from_entries(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[Key, Amounts]]:
    """Sums of the calls that started in [lower, upper), in the question's money."""
    return _summed(transaction, question, lower, upper, question.basis, None)


def differences(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[Key, Amounts]]:
    """By how much the question's money is more or less than the cost, which roll-ups have."""
    for key, found in _summed(transaction, question, lower, upper, question.basis, _OTHER_MONEY):
        yield key, Amounts(found.amount, 0, 0, found.unknown, found.unknown_tokens)
    for key, found in _summed(transaction, question, lower, upper, "cost", _OTHER_MONEY):
        yield key, Amounts(-found.amount, 0, 0, -found.unknown, -found.unknown_tokens)


def failed_calls(transaction: Transaction, question: Question, lower: int, upper: int) -> int:
    """How many calls were answered with an error. Where nothing but tenants is asked for, an index alone tells of most."""
    conditions, values = _filtered(question)
    if question.tenants is not None:
        conditions.append(f"tenant || '' IN ({_marks(question.tenants)})")  # so that the index of failures serves, not that of tenants
        values += sorted(question.tenants)
    where = " AND ".join((FAILED, _CHARGES, _NOT_CHANGED[transaction.engine_name], *conditions))
    [(count,)] = transaction.execute(f"SELECT COUNT(*) FROM entries e WHERE {where}", (lower, upper, lower, upper, *values))
    changed = _changed(transaction, question._replace(group_by=("error_type",)), lower, upper, "cost", FAILED)
    return int(count) + sum(amounts.calls for (error,), amounts in changed if error)


def free_failures(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[Key, int]]:
    """How many calls of each group were answered with an error and without counts, and so cost nothing."""
    keyed = question._replace(group_by=(*question.group_by, "error_type"), basis="cost")
    for key, found in _unchanged(transaction, keyed, lower, upper, "cost", f"{FAILED} AND tokens = 0 AND cost_pico = 0"):
        yield key[:-1], found.calls
    for key, found in _changed(transaction, keyed, lower, upper, "cost", FAILED):
        if key[-1] and not (found.tokens or found.amount or found.unknown):
            yield key[:-1], found.calls


def _summed(
    transaction: Transaction, question: Question, lower: int, upper: int, basis: str, only: str | None
) -> Iterator[tuple[Key, Amounts]]:
    """Args: only: rows of which this is true, and changed traces that have such a row; a sum over them must not ask for the others."""
    yield from _unchanged(transaction, question, lower, upper, basis, only)
    yield from _changed(transaction, question, lower, upper, basis, only)


def _unchanged(
    transaction: Transaction, question: Question, lower: int, upper: int, basis: str, only: str | None
) -> Iterator[tuple[Key, Amounts]]:
    keys = [grouped(name) for name in question.group_by]
    amount = _AMOUNTS[basis]
    sums = (
        f"{exact_sum(amount)}, COUNT(*), SUM(tokens), COUNT(*) - COUNT({amount}), "
        f"SUM(CASE WHEN ({amount}) IS NULL THEN tokens ELSE 0 END), {', '.join(_cache_sums(transaction, question))}"
    )
    where, values = standing_charges(transaction, question, only)
    by_place = f" GROUP BY {', '.join(str(place + 1) for place in range(len(keys)))}" if keys else ""
    sql = f"SELECT {', '.join((*keys, sums))} FROM entries e WHERE {where}{by_place}"
    for row in transaction.iterate(sql, (lower, upper, lower, upper, *values)):
        whole, rest, calls, tokens, unknown, unknown_tokens, output, cached = (int(value or 0) for value in row[len(keys) :])
        if calls:
            prompt = tokens - output if question.with_cache else 0
            yield row[: len(keys)], Amounts(whole * SUM_PART + rest, calls, tokens, unknown, unknown_tokens, prompt, cached)


def standing_charges(transaction: Transaction, question: Question, only: str | None = None) -> tuple[str, list[Any]]:
    """Calls of traces in which nothing was changed, as a condition on `entries e`; its first parameters are the time, twice."""
    conditions, values = _filtered(question)
    tenants = all_tenants(transaction) if question.tenants is None else sorted(question.tenants)
    if only is None and len(tenants) <= LIST_VALUES_MAX:
        conditions.append(f"tenant IN ({_marks(tenants)})")  # named, so that the index by tenant and time serves
        values += tenants
    elif question.tenants is not None:
        conditions.append(f"tenant || '' IN ({_marks(tenants)})")  # so that the index of `only` serves
        values += tenants
    return " AND ".join((*([only] if only else ()), _CHARGES, _NOT_CHANGED[transaction.engine_name], *conditions)), values


def single_calls(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[SingleCall]:
    """Standing calls that started in [lower, upper), one by one and in no order: those of a few changed traces behind all others."""
    where, values = standing_charges(transaction, question)
    known: dict[Key, PricedBy] = {}
    for row in transaction.iterate(_SINGLE + where, (lower, upper, lower, upper, *values)):
        said = row[3:]
        facts = known.get(said)
        if facts is None:
            if len(known) >= PRICE_MEMO_MAX:
                known.clear()
            facts = known[said] = PricedBy(*said)
        yield _new(SingleCall, (row[0], row[1], orjson.loads(row[2]), facts))
    for net in changed_calls(transaction, question, lower, upper):
        yield SingleCall(net.started_ns, net.cost_pico, net.usage, PricedBy(*(getattr(net, name) for name in PricedBy._fields)))


def changed_calls(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[Entry]:
    """The same calls of traces in which something was changed, as they stand."""
    numbers = [int(no) for (no,) in transaction.execute(_CHANGED_TRACES, (lower, upper))]
    for start in range(0, len(numbers), _TRACES_AT_ONCE):
        for net in fold(entries_of_traces(transaction, numbers[start : start + _TRACES_AT_ONCE])).values():
            known = {name: of_entry(net, name) for name in (*question.filters, "tenant")}
            if net.role == ROLE_CALL and lower <= net.started_ns < upper and _wanted(question, known):
                yield net


def of_entry(net: Entry, name: str) -> Any:
    """A key's value of a standing call, None for not known; of the keys that are no times."""
    return net.response_model or net.request_model if name == "model" else getattr(net, name)


def grouped(name: str) -> str:
    """A key as SQL over entries, '' for not known; times as the start of the day or hour."""
    if name in _TIMES:
        return f"started_ns - started_ns % {_TIMES[name]}"
    return f"COALESCE({_COLUMNS[name]}, '')"


def unit_count(engine: EngineName, unit: str) -> str:
    """How many of a unit an entry has, as SQL; the unit is one of `genai.usage`."""
    return _UNITS[engine].format(unit)


def _counts(transaction: Transaction, question: Question) -> tuple[str, ...]:
    engine = transaction.engine_name
    return (unit_count(engine, "output"), unit_count(engine, "cache_read")) if question.with_cache else ()


def _cache_sums(transaction: Transaction, question: Question) -> tuple[str, ...]:
    return tuple(f"SUM({count})" for count in _counts(transaction, question)) or ("0", "0")


def _filtered(question: Question) -> tuple[list[str], list[Any]]:
    conditions, values = [], []
    for name, allowed in question.filters.items():
        conditions.append(f"COALESCE({_COLUMNS[name]}, '') IN ({_marks(allowed)})")
        values += list(allowed)
    return conditions, values


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values)) or "NULL"


def _changed(
    transaction: Transaction, question: Question, lower: int, upper: int, basis: str, only: str | None
) -> Iterator[tuple[Key, Amounts]]:
    names = tuple(
        name for name in dict.fromkeys((*question.group_by, *question.filters, "tenant", "error_type")) if name not in FACTS_OF_MONEY
    )
    columns = [_COLUMNS[name] for name in names]
    counts = _counts(transaction, question)
    among = (CHANGED, *([only] if only else ()))
    rows = brief_rows(transaction, columns, None, lower, upper, amount=_AMOUNTS[basis], counts=counts, among=among)
    for row in rows:
        known = dict(zip((*names, *FACTS_OF_MONEY), row.keys, strict=True))
        if row.role == ROLE_CALL and _wanted(question, known):
            yield tuple(_valued(name, known[name]) for name in question.group_by), _amounts_of(row)


def _valued(name: str, value: Any) -> Any:
    return value - value % _TIMES[name] if name in _TIMES else value or ""


def _amounts_of(row: BriefRow) -> Amounts:
    unknown, tokens = int(row.cost_pico is None), row.tokens
    output, cached = row.counts[1:] or (tokens, 0)
    return Amounts(row.cost_pico or 0, 1, tokens, unknown, unknown * tokens, tokens - output, cached)


def _wanted(question: Question, known: Mapping[str, Any]) -> bool:
    if question.tenants is not None and known["tenant"] not in question.tenants:
        return False
    return all((known[name] or "") in allowed for name, allowed in question.filters.items())


Reader: TypeAlias = Callable[[Transaction, "Question", int, int], Iterator[tuple[Key, Amounts]]]
