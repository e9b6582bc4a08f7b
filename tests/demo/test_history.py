"""The demo's story in a ledger: what stands in it afterwards, and that the same one comes out every time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from empty_ledgers import fill

from otel_finops.base.errors import StartRefused
from otel_finops.base.times import parse_ns
from otel_finops.demo.company import runaway_day, work_between
from otel_finops.demo.history import Told
from otel_finops.demo.made_spans import request_of
from otel_finops.demo.management import NOWHERE, ask
from otel_finops.demo_ledger import fill_ledger
from otel_finops.identity.principals import LOCAL
from otel_finops.operations.local import Room, open_room
from otel_finops.settings import load
from otel_finops.settings.tree import Settings
from otel_finops.testing import FakeClock

END = FakeClock(parse_ns("2026-11-20T17:30:00Z"))
"""A Friday. The loop ran away on the Thursday before: Tuesday to Thursday of this week are fewer than four days ago."""
LOOP_DAY = datetime(2026, 11, 12, tzinfo=UTC)
DAYS = 8


def settings_of(file: Path) -> Settings:
    return load(None, {"OTEL_FINOPS_DATABASE__URL": fill(f"sqlite:///{file}")})


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Told]:
    settings = settings_of(tmp_path_factory.mktemp("story") / "ledger.db")
    return settings, fill_ledger(settings, days=DAYS, clock=END)


@pytest.fixture(scope="module")
def room(told: tuple[Settings, Told]) -> Iterator[Room]:
    with open_room(told[0], clock=END) as opened:
        yield opened


def asked(room: Room, verb: str, **fields: Any) -> Any:
    return ask(room.context, verb, LOCAL, **fields)


def test_the_loop_is_the_dearest_trace_of_all(room: Room) -> None:
    assert runaway_day(datetime(2026, 11, 20, tzinfo=UTC)) == LOOP_DAY
    dearest = asked(room, "traces.search", limit=1)["traces"][0]
    # one call of the planner, and 160 of the coder
    assert (dearest["started_at"][:13], dearest["calls"]) == ("2026-11-12T14", 161)
    tree = asked(room, "traces.show", trace_id=dearest["trace_id"])
    steps = {(step["agent"], step["step"]): step["calls"] for step in tree["steps"]}
    assert steps == {("planner", "plan"): 1, ("coder", "fix_tests"): 160}


def test_all_of_it_is_marked_as_made_up(room: Room) -> None:
    groups = asked(room, "spend.report", group_by="environment")["groups"]
    assert [group["key"] for group in groups] == [{"environment": "demo"}]


def test_every_call_that_was_made_stands_once_though_a_framework_tells_of_it_too(room: Room, told: tuple[Settings, Told]) -> None:
    total = asked(room, "spend.report")["groups"][0]
    assert total["calls"] == told[1].calls
    assert asked(room, "ledger.verify")["ok"]


def test_there_is_something_to_look_at_everywhere(room: Room) -> None:
    assert {model["model"] for model in asked(room, "pricing.unpriced")["models"]} >= {"house-ranker-13b"}
    assert {budget["name"] for budget in asked(room, "budgets.list")["budgets"]} >= {"Company", "Acme", "Coder agent"}
    assert "pending" in {approval["status"] for approval in asked(room, "approvals.list")["approvals"]}
    switchings = asked(room, "kill_switch.history")["switchings"]
    assert {(one["name"], one["why"][:9]) for one in switchings} >= {("coder", "fix_tests"), ("coder", "the coder")}
    assert "Calls are stopped" in {alert["rule"] for alert in asked(room, "alerts.list")["alerts"]}
    assert {delivery["status"] for delivery in asked(room, "deliveries.list")["deliveries"]} == {"delivered"}
    assert asked(room, "outcomes.report")["total"]["failures"] > 0
    assert asked(room, "reconcile.report")["provider"] == "openai"


def test_channels_lead_nowhere_once_the_story_is_told(room: Room) -> None:
    host = NOWHERE.split("/")[2]
    assert host.endswith(".invalid")  # RFC 2606: a name of this domain never resolves
    assert {channel["host"] for channel in asked(room, "channels.list")["channels"]} == {host}


def test_the_same_seed_makes_the_same_spans_and_another_one_others() -> None:
    day = {"first": LOOP_DAY, "last": LOOP_DAY}
    midnight = parse_ns("2026-11-12")
    noon, next_day = parse_ns("2026-11-12T12:00:00Z"), parse_ns("2026-11-13")
    whole = {run.trace_id: request_of([run]) for run in work_between(midnight, next_day, seed=1, **day)}
    halves = [run for cut in ((midnight, noon), (noon, next_day)) for run in work_between(*cut, seed=1, **day)]
    assert {run.trace_id: request_of([run]) for run in halves} == whole
    assert not whole.keys() & {run.trace_id for run in work_between(midnight, next_day, seed=2, **day)}


def test_a_ledger_that_holds_calls_is_left_alone(told: tuple[Settings, Told]) -> None:
    with pytest.raises(StartRefused, match="holds calls already"):
        fill_ledger(told[0], days=1, clock=END)
