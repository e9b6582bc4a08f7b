"""What traces are called in lists: by the run that holds the others, whose agents and service they are, how long they took."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from otel_finops.base.limits import LABEL_AGENTS_MAX
from otel_finops.store.unit_of_work import Transaction
from otel_finops.trees.queries import Tenants, TraceLabel

_RUNS: Final = """
SELECT t.realm, t.trace_id, r.parent_run, r.name, r.service, r.agent, r.error_type FROM runs r JOIN traces t ON t.trace_no = r.trace_no
WHERE t.trace_id IN ({}) AND (r.parent_run IS NULL OR r.agent IS NOT NULL)"""
_SUMS: Final = """
SELECT t.realm, t.trace_id, MIN(s.started_ns), MAX(s.ended_ns), SUM(s.failed_calls)
FROM trace_sums s JOIN traces t ON t.trace_no = s.trace_no
WHERE t.trace_id IN ({})"""


def labels_of(transaction: Transaction, trace_ids: Collection[str], tenants: Tenants) -> dict[tuple[str, str], TraceLabel]:
    """Labels by realm and trace id; traces of which nothing is kept, as before they are settled, have none."""
    ids = [bytes.fromhex(trace_id) for trace_id in sorted(set(trace_ids))]
    runs: dict[tuple[str, str], list[Any]] = {}
    where, values = _owned(tenants)
    for realm, trace_id, *run in transaction.select_in(f"{_RUNS}{where} ORDER BY r.started_ns, r.span_id", ids, after=values):
        runs.setdefault((realm, bytes(trace_id).hex()), []).append(run)
    sums = transaction.select_in(f"{_SUMS}{where} GROUP BY t.realm, t.trace_id", ids, after=values)
    return {
        (realm, key.hex()): _label(runs.get((realm, key.hex()), []), int(ended_ns) - int(started_ns), int(failed))
        for realm, key, started_ns, ended_ns, failed in ((realm, bytes(trace_id), *rest) for realm, trace_id, *rest in sums)
    }


def _owned(tenants: Tenants) -> tuple[str, list[str]]:
    if tenants is None:
        return "", []
    return f" AND tenant IN ({', '.join('?' * len(tenants)) or 'NULL'})", list(tenants)


def _label(runs: Sequence[Any], duration_ns: int, failed_calls: int) -> TraceLabel:
    tops = [run for run in runs if run[0] is None]
    _, name, service, _, error_type = tops[0] if tops else (None,) * 5
    agents = list(dict.fromkeys(run[3] for run in runs if run[3] is not None))
    return TraceLabel(name, service, agents[:LABEL_AGENTS_MAX], error_type, failed_calls, duration_ns)
