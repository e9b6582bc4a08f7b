"""Sharing costs: who bears what by each method, worked out by hand, and that nothing is lost whatever the rules are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.insight.allocation import (
    CELL_KEYS,
    UNALLOCATED,
    WHOLE,
    Allocation,
    Cell,
    Extra,
    Sharing,
    allocate,
    divided,
)

PERCENT = WHOLE // 100


def cell(center: str, cost: int, *, tenant: str = "acme", model: str = "", tokens: int = 0, calls: int = 1) -> Cell:
    known = {"tenant": tenant, "cost_center": center, "model": model}
    return Cell(tuple(known.get(name, "") for name in CELL_KEYS), cost, calls, tokens)


def no_tags(rule: Sharing, cells: Sequence[Cell]) -> Mapping[tuple[str, ...], Mapping[str, int]]:
    raise AssertionError(rule)


def rule(no: int = 1, **known: Any) -> Sharing:
    """By default it shares what the platform's calls cost."""
    said = {"tenant": None, "source": {"cost_center": "platform"}, "method": "proportional", **known}
    return Sharing(no, f"rule {no}", **said)


def totals(made: Allocation) -> dict[str, int]:
    """What each bears, by code; with a tenant's own as tenant/code."""
    return {"/".join(part for part in entity if part): line.total for entity, line in made.lines.items() if line.total}


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        (10, [1, 1, 1], [4, 3, 3]),  # 3.33 each: of three equal remainders the first gets the one that is left
        (10, [2, 1], [7, 3]),  # 6.67 and 3.33: the first remainder is greater
        (-10, [2, 1], [-7, -3]),
        (5, [0, 0], [3, 2]),  # nobody weighs anything: evenly
        (7, [], []),
    ],
)
def test_an_amount_is_cut_by_largest_remainder(amount: int, weights: list[int], parts: list[int]) -> None:
    assert divided(amount, weights) == parts


def test_without_rules_everybody_bears_his_own() -> None:
    made = allocate([cell("a", 5), cell("b", 7), cell("", 2), cell("a", 1, tenant="globex")], [], set(), no_tags)
    assert totals(made) == {"a": 6, "b": 7, "": 2}


def test_a_tenants_own_cost_centre_goes_before_the_one_of_all() -> None:
    made = allocate([cell("a", 5), cell("a", 1, tenant="globex")], [], {("acme", "a")}, no_tags)
    assert totals(made) == {"acme/a": 5, "a": 1}


def test_proportional_goes_by_what_is_nobodys_shared_cost() -> None:
    """a has 30 of its own and b 10; the platform's 100 go 75:25. By tokens it is 1:3, by calls 2:1."""
    cells = [cell("a", 30, tokens=100, calls=2), cell("b", 10, tokens=300, calls=1), cell("platform", 100, tokens=999)]
    assert totals(allocate(cells, [rule()], set(), no_tags)) == {"a": 105, "b": 35}
    assert totals(allocate(cells, [rule(weight="tokens")], set(), no_tags)) == {"a": 55, "b": 85}
    assert totals(allocate(cells, [rule(weight="calls")], set(), no_tags)) == {"a": 97, "b": 43}  # 66.67 and 33.33


def test_proportional_without_anybody_stays_where_it_is() -> None:
    made = allocate([cell("platform", 100), cell("", 5)], [rule()], set(), no_tags)
    assert totals(made) == {"platform": 100, "": 5}
    assert (made.outcomes[0].pool, made.outcomes[0].rest) == (100, 100)


def test_fixed_shares_leave_their_rest_with_each_who_gives() -> None:
    """100 of the platform and 10 of nobody: 60 % to a, 30 % to b; a tenth stays with each."""
    rules = [rule(source={"tenant": "acme"}, method="fixed", shares={"a": 60 * PERCENT, "b": 30 * PERCENT})]
    made = allocate([cell("platform", 100), cell("", 10)], rules, set(), no_tags)
    assert totals(made) == {"a": 66, "b": 33, "platform": 10, "": 1}


def test_a_call_is_taken_by_the_first_rule_and_nothing_is_shared_twice() -> None:
    """Rule 1 moves the platform's cost to ops; rule 2 moves the cost of ops, its own 5 and not the 100 that it received."""
    rules = [
        rule(1, method="even", targets=("ops",)),
        rule(2, source={"cost_center": "ops"}, method="even", targets=("a",)),
        rule(3, source={"model": "m"}, method="even", targets=("b",)),
    ]
    made = allocate([cell("platform", 100, model="m"), cell("ops", 5), cell("c", 3, model="m")], rules, set(), no_tags)
    assert totals(made) == {"ops": 100, "a": 5, "b": 3}


def test_the_first_rule_takes_a_call_whatever_it_asks_for() -> None:
    """Globex's own rule takes its 10, that of the model takes 20 and 40, the third comes too late, the fourth takes 30; 50 stay."""
    platform = {"cost_center": "platform"}
    rules = [
        rule(1, tenant="globex", method="even", targets=("a",)),
        rule(2, source={"model": "m"}, method="even", targets=("b",)),
        rule(3, source={**platform, "model": "m"}, method="even", targets=("c",)),
        rule(4, source={**platform, "tenant": "acme"}, method="even", targets=("d",)),
        rule(5, source={**platform, "tenant": "acme"}, method="even", targets=("e",)),
        rule(6, tenant="globex", source={**platform, "tenant": "initech"}, method="even", targets=("e",)),
    ]
    cells = [
        cell("platform", 10, tenant="globex", model="m"), cell("platform", 20, model="m"), cell("platform", 30),
        cell("x", 40, tenant="globex", model="m"), cell("platform", 50, tenant="initech"),
    ]  # fmt: skip
    made = allocate(cells, rules, set(), no_tags)
    assert totals(made) == {"a": 10, "b": 60, "d": 30, "platform": 50}
    assert [one.claimed for one in made.outcomes] == [1, 2, 0, 1, 0, 0]


def test_a_tag_leads_to_its_cost_centre_and_the_rest_stays() -> None:
    """The platform's 100 by tag: 50 to a, 25 to the team that stands for b, 15 to one that nobody knows, 10 without."""
    platform = cell("platform", 100)
    costs = {platform.key: {"a": 50, "team b": 25, "x": 15, "": 10}}
    by_tag = rule(method="tag", tag="team", targets=("a", "b"), values={"team b": "b"})
    assert totals(allocate([platform], [by_tag], set(), lambda _, __: costs)) == {"a": 50, "b": 25, "platform": 25}


def test_amounts_fall_to_their_targets_and_what_nobody_bears_is_not_allocated() -> None:
    fee = rule(1, source=None, method="fixed", shares={"a": 60 * PERCENT}, amounts=(100, 10))
    coupon = rule(2, source=None, method="even", targets=("a", "b"), amounts=(-7,))
    made = allocate([cell("b", 5)], [fee, coupon], set(), no_tags)
    assert {entity: (line.fees, line.credits) for entity, line in made.lines.items()} == {
        ("", "a"): (66, -4), ("", "b"): (0, -3), UNALLOCATED: (44, 0),
    }  # fmt: skip


def test_extras_go_by_their_weights() -> None:
    extras = [Extra("fee", 10, {("", "a"): 2, ("", "b"): 1}), Extra("credits", -5, {}), Extra("nothing", 3, {("", "a"): 0})]
    made = allocate([], [], set(), no_tags, extras)
    assert totals(made) == {"a": 7, "b": 3, "": -2}


CODES = st.sampled_from(["a", "b", "platform", "shared", ""])
CELLS = st.lists(
    st.builds(
        cell,
        CODES,
        st.integers(-(10**15), 10**18),
        tenant=st.sampled_from(["acme", "globex"]),
        model=st.sampled_from(["m", "n"]),
        tokens=st.integers(0, 10**9),
        calls=st.integers(0, 10**6),
    ),
    max_size=8,
    unique_by=lambda one: one.key,
)
SHARES = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 33 * PERCENT + PERCENT // 3), min_size=1)
SOURCES = st.sampled_from([{"cost_center": "platform"}, {"cost_center": ""}, {"model": "m"}, {"tenant": "acme", "model": "n"}])
TARGETS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(tuple)
RULES = st.lists(
    st.one_of(
        st.fixed_dictionaries({"source": SOURCES, "method": st.just("even"), "targets": TARGETS}),
        st.fixed_dictionaries({"source": SOURCES, "weight": st.sampled_from(["cost", "tokens", "calls"])}),
        st.fixed_dictionaries({"source": SOURCES, "method": st.just("fixed"), "shares": SHARES}),
        st.fixed_dictionaries({"source": SOURCES, "method": st.just("tag"), "tag": st.just("t"), "targets": TARGETS}),
        st.fixed_dictionaries({"source": st.none(), "amounts": st.lists(st.integers(-(10**15), 10**15), max_size=3).map(tuple)}),
        st.fixed_dictionaries({"source": SOURCES, "tenant": st.sampled_from(["acme", "globex"]), "targets": TARGETS}),
    ),
    max_size=5,
)
TAGGED = st.dictionaries(st.sampled_from(["a", "b", "x", ""]), st.integers(-(10**6), 10**15))


@given(CELLS, RULES, TAGGED, st.sets(st.sampled_from([("acme", "a"), ("globex", "b")])))
def test_nothing_is_lost_and_nothing_comes_from_nowhere(
    cells: list[Cell], said: list[dict[str, Any]], tagged: dict[str, int], own: set[tuple[str, str]]
) -> None:
    """Direct costs are the cells', what is given is received, and the totals are the cells with all amounts, whatever the rules are."""
    rules = [rule(no, **known) for no, known in enumerate(said)]
    made = allocate(cells, rules, own, lambda _, claimed: {one.key: tagged for one in claimed})
    lines = made.lines.values()
    direct, amounts = sum(one.cost_pico for one in cells), sum(sum(one.amounts) for one in rules)
    assert sum(line.direct for line in lines) == direct
    assert sum(line.given for line in lines) == sum(line.received for line in lines)
    assert sum(line.fees + line.credits for line in lines) == amounts
    assert sum(line.total for line in lines) == direct + amounts
    assert sum(one.claimed for one in made.outcomes) <= len(cells)
    for one in made.outcomes:
        assert one.pool == one.rest + sum(part for _, part in one.parts)
