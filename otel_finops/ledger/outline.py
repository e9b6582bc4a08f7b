"""Entries of whole traces read with the columns alone that trees need: half the time of reading all.

What is left out stands at the defaults of `Entry`, so these are for looking at, never for booking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, Final

import orjson

from otel_finops.ledger.entry import CHARGE, Entry
from otel_finops.ledger.standing import EntryKey, states
from otel_finops.store.unit_of_work import Row, Transaction

_COLUMNS: Final = (
    "kind", "realm", "tenant", "trace_id", "span_id", "parent_span_id", "role", "started_ns", "trace_no", "role_rule", "reverses",
    "counted_trace_id", "counted_span_id", "revision", "usage", "cost_pico", "partial", "unpriced_reason", "agent", "step", "tool",
    "duration_ns", "shard", "block_seq", "idx",
)  # fmt: skip
_SQL: Final = f"SELECT {', '.join(_COLUMNS)} FROM entries WHERE trace_no IN ({{}})"

_KNOWN: Final = (*(name for name in _COLUMNS if not name.startswith("counted_")), "counted_in")
_OTHERS: Final = tuple(name for name in Entry._fields if name not in _KNOWN)
_DEFAULTS: Final = tuple(Entry._field_defaults[name] for name in _OTHERS)
_arranged: Final = itemgetter(*map((*_KNOWN, *_OTHERS).index, Entry._fields))
"""Brings what is read and the defaults of the rest into the order of the fields."""


def standing_entries(transaction: Transaction, trace_nos: Iterable[int]) -> Mapping[EntryKey, Entry]:
    """What stands for every span of these traces, in outline: ids, role and its rule, usage, cost, agent, step, tool and times.

    Raises:
        BrokenLedger: an entry does not follow from those before it.
    """
    charges: dict[EntryKey, Entry] = {}
    changed: dict[EntryKey, list[Entry]] = {}
    for entry in map(_entry, transaction.select_in(_SQL, sorted(set(trace_nos)))):
        key = entry[1], entry[3], entry[4]
        if key in changed:
            changed[key].append(entry)
        elif key in charges or entry.kind != CHARGE or entry.revision:
            changed[key] = [*((charges.pop(key),) if key in charges else ()), entry]
        else:
            charges[key] = entry
    return charges | _folded(changed) if changed else charges


def _folded(changed: Mapping[EntryKey, list[Entry]]) -> dict[EntryKey, Entry]:
    """The fold of the spans that have more than their first charge, which are few."""
    folded = (states(sorted(entries, key=_revision))[key].net for key, entries in changed.items())
    return {entry.key: entry for entry in folded if entry is not None}


_revision: Final = itemgetter(Entry._fields.index("revision"))


def _entry(row: Row) -> Entry:
    (
        kind, realm, tenant, trace_id, span_id, parent_span_id, role, started_ns, trace_no, role_rule, reverses, counted_trace,
        counted_span, revision, usage, cost_pico, partial, unpriced_reason, agent, step, tool, duration_ns, shard, block_seq, idx,
    ) = row  # fmt: skip
    counted_in = None if counted_trace is None else (counted_trace.hex(), counted_span.hex())
    known: tuple[Any, ...] = (
        kind, realm, tenant, trace_id.hex(), span_id.hex(), None if parent_span_id is None else parent_span_id.hex(), role, started_ns,
        trace_no, role_rule, reverses, revision, orjson.loads(usage), cost_pico, bool(partial), unpriced_reason, agent, step, tool,
        duration_ns, shard, block_seq, idx, counted_in,
    )  # fmt: skip
    return Entry._make(_arranged(known + _DEFAULTS))
