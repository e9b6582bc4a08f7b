"""The tables of decisions on calls, and of what is held for them. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text

from otel_finops.store.schema import SERIAL, metadata

decisions: Final = Table(
    "decisions",
    metadata,
    Column("decision_no", SERIAL, primary_key=True, autoincrement=True),
    Column("decision_id", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("action", Text, nullable=False, comment="what was decided, in observe mode what would have been"),
    Column("observed", Boolean, nullable=False, comment="observe mode: whatever was decided, the caller was told to go on"),
    Column("gate", Text, nullable=False, comment="who decided; '': nobody had anything to say"),
    Column("rule_id", Text, nullable=True, comment="of the rule that decided"),
    *(Column(name, Text, nullable=True) for name in ("provider", "model", "operation")),
    *(Column(name, Text, nullable=True, comment="reference of a subject") for name in ("user_ref", "session_ref")),
    *(Column(name, Text, nullable=True) for name in ("agent", "step", "purpose", "cost_center", "service", "environment", "trace_id")),
    Column("estimate_pico", BigInteger, nullable=True, comment="pico-USD; NULL: nobody knows"),
    Column("tokens", BigInteger, nullable=False, comment="prompt and most output"),
    Column("key", Text, nullable=True, comment="digest of the caller's idempotency key"),
    Column("asked", Text, nullable=False, comment="digest of what was asked, to know a repeated request; '' without a key"),
    Column("answer", Text, nullable=False, comment="JSON: what the caller was told"),
    sqlite_autoincrement=True,
)
"""Every decision on a call (`governance.decisions`), append-only."""

Index("ix_decisions_id", decisions.c.decision_id, unique=True)
Index(
    "ix_decisions_key", decisions.c.tenant, decisions.c.key, unique=True,
    sqlite_where=decisions.c.key.isnot(None), postgresql_where=decisions.c.key.isnot(None),
)  # fmt: skip
Index("ix_decisions_at", decisions.c.at_ns)
Index(
    "ix_decisions_said", decisions.c.at_ns, decisions.c.tenant, decisions.c.action, decisions.c.observed, decisions.c.gate,
    decisions.c.estimate_pico,
    sqlite_where=decisions.c.action != "allow", postgresql_where=decisions.c.action != "allow",
)  # fmt: skip

reservations: Final = Table(
    "reservations",
    metadata,
    Column("reservation_id", Text, primary_key=True, comment="that of its decision"),
    Column("tenant", Text, nullable=False),
    Column("state", Text, nullable=False, comment="held, settled, or how it ended: booked, expired, released"),
    Column("estimate_pico", BigInteger, nullable=True, comment="pico-USD; NULL: nobody knows"),
    Column("tokens", BigInteger, nullable=False),
    Column("actual_pico", BigInteger, nullable=True, comment="what it came to; NULL: it is not settled, or nobody knows"),
    Column("actual_tokens", BigInteger, nullable=True),
    Column("made_ns", BigInteger, nullable=False),
    Column("settled_ns", BigInteger, nullable=True),
    Column("expires_ns", BigInteger, nullable=False, comment="when it is given back unless something else happens before"),
    Column("ended_ns", BigInteger, nullable=True, comment="NULL: it is held"),
    sqlite_with_rowid=False,
)
"""What decisions hold for calls (`governance.reservations`)."""

Index(
    "ix_reservations_open", reservations.c.expires_ns,
    sqlite_where=reservations.c.ended_ns.is_(None), postgresql_where=reservations.c.ended_ns.is_(None),
)  # fmt: skip
Index("ix_reservations_made", reservations.c.made_ns)
