"""Reading the ledger: spend, pages of entries, a trace's entries, counters. The principal's tenants are an argument of all of it."""

from __future__ import annotations

import base64
import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import PAGE_ROWS_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.exact_sum import SUM_PART, exact_sum
from otel_finops.ledger.journal import CONFLICTS, pending, traces_with_id
from otel_finops.ledger.period_bounds import closed_until_ns, month_ns
from otel_finops.ledger.rollups import MOVED, OPTIONAL_LABELS, TOTAL
from otel_finops.ledger.rows import COLUMN_LIST, entries_of_traces, entry_of
from otel_finops.ledger.spend import PERIOD, InCurrency, Key, Question, SpendGroup, SpendReport, Tallies, tally
from otel_finops.ledger.spend_currency import tally_converted
from otel_finops.ledger.spend_entries import Basis
from otel_finops.ledger.standing import EntryKey, states
from otel_finops.ledger.subjects import Subjects, refs_of
from otel_finops.ledger.tables import DIMENSIONS, ROLLUP_TOKENS
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.pricing.fx import OtherCurrency
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

DEFAULT_LABELS: Final = ("provider", "model", "operation", "cost_method")
"""Metric labels that are on by default (design 4.8)."""
OTHER_LABEL: Final = "other"
"""Every label of the sum of what is not kept apart."""
SUBJECT_KEYS: Final = ("user", "session")
USAGE_FILTERS: Final = {
    "trace_id": "trace_id", "kind": "kind", "role": "role", "realm": "realm", "provider": "provider", "operation": "operation",
    "request_model": "request_model", "response_model": "response_model", "cost_method": "cost_method",
    "unpriced_reason": "unpriced_reason", "agent": "agent", "step": "step", "tool": "tool", "workflow": "workflow",
    "user": "user_ref", "session": "session_ref", "cost_center": "cost_center", "purpose": "purpose", "service": "service",
    "environment": "environment", "price_key": "price_key", "service_tier": "service_tier", "region": "region",
    "model": "COALESCE(response_model, request_model)", "status": "error_type", "tag": "tags",
}  # fmt: skip
"""By what a page of entries can be filtered, with the columns."""
_TAGGED: Final = {
    "sqlite": "EXISTS (SELECT 1 FROM json_each(tags) AS one WHERE one.key = ? AND one.value = ?)",
    "postgresql": "CAST(tags AS jsonb) ->> CAST(? AS text) = ?",
}


class UsagePage(NamedTuple):
    """Entries, newest start first, and where the next page begins (None: there is none)."""

    entries: tuple[Entry, ...]
    next_cursor: str | None


class CounterTotals(NamedTuple):
    """What the ledger has counted for one set of labels over all time; nothing here ever goes down.

    Attributes:
        dimensions: the labels asked for and `unpriced_reason`, '' where not known.
        cost_pico, reversed_pico: both positive.
        tokens, reversed_tokens: by usage key, zero counts left out.
        exemplar: (trace id, pico-USD, recorded_ns) of the newest charge.
    """

    dimensions: dict[str, str]
    cost_pico: int
    reversed_pico: int
    calls: int
    reversed_calls: int
    unpriced_calls: int
    tokens: dict[str, int]
    reversed_tokens: dict[str, int]
    exemplar: tuple[str, int, int] | None
    reversed_unpriced_calls: int = 0


class LedgerReader:
    """Answers from one database; every method reads one snapshot."""

    def __init__(self, store: Store, subjects: Subjects) -> None:
        self._store = store
        self._subjects = subjects

    def spend(
        self,
        tenants: Tenants,
        group_by: Sequence[str] = (),
        from_ns: int | None = None,
        to_ns: int | None = None,
        filters: Mapping[str, Collection[str]] | None = None,
        other: OtherCurrency | None = None,
        basis: Basis = "cost",
    ) -> SpendReport:
        """What was spent, by `spend.SPEND_KEYS`; users and sessions in clear, on both sides.

        Args:
            basis: which money; calls without such an amount count as unpriced.

        Raises:
            BadInput: an unknown key, a range that ends before it begins, too many groups, or a day without a rate of the currency.
        """
        question = Question(restricted(tenants), tuple(dict.fromkeys(group_by)), from_ns, to_ns, filters or {}, basis).checked()
        with self._store.read() as transaction:
            pending_pico = 0 if _is_closed(transaction, question) else pending(transaction, tenants)[0]
            asked = question._replace(filters=by_reference(transaction, question.filters))
            converted = None if other is None else tally_converted(transaction, asked, *other, pending_pico)
            tallies = tally(transaction, asked) if converted is None else converted.tallies
            names = self._clear_names(transaction, question.group_by, tallies)
        report = _report(question.group_by, tallies, names, pending_pico, None if converted is None else converted.amounts)
        if other is None or converted is None:
            return report
        return report._replace(converted=InCurrency(other.currency, sum(converted.amounts.values()), converted.pending))

    def usage(
        self,
        tenants: Tenants,
        from_ns: int | None = None,
        to_ns: int | None = None,
        filters: Mapping[str, str] | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> UsagePage:
        """A page of entries of every kind, newest start first; entries booked meanwhile never shift a page.

        Raises:
            BadInput: an unknown filter, or a cursor that no page gave.
        """
        size = max(1, min(limit, PAGE_ROWS_MAX))
        with self._store.read() as transaction:
            conditions, values = usage_conditions(transaction, from_ns, to_ns, filters or {})
            if cursor is not None:
                conditions.append("(started_ns, shard, block_seq, idx) < (?, ?, ?, ?)")
                values += _cursor_values(cursor)
            where = " AND ".join((_whose(filters or {}), *conditions))
            pages = (
                _tenant_page(transaction, tenant, where, values, size + 1) for tenant in visible_tenants(transaction, restricted(tenants))
            )
            found = list(islice(heapq.merge(*pages, key=_page_place, reverse=True), size + 1))
        entries = tuple(found[:size])
        return UsagePage(entries, _cursor(entries[-1]) if len(found) > size else None)

    def entries_of_trace(self, tenants: Tenants, trace_id: str) -> list[Entry]:
        """All entries of a trace, in every realm, of the spans that belong to the tenants now; in booking order."""
        with self._store.read() as transaction:
            numbers = [trace.trace_no for trace in traces_with_id(transaction, trace_id)]
            entries = entries_of_traces(transaction, numbers)
        allowed = restricted(tenants)
        if allowed is None:
            return entries
        owners = _owners(entries)
        return [entry for entry in entries if owners[entry.key] in allowed]

    def counters(self, labels: Sequence[str] = DEFAULT_LABELS, tenants: Tenants = None, first: int | None = None) -> list[CounterTotals]:
        """Counters over all time by the given labels, in the order in which their dimensions first appeared.

        What a reattribution moved is counted only if one of the labels that it changed is among those asked for.

        Args:
            labels: out of `tables.DIMENSIONS`.
            tenants: whose.
            first: keep apart what belongs to one of the so many first label sets, with `cost_method` (and, among unpriced calls,
                `operation`) left out of the comparison; all the rest is one sum, last or where its own labels stand, in which
                every label is `OTHER_LABEL`.
        """
        if unknown := [label for label in labels if label not in DIMENSIONS]:
            raise BadInput(f"no such label: {', '.join(unknown)}")
        names = tuple(dict.fromkeys((*labels, "unpriced_reason")))
        with self._store.read() as transaction:
            return list(_counters(transaction, names, restricted(tenants), first))

    def conflicts(self) -> int:
        """Spans that were sent again with other content."""
        with self._store.read() as transaction:
            rows = transaction.execute("SELECT value FROM counters WHERE name = ?", (CONFLICTS,))
        return int(rows[0][0]) if rows else 0

    def pending(self, tenants: Tenants) -> tuple[int, int]:
        """Quoted pico-USD and calls that are journalled and not settled yet."""
        with self._store.read() as transaction:
            return pending(transaction, tenants)

    def _clear_names(self, transaction: Transaction, group_by: Sequence[str], tallies: Tallies) -> dict[str, str]:
        positions = [position for position, name in enumerate(group_by) if name in SUBJECT_KEYS]
        refs = {key[position] for key in tallies for position in positions}
        return self._subjects.clear(transaction, refs - {""}) if refs else {}


def exact_total(transaction: Transaction) -> int:
    """The exact sum of the money of all entries, pico-USD."""
    whole, rest = transaction.execute(f"SELECT {exact_sum('cost_pico')} FROM entries")[0]
    return int(whole or 0) * SUM_PART + int(rest or 0)


def _report(
    group_by: Sequence[str], tallies: Tallies, names: Mapping[str, str], pending_pico: int, amounts: Mapping[Key, int] | None
) -> SpendReport:
    groups = _one_of_each_name(
        SpendGroup(
            _named(group_by, key, names),
            found.cost_pico,
            found.calls,
            found.tokens,
            found.unpriced_calls,
            None if amounts is None else amounts[key],
        )
        for key, found in sorted(tallies.items(), key=lambda item: (-item[1].cost_pico, item[0]))
    )
    if not groups and not group_by:
        groups = [SpendGroup({}, 0, 0, 0, 0, None if amounts is None else 0)]
    tokens = sum(found.tokens for found in tallies.values())
    unpriced = sum(found.unpriced_tokens for found in tallies.values())
    return SpendReport(tuple(groups), sum(group.cost_pico for group in groups), pending_pico, unpriced / tokens if tokens else 0.0)


def _one_of_each_name(groups: Iterable[SpendGroup]) -> list[SpendGroup]:
    """One group for each key: a user or session of one name has a reference in every realm, and filters take all of them, too."""
    found: dict[tuple[str | None, ...], SpendGroup] = {}
    for group in groups:
        name = tuple(group.key.values())
        known = found.get(name)
        found[name] = group if known is None else _both(known, group)
    return sorted(found.values(), key=lambda group: -group.cost_pico)


def _both(one: SpendGroup, other: SpendGroup) -> SpendGroup:
    converted = None if one.converted is None or other.converted is None else one.converted + other.converted
    return SpendGroup(
        one.key, one.cost_pico + other.cost_pico, one.calls + other.calls, one.tokens + other.tokens,
        one.unpriced_calls + other.unpriced_calls, converted,
    )  # fmt: skip


def _named(group_by: Sequence[str], key: Sequence[str], names: Mapping[str, str]) -> dict[str, str | None]:
    """The key with users and sessions in clear; erased ones keep their reference."""
    return {name: (names.get(value, value) if name in SUBJECT_KEYS else value) or None for name, value in zip(group_by, key, strict=True)}


def _is_closed(transaction: Transaction, question: Question) -> bool:
    """Only closed months are asked for: what is pending does not go there any more."""
    months = question.filters.get(PERIOD)
    return bool(months) and max(map(month_ns, months or ())) < closed_until_ns(transaction)


def _owners(entries: Iterable[Entry]) -> dict[EntryKey, str]:
    """The tenant of every span: where it stands, else where it last stood."""
    found = list(entries)
    owners = {entry.key: entry.tenant for entry in found}
    owners.update({key: state.net.tenant for key, state in states(found).items() if state.net is not None})
    return owners


def usage_conditions(
    transaction: Transaction, from_ns: int | None, to_ns: int | None, filters: Mapping[str, str]
) -> tuple[list[str], list[Any]]:
    """What rows of `entries` must meet to be among those asked for, as SQL and its parameters; whose they are is not among it.

    Raises:
        BadInput: an unknown filter, or a trace id that is none.
    """
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in (("started_ns >= ?", from_ns), ("started_ns < ?", to_ns)):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    for name, allowed in by_reference(transaction, {name: (value,) for name, value in filters.items()}).items():
        if name not in USAGE_FILTERS:
            raise BadInput(f"entries cannot be filtered by {name[:40]!r}; use one of {', '.join(USAGE_FILTERS)}")
        condition, found = _usage_condition(transaction, name, list(allowed))
        conditions.append(condition)
        values += found
    return conditions, values


def _usage_condition(transaction: Transaction, name: str, allowed: list[str]) -> tuple[str, list[Any]]:
    """One filter as SQL; all but users and sessions have one value."""
    if name == "trace_id":
        return "trace_no IN (SELECT trace_no FROM traces WHERE trace_id = ?)", [_trace_bytes(allowed[0])]
    if name == "status":
        return f"error_type IS {'NOT ' if allowed[0] == 'failed' else ''}NULL", []
    if name == "tag":
        key, equals, value = allowed[0].partition("=")
        if not equals:
            raise BadInput("tag: write KEY=VALUE, e.g. team=search")
        return _TAGGED[transaction.engine_name], [key, value]
    return f"{USAGE_FILTERS[name]} IN ({', '.join('?' * len(allowed)) or 'NULL'})", list(allowed)


def by_reference(transaction: Transaction, filters: Mapping[str, Collection[str]]) -> dict[str, Collection[str]]:
    """The filters with users and sessions as the references under which every realm stores them."""
    return {name: refs_of(transaction, name, allowed) if name in SUBJECT_KEYS else allowed for name, allowed in filters.items()}


def visible_tenants(transaction: Transaction, tenants: Tenants) -> Iterator[str]:
    """The tenants to look through; for a principal that sees all, every one that has entries."""
    if tenants is not None:
        yield from sorted(tenants)
        return
    found = transaction.execute("SELECT MIN(tenant) FROM entries")[0][0]
    while found is not None:
        yield found
        found = transaction.execute("SELECT MIN(tenant) FROM entries WHERE tenant > ?", (found,))[0][0]


def _whose(filters: Mapping[str, str]) -> str:
    """The tenant's condition. Where few rows are asked for that an index of their own finds, it keeps off the index by tenant and time."""
    return "tenant || '' = ?" if "trace_id" in filters or filters.get("status") == "failed" else "tenant = ?"


def _tenant_page(transaction: Transaction, tenant: str, where: str, values: Sequence[Any], size: int) -> list[Entry]:
    order = "started_ns DESC, shard DESC, block_seq DESC, idx DESC"
    sql = f"SELECT {COLUMN_LIST} FROM entries WHERE {where} ORDER BY {order} LIMIT ?"
    return [entry_of(row) for row in transaction.execute(sql, (tenant, *values, size))]


def _page_place(entry: Entry) -> tuple[int, int, int, int]:
    return entry.started_ns, entry.shard, entry.block_seq, entry.idx


def _cursor(entry: Entry) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(_page_place(entry))).decode()


def _cursor_values(cursor: str) -> list[int]:
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor))
    except ValueError as error:
        raise BadInput("this cursor was not given by a page") from error
    if not (isinstance(values, list) and len(values) == 4 and all(type(value) is int for value in values)):
        raise BadInput("this cursor was not given by a page")
    return values


def _trace_bytes(trace_id: str) -> bytes:
    try:
        return bytes.fromhex(trace_id)
    except ValueError as error:
        raise BadInput("trace_id must be 32 digits of hex") from error


_COUNTED: Final = tuple(f"{unit}{suffix}" for unit in ROLLUP_TOKENS for suffix in ("", "_reversed"))
_COUNTER_COLUMNS: Final = (
    "cost_usd", "cost_pico", "cost_reversed_usd", "cost_reversed_pico", "calls", "calls_reversed", "unpriced_calls",
    "unpriced_calls_reversed", *_COUNTED,
)  # fmt: skip
_COUNTER_SUMS: Final = ", ".join(f"SUM(r.{name})" for name in _COUNTER_COLUMNS)


def _counters(transaction: Transaction, names: Sequence[str], tenants: Tenants, first: int | None) -> Iterator[CounterTotals]:
    levels = [TOTAL, *(level for level in _moved_levels() if set(level.removeprefix(MOVED).split(",")) & set(names))]
    where = f"r.level IN ({', '.join('?' * len(levels))})"
    if tenants is not None:
        where += f" AND d.whose IN ({', '.join('?' * len(tenants)) or 'NULL'})"
    values = (*levels, *(tenants or ()))
    keys = ", ".join(f"d.{name}" for name in names)
    dims = "(SELECT *, tenant AS whose, 1 AS own FROM rollup_dims)"
    if first is not None and transaction.execute("SELECT COUNT(*) FROM rollup_dims")[0][0] > first:
        dims = _told_apart(names, first)
    source = f"FROM rollups r JOIN {dims} d ON d.dim_no = r.dim_no WHERE {where}"
    shown = transaction.iterate(f"SELECT {keys}, exemplar_ns, exemplar_pico, exemplar_trace_id {source} AND d.own = 1", values)
    exemplars = _exemplars(shown, len(names))
    sql = f"SELECT {keys}, {_COUNTER_SUMS} {source} GROUP BY {keys} ORDER BY MIN(r.dim_no)"
    for row in transaction.execute(sql, values):
        key = row[: len(names)]
        yield _counter(dict(zip(names, key, strict=True)), [int(value) for value in row[len(names) :]], exemplars.get(tuple(key)))


def _told_apart(names: Sequence[str], first: int) -> str:
    """The dimensions with `other` in place of all that is not among the first ones, as a subquery.

    What is first depends on nothing but the order in which dimensions were numbered, so what is in `other` stays there.
    """
    calls = [name for name in names if name not in ("cost_method", "unpriced_reason")]
    unpriced = [name for name in names if name not in ("cost_method", "operation")]
    shown = ", ".join(f"CASE own WHEN 1 THEN {name} ELSE '{OTHER_LABEL}' END AS {name}" for name in names)
    return f"""(
      SELECT dim_no, own, tenant AS whose, {shown} FROM (
        SELECT a.*, CASE WHEN b.seen IS NULL AND c.seen IS NULL THEN 0 ELSE 1 END AS own FROM rollup_dims a
        LEFT JOIN {_first(calls, first, "1 = 1")} b ON {_equal("b", calls)}
        LEFT JOIN {_first(unpriced, first, "unpriced_reason <> ''")} c ON {_equal("c", unpriced)}
      ) placed
    )"""


def _first(names: Sequence[str], first: int, where: str) -> str:
    keys = ", ".join(names)
    return f"(SELECT {keys}, MIN(dim_no) AS seen FROM rollup_dims WHERE {where} GROUP BY {keys} ORDER BY MIN(dim_no) LIMIT {first:d})"


def _equal(other: str, names: Sequence[str]) -> str:
    return " AND ".join(f"{other}.{name} = a.{name}" for name in names)


def _moved_levels() -> list[str]:
    """Every level to which reattributions can have moved something under an optional label."""
    subsets = range(1, 1 << len(OPTIONAL_LABELS))
    return [MOVED + ",".join(label for bit, label in enumerate(OPTIONAL_LABELS) if chosen >> bit & 1) for chosen in subsets]


def _exemplars(rows: Iterable[tuple[Any, ...]], width: int) -> dict[tuple[str, ...], tuple[str, int, int]]:
    newest: dict[tuple[str, ...], tuple[int, int, bytes]] = {}
    for row in rows:
        key, found = tuple(row[:width]), row[width:]
        if found[0] is not None and (key not in newest or found[0] > newest[key][0]):
            newest[key] = (found[0], found[1], bytes(found[2]))
    return {key: (trace_id.hex(), pico, at_ns) for key, (at_ns, pico, trace_id) in newest.items()}


def _counter(dimensions: dict[str, str], sums: list[int], exemplar: tuple[str, int, int] | None) -> CounterTotals:
    tokens = dict(zip(_COUNTED, sums[8:], strict=True))
    return CounterTotals(
        dimensions,
        sums[0] * PICO_PER_USD + sums[1],
        sums[2] * PICO_PER_USD + sums[3],
        sums[4],
        sums[5],
        sums[6],
        {unit: tokens[unit] for unit in ROLLUP_TOKENS if tokens[unit]},
        {unit: tokens[f"{unit}_reversed"] for unit in ROLLUP_TOKENS if tokens[f"{unit}_reversed"]},
        exemplar,
        sums[7],
    )
