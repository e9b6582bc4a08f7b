"""Scopes: which calls they are for, which of them contains which, what can be none, and how a call finds them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.errors import BadInput
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.scopes import Scope, ScopeIndex, most_at_once

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALL = GovernedCall(
    tenant="acme",
    provider="openai",
    model="GPT-4o-mini",
    user="ref-ann",
    session="ref-chat",
    agent="planner",
    purpose="support",
    cost_center="cc-7",
    service="shop",
    environment="prod",
    trace=TRACE,
    tags={"team": "search"},
)


@pytest.mark.parametrize(
    ("scope", "matches"),
    [
        ({}, True),  # every call
        ({"tenant": "acme"}, True),
        ({"tenant": "globex"}, False),
        ({"user": "ref-ann"}, True),
        ({"user": "ref-bob"}, False),
        ({"cost_center": "cc-7"}, True),
        ({"provider": "OpenAI"}, True),
        ({"provider": "anthropic"}, False),
        ({"model": "gpt-4o-mini"}, True),
        ({"model": "gpt-4o"}, False),  # another model: nothing is meant by likeness
        ({"model": "GPT-4*"}, True),
        ({"model": "gpt-4?-mini"}, False),  # only * means anything
        ({"model": "*"}, True),
        ({"agent": "planner"}, True),
        ({"agent": "Planner"}, False),
        ({"purpose": "support"}, True),
        ({"service": "shop"}, True),
        ({"environment": "prod"}, True),
        ({"environment": "test"}, False),
        ({"session": "ref-chat"}, True),
        ({"trace": TRACE.upper()}, True),
        ({"tag:team": "search"}, True),
        ({"tag:team": "ads"}, False),
        ({"tag:region": "eu"}, False),  # the call has no such tag
        ({"tenant": "acme", "model": "gpt-*", "tag:team": "search"}, True),
        ({"tenant": "acme", "model": "gpt-*", "tag:team": "ads"}, False),  # all of them must agree
    ],
)
def test_a_scope_is_for_the_calls_that_agree_in_every_dimension(scope: dict[str, str], matches: bool) -> None:
    assert Scope.of(scope).matches(CALL) is matches
    assert list(ScopeIndex([(Scope.of(scope), "it")]).of(CALL)) == (["it"] if matches else [])


@pytest.mark.parametrize("dimension", ["user", "provider", "model", "agent", "purpose", "service", "environment", "session", "tag:team"])
def test_what_a_call_says_nothing_of_does_not_agree(dimension: str) -> None:
    assert not Scope.of({dimension: "*" if dimension == "model" else "any"}).matches(GovernedCall())


def test_a_user_has_a_reference_in_every_realm() -> None:
    scope = Scope((("user", "ref-a ref-b"),))
    assert [scope.matches(GovernedCall(user=ref)) for ref in ("ref-a", "ref-b", "ref-c", "ref-a ref-b")] == [True, True, False, False]
    index = ScopeIndex([(scope, "hers")])
    assert list(index.of(GovernedCall(user="ref-b"))) == ["hers"]
    assert list(index.of(GovernedCall(user="ref-c"))) == []


@pytest.mark.parametrize(
    ("outer", "inner", "contains"),
    [
        ({}, {}, True),
        ({}, {"tenant": "acme"}, True),
        ({"tenant": "acme"}, {}, False),
        ({"tenant": "acme"}, {"tenant": "acme", "agent": "planner"}, True),
        ({"tenant": "acme"}, {"tenant": "globex", "agent": "planner"}, False),
        ({"tenant": "acme", "agent": "planner"}, {"tenant": "acme"}, False),
        ({"model": "gpt-*"}, {"model": "gpt-4o"}, True),
        ({"model": "gpt-*"}, {"model": "gpt-4*"}, True),
        ({"model": "gpt-4*"}, {"model": "gpt-*"}, False),
        ({"model": "gpt-*"}, {"model": "*"}, False),
        ({"model": "*"}, {"model": "*"}, True),
        ({"model": "*"}, {}, False),  # a call without a model is in the inner one alone
        ({"provider": "openai"}, {"provider": "OpenAI"}, True),
    ],
)
def test_a_scope_contains_another(outer: dict[str, str], inner: dict[str, str], contains: bool) -> None:
    assert Scope.of(outer).contains(Scope.of(inner)) is contains


def test_a_scope_with_all_of_a_users_references_contains_one_with_some() -> None:
    both, one = Scope((("user", "ref-a ref-b"),)), Scope((("user", "ref-b"),))
    assert both.contains(one)
    assert both.contains(both)
    assert not one.contains(both)


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ({"planet": "mars"}, r"^scope\.planet: there is no such dimension; take one of tenant, user, .*tag:KEY"),
        ({"tag:": "x"}, r"^scope\.tag:: there is no such dimension"),
        ({"at_ns": "1"}, r"^scope\.at_ns: there is no such dimension"),  # what a call has beside dimensions is none
        ({"tags": "x"}, r"^scope\.tags: there is no such dimension"),
        ({"model": "  "}, r"^scope\.model: 1 to \d+ characters; leave the dimension out for anything"),
        ({"agent": "a" * 2_000}, r"^scope\.agent: 1 to"),
        ({"trace": "xyz"}, r"^scope\.trace: 32 hexadecimal digits"),
        ({f"tag:{n}": "x" for n in range(17)}, r"^scope: at most 16 dimensions"),
    ],
)
def test_what_is_no_scope_is_refused_with_its_place(scope: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Scope.of(scope)


def test_scopes_have_one_form() -> None:
    assert Scope.of({"model": " GPT-4o ", "tenant": "acme"}) == Scope.of({"tenant": "acme", "model": "gpt-4o"})
    assert Scope.of({"tenant": "acme"}).tenant == "acme"
    assert Scope.of({"agent": "acme"}).tenant is None


def _some(values: str) -> Any:
    return st.one_of(st.none(), st.sampled_from(list(values)))


CALLS = st.builds(
    GovernedCall, tenant=st.sampled_from("ab"), provider=_some("ab"), model=st.one_of(st.none(), st.sampled_from(["a", "ab", "B", "b*"])),
    agent=_some("ab"), user=_some("ab"), tags=st.dictionaries(st.sampled_from("ab"), st.sampled_from("ab")),
)  # fmt: skip
VALUES = {
    "tenant": ["a", "b"], "provider": ["a", "b"], "model": ["a", "ab", "a*", "*", "*b*"], "agent": ["a", "b"], "user": ["a", "b", "a b"],
    "tag:a": ["a", "b"], "tag:b": ["a", "b"],
}  # fmt: skip
SCOPES = st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=3).flatmap(
    lambda names: st.tuples(*(st.sampled_from(VALUES[name]) for name in names)).map(
        lambda values: Scope(tuple(sorted(zip(names, values, strict=True))))
    )
)


@given(st.lists(SCOPES, max_size=8), CALLS)
def test_a_call_finds_by_look_ups_what_matches_it(scopes: list[Scope], call: GovernedCall) -> None:
    found = list(ScopeIndex((scope, number) for number, scope in enumerate(scopes)).of(call))
    assert sorted(found) == [number for number, scope in enumerate(scopes) if scope.matches(call)]


@given(st.lists(SCOPES, max_size=6), st.lists(SCOPES, max_size=6), st.sets(st.integers(0, 5)), CALLS)
def test_an_index_of_changed_things_is_as_one_made_anew(before: list[Scope], come: list[Scope], gone: set[int], call: GovernedCall) -> None:
    things = [(scope, number) for number, scope in enumerate(before)]
    new = [(scope, 100 + number) for number, scope in enumerate(come)]
    index = ScopeIndex(things)
    changed = index.replaced([one for one in things if one[1] in gone], new)
    assert sorted(changed.of(call)) == sorted(ScopeIndex([one for one in things if one[1] not in gone] + new).of(call))
    assert sorted(index.of(call)) == sorted(ScopeIndex(things).of(call))  # the former one is as it was


@given(SCOPES, SCOPES, CALLS)
def test_what_is_contained_has_no_call_that_the_other_has_not(outer: Scope, inner: Scope, call: GovernedCall) -> None:
    if outer.contains(inner) and inner.matches(call):
        assert outer.matches(call)


def test_how_many_can_be_for_one_call() -> None:
    """Of two agents a call has one; patterns of models may all be for it; what is for another user is not."""
    ours = Scope.of({"tenant": "acme"})
    said: list[dict[str, str]] = [
        {}, {}, {"agent": "a"}, {"agent": "b"}, {"agent": "b"}, {"model": "gpt-*"}, {"model": "*-mini"}, {"model": "gpt-4o"},
    ]  # fmt: skip
    others = [Scope.of({"tenant": "acme", **more}) for more in said]
    assert most_at_once(ours, others) == 2 + 2 + 2 + 1
    assert most_at_once(Scope.of({"tenant": "acme", "agent": "a", "model": "claude"}), others) == 2 + 1
    assert most_at_once(Scope.of({"tenant": "globex"}), others) == 0
    people = [Scope.of({"user": "r1 r2"}), Scope.of({"user": "r3 r4"})]
    assert most_at_once(Scope.of({"user": "r2 r5"}), people) == 1
