"""Reads cost trees from the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from otel_finops.genai import inheritance
from otel_finops.genai.sighting import Sighting
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.journal import standing_sightings, traces_with_id
from otel_finops.ledger.outline import standing_entries
from otel_finops.store.unit_of_work import Transaction
from otel_finops.trees.chosen import EVERYTHING, Choice
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
def read_tree(transaction: Transaction, trace_id: str, tenants: Tenants, choice: Choice = EVERYTHING) -> CostTree | None:
    """The cost tree of a trace id over all realms; None when nothing of it belongs to the tenants. Raises NotFound as `build`."""
    seen = seen_of(transaction, trace_id, tenants, lambda trace_nos: standing_entries(transaction, trace_nos).values())
    sightings, entries = list(seen.sightings), list(seen.entries)
    if not sightings and not entries:
        return None
    return build(trace_id, sightings, entries, pending=waits(transaction, seen.trace_nos), choice=choice)


def seen_of(transaction: Transaction, trace_id: str, tenants: Tenants, read: Callable[[Sequence[int]], Iterable[Entry]]) -> Seen:
    """What the tenants may see of a trace id.

    A span belongs to the tenant of its entry. Spans without one belong to the tenant that they or their ancestors name,
    by the same rule by which the ledger attributes calls. Below a span that may not be seen the tree goes on from the nearest one above
    it that may, so that sums are those of everything of the tenants that lies below.

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
    booked = {(entry.realm, entry.span_id): entry for entry in entries}
    spans: list[Sighting] = []
    for state in states:
        own = sightings.get(state.trace_no, [])
        said = inheritance.resolve(own)
        owners = {s.span_id: said[s.key]["tenant"] for s in own} | {e.span_id: e.tenant for e in entries if e.realm == state.realm}
        parents = {e.span_id: e.parent_span_id for e in entries if e.realm == state.realm} | {s.span_id: s.parent_span_id for s in own}
        lifted = _lifted(parents, {span_id for span_id, owner in owners.items() if owner in tenants})
        spans += [s._replace(parent_span_id=lifted[s.span_id]) for s in own if s.span_id in lifted]
        for span_id in lifted.keys() - {s.span_id for s in own}:
            booked[state.realm, span_id] = booked[state.realm, span_id]._replace(parent_span_id=lifted[span_id])
    return Seen(spans, [entry for entry in booked.values() if entry.tenant in tenants], numbers)


def _lifted(parents: Mapping[str, str | None], shown: Collection[str]) -> dict[str, str | None]:
    """The nearest shown span above each shown one; where none is above, the parent that it names."""
    nearest: dict[str, str | None] = {}
    found: dict[str, str | None] = {}
    for span_id in shown:
        passed: list[str] = []
        at = parents[span_id]
        while at is not None and at not in shown and at not in nearest and at in parents:
            nearest[at] = None  # whoever comes here again has gone in a circle
            passed.append(at)
            at = parents[at]
        top = at if at is None or at in shown else nearest.get(at)
        nearest.update(dict.fromkeys(passed, top))
        found[span_id] = parents[span_id] if top is None or top == span_id else top
    return found


def waits(transaction: Transaction, trace_nos: Sequence[int]) -> bool:
    """Whether spans of these traces are journalled and not settled yet."""
    return any(True for _ in transaction.select_in("SELECT 1 FROM traces WHERE trace_no IN ({}) AND due_ns IS NOT NULL", trace_nos))
