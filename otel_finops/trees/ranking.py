"""Finds traces by what their calls cost, in SQL, exactly as the ledger's fold has it.

A span with one entry is that entry. A span with more is summed over its entries; its attribution is that of the latest of
them, everything else that of the latest charge or correction. So the figures that order the traces are the figures that are
shown, whatever was corrected, reversed or moved to another tenant.
"""

from __future__ import annotations

from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.ledger.entry import ADJUSTMENT, CHARGE, REATTRIBUTION, REVERSAL, ROLE_CALL
from otel_finops.ledger.standing import ATTRIBUTION_FIELDS
from otel_finops.ledger.tables import DIMENSIONS
from otel_finops.store.unit_of_work import Row, Transaction
from otel_finops.trees.queries import SORTS, TracePage, TraceQuery, TraceSummary

_PIECE: Final = 1_000_000
"""Money is summed in two parts, so that the database's 64 bits hold (design 4.3)."""
_HIGH: Final = f"COALESCE(cost_pico, 0) / {_PIECE}"
_LOW: Final = f"COALESCE(cost_pico, 0) % {_PIECE}"
_REST: Final = f"((low % {_PIECE}) + {_PIECE}) % {_PIECE}"
"""The low part between 0 and a piece, so that high and low parts order as whole amounts do; corrections leave negative ones."""

_MODEL: Final = "COALESCE(response_model, request_model)"
_FACTS: Final = ("role", "started_ns", *(name for name in DIMENSIONS if name not in ATTRIBUTION_FIELDS))
_SAID: Final = tuple(name for name in DIMENSIONS if name in ATTRIBUTION_FIELDS)
_LATEST: Final = ", ".join(
    f"FIRST_VALUE({_MODEL if name == 'model' else name}) OVER {window} AS {name}"
    for window, names in (("facts", _FACTS), ("said", _SAID))
    for name in names
)

_SQL: Final = f"""
WITH changed AS (SELECT DISTINCT trace_no AS changed_trace, span_id AS changed_span FROM entries WHERE revision > 0),
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
sums AS (
  SELECT trace_no, MIN(started_ns) AS started, SUM(high) AS high, SUM(low) AS low, COUNT(*) AS calls, SUM(tokens) AS tokens,
    SUM(unpriced) AS unpriced
  FROM spans GROUP BY trace_no
),
ranked AS (
  SELECT trace_no, started, calls, tokens, unpriced,
    CAST(high + (low - {_REST}) / {_PIECE} AS BIGINT) AS high, CAST({_REST} AS BIGINT) AS low
  FROM sums
)
SELECT trace_id, realm, started, high, low, calls, tokens, unpriced, ranked.trace_no
FROM ranked JOIN traces ON traces.trace_no = ranked.trace_no
WHERE {{after}} ORDER BY {{order}} LIMIT ?
"""
_ORDERS: Final = {"cost": ("high", "low"), "calls": ("calls",), "tokens": ("tokens",), "started": ("started",)}
assert tuple(_ORDERS) == SORTS


def search_traces(transaction: Transaction, query: TraceQuery) -> TracePage:
    """Traces by what their selected calls cost.

    Raises:
        BadInput: an unknown filter or order, or a place that is none of this order.
    """
    if query.sort not in _ORDERS or any(name not in DIMENSIONS for name in query.filters):
        raise BadInput(f"traces are filtered by {', '.join(DIMENSIONS)} and sorted by {', '.join(_ORDERS)}")
    keys = (*_ORDERS[query.sort], "ranked.trace_no")
    if query.after is not None and len(query.after) != len(keys):
        raise BadInput("cursor: of another order; leave it out to begin with the first page")
    single, values = _conditions(query, model=_MODEL)
    latest, _ = _conditions(query, model="model")
    after = "1 = 1" if query.after is None else f"({', '.join(keys)}) < ({', '.join('?' * len(keys))})"
    sql = _SQL.format(single=single, latest=latest, after=after, order=", ".join(f"{key} DESC" for key in keys))
    rows = transaction.execute(sql, (*values, *values, *(query.after or ()), query.limit + 1))
    found = [_summary(row) for row in rows[: query.limit]]
    return TracePage(found, _place(rows[query.limit - 1], query.sort) if len(rows) > query.limit else None)


def _conditions(query: TraceQuery, model: str) -> tuple[str, list[Any]]:
    conditions: dict[str, list[Any]] = {"role = ?": [ROLE_CALL]}
    if query.from_ns is not None:
        conditions["started_ns >= ?"] = [query.from_ns]
    if query.to_ns is not None:
        conditions["started_ns < ?"] = [query.to_ns]
    for name, value in query.filters.items():
        conditions[f"{model if name == 'model' else name} = ?"] = [value]
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
