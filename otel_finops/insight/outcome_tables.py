"""Tables of how work came out. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from otel_finops.store.schema import SERIAL, metadata

outcomes_said: Final = Table(
    "outcomes_said",
    metadata,
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("span_id", LargeBinary, primary_key=True, comment="the span that says it"),
    Column("tenant", Text, nullable=False, comment="whose that span is"),
    Column("at_ns", BigInteger, nullable=False, comment="end of that span"),
    Column("name", Text, nullable=False, comment="kind of outcome"),
    Column("success", Boolean, nullable=False),
    Column("agent", Text),
    Column("workflow", Text),
    Column("service", Text),
    Column("environment", Text),
    Column("provider", Text, comment="of the only model that its calls went to; NULL: several, or none"),
    Column("model", Text),
    Column("calls", Integer, nullable=False, comment="of the trace's calls its share, see insight.outcomes"),
    Column("failed_calls", Integer, nullable=False),
    Column("unpriced_calls", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cost_usd", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What spans of settled traces say (`insight.outcomes_said`); made anew when a trace settles again or is corrected."""
Index("ix_outcomes_said_at", outcomes_said.c.tenant, outcomes_said.c.at_ns)

outcomes_given: Final = Table(
    "outcomes_given",
    metadata,
    Column("outcome_no", SERIAL, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("trace_id", LargeBinary, nullable=False, comment="of a trace that may still come"),
    Column("name", Text, nullable=False, comment="kind of outcome"),
    Column("success", Boolean, comment="NULL: what was said before is taken back"),
    Column("at_ns", BigInteger, nullable=False, comment="when it came out so"),
    Column("note", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("recorded_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""What somebody said of a trace (`insight.outcomes_given`), append-only: of each tenant, trace and kind the last row stands."""
Index("ix_outcomes_given_trace", outcomes_given.c.trace_id, outcomes_given.c.tenant, outcomes_given.c.name, outcomes_given.c.outcome_no)
Index("ix_outcomes_given_at", outcomes_given.c.tenant, outcomes_given.c.at_ns)
