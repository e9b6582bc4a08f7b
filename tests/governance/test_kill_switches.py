"""Kill switches: what stops which call, who may switch, what stands on record, and how soon every process knows."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from otel_finops.base.errors import BadInput, Forbidden, NotFound, Unavailable
from otel_finops.governance import kill_switches
from otel_finops.governance.kill_switches import Attempt, KillSwitches, Scope, Target
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.settings.kill_switch import KillSwitch
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock, RememberedTrail

CALL = Attempt("acme", "openai", "gpt-4o-2024-08-06", "planner")
MANAGER = Principal("max", ("acme",), ROLES["manager"])
VIEWER = Principal("vera", ("acme",), ROLES["viewer"])
GLOBEX = Principal("gil", ("globex",), ROLES["manager"])


@pytest.mark.parametrize(
    ("scope", "name", "tenant", "stops"),
    [
        ("global", "", None, True),
        ("provider", "openai", None, True),
        ("provider", "OpenAI", None, True),
        ("provider", "azure", None, False),
        ("provider", "openai", "acme", True),
        ("provider", "openai", "globex", False),
        ("tenant", "acme", None, True),
        ("tenant", "globex", None, False),
        ("model", "GPT-4o-2024-08-06", None, True),
        ("model", "gpt-4o", None, False),  # another model: nothing is stopped by likeness
        ("model", "gpt-4o*", None, True),
        ("model", "gpt-4?-2024-08-06", None, False),  # only * means anything
        ("agent", "planner", None, True),
        ("agent", "Planner", None, False),
    ],
)
def test_a_switch_stops_what_it_names(scope: Scope, name: str, tenant: str | None, stops: bool) -> None:
    assert Target(scope, name, tenant).checked().stops(CALL) is stops


@pytest.mark.parametrize("target", [Target("provider", "openai"), Target("model", "*"), Target("agent", "planner")])
def test_what_is_not_known_of_a_call_is_not_stopped_by_it(target: Target) -> None:
    assert not target.stops(Attempt("acme"))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Target("global", "openai"), "a global switch has none"),
        (Target("provider"), "say which provider"),
        (Target("agent", "  "), "say which agent"),
        (Target("tenant", "acme", "globex"), "leave it out"),
        (Target("global", "", "acme"), "scope is `tenant`"),
    ],
)
def test_a_target_that_is_none_is_refused(target: Target, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        target.checked()


def test_many_stars_take_no_time() -> None:
    assert not Target("model", "a*" * 40 + "b").stops(Attempt("acme", model="a" * 250))


def test_the_last_switching_holds_and_all_of_them_stay(store: Store) -> None:
    clock = FakeClock()
    switches = KillSwitches(store, clock, KillSwitch())
    openai = Target("provider", "openai")
    first, before = switches.set(openai, who="ann", why="a loop")
    assert (first.target, first.who, first.why, before) == (openai, "ann", "a loop", None)
    assert switches.set(openai, who="ann", why="a loop") == (first, first)  # nothing new
    clock.advance(60)
    again, before = switches.set(openai, who="bob", why="still looping")
    assert before == first
    assert switches.all() == [again]
    assert switches.clear(openai, who="bob", why="mended") == again
    assert switches.all() == []
    with pytest.raises(NotFound, match="no kill switch for provider openai"):
        switches.clear(openai, who="bob", why="once more")
    history = switches.history(None, None, 10)
    assert [(one.is_set, one.who, one.why) for one in history] == [
        (False, "bob", "mended"), (True, "bob", "still looping"), (True, "ann", "a loop"),
    ]  # fmt: skip
    assert switches.history(None, history[0].no, 1) == [history[1]]


def test_switches_of_one_name_for_different_tenants_are_different_switches(store: Store) -> None:
    switches = KillSwitches(store, FakeClock(), KillSwitch())
    switches.set(Target("provider", "openai", "acme"), who="max", why="acme's loop")
    switches.set(Target("provider", "openai"), who="ann", why="everybody's loop")
    switches.clear(Target("provider", "openai"), who="ann", why="mended")
    assert [(one.target.tenant, one.why) for one in switches.all()] == [("acme", "acme's loop")]


def test_those_of_the_settings_hold_and_cannot_be_cleared(store: Store) -> None:
    switches = KillSwitches(store, FakeClock(), KillSwitch(providers=("OpenAI",), agents=("planner",), why="budget is spent"))
    assert [(one.target.scope, one.target.name, one.no, one.why) for one in switches.stopping(CALL)] == [
        ("provider", "openai", None, "budget is spent"), ("agent", "planner", None, "budget is spent"),
    ]  # fmt: skip
    with pytest.raises(BadInput, match=r"kill_switch\.providers"):
        switches.clear(Target("provider", "openai"), who="ann", why="please")


def test_every_process_knows_within_a_second(store: Store) -> None:
    clock = FakeClock()
    here, there = (KillSwitches(store, clock, KillSwitch()) for _ in range(2))
    assert there.stopping(CALL) == []
    here.set(Target("global"), who="ann", why="stop")
    clock.advance(0.999)
    assert [one.why for one in there.stopping(CALL)] == [one.why for one in here.stopping(CALL)] == ["stop"]
    here.clear(Target("global"), who="ann", why="go")
    clock.advance(0.999)
    assert there.stopping(CALL) == []
    assert here.stopping(CALL) == []


def test_the_process_that_switches_knows_at_once(store: Store) -> None:
    switches = KillSwitches(store, FakeClock(), KillSwitch())
    assert switches.stopping(CALL) == []
    switches.set(Target("global"), who="ann", why="stop")
    assert len(switches.stopping(CALL)) == 1


class Away:
    """A store that can be taken away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = False

    def read(self) -> Any:
        if self.away:
            raise Unavailable("the database is away")
        return self._store.read()


def test_while_the_store_is_away_the_known_switches_hold_on(store: Store) -> None:
    clock = FakeClock()
    KillSwitches(store, clock, KillSwitch()).set(Target("global"), who="ann", why="stop")
    away = Away(store)
    switches = KillSwitches(away, clock, KillSwitch())  # type: ignore[arg-type]
    away.away = True
    with pytest.raises(Unavailable):
        switches.stopping(CALL)  # never read yet: nobody can tell
    away.away = False
    assert len(switches.stopping(CALL)) == 1
    away.away = True
    clock.advance(3600)
    assert len(switches.stopping(CALL)) == 1


def test_switchings_at_once_all_stand_on_record(store: Store) -> None:
    switches = KillSwitches(store, FakeClock(), KillSwitch())
    target = Target("agent", "planner")
    threads = [threading.Thread(target=switches.set, args=(target,), kwargs={"who": f"p{n}", "why": "x"}) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(switches.history(None, None, 20)) == 8
    assert len(switches.all()) == 1


# --- the verbs ---------------------------------------------------------------------------------------------------------


SETTINGS = load(None, {"OTEL_FINOPS_KILL_SWITCH__TENANTS": '["initech"]', "OTEL_FINOPS_KILL_SWITCH__WHY": "has not paid"})


def context_of(store: Store, trail: RememberedTrail | None = None, settings: Settings = SETTINGS) -> Context:
    clock = FakeClock()
    prices = CurrentPrices(store, clock, packaged_snapshot)
    return make_context(settings, store, Subjects(), prices, clock, trail=trail or RememberedTrail())


def ask(context: Context, verb: str, principal: Principal = LOCAL, /, **given: Any) -> Json:
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, principal, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer)
    return answer


def test_switching_is_answered_listed_and_on_record(store: Store) -> None:
    trail = RememberedTrail()
    context = context_of(store, trail)
    done = ask(context, "kill_switch.set", scope="provider", name="OpenAI", why="a loop")
    shown = {
        "scope": "provider", "name": "openai", "tenant": None, "origin": "stored", "who": "local", "why": "a loop",
        "at": "2026-11-21T12:00:00.000000000Z",
    }  # fmt: skip
    assert done == {"switch": shown, "active": True, "changed": True}
    assert ask(context, "kill_switch.set", scope="provider", name="openai", why="a loop")["changed"] is False
    given = {"scope": "tenant", "name": "initech", "tenant": None, "origin": "settings", "who": None, "why": "has not paid", "at": None}
    assert ask(context, "kill_switch.list") == {"switches": [given, shown], "next_cursor": None}
    cleared = ask(context, "kill_switch.clear", scope="provider", name="openai", why="mended")
    assert (cleared["switch"], cleared["active"]) == (shown, False)
    assert [one["action"] for one in ask(context, "kill_switch.history")["switchings"]] == ["clear", "set"]
    assert [(one.what, one.before, one.after) for one in trail.changes] == [
        ("kill_switch.set", None, shown), ("kill_switch.clear", shown, {"why": "mended"}),
    ]  # fmt: skip


def test_a_dry_run_switches_nothing(store: Store) -> None:
    context = context_of(store)
    planner = {"scope": "agent", "name": "planner", "why": "tried"}
    assert ask(context, "kill_switch.set", **planner, dry_run=True)["changed"] is False
    with pytest.raises(NotFound):
        ask(context, "kill_switch.clear", **planner, dry_run=True)
    ask(context, "kill_switch.set", **planner)
    assert ask(context, "kill_switch.clear", **planner, dry_run=True)["changed"] is False
    assert len(ask(context, "kill_switch.history")["switchings"]) == 1


def test_lists_come_in_pages(store: Store) -> None:
    context = context_of(store)
    for name in ("a", "b", "c"):
        ask(context, "kill_switch.set", scope="agent", name=name, why="x")
    first = ask(context, "kill_switch.list", limit=3)
    assert [one["name"] for one in first["switches"]] == ["initech", "a", "b"]
    rest = ask(context, "kill_switch.list", limit=3, cursor=first["next_cursor"])
    assert ([one["name"] for one in rest["switches"]], rest["next_cursor"]) == (["c"], None)
    newest = ask(context, "kill_switch.history", limit=2)
    older = ask(context, "kill_switch.history", limit=2, cursor=newest["next_cursor"])
    assert [one["name"] for one in (*newest["switchings"], *older["switchings"])] == ["c", "b", "a"]


def test_a_manager_bound_to_tenants_switches_theirs_alone(store: Store) -> None:
    context = context_of(store)
    ask(context, "kill_switch.set", MANAGER, scope="tenant", name="acme", why="stop us")
    ask(context, "kill_switch.set", MANAGER, scope="agent", name="planner", tenant="acme", why="a loop")
    for refused, fault in (
        ({"scope": "global"}, Forbidden),
        ({"scope": "provider", "name": "openai"}, Forbidden),
        ({"scope": "tenant", "name": "globex"}, NotFound),
        ({"scope": "model", "name": "gpt-4o", "tenant": "globex"}, NotFound),
    ):
        for verb in ("kill_switch.set", "kill_switch.clear"):
            with pytest.raises(fault):
                ask(context, verb, MANAGER, **refused, why="stop them")
    with pytest.raises(Forbidden, match="permission manage"):
        ask(context, "kill_switch.set", VIEWER, scope="tenant", name="acme", why="stop us")


@pytest.mark.parametrize("stopped", [{"scope": "tenant", "name": "acme"}, {"scope": "agent", "name": "planner", "tenant": "acme"}])
def test_a_tenants_manager_does_not_undo_what_stops_his_tenant_for_the_services_sake(store: Store, stopped: dict[str, str]) -> None:
    context = context_of(store)
    ask(context, "kill_switch.set", **stopped, why="has not paid")
    for verb in ("kill_switch.clear", "kill_switch.set"):
        for dry_run in (True, False):
            with pytest.raises(Forbidden, match="was set by local, who sees all tenants; only such may change it"):
                ask(context, verb, MANAGER, **stopped, why="we want to go on", dry_run=dry_run)
    assert [one["why"] for one in ask(context, "kill_switch.list", MANAGER)["switches"]] == ["has not paid"]
    ask(context, "kill_switch.clear", **stopped, why="has paid")
    ask(context, "kill_switch.set", MANAGER, **stopped, why="a loop of ours")
    assert ask(context, "kill_switch.clear", MANAGER, **stopped, why="mended")["changed"]


def test_who_is_bound_to_tenants_leaves_room_for_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six places one tenant's people take two, all tenants' people together four: what stops everything can always be set."""
    for name, most in (("MAX", 6), ("OF_TENANT_MAX", 2), ("KEPT_FREE", 2)):
        monkeypatch.setattr(kill_switches, f"KILL_SWITCHES_{name}", most)
    context = context_of(store, settings=load(None, {}))

    def stop(principal: Principal, tenant: str | None, name: str) -> None:
        ask(context, "kill_switch.set", principal, scope="agent", name=name, tenant=tenant, why="x")

    both = Principal("bea", ("globex", "hooli"), ROLES["manager"])
    for name in ("a", "b"):
        stop(MANAGER, "acme", name)
        stop(both, "globex", name)
    for principal, tenant, says in ((MANAGER, "acme", "there are 4 kill switches already"), (both, "hooli", "there are 4")):
        with pytest.raises(BadInput, match=says):
            stop(principal, tenant, "c")
    ask(context, "kill_switch.clear", both, scope="agent", name="a", tenant="globex", why="y")
    with pytest.raises(BadInput, match="there are 2 kill switches for this tenant already"):
        stop(MANAGER, "acme", "c")
    stop(both, "hooli", "c")
    ask(context, "kill_switch.set", scope="global", why="stop")
    stop(LOCAL, "acme", "c")
    with pytest.raises(BadInput, match="there are 6"):
        stop(LOCAL, "acme", "d")


def test_everybody_sees_the_switches_that_stop_his_calls(store: Store) -> None:
    context = context_of(store)
    ask(context, "kill_switch.set", scope="global", why="stop all")
    ask(context, "kill_switch.set", scope="agent", name="planner", tenant="acme", why="a loop")
    whys = {name: [one["why"] for one in ask(context, "kill_switch.list", who)["switches"]] for name, who in (("v", VIEWER), ("g", GLOBEX))}
    assert whys == {"v": ["stop all", "a loop"], "g": ["stop all"]}
    assert [one["why"] for one in ask(context, "kill_switch.history", GLOBEX)["switchings"]] == ["stop all"]
