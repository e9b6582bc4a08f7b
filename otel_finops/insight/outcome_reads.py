"""Reads outcomes that count: what spans say, and in its place what somebody said of the whole trace where somebody did."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from otel_finops.base.limits import OUTCOMES_AT_ONCE
from otel_finops.base.money import PICO_PER_USD
from otel_finops.insight.outcomes import UNKNOWN, Outcome, Pair, Share, only
from otel_finops.ledger.entry import CHARGE, ROLE_CALL
from otel_finops.store.unit_of_work import Row, Transaction

_SAME: Final = "n.trace_id = g.trace_id AND n.tenant = g.tenant AND n.name = g.name"
_LATER: Final = f"SELECT 1 FROM outcomes_given n WHERE {_SAME} AND n.outcome_no > g.outcome_no"
STANDS: Final = f"g.success IS NOT NULL AND NOT EXISTS ({_LATER})"
"""Of rows of `outcomes_given g` that nobody took back or said otherwise since."""
_SAID: Final = (
    "SELECT s.tenant, t.trace_id, s.span_id, s.name, s.success, s.at_ns, s.agent, s.workflow, s.service, s.environment, s.provider, "
    "s.model, s.calls, s.failed_calls, s.unpriced_calls, s.tokens, s.cost_usd, s.cost_pico "
    "FROM outcomes_said s JOIN traces t ON t.trace_no = s.trace_no "
    "WHERE s.at_ns >= ? AND s.at_ns < ? AND NOT EXISTS ("
    "SELECT 1 FROM outcomes_given g WHERE g.trace_id = t.trace_id AND g.tenant = s.tenant AND g.name = s.name "
    f"AND {STANDS})"
)
_GIVEN: Final = (
    f"SELECT g.tenant, g.trace_id, g.name, g.success, g.at_ns FROM outcomes_given g WHERE g.at_ns >= ? AND g.at_ns < ? AND {STANDS}"
)
_TRACES: Final = "SELECT trace_no, trace_id FROM traces WHERE trace_id IN ({})"
_SUMS: Final = (
    "SELECT trace_no, tenant, SUM(calls), SUM(failed_calls), SUM(unpriced_calls), SUM(tokens), SUM(cost_usd), SUM(cost_pico) "
    "FROM trace_sums WHERE trace_no IN ({}) GROUP BY trace_no, tenant"
)
_RUNS: Final = (
    "SELECT trace_no, tenant, started_ns, agent, workflow, service, environment FROM runs WHERE parent_run IS NULL AND trace_no IN ({})"
)
_MADE_BY: Final = (
    "SELECT DISTINCT trace_no, tenant, provider, COALESCE(response_model, request_model) FROM entries "
    f"WHERE trace_no IN ({{}}) AND role = '{ROLE_CALL}' AND kind = '{CHARGE}'"
)


class OutcomeQuery(NamedTuple):
    """Which outcomes.

    Attributes:
        tenants: whose; None for all.
        from_ns, to_ns: when they came out, from inclusive, to exclusive.
        name: only this kind.
    """

    tenants: Collection[str] | None
    from_ns: int = 0
    to_ns: int = 2**63 - 1
    name: str | None = None


def read_outcomes(transaction: Transaction, query: OutcomeQuery) -> Iterator[Outcome]:
    """The outcomes that count, in no order."""
    for row in _asked(transaction, _SAID, "s", query):
        yield _said(row)
    given = _asked(transaction, _GIVEN, "g", query)
    while some := list(islice(given, OUTCOMES_AT_ONCE)):
        yield from _with_traces(transaction, some)


def _asked(transaction: Transaction, sql: str, table: str, query: OutcomeQuery) -> Iterator[Row]:
    values: list[Any] = [query.from_ns, query.to_ns]
    if query.tenants is not None:
        sql += f" AND {table}.tenant IN ({', '.join('?' * len(query.tenants)) or 'NULL'})"
        values += sorted(query.tenants)
    if query.name is not None:
        sql += f" AND {table}.name = ?"
        values.append(query.name)
    return transaction.iterate(sql, values)


def _said(row: Row) -> Outcome:
    tenant, trace_id, span_id, name, success, at_ns, agent, workflow, service, environment, provider, model, *amounts = row
    made_by: Pair = (provider, model)
    return Outcome(
        tenant, bytes(trace_id).hex(), bytes(span_id).hex(), name, bool(success), int(at_ns), agent, workflow, service, environment,
        made_by, _share(amounts),
    )  # fmt: skip


def _share(amounts: Sequence[Any]) -> Share:
    calls, failed, unpriced, tokens, usd, pico = map(int, amounts)
    return Share(calls, failed, unpriced, tokens, usd * PICO_PER_USD + pico)


class _Trace:
    """What is known of a trace id of one tenant, over all realms."""

    __slots__ = ("amounts", "first", "made_by")

    def __init__(self) -> None:
        self.amounts = [0] * 6
        self.first: tuple[int, tuple[str | None, ...]] | None = None
        self.made_by: set[Pair] = set()


def _with_traces(transaction: Transaction, given: Sequence[Row]) -> Iterator[Outcome]:
    """What somebody said, with what the traces cost and whose runs they began with."""
    ids = {int(no): bytes(trace_id) for no, trace_id in transaction.select_in(_TRACES, sorted({bytes(row[1]) for row in given}))}
    numbers = sorted(ids)
    found: dict[tuple[bytes, str], _Trace] = {}
    for no, tenant, *amounts in transaction.select_in(_SUMS, numbers):
        trace = found.setdefault((ids[int(no)], tenant), _Trace())
        trace.amounts = [held + int(more) for held, more in zip(trace.amounts, amounts, strict=True)]
    for no, tenant, started_ns, *names in transaction.select_in(_RUNS, numbers):
        known = found.get((ids[int(no)], tenant))
        if known is not None and (known.first is None or int(started_ns) < known.first[0]):
            known.first = int(started_ns), tuple(names)
    for no, tenant, provider, model in transaction.select_in(_MADE_BY, numbers):
        known = found.get((ids[int(no)], tenant))
        if known is not None:
            known.made_by.add((provider, model))
    for tenant, trace_id, name, success, at_ns in given:
        yield _given(tenant, bytes(trace_id), name, bool(success), int(at_ns), found.get((bytes(trace_id), tenant)))


def _given(tenant: str, trace_id: bytes, name: str, success: bool, at_ns: int, trace: _Trace | None) -> Outcome:
    agent, workflow, service, environment = trace.first[1] if trace is not None and trace.first is not None else (None,) * 4
    made_by = UNKNOWN if trace is None else only(trace.made_by)
    share = None if trace is None else _share(trace.amounts)
    return Outcome(tenant, trace_id.hex(), None, name, success, at_ns, agent, workflow, service, environment, made_by, share)
