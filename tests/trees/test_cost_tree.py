"""Cost trees: kinds, sums, steps, and what is done about parents that make no tree (T46)."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL, Sighting
from otel_finops.ledger.entry import Entry
from otel_finops.trees.cost_tree import CostTree, build, to_json

TRACE = "0af7651916cd43dd8448eb211c80319c"
USD = 10**12


def span_id(number: int) -> str:
    return f"{number:016x}"


def sighting(number: int, parent: int | None = None, *, kind: str = OTHER, start: int | None = None, **more: object) -> Sighting:
    return Sighting(
        realm="default",
        trace_id=TRACE,
        span_id=span_id(number),
        parent_span_id=None if parent is None else span_id(parent),
        name=f"span {number}",
        start_ns=number if start is None else start,
        end_ns=(number if start is None else start) + 1_500_000,
        kind=kind,
        genai=kind != OTHER,
        instance="app",
        scope="test",
    )._replace(**more)  # type: ignore[arg-type]


def entry(number: int, pico: int | None, *, role: str = "call", **more: object) -> Entry:
    return Entry(
        kind="charge",
        realm="default",
        tenant="default",
        trace_id=TRACE,
        span_id=span_id(number),
        parent_span_id=None,
        role=role,
        started_ns=number,
        cost_pico=pico,
        cost_method=None if role != "call" else "unpriced" if pico is None else "computed",
        usage={"input_uncached": 10, "output": 5, "reasoning": 3},
    )._replace(**more)  # type: ignore[arg-type]


def shape(tree: CostTree) -> list[tuple[int, int]]:
    """(span number, depth) in the order of the tree."""
    return [(int(node.span_id, 16), node.depth) for node in tree.nodes]


def test_an_agent_with_a_tool_and_two_calls() -> None:
    sightings = [
        sighting(1),
        sighting(2, 1, kind=AGENT, attribution={"agent": "planner"}),
        sighting(3, 2, kind=CALL),
        sighting(4, 2, kind=TOOL, attribution={"tool": "search"}),
        sighting(5, 4, kind=CALL),
    ]
    entries = [entry(3, USD, agent="planner", step="plan"), entry(5, 2 * USD, agent="planner", step="search", tool="search")]
    answer = to_json(build(TRACE, sightings, entries))
    assert answer["total_usd"] == "3"
    assert [(n["name"], n["kind"], n["own_usd"], n["subtree_usd"], n["calls"], n["tokens"]) for n in answer["nodes"]] == [
        ("span 1", "other", None, "3", 2, 30),
        ("span 2", "agent", None, "3", 2, 30),
        ("span 3", "call", "1", "1", 1, 15),
        ("span 4", "tool", None, "2", 1, 15),
        ("span 5", "call", "2", "2", 1, 15),
    ]
    assert answer["nodes"][1]["agent"] == "planner"
    assert answer["nodes"][4] | {"notes": []} == {
        "span_id": "0000000000000005", "parent_span_id": "0000000000000004", "name": "span 5", "kind": "call", "role": "call",
        "own_usd": "2", "subtree_usd": "2", "calls": 1, "tokens": 15, "agent": "planner", "step": "search", "tool": "search",
        "started_at": "1970-01-01T00:00:00.000000005Z", "duration_ms": 1.5, "notes": [],
            "depth": 3, "model": None, "error_type": None,
    }  # fmt: skip
    assert answer["steps"] == [
        {"step": "plan", "agent": "planner", "usd": "1", "calls": 1, "tokens": 15},
        {"step": "search", "agent": "planner", "usd": "2", "calls": 1, "tokens": 15},
    ]


def test_what_is_counted_elsewhere_costs_nothing_and_says_where() -> None:
    sightings = [sighting(1, kind=CALL), sighting(2, 1, kind=CALL)]
    duplicate = entry(1, None, role="duplicate", counted_in=(TRACE, span_id(2)), role_rule="merge.response_id")
    tree = build(TRACE, sightings, [duplicate, entry(2, USD)])
    assert (tree.total_pico, tree.unpriced_calls) == (USD, 0)
    assert tree.nodes[0].own_pico is None
    assert (tree.nodes[0].subtree_pico, tree.nodes[0].calls, tree.nodes[0].tokens) == (USD, 1, 15)
    assert tree.nodes[0].notes == (
        "Another sighting of a call that is already counted; counted in span 0000000000000002: "
        "the same answer id and numbers (merge.response_id).",
    )


def test_a_copy_counted_in_another_trace_names_that_trace() -> None:
    copy = entry(1, None, role="gateway_copy", counted_in=("f" * 32, span_id(2)))
    assert build(TRACE, [sighting(1)], [copy]).nodes[0].notes == (
        f"A gateway's copy of a call; counted in span 0000000000000002 of trace {'f' * 32}.",
    )


def test_an_unpriced_call_is_counted_and_explained() -> None:
    tree = build(TRACE, [sighting(1, kind=CALL, dropped_attributes=7)], [entry(1, None, unpriced_reason="no_usage")])
    assert (tree.total_pico, tree.unpriced_calls) == (0, 1)
    assert to_json(tree)["nodes"][0]["own_usd"] is None
    assert tree.nodes[0].notes[0] == "Unpriced: the span carries no token counts (no_usage)."
    assert "dropped 7 attributes" in tree.nodes[0].notes[1]


def test_a_pending_trace_shows_its_spans_without_money() -> None:
    tree = build(TRACE, [sighting(1, kind=CALL)], [], pending=True)
    assert tree.pending
    assert (tree.nodes[0].role, tree.nodes[0].own_pico, tree.total_pico) == (None, None, 0)


def test_an_entry_without_its_span_still_stands() -> None:
    tree = build(TRACE, [], [entry(1, USD, duration_ns=2_000_000)])
    assert (tree.nodes[0].name, tree.nodes[0].kind, tree.nodes[0].duration_ns, tree.total_pico) == (None, "call", 2_000_000, USD)


def test_orphans_are_roots_and_keep_the_parent_that_they_named() -> None:
    tree = build(TRACE, [sighting(1), sighting(3, 99)], [entry(3, USD)])
    assert shape(tree) == [(1, 0), (3, 0)]
    assert tree.nodes[1].parent_span_id == span_id(99)
    assert tree.nodes[1].notes[0] == "Its parent span 0000000000000063 is not in the trace; shown as a root."


def test_a_span_that_is_its_own_parent_is_a_root() -> None:
    node = build(TRACE, [sighting(1, 1)], [entry(1, USD)]).nodes[0]
    assert (node.parent_span_id, node.depth, node.subtree_pico) == (None, 0, USD)
    assert node.notes[0] == "Names itself as its parent; shown as a root."


def test_a_circle_is_cut_at_its_earliest_span() -> None:
    sightings = [sighting(1, 3), sighting(2, 1), sighting(3, 2), sighting(4, 2)]
    tree = build(TRACE, sightings, [entry(n, USD) for n in (1, 2, 3, 4)])
    assert shape(tree) == [(1, 0), (2, 1), (3, 2), (4, 2)]
    assert [node.subtree_pico // USD for node in tree.nodes] == [4, 3, 1, 1]
    assert tree.nodes[0].parent_span_id is None
    assert tree.nodes[0].notes[0] == "Parents go in a circle; cut here, its parent 0000000000000003 is below it."


def test_siblings_stand_by_start_then_id() -> None:
    sightings = [sighting(1), sighting(9, 1, start=5), sighting(3, 1, start=7), sighting(8, 1, start=5)]
    assert [number for number, _ in shape(build(TRACE, sightings, []))] == [1, 8, 9, 3]


def test_spans_of_two_realms_are_two_spans_and_may_be_parent_and_child() -> None:
    sightings = [sighting(1), sighting(2, 1, realm="acme"), sighting(1, 2, realm="acme", start=9)]
    entries = [entry(1, USD), entry(1, 2 * USD, realm="acme", started_ns=9)]
    tree = build(TRACE, sightings, entries)
    # acme's span 1 and 2 name each other as parent within their realm: the earlier is cut
    assert shape(tree) == [(1, 0), (2, 0), (1, 1)]
    assert tree.total_pico == 3 * USD


@st.composite
def tangles(draw: st.DrawFn) -> list[tuple[int, int | None, int | None]]:
    """(span, parent or None, pico or None) with any parents at all."""
    size = draw(st.integers(1, 30))
    one = st.tuples(st.one_of(st.none(), st.integers(1, size + 2)), st.one_of(st.none(), st.integers(0, 10**12)))
    return [(number, *draw(one)) for number in range(1, size + 1)]


@given(tangles(), st.randoms(use_true_random=False))
def test_every_span_stands_once_and_the_roots_hold_the_whole_sum(
    spans: list[tuple[int, int | None, int | None]], chance: random.Random
) -> None:
    sightings = [sighting(number, parent, start=number % 4) for number, parent, _ in spans]
    entries = [entry(number, pico) for number, _, pico in spans]
    tree = build(TRACE, sightings, entries)
    total = sum(pico or 0 for _, _, pico in spans)
    assert sorted(number for number, _ in shape(tree)) == [number for number, _, _ in spans]
    assert tree.total_pico == total == sum(node.subtree_pico for node in tree.nodes if node.depth == 0)
    assert sum(one.pico for one in tree.steps) == total
    chance.shuffle(sightings)
    chance.shuffle(entries)
    again = build(TRACE, sightings, entries)
    assert again.nodes == tree.nodes


@pytest.mark.parametrize("wide", [False, True])
def test_a_hundred_thousand_spans_are_answered_within_two_seconds(wide: bool) -> None:
    size = 100_000
    sightings = [sighting(n, None if n == 1 else 1 if wide else n - 1, kind=CALL) for n in range(1, size + 1)]
    entries = [entry(n, n) for n in range(1, size + 1)]
    began = time.process_time()
    answer = to_json(build(TRACE, sightings, entries))
    spent_s = time.process_time() - began
    assert len({node["span_id"] for node in answer["nodes"]}) == size
    assert answer["total_usd"] == answer["nodes"][0]["subtree_usd"] == "0.00500005"  # 1 + 2 + ... + 100,000 pico-USD
    assert spent_s < 2, f"{spent_s:.2f} s"
    print(f"\n{'children' if wide else 'chain'}: {spent_s:.2f} s")


def test_nodes_beyond_the_limit_are_left_out_and_said_so_while_sums_cover_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty calls of 1 USD under one root, room for ten nodes: 41 of 51 are left out, 50 USD are shown."""
    monkeypatch.setattr("otel_finops.trees.cost_tree.TREE_NODES_MAX", 10)
    sightings = [sighting(1), *(sighting(n, 1, kind=CALL) for n in range(2, 52))]
    answer = to_json(build(TRACE, sightings, [entry(n, USD, step="plan") for n in range(2, 52)]))
    assert (len(answer["nodes"]), answer["omitted_nodes"]) == (10, 41)
    assert answer["total_usd"] == answer["nodes"][0]["subtree_usd"] == answer["steps"][0]["usd"] == "50"
    assert answer["nodes"][0]["calls"] == answer["steps"][0]["calls"] == 50
    assert "omitted_nodes" not in to_json(build(TRACE, sightings[:10], []))


def test_the_sums_of_a_trace_may_be_enough() -> None:
    sightings = [sighting(1), *(sighting(n, 1, kind=CALL) for n in (2, 3))]
    sums = to_json(build(TRACE, sightings, [entry(n, USD, step="plan") for n in (2, 3)]).without_nodes())
    assert (sums["nodes"], sums["omitted_nodes"], sums["total_usd"]) == ([], 3, "2")
    assert [(step["usd"], step["calls"]) for step in sums["steps"]] == [("2", 2)]
