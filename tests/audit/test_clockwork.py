"""What the service does by itself is on record, unless there was nothing to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_finops.audit.clockwork import note, on_record
from otel_finops.base.errors import Unavailable
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.testing import FakeClock


def add(store: Store, name: str) -> None:
    with store.write() as transaction:
        transaction.execute("INSERT INTO counters (name, value) VALUES (?, 1)", (name,))


def counters(store: Store) -> list[str]:
    with store.read() as transaction:
        return [name for (name,) in transaction.execute("SELECT name FROM counters ORDER BY name")]


def recorded(store: Store) -> list[dict[str, Any]]:
    with store.read() as transaction:
        return [json.loads(bytes(body)) for (body,) in transaction.execute("SELECT body FROM audit_entries ORDER BY entry_no")]


def work(store: Store, *names: str, fault: Exception | None = None) -> str:
    for name in names:
        add(store, name)
    if fault is not None:
        raise fault
    return f"{len(names)} done"


def test_work_is_on_record_with_its_intent_and_what_it_says_of_itself(store: Store) -> None:
    assert on_record(store, FakeClock(), "periods.close", lambda: work(store, "a", "b")) == "2 done"
    begun, done = recorded(store)
    assert (begun["who"], begun["what"], begun["outcome"], begun["tenant"]) == ("scheduler", "periods.close", "begun", "*")
    assert (done["outcome"], done["after"], done["began"]) == ("done", {"said": "2 done"}, 1)
    assert done["origin"].startswith("scheduler ")


def test_work_that_finds_nothing_to_do_leaves_nothing_though_it_held_a_lease(store: Store) -> None:
    def look() -> str:
        lease = Leases(store, FakeClock(), "test").acquire("job:look")
        assert lease is not None
        lease.release()
        return "no month to close"

    assert on_record(store, FakeClock(), "periods.close", look) == "no month to close"
    assert recorded(store) == []


def test_work_that_fails_after_it_wrote_says_so_on_record(store: Store) -> None:
    with pytest.raises(Unavailable):
        on_record(store, FakeClock(), "ledger.estimate", lambda: work(store, "a", fault=Unavailable("the disk is full")))
    assert [(one["outcome"], one["after"]) for one in recorded(store)] == [("begun", None), ("failed", {"fault": "the disk is full"})]
    with pytest.raises(KeyError):
        on_record(store, FakeClock(), "ledger.estimate", lambda: work(store, "b", fault=KeyError("what nobody must read")))
    assert recorded(store)[-1]["after"] == {"fault": "KeyError"}


def test_work_that_fails_before_it_wrote_leaves_nothing(store: Store) -> None:
    with pytest.raises(Unavailable):
        on_record(store, FakeClock(), "ledger.estimate", lambda: work(store, fault=Unavailable("away")))
    assert recorded(store) == []


def test_without_a_trail_nothing_is_done(store: Store) -> None:
    with store.write() as transaction:
        transaction.execute("ALTER TABLE audit_entries RENAME TO elsewhere")
    with pytest.raises(Exception, match="audit_entries"):
        on_record(store, FakeClock(), "periods.close", lambda: work(store, "a"))
    assert counters(store) == []


def test_what_is_done_outside_of_transactions_is_noted(store: Store) -> None:
    note(store, FakeClock(), "db.upgrade", {"revision": "0003"}, {"revision": "0004"}, who="serve")
    [entry] = recorded(store)
    assert (entry["who"], entry["before"], entry["after"]) == ("serve", {"revision": "0003"}, {"revision": "0004"})
