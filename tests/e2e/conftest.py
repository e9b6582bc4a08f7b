"""One running service that the tests of a module share; each test sends traces of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from e2e_service import Service, running
from e2e_spans import trace_id
from postgres_server import running_server

_numbers = count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service over a new SQLite ledger; at the end it must stop in order and its chain must verify."""
    database = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}"
    with running(database) as one:
        yield one
        one.settled()
        one.stop()
        one.database.verify()


@pytest.fixture
def new_trace() -> Callable[[], bytes]:
    """Gives trace ids that no other test uses."""
    return lambda: trace_id(next(_numbers))


@pytest.fixture
def postgres_own_server() -> Iterator[str]:
    """A database on a server of the test's own, which it may stop."""
    with running_server() as url:
        yield url
