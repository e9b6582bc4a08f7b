"""Reads cost trees from the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from otel_finops.genai import inheritance
from otel_finops.genai.sighting import Sighting
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.journal import TraceState, standing_sightings, traces_with_id
from otel_finops.ledger.outline import standing_entries
from otel_finops.store.unit_of_work import Transaction
from otel_finops.trees.cost_tree import CostTree, build, collector_paused
from otel_finops.trees.queries import Tenants


class Seen(NamedTuple):
    """What of a trace id is to be seen, over all realms.

    Attributes:
        sightings: the standing one of each span.
        entries: what stands.
        trace_nos: the traces, those included of which nothing may be seen.
    """

    sightings: Sequence[Sighting]
    entries: Iterable[Entry]
    trace_nos: Sequence[int]


@collector_paused()
def read_tree(transaction: Transaction, trace_id: str, tenants: Tenants) -> CostTree | None:
    """The cost tree of a trace id over all realms; None when nothing of it belongs to the tenants."""
    seen = seen_of(transaction, trace_id, tenants, lambda trace_nos: standing_entries(transaction, trace_nos).values())
    tree = build(trace_id, seen.sightings, seen.entries, pending=waits(transaction, seen.trace_nos))
    return tree if tree.nodes else None


def seen_of(transaction: Transaction, trace_id: str, tenants: Tenants, read: Callable[[Sequence[int]], Iterable[Entry]]) -> Seen:
    """What the tenants may see of a trace id.

    A span belongs to the tenant of its entry. Spans without one belong to the tenant that they or their ancestors name,
    by the same rule by which the ledger attributes calls.

    Args:
        read: what stands of traces, by their numbers.
    """
    states = traces_with_id(transaction, trace_id)
    numbers = [state.trace_no for state in states]
    entries = read(numbers)
    sightings = standing_sightings(transaction, numbers)
    if tenants is None:
        return Seen([sighting for state in states for sighting in sightings.get(state.trace_no, ())], entries, numbers)
    entries = list(entries)
    seen = _of_tenants(states, sightings, entries, tenants)
    return Seen(seen, [entry for entry in entries if entry.tenant in tenants], numbers)


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


def waits(transaction: Transaction, trace_nos: Sequence[int]) -> bool:
    """Whether spans of these traces are journalled and not settled yet."""
    return any(True for _ in transaction.select_in("SELECT 1 FROM traces WHERE trace_no IN ({}) AND due_ns IS NOT NULL", trace_nos))
