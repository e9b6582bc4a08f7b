"""The store fails at every single call once, and at every n-th again and again: in the end the ledger is that of an undisturbed run."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from faulty_store import Faults, at_call, every, faulty_connections
from ledger_rig import PRICES, Rig
from rig_ledgers import canonical
from rig_traffic import DELIVERIES

from otel_finops.base.errors import Busy, Unavailable
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.ledger.group_commit import GroupCommitter
from otel_finops.ledger.journal import JournalRow
from otel_finops.ledger.poison import PoisonGuard
from otel_finops.ledger.quarantine import Quarantine
from otel_finops.ledger.verify import verify
from otel_finops.store.engine import Store
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock

SEED = int(os.environ.get("FAULT_SEED", "3"))
T = TypeVar("T")


class World:
    """A ledger on a file of its own, whose store may fail, and senders who do not give up.

    Attributes:
        refused: how often somebody was told to try again.
    """

    def __init__(self, file: Path, faults: Faults) -> None:
        self.faults = faults
        self.refused = 0
        self.rig = Rig(Store.open(f"sqlite:///{file}", FakeClock()))
        quarantine = Quarantine(self.rig.store, self.rig.clock, self.rig.subjects, settle_after_s=5)
        self.committer = GroupCommitter(
            self.rig.store, self.rig.clock, subjects=self.rig.subjects, guard=PoisonGuard(quarantine), recent=self.rig.recent
        )

    def run(self) -> None:
        """Send and settle everything, and verify."""
        for delivery in DELIVERIES:
            rows = [_row(sighting) for sighting in delivery]
            self._until_done(partial(self.committer.submit, rows))
            self._until_done(self.rig.settler.settle_all, OSError)
            assert self.rig.settler.parked == 0, "a fault of the store was taken for one of a trace"
            assert self._until_done(self._verified, OSError), "a fault of the store was taken for a broken chain"

    def close(self) -> None:
        self.committer.close()
        self.rig.store.close()

    def _verified(self) -> bool:
        with self.rig.store.read() as transaction:
            return verify(transaction).sound

    def _until_done(self, work: Callable[[], T], *also: type[Exception]) -> T:
        """What a sender or a loop does: again, later, for as long as it is told so. A lease whose release failed runs out meanwhile.

        Senders hear Busy and Unavailable alone; the loops behind them live through `also`.
        """
        expected: tuple[type[Exception], ...] = (Busy, Unavailable, *also)
        for _ in range(500):
            self.rig.clock.advance(11)
            try:
                return work()
            except expected:
                self.refused += 1
        raise AssertionError("it never came to an end")


def _row(sighting: Sighting) -> JournalRow:
    return JournalRow(sighting, PRICES.quote(PRICES.priceable(sighting)) if sighting.kind == CALL else None)


@pytest.fixture
def faults() -> Iterator[Faults]:
    made = Faults()
    with faulty_connections(made):
        yield made


@pytest.fixture
def worlds(tmp_path: Path, faults: Faults) -> Iterator[Callable[[], World]]:
    """Makes worlds, one after another."""
    empty, file = tmp_path / "empty.db", tmp_path / "ledger.db"
    store = Store.open(f"sqlite:///{empty}", FakeClock())
    upgrade(store)
    store.close()
    made: list[World] = []

    def new() -> World:
        for world in made:
            world.close()
        for left in tmp_path.glob("ledger.db*"):
            left.unlink()
        shutil.copyfile(empty, file)
        made[:] = [World(file, faults)]
        return made[0]

    yield new
    for world in made:
        world.close()


def facts(world: World) -> Any:
    """What must be the same after every run, however it was disturbed."""
    rig = world.rig
    with rig.store.read() as transaction:
        journal = transaction.execute("SELECT trace_no, span_id, content_hash FROM journal ORDER BY trace_no, span_id, content_hash")
        [(held,)] = transaction.execute("SELECT COUNT(*) FROM quarantine")
    assert max(Counter(journal).values()) == 1
    entries = rig.entries()
    return canonical(rig), len(journal), held, sorted(f"{one.trace_id} {one.span_id} {one.kind} {one.cost_pico}" for one in entries)


def undisturbed(world: World) -> tuple[Any, int]:
    """The facts of a run without faults, and its number of calls."""
    world.faults.arm(lambda number: None)
    world.run()
    calls = world.faults.calls
    return facts(world), calls


def disturbed(world: World, plan: Any, name: str, wanted: Any) -> int:
    """A run by the plan, which must come to the same; how often somebody was told to try again."""
    world.faults.arm(plan)
    world.run()
    world.faults.disarm()
    found = facts(world)
    assert found == wanted, f"FAULT_SEED={SEED}, {name}: {_difference(found, wanted)}"
    return world.refused


def _difference(found: Any, wanted: Any) -> str:
    return "; ".join(f"{mine} instead of {other}" for mine, other in zip(found, wanted, strict=True) if mine != other)[:4_000]


def test_a_fault_at_any_call_changes_nothing(worlds: Callable[[], World]) -> None:
    """Every fifth call in turn; the long form does all of them, with three faults each."""
    wanted, calls = undisturbed(worlds())
    told = [disturbed(worlds(), at_call(number, SEED), f"call {number}", wanted) for number in range(1, calls + 1, 5)]
    print(f"{len(told)} runs of {calls} calls with one fault each: all ledgers equal; {sum(told)} times somebody had to try again")
    assert sum(told) > len(told) // 2


def test_a_fault_at_every_nth_call_changes_nothing(worlds: Callable[[], World]) -> None:
    wanted, calls = undisturbed(worlds())
    for nth in (7, 13, 29, 53):
        told = disturbed(worlds(), every(nth, SEED, until=5 * calls), f"every {nth}th call", wanted)
        print(f"a fault at every {nth}th call of {5 * calls}: equal ledger; {told} times somebody had to try again")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 13))
def test_a_fault_at_every_single_call_changes_nothing(worlds: Callable[[], World], seed: int) -> None:
    wanted, calls = undisturbed(worlds())
    told = [disturbed(worlds(), at_call(number, seed), f"seed {seed}, call {number}", wanted) for number in range(1, calls + 1)]
    print(f"{len(told)} runs with one fault each: all ledgers equal; {sum(told)} times somebody had to try again")


@pytest.mark.long
def test_faults_at_every_nth_call_for_all_n(worlds: Callable[[], World]) -> None:
    wanted, calls = undisturbed(worlds())
    for nth in range(6, 80):
        disturbed(worlds(), every(nth, SEED, until=5 * calls), f"every {nth}th call", wanted)
