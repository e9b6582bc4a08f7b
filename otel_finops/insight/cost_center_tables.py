"""The table of cost centres and of the rules by which costs are shared among them. Migrations create it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text

from otel_finops.store.schema import SERIAL, metadata

cost_center_definitions: Final = Table(
    "cost_center_definitions",
    metadata,
    Column("revision", SERIAL, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False, comment="center or rule"),
    Column("no", BigInteger, nullable=False, comment="of the cost centre, or of the rule"),
    Column("action", Text, nullable=False, comment="create, update or delete"),
    Column("tenant", Text, nullable=False, comment="whose it is; '' for all tenants'"),
    Column("name", Text, nullable=False, comment="a cost centre's code, a rule's name"),
    Column("definition", Text, nullable=False, comment="JSON: the other fields"),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("of_all", Boolean, nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
    sqlite_autoincrement=True,
)
"""Every definition (`insight.cost_center_store`), only added; the last row of a number holds, unless it deletes. Reports can be asked for
as the definitions stood at any revision."""
Index(
    "ix_cost_center_definitions_no",
    cost_center_definitions.c.kind,
    cost_center_definitions.c.no,
    cost_center_definitions.c.revision,
)
