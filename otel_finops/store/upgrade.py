"""Bringing a database to the tables that this program knows: one line of Alembic revisions, all of an upgrade or nothing.

Looking which revision a database has needs no Alembic: every command looks, and loading it takes a fifth of a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection, inspect

from otel_finops.base.errors import StartRefused
from otel_finops.store.engine import Store

MIGRATIONS: Final = Path(__file__).parent / "migrations"
REVISIONS: Final = tuple(sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py")))
"""All revisions in order: each file is named after its own."""
VERSION_TABLE: Final = "alembic_version"
OWN_TABLES: Final = frozenset({"journal", "entries"})
"""Tables of every revision: a database without them belongs to somebody else."""


class Upgrade(NamedTuple):
    """What an upgrade did.

    Attributes:
        before: the revision found, None for a new database.
        after: the revision now.
        copy: where the copy of the former database lies; None when there was nothing to copy or the server is PostgreSQL.
    """

    before: str | None
    after: str
    copy: Path | None


def head() -> str:
    """The revision that this program needs."""
    return REVISIONS[-1]


def check(store: Store) -> None:
    """Make sure that the database has exactly the tables that this program knows.

    Raises:
        StartRefused: it is empty, older, newer or another program's; the text says what to do.
    """
    with store.faults(), store.engine.connect() as connection:
        before = _revision(connection, store)
    if before is None:
        raise StartRefused(f"{store.place} has no tables yet: run `otel-finops db upgrade`")
    if before != head():
        raise StartRefused(
            f"{store.place} is of revision {before}, this program needs {head()}: make a backup, then run `otel-finops db upgrade`"
        )


def upgrade(store: Store, *, automatic: bool = False, to: str = "head") -> Upgrade:
    """Create or upgrade the tables; safe when several processes do it at once. A SQLite file is copied before.

    Args:
        store: the database.
        automatic: asked by the service's start and not by a person: PostgreSQL is then only checked, never changed.
        to: the revision to stop at.

    Raises:
        StartRefused: the database is newer than this program or another program's, or (automatic) PostgreSQL waits for its upgrade.
        Busy, Unavailable: the store's; nothing was changed.
    """
    if automatic and store.engine_name == "postgresql":
        check(store)
        return Upgrade(head(), head(), None)
    after = head() if to == "head" else to
    with store.faults(), store.driver.migrating() as connection:
        before = _revision(connection, store)
        if before == after:
            return Upgrade(before, after, None)
        copy = store.driver.copy_before_upgrade(before, store.clock.now_ns()) if before else None
        _run_revisions(connection, after)
    return Upgrade(before, after, copy)


def revision(store: Store) -> str | None:
    """The revision of the database's tables, None when it has none.

    Raises:
        StartRefused: it is newer than this program or another program's.
    """
    with store.faults(), store.engine.connect() as connection:
        return _revision(connection, store)


def _revision(connection: Connection, store: Store) -> str | None:
    """The database's revision, None when it is empty; refuses what is not ours or newer."""
    tables = set(inspect(connection).get_table_names())
    if tables and (VERSION_TABLE not in tables or not tables >= OWN_TABLES):
        raise StartRefused(f"{store.place} holds another program's tables: name an empty database in database.url")
    found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").all() if tables else ()
    revision: str | None = found[0][0] if found else None
    if revision is not None and revision not in REVISIONS:
        raise StartRefused(
            f"{store.place} is newer than this program (revision {revision}): install the newer program, or restore an older copy"
        )
    return revision


def _run_revisions(connection: Connection, to: str) -> None:
    from alembic import command  # noqa: PLC0415 - only an upgrade loads it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
