"""Empty ledgers as copies of one: bringing a new database to the tables of now takes several times as long."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import URL, create_engine, make_url

from otel_finops.store.engine import Store
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock


def fill(url: str) -> str:
    """Give an empty database all tables; returns its URL. A PostgreSQL database is made anew for that, a SQLite file need not exist."""
    place = make_url(url)
    if place.database is None or place.drivername == "sqlite":
        shutil.copyfile(_sqlite_template(), str(place.database))
    else:
        template = _postgres_template(place.set(database="postgres"))
        maintain(
            place.set(database="postgres"),
            f"DROP DATABASE IF EXISTS {place.database}",
            f"CREATE DATABASE {place.database} TEMPLATE {template}",
        )
    return url


def empty_store(url: str) -> Store:
    """A store over an empty ledger at this URL; its clock stands still."""
    return Store.open(fill(url), FakeClock())


@cache
def _sqlite_template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="empty-ledger-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _upgrade(f"sqlite:///{folder / 'empty.db'}")
    return folder / "empty.db"


@cache
def _postgres_template(server: URL) -> str:
    """The name of the database that others are copied from, in that server."""
    name = "empty_ledger"
    maintain(server, f"CREATE DATABASE {name}")
    _upgrade(server.set(database=name).render_as_string(hide_password=False))
    return name


def _upgrade(url: str) -> None:
    store = Store.open(url, FakeClock())
    upgrade(store)
    store.close()


def maintain(server: URL, *statements: str) -> None:
    """Run statements on a server's database, each a transaction of its own."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
