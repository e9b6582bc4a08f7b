"""Fixtures that find the recorded payloads and the price oracle, wherever the checkout keeps them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from empty_ledgers import empty_store, maintain
from postgres_server import running_server
from sqlalchemy import make_url

from otel_finops.store.engine import Store

_HERE = Path(__file__).parent
_databases = count()


def pytest_configure() -> None:
    """Where nothing may be compiled beside the sources, let the processes that tests start share a place of their own: most start often."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        folder = tempfile.mkdtemp(prefix="compiled-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["PYTHONPYCACHEPREFIX"] = folder


def shared_folder(name: str) -> Path:
    """The folder of reference material: OTEL_FINOPS_SHARED, else `../shared` beside the checkout, else `tests/data`."""
    candidates = [Path(os.environ["OTEL_FINOPS_SHARED"])] if "OTEL_FINOPS_SHARED" in os.environ else []
    candidates += [_HERE.parent.parent / "shared", _HERE / "data"]
    for candidate in candidates:
        if (candidate / name).is_dir():
            return candidate / name
    pytest.skip(f"SKIPPED LOUDLY: no folder {name!r} in {', '.join(map(str, candidates))}; set OTEL_FINOPS_SHARED")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Recorded OTLP payloads of real libraries with the truth beside them."""
    return shared_folder("corpus")


@pytest.fixture(scope="session")
def oracle() -> Path:
    """Priced calls and model names answered by other calculators."""
    return shared_folder("oracle")


@pytest.fixture(scope="session")
def contracts() -> Path:
    """The JSON Schemas of what the product writes and answers."""
    return shared_folder("contracts")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The maintenance database of a PostgreSQL cluster that lives as long as the test session."""
    with running_server() as url:
        yield url


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own; the server takes it away sooner than anybody could delete its files."""
    name = f"test_{os.getpid()}_{next(_databases)}"
    maintain(make_url(postgres_url), f"CREATE DATABASE {name}")
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    maintain(make_url(postgres_url), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database on each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with all tables, on each engine in turn; its clock stands still."""
    opened = empty_store(database_url)
    yield opened
    opened.close()
