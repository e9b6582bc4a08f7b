"""The outbox: what is to be delivered, written in the very transaction that makes it true.

A notice and a channel make one delivery, however often the notice is put: so of several processes that say the same at once one is
heard, and after a crash what was committed is delivered.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from otel_finops.alerting.notices import Notice
from otel_finops.alerting.routes import Routing
from otel_finops.base.limits import DELIVERIES_WAITING_MAX
from otel_finops.store.unit_of_work import Transaction

_PUT: Final = (
    "INSERT INTO deliveries (notice_id, channel_no, tenant, alert_key, rule, severity, state, notice, made_ns, status, attempts, next_ns, "
    "claimed_ns, done_ns, said) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?) ON CONFLICT (notice_id, channel_no) DO NOTHING "
    "RETURNING delivery_no"
)
_WAITING: Final = "SELECT COUNT(*) FROM deliveries WHERE status = 'waiting' AND channel_no = ?"


def put(transaction: Transaction, notice: Notice, routes: Routing) -> list[int]:
    """Have a notice delivered by every channel that it is routed to, once this transaction is committed.

    Args:
        routes: as the transaction sees them (`channel_store.followed_routing(store, clock).seen_by(transaction)`).

    Returns:
        The numbers of the deliveries that are new; none where no channel is to carry it, or it was put before.
    """
    made = []
    for channel in routes.channels_for(notice):
        [(waiting,)] = transaction.execute(_WAITING, (channel.no,))
        full = int(waiting) >= DELIVERIES_WAITING_MAX
        state = ("failed", notice.at_ns, f"not sent: {waiting} deliveries wait in this channel") if full else ("waiting", None, "")
        made += [int(no) for (no,) in transaction.execute(_PUT, (*_row(notice, channel.no), *state))]
    return made


def packed(notice: Notice) -> str:
    """A notice as it is stored."""
    return orjson.dumps(notice._asdict()).decode()


def unpacked(text: str) -> Notice:
    """A notice that was stored."""
    return Notice(**orjson.loads(text))


def _row(notice: Notice, channel_no: int) -> tuple[Any, ...]:
    return (
        notice.notice_id, channel_no, notice.tenant, notice.alert_key, notice.rule, notice.severity, notice.state, packed(notice),
        notice.at_ns,
    )  # fmt: skip
