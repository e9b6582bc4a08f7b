"""Reads cost trees from the store, and finds traces by what they cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.genai import inheritance
from otel_finops.genai.sighting import Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import CHARGE, REATTRIBUTION, REVERSAL, ROLE_CALL, Entry
from otel_finops.ledger.journal import TraceState, standing_sightings, traces_with_id
from otel_finops.ledger.outline import standing_entries
from otel_finops.ledger.tables import DIMENSIONS
from otel_finops.store.unit_of_work import Transaction
from otel_finops.trees.cost_tree import CostTree, build, collector_paused
from otel_finops.trees.queries import Tenants, TracePage, TraceQuery, TraceSummary


@collector_paused()
def read_tree(transaction: Transaction, trace_id: str, tenants: Tenants) -> CostTree | None:
    """The cost tree of a trace id over all realms; None when nothing of it belongs to the tenants.

    A span belongs to the tenant of its entry. Spans without one belong to the tenant that they or their ancestors name,
    by the same rule by which the ledger attributes calls.
    """
    states = traces_with_id(transaction, trace_id)
    numbers = [state.trace_no for state in states]
    entries: Iterable[Entry] = standing_entries(transaction, numbers).values()
    sightings = standing_sightings(transaction, numbers)
    seen = [sighting for state in states for sighting in sightings.get(state.trace_no, ())]
    if tenants is not None:
        entries = list(entries)
        seen = _of_tenants(states, sightings, entries, tenants)
        entries = [entry for entry in entries if entry.tenant in tenants]
    tree = build(trace_id, seen, entries, pending=_waits(transaction, numbers))
    return tree if tree.nodes else None


def _of_tenants(
    states: Sequence[TraceState], sightings: Mapping[int, list[Sighting]], entries: Iterable[Entry], tenants: Collection[str]
) -> list[Sighting]:
    booked = {(entry.realm, entry.span_id): entry.tenant for entry in entries}
    kept = []
    for state in states:
        spans = sightings.get(state.trace_no, [])
        said = inheritance.resolve(spans)
        kept += [s for s in spans if booked.get((s.realm, s.span_id), said[s.key]["tenant"]) in tenants]
    return kept


def _waits(transaction: Transaction, trace_nos: Sequence[int]) -> bool:
    """Whether spans of these traces are journalled and not settled yet."""
    return any(True for _ in transaction.select_in("SELECT 1 FROM traces WHERE trace_no IN ({}) AND due_ns IS NOT NULL", trace_nos))


_PIECE: Final = 1_000_000
"""Money is summed in two parts, so that the database's 64 bits hold (design 4.3)."""
_HIGH: Final = f"SUM((COALESCE(cost_pico, 0) - COALESCE(cost_pico, 0) % {_PIECE}) / {_PIECE})"
_LOW: Final = f"SUM(COALESCE(cost_pico, 0) % {_PIECE})"
_SIGN: Final = f"CASE kind WHEN '{CHARGE}' THEN 1 WHEN '{REVERSAL}' THEN -1 ELSE 0 END"
_SORTS: Final = {
    "cost": f"{_HIGH} DESC, {_LOW} DESC",
    "calls": f"SUM({_SIGN}) DESC",
    "tokens": f"SUM(CASE kind WHEN '{REVERSAL}' THEN -tokens WHEN '{REATTRIBUTION}' THEN 0 ELSE tokens END) DESC",
    "started": "MIN(started_ns) DESC",
}
_KEYS: Final[Mapping[str, Callable[[TraceSummary], int]]] = {
    "cost": lambda one: one.cost_pico,
    "calls": lambda one: one.calls,
    "tokens": lambda one: one.tokens,
    "started": lambda one: one.started_ns,
}


def search_traces(transaction: Transaction, query: TraceQuery) -> TracePage:
    """Traces by what their calls cost.

    The database chooses and orders by sums over the entries; what is shown is folded from the entries of the chosen traces,
    so that a call which a reattribution took to another tenant is neither shown nor counted (its trace may stand out of order).

    Raises:
        BadInput: an unknown filter or order.
    """
    if query.sort not in _SORTS or any(name not in DIMENSIONS for name in query.filters):
        raise BadInput(f"traces are filtered by {', '.join(DIMENSIONS)} and sorted by {', '.join(_SORTS)}")
    where, values = _conditions(query)
    sql = f"SELECT trace_no FROM entries WHERE {where} GROUP BY trace_no ORDER BY {_SORTS[query.sort]}, trace_no DESC LIMIT ? OFFSET ?"
    chosen = [trace_no for (trace_no,) in transaction.execute(sql, (*values, query.limit + 1, query.offset))]
    standing = standing_entries(transaction, chosen[: query.limit]).values()
    calls: dict[int, list[Entry]] = {}
    for entry in standing:
        if entry.role == ROLE_CALL and _is_selected(entry, query):
            calls.setdefault(entry.trace_no, []).append(entry)
    found = sorted((_summary(entries) for entries in calls.values()), key=lambda one: one.trace_id)
    return TracePage(sorted(found, key=_KEYS[query.sort], reverse=True), len(chosen) > query.limit)


def _conditions(query: TraceQuery) -> tuple[str, list[Any]]:
    conditions: dict[str, list[Any]] = {"role = ?": [ROLE_CALL]}
    if query.from_ns is not None:
        conditions["started_ns >= ?"] = [query.from_ns]
    if query.to_ns is not None:
        conditions["started_ns < ?"] = [query.to_ns]
    for name, value in query.filters.items():
        column = "COALESCE(response_model, request_model)" if name == "model" else name
        conditions[f"{column} = ?"] = [value]
    if query.tenants is not None:
        conditions[f"tenant IN ({', '.join('?' * len(query.tenants)) or 'NULL'})"] = list(query.tenants)
    return " AND ".join(conditions), [value for values in conditions.values() for value in values]


def _is_selected(entry: Entry, query: TraceQuery) -> bool:
    if query.tenants is not None and entry.tenant not in query.tenants:
        return False
    return all(_value(entry, name) == wanted for name, wanted in query.filters.items())


def _value(entry: Entry, name: str) -> str | None:
    return entry.response_model or entry.request_model if name == "model" else getattr(entry, name)


def _summary(calls: Sequence[Entry]) -> TraceSummary:
    return TraceSummary(
        calls[0].trace_id,
        calls[0].realm,
        min(entry.started_ns for entry in calls),
        sum(entry.cost_pico or 0 for entry in calls),
        len(calls),
        sum(total_tokens(entry.usage) for entry in calls),
        sum(entry.cost_pico is None for entry in calls),
    )
