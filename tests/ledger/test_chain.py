"""The chain of blocks: what the database refuses, what `verify` finds, what only a signed head shows (T27, T28)."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from ledger_rig import CENT, Rig, call, plain

from otel_finops.base.errors import BadInput
from otel_finops.genai.sighting import AGENT
from otel_finops.ledger.blocks import Seal, blocks_after, insert_block
from otel_finops.ledger.head import export_head, verify_head
from otel_finops.ledger.rows import COLUMN_LIST, COLUMNS, bind, insert_rows, read_values
from otel_finops.ledger.verify import Fault, Report, verify
from otel_finops.store.engine import Store
from otel_finops.store.signing import load_key
from otel_finops.store.unit_of_work import Transaction

ATTACKED = 1
"""The block that attacks change; block 0 and block 2 lie around it."""


@pytest.fixture
def rig(store: Store) -> Rig:
    """Three blocks of three entries each."""
    rig = Rig(store)
    for block in range(3):
        rig.settle(*(call(10 * block + number, trace=100 * block + number, at_s=60 * number) for number in (1, 2, 3)))
    return rig


def verified(rig: Rig) -> Report:
    with rig.store.read() as transaction:
        return verify(transaction)


def attack(rig: Rig, *statements: str) -> None:
    """Change the ledger behind its back: by raw SQL, with the triggers out of the way."""
    with rig.store.write() as transaction:
        disarm(transaction)
        for statement in statements:
            transaction.execute(statement)


def disarm(transaction: Transaction) -> None:
    if transaction.engine_name == "postgresql":
        for table in ("entries", "blocks"):
            transaction.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        return
    for (name,) in transaction.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('entries', 'blocks')"):
        transaction.execute(f"DROP TRIGGER {name}")


def only_fault(rig: Rig) -> Fault:
    [fault] = verified(rig).faults
    return fault


def test_a_sound_ledger(rig: Rig) -> None:
    report = verified(rig)
    assert report.sound
    assert (report.blocks, report.entries, report.total_pico) == (3, 9, 9 * 3_500_000_000)


def test_an_empty_ledger_is_sound(store: Store) -> None:
    assert verified(Rig(store)) == Report((), 0, 0, 0, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET cost_pico = 0",
        "DELETE FROM entries",
        "UPDATE blocks SET sum_pico = '0'",
        "DELETE FROM blocks",
    ],
)
def test_the_database_refuses_changes(rig: Rig, statement: str) -> None:
    """T27: 4 of 4 refused, and nothing changed."""
    with pytest.raises(Exception, match="append-only"), rig.store.write() as transaction:
        transaction.execute(statement)
    assert verified(rig).sound


def test_an_edited_row_is_named(rig: Rig) -> None:
    attack(rig, f"UPDATE entries SET cost_pico = cost_pico - {CENT} WHERE block_seq = {ATTACKED} AND idx = 2")
    assert only_fault(rig)[1:] == (ATTACKED, 2, "the row was changed")


@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in ("shard", "block_seq", "idx")])
def test_no_column_can_be_edited_unseen(rig: Rig, column: str) -> None:
    with rig.store.read() as transaction:
        [(value,)] = transaction.execute(f"SELECT {column} FROM entries WHERE block_seq = 1 AND idx = 0")
    new = "'x'" if value is None or isinstance(value, str) else "NOT " + column if column in ("partial", "late", "streaming") else None
    if new is None:
        new = f"{column} + 1" if isinstance(value, int) else "CAST('0123456789abcdef' AS BLOB)"
    if rig.store.engine_name == "postgresql" and (value is None or isinstance(value, bytes | memoryview)):
        pytest.skip("typed columns: covered on SQLite")
    attack(rig, f"UPDATE entries SET {column} = {new} WHERE block_seq = {ATTACKED} AND idx = 0")
    assert only_fault(rig)[1:3] == (ATTACKED, 0)


@pytest.mark.parametrize("column", ["prev_hash", "hash", "row_digests", "entry_count", "sum_pico", "recorded_ns"])
@pytest.mark.parametrize("value", ["'words'", "X'00'", "12345678901", "1.5"])
def test_a_block_whose_columns_hold_another_kind_is_named(rig: Rig, column: str, value: str) -> None:
    """SQLite keeps in a column whatever somebody writes there."""
    if rig.store.engine_name == "postgresql":
        pytest.skip("typed columns: covered on SQLite")
    attack(rig, f"UPDATE blocks SET {column} = {value} WHERE seq = {ATTACKED}")
    assert only_fault(rig).seq == ATTACKED


@pytest.mark.parametrize("idx", [0, 1, 2])
def test_a_deleted_row_is_named(rig: Rig, idx: int) -> None:
    attack(rig, f"DELETE FROM entries WHERE block_seq = {ATTACKED} AND idx = {idx}")
    assert only_fault(rig)[1:] == (ATTACKED, idx, "the row is missing")


@pytest.mark.parametrize(("seq", "idx"), [(1, 3), (1, -1), (0, 17), (7, 0), (-1, 0)])
def test_an_inserted_row_is_named(rig: Rig, seq: int, idx: int) -> None:
    columns = ", ".join({"block_seq": str(seq), "idx": str(idx)}.get(name, name) for name in COLUMNS)
    attack(rig, f"INSERT INTO entries ({COLUMN_LIST}) SELECT {columns} FROM entries WHERE block_seq = 1 AND idx = 1")
    assert only_fault(rig)[1:3] == (seq, idx)


def test_swapped_rows_are_named(rig: Rig) -> None:
    move = "UPDATE entries SET idx = {} WHERE block_seq = 1 AND idx = {}"
    attack(rig, move.format(99, 0), move.format(0, 2), move.format(2, 99))
    assert only_fault(rig)[1:] == (ATTACKED, 0, "the row was changed")


def test_a_lost_block_is_named(rig: Rig) -> None:
    attack(rig, "DELETE FROM blocks WHERE seq = 1")
    assert only_fault(rig)[1:3] == (ATTACKED, None)


@pytest.mark.parametrize(
    "change",
    ["sum_pico = '1'", "entry_count = 2", "entry_count = 4", "recorded_ns = recorded_ns + 1", "row_digests = hash", "hash = prev_hash"],
)
def test_a_changed_block_is_named(rig: Rig, change: str) -> None:
    attack(rig, f"UPDATE blocks SET {change} WHERE seq = {ATTACKED}")
    assert only_fault(rig).seq == ATTACKED


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "head.key"


def exported(rig: Rig, key_file: Path) -> dict[str, Any]:
    with rig.store.read() as transaction:
        return export_head(transaction, load_key(key_file), rig.clock)


def head_faults(rig: Rig, head: dict[str, Any]) -> list[Fault]:
    with rig.store.read() as transaction:
        return verify_head(transaction, head, head["public_key"])


def test_a_cut_tail_is_sound_in_itself_and_found_by_the_head(rig: Rig, key_file: Path) -> None:
    head = exported(rig, key_file)
    attack(rig, "DELETE FROM entries WHERE block_seq = 2", "DELETE FROM blocks WHERE seq = 2")
    assert verified(rig).sound
    [fault] = head_faults(rig, head)
    assert fault.seq == 2
    assert fault.what == (
        "blocks 2 to 2 of the head with 3 entries are missing: the chain was cut off, or came back from an older copy"
        "; up to block 1 it is the head's"
    )


def test_a_ledger_cut_to_nothing_is_found_by_the_head(rig: Rig, key_file: Path) -> None:
    head = exported(rig, key_file)
    attack(rig, "DELETE FROM entries", "DELETE FROM blocks")
    assert head_faults(rig, head)[0].seq == 0


def test_a_fork_is_refused_by_the_database(rig: Rig) -> None:
    fork = "INSERT INTO blocks SELECT shard, {seq}, {prev}, hash, entry_count, sum_pico, recorded_ns, row_digests FROM blocks WHERE seq = 1"
    for seq, prev in ((1, "hash"), (9, "prev_hash")):
        with pytest.raises(Exception, match=r"(?i)unique|append-only"), rig.store.write() as transaction:
            transaction.execute(fork.format(seq=seq, prev=prev))


def test_a_rewritten_tail_is_sound_in_itself_and_found_by_the_head(rig: Rig, key_file: Path) -> None:
    """The fork: somebody with the code rewrites the ledger from block 1 on, with all hashes fitting."""
    head = exported(rig, key_file)
    with rig.store.write() as transaction:
        disarm(transaction)
        rewrite(transaction, 1, lambda values: values[COLUMNS.index("cost_pico")] // 2)
    assert verified(rig).sound
    [fault] = head_faults(rig, head)
    assert (fault.seq, fault.what) == (1, "the chain was rewritten: the head names another hash for this block")
    [fault] = head_faults(rig, signed(without_earlier(head), key_file))
    assert (fault.seq, fault.what) == (2, "the chain was rewritten: the head names another hash for this block")


def without_earlier(head: dict[str, Any]) -> dict[str, Any]:
    """As heads were before they named earlier blocks."""
    return {**head, "shards": {shard: {k: state[k] for k in ("seq", "hash", "entries")} for shard, state in head["shards"].items()}}


def signed(head: dict[str, Any], key_file: Path) -> dict[str, Any]:
    body = {name: value for name, value in head.items() if name != "signature"}
    return {**body, "signature": load_key(key_file).sign(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hex()}


CUT = ("DELETE FROM entries WHERE block_seq = 2", "DELETE FROM blocks WHERE seq = 2")
"""What restoring a copy from before block 2 does."""


@pytest.mark.parametrize("appended", [1, 2, 5])
def test_an_older_copy_that_went_on_is_told_from_a_rewritten_ledger(rig: Rig, key_file: Path, appended: int) -> None:
    """The lost block 2 had three entries; fewer, as many or more blocks stand in its place."""
    rig.settle(call(31, trace=301))  # block 3, so that two are lost
    head = exported(rig, key_file)
    attack(rig, *CUT, "DELETE FROM entries WHERE block_seq = 3", "DELETE FROM blocks WHERE seq = 3")
    for number in range(appended):
        rig.settle(call(41 + number, trace=401 + number))
    assert verified(rig).sound
    for kept in (head, signed(without_earlier(head), key_file)):
        [fault] = head_faults(rig, kept)
        assert fault.seq == 2
        assert fault.what.startswith("blocks 2 to 3 of the head with 4 entries are missing: an older copy was restored, and went on")
    assert head_faults(rig, head)[0].what.endswith("; up to block 1 it is the head's")


def test_a_restored_ledger_whose_past_was_rewritten_is_no_restored_one(rig: Rig, key_file: Path) -> None:
    head = exported(rig, key_file)
    attack(rig, *CUT)
    with rig.store.write() as transaction:
        rewrite(transaction, 1, lambda values: values[COLUMNS.index("cost_pico")] // 2)
    rig.settle(call(41, trace=401))
    [fault] = head_faults(rig, head)
    assert (fault.seq, fault.what) == (1, "the chain was rewritten: the head names another hash for this block")


def test_a_head_names_earlier_blocks_at_growing_distances(rig: Rig, key_file: Path) -> None:
    for number in range(8):
        rig.settle(call(51 + number, trace=501 + number))
    [state] = exported(rig, key_file)["shards"].values()
    assert (state["seq"], [seq for seq, _ in state["earlier"]]) == (10, [9, 8, 6, 2])


def rewrite(transaction: Transaction, first: int, cost: Callable[[list[Any]], int]) -> None:
    shard = transaction.execute("SELECT shard FROM blocks LIMIT 1")[0][0]
    kept = blocks_after(transaction, shard, -1, 100)
    last = kept[first - 1].hash
    for block in kept[first:]:
        rows = transaction.execute(f"SELECT {COLUMN_LIST} FROM entries WHERE shard = ? AND block_seq = ? ORDER BY idx", (shard, block.seq))
        transaction.execute("DELETE FROM entries WHERE shard = ? AND block_seq = ?", (shard, block.seq))
        transaction.execute("DELETE FROM blocks WHERE shard = ? AND seq = ?", (shard, block.seq))
        seal = Seal()
        for row in rows:
            values = read_values(row)
            values[COLUMNS.index("cost_pico")] = forged_cost = cost(values)
            seal.add(values, forged_cost)
            insert_rows(transaction, [bind(list(values))])
        forged = seal.block(shard, block.seq, last, block.recorded_ns)
        insert_block(transaction, forged)
        last = forged.hash


def test_a_head_stays_good_while_the_ledger_grows(rig: Rig, key_file: Path) -> None:
    head = exported(rig, key_file)
    rig.settle(plain(90, kind=AGENT, genai=True, trace=900), call(91, parent=90, trace=900))
    assert head_faults(rig, head) == []
    assert exported(rig, key_file)["entries"] == head["entries"] + 1


def test_the_key_is_made_once_and_is_private(rig: Rig, key_file: Path) -> None:
    first = exported(rig, key_file)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert exported(rig, key_file)["public_key"] == first["public_key"]


def test_a_changed_or_foreign_head_is_refused(rig: Rig, key_file: Path, tmp_path: Path) -> None:
    head = exported(rig, key_file)
    other = exported(rig, tmp_path / "other.key")
    with rig.store.read() as transaction:
        for bad in ({**head, "entries": 1}, {**head, "signature": "00"}, {}, {"format": 7}):
            with pytest.raises(BadInput):
                verify_head(transaction, bad)
        with pytest.raises(BadInput, match="another key"):
            verify_head(transaction, other, head["public_key"])


SHARD: dict[str, Any] = {"seq": 1, "hash": "ab", "entries": 1}
SELF_MADE: list[Any] = [
    {}, {"time": "2026-11-21T12:00:00Z"}, {"time": "2026-11-21T12:00:00Z", "shards": []}, {"time": 1, "shards": {}},
    {"time": "9999-12-31T00:00:00Z", "shards": {}}, {"time": "now", "shards": {}},
    *({"time": "2026-11-21T12:00:00Z", "shards": {name: shard}} for name, shard in (
        ("x", SHARD), ("99999", SHARD), ("0", None), ("0", {}), ("0", {**SHARD, "seq": "1"}), ("0", {**SHARD, "seq": 2**63}),
        ("0", {**SHARD, "entries": -1}), ("0", {**SHARD, "earlier": [1]}), ("0", {**SHARD, "recorded_at": "9999-12-31T00:00:00Z"}),
    )),
]  # fmt: skip


@pytest.mark.parametrize("said", SELF_MADE)
def test_a_head_that_somebody_signed_himself_and_that_says_nothing_is_refused(rig: Rig, key_file: Path, said: dict[str, Any]) -> None:
    """Without `public_key` a head's own key is believed, so that its form is nothing to rely on."""
    head = {name: exported(rig, key_file)[name] for name in ("format", "public_key")}
    with pytest.raises(BadInput, match="not of the form in which heads are exported"):
        head_faults(rig, signed({**head, **said}, key_file))


def test_a_file_that_is_no_key_is_refused(key_file: Path) -> None:
    key_file.write_text("no key")
    with pytest.raises(BadInput, match=r"head\.key"):
        load_key(key_file)
