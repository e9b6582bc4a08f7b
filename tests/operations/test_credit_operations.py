"""Credits as people and applications use them: making and filling pools, being refused, and calls that pools pay from asking to booking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from empty_ledgers import empty_store
from ledger_rig import PRICES, SECOND, Rig, call
from pydantic import ValidationError

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.governance.projections import projections
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import RememberedTrail

MAX = Principal("max", ("acme",), ROLES["manager"])
GIL = Principal("gil", ("globex",), ROLES["manager"])
VERA = Principal("vera", ("acme",), ROLES["viewer"])


class World(Rig):
    """A service's operations over a ledger, in the mode that stops calls."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        settings = load(None, {"OTEL_FINOPS_ENFORCEMENT__MODE": "enforce"})
        self.trail = RememberedTrail()
        prices = CurrentPrices(store, self.clock, packaged_snapshot)
        self.context = make_context(settings, store, Subjects(), prices, self.clock, trail=self.trail)
        kept = (self.rollups, *projections(settings, store, self.clock))
        self.settler = Settler(store, self.leases, PRICES, kept, self.clock, sleep=self.clock.advance, recent=self.recent)

    def ask(self, verb: str, principal: Principal = LOCAL, /, **fields: Any) -> dict[str, Any]:
        """Run an operation."""
        one = OPERATIONS.named(verb)
        answer = invoke(one, self.context, principal, one.input.model_validate(fields), origin="test")
        one.output.model_validate(answer)
        return dict(answer)

    def pool(self, principal: Principal = LOCAL, **fields: Any) -> int:
        """Make a pool; its number."""
        made = self.ask("credits.create", principal, **{"name": "prepaid", "scope": {"tenant": "acme"}, "why": "bought", **fields})
        self.clock.advance(1)
        return int(made["pool"]["no"])


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[World]:
    """A world on SQLite, for what no engine changes."""
    store = empty_store(f"sqlite:///{tmp_path}/ledger.db")
    yield World(store)
    store.close()


def test_a_call_is_paid_from_asking_to_booking(world: World) -> None:
    pool = world.pool(scope={"tenant": "default"}, amount="0.01", low="0.007")
    first = world.ask("decisions.create", provider="openai", model="gpt-4o", estimate_usd="0.008")
    assert (first["action"], first["http_status"]) == ("allow", 200)
    second = world.ask("decisions.create", provider="openai", model="gpt-4o", estimate_usd="0.008")
    [reason] = second["reasons"]
    assert (second["action"], second["http_status"], second["reservation_id"]) == ("block", 402, None)
    assert (reason["gate"], reason["rule"], reason["rule_id"]) == ("credits", "prepaid", str(pool))
    assert reason["text"] == (
        "The pool prepaid has 0.002 USD left for further calls (0.01 less 0.008 held), and the call may cost 0.008 USD."
    )
    world.ask("reservations.settle", reservation_id=first["reservation_id"], actual_usd="0.004")
    assert world.ask("credits.show", no=pool)["pool"]["standing"]["held"] == "0.004"
    world.settle(call(1, attribution={"reservation": first["reservation_id"]}))
    standing = world.ask("credits.show", no=pool)["pool"]["standing"]
    assert (standing["balance"], standing["held"], standing["spent"], standing["is_low"]) == ("0.0065", "0", "0.0035", True)
    [alert] = world.ask("credits.alerts")["alerts"]
    assert (alert["pool"], alert["low"], alert["level"], alert["over_at"]) == (pool, "0.007", "0.0065", None)
    assert world.ask("credits.verify") == {"ok": True, "pools": 1, "faults": [], "next_cursor": None}


def test_what_is_held_and_never_booked_is_given_back(world: World) -> None:
    pool = world.pool(scope={"tenant": "default"}, amount="1")
    world.ask("decisions.create", provider="openai", model="gpt-4o", estimate_usd="0.8")
    world.clock.advance(3600)
    again = world.ask("decisions.create", provider="openai", model="gpt-4o", estimate_usd="1")
    assert again["action"] == "allow"
    assert world.ask("credits.show", no=pool)["pool"]["standing"]["held"] == "1"


def test_a_dry_run_of_a_decision_holds_nothing(local: World) -> None:
    pool = local.pool(scope={"tenant": "default"}, amount="1")
    for estimate, action in (("1", "allow"), ("1.1", "block")):
        assert local.ask("decisions.create", provider="openai", model="gpt-4o", estimate_usd=estimate, dry_run=True)["action"] == action
    assert local.ask("credits.show", no=pool)["pool"]["standing"]["held"] == "0"


def test_every_change_is_on_record_with_its_tenant(local: World) -> None:
    pool = local.pool(MAX, amount="5")
    local.ask("credits.topup", MAX, no=pool, amount="2.5", why="more")
    local.ask("credits.adjust", MAX, no=pool, amount="-1", why="a mistake")
    local.ask("credits.update", MAX, no=pool, hard=False, why="for the demo")
    local.ask("credits.close", MAX, no=pool, why="over")
    local.ask("credits.topup", MAX, no=local.pool(MAX), amount="1", why="tried", dry_run=True)
    said = [(one.what, one.who, one.tenant) for one in local.trail.made]
    verbs = ("create", "topup", "adjust", "update", "close", "create")
    assert said == [(f"credits.{verb}", "max", "acme") for verb in verbs]
    topup = local.trail.made[1]
    assert (topup.before["balance"], topup.after["balance"]) == ("5", "7.5")


def test_postings_and_definitions_come_in_pages_newest_first(local: World) -> None:
    pool = local.pool(amount="1")
    for number in range(4):
        local.ask("credits.topup", no=pool, amount=str(number + 1), why=f"order {number}")
        local.ask("credits.update", no=pool, low=str(number), why=f"order {number}")
    page = local.ask("credits.postings", no=pool, limit=3)
    rest = local.ask("credits.postings", no=pool, limit=3, cursor=page["next_cursor"])
    assert [one["amount"] for one in page["movements"] + rest["movements"]] == ["4", "3", "2", "1", "1"]
    assert rest["next_cursor"] is None
    first = local.ask("credits.history", no=pool, limit=2)
    assert [one["low"] for one in first["definitions"]] == ["3", "2"]
    assert [one["low"] for one in local.ask("credits.history", no=pool, limit=9, cursor=first["next_cursor"])["definitions"]] == [
        "1", "0", None,
    ]  # fmt: skip


def test_pools_of_others_are_not_there(local: World) -> None:
    own, everybodys = local.pool(MAX), local.pool(scope={})
    assert [one["no"] for one in local.ask("credits.list", VERA)["pools"]] == [own]
    assert [one["no"] for one in local.ask("credits.list")["pools"]] == [own, everybodys]
    assert local.ask("credits.list", GIL)["pools"] == []
    assert local.ask("credits.list", tenant="globex")["pools"] == []
    for name, more in (("show", {}), ("history", {}), ("postings", {}), ("grants", {})):
        with pytest.raises(NotFound):
            local.ask(f"credits.{name}", GIL, no=own, **more)
    for name, more in (("topup", {"amount": "1"}), ("adjust", {"amount": "1"}), ("update", {"hard": True}), ("close", {})):
        with pytest.raises(NotFound):
            local.ask(f"credits.{name}", GIL, no=own, why="mine", **more)
        with pytest.raises(NotFound):
            local.ask(f"credits.{name}", MAX, no=everybodys, why="mine", **more)
    with pytest.raises(NotFound):
        local.pool(GIL)
    with pytest.raises(Forbidden, match="name yours in scope"):
        local.pool(MAX, name="another", scope={})
    with pytest.raises(Forbidden, match="all tenants"):
        local.ask("credits.expire", MAX)


def test_what_the_service_sold_its_tenant_does_not_fill(local: World) -> None:
    sold = local.pool()
    with pytest.raises(Forbidden, match="made by local, who sees all tenants"):
        local.ask("credits.topup", MAX, no=sold, amount="1000", why="free money")
    with pytest.raises(Forbidden, match=r"needs the permission manage"):
        local.ask("credits.topup", VERA, no=sold, amount="1000", why="free money")


@pytest.mark.parametrize(("fields", "said"), [
    ({"amount": "-1"}, "a plain decimal amount with at most 12 decimal places, e.g. 12.5, not negative"),
    ({"amount": "1e3"}, "a plain decimal amount"),
    ({"amount": "NaN"}, "a plain decimal amount"),
    ({"low": "1.0000000000001"}, "at most 12 decimal places"),
    ({"amount": "9" * 16}, "at most 1000000000000000 at a time"),
    ({"currency": "eur"}, "three capital letters"),
    ({"name": ""}, "at least 1 character"),
    ({"why": ""}, "at least 1 character"),
    ({"scope": "tenant"}, "DIMENSION=VALUE"),
])  # fmt: skip
def test_nonsense_is_refused_with_what_to_write_instead(local: World, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        local.pool(**fields)


@pytest.mark.parametrize(("fields", "said"), [
    ({"scope": {"tenont": "acme"}}, r"scope\.tenont: there is no such dimension"),
    ({"from": "2026-11-22", "to": "2026-11-21"}, "`to` lies before `from`"),
    ({"currency": "EUR"}, "fx import"),
])  # fmt: skip
def test_pools_that_cannot_be_are_refused(local: World, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        local.pool(**fields)


def test_money_that_cannot_be_moved_is_refused(local: World) -> None:
    pool = local.pool(amount="5")
    with pytest.raises(ValidationError, match="must be more than 0"):
        local.ask("credits.topup", no=pool, amount="0", why="nothing")
    with pytest.raises(ValidationError, match="must not be 0"):
        local.ask("credits.adjust", no=pool, amount="0", why="nothing")
    with pytest.raises(BadInput, match="lies in the past"):
        local.ask("credits.topup", no=pool, amount="1", expires="2026-11-20", why="late")
    with pytest.raises(BadInput, match="give `low` or `no_low`"):
        local.ask("credits.update", no=pool, low="1", no_low=True, why="both")


def test_grants_lapse_when_somebody_asks_for_it_too(local: World) -> None:
    pool = local.pool()
    instant = "2026-11-21T12:01:00Z"
    local.ask("credits.topup", no=pool, amount="2", expires=instant, why="welcome")
    assert local.ask("credits.expire") == {"pools": 0}
    local.clock.advance(60)
    assert local.ask("credits.expire") == {"pools": 1}
    [grant] = local.ask("credits.grants", no=pool)["grants"]
    assert (grant["left"], grant["expired"], grant["expires_at"]) == ("0", "2", "2026-11-21T12:01:00.000000000Z")
    assert local.clock.now_ns() > 60 * SECOND
