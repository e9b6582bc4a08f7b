"""Values as parameters and back, on both engines, and what PostgreSQL keeps prepared."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.store.engine import Store
from otel_finops.store.postgres import HEADS_MAX, PREPARED_MAX
from otel_finops.testing import FakeClock

HEAD = "INSERT INTO things (no, flag, data, name, amount, small) VALUES"
ROWS: tuple[tuple[Any, ...], ...] = (
    (1, True, b"\x00\xff%s", "what? $1 %s 'quoted' \\ é\U0001f4b6", 2**63 - 1, 2**31 - 1),
    (2, None, None, None, None, None),
    (3, False, b"", "", -(2**63), -(2**31)),
    (4, None, b"\x01", None, 0, None),
)


@pytest.fixture
def things(store: Store) -> Store:
    """A store with a table that has a column of every type that the ledger uses."""
    with store.write() as transaction:
        data = "BYTEA" if store.engine_name == "postgresql" else "BLOB"
        transaction.execute(f"CREATE TABLE things (no BIGINT, flag BOOLEAN, data {data}, name TEXT, amount BIGINT, small INTEGER)")
    return store


def stored(store: Store) -> list[tuple[Any, ...]]:
    with store.read() as transaction:
        return transaction.execute("SELECT no, flag, data, name, amount, small FROM things ORDER BY no")


@pytest.mark.parametrize("how", ["execute", "executemany", "write_values"])
@pytest.mark.parametrize("order", [1, -1])
def test_every_value_comes_back_as_it_went(things: Store, how: str, order: int) -> None:
    """Whichever row comes first: a column's type may show only in a later one."""
    rows = sorted(ROWS, key=lambda row: row[0] % 2)[::order]
    one_row = f"{HEAD} (?, ?, ?, ?, ?, ?)"
    with things.write() as transaction:
        if how == "execute":
            for row in rows:
                transaction.execute(one_row, row)
        elif how == "executemany":
            assert transaction.executemany(one_row, rows) == 4
        else:
            transaction.write_values(HEAD, rows)
    assert stored(things) == list(ROWS)
    with things.read() as transaction:
        assert list(transaction.iterate("SELECT name FROM things WHERE no = ? AND flag = ?", (1, True))) == [(ROWS[0][3],)]


def test_columns_without_any_value_are_written_before_and_after_their_type_shows(things: Store) -> None:
    empty = [(number, None, None, None, None, None) for number in range(100, 103)]
    for rows in (empty, [ROWS[0]], empty):
        with things.write() as transaction:
            transaction.write_values(HEAD, rows)
    assert len(stored(things)) == 7


def test_rows_are_updated_from_values_with_nulls_among_them(things: Store) -> None:
    with things.write() as transaction:
        transaction.write_values(HEAD, ROWS)
        update = "UPDATE things SET amount = v.column2, flag = v.column3, data = v.column4, name = v.column5 FROM (VALUES"
        transaction.write_values(update, [(1, None, True, None, None), (2, 7, None, b"x", "two")], ") AS v WHERE no = v.column1")
    assert stored(things)[:2] == [(1, True, None, None, None, 2**31 - 1), (2, None, b"x", "two", 7, None)]


@pytest.fixture
def server(postgres_database: str) -> Any:
    """A PostgreSQL store with the table, and no pool to choose from: every statement goes over one connection."""
    store = Store.open(postgres_database, FakeClock())
    with store.write() as transaction:
        transaction.execute("CREATE TABLE things (no BIGINT, flag BOOLEAN, data BYTEA, name TEXT, amount BIGINT, small INTEGER)")
    yield store
    store.close()


def prepared(store: Store, like: str) -> list[tuple[Any, ...]]:
    with store.read() as transaction:
        return transaction.execute("SELECT parameter_types::text FROM pg_prepared_statements WHERE statement LIKE ?", (like,))


@pytest.mark.postgres
def test_a_hot_statement_is_prepared_once_wherever_its_nulls_are(server: Store) -> None:
    """Ten batches of two rows, each with NULLs in other places: one prepared statement with the columns' own types."""
    with server.write() as transaction:
        transaction.write_values(HEAD, ROWS[:1])
    for number in range(10):
        row = [None if number >> bit & 1 else value for bit, value in enumerate(ROWS[0])]
        with server.write() as transaction:
            transaction.write_values(HEAD, [row, ROWS[0]])
    [(types,)] = prepared(server, "INSERT INTO things%")
    assert types == "{" + ",".join(["bigint", "boolean", "bytea", "text", "bigint", "bigint"] * 2) + "}"


@pytest.mark.postgres
def test_prepared_statements_are_bounded(server: Store) -> None:
    with server.read() as transaction:
        for number in range(PREPARED_MAX + 40):
            for _ in range(7):
                transaction.execute(f"SELECT {number} + ?", (1,))
        [(count,)] = transaction.execute("SELECT COUNT(*) FROM pg_prepared_statements")
    assert 0 < count <= PREPARED_MAX + 1


@pytest.mark.postgres
def test_types_of_heads_are_bounded(server: Store) -> None:
    """Heads that senders can vary: what is remembered of them is forgotten in time, and NULLs are stored all the same."""
    with server.write() as transaction:
        for number in range(HEADS_MAX + 10):
            transaction.write_values(f"INSERT INTO things (no, amount) /* {number} */ VALUES", [(number, None), (number, 7)])
        assert len(server.driver._column_types) <= HEADS_MAX  # type: ignore[attr-defined]
        assert transaction.execute("SELECT COUNT(*), COUNT(amount) FROM things") == [(2 * (HEADS_MAX + 10), HEADS_MAX + 10)]
