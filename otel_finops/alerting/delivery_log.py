"""What became of notices: deliveries, and every attempt of each."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from otel_finops.alerting.channel_store import Tenants
from otel_finops.alerting.notices import Notice
from otel_finops.alerting.outbox import unpacked
from otel_finops.store.unit_of_work import Row, Transaction

_COLUMNS: Final = (
    "d.delivery_no, d.channel_no, c.tenant, d.notice, d.made_ns, d.status, d.attempts, d.next_ns, d.done_ns, d.said, c.name, d.claimed_ns"
)
_FROM: Final = "FROM deliveries d JOIN channel_definitions c ON c.kind = 'channel' AND c.no = d.channel_no AND c.action = 'create' WHERE "
_ATTEMPTS: Final = (
    "SELECT attempt, at_ns, duration_ms, outcome, code, said FROM delivery_attempts WHERE delivery_no = ? ORDER BY attempt DESC LIMIT ?"
)
_AGAIN: Final = (
    "UPDATE deliveries SET status = 'waiting', next_ns = 0, claimed_ns = 0, done_ns = NULL, made_ns = ? "
    "WHERE delivery_no = ? AND status = 'failed' RETURNING delivery_no"
)
_FILTERS: Final = {
    "status": " AND d.status = ?",
    "channel_no": " AND d.channel_no = ?",
    "rule": " AND d.rule = ?",
    "notice_id": " AND d.notice_id = ?",
}
"""Conditions by field of `Query`."""
_LAST_NO: Final = 2**63 - 1
_ATTEMPTS_SHOWN: Final = 50


class Delivery(NamedTuple):
    """A notice on its way by one channel.

    Attributes:
        no: its number.
        channel_no, channel_tenant, channel_name: by which channel; whose it is (None: all tenants'), and how it was called first.
        notice: what is told.
        made_ns: when it was put into the outbox, or somebody had it tried again.
        status: waiting, delivered or failed.
        attempts: those that were begun.
        next_ns: waiting: no attempt before; None otherwise.
        under_way: waiting: a process attempts it, or did when it was last heard of.
        done_ns: when it was delivered or given up; None: it waits.
        said: what came of the last attempt; "" before.
    """

    no: int
    channel_no: int
    channel_tenant: str | None
    channel_name: str
    notice: Notice
    made_ns: int
    status: str
    attempts: int
    next_ns: int | None
    under_way: bool
    done_ns: int | None
    said: str


class Tried(NamedTuple):
    """An attempt that ended; times in nanoseconds and milliseconds, `code` of HTTP or SMTP, None without an answer."""

    attempt: int
    at_ns: int
    duration_ms: int
    outcome: str
    code: int | None
    said: str


class Query(NamedTuple):
    """Which deliveries; None: any."""

    status: str | None = None
    channel_no: int | None = None
    rule: str | None = None
    notice_id: str | None = None


def page(transaction: Transaction, tenants: Tenants, query: Query, before_no: int | None, limit: int) -> list[Delivery]:
    """A page, newest first; of these tenants' notices by these tenants' channels, None for all."""
    wanted, params = _conditions(tenants, query)
    sql = f"SELECT {_COLUMNS} {_FROM}d.delivery_no < ?{wanted} ORDER BY d.delivery_no DESC LIMIT ?"
    return [_delivery(row) for row in transaction.execute(sql, (_LAST_NO if before_no is None else before_no, *params, limit))]


def find(transaction: Transaction, tenants: Tenants, no: int) -> Delivery | None:
    """One delivery; None where these tenants have no such."""
    wanted, params = _conditions(tenants, Query())
    rows = transaction.execute(f"SELECT {_COLUMNS} {_FROM}d.delivery_no = ?{wanted}", (no, *params))
    return _delivery(rows[0]) if rows else None


def attempts_of(transaction: Transaction, no: int) -> list[Tried]:
    """Its last attempts, newest first."""
    rows = transaction.execute(_ATTEMPTS, (no, _ATTEMPTS_SHOWN))
    return [Tried(int(n), int(at), int(ms), outcome, None if code is None else int(code), said) for n, at, ms, outcome, code, said in rows]


def try_again(transaction: Transaction, no: int, now_ns: int) -> bool:
    """Have a delivery that failed attempted anew; False where it did not fail."""
    return bool(transaction.execute(_AGAIN, (now_ns, no)))


def _conditions(tenants: Tenants, query: Query) -> tuple[str, list[Any]]:
    """Further conditions with their parameters."""
    given = query._asdict()
    texts = "".join(text for name, text in _FILTERS.items() if given[name] is not None)
    params = [given[name] for name in _FILTERS if given[name] is not None]
    if tenants is None:
        return texts, params
    several = ", ".join("?" * len(tenants)) or "NULL"
    return f"{texts} AND d.tenant IN ({several}) AND c.tenant IN ({several})", [*params, *tenants, *tenants]


def _delivery(row: Row) -> Delivery:
    no, channel_no, tenant, notice, made_ns, status, attempts, next_ns, done_ns, said, name, claimed_ns = row
    waits = status == "waiting"
    return Delivery(
        int(no), int(channel_no), tenant or None, name, unpacked(notice), int(made_ns), status, int(attempts),
        int(next_ns) or int(made_ns) if waits else None, waits and int(claimed_ns) > 0, None if done_ns is None else int(done_ns), said,
    )  # fmt: skip
