"""The tables of policies, and of what counts for them. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text

from otel_finops.governance.decision_tables import decisions
from otel_finops.store.schema import SERIAL, metadata

policies: Final = Table(
    "policies",
    metadata,
    Column("revision", SERIAL, primary_key=True, autoincrement=True),
    Column("policy_no", BigInteger, nullable=False),
    Column("action", Text, nullable=False, comment="create, update or delete"),
    Column("tenant", Text, nullable=False, comment="whose it is; '' for several"),
    Column("name", Text, nullable=False),
    Column("definition", Text, nullable=False, comment="JSON: the other fields; users and sessions as references"),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("of_all", Boolean, nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
    sqlite_autoincrement=True,
)
"""Every definition of every policy (`governance.policy_store`), append-only; the last row of a number holds, unless it deletes."""
Index("ix_policies_no", policies.c.policy_no, policies.c.revision)

policy_rates: Final = Table(
    "policy_rates",
    metadata,
    Column("policy_no", BigInteger, primary_key=True, autoincrement=False),
    Column("of", Text, primary_key=True, comment="what is counted apart: a tenant, agent, trace id or reference of a subject; '' for all"),
    Column("free_ns", BigInteger, nullable=False, comment="when all that was taken of the rate is there again; earlier than now: nothing is"),
    sqlite_with_rowid=False,
)
"""How much of their rates calls took (`governance.rates`)."""
Index("ix_policy_rates_free", policy_rates.c.free_ns)

policy_failures: Final = Table(
    "policy_failures",
    metadata,
    Column("policy_no", BigInteger, primary_key=True, autoincrement=False),
    Column("failures", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, comment="of the policy when it failed last"),
    Column("at_ns", BigInteger, nullable=False, comment="when it failed last"),
    Column("reason", Text, nullable=False, comment="of the last failure; never a value"),
    sqlite_with_rowid=False,
)
"""Policies whose conditions could not be evaluated for some call."""

Index(
    "ix_decisions_trace", decisions.c.trace_id, decisions.c.at_ns,
    sqlite_where=decisions.c.trace_id.isnot(None), postgresql_where=decisions.c.trace_id.isnot(None),
)  # fmt: skip
Index(
    "ix_decisions_session", decisions.c.session_ref, decisions.c.at_ns,
    sqlite_where=decisions.c.session_ref.isnot(None), postgresql_where=decisions.c.session_ref.isnot(None),
)  # fmt: skip
"""By which the calls of a trace or session that were let through are counted."""
