"""Reading the trail: pages of entries, newest first, and the walk that proves the chains."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.audit.head import verify_head
from otel_finops.audit.verify import Report, verify
from otel_finops.store.engine import Store
from otel_finops.store.signing import parsed
from otel_finops.store.unit_of_work import Transaction

_SELECT: Final = "SELECT entry_no, hash, body FROM audit_entries"


class AuditQuery(NamedTuple):
    """Which entries.

    Attributes:
        tenants: whose chains; None for all, the whole service's (`*`) among them.
        who: only by this principal.
        what: only this operation, or all of a room (`prices` for `prices.refresh` and the others).
        outcome: only with this outcome.
        from_ns, to_ns: when, from inclusive, to exclusive; None leaves the end open.
        before_no: only entries older than the one of this number: the last one of the page before.
        limit: rows of a page.
    """

    tenants: Collection[str] | None
    who: str | None
    what: str | None
    outcome: str | None
    from_ns: int | None
    to_ns: int | None
    before_no: int | None
    limit: int


class AuditEntry(NamedTuple):
    """An entry of the trail.

    Attributes:
        no: its number in the order of all chains.
        hash: of the entry.
        said: its body: tenant, seq, at, who, what, origin, outcome, began, before, after.
    """

    no: int
    hash: bytes
    said: Mapping[str, Any]


class StoredAudit:
    """The trail of one database. Safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entries(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """A page, newest first."""
        with self._store.read() as transaction:
            return entries(transaction, query)

    def verify(self, tenants: Collection[str] | None, head: str | None, public_key: str | None) -> Report:
        """Walk the chains of these tenants (None: all) on one snapshot, and hold them against an exported signed head, if one is given.

        Raises:
            BadInput: the head is no signed head, or was not signed by that key.
        """
        against = None if head is None else parsed(head, "audit head")
        with self._store.read() as transaction:
            report = verify(transaction, tenants)
            return report if against is None else report.plus(verify_head(transaction, against, public_key, tenants))


def entries(transaction: Transaction, query: AuditQuery) -> list[AuditEntry]:
    """A page of entries, newest first."""
    conditions, params = _conditions(query)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = transaction.execute(f"{_SELECT}{where} ORDER BY entry_no DESC LIMIT ?", (*params, query.limit))
    return [AuditEntry(int(no), bytes(hash_), json.loads(bytes(body))) for no, hash_, body in rows]


def _conditions(query: AuditQuery) -> tuple[list[str], list[Any]]:
    said = (
        ("who = ?", query.who), ("outcome = ?", query.outcome), ("at_ns >= ?", query.from_ns), ("at_ns < ?", query.to_ns),
        ("entry_no < ?", query.before_no),
    )  # fmt: skip
    conditions = [sql for sql, value in said if value is not None]
    params: list[Any] = [value for _, value in said if value is not None]
    if query.what is not None:
        room = f"{query.what}."
        conditions.append("(what = ? OR SUBSTR(what, 1, CAST(? AS INTEGER)) = ?)")
        params += [query.what, len(room), room]
    if query.tenants is not None:
        conditions.append(f"tenant IN ({', '.join('?' * len(query.tenants))})" if query.tenants else "1 = 0")
        params += sorted(query.tenants)
    return conditions, params
