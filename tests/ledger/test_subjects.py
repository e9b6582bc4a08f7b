"""References of users and sessions."""

from __future__ import annotations

import threading

import pytest

from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock


def refs(store: Store, subjects: Subjects, *clears: str, realm: str = "default") -> dict[str, str]:
    with store.write() as transaction:
        return subjects.refs(transaction, realm, "user", clears)


def test_a_subject_keeps_its_reference(store: Store) -> None:
    subjects = Subjects(clock=FakeClock())
    first = refs(store, subjects, "ann", "bob")
    assert refs(store, subjects, "bob", "ann", "bob") == first
    assert refs(store, Subjects(clock=FakeClock()), "ann", "bob") == first
    assert len(set(first.values())) == 2
    assert not any(clear in ref for clear, ref in first.items())


def test_realms_and_kinds_have_references_of_their_own(store: Store) -> None:
    subjects = Subjects(clock=FakeClock())
    with store.write() as transaction:
        found = {
            subjects.refs(transaction, "default", "user", ["x"])["x"],
            subjects.refs(transaction, "default", "session", ["x"])["x"],
            subjects.refs(transaction, "acme", "user", ["x"])["x"],
        }
    assert len(found) == 3


def test_references_lead_back_unless_erased(store: Store) -> None:
    subjects = Subjects(clock=FakeClock())
    found = refs(store, subjects, "ann")
    with store.read() as transaction:
        assert subjects.clear(transaction, [*found.values(), "gone"]) == {found["ann"]: "ann"}


def test_a_rolled_back_reference_is_not_remembered(store: Store) -> None:
    """Asked twice in one transaction: the second answer comes from a row that is not committed either."""
    subjects = Subjects(clock=FakeClock())
    with pytest.raises(ZeroDivisionError), store.write() as transaction:  # noqa: PT012
        subjects.refs(transaction, "default", "user", ["ann"])
        subjects.refs(transaction, "default", "user", ["ann"])
        raise ZeroDivisionError
    found = refs(store, subjects, "ann")
    with store.read() as transaction:
        assert subjects.clear(transaction, found.values()) == {found["ann"]: "ann"}


def test_what_is_forgotten_is_looked_up_again(store: Store) -> None:
    subjects = Subjects(clock=FakeClock(), remembered_max=3)
    names = [f"user {number}" for number in range(10)]
    first = refs(store, subjects, *names)
    assert len(subjects._memo) == 3
    assert refs(store, subjects, *names) == first


def test_many_threads_agree_on_one_reference(store: Store) -> None:
    found: list[str] = []

    def ask() -> None:
        found.append(refs(store, Subjects(), "ann")["ann"])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_a_nul_in_an_id_is_stored_on_both_engines(store: Store) -> None:
    found = refs(store, Subjects(clock=FakeClock()), "a\0b")
    assert list(found) == ["a\0b"]
