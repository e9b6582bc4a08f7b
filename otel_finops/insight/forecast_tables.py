"""The table of budgets' forecasts. Migrations create it; everything in it is derived."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Table, Text

from otel_finops.store.schema import metadata

budget_forecasts: Final = Table(
    "budget_forecasts",
    metadata,
    Column("budget_no", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False, comment="of the budget that was forecast"),
    Column("made_ns", BigInteger, nullable=False),
    Column("window_start_ns", BigInteger, nullable=False),
    Column("window_end_ns", BigInteger, nullable=False),
    Column("limit_amount", Text, nullable=False, comment="in the budget's unit, a decimal integer"),
    Column("spent_amount", Text, nullable=False),
    Column("projected_amount", Text, comment="NULL: there was nothing to go by"),
    Column("low_amount", Text, comment="NULL: there was too little past to tell"),
    Column("high_amount", Text),
    Column("chance", Float, comment="that the limit is passed, 0 to 1"),
    Column("exceeds_ns", BigInteger, comment="when it is; NULL: it is not"),
    Column("earliest_ns", BigInteger),
    Column("latest_ns", BigInteger),
    sqlite_with_rowid=False,
)
"""The latest forecast of every budget that is asked, as the job makes them."""
