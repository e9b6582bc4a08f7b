"""The tables of policies, and of what counts for them. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text, text

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
    Column("free_ns", BigInteger, nullable=False, comment="when all that was taken is there again; earlier than now: nothing is"),
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

policy_calls: Final = Table(
    "policy_calls",
    metadata,
    Column("reservation_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("trace_id", Text),
    Column("session_ref", Text),
    Column("made_ns", BigInteger, nullable=False),
    Column("pico", BigInteger, nullable=False, comment="the estimate, or what the caller says it came to; 0 where nobody knows"),
    Column("tokens", BigInteger, nullable=False),
    Column("is_open", Boolean, nullable=False, comment="it is held: the call's entry is not booked"),
    sqlite_with_rowid=False,
)
"""Calls that were let through and are not booked, or are of the last minute; kept while a policy asks for traces or sessions."""
for _name in ("trace_id", "session_ref"):
    Index(
        f"ix_policy_calls_{_name}", policy_calls.c[_name], policy_calls.c.made_ns,
        sqlite_where=policy_calls.c[_name].isnot(None), postgresql_where=policy_calls.c[_name].isnot(None),
    )  # fmt: skip
Index("ix_policy_calls_over", policy_calls.c.made_ns, sqlite_where=text("NOT is_open"), postgresql_where=text("NOT is_open"))
