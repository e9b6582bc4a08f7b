"""Traces, and the page of one: the views, the call beside them, and that its figures are the operation's."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from surfaces_world import ACME_TRACE, HOSTILE, SHARED_TRACE

from otel_finops.surfaces.ui.tree_rows import dearest_path, path_to, tree_rows

CALL = f"{3:016x}"
"""A call of ACME_TRACE with step plan: 1,000 prompt tokens at 2.50 USD and 100 output tokens at 10 USD a million, 0.0035 USD."""


def text_of(html: str) -> str:
    """What is read: without tags, spaces made one."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


# --- the list --------------------------------------------------------------------------------------------------------


def test_traces_are_listed_with_what_they_cost(console: TestClient, api: TestClient) -> None:
    page = console.get("/traces?range=12m").text
    listed = api.get("/api/v1/traces").json()["traces"]
    assert len(listed) == 2
    for one in listed:
        assert f"/traces/{one['trace_id']}?" in page
        assert f'title="${one["cost_usd"]}"' in page
    assert "planner" in page


def test_a_search_keeps_what_was_typed_and_says_when_nothing_fits(console: TestClient) -> None:
    page = console.get("/traces?range=12m&agent=nobody-at-all&sort=calls").text
    assert 'name="agent" value="nobody-at-all"' in page
    assert "No trace has a call that fits" in page


@pytest.mark.parametrize(("query", "said"), [("sort=size", "sort"), ("min_cost_usd=much", "min_cost_usd"), ("range=always", "range")])
def test_what_cannot_be_asked_is_said(console: TestClient, query: str, said: str) -> None:
    answer = console.get(f"/traces?{query}")
    assert answer.status_code == 400
    assert said in text_of(answer.text)


def test_the_dearest_alone_are_found_by_a_least_cost(console: TestClient) -> None:
    """Both traces cost two calls: 0.007 USD."""
    assert ACME_TRACE in console.get("/traces?range=12m&min_cost_usd=0.007").text
    assert ACME_TRACE not in console.get("/traces?range=12m&min_cost_usd=0.0071").text


# --- one trace -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["tree", "icicle", "icicle&by=time", "waterfall", "waterfall&skip=0", "totals"])
def test_every_view_opens_with_the_same_head(console: TestClient, api: TestClient, view: str) -> None:
    answer = console.get(f"/traces/{ACME_TRACE}?view={view}")
    total = api.get(f"/api/v1/traces/{ACME_TRACE}").json()["total_usd"]
    assert answer.status_code == 200
    assert f'title="${total}"' in answer.text
    assert "style=" not in answer.text


def test_the_tree_shows_every_node_with_the_operations_figures(console: TestClient, api: TestClient) -> None:
    tree = api.get(f"/api/v1/traces/{ACME_TRACE}").json()
    page = console.get(f"/traces/{ACME_TRACE}").text
    rows = {match[1]: match[0] for match in re.finditer(r'<li>(?:(?!<li>).)*?data-span="([0-9a-f]{16})".*?(?=<li|$)', page, re.DOTALL)}
    for node in tree["nodes"]:
        row = rows[node["span_id"]]
        if node["own_usd"] is not None:
            assert f'title="${node["own_usd"]}"' in row
        assert f'title="${node["subtree_usd"]}"' in row


def test_the_dearest_path_is_marked_and_its_call_is_shown_with_price_lines(console: TestClient) -> None:
    """Both calls of the planner cost the same, so that the first one is looked at."""
    page = console.get(f"/traces/{ACME_TRACE}").text
    assert f'data-span="{CALL}" aria-current="true"' in page
    assert len(re.findall(r'class="line[^"]* marked', page)) == 3
    shown = text_of(page[page.index('id="call"') :])
    assert "Input 1,000 $2.50 / 1M $0.0025" in shown
    assert "Output 100 $10.00 / 1M $0.001" in shown
    assert "Booked $0.0035" in shown
    assert "price version" in shown
    assert "How this price comes about" in shown


def test_the_step_that_costs_most_is_named(console: TestClient) -> None:
    """The steps plan and act cost 0.0035 USD each, half of the trace."""
    page = text_of(console.get(f"/traces/{ACME_TRACE}").text)
    assert "The dearest step is plan of planner : $0.0035 in 1 call, 50.0% of the trace" in page


def test_a_script_gets_the_call_alone(console: TestClient) -> None:
    answer = console.get(f"/traces/{ACME_TRACE}?span={CALL}", headers={"HX-Request": "true"})
    assert answer.text.lstrip().startswith('<section id="call"')
    assert f"/runs/{ACME_TRACE}-{2:016x}" in answer.text
    assert "/sessions/session-1" in answer.text
    assert "user-7" in answer.text


def test_an_agent_is_shown_with_what_is_below_it(console: TestClient) -> None:
    page = console.get(f"/traces/{ACME_TRACE}?span={2:016x}").text
    shown = text_of(page[page.index('id="call"') :])
    assert "nothing charged" in shown
    assert "With all below $0.007 in 2 calls" in shown
    assert "only this and what is below it" in shown


def test_a_part_of_a_trace_has_a_url_of_its_own(console: TestClient) -> None:
    page = console.get(f"/traces/{ACME_TRACE}?below={2:016x}").text
    assert f'data-span="{1:016x}"' not in page
    assert f'data-span="{CALL}"' in page
    assert "one level up" in page


def test_what_there_is_no_room_for_is_gathered_and_reached_by_a_link(console: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for three of four spans the planner's second call is left out: 0.0035 USD."""
    monkeypatch.setattr("otel_finops.surfaces.ui.pages.traces.NODES_SHOWN", 3)
    page = console.get(f"/traces/{ACME_TRACE}").text
    assert "1 more span not shown here $0.0035" in text_of(page)
    assert "The dearest 3 of 4 spans" in text_of(page)
    assert f"/traces/{ACME_TRACE}?below={2:016x}" in page
    first = text_of(console.get(f"/traces/{ACME_TRACE}?view=waterfall&skip=0").text)
    assert "Spans 1 to 3 in the order of the tree, 4 in all." in first
    assert "Spans after" in first
    last = text_of(console.get(f"/traces/{ACME_TRACE}?view=waterfall&skip=3").text)
    assert "Spans 4 to 4" in last
    assert "Spans before" in last
    assert "Spans after" not in last


def test_what_senders_write_is_text(console: TestClient) -> None:
    for view in ("tree", "icicle", "waterfall", "totals"):
        page = console.get(f"/traces/{SHARED_TRACE}?view={view}&span={6:016x}").text
        assert HOSTILE not in page
        assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in console.get(f"/traces/{SHARED_TRACE}?view=totals").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/traces/nonsense", 400),
        (f"/traces/{'9' * 32}", 404),
        (f"/traces/{ACME_TRACE}?span={'9' * 16}", 404),
        (f"/traces/{ACME_TRACE}?view=pie", 400),
        (f"/traces/{ACME_TRACE}?by=weight", 400),
        (f"/traces/{ACME_TRACE}?view=waterfall&skip=-1", 400),
        (f"/traces/{ACME_TRACE}?view=waterfall&skip=many", 400),
    ],
)
def test_what_is_not_there_is_said(console: TestClient, path: str, status: int) -> None:
    assert console.get(path).status_code == status


def test_another_tenants_trace_is_not_there(console_as: Callable[..., TestClient]) -> None:
    viewer = console_as("viewer", ("globex",))
    assert viewer.get(f"/traces/{ACME_TRACE}").status_code == 404
    assert ACME_TRACE not in viewer.get("/traces?range=12m").text
    assert f"{7:016x}" not in viewer.get(f"/traces/{SHARED_TRACE}").text


# --- rows of a tree --------------------------------------------------------------------------------------------------


def node(number: int, depth: int, own: str | None, subtree: str, name: str | None = None) -> dict[str, Any]:
    return {"span_id": f"{number:016x}", "depth": depth, "own_usd": own, "subtree_usd": subtree, "name": name or f"span {number}"}


TREE = {"nodes": [node(1, 0, None, "10"), node(2, 1, "3", "3"), node(3, 1, "0.5", "7"), node(4, 2, "6.5", "6.5")]}


def test_the_dearest_child_comes_first() -> None:
    rows = tree_rows(TREE, dearest_path(TREE["nodes"]))
    assert [(row.node["span_id"][-1], row.parent, row.closes, row.marked, row.chosen) for row in rows if row.node] == [
        ("1", True, 0, True, False), ("3", True, 0, True, False), ("4", False, 1, True, True), ("2", False, 1, False, False),
    ]  # fmt: skip


def test_bars_are_parts_of_the_whole() -> None:
    """64 pixels are 10 USD: 3 has 0.5 of its own, 3.2 pixels, and 6.5 below it, 41.6."""
    [three] = [row for row in tree_rows(TREE, []) if row.node and row.node["span_id"].endswith("3")]
    assert (three.own, three.rest) == (3.2, 41.6)


def test_the_path_ends_where_a_node_itself_costs_most() -> None:
    nodes = [node(1, 0, "6", "10"), node(2, 1, "4", "4")]
    assert dearest_path(nodes) == [0]
    assert path_to(nodes, f"{2:016x}") == [0, 1]
    assert path_to(nodes, f"{9:016x}") == []


def test_many_of_one_name_are_folded_behind_the_dearest() -> None:
    """Seven calls of one name for 1 to 7 USD: the one for 7 stands, six are folded for 21."""
    nodes = [node(100, 0, None, "28"), *(node(n, 1, str(n), str(n), "chat") for n in range(1, 8))]
    rows = tree_rows({"nodes": nodes}, [0, 7])
    assert [(row.node and row.node["subtree_usd"], row.nodes, row.usd) for row in rows[:3]] == [
        ("28", 0, "0"), ("7", 0, "0"), (None, 6, "21"),
    ]  # fmt: skip
    assert len(rows) == 9


def test_what_was_gathered_stands_behind_its_siblings() -> None:
    shown = {
        "nodes": [{**node(1, 0, None, "10"), "gathered": {"nodes": 5, "usd": "1"}}, node(2, 1, "9", "9")],
        "gathered": {"nodes": 2, "usd": "0"},
    }
    assert [(row.nodes, row.below, row.closes) for row in tree_rows(shown, [])] == [
        (0, None, 0),
        (0, None, 0),
        (5, f"{1:016x}", 1),
        (2, None, 0),
    ]


def test_a_chain_deeper_than_lists_can_be_nested_goes_on_at_the_last_level() -> None:
    """Of a hundred levels forty-one are told apart; the sixty at the last one have no list below them."""
    nodes = [node(n, n, None, "1") for n in range(100)]
    rows = tree_rows({"nodes": nodes}, [])
    assert [row.parent for row in rows] == [True] * 40 + [False] * 60
    assert sum(row.closes for row in rows) == rows[-1].closes == 40


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), st.sampled_from("ab")), max_size=40))
def test_every_node_stands_once_and_every_list_is_closed(drawn: list[tuple[int, int, str]]) -> None:
    nodes: list[dict[str, Any]] = []
    for number, (depth, cost, name) in enumerate(drawn):
        deepest = nodes[-1]["depth"] + 1 if nodes else 0
        nodes.append(node(number, min(depth, deepest), None, str(Decimal(cost)), name))
    rows = tree_rows({"nodes": nodes}, dearest_path(nodes))
    assert sorted(row.node["span_id"] for row in rows if row.node) == [one["span_id"] for one in nodes]
    assert sum(row.parent for row in rows) == sum(row.closes for row in rows)
    assert all(not row.name or row.parent for row in rows)
