"""Alert rules as values: quiet hours, parameters, and what can be no rule."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.alerting.defaults import DEFAULTS
from otel_finops.alerting.parameters import KINDS, PARAMETERS, checked_parameters
from otel_finops.alerting.quiet import QuietHours
from otel_finops.alerting.rules import Rule, checked
from otel_finops.base.errors import BadInput
from otel_finops.base.times import parse_ns

WORKDAYS = (1, 2, 3, 4, 5)


def quiet(text: str, *moments: str, zone: str = "UTC", days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)) -> list[bool]:
    hours = QuietHours.of(text, zone, days)
    return [hours.holds(parse_ns(moment)) for moment in moments]


def test_quiet_hours_within_a_day() -> None:
    assert quiet("12:00-13:30", "2026-11-21T11:59:59Z", "2026-11-21T12:00:00Z", "2026-11-21T13:29:59Z", "2026-11-21T13:30:00Z") == [
        False, True, True, False,
    ]  # fmt: skip


def test_quiet_hours_over_midnight() -> None:
    assert quiet("22:00-07:00", "2026-11-21T21:59:00Z", "2026-11-21T22:00:00Z", "2026-11-22T00:00:00Z", "2026-11-22T07:00:00Z") == [
        False, True, True, False,
    ]  # fmt: skip


def test_quiet_hours_are_those_of_the_clocks_on_the_wall() -> None:
    """Rome is an hour ahead in winter and two in summer: 22:00 there is 21:00 and 20:00 UTC."""
    assert quiet("22:00-07:00", "2026-11-21T20:59:00Z", "2026-11-21T21:00:00Z", zone="Europe/Rome") == [False, True]
    assert quiet("22:00-07:00", "2026-07-01T19:59:00Z", "2026-07-01T20:00:00Z", zone="Europe/Rome") == [False, True]


def test_the_night_that_the_clocks_go_back_is_an_hour_longer() -> None:
    """25 October 2026: 07:00 in Rome is 06:00 UTC, where it was 05:00 the day before."""
    assert quiet("22:00-07:00", "2026-10-24T05:00:00Z", "2026-10-25T05:00:00Z", "2026-10-25T06:00:00Z", zone="Europe/Rome") == [
        False, True, False,
    ]  # fmt: skip


def test_quiet_hours_begin_on_their_days() -> None:
    """20 November 2026 is a Friday: its night ends on Saturday morning, and Saturday's is not quiet, nor the one before Monday."""
    friday, saturday_morning, saturday, monday_morning = (
        "2026-11-20T23:00:00Z", "2026-11-21T06:00:00Z", "2026-11-21T23:00:00Z", "2026-11-23T06:00:00Z",
    )  # fmt: skip
    assert quiet("22:00-07:00", friday, saturday_morning, saturday, monday_morning, days=WORKDAYS) == [True, True, False, False]


def test_quiet_all_day() -> None:
    assert quiet("00:00-24:00", "2026-11-21T00:00:00Z", "2026-11-21T23:59:59Z", "2026-11-23T00:00:00Z", days=(6, 7)) == [True, True, False]


@pytest.mark.parametrize("text", ["", "22-7", "22:00", "25:00-07:00", "22:60-07:00", "22:00-7:0", "2²:00-07:00", "-1:00-07:00"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(BadInput, match="quiet: two times of the day, like 22:00-07:00"):
        QuietHours.of(text, "UTC")


def test_zones_and_days_that_are_none() -> None:
    with pytest.raises(BadInput, match="zone: there is no time zone 'Rome'"):
        QuietHours.of("22:00-07:00", "Rome")
    with pytest.raises(BadInput, match="quiet_days: numbers from 1"):
        QuietHours.of("22:00-07:00", "UTC", (0, 1))


# --- parameters -----------------------------------------------------------------------------------------------------------


def test_what_is_not_given_is_as_usual_and_values_may_be_texts() -> None:
    assert checked_parameters("unpriced", {"percent": "2.50", "by": "provider model"}) == {
        "percent": "2.5", "hours": 24, "tokens": 10_000, "by": ["provider", "model"],
    }  # fmt: skip
    assert checked_parameters("budget", {"budgets": "3 1 3"})["budgets"] == [1, 3]
    assert checked_parameters("spend_rate", {"windows": "60/5/14.40 360/30/6"})["windows"] == ["60/5/14.4", "360/30/6"]


def test_checked_parameters_stay_as_they_are_when_they_are_checked_again() -> None:
    for kind in KINDS:
        usual = checked_parameters(kind, {})
        assert checked_parameters(kind, usual) == usual
        assert all(one.means.endswith(".") for one in PARAMETERS[kind].values())


@pytest.mark.parametrize(
    ("kind", "given", "fault"),
    [
        ("budget", {"percents": 5}, "params.percents: a rule of kind budget has none; it has budgets, percent, critical_percent"),
        ("kill_switch", {"x": 1}, "params.x: a rule of kind kill_switch has none; it has no parameters"),
        ("budget", {"percent": 0}, "params.percent: a whole number from 1 to 1000"),
        ("budget", {"percent": True}, "params.percent: a whole number from 1 to 1000"),
        ("unpriced", {"percent": "101"}, "params.percent: a decimal number from 0 to 100"),
        ("unpriced", {"percent": "NaN"}, "params.percent: a decimal number"),
        ("unpriced", {"by": "model,model,day"}, "params.by: at most two of"),
        ("spend_rate", {"windows": "60/5"}, "params.windows: each is LONG/SHORT/FACTOR"),
        ("spend_rate", {"windows": "5/60/2"}, "params.windows: the second window is the shorter one"),
        ("spend_rate", {"windows": ""}, "params.windows: one to 5 of"),
        ("spend_rate", {"windows": "60/5/1e400"}, "params.windows: a decimal number from 0 to 10000"),
        ("anomaly", {"scopes": ["galaxy"]}, "params.scopes: some of global, tenant, model, agent, cost_center"),
        ("budget", {"budgets": {"no": 1}}, "params.budgets: a whole number"),
    ],
)
def test_parameters_that_can_be_none(kind: Any, given: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadInput) as refused:
        checked_parameters(kind, given)
    assert str(refused.value).startswith(fault)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"name": "  "}, "name: 1 to 256 printable characters"),
        ({"kind": "weather"}, "kind: one of budget, forecast"),
        ({"severity": "fatal"}, "severity: one of info, warning, critical"),
        ({"for_s": -1}, "for_seconds: 0 to"),
        ({"repeat_s": 60}, "repeat_seconds: 0 for never, or at least 300"),
        ({"labels": {"1a": "x"}}, "labels: names of labels are letters"),
        ({"group_by": ("a b",)}, "labels: names of labels are letters"),
        ({"labels": {"a": "x\ny"}}, "labels: at most 256 printable characters"),
    ],
)
def test_rules_that_can_be_none(said: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadInput) as refused:
        checked(Rule(1, "calls", "kill_switch")._replace(**said))
    assert str(refused.value).startswith(fault)


def test_the_rules_that_are_shipped_are_sound_and_of_every_kind() -> None:
    assert {checked(rule).kind for rule in DEFAULTS} == set(KINDS)
    assert len({rule.name for rule in DEFAULTS}) == len(DEFAULTS)
