"""Which call a row is counted in now.

A copy names the call that was charged when it was booked. When an earlier sighting of the answer comes later, that call becomes
a copy or a duplicate itself; its copies, thousands perhaps, are not booked again for that. Readers follow the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from otel_finops.genai.sighting import SpanKey
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.ledger.extent import Extent
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.standing import EntryKey, fold
from otel_finops.store.unit_of_work import Transaction

HOPS_MAX: Final = 16
"""Longer chains need as many earlier sightings, each coming after the ones that it precedes; what is left then is the last one found."""
_FIND: Final = "SELECT trace_no FROM traces WHERE booked AND realm = ? AND trace_id IN ({})"


def resolved(transaction: Transaction, entries: Sequence[Entry], extent: Extent) -> list[Entry]:
    """The rows that stood at an extent, with `counted_in` naming what stood as a call then, or the last that is known on the way there."""
    starts = {(entry.realm, *entry.counted_in) for entry in entries if entry.counted_in and _elsewhere(entry)}
    ends = _ends(transaction, starts, extent)
    return [_led_to(entry, ends) for entry in entries]


def kept(target: Entry, booked: Entry | None, targets: Mapping[EntryKey, Entry]) -> Entry:
    """The row that should stand, naming what the booked one names if that leads to the same call: readers follow the chain.

    Args:
        targets: what should stand for the spans decided with it.
    """
    if booked is None or booked.counted_in is None or booked.role != target.role or target.counted_in is None or not _elsewhere(booked):
        return target
    further = targets.get((target.realm, *booked.counted_in))
    if further is None or further.role == ROLE_CALL or further.counted_in != target.counted_in:
        return target
    return target._replace(counted_in=booked.counted_in)


def _elsewhere(entry: Entry) -> bool:
    """What a row names in its own trace was decided with it."""
    return entry.counted_in is not None and entry.counted_in[0] != entry.trace_id


def _led_to(entry: Entry, ends: dict[EntryKey, SpanKey]) -> Entry:
    if entry.counted_in is None:
        return entry
    end = ends.get((entry.realm, *entry.counted_in), entry.counted_in)
    return entry if end == entry.counted_in else entry._replace(counted_in=end)


def _ends(transaction: Transaction, starts: Iterable[EntryKey], extent: Extent) -> dict[EntryKey, SpanKey]:
    """Where each chain ends."""
    at = {start: start for start in starts}
    moving = set(at)
    for _ in range(HOPS_MAX):
        if not moving:
            break
        rows = _standing(transaction, {at[start] for start in moving}, extent)
        steps: dict[EntryKey, EntryKey] = {}
        for start in moving:
            row = rows.get(at[start])
            if row is not None and row.role != ROLE_CALL and row.counted_in is not None:
                steps[start] = row.realm, *row.counted_in
        at.update(steps)
        moving = set(steps)
    return {start: (trace_id, span_id) for start, (_, trace_id, span_id) in at.items()}


def _standing(transaction: Transaction, keys: Iterable[EntryKey], extent: Extent) -> dict[EntryKey, Entry]:
    """What stands in the traces of these spans."""
    by_realm: dict[str, set[bytes]] = {}
    for realm, trace_id, _ in keys:
        by_realm.setdefault(realm, set()).add(bytes.fromhex(trace_id))
    trace_nos = [
        trace_no for realm in sorted(by_realm) for (trace_no,) in transaction.select_in(_FIND, sorted(by_realm[realm]), before=(realm,))
    ]
    return fold(filter(extent.covers, entries_of_traces(transaction, trace_nos)))
