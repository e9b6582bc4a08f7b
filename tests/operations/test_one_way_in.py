"""A change and its record stand together or not at all; runs are on record before they begin."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from changing_rig import DIED, BrokenTrail, World

from otel_finops.audit.reading import StoredAudit
from otel_finops.base.errors import BadInput, Unavailable
from otel_finops.identity.principals import Principal
from otel_finops.identity.roles import PERMISSIONS
from otel_finops.store.engine import Store

ACME = Principal("ann", ("acme",), PERMISSIONS)
BOTH = Principal("bob", ("acme", "globex"), PERMISSIONS)


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def bodies(store: Store) -> list[dict[str, Any]]:
    with store.read() as transaction:
        return [json.loads(bytes(body)) for (body,) in transaction.execute("SELECT body FROM audit_entries ORDER BY entry_no")]


def test_a_change_is_on_record_with_who_what_before_after_when_and_from_where(world: World) -> None:
    assert world.ask(world.change, "a", ACME) == {"name": "a", "token": None}
    [entry] = bodies(world.store)
    assert entry == {
        "tenant": "acme", "seq": 1, "at": "2026-11-21T12:00:00.000000000Z", "who": "ann", "what": "test.change", "origin": "test",
        "outcome": "done", "began": None, "before": None, "after": {"name": "a", "token": None},
    }  # fmt: skip


def test_a_record_that_fails_undoes_the_change(store: Store) -> None:
    world = World(store, BrokenTrail(store, "done"))
    with pytest.raises(Unavailable, match="the trail cannot be written"):
        world.ask(world.change, "a")
    assert (world.names(), world.recorded()) == ([], [])


def test_a_record_that_the_database_refuses_undoes_the_change(world: World) -> None:
    """The table of the trail is away: whatever the driver says of that, nothing may stand."""
    with world.store.write() as transaction:
        transaction.execute("ALTER TABLE audit_entries RENAME TO elsewhere")
    with pytest.raises(Exception, match="audit_entries"):
        world.ask(world.change, "a")
    assert world.names() == []


@pytest.mark.parametrize("fault", ["refused", "after a write"])
def test_a_change_that_fails_leaves_nothing(world: World, fault: str) -> None:
    with pytest.raises(BadInput):
        world.ask(world.change, "a", fault=fault)
    assert (world.names(), world.recorded()) == ([], [])


def test_a_process_that_dies_between_change_and_commit_leaves_nothing(store: Store, database_url: str) -> None:
    rig = Path(__file__).parent / "changing_rig.py"
    assert subprocess.run([sys.executable, str(rig), database_url], check=False, timeout=120).returncode == DIED
    world = World(store)
    assert (world.names(), world.recorded()) == ([], [])
    assert world.ask(world.change, "half", key="of-the-dead")["name"] == "half"
    assert world.handled == 1


def test_nothing_to_do_and_dry_runs_leave_no_record(world: World) -> None:
    world.ask(world.change, "a", fault="nothing to do")
    world.ask(world.change, "a", dry_run=True)
    world.ask(world.run, "a", dry_run=True)
    assert (world.names(), world.recorded()) == ([], [])


@pytest.mark.parametrize(
    ("principal", "tenant", "chain"), [(ACME, None, "acme"), (BOTH, None, "*"), (BOTH, "globex", "globex"), (ACME, "acme", "acme")]
)
def test_a_change_stands_in_the_chain_of_whose_thing_it_is(world: World, principal: Principal, tenant: str | None, chain: str) -> None:
    world.ask(world.change, "a", principal, tenant=tenant)
    assert world.recorded() == [(chain, "test.change", "done")]


@pytest.mark.parametrize(
    ("principal", "tenant", "chain"), [(ACME, None, "acme"), (BOTH, None, "*"), (BOTH, "globex", "globex"), (ACME, "globex", "acme")]
)
def test_a_run_stands_in_the_chain_of_the_tenant_that_is_asked_for(
    world: World, principal: Principal, tenant: str | None, chain: str
) -> None:
    world.ask(world.run, "a", principal, tenant=tenant)
    assert [tenant for tenant, *_ in world.recorded()] == [chain, chain]


def test_a_run_is_on_record_before_it_begins_and_when_it_is_done(world: World) -> None:
    seen: list[Any] = []
    world.inside = lambda: seen.append(world.recorded())
    world.ask(world.run, "a", ACME)
    assert seen == [[("acme", "test.run", "begun")]]
    begun, done = bodies(world.store)
    assert (begun["after"], begun["outcome"]) == ({"name": "a", "fault": "none", "dry_run": False}, "begun")
    assert (done["after"], done["outcome"], done["began"]) == ({"name": "a", "token": None}, "done", begun["seq"])


def test_a_run_whose_intent_cannot_be_recorded_does_not_begin(store: Store) -> None:
    world = World(store, BrokenTrail(store, "begun"))
    with pytest.raises(Unavailable):
        world.ask(world.run, "a")
    assert (world.handled, world.names(), world.recorded()) == (0, [], [])


def test_a_run_that_fails_says_so_on_record_and_what_it_did_stands(world: World) -> None:
    with pytest.raises(BadInput, match="too late"):
        world.ask(world.run, "a", fault="after a write")
    assert world.names() == ["a"]
    assert [(one["outcome"], one["after"]) for one in bodies(world.store)[1:]] == [("failed", {"fault": "too late"})]


def test_a_run_without_anything_to_do_says_so(world: World) -> None:
    world.ask(world.run, "a", fault="nothing to do")
    assert world.recorded() == [("*", "test.run", "begun"), ("*", "test.run", "unchanged")]


def test_a_run_whose_outcome_cannot_be_recorded_is_told_as_a_fault_and_its_intent_stands(store: Store) -> None:
    world = World(store, BrokenTrail(store, "done"))
    with pytest.raises(Unavailable):
        world.ask(world.run, "a")
    assert (world.names(), world.recorded()) == (["a"], [("*", "test.run", "begun")])


def test_the_fault_of_a_run_is_told_though_it_cannot_be_recorded(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    world = World(store, BrokenTrail(store, "failed"))
    with pytest.raises(BadInput, match="too late"):
        world.ask(world.run, "a", fault="after a write")
    assert caplog.messages == ["the outcome of test.run, begun as 1, is not on record: the trail cannot be written"]


def test_a_run_that_is_interrupted_is_on_record(world: World) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    world.inside = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.ask(world.run, "a")
    assert bodies(world.store)[-1]["after"] == {"fault": "KeyboardInterrupt"}


def test_secrets_of_input_and_answer_are_nowhere_on_record(world: World) -> None:
    for one in (world.change, world.run):
        assert world.ask(one, one.name, token="ofs_0123456789abcdefghij")["token"] == "ofs_0123456789abcdefghij"
    with world.store.read() as transaction:
        stored = b"".join(bytes(body) for (body,) in transaction.execute("SELECT body FROM audit_entries"))
    assert b"(secret)" in stored
    assert b"0123456789" not in stored


def test_the_trail_that_all_this_leaves_is_sound(world: World) -> None:
    for number in range(3):
        world.ask(world.change, f"change {number}", ACME)
        world.ask(world.run, f"run {number}")
    report = StoredAudit(world.store).verify(None, None, None)
    assert (report.chains, report.entries, report.broken) == (2, 9, 0)
