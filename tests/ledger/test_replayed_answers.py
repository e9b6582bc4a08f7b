"""Answers that a gateway's cache gives again and again: one call, however many sightings, in whatever order and company they came."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from empty_ledgers import empty_store
from ledger_rig import Rig, call, span_id

from otel_finops.genai.sighting import RANK_CLIENT, RANK_FRAMEWORK, RANK_GATEWAY, Sighting
from otel_finops.ledger.answers import COPIES_MAX
from otel_finops.store.engine import Store

ONE_CALL = 3_500_000_000
"""1,000 tokens in and 100 out of gpt-4o: 0.0025 + 0.0010 USD (see `ledger_rig.call`)."""
VIEWS: dict[str, dict[str, Any]] = {
    "client": {"rank": RANK_CLIENT, "instance": "shop"},
    "framework": {"rank": RANK_FRAMEWORK, "instance": "shop"},
    "gateway": {"rank": RANK_GATEWAY, "instance": "proxy"},
}


def seen(number: int, at_s: int, scope: str, **said: Any) -> Sighting:
    """One sighting of the answer, in a trace of its own."""
    return call(number, trace=number, at_s=at_s, scope=scope, response_id="chatcmpl-9f2c1b7e5d", **VIEWS[scope], **said)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Iterator[Store]]:
    opened: list[Store] = []

    def new() -> Iterator[Store]:
        while True:
            store = empty_store(f"sqlite:///{tmp_path / f'{len(opened)}.db'}")
            opened.append(store)
            yield store

    yield new()
    for store in opened:
        store.close()


def dump(store: Store, deliveries: Sequence[Sequence[Sighting]]) -> list[dict[str, Any]]:
    rig = Rig(store)
    for delivery in deliveries:
        rig.settle(*delivery)
    return rig.canonical()


@pytest.mark.parametrize("seed", range(30))
def test_any_order_and_company_gives_one_ledger(stores: Iterator[Store], seed: int) -> None:
    """A few requests of one cached answer, each seen by some of three libraries, at most a handful of them earlier than the original."""
    rng = random.Random(seed)
    sightings: list[Sighting] = []
    for request in range(rng.randint(2, COPIES_MAX)):
        at_s = request * rng.choice((1, 30, 600))
        for scope in rng.sample(sorted(VIEWS), rng.randint(1, 3)):
            output = 100 if rng.random() < 0.8 else 101
            sightings.append(seen(len(sightings) + 1, at_s, scope, usage={"input_uncached": 1000, "output": output}))
    whole = dump(next(stores), [sightings])
    shuffled = rng.sample(sightings, len(sightings))
    assert dump(next(stores), [[one] for one in shuffled]) == whole
    half = rng.randint(1, len(shuffled))
    assert dump(next(stores), [shuffled[:half], shuffled[half:]]) == whole


@pytest.mark.parametrize("seed", range(8))
def test_a_local_servers_id_is_each_services_own(stores: Iterator[Store], seed: int) -> None:
    """Two services with a local server each, which draws ids from few: both pay their first `chatcmpl-7`, caches repeat the others."""
    sightings = [
        call(n, trace=n, at_s=500 * n, response_id="chatcmpl-7", instance=f"{service}-1", defaults={"service": service})
        for n, service in enumerate(("billing", "search") * 6, start=1)
    ]
    shuffled = random.Random(seed).sample(sightings, len(sightings))
    rig = Rig(next(stores))
    for one in shuffled:
        rig.settle(one)
    assert {span: entry.role for span, entry in rig.net().items() if entry.role == "call"} == {span_id(1): "call", span_id(2): "call"}
    assert rig.total() == 2 * ONE_CALL


def test_two_thousand_replays_seen_by_application_and_gateway_cost_one_call(stores: Iterator[Store]) -> None:
    """A runaway loop behind a cache: 2,000 requests in 200 seconds. Settling them took 17 s when each led to all others."""
    sightings = [seen(2 * n + (scope == "gateway") + 1, n // 10, scope) for n in range(2000) for scope in ("client", "gateway")]
    rig = Rig(next(stores))
    for start in range(0, len(sightings), 500):
        rig.send(*sightings[start : start + 500])
    began = time.process_time()
    rig.settle()
    assert time.process_time() - began < 6
    assert rig.total() == ONE_CALL
    roles = [entry.role for entry in rig.net().values()]
    assert (roles.count("call"), roles.count("duplicate"), roles.count("gateway_copy")) == (1, 1, 3998)


@pytest.mark.parametrize("seed", range(3))
def test_three_hundred_replays_of_one_instant_cost_one_call(store: Store, seed: int) -> None:
    """Only their trace ids tell the first: senders with coarse clocks, or tests that send one recording again and again."""
    numbers = list(range(1, 301))
    random.Random(seed).shuffle(numbers)
    rig = Rig(store)
    for start in range(0, 300, 60):
        rig.settle(*(seen(n, 0, "client") for n in numbers[start : start + 60]))
    assert rig.total() == ONE_CALL
    assert [entry.role for entry in rig.net().values()].count("gateway_copy") == 299


def test_an_answer_under_a_thousand_made_up_scopes_stays_cheap(stores: Iterator[Store]) -> None:
    rig = Rig(next(stores))
    views = {"rank": RANK_CLIENT, "instance": "shop", "response_id": "chatcmpl-9f2c1b7e5d"}
    rig.send(*[call(n, trace=n, at_s=n, scope=f"scope {n}", **views) for n in range(1, 1001)])
    began = time.process_time()
    rig.settle()
    assert time.process_time() - began < 6
