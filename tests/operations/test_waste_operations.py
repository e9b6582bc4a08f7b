"""Outcomes, unit costs and waste as people ask for them: what is recorded, what bad input is told, and that the named
policy stops the waste."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from empty_ledgers import empty_store
from ledger_rig import PRICES, SECOND, Rig, call, plain, trace_id
from pydantic import ValidationError

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.genai.sighting import AGENT, SaidOutcome, Sighting
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.insight.outcomes_said import SaidOutcomes
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.settle import Settler
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.testing import NOON, RememberedTrail

MAX = Principal("max", ("acme",), ROLES["analyst"])
HOUR = 3600 * SECOND


def agent(trace: int, success: bool | None) -> Sighting:
    said = None if success is None else SaidOutcome(success, "task")
    attribution = {"tenant": "acme", "agent": "support", "session": f"s{trace}"}
    return plain(1, trace, kind=AGENT, genai=True, attribution=attribution, outcome=said)


def turn(number: int, trace: int) -> Sighting:
    """One call after the other, each of its own length: 1,000 tokens in, 100 and some out."""
    start = NOON + (100 * trace + number) * SECOND
    usage = {"input_uncached": 1000, "output": 100 + number}
    said = {"tenant": "acme", "agent": "support"}
    return call(number, trace, 1, start_ns=start, end_ns=start + SECOND // 2, usage=usage, attribution=said)


class World:
    """Trace 1 succeeds with 2 calls, trace 2 fails with 30 in turn, trace 3 tells nothing; all of acme."""

    def __init__(self, url: str) -> None:
        store = empty_store(url)
        self.rig = Rig(store)
        rig = self.rig
        rig.settler = Settler(
            store, rig.leases, PRICES, [rig.rollups], rig.clock, sleep=rig.clock.advance, recent=rig.recent,
            trace_projections=[rig.figures, SaidOutcomes()],
        )  # fmt: skip
        rig.settle(agent(1, True), turn(2, 1), turn(3, 1), agent(2, False), *(turn(2 + number, 2) for number in range(30)))
        rig.settle(agent(3, None), turn(2, 3))
        rig.clock.advance(3600)
        prices = CurrentPrices(store, rig.clock, packaged_snapshot)
        self.context: Context = make_context(load(None, {}), store, rig.subjects, prices, rig.clock, trail=RememberedTrail())

    def __call__(self, operation: str, principal: Principal = LOCAL, /, **fields: Any) -> Json:
        one = OPERATIONS.named(operation)
        return invoke(one, self.context, principal, one.input.model_validate(fields), origin="test")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("waste")
    made = World(f"sqlite:///{folder / 'ledger.db'}")
    yield made
    made.rig.store.close()


def test_outcomes_are_recorded_alone_and_in_lists(world: World) -> None:
    before = world("outcomes.report")["total"]
    assert (before["attempts"], before["successes"], before["success_rate"]) == (2, 1, 0.5)
    one = {"trace_id": trace_id(3), "outcome": "success", "name": "paid"}
    assert world("outcomes.record", MAX, **one, note="invoice 7")["recorded"] == 1
    assert world("outcomes.record", MAX, **one)["recorded"] == 0
    both = [{"trace_id": trace_id(2), "outcome": "success", "name": "paid"}, {**one, "outcome": "none"}]
    assert world("outcomes.record", MAX, outcomes=both)["recorded"] == 2
    listed = world("outcomes.list", MAX, name="paid")["outcomes"]
    assert [(row["trace_id"][-1], row["outcome"], row["stands"], row["who"]) for row in listed] == [
        ("3", "none", False, "max"), ("2", "success", True, "max"), ("3", "success", False, "max"),
    ]  # fmt: skip
    page = world("outcomes.list", MAX, limit=2)
    assert [row["no"] for row in world("outcomes.list", MAX, limit=2, cursor=page["next_cursor"])["outcomes"]] == [listed[2]["no"]]
    assert world("outcomes.report", MAX, group_by="name", name="paid")["groups"][0]["successes"] == 1
    world("outcomes.record", MAX, trace_id=trace_id(2), outcome="none", name="paid")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "trace_id: must be given, or a list of `outcomes`"),
        ({"trace_id": trace_id(1)}, "outcome: must be given"),
        ({"trace_id": trace_id(1), "outcomes": [{"trace_id": trace_id(1), "outcome": "success"}]}, "a list stands alone"),
        ({"trace_id": trace_id(9), "outcome": "success"}, "nothing of it is booked yet"),
        ({"trace_id": trace_id(1), "outcome": "none", "name": "never said"}, "nobody has said anything of trace"),
    ],
)
def test_what_cannot_be_recorded_is_told_how_to_mend(world: World, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(BadInput, match=text):
        world("outcomes.record", **fields)


def test_who_may_record_for_whom(world: World) -> None:
    one = {"trace_id": trace_id(1), "outcome": "success"}
    with pytest.raises(Forbidden):
        world("outcomes.record", MAX._replace(permissions=ROLES["viewer"]), **one)
    with pytest.raises(NotFound):
        world("outcomes.record", MAX, **one, tenant="globex")
    with pytest.raises(ValidationError, match="no JSON list"):
        world("outcomes.record", outcomes="[")
    with pytest.raises(BadInput, match="cannot be grouped by 'colour'"):
        world("outcomes.report", group_by="colour")


def test_unit_costs_of_the_last_days(world: World) -> None:
    """33 calls of 1,000 tokens in and 102 to 131 out; acme's calls name no session, their agents' spans do."""
    found = world("unit_costs.report", MAX)
    total = found["total"]
    assert (total["calls"], total["traces"], total["sessions"]) == (33, 3, 3)
    assert found["outcomes"][0]["name"] == "task"
    assert found["outcomes"][0]["usd_per_success"] == found["outcomes"][0]["cost_usd"]
    assert world("unit_costs.report", MAX, agent="nobody")["outcomes"] is None
    assert world("unit_costs.report", MAX._replace(tenants=("globex",)))["total"]["usd_per_call"] is None


def test_the_policy_that_is_named_would_have_saved_what_was_wasted(world: World) -> None:
    """Trace 2 makes 30 calls in turn: five beyond the 25th. A replay of the named policy stops those five, and saves their dollars."""
    [loop] = world("waste.report", MAX, kind="runaway_loop")["findings"]
    assert (loop["calls"], loop["agent"], [trace["trace_id"] for trace in loop["dearest"]]) == (5, "support", [trace_id(2)])
    policy = loop["policy"]
    draft = {"ready": policy["ready"], "limit": policy["limit"], "scope": policy["scope"]}
    made = world("policies.create", **draft)["policy"]
    replayed = world("replay.run")
    world("policies.delete", no=made["no"])
    assert replayed["replayed"]["saved_usd"] == loop["usd"]
    words = shlex.split(policy["command"])
    assert words[:4] == ["otel-finops", "policies", "create", "--ready"]
    assert words[-2:] == ["--scope", "tenant=acme,agent=support"]


def test_findings_are_chosen_by_kind_and_amount(world: World) -> None:
    everything = world("waste.report")
    assert sorted(one["kind"] for one in everything["kinds"]) == ["failing_agent", "runaway_loop"]
    assert sum(one["findings"] for one in everything["kinds"]) == len(everything["findings"])
    failing = [one for one in everything["findings"] if one["kind"] == "failing_agent"]
    assert [(one["calls"], one["traces"]) for one in failing] == [(1, 1)]
    assert world("waste.report", min_usd="1000")["findings"] == []
    assert len(world("waste.report", limit=1)["findings"]) == 1
    assert (everything["complete"], everything["chosen"]) == (True, "all")
    assert (everything["all_calls"], everything["all_cost_usd"]) == (everything["calls"], everything["cost_usd"])
    others = world("waste.report", MAX._replace(tenants=("globex",)))
    assert (others["calls"], others["all_calls"], others["all_cost_usd"]) == (0, 0, "0")
