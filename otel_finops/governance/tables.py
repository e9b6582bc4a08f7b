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
