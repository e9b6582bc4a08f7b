"""The trail as people read it: filters, pages, whose chains, and the verdict on them."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.audit.stored import StoredTrail
from otel_finops.audit.trail import Change
from otel_finops.base.errors import BadInput, Forbidden
from otel_finops.base.times import NS_PER_DAY
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, FakeClock

ACME = Principal("ann", ("acme",), ROLES["manager"])
VIEWER = Principal("vera", None, ROLES["viewer"])

CHANGES = [
    Change("ann", "prices.watch", None, {"model": "gpt-4o"}, NOON, "api", "acme"),
    Change("bob", "prices.refresh", None, {"from": "list.json"}, NOON + NS_PER_DAY, "cli", outcome="begun"),
    Change("bob", "prices.refresh", {"version": "1"}, {"version": "2"}, NOON + NS_PER_DAY + 1, "cli", outcome="done", began=1),
    Change("ann", "pricing.alias", None, {"name": "x"}, NOON + 2 * NS_PER_DAY, "api", "globex"),
    Change("ann", "prices.unwatch", {"no": 1}, {"no": 1}, NOON + 3 * NS_PER_DAY, "api", "acme"),
]
"""Oldest first; numbers below are places in this list, from 0."""


@pytest.fixture
def context(store: Store) -> Context:
    clock, trail = FakeClock(), StoredTrail(store)
    for change in CHANGES:
        trail.record(change)
    return make_context(load(None, {}), store, Subjects(), CurrentPrices(store, clock, packaged_snapshot), clock)


def ask(context: Context, name: str, principal: Principal = LOCAL, /, **given: Any) -> Any:
    one = OPERATIONS.named(name)
    answer = invoke(one, context, principal, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer, strict=True)
    return answer


def listed(context: Context, principal: Principal = LOCAL, /, **given: Any) -> list[int]:
    """Places in CHANGES of the entries of a page."""
    shown = ask(context, "audit.list", principal, **given)["entries"]
    places = {(change.tenant, change.what, change.outcome): place for place, change in enumerate(CHANGES)}
    return [places[one["tenant"], one["what"], one["outcome"]] for one in shown]


def test_an_entry_tells_all_of_it(context: Context) -> None:
    entry = ask(context, "audit.list", tenant="*", outcome="done")["entries"][0]
    assert {name: entry[name] for name in entry if name != "hash"} == {
        "tenant": "*", "seq": 2, "at": "2026-11-22T12:00:00.000000001Z", "who": "bob", "what": "prices.refresh", "origin": "cli",
        "outcome": "done", "began": 1, "before": {"version": "1"}, "after": {"version": "2"},
    }  # fmt: skip
    assert len(entry["hash"]) == 64


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"who": "ann"}, [4, 3, 0]),
        ({"what": "prices.refresh"}, [2, 1]),
        ({"what": "prices"}, [4, 2, 1, 0]),
        ({"what": "pric"}, []),
        ({"what": "prices.re"}, []),
        ({"outcome": "begun"}, [1]),
        ({"tenant": "acme"}, [4, 0]),
        ({"tenant": "*"}, [2, 1]),
        ({"tenant": "nobody"}, []),
        ({"from": "2026-11-22T12:00:00Z", "to": "2026-11-23T12:00:00Z"}, [2, 1]),
        ({"who": "ann", "what": "prices", "from": "2026-11-22"}, [4]),
        ({"who": "' OR 1=1 --", "what": "%"}, []),
    ],
)
def test_filters(context: Context, given: dict[str, Any], places: list[int]) -> None:
    assert listed(context, **given) == places


def test_pages_go_from_the_newest_to_the_oldest(context: Context) -> None:
    pages, cursor = [], None
    while True:
        page = ask(context, "audit.list", limit=2, **({"cursor": cursor} if cursor else {}))
        pages.append([one["what"] for one in page["entries"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [["prices.unwatch", "pricing.alias"], ["prices.refresh", "prices.refresh"], ["prices.watch"]]


def test_a_principal_sees_the_chains_of_his_tenants_alone(context: Context) -> None:
    assert listed(context, ACME) == [4, 0]
    for tenant in ("globex", "*", "nobody"):
        assert listed(context, ACME, tenant=tenant) == ([4, 0] if tenant == "acme" else [])
    assert ask(context, "audit.verify", ACME) == {
        "ok": True, "chains": 1, "entries": 2, "pruned": 0, "head_compared": False, "broken": 0, "faults": [],
    }  # fmt: skip
    assert ask(context, "audit.verify", ACME, tenant="globex")["chains"] == 0


@pytest.mark.parametrize("name", ["audit.list", "audit.verify"])
def test_it_takes_who_may_change_something(context: Context, name: str) -> None:
    with pytest.raises(Forbidden, match="needs the permission manage"):
        ask(context, name, VIEWER)


def test_a_broken_chain_is_named(context: Context, store: Store) -> None:
    with store.write() as transaction:
        if transaction.engine_name == "sqlite":
            transaction.execute("DROP TRIGGER audit_entries_no_update")
        else:
            transaction.execute("ALTER TABLE audit_entries DISABLE TRIGGER ALL")
        transaction.execute("UPDATE audit_entries SET who = 'eve' WHERE tenant = 'acme' AND seq = 2")
    verdict = ask(context, "audit.verify")
    assert (verdict["ok"], verdict["broken"], verdict["entries"]) == (False, 1, 5)
    assert verdict["faults"] == [{"tenant": "acme", "seq": 2, "message": "its columns say another thing than what was recorded: who"}]
    assert ask(context, "audit.verify", tenant="globex")["ok"]


@pytest.mark.parametrize("given", [{"cursor": "x"}, {"cursor": "WyJydW5zIiwxXQ=="}])
def test_a_cursor_of_something_else_is_refused(context: Context, given: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="not a next_cursor of this operation"):
        ask(context, "audit.list", **given)


RUNS = {
    "alerts.check": "it works under the job's lease, and each rule is a transaction of its own",
    "anomalies.run": "it works under the job's lease, and each scope is a transaction of its own",
    "bills.pull": "it fetches, for minutes",
    "channels.test": "it sends, and what the other side answered must stay on record",
    "credits.expire": "each pool is a transaction of its own, so that nobody waits for all of them",
    "deliveries.run": "it sends, and claims each delivery in a transaction of its own",
    "fx.import": "it may fetch a file, and reads megabytes of it",
    "jobs.run": "a job takes its lease, and as many transactions as it likes",
    "ledger.allowances": "it takes a lease for each round",
    "ledger.estimate": "it takes a lease for each round",
    "ledger.reprice": "it takes a lease for each round",
    "periods.close": "it holds the leases of all shards, and may wait for them",
    "prices.refresh": "it fetches, and its refusals must stay on record",
    "pricing.alias": "where calls are repriced, it takes a lease for each round",
    "pricing.override": "where calls are repriced, it takes a lease for each round",
    "quality.import": "it may fetch a file, and reads megabytes of it",
    "quarantine.retry": "each span is a transaction of its own, so that one that fails holds up no other",
    "reconcile.run": "it fetches bills, and works under the job's lease",
    "retention.prune": "it deletes in many transactions, and takes leases",
    "subscriptions.spread": "it takes a lease for each round",
    "whatif.save": "it walks through the ledger before it stores anything",
}
"""Changes that are no single transaction, and why; every other change is one with its record."""


def test_it_was_decided_of_every_change_whether_it_is_one_transaction() -> None:
    assert {one.name for one in OPERATIONS if one.runs} == {name for name in RUNS if name in {one.name for one in OPERATIONS}}
    assert all(one.changes for one in OPERATIONS if one.runs)
