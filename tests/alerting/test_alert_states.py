"""An alert from check to check, on a clock of minutes: what is found, what people are told."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_finops.alerting.findings import Finding
from otel_finops.alerting.notices import State
from otel_finops.alerting.rules import Rule
from otel_finops.alerting.states import Alert, Deed, joined, notice_of, step
from otel_finops.base.limits import ALERT_LINES_MAX, ALERTS_OF_RULE_MAX
from otel_finops.testing import NOON

MINUTE = 60 * 10**9
RULE = Rule(7, "budgets", "budget")
Told = tuple[Deed | None, State | None]


def finding(key: str = "b1", level: int = 80, tenant: str = "acme", **more: Any) -> Finding:
    return Finding(key, tenant, f"{key} at {level} %", f"{level} of 100", {"budget": key}, {"percent": str(level)}, level, **more)


def course(rule: Rule, *found: Finding | list[Finding] | None, held: str = "") -> list[Told]:
    """What happens and what is told at each check, a minute after the one before; an x in `held` is a check at which nobody may be told."""
    alert: Alert | None = None
    told: list[Told] = []
    for minute, one in enumerate(found):
        findings = [] if one is None else one if isinstance(one, list) else [one]
        groups, _ = joined(rule, findings, ())
        done = step(rule, alert, groups[0] if groups else None, NOON + minute * MINUTE, held_back=held[minute : minute + 1] == "x")
        alert = done.after
        told.append((done.deed, done.telling))
    return told


NOTHING: Told = (None, None)
BEGAN: Told = ("firing", "firing")
ENDED: Told = ("over", "resolved")


def test_it_is_told_once_and_when_it_is_over() -> None:
    assert course(RULE, None, finding(), finding(), finding(), None, None) == [NOTHING, BEGAN, NOTHING, NOTHING, ENDED, NOTHING]


def test_it_is_told_again_when_it_comes_again() -> None:
    assert course(RULE, finding(), None, finding(), None) == [BEGAN, ENDED, BEGAN, ENDED]


def test_a_higher_threshold_is_news_and_a_lower_one_is_not() -> None:
    levels = (50, 80, 80, 50, 100)
    assert course(RULE, *(finding(level=level) for level in levels)) == [BEGAN, ("more", "firing"), NOTHING, NOTHING, ("more", "firing")]


def test_a_threshold_that_spend_fell_below_is_armed_again() -> None:
    assert course(RULE, finding(level=80), finding(level=50), finding(level=80)) == [BEGAN, NOTHING, ("more", "firing")]


def test_it_must_hold_for_a_while() -> None:
    rule = RULE._replace(for_s=120)
    assert course(rule, finding(), finding(), None, finding(), finding(), finding()) == [*[NOTHING] * 5, BEGAN]


def test_it_must_be_gone_for_a_while() -> None:
    """Gone at the minutes 1, 3, 4 and 5: from 3 on for two minutes."""
    rule = RULE._replace(clear_s=120)
    assert course(rule, finding(), None, finding(), None, None, None) == [BEGAN, *[NOTHING] * 4, ENDED]


def test_what_still_holds_is_told_again_after_the_time_that_people_want() -> None:
    rule = RULE._replace(repeat_s=180)
    assert course(rule, *[finding()] * 7) == [BEGAN, NOTHING, NOTHING, ("repeated", "firing"), NOTHING, NOTHING, ("repeated", "firing")]


def test_nobody_is_told_of_the_end_who_does_not_want_to_be() -> None:
    assert course(RULE._replace(resolved=False), finding(), None, finding()) == [BEGAN, ("over", None), BEGAN]


def test_what_happened_has_no_end() -> None:
    event = finding(lasting=False)
    assert course(RULE, event, event, None) == [BEGAN, NOTHING, NOTHING]


# --- quiet hours and mutes -----------------------------------------------------------------------------------------------


def test_what_still_holds_when_the_quiet_hours_end_is_told_then() -> None:
    assert course(RULE, finding(), finding(), finding(), finding(), held="xx") == [("firing", None), NOTHING, ("told", "firing"), NOTHING]


def test_what_came_and_went_in_quiet_hours_is_on_record_and_told_to_nobody() -> None:
    assert course(RULE, finding(), None, None, held="xx") == [("firing", None), ("over", None), NOTHING]


def test_an_end_in_quiet_hours_is_told_afterwards() -> None:
    assert course(RULE, finding(), None, None, None, held=".xx") == [BEGAN, ("over", None), NOTHING, ("told", "resolved")]


def test_what_comes_back_before_anybody_heard_of_its_end_is_no_news() -> None:
    assert course(RULE, finding(), None, finding(), finding(), held=".xx") == [BEGAN, ("over", None), ("firing", None), NOTHING]


def test_what_grew_in_quiet_hours_is_told_once_afterwards() -> None:
    found = [finding(level=level) for level in (50, 80, 100, 100, 100)]
    assert course(RULE, *found, held=".xxx") == [BEGAN, ("more", None), ("more", None), NOTHING, ("told", "firing")]


# --- what is told together ----------------------------------------------------------------------------------------------


def test_things_are_told_one_by_one_unless_the_rule_groups_them() -> None:
    found = [finding("b1"), finding("b2"), finding("b3", tenant="globex")]
    assert len(joined(RULE, found, ())[0]) == 3
    grouped, _ = joined(RULE._replace(group_by=()), found, ())
    assert [(one.tenant, sorted(one.members)) for one in grouped] == [("acme", ["b1", "b2"]), ("globex", ["b3"])]


def test_a_group_is_never_of_two_tenants_whatever_it_is_grouped_by() -> None:
    same = [finding("b1")._replace(labels={"model": "gpt-4o"}), finding("b2", tenant="globex")._replace(labels={"model": "gpt-4o"})]
    grouped, _ = joined(RULE._replace(group_by=("model",)), same, ())
    assert [one.tenant for one in grouped] == ["acme", "globex"]
    assert "b2" not in grouped[0].text


def test_a_further_thing_in_a_group_is_news_and_one_less_is_not() -> None:
    rule = RULE._replace(group_by=())
    one, both = [finding("b1")], [finding("b1"), finding("b2")]
    assert course(rule, one, both, both, one, both, None) == [BEGAN, ("more", "firing"), NOTHING, NOTHING, ("more", "firing"), ENDED]


def test_a_group_says_the_worst_first_and_how_many_are_left_out() -> None:
    found = [finding(f"b{number:02}", level=number) for number in range(1, 24)]
    [group], _ = joined(RULE._replace(group_by=(), labels={"team": "ml"}), found, ())
    assert group.title == "budgets: 23, first b23 at 23 %"
    lines = group.text.split("\n")
    assert (len(lines), lines[0], lines[-1]) == (ALERT_LINES_MAX + 1, "- b23 at 23 %. 23 of 100", "- and 3 more")
    assert (group.labels, group.figures) == ({"team": "ml"}, {"alerts": "23"})


def test_a_group_is_as_bad_as_its_worst_thing() -> None:
    [group], _ = joined(RULE._replace(group_by=()), [finding("b1"), finding("b2", severity="critical")], ())
    assert (group.severity, group.link) == ("critical", "")


def test_too_many_alerts_leave_out_new_ones_that_are_less_bad_and_none_that_stands() -> None:
    found = [finding(f"b{number:03}", level=number) for number in range(ALERTS_OF_RULE_MAX + 2)]
    groups, left_out = joined(RULE, found, {"acme\nb000"})
    kept = {key for one in groups for key in one.members}
    assert left_out == 2
    assert {f"b{number:03}" for number in range(ALERTS_OF_RULE_MAX + 2)} - kept == {"b001", "b002"}


def test_a_notice_says_since_when_and_of_an_end_from_when_to_when() -> None:
    [found], _ = joined(RULE, [finding(since_ns=NOON - 5 * MINUTE)], ())
    alert = step(RULE, None, found, NOON, held_back=False).after
    assert alert is not None
    told = notice_of(RULE, alert, "firing", "n1", "7-ab", NOON)
    assert (told.title, told.started_ns, told.rule, told.severity) == ("b1 at 80 %", NOON - 5 * MINUTE, "budgets", "warning")
    over = notice_of(RULE, alert, "resolved", "n2", "7-ab", NOON + 10 * MINUTE)
    assert over.title == "Over: b1 at 80 %"
    assert over.text == "It held from 2026-11-21 11:55:00 to 2026-11-21 12:10:00 UTC. Last: 80 of 100"


# --- whatever happens -----------------------------------------------------------------------------------------------------

LEVELS = st.dictionaries(st.sampled_from(["b1", "b2", "b3"]), st.integers(1, 4), max_size=3)
CHECKS = st.lists(st.tuples(LEVELS, st.booleans()), max_size=25)
RULES = st.builds(
    lambda hold, clear, repeat, grouped: RULE._replace(
        for_s=60 * hold, clear_s=60 * clear, repeat_s=300 * repeat, group_by=() if grouped else ("none",)
    ),
    st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.booleans(),
)  # fmt: skip


@given(RULES, CHECKS)
def test_people_know_what_holds_hear_of_an_end_once_and_of_nothing_while_they_want_quiet(
    rule: Rule, checks: list[tuple[dict[str, int], bool]]
) -> None:
    alert: Alert | None = None
    heard: list[State] = []
    for minute, (levels, held_back) in enumerate(checks):
        groups, _ = joined(rule, [finding(key, level) for key, level in levels.items()], ())
        done = step(rule, alert, groups[0] if groups else None, NOON + minute * MINUTE, held_back=held_back)
        alert = done.after
        if done.telling is not None:
            assert not held_back
            heard.append(done.telling)
        if alert is not None and alert.phase == "firing" and not held_back:
            assert alert.told == alert.found.members, "all that holds was told, at its level"
        knows = bool(heard) and heard[-1] == "firing"
        assert knows == (alert is not None and alert.told is not None), "nobody is left with what is over, or without its end"
    ends = [at for at, state in enumerate(heard) if state == "resolved"]
    assert all(at > 0 and heard[at - 1] == "firing" for at in ends)
