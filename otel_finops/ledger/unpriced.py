"""Models whose calls have no price: which, why, since when, how many calls and tokens.

Sums come from the hourly roll-ups, so that the answer does not depend on how many calls there are; when a model was seen first and last is
read from the entries of these two hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_HOUR
from otel_finops.ledger.brief_rows import all_tenants
from otel_finops.ledger.entry import REATTRIBUTION, REVERSAL
from otel_finops.ledger.rollups import HOUR
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.unit_of_work import Transaction

UnpricedOrder: TypeAlias = Literal["calls", "tokens", "last_seen"]
_ORDERS: Final = {"calls": "calls DESC, tokens DESC", "tokens": "tokens DESC, calls DESC", "last_seen": "last_ns DESC, calls DESC"}
_LAST_NS: Final = 2**63 - 1


class Unpriced(NamedTuple):
    """Standing calls of one model that have no price for one reason.

    Attributes:
        provider: family; None when nobody said.
        model: the response's name, else the request's; None when nobody said.
        reason: one of the contract's unpriced reasons.
        calls, tokens: of the window, whole hours.
        first_ns, last_ns: start of the first and the last of these calls.
    """

    provider: str | None
    model: str | None
    reason: str
    calls: int
    tokens: int
    first_ns: int
    last_ns: int


class UnpricedQuery(NamedTuple):
    """Which of them.

    Attributes:
        tenants: whose calls; None for all.
        from_ns, to_ns: calls that started in this window, rounded outwards to whole hours; None = open.
        provider, model, reason: only these; None for all.
        order: most calls, most tokens, or newest first.
        offset, limit: a page.
    """

    tenants: Tenants
    from_ns: int | None = None
    to_ns: int | None = None
    provider: str | None = None
    model: str | None = None
    reason: str | None = None
    order: UnpricedOrder = "calls"
    offset: int = 0
    limit: int = 100


class UnpricedTotals(NamedTuple):
    """Over all pages."""

    models: int
    calls: int
    tokens: int


def unpriced_models(transaction: Transaction, query: UnpricedQuery) -> list[Unpriced]:
    """A page of them.

    Raises:
        BadInput: a window that ends before it begins.
    """
    allowed = restricted(query.tenants)
    owners = all_tenants(transaction) if allowed is None else sorted(allowed)  # the index on entries begins with the tenant
    sums, values = _sums(query)
    sql = f"{sums} ORDER BY {_ORDERS[query.order]}, provider, model, reason LIMIT ? OFFSET ?"
    found = []
    for provider, model, reason, calls, tokens, first_ns, last_ns in transaction.execute(sql, (*values, query.limit, query.offset)):
        key = (provider, model, reason)
        first, last = (_seen(transaction, owners, key, hour_ns, which) for hour_ns, which in ((first_ns, "MIN"), (last_ns, "MAX")))
        found.append(Unpriced(provider or None, model or None, reason, int(calls), int(tokens), first, last))
    return found


def unpriced_totals(transaction: Transaction, query: UnpricedQuery) -> UnpricedTotals:
    """What all pages together hold."""
    sums, values = _sums(query)
    models, calls, tokens = transaction.execute(f"SELECT COUNT(*), SUM(calls), SUM(tokens) FROM ({sums}) AS found", values)[0]
    return UnpricedTotals(int(models), int(calls or 0), int(tokens or 0))


def _sums(query: UnpricedQuery) -> tuple[str, list[Any]]:
    lower, upper = _window(query)
    wanted = {"provider": query.provider, "model": query.model, "unpriced_reason": query.reason}
    conditions = ["r.level = ?", "r.bucket_ns >= ?", "r.bucket_ns < ?", "d.unpriced_reason <> ''"]
    values: list[Any] = [HOUR, lower, upper]
    for name, value in wanted.items():
        if value is not None:
            conditions.append(f"d.{name} = ?")
            values.append(value)
    condition, tenants = _of_tenants("d.tenant", query.tenants)
    net = "r.unpriced_calls - r.unpriced_calls_reversed"
    sql = f"""
        SELECT d.provider AS provider, d.model AS model, d.unpriced_reason AS reason, SUM({net}) AS calls,
            SUM(r.unpriced_tokens - r.unpriced_tokens_reversed) AS tokens,
            MIN(CASE WHEN {net} > 0 THEN r.bucket_ns END) AS first_ns, MAX(CASE WHEN {net} > 0 THEN r.bucket_ns END) AS last_ns
        FROM rollups r JOIN rollup_dims d ON d.dim_no = r.dim_no
        WHERE {" AND ".join([*conditions, *condition])}
        GROUP BY d.provider, d.model, d.unpriced_reason HAVING SUM({net}) > 0"""
    return sql, [*values, *tenants]


def _window(query: UnpricedQuery) -> tuple[int, int]:
    lower, upper = max(query.from_ns or 0, 0), _LAST_NS if query.to_ns is None else query.to_ns
    if upper < lower:
        raise BadInput("`to` lies before `from`")
    return lower - lower % NS_PER_HOUR, upper


def _of_tenants(column: str, tenants: Tenants) -> tuple[list[str], list[str]]:
    allowed = restricted(tenants)
    if allowed is None:
        return [], []
    return [f"{column} IN ({', '.join('?' * len(allowed)) or 'NULL'})"], sorted(allowed)


def _seen(transaction: Transaction, tenants: Sequence[str], key: Sequence[str], hour_ns: int, which: str) -> int:
    """When such a call started first or last in the hour. Rows that a tenant got by a reattribution say nothing of money, so their
    model alone is compared; the hour itself stands for what no longer has a row of its own."""
    provider, model, reason = key
    conditions = [
        f"tenant IN ({', '.join('?' * len(tenants)) or 'NULL'})",
        "started_ns >= ?",
        "started_ns < ?",
        "COALESCE(provider, '') = ?",
        "COALESCE(response_model, request_model, '') = ?",
        "kind <> ?",
        "(unpriced_reason = ? OR kind = ?)",
    ]
    values = (*tenants, hour_ns, hour_ns + NS_PER_HOUR, provider, model, REVERSAL, reason, REATTRIBUTION)
    found = transaction.execute(f"SELECT {which}(started_ns) FROM entries WHERE {' AND '.join(conditions)}", values)[0][0]
    return hour_ns if found is None else int(found)
