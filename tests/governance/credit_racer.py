"""What one of several processes does to a pool at the same time as the others."""

from __future__ import annotations

import random
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from credit_rig import ANN, CreditRig
from ledger_rig import call

from otel_finops.base.errors import BadInput, Unavailable
from otel_finops.genai.sighting import Sighting
from otel_finops.ledger.shards import shard_of
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

CENT = 10**10


def race(url: str, racer: int, rounds: int, gate: Barrier, results: Queue[tuple[int, int]]) -> None:
    """Ask for a cent again and again, giving some back; tell how many were promised and how many given back."""
    store = Store.open(url, FakeClock())
    rig = CreditRig(store, holder=f"racer {racer}")
    chance = random.Random(racer)
    kept: list[str] = []
    given_back = 0
    gate.wait(60)
    for number in range(rounds):
        name = f"{racer}-{number}"
        if rig.hold(name, "0.01") is None:
            kept.append(name)
        if kept and chance.random() < 0.2:
            rig.release(kept.pop())
            given_back += 1
    store.close()
    results.put((len(kept), given_back))


def book(url: str, racer: int, rounds: int, gate: Barrier, results: Queue[tuple[int, int]]) -> None:
    """Book calls of a realm of one's own, which is a shard of one's own, and move money meanwhile; tell what the calls cost."""
    store = Store.open(url, FakeClock())
    rig = CreditRig(store, holder=f"booker {racer}")
    gate.wait(60)
    for number in range(rounds):
        book_one(rig, call(number + 1, trace=1000 * racer + number, realm=f"realm {racer}"))
        _move_money(rig, 10 + racer + number)
    store.close()
    results.put((0, 0))


def book_one(rig: CreditRig, sighting: Sighting) -> None:
    """Journal and settle one call, of its own shard alone: those of others are settled by them."""
    rig.send(sighting)
    rig.clock.advance(10)
    shard = shard_of(sighting.realm)
    while not rig.settler.settle_due(shard):
        rig.clock.advance(1)  # somebody else settles this shard just now


def _move_money(rig: CreditRig, cents: int) -> None:
    for _ in range(5):
        try:
            rig.desk.fund(1, cents * CENT, rig.clock.now_ns() + 10**9, ANN)
            rig.clock.advance(2)
            rig.desk.expire()
            rig.desk.adjust(1, -CENT, ANN)
        except BadInput:
            return  # all of it is held or owed just now
        except Unavailable:
            continue  # two waited for each other in a circle, and one was told to come again
        return
