"""Finds traces by what their calls cost, in SQL, exactly as the ledger's fold has it.

A span with one entry is that entry. A span with more is summed over its entries; its attribution is that of the latest of
them, everything else that of the latest charge or correction. So the figures that order the traces are the figures that are
shown, whatever was corrected, reversed or moved to another tenant.

Where nothing is asked that only calls know, the sums that are kept of each trace (`trees.projected`) answer, and entries are looked at
only of traces that reach over an end of the time asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.base.money import PICO_PER_USD
from otel_finops.ledger.entry import ADJUSTMENT, CHARGE, REATTRIBUTION, REVERSAL, ROLE_CALL
from otel_finops.ledger.standing import ATTRIBUTION_FIELDS
from otel_finops.ledger.subjects import refs_of
from otel_finops.ledger.tables import DIMENSIONS
from otel_finops.store.unit_of_work import Row, Transaction
from otel_finops.trees.projected import TO_FILL
from otel_finops.trees.queries import SORTS, TracePage, TraceQuery, TraceSummary

_PIECE: Final = 1_000_000
"""Money is summed in two parts, so that the database's 64 bits hold (design 4.3)."""
_HIGH: Final = f"COALESCE(cost_pico, 0) / {_PIECE}"
_LOW: Final = f"COALESCE(cost_pico, 0) % {_PIECE}"
_REST: Final = f"((low % {_PIECE}) + {_PIECE}) % {_PIECE}"
"""The low part between 0 and a piece, so that high and low parts order as whole amounts do; corrections leave negative ones."""

_MODEL: Final = "COALESCE(response_model, request_model)"
_FACTS: Final = ("role", "started_ns", "error_type", *(name for name in DIMENSIONS if name not in ATTRIBUTION_FIELDS))
_SAID: Final = (*(name for name in DIMENSIONS if name in ATTRIBUTION_FIELDS), "user_ref", "session_ref")
_SUBJECTS: Final = {"user": "user_ref", "session": "session_ref"}
_LATEST: Final = ", ".join(
    f"FIRST_VALUE({_MODEL if name == 'model' else name}) OVER {window} AS {name}"
    for window, names in (("facts", _FACTS), ("said", _SAID))
    for name in names
)

_OF_CALLS: Final = f"""
changed AS (SELECT DISTINCT trace_no + 0 AS changed_trace, span_id AS changed_span FROM entries WHERE kind <> '{CHARGE}'),
latest AS (
  SELECT trace_no, span_id, kind, tokens, cost_pico, {_LATEST}
  FROM entries JOIN changed ON trace_no = changed_trace AND span_id = changed_span
  WINDOW said AS (PARTITION BY trace_no, span_id ORDER BY revision DESC),
    facts AS (PARTITION BY trace_no, span_id
      ORDER BY CASE WHEN kind IN ('{REATTRIBUTION}', '{ADJUSTMENT}') THEN 1 ELSE 0 END, revision DESC)
),
spans AS (
  SELECT trace_no, started_ns, tokens, {_HIGH} AS high, {_LOW} AS low, CASE WHEN cost_pico IS NULL THEN 1 ELSE 0 END AS unpriced
  FROM entries LEFT JOIN changed ON trace_no = changed_trace AND span_id = changed_span
  WHERE changed_span IS NULL AND {{single}}
  UNION ALL
  SELECT trace_no, MIN(started_ns), SUM(CASE kind WHEN '{REVERSAL}' THEN -tokens WHEN '{REATTRIBUTION}' THEN 0 ELSE tokens END),
    SUM({_HIGH}), SUM({_LOW}), MIN(CASE WHEN cost_method = 'unpriced' THEN 1 ELSE 0 END)
  FROM latest WHERE {{latest}}
  GROUP BY trace_no, span_id HAVING SUM(CASE kind WHEN '{CHARGE}' THEN 1 WHEN '{REVERSAL}' THEN -1 ELSE 0 END) > 0
),
called AS (
  SELECT trace_no, MIN(started_ns) AS started, SUM(high) AS high, SUM(low) AS low, COUNT(*) AS calls, SUM(tokens) AS tokens,
    SUM(unpriced) AS unpriced
  FROM spans GROUP BY trace_no
)"""
_OF_TRACES: Final = f"""
whole AS (
  SELECT trace_no, MIN(started_ns) AS started, SUM(cost_usd * {PICO_PER_USD // _PIECE} + cost_pico / {_PIECE}) AS high,
    SUM(cost_pico % {_PIECE}) AS low, SUM(calls) AS calls, SUM(tokens) AS tokens, SUM(unpriced_calls) AS unpriced
  FROM trace_sums WHERE {{inside}} GROUP BY trace_no
)"""
_SQL: Final = f"""
WITH {{parts}},
ranked AS (
  SELECT trace_no, started, calls, tokens, unpriced,
    CAST(high + (low - {_REST}) / {_PIECE} AS BIGINT) AS high, CAST({_REST} AS BIGINT) AS low
  FROM ({{sums}}) sums
)
SELECT trace_id, realm, started, high, low, calls, tokens, unpriced, ranked.trace_no
FROM (SELECT * FROM ranked WHERE {{after}} ORDER BY {{order}} LIMIT ?) ranked JOIN traces ON traces.trace_no = ranked.trace_no
ORDER BY {{order}}
"""
TRACE_FILTERS: Final = (*DIMENSIONS, *_SUBJECTS)
_ORDERS: Final = {"cost": ("high", "low"), "calls": ("calls",), "tokens": ("tokens",), "started": ("started",)}
assert tuple(_ORDERS) == SORTS


def search_traces(transaction: Transaction, query: TraceQuery) -> TracePage:
    """Traces by what their selected calls cost.

    Raises:
        BadInput: an unknown filter or order, or a place that is none of this order.
    """
    if query.sort not in _ORDERS or any(name not in TRACE_FILTERS for name in query.filters):
        raise BadInput(f"traces are filtered by {', '.join(TRACE_FILTERS)} and sorted by {', '.join(_ORDERS)}")
    keys = (*_ORDERS[query.sort], "ranked.trace_no")
    if query.after is not None and len(query.after) != len(keys):
        raise BadInput("cursor: of another order; leave it out to begin with the first page")
    parts, values = _parts(transaction, query)
    after = "1 = 1" if query.after is None else f"({', '.join(keys)}) < ({', '.join('?' * len(keys))})"
    sums = " UNION ALL ".join(f"SELECT * FROM {name}" for name in parts)
    order = ", ".join(f"{key} DESC" for key in keys)
    if query.min_pico is not None:
        after += " AND (high, low) >= (?, ?)"
    least = () if query.min_pico is None else divmod(query.min_pico, _PIECE)
    sql = _SQL.format(parts=",".join(parts.values()), sums=sums, after=after, order=order)
    rows = transaction.execute(sql, (*values, *(query.after or ()), *least, query.limit + 1))
    found = [_summary(row) for row in rows[: query.limit]]
    return TracePage(found, _place(rows[query.limit - 1], query.sort) if len(rows) > query.limit else None)


_UNFILLED: Final = "SELECT 1 FROM counters WHERE name = ?"
"""Whether there are settled traces of which no sums are kept yet."""


def _parts(transaction: Transaction, query: TraceQuery) -> tuple[dict[str, str], list[Any]]:
    """Where the sums come from, by the name under which the query knows them, with the parameters of all."""
    filters = {name: refs_of(transaction, name, [value]) if name in _SUBJECTS else [value] for name, value in query.filters.items()}
    single, values = _conditions(query, filters, model=_MODEL)
    latest, _ = _conditions(query, filters, model="model")
    if set(filters) - set(_SUBJECTS) or query.failed is not None or transaction.execute(_UNFILLED, (TO_FILL,)):
        return {"called": _OF_CALLS.format(single=single, latest=latest)}, [*values, *values]
    inside, kept = _inside(query, filters)
    if query.from_ns is None and query.to_ns is None:
        return {"whole": _OF_TRACES.format(inside=inside)}, kept
    over, bounds = _reaching_over(query)
    parts = {
        "called": _OF_CALLS.format(single=f"{single} AND {over}", latest=f"{latest} AND {over}"),
        "whole": _OF_TRACES.format(inside=f"{inside} AND NOT ({over})"),
    }
    return parts, [*values, *bounds, *values, *bounds, *kept, *bounds]


def _reaching_over(query: TraceQuery) -> tuple[str, list[Any]]:
    """The traces with calls on both sides of an end of the time asked for, or nearly."""
    bounds = [bound for bound in (query.from_ns, query.to_ns) if bound is not None]
    over = " OR ".join(["(started_ns < ? AND ended_ns >= ?)"] * len(bounds))
    return f"trace_no IN (SELECT trace_no FROM trace_sums WHERE {over})", [bound for bound in bounds for _ in range(2)]


def _inside(query: TraceQuery, filters: Mapping[str, list[str]]) -> tuple[str, list[Any]]:
    """The sums to take, as far as their traces do not reach over an end."""
    conditions, values = ["1 = 1"], list[Any]()
    for bound, condition in ((query.from_ns, "started_ns >= ?"), (query.to_ns, "started_ns < ?")):
        if bound is not None:
            conditions.append(condition)
            values.append(bound)
    allowed = {_SUBJECTS[name]: list(refs) for name, refs in filters.items()}
    if query.tenants is not None:
        allowed["tenant"] = list(query.tenants)
    for column, some in allowed.items():
        conditions.append(f"{column} IN ({', '.join('?' * len(some)) or 'NULL'})")
        values += some
    return " AND ".join(conditions), values


def _conditions(query: TraceQuery, filters: Mapping[str, list[str]], model: str) -> tuple[str, list[Any]]:
    conditions: dict[str, list[Any]] = {"role = ?": [ROLE_CALL]}
    if query.from_ns is not None:
        conditions["started_ns >= ?"] = [query.from_ns]
    if query.to_ns is not None:
        conditions["started_ns < ?"] = [query.to_ns]
    for name, allowed in filters.items():
        column = model if name == "model" else _SUBJECTS.get(name, name)
        conditions[f"{column} IN ({', '.join('?' * len(allowed)) or 'NULL'})"] = list(allowed)
    if query.failed is not None:
        conditions[f"error_type IS {'NOT ' if query.failed else ''}NULL"] = []
    if query.tenants is not None:
        conditions[f"tenant IN ({', '.join('?' * len(query.tenants)) or 'NULL'})"] = list(query.tenants)
    return " AND ".join(conditions), [value for values in conditions.values() for value in values]


def _summary(row: Row) -> TraceSummary:
    trace_id, realm, started, high, low, calls, tokens, unpriced, _ = row
    return TraceSummary(trace_id.hex(), realm, int(started), int(high) * _PIECE + int(low), int(calls), int(tokens), int(unpriced))


def _place(row: Row, sort: str) -> tuple[int, ...]:
    _, _, started, high, low, calls, tokens, _, trace_no = row
    values = {"started": started, "high": high, "low": low, "calls": calls, "tokens": tokens}
    return (*(int(values[key]) for key in _ORDERS[sort]), int(trace_no))
