"""Retention by the API's and the commands' verbs and by the clock: what is told, who may, what goes on record, and every small class."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ledger_rig import Rig, call

from otel_finops.audit.verify import verify as verify_trail
from otel_finops.base.errors import Forbidden, NotFound
from otel_finops.base.times import NS_PER_DAY, parse_ns
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.periods import Periods
from otel_finops.ledger.verify import verify
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context, retention_desk
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store

AUGUST, NOVEMBER = parse_ns("2026-08-10T12:00:00Z"), parse_ns("2026-11-10T12:00:00Z")
KEPT = {f"OTEL_FINOPS_RETENTION__{name}_DAYS": days for name, days in (("ENTRIES", "30"), ("AUDIT", "10"), ("QUARANTINE", "10"))}


def context_of(rig: Rig, settings: Settings) -> Context:
    return make_context(settings, rig.store, rig.subjects, CurrentPrices(rig.store, rig.clock, packaged_snapshot), rig.clock)


@pytest.fixture
def rig(store: Store) -> Rig:
    """A call of August, which is closed, and one of November."""
    rig = Rig(store)
    calls = (call(1, 1, start_ns=AUGUST, end_ns=AUGUST + 1), call(2, 2, start_ns=NOVEMBER, end_ns=NOVEMBER + 1))
    rig.settle(*calls)
    Periods(store, rig.leases, rig.clock, rig.clock.advance).close("2026-10", "test", "over")
    return rig


@pytest.fixture
def context(rig: Rig) -> Context:
    return context_of(rig, load(None, KEPT))


def ask(context: Context, verb: str, who: Principal = LOCAL, /, **given: Any) -> Json:
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, who, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer, strict=True)
    return answer


def gone(answer: Json, name: str) -> dict[str, Any]:
    [found] = [one for one in answer["classes"] if one["class"] == name]
    return dict(found)


def test_a_dry_run_tells_what_a_pruning_takes_and_takes_nothing(context: Context, rig: Rig) -> None:
    told = ask(context, "retention.prune", dry_run=True)
    assert gone(told, "entries")["months"] == [{"month": "2026-08", "entries": 1, "usd": "0.0035"}]
    assert gone(told, "entries")["oldest"] == "2026-08-10T12:00:00.000000000Z"
    assert any("ledger export" in advice for advice in told["advice"])
    assert len(rig.entries()) == 2
    done = ask(context, "retention.prune")
    assert gone(done, "entries") == gone(told, "entries")
    assert len(rig.entries()) == 1


def test_it_goes_on_record_with_counts_and_sums(context: Context) -> None:
    ask(context, "retention.prune", dry_run=True)
    ask(context, "retention.prune")
    entries = ask(context, "audit.list", what="retention.prune")["entries"]
    assert [one["outcome"] for one in entries] == ["done", "begun"]
    [taken] = entries[0]["after"]
    assert (taken["class"], taken["rows"], taken["months"][0]["usd"]) == ("entries", 1, "0.0035")


def test_what_is_missing_says_that_it_was_pruned(context: Context) -> None:
    assert ask(context, "usage.list")["pruned_until"] is None
    ask(context, "retention.prune")
    assert ask(context, "usage.list")["pruned_until"] == "2026-10-01T00:00:00.000000000Z"
    assert ask(context, "usage.list", **{"from": "2026-11-01"})["pruned_until"] is None
    with pytest.raises(NotFound, match=r"There is no trace 0+1\. What started before 2026-10-01 was pruned"):
        ask(context, "traces.show", trace_id=f"{1:032x}")
    assert "can no longer be proved" in ask(context, "ledger.verify")["note"]
    assert [one["month"] for one in ask(context, "retention.status")["months"]] == ["2026-08", "2026-09"]


def test_only_an_admin_of_all_tenants_may(context: Context) -> None:
    for tenants, role in ((None, "manager"), (("acme",), "admin")):
        with pytest.raises(Forbidden):
            ask(context, "retention.prune", Principal("ann", tenants, ROLES[role]), dry_run=True)


def test_one_class_and_other_days(context: Context, rig: Rig) -> None:
    assert [one["class"] for one in ask(context, "retention.prune", **{"class": "quarantine"})["classes"]] == ["quarantine"]
    assert [one["class"] for one in ask(context, "retention.prune", days=365)["classes"]] == ["entries"]
    assert len(rig.entries()) == 2
    assert gone(ask(context, "retention.prune", days=60), "entries")["rows"] == 1


def test_nothing_goes_that_is_kept_for_ever(rig: Rig) -> None:
    context = context_of(rig, load(None, {"OTEL_FINOPS_RETENTION__ENTRIES_DAYS": "0"}))
    assert all(one["rows"] == 0 for one in ask(context, "retention.prune")["classes"])
    assert gone(ask(context, "retention.prune"), "entries")["keeps_days"] is None


def test_the_trail_loses_its_beginning_and_still_verifies(context: Context, rig: Rig) -> None:
    for why in ("one", "two"):
        ask(context, "kill_switch.set", scope="provider", name=why, why=why)
    rig.clock.advance(11 * 86_400)
    ask(context, "kill_switch.set", scope="provider", name="three", why="three")
    assert gone(ask(context, "retention.prune", **{"class": "audit"}), "audit")["rows"] == 2
    with rig.store.read() as transaction:
        report = verify_trail(transaction, None)
    assert (report.faults, report.pruned) == ((), 2)


def test_small_classes_go_by_their_age(rig: Rig) -> None:
    now_ns = rig.clock.now_ns()
    with rig.store.write() as transaction:
        for number, age in ((1, 40), (2, 5)):
            at_ns = now_ns - age * NS_PER_DAY
            held = "INSERT INTO quarantine (realm, trace_id, span_id, digest, reason, held_since_ns) VALUES ('default', ?, ?, ?, 'x', ?)"
            transaction.execute(held, (bytes([number]) * 16, b"s" * 8, b"d" * 16, at_ns))
            tried = "INSERT INTO price_refreshes (at_ns, origin, outcome, detail, who) VALUES (?, 'x', 'failed', '', 'test')"
            transaction.execute(tried, (at_ns,))
            run = "(verb, who, why, selection, price_version, started_ns) VALUES ('reprice', 'a', 'b', '{}', '', ?)"
            transaction.execute(f"INSERT INTO correction_runs {run}", (at_ns,))
            key = "INSERT INTO idempotency_keys (holder, key, operation, given, claimed_ns) VALUES ('h', ?, 'o', 'g', ?)"
            transaction.execute(key, (str(number), at_ns))
        rounds = "INSERT INTO correction_rounds (shard, block_seq, run_no, rows, before_pico, after_pico) VALUES (0, 9, 1, 1, '0', '0')"
        transaction.execute(rounds)
    days = {f"OTEL_FINOPS_RETENTION__{name}_DAYS": "30" for name in ("QUARANTINE", "CORRECTION_RUNS", "PRICE_REFRESHES")}
    context = context_of(rig, load(None, days))
    told, done = ask(context, "retention.prune", dry_run=True), ask(context, "retention.prune")
    for name, rows in (("quarantine", 1), ("correction_runs", 1), ("price_refreshes", 1), ("idempotency_keys", 2)):
        assert gone(told, name)["rows"] == gone(done, name)["rows"] == rows, name
    with rig.store.read() as transaction:
        assert transaction.execute("SELECT COUNT(*) FROM correction_rounds") == [(0,)]


def test_the_clock_prunes_as_the_settings_say(rig: Rig) -> None:
    desk = retention_desk(load(None, KEPT), rig.store, rig.clock)
    assert desk.prune_due() == "entries: 1 rows of 0.0035 USD in 2026-08"
    assert desk.prune_due() == "nothing to prune"


KILLED = """
import os, sys
from otel_finops.ledger import retention
from otel_finops.ledger.retention import LedgerPruner
from otel_finops.base.clock import SystemClock
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
clock = SystemClock()
store = Store.open(sys.argv[1], clock)
left = int(sys.argv[2])
execute = store.driver.transaction
def counted(connection):
    transaction = execute(connection)
    plain = transaction.execute
    def dying(sql, params=()):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return plain(sql, params)
    transaction.execute = dying
    return transaction
store.driver.transaction = counted
retention.PRUNE_STEP_TRACES = 1
pruner = LedgerPruner(store, Leases(store, clock, "dying"), clock)
pruner.prune(pruner.months_before(1), "test")
"""


@pytest.mark.parametrize("statement", [9, 23, 31, 40, 47, 55, 64])
def test_who_is_killed_at_any_statement_leaves_a_ledger_that_verifies(tmp_path: Path, statement: int) -> None:
    from otel_finops.store.upgrade import upgrade  # noqa: PLC0415 - beside the store that only this test opens
    from otel_finops.testing import FakeClock  # noqa: PLC0415 - as above

    url = f"sqlite:///{tmp_path / 'l.db'}"
    store = Store.open(url, FakeClock())
    upgrade(store)
    rig = Rig(store)
    rig.settle(*(call(number, number, start_ns=AUGUST + number, end_ns=AUGUST + number + 1) for number in range(1, 5)))
    Periods(store, rig.leases, rig.clock, rig.clock.advance).close("2026-08", "test", "over")
    spent = rig.spent()
    ended = subprocess.run([sys.executable, "-c", KILLED, url, str(statement)], check=False, capture_output=True)
    assert ended.returncode in (-9, 0), ended.stderr.decode()[-2000:]
    with store.read() as transaction:
        report = verify(transaction)
        entries = transaction.execute("SELECT COUNT(*) FROM entries")[0][0]
        traces = transaction.execute("SELECT COUNT(*) FROM traces")[0][0]
    assert report.sound
    assert entries == traces == 4 - sum(rows for rows, _ in report.pruned.values())
    assert rig.spent() == spent
    store.close()
