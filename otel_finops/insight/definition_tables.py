"""The tables of saved scenarios, routing rules and quality scores. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text

from otel_finops.store.schema import SERIAL, metadata

insight_definitions: Final = Table(
    "insight_definitions",
    metadata,
    Column("revision", SERIAL, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False, comment="scenario or routing; each has numbers of its own"),
    Column("definition_no", BigInteger, nullable=False),
    Column("action", Text, nullable=False, comment="create, update or delete"),
    Column("tenant", Text, nullable=False, comment="whose it is; *: of all"),
    Column("name", Text, nullable=False),
    Column("said", Text, nullable=False, comment="JSON: all else that it says"),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("of_all", Boolean, nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
    sqlite_autoincrement=True,
)
"""Every definition (`insight.definitions`), append-only; the last row of a number holds, unless it deletes."""
Index("ix_insight_definitions_no", insight_definitions.c.kind, insight_definitions.c.definition_no, insight_definitions.c.revision)

quality_imports: Final = Table(
    "quality_imports",
    metadata,
    Column("import_no", SERIAL, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False, comment="whose calls the scores are about; *: all"),
    Column("source", Text, nullable=False, comment="its name; the newest import of a tenant's source stands"),
    Column("origin", Text, nullable=False, comment="file name, or the URL without credentials"),
    Column("sha256", Text, nullable=False),
    Column("scores", BigInteger, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_quality_imports_source", quality_imports.c.tenant, quality_imports.c.source, quality_imports.c.import_no)

quality_scores: Final = Table(
    "quality_scores",
    metadata,
    Column("import_no", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("provider", Text, comment="family; NULL: any"),
    Column("model", Text, nullable=False),
    Column("task", Text, comment="NULL: any"),
    Column("score", Text, nullable=False, comment="0 to 1, a plain decimal"),
    Column("samples", BigInteger, comment="of how many answers; NULL: not known"),
    sqlite_with_rowid=False,
)
"""Quality scores by import (`insight.quality_store`), append-only like their imports."""
