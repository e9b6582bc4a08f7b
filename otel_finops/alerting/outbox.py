"""The outbox: what is to be delivered, written in the very transaction that makes it true.

A notice and a channel make one delivery, however often the notice is put: so of several processes that say the same at once one is
heard, and after a crash what was committed is delivered.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from otel_finops.alerting.notices import Notice
from otel_finops.alerting.routes import Channel, Routing
from otel_finops.base.limits import DELIVERIES_WAITING_MAX, DELIVERIES_WAITING_OF_TENANT_MAX
from otel_finops.store.unit_of_work import Transaction

_PUT: Final = (
    "INSERT INTO deliveries (notice_id, channel_no, tenant, alert_key, rule, severity, state, notice, made_ns, status, attempts, next_ns, "
    "claimed_ns, done_ns, said) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?) ON CONFLICT (notice_id, channel_no) DO NOTHING "
    "RETURNING delivery_no"
)
_WAITING: Final = (
    "SELECT COUNT(*), SUM(CASE WHEN tenant = ? THEN 1 ELSE 0 END) FROM deliveries WHERE status = 'waiting' AND channel_no = ?"
)  # fmt: skip


def put(transaction: Transaction, notice: Notice, routes: Routing) -> list[int]:
    """Have a notice delivered by every channel that it is routed to, once this transaction is committed.

    Args:
        routes: as the transaction sees them (`channel_rows.followed_routing(store, clock).seen_by(transaction)`).

    Returns:
        The numbers of the deliveries that are new; none where no channel is to carry it, or it was put before.
    """
    return [no for channel in routes.channels_for(notice) for no in put_for(transaction, notice, channel)]


def put_for(transaction: Transaction, notice: Notice, channel: Channel, *, held_ns: int = 0) -> list[int]:
    """The same for one channel, whatever routes say.

    Args:
        held_ns: until when whoever puts it makes the first attempt himself; 0: whoever comes first makes it.
    """
    full = _full(transaction, notice, channel)
    row: tuple[Any, ...] = (
        notice.notice_id, channel.no, notice.tenant, notice.alert_key, notice.rule, notice.severity, notice.state, packed(notice),
        notice.at_ns,
    )  # fmt: skip
    if full:
        row = (*row, "failed", 0, 0, notice.at_ns, f"not sent: {full} wait in this channel")
    else:
        row = (*row, "waiting", int(held_ns > 0), held_ns, None, "")
    return [int(no) for (no,) in transaction.execute(_PUT, row)]


def _full(transaction: Transaction, notice: Notice, channel: Channel) -> str:
    """What waits in a channel, where that is too much for one more; "": it is not. No tenant takes all places of a channel of several."""
    [(waiting, theirs)] = transaction.execute(_WAITING, (notice.tenant, channel.no))
    if int(waiting) >= DELIVERIES_WAITING_MAX:
        return f"{waiting} deliveries"
    is_shared = channel.tenant is None and notice.tenant
    return f"{theirs} deliveries about this tenant" if is_shared and int(theirs or 0) >= DELIVERIES_WAITING_OF_TENANT_MAX else ""


def packed(notice: Notice) -> str:
    """A notice as it is stored."""
    said = {**notice._asdict(), "labels": dict(notice.labels), "figures": dict(notice.figures)}
    return orjson.dumps(said).decode()


def unpacked(text: str) -> Notice:
    """A notice that was stored."""
    return Notice(**orjson.loads(text))
