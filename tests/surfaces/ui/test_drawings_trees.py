"""The icicle, the waterfall, and how they are fed from what `traces.show` answers."""

from __future__ import annotations

import re
from itertools import pairwise
from time import process_time
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.genai.sighting import AGENT, TOOL
from otel_finops.surfaces.ui.drawings import (
    KINDS,
    Row,
    Slice,
    Window,
    below,
    cost_slices,
    depths,
    icicle,
    time_slices,
    waterfall,
    waterfall_rows,
    window_of,
)
from otel_finops.surfaces.ui.drawings.icicle import MARKS_MAX, layout
from otel_finops.surfaces.ui.drawings.svg import WHOLE
from otel_finops.surfaces.ui.drawings.waterfall import span_of, ticks
from otel_finops.surfaces.ui.formats import duration_ns

USD = 10**12
S = 10**9
NASTY = "</title><script>alert(1)</script>\" onload='x' &amp;"

trees = st.lists(st.builds(Slice, st.integers(0, 6), st.just("n"), st.integers(-5, 10**6), st.integers(-5, 10**7)), max_size=60)


def node(span_id, parent, kind="call", own=None, subtree="0", start="2026-11-22T10:00:00.000000000Z", ms=1000.0, **more):
    given = {"name": f"span {span_id}", "agent": None, "step": None, "notes": []}
    times = {"started_at": start, "duration_ms": ms}
    return {"span_id": span_id, "parent_span_id": parent, "kind": kind, "own_usd": own, "subtree_usd": subtree, **given, **times, **more}


def titles(svg):
    return re.findall(r"<title>(.*?)</title>", svg)


# --- the icicle ------------------------------------------------------------------------------------------------------


def test_children_stand_below_their_parent_as_wide_as_their_part():
    slices = [Slice(0, "root", 0, 0), Slice(1, "plan", 3 * USD, 0), Slice(1, "chat", 1 * USD, 0)]

    root, plan, chat = layout(slices)

    assert (root.level, root.left, root.right) == (0, 0, WHOLE)
    assert (plan.level, plan.left, plan.right) == (1, 0, 7_500)
    assert (chat.level, chat.left, chat.right) == (1, 7_500, WHOLE)


def test_titles_say_amount_share_own_amount_and_note():
    slices = [Slice(0, "root", 1 * USD, 0), Slice(1, "chat", 3 * USD, 0, "c1", "?span=ab", "planner · step 1")]

    svg = icicle(slices, "Cost of the trace")

    assert titles(svg) == ["root · $4.00 (100.0%) · itself $1.00", "chat · $3.00 (75.0%) · planner · step 1"]
    assert '<a class="c1" href="?span=ab">' in svg
    assert 'role="group" aria-label="Cost of the trace: $4.00"' in svg


def test_what_is_too_narrow_is_gathered_behind_the_rest():
    """Three calls of a thousandth each among two of nearly a half: 10 of 10,000 places are less than 20."""
    small = [Slice(1, "small", USD, 0), Slice(2, "within", 0, 0)]
    slices = [Slice(0, "root", 0, 0), *small, Slice(1, "a", 498 * USD, 0), *small, Slice(1, "b", 499 * USD, 0), *small]

    placed = layout(slices)

    assert [(one.at, one.left, one.right, one.gathered) for one in placed[1:]] == [
        (3, 0, 4_980, 0),
        (6, 4_980, 9_970, 0),
        (0, 9_970, WHOLE, 6),
    ]
    assert "6 smaller · $3.00 (0.3%)" in titles(icicle(slices, "Cost"))
    assert "3 of 9 spans are wide enough to be drawn" in icicle(slices, "Cost")


def test_what_lies_too_deep_is_one_mark_that_says_how_much():
    slices = [Slice(depth, "step", USD, 0) for depth in range(5)]

    svg = icicle(slices, "Cost", levels=2)

    assert titles(svg)[-1] == "3 deeper · $3.00 (60.0%)"


def test_a_subtree_with_left_out_nodes_keeps_its_width():
    root, child = layout([Slice(0, "root", 0, 10 * USD), Slice(1, "chat", 2 * USD, 0)])

    assert (child.left, child.right) == (0, 2_000)
    assert root.size == 10 * USD


def test_nothing_to_draw_says_so():
    assert "Cost: $0.00" in icicle([], "Cost")
    assert "<rect" not in icicle([Slice(0, "free", 0, 0)], "Cost")


@given(trees)
def test_children_lie_within_their_parent_and_siblings_do_not_overlap(slices):
    placed = layout(slices, levels=5)
    where = {one.at: one for one in placed if not one.gathered}
    rows: dict[int, list[tuple[int, int]]] = {}
    for one in placed:
        assert 0 <= one.left <= one.right <= WHOLE
        assert one.size > 0
        rows.setdefault(one.level, []).append((one.left, one.right))
        parent = one.at if one.gathered else _parent(slices, one.at)
        if parent >= 0:
            assert where[parent].level == one.level - 1
            assert where[parent].left <= one.left
            assert one.right <= where[parent].right
    for row in rows.values():
        row.sort()
        assert all(before[1] <= after[0] for before, after in pairwise(row))


@given(trees)
def test_widths_are_as_the_amounts_to_the_rounding_of_each_level(slices):
    placed = [one for one in layout(slices) if not one.gathered]
    total = sum(one.size for one in placed if one.level == 0) + sum(one.size for one in layout(slices) if one.level == 0 and one.gathered)
    for one in placed:
        share = one.size * WHOLE / total
        assert abs(one.right - one.left - share) <= (one.level + 1) * 2 * max(1.0, share / 20)


def _parent(slices, at):
    return next((before for before in range(at - 1, -1, -1) if slices[before].depth < slices[at].depth), -1)


def test_a_chain_of_a_hundred_thousand_is_drawn_to_its_last_level():
    chain = [Slice(depth, "deep", 1000, 0) for depth in range(100_000)]

    assert "99,960 deeper" in icicle(chain, "Cost")


def test_five_thousand_nodes_stay_small_and_a_larger_tree_is_bounded():
    """Twenty-five nodes below each other, two hundred times: 40 steps of 25, and 20,000 roots that are all too narrow."""
    bushy = [
        Slice(at % 25, f"chat model number {at}", USD + at, 0, "c1", f"?span={at:016x}#calls", "researcher · step 3") for at in range(5_000)
    ]
    began = process_time()
    svg = icicle(bushy, "Cost")

    assert process_time() - began < 1  # 40 ms on a quiet core
    assert len(svg) < 1_500_000
    assert len(layout([Slice(at % 200, "n", USD, 0) for at in range(100_000)], levels=10_000, narrowest=1)) <= MARKS_MAX
    assert "20,000 smaller" in icicle([Slice(0, "n", USD, 0)] * 20_000, "Cost")


# --- texts and links ---------------------------------------------------------------------------------------------------


def test_texts_of_senders_stay_texts():
    for svg in (
        icicle([Slice(0, NASTY, USD, 0, note=NASTY)], NASTY),
        waterfall([Row(0, NASTY, 0, S, USD, note=NASTY)], NASTY),
    ):
        root = ElementTree.fromstring(svg)  # it is well formed
        assert {element.tag for element in root.iter()} <= {"svg", "g", "title", "rect", "text", "line"}
        assert not {name for element in root.iter() for name in element.attrib if name.startswith("on") or name == "style"}


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=100))
def test_whatever_a_name_is_the_drawing_is_well_formed(name):
    text = ElementTree.fromstring(icicle([Slice(0, name, USD, 0)], "Cost")).findtext(".//title")

    assert text is not None
    assert text.startswith(name if len(name) <= 80 else f"{name[:79]}…")


def test_marks_lead_nowhere_else():
    for href in ("javascript:alert(1)", "https://example.com", "//example.com", "/\\example.com", ""):
        with pytest.raises(ValueError, match="pages of the console"):
            icicle([Slice(0, "n", USD, 0, href=href)], "Cost")
    with pytest.raises(ValueError, match="no colour"):
        icicle([Slice(0, "n", USD, 0, colour='c0" onload="x')], "Cost")


# --- the waterfall -----------------------------------------------------------------------------------------------------


def test_bars_stand_where_their_time_lies():
    """Bars have the places from 3,200 to 8,100; the second half of the time begins at 5,650."""
    first, second = Row(0, "agent", 0, 10 * S, None), Row(1, "chat", 5 * S, 5 * S, USD)
    window = window_of([first, second])

    assert window == Window(0, 10 * S)
    assert span_of(first, window) == (3_200, 8_100)
    assert span_of(second, window) == (5_650, 8_100)


def test_a_row_says_its_name_its_length_and_its_cost():
    svg = waterfall([Row(0, "agent", 0, 10 * S, None), Row(1, "chat", 5 * S, 1_500_000_000, 37_500_000, "c1", "/x", "step 1")], "Course")

    assert titles(svg) == ["agent · 10 s", "chat · 1.5 s · $0.0000375 · step 1"]
    assert 'aria-label="Course: 2 spans in 10 s"' in svg


@given(st.lists(st.tuples(st.integers(0, 10**12), st.one_of(st.none(), st.integers(-(10**9), 10**12))), min_size=1, max_size=20))
def test_no_bar_leaves_the_axis_and_none_is_too_thin_to_see(times):
    rows = [Row(0, "n", start, duration, None) for start, duration in times]
    for window in (window_of(rows), Window(5 * 10**11, 6 * 10**11)):
        for row in rows:
            left, right = span_of(row, window)
            assert 3_200 <= left < right <= 8_100
            assert right - left >= 15


def test_ticks_are_few_and_round():
    assert ticks(10 * S) == [0, 2 * S, 4 * S, 6 * S, 8 * S, 10 * S]
    assert ticks(90 * S) == [at * 15 * S for at in range(7)]
    assert ticks(1) == [0, 1]
    assert [tick // (3600 * S) for tick in ticks(30 * 3600 * S)] == [0, 6, 12, 18, 24, 30]


@given(st.integers(1, 10**19))
def test_any_length_of_time_has_ticks(length):
    found = ticks(length)

    assert 1 <= len(found) <= 7
    assert found[-1] <= length


def test_deep_rows_keep_their_names_on_the_page():
    svg = waterfall([Row(90_000, "deep", 0, S, None)], "Course")

    assert 'x="148"' in svg  # 4 and twelve times 12 pixels
    assert ">90000 </tspan>deep<" in svg


# --- from the operation's answer ---------------------------------------------------------------------------------------


def test_depths_come_from_the_parents_and_lost_parents_make_roots():
    nodes = [node("a", None), node("b", "a"), node("c", "b"), node("d", "a"), node("e", "lost"), node("f", "e"), node("g", None)]

    assert depths(nodes) == [0, 1, 2, 1, 0, 1, 0]
    assert list(below(depths(nodes), 1)) == [1, 2]
    assert list(below(depths(nodes), 4)) == [4, 5]


def test_an_id_that_two_senders_use_is_the_nearer_one():
    nodes = [node("a", None), node("b", "a"), node("a", "b"), node("c", "a")]

    assert depths(nodes) == [0, 1, 2, 3]


def test_nodes_become_slices_by_cost():
    nodes = [
        node("a", None, AGENT, None, "0.0000375", agent="planner", step="plan", notes=["Counted: by itself."]),
        node("b", "a", own="0.0000375", subtree="0.0000375", name=None),
    ]

    assert cost_slices(nodes, lambda span: f"?span={span}") == [
        Slice(0, "span a", 0, 37_500_000, KINDS["agent"], "?span=a", "planner · plan · Counted: by itself."),
        Slice(1, "span b", 37_500_000, 37_500_000, KINDS["call"], "?span=b", ""),
    ]


def test_nodes_become_slices_by_time_without_counting_any_twice():
    """The agent works 10 s; its calls run from 1 s to 5 s and from 3 s to 7 s, so for 4 s it works itself."""
    at = "2026-11-22T10:00:{:02}.000000000Z".format
    nodes = [
        node("a", None, AGENT, start=at(0), ms=10_000.0),
        node("b", "a", start=at(1), ms=4_000.0),
        node("c", "a", TOOL, start=at(3), ms=4_000.0),
    ]

    assert [one.own for one in time_slices(nodes)] == [4 * S, 4 * S, 4 * S]
    assert "12 s" in icicle(time_slices(nodes), "Time", tell=duration_ns)


def test_a_child_outside_its_parent_takes_no_time_from_it():
    at = "2026-11-22T10:00:{:02}.000000000Z".format
    nodes = [node("a", None, start=at(10), ms=2_000.0), node("b", "a", start=at(1), ms=3_000.0), node("c", "a", start=at(11), ms=None)]

    assert [one.own for one in time_slices(nodes)] == [2 * S, 3 * S, 0]


def test_nodes_become_rows():
    nodes = [node("a", None, AGENT, ms=None), node("b", "a", own="0.5", start="2026-11-22T10:00:01.000000007Z", ms=1.5)]
    start = 1_795_341_600 * S  # 20779 days and ten hours after 1970

    assert waterfall_rows(nodes) == [
        Row(0, "span a", start, None, None, KINDS["agent"], None, ""),
        Row(1, "span b", start + S + 7, 1_500_000, USD // 2, KINDS["call"], None, ""),
    ]
