"""Tables of what is kept of settled traces beside their entries: runs, and sums by session and user.

Everything here is derived (`trees.figures`): it follows from the journal and from what stands in the ledger, and can be made anew.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text

from otel_finops.store.schema import metadata


def _amounts() -> list[Column[int]]:
    """Sums over the calls and tools of a run and of everything below it; money in whole dollars and the rest in pico-USD."""
    return [
        Column("calls", Integer, nullable=False),
        Column("failed_calls", Integer, nullable=False),
        Column("unpriced_calls", Integer, nullable=False),
        Column("tokens", BigInteger, nullable=False),
        Column("tools", Integer, nullable=False),
        Column("failed_tools", Integer, nullable=False),
        Column("cost_usd", BigInteger, nullable=False),
        Column("cost_pico", BigInteger, nullable=False),
        Column("own_calls", Integer, nullable=False, comment="calls that lie in no run below it"),
        Column("own_usd", BigInteger, nullable=False),
        Column("own_pico", BigInteger, nullable=False),
    ]


runs: Final = Table(
    "runs",
    metadata,
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("span_id", LargeBinary, primary_key=True),
    Column("parent_run", LargeBinary, comment="span of the nearest run above it; NULL: it is in no other run"),
    Column("tenant", Text, nullable=False, comment="whose the run's own span is"),
    Column("kind", Text, nullable=False, comment="agent or workflow"),
    Column("name", Text, nullable=False),
    Column("agent", Text),
    Column("workflow", Text),
    Column("service", Text),
    Column("environment", Text),
    Column("user_ref", Text),
    Column("session_ref", Text),
    Column("started_ns", BigInteger, nullable=False),
    Column("duration_ns", BigInteger, nullable=False),
    Column("error_type", Text),
    Column("finish_reason", Text, comment="why the last answer ended"),
    Column("children", Integer, nullable=False, comment="runs right below it"),
    *_amounts(),
    sqlite_with_rowid=False,
)
"""One row for each agent's or workflow's span of settled traces; sums cover the calls of its own tenant."""
Index("ix_runs_started", runs.c.started_ns)
Index("ix_runs_tenant_started", runs.c.tenant, runs.c.started_ns)
Index(
    "ix_runs_session",
    runs.c.session_ref,
    runs.c.started_ns,
    sqlite_where=text("session_ref IS NOT NULL"),
    postgresql_where=text("session_ref IS NOT NULL"),
)

run_shares: Final = Table(
    "run_shares",
    metadata,
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("span_id", LargeBinary, primary_key=True),
    Column("tenant", Text, primary_key=True),
    *_amounts(),
    sqlite_with_rowid=False,
)
"""What of a run is another tenant's than the run: only where one credential speaks for several tenants, so there are few."""

trace_sums: Final = Table(
    "trace_sums",
    metadata,
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant", Text, primary_key=True),
    Column("session_ref", Text, primary_key=True, comment="'': none"),
    Column("user_ref", Text, primary_key=True, comment="'': none"),
    Column("calls", Integer, nullable=False),
    Column("failed_calls", Integer, nullable=False),
    Column("unpriced_calls", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cost_usd", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    Column("started_ns", BigInteger, nullable=False, comment="start of the first call"),
    Column("ended_ns", BigInteger, nullable=False, comment="end of the last one"),
    sqlite_with_rowid=False,
)
"""Sums over the standing calls of a trace."""
Index(
    "ix_trace_sums_session",
    trace_sums.c.session_ref,
    trace_sums.c.tenant,
    trace_sums.c.ended_ns,
    sqlite_where=text("session_ref <> ''"),
    postgresql_where=text("session_ref <> ''"),
)
Index("ix_trace_sums_latest", trace_sums.c.ended_ns, sqlite_where=text("session_ref <> ''"), postgresql_where=text("session_ref <> ''"))
