"""Entries and blocks can be added and nothing else, whoever tries."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from otel_finops.ledger.tables import blocks, entries
from otel_finops.store.engine import Store

TEXTS = {"usage": "{}", "cost_lines": "[]", "tags": "{}"}
BLOCK: dict[str, Any] = {
    "shard": 0, "seq": 0, "prev_hash": bytes(32), "hash": b"h" * 32, "entry_count": 1, "sum_pico": "5", "recorded_ns": 1,
    "row_digests": b"",
}  # fmt: skip


def entry() -> dict[str, Any]:
    """The smallest entry: a value for every column that must have one."""
    values: dict[str, Any] = {}
    for column in entries.columns:
        if not column.nullable:
            python = column.type.python_type
            values[column.name] = {int: 0, bool: False, bytes: b"\1" * 8, str: "x"}[python]
    return {**values, **TEXTS}


@pytest.fixture
def filled(store: Store) -> Store:
    with store.engine.connect().execution_options(write=True) as connection:
        connection.execute(entries.insert(), entry())
        connection.execute(blocks.insert(), BLOCK)
        connection.commit()
    return store


CHANGES = [
    "UPDATE entries SET cost_pico = 1",
    "UPDATE entries SET cost_pico = 1 WHERE tenant = 'nobody'",
    "DELETE FROM entries",
    "DELETE FROM entries WHERE shard = 0",
    "UPDATE blocks SET sum_pico = '6'",
    "DELETE FROM blocks",
    "INSERT INTO blocks (shard, seq, prev_hash, hash, entry_count, sum_pico, recorded_ns, row_digests) "
    "SELECT shard, seq, prev_hash, hash, 2, '7', 1, row_digests FROM blocks WHERE true "
    "ON CONFLICT (shard, seq) DO UPDATE SET sum_pico = '7'",
]
SQLITE_CHANGES = [
    "REPLACE INTO blocks SELECT * FROM blocks",
    "INSERT OR REPLACE INTO blocks SELECT shard, seq + 1, prev_hash, hash, entry_count, '9', recorded_ns, row_digests FROM blocks",
    "INSERT OR REPLACE INTO entries SELECT * FROM entries",
    "UPDATE OR REPLACE entries SET idx = 5",
]
POSTGRES_CHANGES = ["TRUNCATE entries", "TRUNCATE blocks", "SET session_replication_role = replica; DELETE FROM entries"]


def refused(store: Store, sql: str) -> bool:
    try:
        with store.engine.connect().execution_options(write=True) as connection:
            touched = connection.exec_driver_sql(sql).rowcount
            connection.commit()
    except DBAPIError as error:
        return "append-only" in str(error)
    return touched == 0


def test_no_change_passes(filled: Store) -> None:
    changes = CHANGES + (SQLITE_CHANGES if filled.engine_name == "sqlite" else POSTGRES_CHANGES)
    assert [sql for sql in changes if not refused(filled, sql)] == []
    with filled.read() as transaction:
        assert transaction.execute("SELECT cost_pico, idx FROM entries") == [(None, 0)]
        assert transaction.execute("SELECT seq, sum_pico FROM blocks") == [(0, "5")]


def test_another_program_with_default_settings_is_refused_too(tmp_path: Path, filled: Store) -> None:
    """Without `recursive_triggers` REPLACE fires no delete trigger: the insert trigger stands in its way."""
    if filled.engine_name != "sqlite":
        pytest.skip("PostgreSQL's triggers do not depend on settings of the session")
    with sqlite3.connect(filled.engine.url.database or "") as other:
        for sql in CHANGES + SQLITE_CHANGES:
            try:
                touched = other.execute(sql).rowcount
            except sqlite3.IntegrityError as error:
                touched = "append-only" not in str(error)
            assert not touched, sql
    other.close()


def test_new_rows_are_welcome(filled: Store) -> None:
    with filled.engine.connect().execution_options(write=True) as connection:
        connection.execute(entries.insert(), {**entry(), "idx": 1})
        connection.execute(blocks.insert(), {**BLOCK, "seq": 1, "prev_hash": b"h" * 32})
        connection.commit()
