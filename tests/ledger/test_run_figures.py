"""Runs and sums beside the ledger: whatever comes, in whatever order, the tables say what the tree and the entries say."""

from __future__ import annotations

import random
from typing import Any

import pytest
from empty_ledgers import empty_store
from figures_model import check_figures, stored_runs, stored_sums, tools
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ledger_rig import CENT, PRICES, SECOND, Rig, call, plain, span_id
from other_prices import TimesPrices

from otel_finops.genai.sighting import AGENT, TOOL, WORKFLOW, Sighting
from otel_finops.ledger.corrections import Corrector, Selection
from otel_finops.ledger.reprice import reprice
from otel_finops.ledger.shards import shard_of
from otel_finops.ledger.write_off import write_off
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock
from otel_finops.trees.projected import TO_FILL, TraceFigures, fill

COST = 35 * CENT // 100
"""Of one `call()`: 0.0035 USD."""
EVER = Selection(0, 2**62)


def agent(span: int, trace: int = 1, parent: int | None = None, *, kind: str = AGENT, **said: str) -> Sighting:
    return plain(span, trace, parent, kind=kind, genai=True, name=f"agent {span}", attribution=said)


def tool(span: int, name: str, parent: int, trace: int = 1, **more: Any) -> Sighting:
    return plain(span, trace, parent, kind=TOOL, genai=True, name=f"tool {name}", attribution={"tool": name}, **more)


def test_a_call_counts_in_the_nearest_run_and_in_all_above(store: Store) -> None:
    """Agent 1 makes one call itself and one through tool 3; agent 4, which that tool runs, makes two, one of which failed."""
    rig = Rig(store)
    failed = call(7, parent=4, at_s=400, usage={}, error_type="429", missing_reason=None)
    rig.settle(
        agent(1, agent="planner"), call(2, parent=1), tool(3, "ask", 1), agent(4, parent=3, agent="helper"), call(5, parent=3, at_s=200),
        call(6, parent=4, at_s=300), failed,
    )  # fmt: skip
    assert stored_runs(rig, 1) == {
        (span_id(1), "default"): (4, 1, 0, 3300, 3 * COST),
        (span_id(4), "default"): (2, 1, 0, 1100, COST),
    }
    assert tools(rig) == {span_id(1): (1, 0), span_id(4): (0, 0)}
    assert [sums[:5] for sums in stored_sums(rig, 1).values()] == [(4, 1, 0, 3300, 3 * COST)]
    check_figures(rig)


def test_a_tool_that_two_libraries_saw_is_used_once(store: Store) -> None:
    """The inner span of the same tool is the same use; a tool of the same name under another agent is another one."""
    rig = Rig(store)
    rig.settle(
        agent(1), tool(2, "search", 1), tool(3, "search", 2, error_type="timeout"), agent(4, parent=3),
        tool(5, "search", 4, error_type="x"), call(6, parent=4),
    )  # fmt: skip
    assert tools(rig) == {span_id(1): (2, 1), span_id(4): (1, 1)}


def test_what_is_another_tenants_is_kept_apart(store: Store) -> None:
    rig = Rig(store)
    rig.settle(
        agent(1, tenant="acme"), call(2, parent=1), agent(3, parent=1, tenant="globex"), call(4, parent=3, at_s=300),
        call(5, parent=1, at_s=600, attribution={"tenant": "globex"}),
    )  # fmt: skip
    assert stored_runs(rig, 1) == {
        (span_id(1), "acme"): (1, 0, 0, 1100, COST),
        (span_id(1), "globex"): (2, 0, 0, 2200, 2 * COST),
        (span_id(3), "globex"): (1, 0, 0, 1100, COST),
    }
    check_figures(rig)


def test_late_spans_move_calls_into_runs_and_to_other_tenants(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(2, parent=1), call(4, parent=3, at_s=300))
    assert stored_runs(rig, 1) == {}
    rig.settle(agent(3, parent=1))
    assert stored_runs(rig, 1) == {(span_id(3), "default"): (1, 0, 0, 1100, COST)}
    rig.settle(agent(1, tenant="acme"))
    assert stored_runs(rig, 1) == {(span_id(1), "acme"): (2, 0, 0, 2200, 2 * COST), (span_id(3), "acme"): (1, 0, 0, 1100, COST)}
    check_figures(rig)


def test_a_wrapper_that_turns_up_late_takes_its_charge_back(store: Store) -> None:
    """The agent's own total is charged while no call is known; the call takes its place."""
    rig = Rig(store)
    total: dict[str, Any] = {"usage": {"input_uncached": 1000, "output": 100}, "kind": AGENT, "operation": "invoke_agent"}
    rig.settle(call(1, **total))
    assert stored_runs(rig, 1) == {(span_id(1), "default"): (1, 0, 0, 1100, COST)}
    rig.settle(call(2, parent=1))
    assert stored_runs(rig, 1) == {(span_id(1), "default"): (1, 0, 0, 1100, COST)}
    check_figures(rig)


def test_repricing_moves_the_figures(store: Store) -> None:
    rig = Rig(store)
    rig.settle(agent(1), call(2, parent=1), call(3, trace=2, at_s=300))
    engine: Any = TimesPrices(3)
    corrector = Corrector(rig.store, rig.leases, engine, [rig.rollups, rig.figures], rig.clock, sleep=rig.clock.advance)
    reprice(corrector, EVER, who="ann", why="other prices")
    assert stored_runs(rig, 1) == {(span_id(1), "default"): (1, 0, 0, 1100, 3 * COST)}
    check_figures(rig)


def test_a_trace_that_settles_again_without_a_change_is_not_written_again(store: Store) -> None:
    rig = Rig(store)
    rig.settle(agent(1), call(2, parent=1))
    rig.settle(plain(9, 1, 1))
    with rig.store.write() as transaction:
        before = writes(transaction, store)
        rig.figures.remake(transaction, [1])
        assert writes(transaction, store) == before


def writes(transaction: Transaction, store: Store) -> Any:
    """How often rows were written: SQLite counts changes, PostgreSQL gives a row another place."""
    if store.engine_name == "sqlite":
        return transaction.execute("SELECT total_changes()")
    return [transaction.execute(f"SELECT ctid FROM {table}") for table in ("runs", "trace_sums")]


def test_runs_whose_spans_the_journal_no_longer_holds_stay(store: Store) -> None:
    rig = Rig(store)
    rig.settle(agent(1), call(2, parent=1))
    before = stored_runs(rig, 1)
    with rig.store.write() as transaction:
        transaction.execute("DELETE FROM journal")
        rig.figures.remake(transaction, [1])
    assert stored_runs(rig, 1) == before


def test_figures_go_with_their_trace(store: Store) -> None:
    rig = Rig(store)
    rig.settle(agent(1), call(2, parent=1), agent(1, 2), call(2, 2, parent=1, at_s=300))
    with rig.store.write() as transaction:
        write_off(transaction, shard_of("default"), [1], rig.rollups, "ann", rig.clock.now_ns())
    assert (stored_runs(rig, 1), stored_sums(rig, 1)) == ({}, {})
    assert stored_runs(rig, 2) == {(span_id(1), "default"): (1, 0, 0, 1100, COST)}


def test_what_was_settled_before_there_were_figures_gets_them(store: Store) -> None:
    rig = Rig(store)
    for trace in range(1, 6):
        rig.settle(agent(1, trace), call(2, trace, parent=1, at_s=trace * 300))
    with rig.store.write() as transaction:
        for table in ("runs", "trace_sums"):
            transaction.execute(f"DELETE FROM {table}")
        transaction.execute("INSERT INTO counters (name, value) VALUES (?, 5)", (TO_FILL,))
    rounds: list[int] = []
    while not rounds or rounds[-1]:
        with rig.store.write() as transaction:
            rounds.append(fill(transaction, TraceFigures(), 2))
    assert rounds == [3, 1, 0]
    check_figures(rig)
    with rig.store.write() as transaction:
        assert fill(transaction, TraceFigures(), 2) == 0
        assert transaction.execute("SELECT name FROM counters WHERE name = ?", (TO_FILL,)) == []


def test_an_upgraded_ledger_says_what_there_is_to_fill(database_url: str) -> None:
    store = Store.open(database_url, FakeClock())
    upgrade(store, to="0003")
    with store.write() as transaction:
        row = ("default", b"t" * 16, 1, 1, 1, True, True, True, 0, 0)
        names = "realm, trace_id, shard, first_seen_ns, version, has_genai, has_root, booked, pending_pico, pending_calls"
        transaction.execute(f"INSERT INTO traces ({names}) VALUES ({', '.join('?' * len(row))})", row)
    upgrade(store)
    with store.read() as transaction:
        assert transaction.execute("SELECT value FROM counters WHERE name = ?", (TO_FILL,)) == [(1,)]
    store.close()


# --- any course of events -------------------------------------------------------------------------------------------

KINDS = (AGENT, WORKFLOW, TOOL, "call", "call", "other")
SPANS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(0, 9), st.sampled_from(KINDS), st.sampled_from((None, "acme", "globex"))),
    min_size=1,
    max_size=24,
    unique_by=lambda one: one[:2],
)


def spanned(trace: int, number: int, parent: int, kind: str, tenant: str | None) -> Sighting:
    """Parents may be the span itself, lie below it, or never come; numbers are all different, so that no call repeats another."""
    above = None if parent == 0 else parent
    said = {} if tenant is None else {"tenant": tenant}
    unique = 1000 + 10 * trace + number
    if kind == "call":
        failed: dict[str, Any] = {"usage": {}, "error_type": "429", "missing_reason": None}
        facts = failed if number == 3 else {"usage": {"input_uncached": unique, "output": 5}}
        return call(number, trace, above, at_s=100 * trace + number, attribution=said, **facts)
    return plain(number, trace, above, kind=kind, genai=kind != "other", attribution=said, start_ns=call(1).start_ns - number * SECOND)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=[one for one in Phase if one is not Phase.shrink])
@given(spans=SPANS, seed=st.integers(0, 2**16), factor=st.integers(1, 3))
def test_the_order_of_arrival_does_not_show(tmp_path_factory: pytest.TempPathFactory, spans: list[Any], seed: int, factor: int) -> None:
    """Piece by piece in any order, repriced in between: the tables are what everything together says, and equal those of one delivery."""
    rng = random.Random(seed)
    sightings = [spanned(*one) for one in spans]
    folder = tmp_path_factory.mktemp("figures")
    engine: Any = PRICES if factor == 1 else TimesPrices(factor)
    found = []
    for name, pieces in (("one", [sightings]), ("many", shuffled(rng, sightings))):
        store = empty_store(f"sqlite:///{folder}/{name}.db")
        rig = Rig(store)
        for piece in pieces:
            rig.settle(*piece)
            check_figures(rig)
        corrector = Corrector(rig.store, rig.leases, engine, [rig.rollups, rig.figures], rig.clock, sleep=rig.clock.advance)
        reprice(corrector, EVER, who="ann", why="other prices")
        check_figures(rig)
        found.append(figures_by_trace(rig))
        store.close()
    assert found[0] == found[1]


def shuffled(rng: random.Random, sightings: list[Sighting]) -> list[list[Sighting]]:
    mixed = rng.sample(sightings, len(sightings))
    cuts = sorted(rng.sample(range(1, len(mixed)), min(3, len(mixed) - 1)))
    return [mixed[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(mixed)], strict=True)]


def figures_by_trace(rig: Rig) -> dict[str, Any]:
    with rig.store.read() as transaction:
        numbers = transaction.execute("SELECT trace_no, trace_id FROM traces WHERE booked")
    return {bytes(id_).hex(): (stored_runs(rig, int(no)), stored_sums(rig, int(no))) for no, id_ in numbers}
