"""The dashboard's figures, worked out by hand: what counts when, in which zone, beside what, and that they are those of spend reports."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from ledger_rig import Rig, call

from otel_finops.base.errors import BadInput
from otel_finops.base.times import parse_ns
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock, RememberedTrail

ACME = Principal("ann", ("acme",), ROLES["viewer"])
_numbers = count(1)


def at(moment: str, **known: Any) -> Any:
    """A call of gpt-4o that started then: 1,000 tokens in and 100 out, which are 0.0035 USD."""
    number, start = next(_numbers), parse_ns(moment)
    return call(number, trace=number, start_ns=start, end_ns=start + 10**9, **known)


def context_of(rig: Rig, now: str, **environ: str) -> Context:
    settings = load(None, {f"OTEL_FINOPS_{name}": value for name, value in environ.items()})
    clock = FakeClock(parse_ns(now))
    prices = CurrentPrices(rig.store, clock, packaged_snapshot)
    return make_context(settings, rig.store, rig.subjects, prices, clock, trail=RememberedTrail())


def ask(context: Context, verb: str, principal: Principal = LOCAL, /, **given: Any) -> Json:
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, principal, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer)
    return answer


NOW = "2026-11-21T15:30:00Z"
ACMES, GLOBEX = {"tenant": "acme", "agent": "planner"}, {"tenant": "globex", "agent": "writer"}


@pytest.fixture
def rig(store: Store) -> Rig:
    """Calls of 0.0035 USD around the edges of days and months; one twice as dear, one unpriced, one failed."""
    rig = Rig(store)
    twice = {"usage": {"input_uncached": 1000, "cache_read": 1000, "output": 325}}  # 0.0025 + 0.00125 + 0.00325 = 0.007 USD
    rig.settle(
        at("2026-11-21T00:00:00Z", attribution=ACMES),
        at("2026-11-21T15:29:59.999999999Z", attribution=ACMES, **twice),
        at("2026-11-21T15:10:00Z", attribution=GLOBEX, request_model="who-knows", price_models=("who-knows",)),
        at("2026-11-20T23:59:59.999999999Z", attribution=ACMES),  # yesterday
        at("2026-11-20T15:29:00Z", attribution=ACMES),  # yesterday, within as long as today
        at("2026-11-01T00:00:00Z", attribution=GLOBEX),  # this month
        at("2026-10-31T23:30:00Z", attribution=GLOBEX),  # the month before, behind what is compared
        at("2026-10-05T12:00:00Z", attribution=ACMES, **twice),  # the month before
        at("2026-10-06T12:00:00Z", attribution=ACMES, usage={}, usage_source="missing", error_type="timeout", missing_reason=None),
    )
    return rig


def test_today_and_the_month_stand_beside_as_long_of_the_time_before(rig: Rig) -> None:
    answer = ask(context_of(rig, NOW), "dashboard.kpis")
    today, month = answer["today"], answer["month"]
    assert (today["from"][:19], today["to"][:19]) == ("2026-11-21T00:00:00", "2026-11-21T15:30:00")
    # 0.0035 + 0.007; the third call has no price
    assert (today["cost_usd"], today["calls"], today["unpriced_calls"], today["models"]) == ("0.0105", 3, 1, 2)
    assert today["average_usd"] == "0.00525"
    assert today["tokens"] == 1100 + 2325 + 1100
    assert today["unpriced_tokens_share"] == 1100 / 4525
    assert today["cache_share"] == 1000 / 4000
    assert (today["before"]["from"][:19], today["before"]["to"][:19]) == ("2026-11-20T00:00:00", "2026-11-20T15:30:00")
    assert (today["before"]["cost_usd"], today["before"]["calls"]) == ("0.0035", 1)
    assert (today["change_usd"], today["change_percent"]) == ("0.007", 200.0)
    # the month: today 0.0105, yesterday 0.007, the first 0.0035
    assert (month["cost_usd"], month["calls"], month["failed_calls"]) == ("0.021", 6, 0)
    before = month["before"]
    assert (before["from"][:19], before["to"][:19]) == ("2026-10-01T00:00:00", "2026-10-21T15:30:00")
    assert (before["cost_usd"], before["calls"], before["failed_calls"]) == ("0.007", 2, 1)
    assert (month["change_usd"], month["change_percent"]) == ("0.014", 200.0)


def test_a_longer_month_is_held_against_all_of_a_shorter_one(store: Store) -> None:
    rig = Rig(store)
    rig.settle(at("2026-02-28T23:00:00Z"), at("2026-03-01T00:30:00Z"))
    month = ask(context_of(rig, "2026-03-31T12:00:00Z"), "dashboard.kpis")["month"]
    assert (month["before"]["from"][:10], month["before"]["to"][:19]) == ("2026-02-01", "2026-03-01T00:00:00")
    assert (month["before"]["calls"], month["calls"], month["change_percent"]) == (1, 1, 0.0)


def test_a_chosen_time_is_half_open_and_stands_beside_as_long_before(rig: Rig) -> None:
    window = ask(context_of(rig, NOW), "dashboard.kpis", **{"from": "2026-11-20T15:29:00Z", "to": "2026-11-21T00:00:00Z"})["window"]
    assert window["calls"] == 2  # that of midnight is not in it, that of the beginning is
    assert (window["before"]["from"][:19], window["before"]["calls"]) == ("2026-11-20T06:58:00", 0)
    assert (window["before"]["average_usd"], window["before"]["cache_share"], window["change_percent"]) == (None, None, None)


def test_the_zone_says_when_days_begin(rig: Rig) -> None:
    """In Rome the last call of the 20th (UTC) is one of the 21st, and that of 2026-10-31T23:30Z one of November."""
    answer = ask(context_of(rig, NOW), "dashboard.kpis", zone="Europe/Rome")
    assert (answer["today"]["from"][:19], answer["today"]["calls"]) == ("2026-11-20T23:00:00", 4)
    assert (answer["month"]["from"][:19], answer["month"]["calls"]) == ("2026-10-31T23:00:00", 7)
    # October began at 22:00 UTC, an hour earlier than November does
    assert answer["month"]["before"]["from"][:19] == "2026-09-30T22:00:00"


def test_who_sees_one_tenant_sees_its_figures(rig: Rig) -> None:
    context = context_of(rig, NOW)
    assert ask(context, "dashboard.kpis", ACME)["today"]["cost_usd"] == "0.0105"
    assert ask(context, "dashboard.kpis", ACME, tenant="globex")["month"]["calls"] == 0
    assert ask(context, "dashboard.kpis", tenant="globex")["month"]["calls"] == 2
    assert [row["name"] for row in ask(context, "dashboard.top", ACME, by="tenant")["top"]] == ["acme"]
    assert ask(context, "dashboard.trend", ACME)["total_usd"] == "0.0175"  # the month's 0.021 without globex's 0.0035


def test_a_course_has_every_piece_and_adds_up(rig: Rig) -> None:
    context = context_of(rig, NOW)
    answer = ask(context, "dashboard.trend", **{"from": "2026-10-31", "to": "2026-11-03"})
    assert [(one["from"][:10], one["cost_usd"], one["calls"]) for one in answer["pieces"]] == [
        ("2026-10-31", "0.0035", 1), ("2026-11-01", "0.0035", 1), ("2026-11-02", "0", 0),
    ]  # fmt: skip
    days = ask(context, "dashboard.trend")
    assert len(days["pieces"]) == 30
    assert (days["pieces"][0]["from"][:10], days["pieces"][-1]["to"][:19]) == ("2026-10-23", "2026-11-21T15:30:00")
    assert days["total_usd"] == ask(context, "spend.report", **{"from": "2026-10-23", "to": NOW})["total_usd"]


@pytest.mark.parametrize(("day", "hours"), [("2026-10-25", 25), ("2026-03-29", 23), ("2026-11-21", 24)])
def test_days_of_summer_time_have_their_hours(store: Store, day: str, hours: int) -> None:
    rig = Rig(store)
    rig.settle(at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"), at("2026-10-25T22:59:00Z"), at("2026-10-25T23:00:00Z"))
    given = {"from": day, "to": f"{day}T23:59:59.999999999", "zone": "Europe/Rome", "by": "hour"}
    answer = ask(context_of(rig, NOW), "dashboard.trend", **given)
    assert len(answer["pieces"]) == hours
    if hours == 25:  # 02:30 comes twice, 00:30Z and 01:30Z; 23:00Z is the next day's midnight
        assert [place for place, one in enumerate(answer["pieces"]) if one["calls"]] == [2, 3, 24]
        [whole] = ask(context_of(rig, NOW), "dashboard.trend", **{**given, "by": "day"})["pieces"]
        assert (whole["from"][:19], whole["calls"]) == ("2026-10-24T22:00:00", 3)


def test_zones_off_by_half_an_hour_cut_hours_in_two(store: Store) -> None:
    """In Kolkata the 21st begins at 18:30 UTC of the 20th."""
    rig = Rig(store)
    rig.settle(at("2026-11-20T18:29:59Z"), at("2026-11-20T18:30:00Z"), at("2026-11-21T18:29:59Z"), at("2026-11-21T18:30:00Z"))
    given = {"from": "2026-11-20", "to": "2026-11-23", "zone": "Asia/Kolkata"}
    answer = ask(context_of(rig, "2026-11-25T00:00:00Z"), "dashboard.trend", **given)
    assert [one["calls"] for one in answer["pieces"]] == [1, 2, 1]


def test_weeks_begin_on_monday_and_months_on_the_first(rig: Rig) -> None:
    context = context_of(rig, NOW)
    weeks = ask(context, "dashboard.trend", by="week")["pieces"]
    assert (len(weeks), weeks[0]["from"][:10], weeks[-1]["from"][:10]) == (12, "2026-08-31", "2026-11-16")
    assert sum(one["calls"] for one in weeks) == 9
    months = ask(context, "dashboard.trend", by="month")["pieces"]
    assert [(one["from"][:7], one["calls"]) for one in months[-3:]] == [("2026-09", 0), ("2026-10", 3), ("2026-11", 6)]


@pytest.mark.parametrize("split", ["agent", "step", "model", "user"])
def test_parts_of_each_piece_add_up_to_it(rig: Rig, split: str) -> None:
    answer = ask(context_of(rig, NOW), "dashboard.trend", by="month", split=split, limit=1)
    for piece in answer["pieces"]:
        assert sum(part["calls"] for part in piece["parts"]) == piece["calls"]
        assert len(piece["parts"]) == len(answer["lines"])
    assert sum(line["calls"] for line in answer["lines"]) == 9


def test_the_dearest_are_kept_apart_and_the_others_are_one(rig: Rig) -> None:
    answer = ask(context_of(rig, NOW), "dashboard.trend", by="month", split="agent", limit=1)
    # planner: 0.0035 + 0.007 + 0.0035 + 0.0035 + 0.007; writer: two of 0.0035
    lines = [(one["name"], one["others"], one["cost_usd"]) for one in answer["lines"]]
    assert lines == [("planner", False, "0.0245"), (None, True, "0.007")]
    assert [[part["cost_usd"] for part in one["parts"]] for one in answer["pieces"][-2:]] == [["0.007", "0.0035"], ["0.0175", "0.0035"]]


def test_what_costs_most_with_share_and_change(rig: Rig) -> None:
    answer = ask(context_of(rig, NOW), "dashboard.top", by="tenant", **{"from": "2026-11-01", "to": "2026-11-22"})
    # November: acme 0.0035 + 0.007 + 0.0035 + 0.0035, globex 0.0035; the 21 days before: acme 0 (the failed one of the 6th is too early)
    acme, globex = answer["top"]
    assert (acme["name"], acme["cost_usd"], acme["calls"], acme["share"]) == ("acme", "0.0175", 4, 5 / 6)
    assert (globex["cost_usd"], globex["calls"], globex["unpriced_calls"], globex["change_usd"]) == ("0.0035", 2, 1, "0")
    assert globex["change_percent"] == 0.0  # the call of 2026-10-31
    assert (answer["total_usd"], answer["change_usd"], answer["change_percent"]) == ("0.021", "0.0175", 500.0)
    assert (answer["others"]["count"], answer["others"]["cost_usd"]) == (0, "0")


def test_a_name_that_stands_in_two_realms_is_one_line(store: Store) -> None:
    """Ann's two calls are 0.007 USD, Bob's one 0.0035, the nameless one 0.0035; yesterday Ann had one in the other realm."""
    rig, ann = Rig(store), {"user": "ann"}
    rig.settle(
        at("2026-11-21T10:00:00Z", attribution=ann),
        at("2026-11-21T11:00:00Z", attribution=ann, realm="lab"),
        at("2026-11-21T11:00:00Z", attribution={"user": "bob"}),
        at("2026-11-21T12:00:00Z"),
        at("2026-11-20T12:00:00Z", attribution=ann, realm="lab"),
    )
    context, day = context_of(rig, NOW), {"from": "2026-11-21", "to": "2026-11-22"}
    top = ask(context, "dashboard.top", by="user", limit=2, **day)
    assert (top["top"][0]["name"], top["top"][0]["cost_usd"], top["top"][0]["change_usd"]) == ("ann", "0.007", "0.0035")
    assert (top["others"]["count"], top["others"]["cost_usd"]) == (1, "0.0035")
    trend = ask(context, "dashboard.trend", by="day", split="user", limit=1, **{**day, "from": "2026-11-20"})
    assert [(line["name"], line["others"], line["cost_usd"]) for line in trend["lines"]] == [
        ("ann", False, "0.0105"),
        (None, True, "0.007"),
    ]
    assert [[part["cost_usd"] for part in one["parts"]] for one in trend["pieces"]] == [["0.0035", "0"], ["0.007", "0.007"]]


@pytest.mark.parametrize("by", ["model", "tenant", "agent", "step", "user", "service", "error_type"])
def test_the_dearest_and_the_others_are_a_spend_report(rig: Rig, by: str) -> None:
    context, window = context_of(rig, NOW), {"from": "2026-10-05T12:00:00Z", "to": "2026-11-21T15:10:00Z"}
    answer = ask(context, "dashboard.top", by=by, limit=1, **window)
    report = ask(context, "spend.report", group_by=by, **window)
    assert answer["total_usd"] == report["total_usd"]
    assert answer["top"][0]["name"] == report["groups"][0]["key"][by]
    assert answer["top"][0]["cost_usd"] == report["groups"][0]["cost_usd"]
    assert 1 + answer["others"]["count"] == len(report["groups"])


@pytest.mark.parametrize(
    ("verb", "given", "reason"),
    [
        ("dashboard.kpis", {"zone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ("dashboard.kpis", {"from": "2026-11-02", "to": "2026-11-01"}, "`to` lies before `from`"),
        ("dashboard.trend", {"from": "2020-01-01", "by": "hour"}, "more than 1000 hours"),
    ],
)
def test_what_cannot_be_shown_is_refused(store: Store, verb: str, given: dict[str, str], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        ask(context_of(Rig(store), NOW), verb, **given)


def test_an_empty_ledger_shows_zeros(store: Store) -> None:
    context = context_of(Rig(store), NOW)
    window = ask(context, "dashboard.kpis")["window"]
    assert (window["cost_usd"], window["calls"], window["average_usd"], window["change_percent"]) == ("0", 0, None, None)
    assert ask(context, "dashboard.top")["top"] == []
    assert len(ask(context, "dashboard.trend", by="hour")["pieces"]) == 24
    assert ask(context, "dashboard.trend", **{"from": "2027-01-01"})["pieces"] == []


# --- other money than the cost ------------------------------------------------------------------------------------------

RULES = load(
    None,
    {
        "OTEL_FINOPS_PRICING__DISCOUNTS": '[{"percent": 20, "services": ["shop"]}]',
        "OTEL_FINOPS_PRICING__SUBSCRIPTIONS": '[{"id": "seat", "services": ["coder"], "fee": 20, "from": "2026-11-01"}]',
    },
).pricing


@pytest.mark.parametrize("window", [{}, {"from": "2026-11-21T12:00:00Z", "to": "2026-11-21T12:20:00Z"}])
@pytest.mark.parametrize(
    ("basis", "shop", "coder", "other"),
    [
        ("cost", "0.0028", "0", "0.0035"),
        ("list", "0.0035", "0.0035", "0.0035"),
        ("contracted", "0.0028", "0.0035", "0.0035"),
        ("billed", "0.0028", "0", "0.0035"),
        ("effective", "0.0028", "0", "0.0035"),  # the seat's fee is not spread yet
    ],
)
def test_every_money_is_summed_up(store: Store, window: dict[str, str], basis: str, shop: str, coder: str, other: str) -> None:
    rig = Rig(store, cascade=Cascade.of(RULES))
    services = ("shop", "coder", "other")
    rig.settle(*(at("2026-11-21T12:10:00Z", attribution={"service": name, "step": name}) for name in services))
    context = context_of(rig, NOW)
    for key in ("service", "step"):  # by roll-ups and the rows that differ, and by entries alone
        groups = ask(context, "spend.report", group_by=key, basis=basis, **window)["groups"]
        assert {one["key"][key]: one["cost_usd"] for one in groups} == {"shop": shop, "coder": coder, "other": other}
        unknown = {one["key"][key]: one["unpriced_calls"] for one in groups}
        assert unknown == {"shop": 0, "coder": int(basis == "effective"), "other": 0}
    top = ask(context, "dashboard.top", by="service", basis=basis)
    assert {one["name"]: one["cost_usd"] for one in top["top"]} == {"shop": shop, "coder": coder, "other": other}


def test_months_of_the_ledger_are_kept_at_cost(store: Store) -> None:
    with pytest.raises(BadInput, match="basis: goes with `from` and `to`"):
        ask(context_of(Rig(store), NOW), "spend.report", group_by="period", basis="list")
