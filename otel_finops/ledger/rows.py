"""Entries as database rows, as the bytes that blocks are hashed over, and as the contract's JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

import orjson

from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_MS, format_ns
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.standing import real_amounts
from otel_finops.ledger.tables import entries as entries_table
from otel_finops.pricing.quote import CostLine
from otel_finops.store.unit_of_work import Transaction

Values: TypeAlias = list[Any]
"""One row in column order, ids as lower-case hex: what is hashed."""

COLUMNS: Final = tuple(column.name for column in entries_table.columns)
COLUMN_LIST: Final = ", ".join(COLUMNS)
BOOK_ORDER: Final = "shard, block_seq, idx"

_AT: Final = {name: position for position, name in enumerate(COLUMNS)}
_COUNTED_TRACE: Final = _AT["counted_trace_id"]
_COUNTED_SPAN: Final = _AT["counted_span_id"]
_TRACE: Final = _AT["trace_id"]
_SPAN: Final = _AT["span_id"]
_PARENT: Final = _AT["parent_span_id"]
_IDS: Final = (_COUNTED_TRACE, _COUNTED_SPAN, _TRACE, _SPAN, _PARENT)
_BOOLEANS: Final = (_AT["streaming"], _AT["partial"], _AT["late"])

_FLAGS: Final[dict[Any, bool]] = {0: False, 1: True}
"""Booleans as SQLite stores them; anything else in such a column is left as it is, so that it shows in the hash."""

DIGEST_BYTES: Final = 8


def stored_values(entry: Entry) -> Values:
    """The entry's row in column order, ids still as hex."""
    (
        kind, realm, tenant, trace_id, span_id, parent_span_id, role, started_ns, trace_no, role_rule, reverses, counted_in, revision,
        operation, provider, request_model, response_model, usage, usage_source, usage_rule, service_tier, region, region_kind, speed,
        streaming, error_type, cost_pico, cost_lines, cost_method, price_key, price_match, price_version, partial, unpriced_reason,
        reported_pico, reported_source, billed_pico, list_pico, contracted_pico, effective_pico, account, coverage_id, agent, step,
        tool, workflow, user, session, cost_center, purpose, service, environment, reservation_id, duration_ns, recorded_ns, late,
        tags, shard, block_seq, idx, _before,
    ) = entry  # fmt: skip
    counted_trace, counted_span = counted_in or (None, None)
    return [
        shard, block_seq, idx, trace_no, kind, reverses, counted_trace, counted_span, revision, realm, tenant, trace_id, span_id,
        parent_span_id, role, role_rule, operation, provider, request_model, response_model, _json(usage), total_tokens(usage),
        usage_source, usage_rule, service_tier, region, region_kind, speed, streaming, error_type, cost_pico, _lines_json(cost_lines),
        cost_method, price_key, price_match, price_version, partial, unpriced_reason, reported_pico, reported_source, billed_pico,
        list_pico, contracted_pico, effective_pico, account, coverage_id, agent, step, tool, workflow, user, session, cost_center,
        purpose, service, environment, reservation_id, started_ns, duration_ns, recorded_ns, late, _json(tags),
    ]  # fmt: skip


def bind(values: Values) -> Values:
    """Turn hashed values into bound parameters, in place: ids become bytes."""
    values[_TRACE] = bytes.fromhex(values[_TRACE])
    values[_SPAN] = bytes.fromhex(values[_SPAN])
    if values[_PARENT] is not None:
        values[_PARENT] = bytes.fromhex(values[_PARENT])
    if values[_COUNTED_TRACE] is not None:
        values[_COUNTED_TRACE] = bytes.fromhex(values[_COUNTED_TRACE])
        values[_COUNTED_SPAN] = bytes.fromhex(values[_COUNTED_SPAN])
    return values


def insert_rows(transaction: Transaction, rows: Sequence[Values]) -> None:
    """Insert bound rows. Columns that are NULL in all of them are left to their default, which is NULL.

    A third of the columns is rarely said, and every bound parameter costs a third of a microsecond.
    """
    if not rows:
        return
    empty = [position for position, value in enumerate(rows[0]) if value is None]
    for row in rows:
        empty = [position for position in empty if row[position] is None]
    said = [position for position in range(len(COLUMNS)) if position not in empty]
    head = f"INSERT INTO entries ({', '.join([COLUMNS[position] for position in said])}) VALUES"
    transaction.write_values(head, list(map(itemgetter(*said), rows)))


def read_values(row: Sequence[Any]) -> Values:
    """A row as the database gives it, in the form in which it was hashed; the same on every engine.

    What no writer of ours stores (a text for an id, 2 for a flag) is left as it is, so that it cannot pass for the original.
    """
    values = list(row)
    for position in _IDS:
        if isinstance(values[position], bytes):
            values[position] = values[position].hex()
    for position in _BOOLEANS:
        values[position] = _FLAGS.get(values[position], values[position])
    return values


def canonical_bytes(values: Values) -> bytes:
    """What a block's hash covers for one row: a JSON array of the values in column order."""
    return orjson.dumps(values, default=repr)


def row_digest(canonical: bytes) -> bytes:
    """The short digest that names a changed row within a block; the proof is the block's own hash."""
    return hashlib.sha256(canonical).digest()[:DIGEST_BYTES]


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry of a row selected by `COLUMN_LIST`."""
    (
        shard, block_seq, idx, trace_no, kind, reverses, counted_trace, counted_span, revision, realm, tenant, trace_id, span_id,
        parent_span_id, role, role_rule, operation, provider, request_model, response_model, usage, _tokens, usage_source,
        usage_rule, service_tier, region, region_kind, speed, streaming, error_type, cost_pico, cost_lines, cost_method, price_key,
        price_match, price_version, partial, unpriced_reason, reported_pico, reported_source, billed_pico, list_pico,
        contracted_pico, effective_pico, account, coverage_id, agent, step, tool, workflow, user, session, cost_center, purpose,
        service, environment, reservation_id, started_ns, duration_ns, recorded_ns, late, tags,
    ) = row  # fmt: skip
    return Entry(
        kind, realm, tenant, bytes(trace_id).hex(), bytes(span_id).hex(), None if parent_span_id is None else bytes(parent_span_id).hex(),
        role, started_ns, trace_no, role_rule, reverses,
        None if counted_trace is None else (bytes(counted_trace).hex(), bytes(counted_span).hex()),
        revision, operation, provider, request_model, response_model, orjson.loads(usage), usage_source, usage_rule, service_tier,
        region, region_kind, speed, None if streaming is None else bool(streaming), error_type, cost_pico, _lines_of(cost_lines),
        cost_method, price_key, price_match, price_version, bool(partial), unpriced_reason, reported_pico, reported_source,
        billed_pico, list_pico, contracted_pico, effective_pico, account, coverage_id, agent, step, tool, workflow, user, session,
        cost_center, purpose, service, environment, reservation_id, duration_ns, recorded_ns, bool(late), orjson.loads(tags), shard,
        block_seq, idx,
    )  # fmt: skip


def entries_of_traces(transaction: Transaction, trace_nos: Iterable[int]) -> list[Entry]:
    """All entries of these traces, in the order in which they were booked."""
    sql = f"SELECT {COLUMN_LIST} FROM entries WHERE trace_no IN ({{}})"
    found = list(map(entry_of, transaction.select_in(sql, sorted(set(trace_nos)))))
    found.sort(key=_book_place)
    return found


def entries_about_span(transaction: Transaction, trace_no: int, span_id: str) -> list[Entry]:
    """All entries of a span, and of those of its trace that were ever counted in it, in the order in which they were booked."""
    asked = bytes.fromhex(span_id)
    sql = f"""SELECT {COLUMN_LIST} FROM entries WHERE trace_no = ? AND (
      span_id = ? OR span_id IN (SELECT span_id FROM entries WHERE trace_no = ? AND counted_span_id = ?))"""
    return sorted(map(entry_of, transaction.execute(sql, (trace_no, asked, trace_no, asked))), key=_book_place)


def contract_entries(rows: Iterable[Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Rows as the contract's JSON objects."""
    return (to_contract(entry_of(row)) for row in rows)


def to_contract(entry: Entry) -> dict[str, Any]:
    """The entry as `entry.schema.json` wants it; own additions begin with `x_`."""
    counted_in = entry.counted_in
    real = real_amounts(entry)
    return {
        "entry_id": entry.entry_id,
        "kind": entry.kind,
        "reverses": entry.reverses,
        "counted_in": None if counted_in is None else {"trace_id": counted_in[0], "span_id": counted_in[1]},
        "revision": entry.revision,
        "realm": entry.realm,
        "tenant": entry.tenant,
        "trace_id": entry.trace_id,
        "span_id": entry.span_id,
        "parent_span_id": entry.parent_span_id,
        "role": entry.role,
        "operation": entry.operation,
        "provider": entry.provider,
        "request_model": entry.request_model,
        "response_model": entry.response_model,
        "usage": entry.usage,
        "usage_source": entry.usage_source,
        "usage_rule": entry.usage_rule,
        "service_tier": entry.service_tier,
        "region": entry.region,
        "streaming": entry.streaming,
        "error_type": entry.error_type,
        "cost_usd": _usd(entry.cost_pico),
        "cost_lines": [_line(line) for line in entry.cost_lines],
        "cost_method": entry.cost_method,
        "price_key": entry.price_key,
        "price_match": entry.price_match,
        "price_version": entry.price_version,
        "partial": entry.partial,
        "unpriced_reason": entry.unpriced_reason,
        "reported_usd": _usd(entry.reported_pico),
        "reported_source": entry.reported_source,
        "billed_usd": _usd(real["billed_pico"]),
        "list_usd": _usd(real["list_pico"]),
        "contracted_usd": _usd(real["contracted_pico"]),
        "effective_usd": _usd(real["effective_pico"]),
        "account": entry.account,
        "coverage_id": entry.coverage_id,
        "agent": entry.agent,
        "step": entry.step,
        "tool": entry.tool,
        "workflow": entry.workflow,
        "user": entry.user,
        "session": entry.session,
        "cost_center": entry.cost_center,
        "purpose": entry.purpose,
        "service": entry.service,
        "environment": entry.environment,
        "started_at": format_ns(entry.started_ns),
        "duration_ms": None if entry.duration_ns is None else entry.duration_ns / NS_PER_MS,
        "recorded_at": format_ns(entry.recorded_ns),
        "late": entry.late,
        "reservation_id": entry.reservation_id,
        "tags": entry.tags,
        "block": None if entry.block_seq < 0 else {"shard": entry.shard, "seq": entry.block_seq},
        "x_role_rule": entry.role_rule,
        "x_region_kind": entry.region_kind,
        "x_speed": entry.speed,
    }


def _book_place(entry: Entry) -> tuple[int, int, int]:
    return entry.shard, entry.block_seq, entry.idx


def _json(mapping: Mapping[str, Any]) -> str:
    return orjson.dumps(mapping, option=orjson.OPT_SORT_KEYS).decode() if mapping else "{}"


def _lines_json(lines: Sequence[CostLine]) -> str:
    return orjson.dumps([list(line) for line in lines]).decode() if lines else "[]"


def _lines_of(text: str) -> tuple[CostLine, ...]:
    return tuple(CostLine(*line) for line in orjson.loads(text)) if text != "[]" else ()


def _usd(pico: int | None) -> str | None:
    return None if pico is None else format_usd(pico)


def _line(line: CostLine) -> dict[str, Any]:
    return {"unit": line.unit, "quantity": line.quantity, "rate_usd": line.rate_usd, "amount_usd": format_usd(line.amount_pico)}


CONTRACT_FIELDS: Final = tuple(to_contract(Entry("charge", "", "", "", "", None, "call", 0)))
"""Names of an exported entry in the contract's order."""
