"""The tables of what was counted for budgets (`governance.counters`). Everything in them is derived: it follows from the ledger, from the
journal and from reservations. Money that may pass 2^63 is in whole dollars and the rest in pico-USD, tokens and calls beside it.

A count is what one definition of what is counted came to: its number is the budget's `counting`, so that a budget that counts something
else from now on gets rows of its own, and nobody who still knows the former definition can add to them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, Table, Text, text

from otel_finops.store.schema import SERIAL, metadata

budget_counters: Final = Table(
    "budget_counters",
    metadata,
    Column("count_no", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "level", SmallInteger, primary_key=True, autoincrement=False, comment="0: window, 1: day, 2: a piece of a rolling window's hours"
    ),
    Column("start_ns", BigInteger, primary_key=True, autoincrement=False, comment="of a rolling window 0: all that was ever booked"),
    Column("booked_usd", BigInteger, nullable=False),
    Column("booked_pico", BigInteger, nullable=False),
    Column("booked_tokens", BigInteger, nullable=False),
    Column("booked_calls", BigInteger, nullable=False),
    Column("booked_unpriced", BigInteger, nullable=False, comment="of the calls those whose money nobody knows"),
    Column("reserved_usd", BigInteger, nullable=False),
    Column("reserved_pico", BigInteger, nullable=False),
    Column("reserved_tokens", BigInteger, nullable=False),
    Column("reserved_calls", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What was booked and what is held, side by side, so that one conditional update of one row can hold more; windows alone are held from."""

budget_holds: Final = Table(
    "budget_holds",
    metadata,
    Column("reservation_id", Text, primary_key=True),
    Column("count_no", BigInteger, primary_key=True, autoincrement=False),
    Column("start_ns", BigInteger, nullable=False, comment="of the window's row that it is held from"),
    Column("pico", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What each reservation holds; a row goes when it is given back."""
Index("ix_budget_holds_count", budget_holds.c.count_no)

budget_pending: Final = Table(
    "budget_pending",
    metadata,
    Column("count_no", BigInteger, primary_key=True, autoincrement=False),
    Column("start_ns", BigInteger, primary_key=True, autoincrement=False, comment="of the window's row"),
    Column("stripe", SmallInteger, primary_key=True, autoincrement=False, comment="who wrote: nobody waits for another one's row"),
    Column("usd", BigInteger, nullable=False, comment="negative where one added and another one took back"),
    Column("pico", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What is journalled and not settled yet: the sum over all stripes."""

budget_pending_traces: Final = Table(
    "budget_pending_traces",
    metadata,
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, primary_key=True, autoincrement=False, comment="of the trace, as the batch made it"),
    Column("payload", LargeBinary, nullable=False, comment="JSON: [windows, [pico, tokens, calls]], .., see governance.pending"),
    sqlite_with_rowid=False,
)
"""What each batch added to a trace, to be taken back when it settles."""

budget_fills: Final = Table(
    "budget_fills",
    metadata,
    Column("count_no", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "heads",
        Text,
        nullable=False,
        comment="JSON: last block by shard when the count was begun; what is behind is counted as it is booked",
    ),
    Column("at_tenant", Text, nullable=False, comment="up to where entries are counted: tenant by tenant, in order of time"),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Counts that lack what was booked before they were begun."""

budget_crossings: Final = Table(
    "budget_crossings",
    metadata,
    Column("crossing_no", SERIAL, primary_key=True, autoincrement=True),
    Column("budget_no", BigInteger, nullable=False),
    Column("count_no", BigInteger, nullable=False),
    Column("start_ns", BigInteger, nullable=False, comment="of the window's row"),
    Column("percent", BigInteger, nullable=False, comment="the threshold, of the limit"),
    Column("crossed_ns", BigInteger, nullable=False, comment="when the entry was recorded that brought it about"),
    Column("limit_amount", Text, nullable=False, comment="in the budget's unit then, a decimal integer"),
    Column("booked_amount", Text, nullable=False),
    Column("cleared_ns", BigInteger, comment="when less than that was booked again; NULL: it stands"),
    sqlite_autoincrement=True,
)
"""Thresholds that were passed; one row at most stands for a window and threshold."""
_STANDS: Final = text("cleared_ns IS NULL")
Index(
    "uq_budget_crossings_standing", budget_crossings.c.count_no, budget_crossings.c.start_ns, budget_crossings.c.percent, unique=True,
    sqlite_where=_STANDS, postgresql_where=_STANDS,
)  # fmt: skip
