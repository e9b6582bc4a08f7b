"""One ledger from the same spans, however they were delivered; roll-ups that equal the fold of the entries."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from empty_ledgers import empty_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rig import SECOND, Rig, call, plain

from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import NS_PER_HOUR
from otel_finops.genai.sighting import AGENT, RANK_FRAMEWORK, Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.rollups import dims_of
from otel_finops.ledger.standing import with_before
from otel_finops.ledger.tables import DIMENSIONS
from otel_finops.store.engine import Store

END = call(1).end_ns
SPANS: tuple[Sighting, ...] = (
    plain(1, kind=AGENT, genai=True, attribution={"agent": "planner", "tenant": "acme", "user": "ada"}),
    call(2, parent=1, scope="framework", rank=RANK_FRAMEWORK),
    call(3, parent=2, response_id="chatcmpl-3", response_model="gpt-4o-2024-08-06"),
    call(4, parent=1, usage={}, at_s=20),
    call(4, parent=1, usage={"input_uncached": 10, "output": 1}, at_s=20, end_ns=END + 21 * SECOND),
    call(4, parent=1, usage={"input_uncached": 10, "output": 7}, at_s=20, end_ns=END + 22 * SECOND),
    call(5, parent=1, at_s=7200, usage={"input_uncached": 300, "cache_read": 700, "output": 40}, service_tier="flex"),
    call(6, trace=2, at_s=90, request_model="no-such-model", price_models=("no-such-model",)),
    call(7, trace=2, parent=6, at_s=90, error_type="429", usage={}, missing_reason=None),
    plain(8, trace=2, attribution={"tenant": "globex"}),
    call(9, trace=2, parent=8, at_s=95, scope="other"),
)
"""Everything that can meet: an agent above, a wrapper, versions of a span, another hour, an unknown model, an error."""


def a_store(folder: Path, number: int) -> Store:
    return empty_store(f"sqlite:///{folder / f'{number}.db'}")


def stood(rig: Rig) -> dict[tuple[Any, ...], list[int]]:
    """What roll-ups must come to, from what stands: calls, tokens, unpriced calls and money by hour and dimensions."""
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for entry in rig.net().values():
        if entry.role == "call":
            key = entry.started_ns // NS_PER_HOUR * NS_PER_HOUR, *(value or "" for value in dims_of(entry))
            for position, amount in enumerate((1, total_tokens(entry.usage), entry.cost_pico is None, entry.cost_pico or 0)):
                sums[key][position] += amount
    return dict(sums)


def rolled(rig: Rig) -> dict[tuple[Any, ...], list[int]]:
    tokens = " + ".join(
        f"{unit} - {unit}_reversed"
        for unit in ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h", "output")
    )
    money = "cost_usd - cost_reversed_usd, cost_pico - cost_reversed_pico"
    sql = (
        f"SELECT bucket_ns, {', '.join(DIMENSIONS)}, calls - calls_reversed, {tokens}, unpriced_calls - unpriced_calls_reversed, {money} "
        "FROM rollups r JOIN rollup_dims d ON d.dim_no = r.dim_no WHERE level = 'hour'"
    )
    with rig.store.read() as transaction:
        rows = transaction.execute(sql)
    sums = {tuple(row[:-5]): [*row[-5:-2], row[-2] * PICO_PER_USD + row[-1]] for row in rows}
    return {key: amounts for key, amounts in sums.items() if any(amounts)}


def check_sums(rig: Rig) -> None:
    expected = stood(rig)
    assert rolled(rig) == expected
    total = sum(amounts[3] for amounts in expected.values())
    assert rig.total() == total == rig.spent()
    for group_by in ([], ["tenant"], ["day"], ["step"], ["hour", "model"]):
        report = rig.reader.spend(None, group_by)
        assert report.total_pico == total
        assert sum(group.calls for group in report.groups) == sum(amounts[0] for amounts in expected.values())


DELIVERIES = st.lists(st.sampled_from(range(len(SPANS))), max_size=12).flatmap(
    lambda repeats: st.tuples(
        st.permutations([*range(len(SPANS)), *repeats]), st.lists(st.integers(0, len(SPANS) + len(repeats)), max_size=6), st.booleans()
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledgers")


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[dict[str, Any]]:
    rig = Rig(a_store(folder, 0))
    rig.settle(*SPANS)
    check_sums(rig)
    return rig.canonical()


NUMBERS = iter(range(1, 10_000))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(delivery=DELIVERIES)
def test_any_partial_deliveries_end_in_the_same_ledger(delivery: Any, folder: Path, expected: list[dict[str, Any]]) -> None:
    """T4, as a property: order, grouping, repetition and settling in between leave no trace in what stands."""
    order, cuts, settle_between = delivery
    rig = Rig(a_store(folder, next(NUMBERS)))
    edges = [0, *sorted(cuts), len(order)]
    for first, last in pairwise(edges):
        rig.send(*(SPANS[number] for number in order[first:last]))
        if settle_between:
            rig.settle()
    rig.settle()
    check_sums(rig)
    assert rig.canonical() == expected
    rig.store.close()


def test_deliveries_in_other_batches_end_in_the_same_ledger(store: Store, expected: list[dict[str, Any]]) -> None:
    """T4 on every engine: one span a delivery, in a shuffled order, settled after each."""
    rig = Rig(store)
    for number in random.Random(4).sample(range(len(SPANS)), len(SPANS)):
        rig.settle(SPANS[number])
    check_sums(rig)
    assert json.dumps(rig.canonical()) == json.dumps(expected)


def test_what_was_moved_and_taken_back_never_lowers_a_counter(store: Store) -> None:
    rig = Rig(store)
    highest: dict[tuple[Any, ...], int] = {}
    for sighting in SPANS:
        rig.settle(sighting)
        for row in rig.reader.counters(("provider", "model", "operation", "cost_method", "tenant", "agent")):
            key = tuple(row.dimensions.values())
            for name in ("cost_pico", "reversed_pico", "calls", "reversed_calls", "unpriced_calls"):
                assert getattr(row, name) >= highest.get((*key, name), 0)
                highest[*key, name] = getattr(row, name)


def test_entries_read_back_carry_what_projections_need(store: Store) -> None:
    rig = Rig(store)
    for sighting in SPANS:
        rig.settle(sighting)
    moved = [entry for entry in with_before(rig.entries()) if entry.kind in ("correction", "reattribution")]
    assert moved
    assert all(entry.before is not None and entry.before.key == entry.key for entry in moved)
