"""`ledger export`: entries, or what stands net of corrections and reversals, as JSON lines or CSV, in constant memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, Literal, TypeAlias

import orjson

from otel_finops.ledger.counted_in import resolved
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.rows import BOOK_ORDER, COLUMN_LIST, CONTRACT_FIELDS, entries_of_traces, entry_of, to_contract
from otel_finops.ledger.standing import fold, merged_lines
from otel_finops.ledger.subjects import Subjects
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.unit_of_work import Transaction

Format: TypeAlias = Literal["jsonl", "csv"]

CHUNK: Final = 512
_CANONICAL_LEAVES_OUT: Final = ("entry_id", "kind", "reverses", "revision", "recorded_at", "late", "block", "x_role_rule")
"""Design 4.2; the name of the rule that decided is an explanation and no state, it may differ with the order of arrival."""
_NUMERIC: Final = frozenset(
    ("revision", "cost_usd", "reported_usd", "billed_usd", "list_usd", "contracted_usd", "effective_usd", "duration_ms")
)
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def export_entries(
    transaction: Transaction, tenants: Tenants, form: Format = "jsonl", *, subjects: Subjects | None = None
) -> Iterator[str]:
    """All entries in the order in which each shard booked them, as text with line ends.

    Args:
        tenants: whose entries; None for all.
        subjects: with it users and sessions are shown in clear (null once erased), without it as references.
    """
    allowed = restricted(tenants)
    where = "" if allowed is None else f" WHERE tenant IN ({', '.join('?' * len(allowed)) or 'NULL'})"
    rows = transaction.iterate(f"SELECT {COLUMN_LIST} FROM entries{where} ORDER BY {BOOK_ORDER}", tuple(allowed or ()))
    return _written(_contracts(transaction, map(entry_of, rows), subjects), form)


def export_net(transaction: Transaction, tenants: Tenants, form: Format = "jsonl", *, subjects: Subjects | None = None) -> Iterator[str]:
    """One row for every span that stands, ordered by (realm, trace, span)."""
    return _written(_contracts(transaction, standing_entries(transaction, tenants), subjects), form)


def export_canonical(transaction: Transaction, tenants: Tenants, subjects: Subjects) -> Iterator[str]:
    """The net ledger in a form that two ledgers of the same spans share to the byte, whatever the order of arrival."""
    for contract in _contracts(transaction, standing_entries(transaction, tenants), subjects):
        for name in _CANONICAL_LEAVES_OUT:
            del contract[name]
        yield orjson.dumps(contract, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()


def standing_entries(transaction: Transaction, tenants: Tenants) -> Iterator[Entry]:
    """What stands, by (realm, trace, span); cost lines in one order, however they came about."""
    allowed = restricted(tenants)
    realm = 'realm COLLATE "C"' if transaction.engine_name == "postgresql" else "realm"
    traces = transaction.iterate(f"SELECT trace_no FROM traces WHERE booked ORDER BY {realm}, trace_id")
    for chunk in _chunks(traces, CHUNK):
        net = fold(entries_of_traces(transaction, [trace_no for (trace_no,) in chunk]))
        for entry in resolved(transaction, [net[key] for key in sorted(net)]):
            if allowed is None or entry.tenant in allowed:
                yield entry._replace(cost_lines=merged_lines(entry.cost_lines))


def _contracts(transaction: Transaction, entries: Iterable[Entry], subjects: Subjects | None) -> Iterator[dict[str, Any]]:
    for chunk in _chunks(entries, CHUNK):
        yield from map(to_contract, chunk if subjects is None else _clear(transaction, chunk, subjects))


def _clear(transaction: Transaction, chunk: Sequence[Entry], subjects: Subjects) -> list[Entry]:
    refs = {ref for entry in chunk for ref in (entry.user, entry.session) if ref is not None}
    if not refs:
        return list(chunk)
    clear = subjects.clear(transaction, refs)
    return [entry._replace(user=clear.get(entry.user or ""), session=clear.get(entry.session or "")) for entry in chunk]


def _written(contracts: Iterable[dict[str, Any]], form: Format) -> Iterator[str]:
    return _csv(contracts) if form == "csv" else _jsonl(contracts)


def _jsonl(contracts: Iterable[dict[str, Any]]) -> Iterator[str]:
    for contract in contracts:
        yield orjson.dumps(contract, option=orjson.OPT_APPEND_NEWLINE).decode()


def _csv(contracts: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield ",".join(CONTRACT_FIELDS) + "\r\n"
    for contract in contracts:
        line = io.StringIO()
        csv.writer(line).writerow([_cell(name, contract[name]) for name in CONTRACT_FIELDS])
        yield line.getvalue()


def _cell(name: str, value: Any) -> Any:
    """A spreadsheet's cell: nested values as JSON, and no text that a spreadsheet would take for a formula."""
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and name not in _NUMERIC and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
