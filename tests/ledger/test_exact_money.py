"""T25: sums in the database equal sums of integers, to the pico-USD, beyond 64 bits and with both signs."""

from __future__ import annotations

import random

import pytest
from ledger_rig import NOON, Rig, span_id, trace_id

from otel_finops.base.times import NS_PER_HOUR
from otel_finops.ledger.append import append
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.reader import exact_total
from otel_finops.ledger.shards import lease_name, shard_of
from otel_finops.ledger.verify import verify
from otel_finops.store.engine import Store

PER_BLOCK = 10_000


def charge(number: int, cost_pico: int) -> Entry:
    return Entry(
        "charge",
        "default",
        f"tenant-{number % 3}",
        trace_id(number // 10 + 1),
        span_id(number + 1),
        None,
        "call",
        NOON + number % 5 * NS_PER_HOUR,
        trace_no=number // 10,
        provider="openai",
        request_model="gpt-4o",
        usage={"output": number + 1},
        usage_source="reported",
        cost_pico=cost_pico,
        cost_method="computed",
    )


def book(rig: Rig, entries: list[Entry]) -> None:
    lease = rig.leases.acquire(lease_name(shard_of("default")))
    assert lease is not None
    for start in range(0, len(entries), PER_BLOCK):
        with rig.store.write() as transaction:
            append(transaction, lease, entries[start : start + PER_BLOCK], [rig.rollups], rig.clock.now_ns())
    lease.release()


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_random_costs_sum_exactly(store: Store, count: int) -> None:
    rig = Rig(store)
    chance = random.Random(25)
    costs = [chance.choice((0, 1, 130, 3_500_000_000, chance.randrange(10**6), chance.randrange(10**12))) for _ in range(count)]
    book(rig, [charge(number, cost) for number, cost in enumerate(costs)])
    with store.read() as transaction:
        assert exact_total(transaction) == sum(costs)
        report = verify(transaction)
    assert report.sound
    assert report.total_pico == sum(costs)
    spend = rig.reader.spend(None, ["tenant", "hour"])
    assert spend.total_pico == sum(costs)
    assert sum(group.calls for group in spend.groups) == count
    by_raw = rig.reader.spend(None, ["tenant", "realm"])
    assert {group.key["tenant"]: group.cost_pico for group in by_raw.groups} == {f"tenant-{n}": sum(costs[n::3]) for n in range(3)}


def test_sums_pass_64_bits(store: Store) -> None:
    """Three rows of the largest amount that a row can hold: 9.22 million USD each."""
    rig = Rig(store)
    largest = 2**63 - 1
    book(rig, [charge(number, largest) for number in range(3)])
    with store.read() as transaction:
        assert exact_total(transaction) == 3 * largest
        assert verify(transaction).sound
    assert rig.reader.spend(None).total_pico == 3 * largest
    assert rig.reader.spend(None, ["step"]).total_pico == 3 * largest
    [row] = rig.reader.counters()
    assert (row.cost_pico, row.reversed_pico, row.calls) == (3 * largest, 0, 3)
