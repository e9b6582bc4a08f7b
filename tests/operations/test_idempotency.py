"""Idempotency keys: one key, one change, however often and by however many at once it is asked for."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from changing_rig import BrokenTrail, World

from otel_finops.base.errors import BadInput, Busy, Conflict, KeyReused, Unavailable
from otel_finops.base.limits import IDEMPOTENCY_KEY_HOURS
from otel_finops.identity.principals import Principal
from otel_finops.identity.roles import PERMISSIONS, ROLES
from otel_finops.operations.desks import Replayed
from otel_finops.store.engine import Store

ANN = Principal("ann", None, PERMISSIONS)
STORM = 8


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def storm(world: World, one: Any, key: str | None, count: int = STORM) -> list[Any]:
    """The answers, or faults, of as many who ask at once."""
    found: list[Any] = []
    gate = threading.Barrier(count)

    def ask() -> None:
        gate.wait()
        try:
            found.append(world.ask(one, "a", key=key))
        except Exception as fault:
            found.append(fault)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("verb", ["change", "run"])
def test_who_asks_again_gets_the_stored_answer_and_nothing_is_changed(world: World, verb: str) -> None:
    one = getattr(world, verb)
    first = world.ask(one, "a", key="k")
    again = world.ask(one, "a", key="k")
    assert (again, world.names(), world.handled) == (first, ["a"], 1)
    assert (type(first), type(again)) == (dict, Replayed)
    assert len(world.recorded()) == (1 if verb == "change" else 2)


def test_a_storm_of_one_key_makes_exactly_one_change(world: World) -> None:
    answers = storm(world, world.change, "k")
    assert answers == [{"name": "a", "token": None}] * STORM
    assert sorted(type(one).__name__ for one in answers) == ["Replayed"] * (STORM - 1) + ["dict"]
    assert (world.handled, world.names(), len(world.recorded())) == (1, ["a"], 1)


def test_a_storm_of_one_key_makes_exactly_one_run_and_the_others_are_told_to_wait(world: World) -> None:
    gone = threading.Event()

    def hold() -> None:
        gone.wait(3)

    world.inside = hold
    answers = storm(world, world.run, "k")
    gone.set()
    kinds = sorted({type(one).__name__ for one in answers})
    assert kinds in (["Conflict", "dict"], ["Conflict", "Replayed", "dict"])
    assert (world.handled, world.names()) == (1, ["a"])


def test_without_a_key_everybody_changes(world: World) -> None:
    """The handler adds the same name each time, which the table refuses: all but one are faults."""
    assert sum(isinstance(one, dict) for one in storm(world, world.change, None, 3)) == 1
    assert world.handled == 3


@pytest.mark.parametrize("name", ["b", "a"])
def test_a_key_of_another_input_or_operation_is_refused_with_how_to_mend_it(world: World, name: str) -> None:
    world.ask(world.change, "a", key="k")
    other = world.change if name == "b" else world.run
    with pytest.raises(KeyReused, match=r"sent at 2026-11-21T12:00:00\.000000000Z with another input of test\.change; make a new key"):
        world.ask(other, name, key="k")
    assert (world.names(), world.handled) == (["a"], 1)


def test_a_change_that_failed_leaves_its_key_free(world: World) -> None:
    for one in (world.change, world.run):
        with pytest.raises(BadInput, match="no such thing"):
            world.ask(one, "a", key="k", fault="refused")
        with pytest.raises(BadInput, match="no such thing"):
            world.ask(one, "a", key="k", fault="refused")
    assert world.handled == 4


def test_a_change_whose_record_failed_leaves_its_key_free(store: Store) -> None:
    trail = BrokenTrail(store, "done")
    world = World(store, trail)
    with pytest.raises(Unavailable):
        world.ask(world.change, "a", key="k")
    trail.broken.clear()
    assert not isinstance(world.ask(world.change, "a", key="k"), Replayed)
    assert world.names() == ["a"]


def test_a_run_that_is_not_done_or_whose_end_is_not_known_is_not_begun_again(store: Store) -> None:
    world = World(store, BrokenTrail(store, "done"))
    with pytest.raises(Unavailable):
        world.ask(world.run, "a", key="k")
    with pytest.raises(Conflict, match=r"test.run was begun with this Idempotency-Key at .* is not done yet, or was broken off"):
        world.ask(world.run, "a", key="k")
    assert world.handled == 1


def test_an_answer_that_nothing_was_to_do_is_stored_too(world: World) -> None:
    """Asked again later there might be something to do, which nobody asked for then."""
    world.ask(world.change, "a", key="k", fault="nothing to do")
    assert isinstance(world.ask(world.change, "a", key="k", fault="nothing to do"), Replayed)


def test_dry_runs_take_no_key(world: World) -> None:
    world.ask(world.change, "a", key="k", dry_run=True)
    assert not isinstance(world.ask(world.change, "a", key="k"), Replayed)


@pytest.mark.parametrize(
    "other",
    [
        Principal("bob", None, PERMISSIONS),
        Principal("ann", ("acme",), PERMISSIONS),
        Principal("ann", None, ROLES["manager"]),
    ],
    ids=["another name", "other tenants", "another role"],
)
def test_keys_of_others_are_other_keys(world: World, other: Principal) -> None:
    world.ask(world.change, "a", ANN, "k")
    assert not isinstance(world.ask(world.change, "b", other, "k"), Replayed)
    assert world.names() == ["a", "b"]


def test_a_key_is_remembered_for_a_day(world: World) -> None:
    world.ask(world.change, "a", key="k", fault="nothing to do")
    world.clock.advance(IDEMPOTENCY_KEY_HOURS * 3_600)
    assert isinstance(world.ask(world.change, "a", key="k", fault="nothing to do"), Replayed)
    world.clock.advance(1)
    assert not isinstance(world.ask(world.change, "a", key="k", fault="nothing to do"), Replayed)
    with world.store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM idempotency_keys") == [(1,)]


def test_a_stored_answer_holds_no_secret_and_no_key(world: World) -> None:
    first = world.ask(world.change, "a", key="very-own-key", token="ofs_0123456789abcdefghij")
    again = world.ask(world.change, "a", key="very-own-key", token="ofs_0123456789abcdefghij")
    assert (first["token"], again["token"]) == ("ofs_0123456789abcdefghij", "(secret)")
    with world.store.read() as transaction:
        [row] = transaction.execute("SELECT holder, key, operation, given FROM idempotency_keys")
    assert not any("very-own-key" in text or "0123456789abcdefghij" in text for text in row)


@pytest.mark.parametrize("key", ["", "a b", "k\n", "ключ", "k" * 129, "\x00"])
def test_what_is_no_key_is_refused(world: World, key: str) -> None:
    with pytest.raises(BadInput, match="Idempotency-Key: 1 to 128 visible ASCII characters"):
        world.ask(world.change, "a", key=key)
    assert world.handled == 0


def test_who_comes_second_waits_for_the_first_and_never_changes_beside_it(world: World) -> None:
    """The first one's transaction is open for a second: the other waits, and then is given its answer."""
    begun, answers = threading.Event(), list[Any]()

    def hold() -> None:
        begun.set()
        threading.Event().wait(1)

    world.inside = hold
    first = threading.Thread(target=lambda: answers.append(world.ask(world.change, "a", key="k")))
    first.start()
    begun.wait(10)
    with contextlib.suppress(Busy, Unavailable):  # on a machine on which the second has no patience left
        answers.append(world.ask(world.change, "a", key="k"))
    first.join()
    assert (world.handled, world.names()) == (1, ["a"])
