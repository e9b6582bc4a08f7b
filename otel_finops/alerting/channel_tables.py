"""The tables of channels, of what waits to be delivered, and of what became of it. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text, text

from otel_finops.store.schema import SERIAL, metadata

channel_definitions: Final = Table(
    "channel_definitions",
    metadata,
    Column("revision", SERIAL, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False, comment="channel or route"),
    Column("no", BigInteger, nullable=False, comment="of the channel, or of the route"),
    Column("action", Text, nullable=False, comment="create, update or delete"),
    Column("tenant", Text, nullable=False, comment="whose it is; '' for all tenants'"),
    Column("name", Text, nullable=False),
    Column("definition", Text, nullable=False, comment="JSON: the other fields; nothing secret"),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("of_all", Boolean, nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
    sqlite_autoincrement=True,
)
"""Every definition of every channel and route (`alerting.channel_store`), only added; the last row of a number holds, unless it deletes."""
Index("ix_channel_definitions_no", channel_definitions.c.kind, channel_definitions.c.no, channel_definitions.c.revision)

channel_secrets: Final = Table(
    "channel_secrets",
    metadata,
    Column("channel_no", BigInteger, primary_key=True, autoincrement=False),
    Column("sealed", Text, nullable=False, comment="encrypted (`alerting.sealing`): the address, tokens, the key of signatures"),
    sqlite_with_rowid=False,
)
"""What is secret of channels that stand; nothing of it is kept when it is changed or taken away."""

deliveries: Final = Table(
    "deliveries",
    metadata,
    Column("delivery_no", SERIAL, primary_key=True, autoincrement=True),
    Column("notice_id", Text, nullable=False, comment="the same in every attempt and in every channel"),
    Column("channel_no", BigInteger, nullable=False),
    Column("tenant", Text, nullable=False, comment="whom the notice is about; '' for all tenants"),
    Column("alert_key", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False, comment="of the alert: firing or resolved"),
    Column("notice", Text, nullable=False, comment="JSON: the notice as a whole"),
    Column("made_ns", BigInteger, nullable=False),
    Column("status", Text, nullable=False, comment="waiting, delivered or failed"),
    Column("attempts", BigInteger, nullable=False, comment="those that were begun; who records a result names the one that he made"),
    Column("next_ns", BigInteger, nullable=False, comment="waiting: no attempt before; 0: at once"),
    Column("claimed_ns", BigInteger, nullable=False, comment="waiting: until when somebody attempts it; 0: nobody does"),
    Column("done_ns", BigInteger, nullable=True, comment="when it was delivered or given up"),
    Column("said", Text, nullable=False, comment="what came of the last attempt; '' before"),
    sqlite_autoincrement=True,
)
"""The outbox: one row for each notice and channel (`alerting.outbox`)."""
Index("uq_deliveries", deliveries.c.notice_id, deliveries.c.channel_no, unique=True)
_waiting: Final = text("status = 'waiting'")
Index(
    "ix_deliveries_waiting", deliveries.c.channel_no, deliveries.c.next_ns, sqlite_where=_waiting, postgresql_where=_waiting
)  # fmt: skip
Index("ix_deliveries_made", deliveries.c.made_ns)

delivery_attempts: Final = Table(
    "delivery_attempts",
    metadata,
    Column("delivery_no", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", BigInteger, primary_key=True, autoincrement=False, comment="1 is the first"),
    Column("at_ns", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False, comment="delivered, again (it will be tried again) or failed"),
    Column("code", BigInteger, nullable=True, comment="status of HTTP or SMTP; NULL: there was no answer"),
    Column("said", Text, nullable=False, comment="in words; never a secret"),
    sqlite_with_rowid=False,
)
"""The delivery log: every attempt that ended."""
