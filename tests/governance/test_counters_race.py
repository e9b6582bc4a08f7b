"""Several processes append, hold and give back at once while budgets are made: nobody waits in a circle, and every row comes out right.

Only where several can write at once; SQLite has one writer.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from typing import Any

import pytest
from counting_rig import USD, CountingRig
from empty_ledgers import empty_store
from ledger_rig import PRICES, call

from otel_finops.base.clock import SystemClock
from otel_finops.governance.periods import Period
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.shards import SHARDS
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.testing import NOON

SECONDS = 12.0


def append(url: str, worker: int, done: Any) -> None:
    """Journal and settle calls of a realm of its own."""
    rig, rng, sent = _rig(url, worker), random.Random(worker), 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        numbers = range(worker * 1_000_000 + sent, worker * 1_000_000 + sent + 5)
        realm, said = f"realm{worker}", [{"tenant": f"t{rng.randrange(4)}", "agent": f"a{rng.randrange(4)}"} for _ in numbers]
        rig.send(*(call(one, trace=one, realm=realm, speaks_for="*", attribution=of) for one, of in zip(numbers, said, strict=True)))
        sent += 5
        for shard in range(SHARDS):
            rig.settler.settle_due(shard)
    rig.store.close()
    done.put(sent)


def hold(url: str, worker: int, done: Any) -> None:
    """Hold for groups of calls, and give back most of it."""
    rig, rng, held, groups = _rig(url, worker), random.Random(worker), list[str](), 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        asked = [rig.asked(10**9, 10, tenant=f"t{rng.randrange(4)}", agent=f"a{rng.randrange(4)}")._replace(at_ns=NOON) for _ in range(4)]
        with rig.store.write() as transaction:
            rig.gate.lock(transaction, asked)
            for place, one in enumerate(asked):
                name = f"{worker}-{groups}-{place}"
                assert rig.gate.hold(transaction, one, name) is None
                held.append(name)
        groups += 1
        if len(held) > 20:
            rig.release(*held[:15])
            held = held[15:]
    rig.store.close()
    done.put(groups)


def _rig(url: str, worker: int) -> CountingRig:
    clock = SystemClock()
    rig = CountingRig(Store.open(url, clock))
    leases = Leases(rig.store, clock, f"worker {worker}")
    rig.settler = Settler(rig.store, leases, PRICES, [rig.rollups, rig.counters], clock, recent=rig.recent, pending=rig.pending)
    rig.clock.advance(1)
    return rig


@pytest.mark.long
@pytest.mark.postgres
def test_counters_come_out_right_however_many_write_them(postgres_database: str) -> None:
    rig = CountingRig(empty_store(postgres_database))
    rig.make("all", hard=True, amount=10**6 * USD)
    for one in range(4):
        rig.make(f"tenant {one}", {"tenant": f"t{one}"}, hard=True, amount=10**6 * USD)
        period = Period.of("rolling_hours", length=3) if one % 2 else Period.of("daily")
        rig.make(f"agent {one}", {"agent": f"a{one}"}, hard=True, amount=10**6 * USD, period=period)
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    workers = [context.Process(target=(append, hold)[worker % 2], args=(postgres_database, worker, done)) for worker in range(6)]
    for worker in workers:
        worker.start()
    for late in range(3):
        time.sleep(SECONDS / 4)
        rig.make(f"late {late}", {"tenant": f"t{late}"})
    assert all(done.get(timeout=SECONDS + 20) > 0 for _ in workers)
    for worker in workers:
        worker.join(30)
    rig.settle()
    rig.filler.run()
    assert rig.stored() == rig.recounted()
    assert rig.held_sums() == rig.noted_holds()
    assert rig.pending_sums() == {}
    rig.store.close()
