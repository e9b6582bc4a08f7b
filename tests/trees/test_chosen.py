"""Which nodes of a tree are told where not all are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cost_tree import entry, sighting, span_id

from otel_finops.base.errors import NotFound
from otel_finops.genai.sighting import CALL, OTHER, Sighting
from otel_finops.ledger.entry import Entry
from otel_finops.trees.chosen import Choice
from otel_finops.trees.cost_tree import CostTree, build, to_json

TRACE = "0af7651916cd43dd8448eb211c80319c"

SIGHTINGS = [
    sighting(n, parent, kind=OTHER if n in (1, 2, 5) else CALL) for n, parent in ((1, None), (2, 1), (3, 2), (4, 2), (5, 1), (6, 5))
]
ENTRIES = [entry(3, 10), entry(4, 30), entry(6, 25)]
"""1 has 2 (with the calls 3 for 10 pico-USD and 4 for 30) and 5 (with the call 6 for 25) below it."""


def told(choice: Choice, sightings: Sequence[Sighting] = SIGHTINGS, entries: Sequence[Entry] = ENTRIES) -> CostTree:
    return build(TRACE, sightings, entries, choice=choice)


def numbers(tree: CostTree) -> list[int]:
    return [int(node.span_id, 16) for node in tree.nodes]


def test_the_dearest_stand_with_what_is_above_them_and_the_rest_is_gathered() -> None:
    """Three of six: 1 (65), below it the dearer 2 (40), below that the dearer 4 (30). Left out: 3 below 2; 5 and 6 below 1."""
    tree = told(Choice("cost", limit=3))
    assert (numbers(tree), tree.omitted_nodes) == ([1, 2, 4], 3)
    assert {tree.nodes[at].name: tuple(rest) for at, rest in tree.gathered.items() if at is not None} == {
        "span 1": (2, 25),
        "span 2": (1, 10),
    }
    answer = to_json(tree)
    assert answer["nodes"][0]["gathered"] == {"nodes": 2, "usd": "0.000000000025"}
    assert (answer["total_usd"], answer["spans"], answer["dearest"]) == ("0.000000000065", 6, span_id(4))


def test_a_span_that_is_asked_for_stands_in_any_case() -> None:
    """Of six nodes four would be 1, 2, 4 and 5; with 6 asked for they are 1, 5, 6 and the dearest of the rest, 2."""
    assert numbers(told(Choice("cost", limit=4))) == [1, 2, 4, 5]
    assert numbers(told(Choice("cost", limit=6, span=span_id(6)))) == [1, 2, 3, 4, 5, 6]
    assert numbers(told(Choice("cost", limit=4, span=span_id(6)))) == [5, 6]


def test_a_part_of_the_tree_and_a_page_of_it() -> None:
    assert numbers(told(Choice(below=span_id(2)))) == [2, 3, 4]
    page = told(Choice(limit=2, skip=3))
    assert (numbers(page), page.omitted_nodes, page.nodes[0].depth) == ([4, 5], 4, 2)


def test_the_longest_come_first() -> None:
    """All last 1.5 ms but 3, which lasts a second: it stands with 2 and 1 above it."""
    long = [one._replace(end_ns=one.start_ns + 10**9) if one.span_id in (span_id(1), span_id(2), span_id(3)) else one for one in SIGHTINGS]
    assert numbers(told(Choice("duration", limit=3), long)) == [1, 2, 3]


def test_a_chain_too_deep_for_what_is_above_it_begins_further_down() -> None:
    """Of a chain of a hundred, four nodes with number 90 among them: half of them are it and the one above it."""
    chain = [sighting(n, n - 1 or None, kind=CALL) for n in range(1, 101)]
    tree = told(Choice("cost", limit=4, span=span_id(90)), chain, [entry(100, 7)])
    assert numbers(tree) == [89, 90, 91, 92]
    assert tree.gathered == {3: (8, 7)}


@pytest.mark.parametrize("choice", [Choice(below=span_id(9)), Choice("cost", span=span_id(9))])
def test_a_span_of_another_trace_is_not_found(choice: Choice) -> None:
    with pytest.raises(NotFound, match="no span 0000000000000009"):
        told(choice)


def test_facts_are_those_of_the_whole_trace() -> None:
    failing = [SIGHTINGS[0]._replace(error_type="timeout"), *SIGHTINGS[1:]]
    entries = [entry(3, 10, agent="a"), entry(4, 30, agent="b"), entry(6, None, role="duplicate")]
    facts = told(Choice("cost", limit=1), failing, entries).facts
    assert (facts.spans, facts.calls, facts.tokens, facts.failed_spans, facts.copies) == (6, 2, 30, 1, {"duplicate": 1})
    assert [(one.name, one.pico) for one in facts.agents] == [("b", 30), ("a", 10)]


@given(
    parents=st.lists(st.integers(0, 30), min_size=1, max_size=30), costs=st.lists(st.integers(0, 5), min_size=30, max_size=30),
    limit=st.integers(1, 30), sort=st.sampled_from(["cost", "duration"]), span=st.none() | st.integers(1, 30),
)  # fmt: skip
def test_what_is_told_and_what_is_gathered_are_everything(
    parents: list[int], costs: list[int], limit: int, sort: str, span: int | None
) -> None:
    """No node is lost or told twice, whatever the tree, the limit and the span asked for; nothing stands without what is above it."""
    sightings = [sighting(n, parent % n or None, kind=CALL) for n, parent in enumerate(parents, 1)]
    entries = [entry(n, costs[n - 1]) for n in range(1, len(parents) + 1)]
    asked = None if span is None or span > len(parents) else span_id(span)
    tree = told(Choice(sort, limit=limit, span=asked), sightings, entries)  # type: ignore[arg-type]
    shown = numbers(tree)
    assert len(shown) == len(set(shown)) <= max(limit, 1)
    assert sum(rest.nodes for rest in tree.gathered.values()) == tree.omitted_nodes
    if asked is not None:
        assert span in shown
    whole = sum(costs[: len(parents)])
    if len(shown) + tree.omitted_nodes == len(parents):
        told_pico = sum(costs[n - 1] for n in shown) + sum(rest.pico for rest in tree.gathered.values())
        assert told_pico == whole
        assert all(parents[n - 1] % n in (0, *shown) for n in shown)
