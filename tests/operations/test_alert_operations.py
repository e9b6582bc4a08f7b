"""Jobs, alert rules and alerts as people ask for them, and what those who are bound to tenants see of them."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.audit.stored import StoredTrail
from otel_finops.base.errors import BadInput, Busy, Forbidden, NotFound, StartRefused
from otel_finops.governance.kill_switches import Target
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

MAX = Principal("max", ("acme",), ROLES["manager"])
GUS = Principal("gus", ("globex",), ROLES["manager"])


class World:
    """A database, and who asks."""

    def __init__(self, store: Store, **environ: str) -> None:
        self.store, self.clock = store, FakeClock()
        prices = CurrentPrices(store, self.clock, packaged_snapshot)
        settings = load(None, {f"OTEL_FINOPS_{name}": value for name, value in environ.items()})
        self.context = make_context(settings, store, Subjects(), prices, self.clock, trail=StoredTrail(store))

    def ask(self, verb: str, principal: Principal = LOCAL, /, **said: Any) -> Any:
        one = OPERATIONS.named(verb)
        return invoke(one, self.context, principal, one.input.model_validate(said), origin="test")

    def stop(self, tenant: str) -> None:
        self.context.switches.set(Target("tenant", tenant), who="ann", why="too dear")
        self.clock.advance(1)

    def recorded(self) -> list[tuple[str, str, str, str]]:
        """Chain, who, operation and outcome of the trail, oldest first."""
        with self.store.read() as transaction:
            rows = transaction.execute("SELECT tenant, who, what, outcome FROM audit_entries ORDER BY entry_no")
        return [(tenant, who, what, outcome) for tenant, who, what, outcome in rows]


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


# --- jobs -----------------------------------------------------------------------------------------------------------------


def test_jobs_are_listed_with_what_they_came_to_and_started_by_hand(world: World) -> None:
    before = {one["job"]: one for one in world.ask("jobs.list")["jobs"]}
    assert (before["prune"]["operation"], before["prune"]["every_seconds"], before["prune"]["last_at"]) == ("retention.prune", 86_400, None)
    done = world.ask("jobs.run", job="prune_skeletons")
    assert (done["run"]["outcome"], done["run"]["who"]) == ("done", "local")
    shown = world.ask("jobs.show", job="prune_skeletons")
    assert shown["job"]["said"] == "0 spans of traces without GenAI spans pruned"
    assert shown["job"]["next_at"] == "2026-11-21T12:05:00.000000000Z"
    assert [run["no"] for run in shown["runs"]] == [1]
    assert [row[2:] for row in world.recorded()] == [("jobs.run", "begun"), ("jobs.run", "done")]


def test_a_job_that_runs_elsewhere_or_is_none_is_not_started(world: World) -> None:
    held = World(world.store).context.jobs.runner._leases.acquire("job:prune")
    assert held is not None
    with pytest.raises(Busy, match="job prune runs already"):
        world.ask("jobs.run", job="prune")
    assert "jobs on" in next(one["running_in"] for one in world.ask("jobs.list")["jobs"] if one["job"] == "prune")
    with pytest.raises(NotFound, match="There is no job 'sleep'"):
        world.ask("jobs.run", job="sleep")
    with pytest.raises(NotFound):
        world.ask("jobs.show", job="sleep")
    assert world.ask("jobs.run", job="prune", dry_run=True)["run"] is None


def test_settings_say_how_often_and_name_only_jobs_that_there_are(store: Store) -> None:
    jobs = World(store, JOBS__INTERVALS='{"check_alerts": 20, "refresh_prices": 90}').ask("jobs.list")["jobs"]
    assert {one["job"]: one["every_seconds"] for one in jobs}["check_alerts"] == 20
    assert "refresh_prices" not in {one["job"] for one in jobs}  # nothing says from where
    with pytest.raises(StartRefused, match=r"jobs\.intervals: there is no job 'sleep'; jobs are allowances, "):
        World(store, JOBS__INTERVALS='{"sleep": 20}')
    with pytest.raises(StartRefused, match=r"JOBS__INTERVALS\.prune: must be greater than or equal to 5"):
        World(store, JOBS__INTERVALS='{"prune": 1}')


def test_nobody_who_is_bound_to_a_tenant_sees_or_starts_jobs(world: World) -> None:
    admin = Principal("max", ("acme",), ROLES["admin"])
    for name, said in (("jobs.list", {}), ("jobs.show", {"job": "prune"}), ("jobs.run", {"job": "prune"}), ("alerts.check", {})):
        with pytest.raises(Forbidden, match="needs a token for all tenants"):
            world.ask(name, admin, **said)


# --- rules ------------------------------------------------------------------------------------------------------------------


def test_a_rule_tells_at_once_what_it_finds(world: World) -> None:
    world.stop("acme")
    tried = world.ask("alert_rules.create", MAX, name="stopped", kind="kill_switch", dry_run=True)
    assert (tried["found"], tried["first"][0]["title"], tried["changed"]) == (1, "Kill switch: tenant acme", False)
    assert world.ask("alert_rules.list")["rules"] == []
    made = world.ask("alert_rules.create", MAX, name="stopped", kind="kill_switch", quiet="22:00-07:00", quiet_zone="Europe/Rome")
    assert (made["rule"]["tenant"], made["rule"]["quiet"], made["rule"]["quiet_days"]) == ("acme", "22:00-07:00", [1, 2, 3, 4, 5, 6, 7])
    assert world.ask("alert_rules.create", GUS, name="stopped", kind="kill_switch")["found"] == 0
    assert world.recorded() == [("acme", "max", "alert_rules.create", "done"), ("globex", "gus", "alert_rules.create", "done")]


def test_what_is_not_given_stays(world: World) -> None:
    world.ask("alert_rules.create", name="cheap", kind="unpriced", params="percent=3,by=provider model", group_by="all", labels="team=ml")
    changed = world.ask("alert_rules.update", no=1, params={"hours": 6}, quiet="12:00-13:00", quiet_days="1,2")["rule"]
    assert changed["params"] == {"percent": "3", "hours": 6, "tokens": 10_000, "by": ["provider", "model"]}
    assert (changed["group_by"], changed["labels"], changed["quiet_days"]) == ("all", {"team": "ml"}, [1, 2])
    kept = world.ask("alert_rules.update", no=1, group_by="provider,model", quiet_zone="Europe/Rome")["rule"]
    assert (kept["quiet"], kept["quiet_zone"], kept["quiet_days"], kept["group_by"]) == (
        "12:00-13:00", "Europe/Rome", [1, 2], "provider,model",
    )  # fmt: skip
    assert world.ask("alert_rules.update", no=1, quiet="none")["rule"]["quiet"] is None
    assert world.ask("alert_rules.update", no=1, quiet="none")["changed"] is False
    assert [one["revision"] for one in world.ask("alert_rules.show", no=1)["history"]] == [4, 3, 2, 1]


def test_of_many_definitions_the_last_are_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.operations.alert_rules._HISTORY_SHOWN", 2)
    world.ask("alert_rules.create", name="cheap", kind="unpriced")
    for hours in (1, 2, 3):
        world.ask("alert_rules.update", no=1, params={"hours": hours})
    assert [one["revision"] for one in world.ask("alert_rules.show", no=1)["history"]] == [4, 3]


def test_what_can_be_no_rule_is_refused_in_words(world: World) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"params": "percent"}, "NAME=VALUE"),
        ({"params": "{"}, "begins like JSON and is none"),
        ({"group_by": "all,model"}, "group_by: `each`, `all`"),
        ({"quiet": "at night"}, "quiet: two times of the day"),
        ({"quiet": "22:00-07:00", "quiet_zone": "Rome"}, "zone: there is no time zone 'Rome'"),
        ({"params": {"budgets": 1}}, "params.budgets: a rule of kind unpriced has none"),
    ]
    for said, fault in cases:
        with pytest.raises((BadInput, ValueError)) as refused:
            world.ask("alert_rules.create", name="odd", kind="unpriced", **said)
        assert fault in str(refused.value)


def test_rules_of_others_are_not_there(world: World) -> None:
    world.ask("alert_rules.create", name="all", kind="kill_switch")
    world.ask("alert_rules.create", MAX, name="own", kind="kill_switch")
    assert [one["name"] for one in world.ask("alert_rules.list", MAX)["rules"]] == ["own"]
    for who, no in ((MAX, 1), (GUS, 2)):
        for name in ("alert_rules.show", "alert_rules.update", "alert_rules.delete"):
            with pytest.raises(NotFound, match=f"There is no alert rule {no}"):
                world.ask(name, who, no=no)
    with pytest.raises(NotFound, match="no such tenant"):
        world.ask("alert_rules.create", MAX, name="theirs", kind="kill_switch", tenant="globex")


# --- alerts -----------------------------------------------------------------------------------------------------------------


def test_alerts_from_their_beginning_to_their_end(world: World) -> None:
    world.stop("acme")
    assert [one["title"] for one in world.ask("alerts.check", dry_run=True)["would_tell"]] == []  # no rule stands yet
    checked = world.ask("alerts.check")
    assert checked["run"]["said"] == "10 rules, 1 alerts, 1 told"
    [alert] = world.ask("alerts.list")["alerts"]
    assert (alert["rule"], alert["phase"], alert["tenant"]) == ("Calls are stopped", "firing", "acme")
    assert world.ask("alerts.list", MAX)["alerts"] == [alert]
    assert world.ask("alerts.list", GUS)["alerts"] == world.ask("alerts.history", GUS)["events"] == []
    state = next(one["state"] for one in world.ask("alert_rules.list")["rules"] if one["kind"] == "kill_switch")
    assert (state["found"], state["alerts"], state["fault"]) == (1, 1, None)
    world.context.switches.clear(Target("tenant", "acme"), who="ann", why="mended")
    world.clock.advance(60)
    world.ask("alerts.check")
    assert world.ask("alerts.list")["alerts"] == []
    assert [one["deed"] for one in world.ask("alerts.history", MAX, alert=alert["alert"])["events"]] == ["over", "firing"]
    page = world.ask("alerts.history", limit=1)
    assert [one["deed"] for one in world.ask("alerts.history", cursor=page["next_cursor"])["events"]] == ["firing"]


def test_muting_is_for_whoever_the_rule_belongs_to(world: World) -> None:
    world.ask("alert_rules.create", name="all", kind="kill_switch")
    world.ask("alert_rules.create", MAX, name="own", kind="kill_switch")
    world.stop("acme")
    world.ask("alerts.check")
    alerts = {one["rule"]: one["alert"] for one in world.ask("alerts.list", MAX)["alerts"]}
    with pytest.raises(Forbidden, match="was made for all tenants"):
        world.ask("alerts.mute", MAX, alert=alerts["all"], why="known")
    with pytest.raises(NotFound, match="There is no alert"):
        world.ask("alerts.mute", GUS, alert=alerts["own"], why="known")
    with pytest.raises(NotFound):
        world.ask("alerts.mute", MAX, rule_no=1, why="known")
    with pytest.raises(BadInput, match="rule_no, alert: name one of them"):
        world.ask("alerts.mute", MAX, why="known")
    world.ask("alerts.mute", MAX, alert=alerts["own"], hours=2, why="known")
    muted = {one["rule"]: one["muted_until"] for one in world.ask("alerts.list", MAX)["alerts"]}
    assert muted == {"all": None, "own": "2026-11-21T14:00:01.000000000Z"}
    assert [one["alert"] for one in world.ask("alerts.mutes", MAX)["mutes"]] == [alerts["own"]]
    assert world.ask("alerts.mutes", GUS)["mutes"] == []
    world.ask("alerts.unmute", MAX, alert=alerts["own"], why="let us hear")
    assert world.ask("alerts.mutes")["mutes"] == []


def test_a_service_without_budgets_says_that_nothing_is_known_of_them(store: Store) -> None:
    world = World(store, FEATURES__BUDGETS="false")
    world.ask("alerts.check")
    faults = {one["name"]: one["state"]["fault"] for one in world.ask("alert_rules.list")["rules"] if one["state"]["fault"]}
    assert faults == {
        name: f"nothing is known of what rules of kind {kind} are about: that feature is switched off"
        for name, kind in (("Budget thresholds", "budget"), ("Budget forecast", "forecast"))
    }


def test_the_kinds_of_rules_are_listed_with_what_they_go_by(world: World) -> None:
    answer = world.ask("alert_rules.kinds", MAX)
    kinds = {one["kind"]: one for one in answer["kinds"]}
    assert kinds["unpriced"]["looks_at"] == "tokens without a price"
    usual = {one["name"]: one["usual"] for one in kinds["unpriced"]["params"]}
    assert usual == {"percent": "5", "hours": "24", "tokens": "10000", "by": ""}
    [windows] = [one for one in kinds["spend_rate"]["params"] if one["name"] == "windows"]
    assert windows["usual"] == "60/5/14.4 360/30/6"
    assert kinds["kill_switch"]["params"] == []
    OPERATIONS.named("alert_rules.kinds").output.model_validate(answer)
