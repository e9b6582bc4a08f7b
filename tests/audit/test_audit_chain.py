"""The chains of the trail: what an entry's hash is made of, that they do not fork, and that whatever is altered shows."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from audit_rig import append_many, change

from otel_finops.audit.chain import NO_HASH, Link, append, end_of, link_hash
from otel_finops.audit.head import export_head
from otel_finops.audit.pruning import next_beginning, prune
from otel_finops.audit.reading import StoredAudit
from otel_finops.audit.stored import StoredTrail
from otel_finops.audit.verify import AuditFault, Report
from otel_finops.base.errors import BadInput
from otel_finops.ledger.door import opened
from otel_finops.store.engine import Store
from otel_finops.store.signing import load_key, signed
from otel_finops.testing import NOON, FakeClock

RIG = Path(__file__).parent / "audit_rig.py"
WRITERS = 8
EACH = 25


def rows(store: Store, tenant: str = "acme") -> list[tuple[Any, ...]]:
    with store.read() as transaction:
        found = transaction.execute("SELECT seq, prev, hash, body FROM audit_entries WHERE tenant = ? ORDER BY seq", (tenant,))
    return [(int(seq), bytes(prev), bytes(hash_), bytes(body)) for seq, prev, hash_, body in found]


def verdict(store: Store) -> Report:
    return StoredAudit(store).verify(None, None, None)


def unprotected(store: Store, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """What somebody with the database's own rights can do: take the triggers away."""
    with store.write() as transaction:
        if transaction.engine_name == "sqlite":
            for (name,) in transaction.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_entries'"):
                transaction.execute(f"DROP TRIGGER {name}")
        else:
            transaction.execute("ALTER TABLE audit_entries DISABLE TRIGGER ALL")
        for sql, params in statements:
            transaction.execute(sql, params)


def three(store: Store) -> None:
    for number in (1, 2, 3):
        StoredTrail(store).record(change(after=number))


def test_the_first_entry_follows_on_zeros_and_each_further_one_on_the_hash_before(store: Store) -> None:
    """The hash is SHA-256 over `otel-finops-audit-1`, NUL, the hash before, and the stored bytes: keys sorted, no blanks."""
    trail = StoredTrail(store)
    assert [trail.record(change(after={"z": 1, "a": "ü"})), trail.record(change()), trail.record(change(tenant="globex"))] == [1, 2, 1]
    first, second = rows(store)
    body = (
        '{"after":{"a":"ü","z":1},"at":"2026-11-21T12:00:00.000000000Z","before":null,"began":null,"origin":"test","outcome":"done",'
        '"seq":1,"tenant":"acme","what":"prices.watch","who":"ann"}'
    ).encode()
    digest = hashlib.sha256(b"otel-finops-audit-1\0" + bytes(32) + body).digest()
    assert first == (1, bytes(32), digest, body)
    assert second[1] == digest
    assert second[2] == hashlib.sha256(b"otel-finops-audit-1\0" + digest + second[3]).digest()
    assert verdict(store) == Report(2, 3, 0, (), 0)


def test_entries_are_never_changed_nor_taken_away(store: Store) -> None:
    three(store)
    for sql in ("UPDATE audit_entries SET who = 'eve'", "DELETE FROM audit_entries WHERE seq = 3"):
        with pytest.raises(Exception, match="append-only: what was done stays on record"), store.write() as transaction:
            transaction.execute(sql)
    assert verdict(store).entries == 3


@pytest.mark.parametrize("column", ["seq", "prev"])
def test_the_database_refuses_a_fork(store: Store, column: str) -> None:
    three(store)
    seq, prev, _, body = rows(store)[2]
    row = ("acme", seq if column == "seq" else 9, prev if column == "prev" else b"p" * 32, b"h" * 32, body, 1, "eve", "x", "done")
    insert = "INSERT INTO audit_entries (tenant, seq, prev, hash, body, at_ns, who, what, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    with pytest.raises(Exception, match=r"append-only|uq_audit_entries"), store.write() as transaction:
        transaction.execute(insert, row)
    assert len(rows(store)) == 3


def test_t29_eight_writers_in_threads_make_one_chain_without_fork_or_loss(store: Store, database_url: str) -> None:
    threads = [threading.Thread(target=append_many, args=(database_url, f"writer {number}", EACH)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_one_chain(store)


def test_t29_eight_writers_in_processes_make_one_chain_without_fork_or_loss(store: Store, database_url: str) -> None:
    command = [sys.executable, str(RIG), database_url]
    writers = [subprocess.Popen([*command, f"writer {number}", str(EACH)]) for number in range(WRITERS)]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * WRITERS
    assert_one_chain(store)


def assert_one_chain(store: Store) -> None:
    found = rows(store)
    assert [seq for seq, *_ in found] == list(range(1, WRITERS * EACH + 1))
    assert [prev for _, prev, *_ in found] == [NO_HASH, *(hash_ for _, _, hash_, _ in found[:-1])]
    said = [json.loads(body) for *_, body in found]
    for number in range(WRITERS):
        assert [one["after"] for one in said if one["who"] == f"writer {number}"] == list(range(EACH))
    assert verdict(store) == Report(1, WRITERS * EACH, 0, (), 0)


@pytest.mark.parametrize(
    ("statement", "params", "fault"),
    [
        ("UPDATE audit_entries SET body = ? WHERE seq = 2", (b'{"who":"eve"}',), (2, "it was changed: its hash is another one")),
        ("UPDATE audit_entries SET who = ? WHERE seq = 2", ("eve",), (2, "its columns say another thing than what was recorded: who")),
        ("UPDATE audit_entries SET at_ns = ? WHERE seq = 1", (7,), (1, "its columns say another thing than what was recorded: at")),
        ("DELETE FROM audit_entries WHERE seq = ?", (2,), (2, "entries 2 to 2 are missing")),
        ("DELETE FROM audit_entries WHERE seq = ?", (1,), (1, "entries 1 to 1 are missing")),
        ("UPDATE audit_entries SET prev = ? WHERE seq = 3", (b"p" * 32,), (3, "it does not follow on the entry before")),
        ("UPDATE audit_entries SET hash = ? WHERE seq = 2", (b"h" * 32,), (2, "it was changed: its hash is another one")),
    ],
)
def test_whatever_is_altered_shows_with_its_place(store: Store, statement: str, params: tuple[Any, ...], fault: tuple[int, str]) -> None:
    three(store)
    StoredTrail(store).record(change(tenant="globex"))
    unprotected(store, (statement, params) if "tenant" in statement else (f"{statement} AND tenant = 'acme'", params))
    [found] = verdict(store).faults
    assert (found.tenant, found.seq) == ("acme", fault[0])
    assert found.what.startswith(fault[1])


OTHER_KIND = "it was changed: what its columns hold is of another kind"


@pytest.mark.parametrize(
    ("change_to", "fault"),
    [
        *(
            (one, OTHER_KIND)
            for one in ("body = CAST(body AS TEXT)", "hash = 'x'", "prev = 1000000000000", "at_ns = 'noon'", "who = x'00'")
        ),
        ("seq = 'many'", "entries 2 to 2 are missing"),  # a text is behind all numbers
    ],
)
def test_columns_of_another_kind_are_a_fault_and_no_trouble(store: Store, change_to: str, fault: str) -> None:
    """SQLite keeps whatever is written, PostgreSQL refuses it."""
    if store.engine_name != "sqlite":
        return
    three(store)
    unprotected(store, (f"UPDATE audit_entries SET {change_to} WHERE seq = 2", ()))
    assert verdict(store).faults == (AuditFault("acme", 2, fault),)


@pytest.mark.parametrize(
    ("body", "what", "fault"),
    [
        (b"[]", "x", "it is no entry: its body is no JSON object"),
        (b"\xff", "x", "it is no entry: its body is no JSON object"),
        (b'{"after":7}', "audit.prune", "its columns say another thing"),
        (
            b'{"after":7,"at":"1970-01-01T00:00:00.000000001Z","outcome":"done","seq":4,"tenant":"acme","what":"audit.prune","who":"eve"}',
            "audit.prune",
            "it does not say which entries were taken away",
        ),
    ],
)
def test_an_entry_that_hangs_together_and_says_nonsense_is_a_fault(store: Store, body: bytes, what: str, fault: str) -> None:
    """Whoever can write to the database can work out hashes, too."""
    three(store)
    prev = rows(store)[-1][2]
    row = ("acme", 4, prev, link_hash(prev, body), body, 1, "eve", what, "done")
    insert = "INSERT INTO audit_entries (tenant, seq, prev, hash, body, at_ns, who, what, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    unprotected(store, (insert, row))
    [found] = verdict(store).faults
    assert (found.seq, found.what[: len(fault)]) == (4, fault)


def test_an_anchor_of_another_kind_hides_nothing(store: Store) -> None:
    if store.engine_name != "sqlite":
        return
    three(store)
    anchor = "INSERT INTO audit_anchors VALUES ('acme', 'one', 1000000000000, 1)"
    unprotected(store, (anchor, ()), ("DELETE FROM audit_entries WHERE seq = 1", ()))
    assert verdict(store).faults == (AuditFault("acme", 1, "entries 1 to 1 are missing"),)


def test_an_end_that_was_cut_off_shows_against_an_exported_head_alone(store: Store, tmp_path: Path) -> None:
    three(store)
    with store.read() as transaction:
        head = json.dumps(export_head(transaction, load_key(tmp_path / "key"), FakeClock()))
    audit = StoredAudit(store)
    StoredTrail(store).record(change())
    assert audit.verify(None, head, None).broken == 0
    unprotected(store, ("DELETE FROM audit_entries WHERE seq > ?", (2,)))
    assert audit.verify(None, None, None).broken == 0
    missing = "entries 3 to 3 of the head are missing: the end of the chain was cut off"
    assert audit.verify(None, head, None).faults == (AuditFault("acme", 3, missing),)
    assert audit.verify(["globex"], head, None).broken == 0


def test_a_chain_that_was_written_anew_shows_against_an_exported_head(store: Store, tmp_path: Path) -> None:
    three(store)
    with store.read() as transaction:
        head = json.dumps(export_head(transaction, load_key(tmp_path / "key"), FakeClock()))
    unprotected(store, ("DELETE FROM audit_entries WHERE seq > ?", (1,)))
    for number in (2, 4):
        StoredTrail(store).record(change(after=number))
    fault = AuditFault("acme", 3, "the chain was rewritten: the head names another hash for this entry")
    assert StoredAudit(store).verify(None, head, None).faults == (fault,)


@pytest.mark.parametrize("head", ["{}", "no json", "[]", '{"format": "otel-finops-head-1"}'])
def test_what_is_no_head_is_refused(store: Store, head: str) -> None:
    with pytest.raises(BadInput, match="head"):
        StoredAudit(store).verify(None, head, None)


@pytest.mark.parametrize(
    "chains",
    [None, [], "x", {"acme": None}, {"acme": "ab"}, {"acme": [1]}, {"acme": ["1", "ab"]}, {"acme": [-1, "ab"]}, {"acme": [2**63, "ab"]}],
)
def test_a_head_that_somebody_signed_himself_and_that_says_nothing_is_refused(store: Store, tmp_path: Path, chains: Any) -> None:
    head = signed({"format": "otel-finops-audit-head-1", "time": "2026-11-21T12:00:00Z", "chains": chains}, load_key(tmp_path / "key"))
    with pytest.raises(BadInput, match="not of the form in which heads are exported"):
        StoredAudit(store).verify(None, json.dumps(head), None)


def test_a_head_that_was_changed_or_signed_by_another_is_refused(store: Store, tmp_path: Path) -> None:
    three(store)
    with store.read() as transaction:
        head = export_head(transaction, load_key(tmp_path / "key"), FakeClock())
    forged = json.dumps({**head, "chains": {}})
    with pytest.raises(BadInput, match="changed after it was signed"):
        StoredAudit(store).verify(None, forged, None)
    with pytest.raises(BadInput, match="another key"):
        StoredAudit(store).verify(None, json.dumps(head), "00" * 32)


def pruned(store: Store, before_ns: int, most: int = 100) -> list[tuple[str, int, int]]:
    """Prune all chains as retention does; tenant, last number and number of the entries that went, step by step."""
    steps: list[tuple[str, int, int]] = []
    while True:
        with store.write() as transaction:
            one = next_beginning(transaction, before_ns, most)
            if one is None:
                return steps
            prune(transaction, one, before_ns, NOON, lambda transaction, upto: opened(transaction, "audit_entries", upto))
            steps.append((one.tenant, one.last.seq, one.entries))


def test_a_chain_whose_beginning_was_pruned_is_proved_from_there(store: Store, tmp_path: Path) -> None:
    for second in (1, 2, 3, 4):
        StoredTrail(store).record(change(at_ns=NOON - 10 + second))
    StoredTrail(store).record(change(tenant="globex"))
    with store.read() as transaction:
        head = json.dumps(export_head(transaction, load_key(tmp_path / "key"), FakeClock()))
    assert pruned(store, NOON - 7) == [("acme", 2, 2)]
    assert StoredAudit(store).verify(None, head, None) == Report(2, 4, 2, (), 0)
    assert [seq for seq, *_ in rows(store)] == [3, 4, 5]
    assert json.loads(rows(store)[-1][3])["what"] == "audit.prune"
    assert pruned(store, NOON - 5, 1) == [("acme", 3, 1), ("acme", 4, 1)]
    assert StoredAudit(store).verify(None, head, None) == Report(2, 4, 4, (), 0)


def test_what_lies_behind_a_younger_entry_stays_with_it(store: Store) -> None:
    for at_ns in (1, NOON, 2):
        StoredTrail(store).record(change(at_ns=at_ns))
    assert pruned(store, NOON) == [("acme", 1, 1)]


def test_a_beginning_that_somebody_took_away_is_no_pruned_one(store: Store) -> None:
    three(store)
    anchor = "INSERT INTO audit_anchors (tenant, seq, hash, pruned_ns) VALUES ('acme', 2, ?, 1)"
    unprotected(store, ("DELETE FROM audit_entries WHERE seq <= ?", (2,)), (anchor, (rows(store)[1][2],)))
    fault = AuditFault("acme", 2, "the entries up to this one were taken away, and no entry says so")
    assert verdict(store).faults == (fault,)
    unprotected(store, ("DELETE FROM audit_entries", ()))
    assert verdict(store).faults == (AuditFault("acme", 3, "all entries are missing"),)


def test_a_chain_goes_on_after_the_last_entry_though_that_was_pruned(store: Store) -> None:
    three(store)
    unprotected(
        store,
        ("DELETE FROM audit_entries", ()),
        ("INSERT INTO audit_anchors (tenant, seq, hash, pruned_ns) VALUES ('acme', 3, ?, 1)", (b"h" * 32,)),
    )
    with store.write() as transaction:
        assert end_of(transaction, "acme") == Link(3, b"h" * 32)
        assert append(transaction, change()) == 4
