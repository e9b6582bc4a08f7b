"""Anomalies as people ask for them: lists, drivers, traces, what they say of them, and what they may see."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from ledger_rig import Rig, call

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.base.money import parse_usd
from otel_finops.base.times import NS_PER_SECOND, parse_ns
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import RememberedTrail

ACME, VIEWER = (Principal("ann", ("acme",), ROLES[role]) for role in ("manager", "viewer"))
GLOBEX = Principal("bob", ("globex",), ROLES["manager"])
_numbers = count(1)
TRAIL = RememberedTrail()


@pytest.fixture
def context(store: Store) -> Context:
    """Ten calls a day of acme's planner (0.0035 USD each) on four days, and a hundred on the fifth, which runs; looked at."""
    rig = Rig(store)
    days = [("2026-11-17", 10), ("2026-11-18", 10), ("2026-11-19", 10), ("2026-11-20", 10), ("2026-11-21", 100)]
    rig.settle(*(at(f"{day}T09:00:00Z", second) for day, calls in days for second in range(calls)))
    made = context_of(rig)
    assert ask(made, "anomalies.run", hours=0)["new"] == 4  # everything, acme, its planner, its model
    return made


def at(moment: str, second: int) -> Any:
    number, start = next(_numbers), parse_ns(moment) + second * NS_PER_SECOND
    return call(number, trace=number, start_ns=start, end_ns=start + 1, attribution={"tenant": "acme", "agent": "planner"})


def context_of(rig: Rig, **environ: str) -> Context:
    settings = load(None, {f"OTEL_FINOPS_{name}": value for name, value in environ.items()})
    prices = CurrentPrices(rig.store, rig.clock, packaged_snapshot)
    return make_context(settings, rig.store, rig.subjects, prices, rig.clock, trail=TRAIL)


def ask(context: Context, verb: str, principal: Principal = LOCAL, /, **given: Any) -> Json:
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, principal, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer)
    return answer


def number_of(context: Context, scope: str) -> int:
    [one] = ask(context, "anomalies.list", scope=scope)["anomalies"]
    return int(one["no"])


def test_a_finding_says_what_was_spent_what_was_usual_and_why(context: Context) -> None:
    [one] = ask(context, "anomalies.list", scope="agent")["anomalies"]
    assert (one["tenant"], one["name"], one["step"], one["from"]) == ("acme", "planner", "day", "2026-11-21T00:00:00.000000000Z")
    assert (one["value_usd"], one["expected_usd"], one["difference_usd"], one["spread_usd"]) == ("0.35", "0.035", "0.315", "0.01")
    assert (one["score"], one["compared_with"], one["calls"], one["running"]) == (31.5, 4, 100, True)
    assert one["drivers"] == [{"kind": "volume", "amount_usd": "0.315"}]
    assert one["text"] == (
        "The agent planner of tenant acme, day of 2026-11-21: 0.35 USD where 0.035 USD would have been usual. "
        "0.32 USD of the difference are due to volume: agent planner, tenant acme: 100 calls instead of 10."
    )


def test_it_leads_to_its_dearest_traces(context: Context) -> None:
    shown = ask(context, "anomalies.show", no=number_of(context, "agent"))
    assert len(shown["traces"]) == 10
    assert {one["cost_usd"] for one in shown["traces"]} == {"0.0035"}
    assert shown["traces_path"] == (
        "traces?tenant=acme&agent=planner&from=2026-11-21T00%3A00%3A00.000000000Z&to=2026-11-22T00%3A00%3A00.000000000Z"
    )
    [driver] = shown["anomaly"]["drivers"]
    assert (driver["details"][0]["before"], driver["details"][0]["after"]) == ("10", "100")


def test_who_sees_one_tenant_sees_no_sum_of_all(context: Context) -> None:
    assert {one["scope"] for one in ask(context, "anomalies.list", ACME)["anomalies"]} == {"tenant", "agent", "model"}
    assert ask(context, "anomalies.list", GLOBEX)["anomalies"] == []
    no = number_of(context, "global")
    for verb in ("anomalies.show", "anomalies.ack"):
        with pytest.raises(NotFound, match=f"There is no anomaly {no}"):
            ask(context, verb, ACME, no=no)
    with pytest.raises(Forbidden, match="looks at the spend of all tenants"):
        ask(context, "anomalies.run", ACME)
    with pytest.raises(Forbidden, match=r"needs the permission manage"):
        ask(context, "anomalies.ack", VIEWER, no=number_of(context, "agent"))


def test_acknowledging_goes_on_record_once(context: Context) -> None:
    no, before = number_of(context, "agent"), len(TRAIL.made)
    assert ask(context, "anomalies.ack", ACME, no=no, dry_run=True)["changed"] is False
    answer = ask(context, "anomalies.ack", ACME, no=no, why="load test")
    assert (answer["changed"], answer["anomaly"]["state"], answer["anomaly"]["note"]["who"]) == (True, "acked", "ann")
    assert ask(context, "anomalies.ack", ACME, no=no)["changed"] is False
    assert [(one.what, one.after) for one in TRAIL.made[before:]] == [("anomalies.ack", {"no": no, "state": "acked", "why": "load test"})]
    assert [one["no"] for one in ask(context, "anomalies.list", state="acked")["anomalies"]] == [no]
    assert ask(context, "anomalies.reopen", ACME, no=no)["anomaly"]["state"] == "open"
    assert [one["verb"] for one in ask(context, "anomalies.show", no=no)["notes"]] == ["ack", "reopen"]


def test_a_muted_finding_is_listed_as_such(context: Context) -> None:
    mute = ask(context, "anomalies.mute", ACME, scope="agent", name="planner", until="2026-11-22", why="migration")
    assert mute["tenant"] == "acme"  # the only one that he sees
    muted = {one["scope"]: one["muted"] for one in ask(context, "anomalies.list")["anomalies"]}
    assert muted == {"global": False, "tenant": False, "model": False, "agent": True}
    assert ask(context, "anomalies.mutes", GLOBEX)["mutes"] == []
    with pytest.raises(NotFound):
        ask(context, "anomalies.unmute", GLOBEX, no=mute["no"])
    ask(context, "anomalies.unmute", ACME, no=mute["no"])
    assert ask(context, "anomalies.mutes", ACME)["mutes"] == []
    with pytest.raises(BadInput, match="until: lies in the past"):
        ask(context, "anomalies.mute", ACME, until="2026-11-20")


def test_the_course_of_any_group_is_judged_in_the_same_way(context: Context) -> None:
    """The day before has three others that are over, which are too few."""
    pieces = ask(context, "anomalies.course", VIEWER, agent="planner", last=2)["pieces"]
    assert [(one["value_usd"], one["expected_usd"], one["stands_out"], one["running"]) for one in pieces] == [
        ("0.035", None, False, False), ("0.35", "0.035", True, True),
    ]  # fmt: skip
    nothing = ask(context, "anomalies.course", GLOBEX, last=1)["pieces"]
    assert [(one["value_usd"], one["expected_usd"]) for one in nothing] == [("0", None)]


def test_two_times_of_any_group_are_compared(context: Context) -> None:
    """A day of 100 calls beside two days of 10 each, which are 0.035 a day."""
    found = ask(context, "anomalies.explain", VIEWER, **{"from": "2026-11-21", "to": "2026-11-22", "against_from": "2026-11-19"})
    assert (found["value_usd"], found["against_usd"], found["expected_usd"]) == ("0.35", "0.07", "0.035")
    assert sum(parse_usd(one["amount_usd"]) for one in found["drivers"]) == parse_usd(found["difference_usd"])
    assert [one["kind"] for one in found["drivers"]] == ["volume"]
    with pytest.raises(BadInput, match="to: lies not after the beginning"):
        ask(context, "anomalies.explain", **{"from": "2026-11-21", "to": "2026-11-21"})


def test_the_job_does_the_same_by_the_clock(context: Context) -> None:
    [state] = [one for one in context.jobs.all() if one.job.name == "find_anomalies"]
    assert (state.job.interval_s, state.job.operation) == (900, "anomalies.run")
    done = context.jobs.run("find_anomalies", who="ann")
    assert (done.outcome, done.said) == (
        "done",
        "8 series judged: 8 days and hours stand out, 4 of them new, 0 with other figures; 0 cleared",
    )
