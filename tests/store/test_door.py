"""The door through the triggers: entries go by a pruning and by nothing else, whatever stands in the table of passes."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from test_append_only import BLOCK, entry

from otel_finops.ledger.door import opened
from otel_finops.ledger.tables import blocks, entries
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction


@pytest.fixture
def filled(store: Store) -> Store:
    with store.engine.connect().execution_options(write=True) as connection:
        connection.execute(entries.insert(), entry())
        connection.execute(blocks.insert(), BLOCK)
        connection.commit()
    return store


NAMED = "INSERT INTO pruned_blocks (shard, seq, by_seq, rows_digest, left_count, left_digest) VALUES (0, 0, 1, ?, 0, ?)"
PASS = "INSERT INTO retention_passes (pass_no, name, shard, upto, xid, never_no) VALUES (?, ?, 0, 1, {}, 0)"


def a_pass(transaction: Transaction, number: int = 5, name: str = "entries", xid: str | None = None) -> None:
    """What a mistake might write into the table of passes."""
    here = "txid_current()" if transaction.engine_name == "postgresql" else "0"
    transaction.execute(PASS.format(xid or here), (number, name))


def named(transaction: Transaction) -> None:
    """A statement that says that block 0 lost its rows."""
    transaction.execute(NAMED, (bytes(32), bytes(32)))


def deletes(store: Store, *before: Any, sql: str = "DELETE FROM entries") -> bool:
    """Whether a transaction that does these things first gets a row away; whatever refuses it says why."""
    try:
        with store.write() as transaction:
            for one in before:
                one(transaction)
            return transaction.executemany(sql, [()]) > 0
    except Exception as error:
        if "append-only" not in str(error):
            raise
    return False


def test_a_pass_alone_opens_nothing(filled: Store) -> None:
    assert not deletes(filled, a_pass)


def test_a_statement_alone_opens_nothing(filled: Store) -> None:
    assert not deletes(filled, named)


def test_a_pass_cannot_be_left_behind(filled: Store) -> None:
    def leave_behind() -> None:
        with filled.write() as transaction:
            named(transaction)
            a_pass(transaction)

    with pytest.raises(Exception, match=r"(?i)foreign key"):
        leave_behind()
    with filled.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM retention_passes") == [(0,)]


def test_a_pass_that_another_program_left_behind_opens_nothing(filled: Store) -> None:
    """SQLite's own shell looks at no foreign keys."""
    if filled.engine_name != "sqlite":
        pytest.skip("PostgreSQL looks at foreign keys whoever writes")
    with filled.write() as transaction:
        named(transaction)
    other = sqlite3.connect(filled.engine.url.database or "")
    with other:
        other.execute(PASS.format("0"), (5, "entries"))
    assert not deletes(filled)
    other.close()


def test_a_pass_for_another_table_opens_nothing(filled: Store) -> None:
    assert not deletes(filled, named, lambda transaction: a_pass(transaction, name="audit_entries"))


def test_a_pass_for_a_statement_that_is_sealed_opens_nothing(filled: Store) -> None:
    with filled.engine.connect().execution_options(write=True) as connection:
        connection.execute(blocks.insert(), {**BLOCK, "seq": 1, "prev_hash": b"h" * 32})
        connection.commit()
    assert not deletes(filled, named, a_pass)


def test_a_pass_changes_no_row(filled: Store) -> None:
    assert not deletes(filled, named, a_pass, sql="UPDATE entries SET cost_pico = 1")
    assert not deletes(filled, named, a_pass, sql="DELETE FROM blocks")


def test_the_one_function_passes(filled: Store) -> None:
    with filled.write() as transaction:
        named(transaction)
        with opened(transaction, "entries", 1):
            assert transaction.executemany("DELETE FROM entries", [()]) == 1
        assert transaction.execute("SELECT COUNT(*) FROM retention_passes") == [(0,)]


@pytest.mark.parametrize("table", ["pruned_months", "prunings", "pruned_blocks"])
def test_what_was_pruned_stays_on_record(filled: Store, table: str) -> None:
    with filled.write() as transaction:
        named(transaction)
        transaction.execute("INSERT INTO pruned_months (month, to_ns, begun_ns, begun_by) VALUES ('2024-06', 1, 1, 'a')")
        said = "(shard, block_seq, pruned_ns, who, months, entries, sum_pico) VALUES (0, 1, 1, 'a', '{}', 1, '0')"
        transaction.execute(f"INSERT INTO prunings {said}")
    for sql in (f"DELETE FROM {table}", f"UPDATE {table} SET {'month' if table == 'pruned_months' else 'shard'} = NULL"):
        assert not deletes(filled, sql=sql)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("audit_entries", "(tenant, seq, prev, hash, body, at_ns, who, what, outcome) VALUES ('*', 1, ?, ?, ?, 10, 'a', 'b', 'done')"),
        ("price_refreshes", "(refresh_no, at_ns, origin, outcome, detail, who) VALUES (1, 10, ?, ?, ?, 'a')"),
        (
            "decisions",
            "(decision_id, tenant, at_ns, action, observed, gate, tokens, asked, answer) VALUES (?, ?, 10, ?, TRUE, '', 1, '', '{}')",
        ),
        ("correction_runs", "(run_no, verb, who, why, selection, price_version, started_ns) VALUES (1, 'reprice', ?, ?, ?, '', 10)"),
    ],
)  # fmt: skip
def test_rows_of_other_tables_go_by_their_age_alone(store: Store, table: str, row: str) -> None:
    value: Any = b"x" if table == "audit_entries" else "x"
    with store.write() as transaction:
        transaction.execute(f"INSERT INTO {table} {row}", (value,) * 3)
    sql = f"DELETE FROM {table}"
    assert not deletes(store, sql=sql)
    assert not deletes(store, a_pass, sql=sql)
    for upto, gone in ((10, False), (11, True)):

        def prune(transaction: Transaction, upto: int = upto) -> None:
            with opened(transaction, table, upto):  # type: ignore[arg-type]  # one of the guarded ones
                transaction.executemany(sql, [()])

        deletes(store, prune, sql="DELETE FROM quarantine")
        with store.read() as transaction:
            assert (transaction.execute(f"SELECT COUNT(*) FROM {table}") == [(0,)]) is gone
