"""The treemap, and what stands in tables and on cards."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from otel_finops.surfaces.ui.drawings import Group, Part, Tile, bars, colours, meter, sparkline, stacked, treemap
from otel_finops.surfaces.ui.drawings.small import POINTS_MAX
from otel_finops.surfaces.ui.drawings.svg import WHOLE
from otel_finops.surfaces.ui.drawings.treemap import layout

USD = 10**12
HEIGHT = 300
NASTY = "</title><script>alert(1)</script>"

groups = st.lists(
    st.lists(st.integers(-5, 10**15), max_size=12).map(lambda values: Group("group", [Tile("tile", value, None) for value in values])),
    max_size=8,
)


def titles(svg):
    return re.findall(r"<title>(.*?)</title>", svg)


def rects(svg, kind):
    found = re.findall(rf'<rect class="{kind}" x="([\d.]+)%" y="[\d.]+" width="([\d.]+)%"', svg)
    return [(float(left), float(width)) for left, width in found]


# --- the treemap -------------------------------------------------------------------------------------------------------


def test_groups_and_tiles_share_the_area_by_what_they_are_worth():
    """Three quarters of the width are openai's; the greatest comes first in either level."""
    found = layout([Group("google", [Tile("gemini", 1 * USD)]), Group("openai", [Tile("mini", 1 * USD), Tile("gpt-5", 2 * USD)])], HEIGHT)

    assert [(one.group.name, one.tile.name) for one in found] == [("openai", "gpt-5"), ("openai", "mini"), ("google", "gemini")]
    assert [one.first for one in found] == [True, False, True]
    assert (found[2].left, found[2].right, found[2].top, found[2].bottom) == (7_500, WHOLE, 0, 10 * HEIGHT)


@given(groups)
def test_tiles_do_not_overlap_and_fill_the_area(given_groups):
    found = layout(given_groups, HEIGHT)
    area = 0
    for at, one in enumerate(found):
        assert 0 <= one.left <= one.right <= WHOLE
        assert 0 <= one.top <= one.bottom <= 10 * HEIGHT
        area += (one.right - one.left) * (one.bottom - one.top)
        for other in found[:at]:
            apart = one.right <= other.left or other.right <= one.left or one.bottom <= other.top or other.bottom <= one.top
            flat = one.left == one.right or one.top == one.bottom or other.left == other.right or other.top == other.bottom
            assert apart or flat
    assert area == (WHOLE * 10 * HEIGHT if found else 0)


@given(groups)
def test_areas_are_as_the_amounts_to_the_rounding_of_their_edges(given_groups):
    found = layout(given_groups, HEIGHT)
    total = sum(one.tile.value for one in found)
    for one in found:
        width, height = one.right - one.left, one.bottom - one.top
        assert abs(width * height - one.tile.value / total * WHOLE * 10 * HEIGHT) <= width + height + 2


def test_what_is_too_many_is_gathered():
    many = [Tile(f"model {at}", 1_000 - at) for at in range(60)]
    found = layout([Group("openai", many)], HEIGHT)

    assert len(found) == 50
    # 1,000 - 49 to 1,000 - 59, eleven of them: 11 * 946
    assert [one.tile for one in found if one.tile.name == "11 smaller"] == [Tile("11 smaller", 10_406)]
    assert "6 smaller" in {one.tile.name for one in layout([Group(str(at), [Tile("x", 9)]) for at in range(25)], HEIGHT)}


def test_tiles_say_what_they_are():
    svg = treemap([Group("openai", [Tile("gpt-5", 3 * USD, "?model=gpt-5"), Tile(NASTY, 1 * USD)], "c2")], "Spend")

    assert titles(svg)[0] == "openai · gpt-5 · $3.00 (75.0%)"
    assert '<a class="c2" href="?model=gpt-5">' in svg
    assert "<script" not in svg
    assert "Spend: $0.00" in treemap([], "Spend")


# --- curves --------------------------------------------------------------------------------------------------------------


def test_a_curve_goes_from_left_to_right_and_up_with_its_values():
    """120 by 28 pixels with a margin of 3: 57 pixels a step, 22 for the greatest."""
    svg = sparkline([0, 11, 22], "Spend of three days")

    assert '<polyline points="3,25 60,14 117,3"/>' in svg
    assert 'role="img" aria-label="Spend of three days"' in svg


def test_curves_of_little_and_of_losses():
    assert "polyline" not in sparkline([], "none")
    assert '<polyline points="3,25 117,25"/>' in sparkline([0, 0], "nothing")
    assert '<polyline points="3,3 117,25"/>' in sparkline([5, -5], "loss")
    assert sparkline(range(10_000), "long").count(",") <= 2 * POINTS_MAX + 10


@given(st.lists(st.integers(-(10**18), 10**18), max_size=400))
def test_no_curve_leaves_its_box(values):
    for x, y in re.findall(r"([-\d.]+),([-\d.]+)", sparkline(values, "x")):
        assert 3 <= float(x) <= 117
        assert 3 <= float(y) <= 25


# --- bars ------------------------------------------------------------------------------------------------------------------


def test_the_longest_bar_is_as_wide_as_the_drawing_and_shares_are_of_all():
    svg = bars([Part("openai", 3 * USD), Part(NASTY, 1 * USD, "c1", "?x=1"), Part("none", 0)], "Top")

    assert rects(svg, "bar") == [(0, 100), (0, 33.33)]
    assert titles(svg)[0] == "openai · $3.00 (75.0%)"
    assert "<script" not in svg
    assert "30.0%" in bars([Part("openai", 3 * USD)], "Top", whole=10 * USD)


def test_a_stacked_bar_is_cut_by_the_parts():
    svg = stacked([Part("a", 3), Part("b", 1, "c1"), Part("c", -4, "c2")], "Parts", tell=str)

    assert re.findall(r'<g class="c\d"><title>(.*?)</title><rect x="(.*?)" y="0" width="(.*?)"', svg) == [
        ("a · 3 (75.0%)", "0%", "75%"),
        ("b · 1 (25.0%)", "75%", "25%"),
    ]


@given(st.lists(st.integers(0, 10**18), min_size=1, max_size=50))
def test_parts_follow_each_other_without_gap_or_overlap(values):
    svg = stacked([Part("x", value) for value in values], "Parts")
    found = re.findall(r'</title><rect x="([\d.]+)%" y="0" width="([\d.]+)%"', svg)

    edge = 0.0
    for left, width in found:
        assert abs(float(left) - edge) < 0.001
        edge = float(left) + float(width)
    assert not found or abs(edge - 100) < 0.001


# --- budgets -------------------------------------------------------------------------------------------------------------


def test_a_budget_shows_what_is_booked_pending_and_reserved():
    svg = meter(40 * USD, 5 * USD, 3 * USD, 100 * USD, "Team A", marks=(80,))

    assert 'aria-label="Team A: $48.00 of $100.00 (48.0%)"' in svg
    assert rects(svg, "spent") == [(0, 40)]
    assert rects(svg, "pending") == [(40, 3)]
    assert rects(svg, "reserved") == [(43, 5)]
    assert titles(svg) == ["spent $40.00 (40.0%)", "pending $3.00 (3.0%)", "reserved $5.00 (5.0%)", "80 %"]
    assert 'class="good"' in svg


def test_a_budget_that_is_passed_shows_where_its_limit_was():
    svg = meter(200 * USD, 0, 0, 100 * USD, "Team A", state="exceeded")

    assert rects(svg, "spent") == [(0, 100)]
    assert '<g class="limit"><title>limit $100.00</title><rect x="50%"' in svg
    assert 'class="danger"' in svg


def test_a_budget_of_nothing_is_drawn_too():
    assert rects(meter(0, 0, 0, 0, "Frozen"), "spent") == []
    assert rects(meter(USD, 0, 0, 0, "Frozen", state="exceeded"), "spent") == [(0, 100)]


# --- colours ---------------------------------------------------------------------------------------------------------------


def test_the_first_ten_names_have_colours_and_keep_them():
    given_out = colours([*"abca", *map(str, range(10))])

    assert [given_out[name] for name in "abc"] == ["c0", "c1", "c2"]
    assert given_out["6"] == "c9"
    assert given_out["7"] == "muted"
