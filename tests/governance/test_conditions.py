"""Conditions in CEL: what can be asked, what is refused with which position and reason, and what becomes of one that fails."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import CONDITION_CHARS_MAX, CONDITION_DEPTH_MAX, CONDITION_ITEMS_MAX
from otel_finops.governance import conditions
from otel_finops.governance.budgets import Budget, BudgetStatus
from otel_finops.governance.call_state import NotKept, TraceState
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.condition_syntax import ConditionFault
from otel_finops.governance.conditions import BudgetStands, Condition, ConditionFailed, Facts, Readings, wanted
from otel_finops.governance.periods import Window
from otel_finops.governance.scopes import Scope

USD = 10**12
CALL = GovernedCall(
    tenant="acme", provider="openai", model="gpt-4o", operation="chat", agent="writer", tags={"team": "search"}, pico=20_000_000_000,
    tokens=1_200,
)  # fmt: skip
TRACE = TraceState(pico=4_200_000_000_000, calls=11, tokens=9_000, calls_of_minute=4, pico_of_minute=500_000_000_000, depth=3)
SESSION = TraceState(pico=9 * USD, calls=20)
TEAM = Budget(1, "team", Scope(), "money", 10 * USD, hard=True)
CHAT = Budget(2, "chat", Scope(), "calls", 100)
DAY = Window(0, 86_400 * 10**9)
STANDS = (
    (CHAT, BudgetStatus(DAY, 100, 0, 40, 0, 10)),  # a half of its calls
    (TEAM, BudgetStatus(DAY, 10 * USD, 0, 6 * USD, 1 * USD, 2 * USD)),  # nine tenths of its money
)


def facts_of(*said: Condition, call: GovernedCall = CALL, stands: BudgetStands = STANDS) -> Facts:
    return Facts(call, Readings(lambda _: TRACE, lambda _: SESSION, lambda: stands), *wanted(said))


def holds(source: str, call: GovernedCall = CALL, stands: BudgetStands = STANDS) -> bool:
    condition = Condition(source).tried()
    return condition.holds(facts_of(condition, call=call, stands=stands))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('call.provider == "openai" && call.model.startsWith("gpt-4")', True),
        ('call.model.matches("^(gpt|o)-?[0-9]")', True),
        ('call.operation != "chat"', False),
        ('attribution.tenant == "acme" && attribution.agent in ["writer", "editor"]', True),
        ('attribution.tags.team == "search"', True),
        ("attribution.tags['team'].size() > 3", True),
        ('attribution.tags.floor == ""', True),  # a tag that it does not bear
        ('attribution.step == ""', True),  # nobody said
        ("estimate.usd >= 0.02", True),  # exactly the amount: 0.02 USD
        ("estimate.usd > 0.02", False),
        ("estimate.known && estimate.tokens == 1200", True),
        ("trace.cost_usd > 4.2", False),
        ("trace.cost_usd >= 4.2 && trace.calls == 11 && trace.depth > 2", True),
        ("trace.calls_per_minute > 3 || trace.cost_usd_per_minute > 1.0", True),
        ("double(trace.calls) * 0.5 > 5.4", True),  # 5.5
        ("session.cost_usd == 9.0 && session.calls > 19", True),
        ('budget.name == "team" && budget.ratio == 0.9 && budget.state == "warning"', True),  # the one that is used most
        ("budget.remaining == 1.0 && budget.limit == 10.0 && budget.spent == 9.0 && budget.reserved == 2.0 && budget.hard", True),
        ('budgets.exists(b, b.kind == "calls" && b.spent >= 50.0)', True),
        ("budgets.all(b, b.ratio < 0.9)", False),
        ("budgets.filter(b, b.hard).size() == 1", True),
        ('["gpt-5", "gpt-4"].exists(family, call.model.startsWith(family))', True),
        ('trace.calls > 10 ? call.model == "gpt-4o" : false', True),
        ("!(trace.calls < 10) // a comment\n && true", True),
        ("-trace.calls < -10", True),
        ("trace.calls % 2 == 1", True),
    ],
)
def test_what_conditions_can_ask(source: str, expected: bool) -> None:
    assert holds(source) is expected


def test_what_nobody_knows_is_empty_and_no_failure() -> None:
    unknown = GovernedCall()
    assert holds('call.model == "" && call.provider == "" && attribution.agent == "" && call.trace == ""', unknown)
    assert holds("!estimate.known && estimate.usd == 0.0", unknown)
    assert holds('budget.name == "" && budget.ratio == 0.0 && !budget.hard && budgets.size() == 0', stands=())


@pytest.mark.parametrize(
    ("source", "position", "reason"),
    [
        ('call.modle == "x"', 6, "there is no field call.modle; is 'model' meant?"),
        ('call.model == "a" && trace.cots_usd > 1.0', 28, "there is no field trace.cots_usd; is 'cost_usd' meant?"),
        ("budgets.exists(b, b.left > 1.0)", 21, "there is no field b.left"),
        ("usr.name == 'x'", 1, "there is no 'usr'"),
        ("attribution.user == 'ann'", 13, "name them in the policy's scope"),
        ("call.agent == 'x'", 6, "it is attribution.agent"),
        ('trace.calls > "5"', 13, "cannot be compared"),
        ("estimate.usd * 2 > 1.0", 14, "write 2.0 in place of 2"),
        ("trace.calls", 1, "a condition says yes or no"),
        ("trace.calls && true", 1, "on the left of && stands a condition"),
        ("true || trace.calls", 9, "on the right of || stands a condition"),
        ("call == attribution", 6, "call as a whole cannot be compared"),
        ("call.model.startWith('gpt')", 12, "is 'startsWith' meant?"),
        ("lower(call.model) == 'x'", 1, "there is no function lower()"),
        ("has(call.model)", 1, "nothing is null here"),
        ("call.model == null", 15, "nothing is null here"),
        ("'team' in attribution.tags", 8, "a tag that a call does not bear is an empty text"),
        ("attribution.tags[call.model] == 'x'", 18, "write the tag's key as a plain text"),
        ("budgets[0].ratio > 0.5", 8, "of a list ask with .exists(x, ..)"),
        ("call['model'] == 'x'", 5, "call.NAME"),
        ("[1, 2.0].exists(x, x > 1)", 5, "all of them alike"),
        ("[].exists(x, true)", 1, "a list without anything in it"),
        ("call.model in 'gpt'", 12, "after `in` stands a list"),
        ("trace.calls > 5 and true", 17, "combine conditions with && or ||"),
        ("call.model = 'x'", 12, "compare with =="),
        ("(trace.calls > 5", 17, "for the bracket at position 1"),
        ("trace.calls > ", 15, "something is missing at the end"),
        ("call.model == 'gpt", 15, "this text does not end"),
        ('call.model == """gpt"""', 17, "three quotation marks"),
        ("b'x' == b'x'", 2, "bytes are not for conditions"),
        ("{'a': 1}.a == 1", 1, "maps are not for conditions"),
        ("trace.calls > 9223372036854775808", 15, "whole numbers end"),
        ("call.model.matches('(')", 20, "no regular expression"),
        (r"call.model.matches('\\w{100}')", 20, "this regular expression takes"),
        ("call.model != '' && budgets.exists(b, b.name.matches('(a|b|c|x){200}y'))", 54, "asked 64 times, takes"),  # no short cut hides it
        ("call.model.matches(call.provider)", 20, "written out as one text"),
        ("call.model == '\\q'", 15, "token recognition error"),  # the library's own words, at its place
        ("[1, 2].exists(x, [1].exists(y, x == y))", 22, "within another one: that takes too long"),
        ("[1].exists(call, true)", 12, "a new name"),
        ("", 1, "something is missing"),
    ],
)
def test_what_is_refused_is_told_with_the_position_and_the_reason(source: str, position: int, reason: str) -> None:
    with pytest.raises(ConditionFault) as refused:
        Condition(source).tried()
    assert str(refused.value).startswith(f"condition, position {position}: ")
    assert reason in str(refused.value)
    assert isinstance(refused.value, BadInput)


def test_conditions_are_bounded() -> None:
    assert Condition("(" * (CONDITION_DEPTH_MAX - 1) + "true" + ")" * (CONDITION_DEPTH_MAX - 1))
    with pytest.raises(ConditionFault, match=f"nested deeper than {CONDITION_DEPTH_MAX}"):
        Condition("(" * CONDITION_DEPTH_MAX + "true" + ")" * CONDITION_DEPTH_MAX)
    assert Condition(" " * (CONDITION_CHARS_MAX - 4) + "true")
    with pytest.raises(ConditionFault, match="2001"):
        Condition(" " * (CONDITION_CHARS_MAX - 3) + "true")
    with pytest.raises(ConditionFault, match="at most 200 items"):
        Condition(f"trace.calls in [{','.join(['1'] * (CONDITION_ITEMS_MAX + 1))}]")
    with pytest.raises(ConditionFault, match=r"could take \d+ steps"):  # a hundred items, times some sixty operations on each
        Condition(f"[{','.join(['1'] * 100)}].exists(x, {' + '.join(['x'] * 60)} > 1)")


def test_regular_expressions_have_one_time_together() -> None:
    one = "call.model.matches('(a|b|c|x){200}y')"
    assert Condition(one).tried()
    with pytest.raises(ConditionFault, match=r"position \d{3,4}: this regular expression takes \d+ microseconds, and \d+ are left"):
        Condition(f"call.model != '' && ({' || '.join([one] * 40)})").tried()


def test_people_of_a_tenant_learn_nothing_of_budgets_for_several() -> None:
    ours = Budget(3, "ours", Scope.of({"tenant": "acme"}), "calls", 100)
    stands = (*STANDS, (ours, BudgetStatus(DAY, 100, 0, 1, 0, 0)))
    condition = Condition("budget.ratio > 0.5 || budgets.exists(b, b.ratio > 0.5)")
    facts = facts_of(condition, stands=stands)
    assert condition.holds(facts)
    assert facts.tells_of_several(condition)
    theirs = facts.of_tenant()
    assert not condition.holds(theirs)
    assert not theirs.tells_of_several(condition)
    assert theirs.figures(condition) == {"budget.ratio": "0.0100"}
    assert not condition.holds(facts_of(condition).of_tenant())  # there is none of theirs


def test_a_condition_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "CONDITION_US_MAX", 0.0)  # as if the machine were that slow
    with pytest.raises(ConditionFault, match="microseconds, more than"):
        Condition("trace.calls > 5").tried()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("100 / (trace.calls - 11) > 1", "a division by zero"),
        ("9223372036854775807 + trace.calls > 1", "a whole number beyond 64 bits"),
        ("int(trace.cost_usd * 1.0e300) > 1", "a whole number beyond 64 bits"),
    ],
)
def test_one_that_cannot_be_evaluated_fails_alone_and_says_no_value(source: str, why: str) -> None:
    condition = Condition(source)
    with pytest.raises(ConditionFailed, match=why) as failed:
        condition.holds(facts_of(condition))
    assert "11" not in str(failed.value)


def test_whatever_the_library_does_is_a_failure_of_the_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """As the library's own panics are."""

    def broken(context: object) -> bool:
        raise Panic

    condition = Condition("trace.calls > 5")
    monkeypatch.setattr(condition, "_evaluated", broken)
    with pytest.raises(ConditionFailed):
        condition.holds(facts_of(condition))


def test_sums_that_are_not_kept_are_a_failure_and_nothing_else_is() -> None:
    def not_kept(fields: frozenset[str]) -> TraceState:
        raise NotKept

    costly, plain = Condition("trace.cost_usd > 1.0"), Condition("estimate.usd > 0.01")
    facts = Facts(CALL, Readings(not_kept, not_kept, tuple), *wanted((costly, plain)))
    with pytest.raises(ConditionFailed, match=r"features\.runs"):
        costly.holds(facts)
    assert plain.holds(facts)


def test_what_costs_a_look_up_is_read_once_and_only_when_asked_for() -> None:
    read: list[tuple[str, frozenset[str]]] = []

    def noted(root: str, fields: frozenset[str], found: TraceState) -> TraceState:
        read.append((root, fields))
        return found

    def stands() -> BudgetStands:
        read.append(("budgets", frozenset()))
        return STANDS

    readings = Readings(lambda fields: noted("trace", fields, TRACE), lambda fields: noted("session", fields, SESSION), stands)
    plain, calls, cost, budget = (
        Condition(source) for source in ("call.model == 'x'", "trace.calls > 5", "trace.cost_usd > 5.0", "budget.ratio > 0.5")
    )
    facts = Facts(CALL, readings, *wanted((plain, calls, cost, budget)))
    assert not plain.holds(facts)
    assert read == []
    assert calls.holds(facts)
    assert not cost.holds(facts)
    assert budget.holds(facts)
    assert budget.holds(facts)
    assert read == [("trace", frozenset({"calls", "cost_usd"})), ("budgets", frozenset())]  # the fields of all, in one reading


def test_figures_are_exact_and_those_that_it_went_by() -> None:
    condition = Condition("trace.cost_usd > 1.0 && estimate.usd > 0.001 && budget.ratio > 0.5 && call.model != ''")
    facts = facts_of(condition)
    assert condition.holds(facts)
    assert facts.figures(condition) == {"budget.ratio": "0.9000", "estimate.usd": "0.02", "trace.cost_usd": "4.2"}


def refused(source: str) -> str | None:
    try:
        Condition(source).tried()
    except ConditionFault as fault:
        return str(fault)
    return None


@given(st.text(max_size=60) | st.text("()[]!-+*/%<>=&|?:.,'\"\\ abtrue1", max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_condition_or_a_fault_with_its_position(source: str) -> None:
    refusal = refused(source)
    if refusal is not None:
        assert 1 <= int(refusal.removeprefix("condition, position ").partition(":")[0]) <= max(len(source), 1) + 1


@given(st.integers(0, 10**16))
@settings(max_examples=50, deadline=None)
def test_an_amount_is_equal_to_the_number_that_is_written_like_it(pico: int) -> None:
    call = CALL._replace(pico=pico)
    written = f"{pico // USD}.{pico % USD:012d}"
    assert holds(f"estimate.usd == {written}", call)


def test_the_library_is_loaded_by_who_has_conditions_alone() -> None:
    code = "import sys, otel_finops.operations.catalogue, otel_finops.governance.policy_gate; sys.exit('cel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


NUMBERS = {
    "int": ("1", "0", "7", "0x1f", "trace.calls", "estimate.tokens", "trace.depth"),
    "double": ("1.5", ".5", "2e3", "estimate.usd", "trace.cost_usd", "budget.ratio"),
}
TEXTS = ("'a'", '"gpt"', r"r'\d'", "call.model", "attribution.agent", "attribution.tags.team", "budget.state")
COMPARED = ("<", "<=", ">", ">=", "==", "!=")
kinds = st.sampled_from(("int", "double"))


@st.composite
def numbers(draw: st.DrawFn, kind: str, deep: int) -> str:
    form = draw(st.integers(0, 5)) if deep else 0
    if form < 2:
        return draw(st.sampled_from(NUMBERS[kind]))
    if form == 2:
        sign = draw(st.sampled_from("+-*/%" if kind == "int" else "+-*/"))
        return f"{draw(numbers(kind, deep - 1))} {sign} {draw(numbers(kind, deep - 1))}"
    if form == 3:
        return f"-({draw(numbers(kind, deep - 1))})"
    if form == 4:
        return f"({draw(truths(deep - 1))} ? {draw(numbers(kind, deep - 1))} : {draw(numbers(kind, deep - 1))})"
    return f"{kind}({draw(numbers(draw(kinds), deep - 1))})" if kind == "double" else f"size({draw(texts(deep - 1))})"


@st.composite
def texts(draw: st.DrawFn, deep: int) -> str:
    form = draw(st.integers(0, 3)) if deep else 0
    if form < 2:
        return draw(st.sampled_from(TEXTS))
    return f"({draw(texts(deep - 1))} + {draw(texts(deep - 1))})" if form == 2 else f"string({draw(numbers(draw(kinds), deep - 1))})"


@st.composite
def truths(draw: st.DrawFn, deep: int) -> str:
    form = draw(st.integers(0, 7)) if deep else 0
    if form == 0:
        return draw(st.sampled_from(("true", "false", "budget.hard", "estimate.known")))
    if form == 1:
        return f"({draw(numbers(draw(kinds), deep - 1))} {draw(st.sampled_from(COMPARED))} {draw(numbers(draw(kinds), deep - 1))})"
    if form == 2:
        return f"({draw(texts(deep - 1))} {draw(st.sampled_from(COMPARED))} {draw(texts(deep - 1))})"
    if form == 3:
        return f"({draw(truths(deep - 1))} {draw(st.sampled_from(('&&', '||', '==', '!=')))} {draw(truths(deep - 1))})"
    if form == 4:
        return f"!({draw(truths(deep - 1))})"
    if form == 5:
        return f"{draw(texts(deep - 1))}.{draw(st.sampled_from(('startsWith', 'endsWith', 'contains')))}({draw(texts(deep - 1))})"
    kind = draw(kinds)
    items = f"[{draw(numbers(kind, deep - 1))}, {draw(numbers(kind, deep - 1))}]"
    if form == 6:
        return f"({draw(numbers(kind, deep - 1))} in {items})"
    return f"{items}.{draw(st.sampled_from(('all', 'exists', 'exists_one')))}(x, x > {draw(st.sampled_from(NUMBERS[kind]))})"


@given(truths(3))
@settings(max_examples=200, deadline=None)
def test_what_is_well_formed_is_taken_and_fails_at_most_by_arithmetic(source: str) -> None:
    """What is read here means the same to the library: it finds neither a wrong type nor a name that is not there."""
    condition = Condition(source)
    assert failure(condition) in (None, "a division by zero", "a whole number beyond 64 bits")


def failure(condition: Condition) -> str | None:
    try:
        condition.holds(facts_of(condition))
    except ConditionFailed as failed:
        return str(failed)
    return None
