"""The tables of what governs spend. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text

from otel_finops.store.schema import SERIAL, metadata

kill_switches: Final = Table(
    "kill_switches",
    metadata,
    Column("switch_no", SERIAL, primary_key=True, autoincrement=True),
    Column("action", Text, nullable=False, comment="set or clear"),
    Column("scope", Text, nullable=False, comment="global, provider, tenant, model or agent"),
    Column("name", Text, nullable=False, comment="of the provider, tenant, model or agent; '' for global"),
    Column("tenant", Text, nullable=False, comment="only calls of this tenant; '' for all"),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("of_all", Boolean, nullable=False, comment="who switched sees all tenants: nobody who is bound to some undoes it"),
    sqlite_autoincrement=True,
)
"""Every switching (`governance.kill_switches`), append-only; the last row of a scope, name and tenant holds."""

Index("ix_kill_switches_key", kill_switches.c.scope, kill_switches.c.name, kill_switches.c.tenant, kill_switches.c.switch_no)

budgets: Final = Table(
    "budgets",
    metadata,
    Column("revision", SERIAL, primary_key=True, autoincrement=True),
    Column("budget_no", BigInteger, nullable=False),
    Column("action", Text, nullable=False, comment="create, update or delete"),
    Column("tenant", Text, nullable=False, comment="whose it is; '' for several"),
    Column("name", Text, nullable=False),
    Column("definition", Text, nullable=False, comment="JSON: the other fields; users and sessions as references"),
    Column("counting", BigInteger, nullable=True, comment="the revision since which it counts what it counts now; NULL: this one"),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("of_all", Boolean, nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
    sqlite_autoincrement=True,
)
"""Every definition of every budget (`governance.budget_store`), append-only; the last row of a number holds, unless it deletes."""

Index("ix_budgets_no", budgets.c.budget_no, budgets.c.revision)
