"""Migrations: from nothing, from every revision with rows in it, by two at once; and databases that are refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from otel_finops.alerting import channel_tables as _channel_tables  # noqa: F401 - as below
from otel_finops.alerting import tables as _alerting_tables  # noqa: F401 - as below
from otel_finops.audit import tables as _audit_tables  # noqa: F401 - declares them in `metadata`
from otel_finops.base.errors import StartRefused
from otel_finops.governance import approval_tables as _approval_tables  # noqa: F401 - as below
from otel_finops.governance import counter_tables as _counter_tables  # noqa: F401 - as below
from otel_finops.governance import credit_tables as _credit_tables  # noqa: F401 - declares them in `metadata`
from otel_finops.governance import decision_tables as _decision_tables  # noqa: F401 - as below
from otel_finops.governance import policy_tables as _policy_tables  # noqa: F401 - as below
from otel_finops.governance import tables as _governance_tables  # noqa: F401 - declares them in `metadata`
from otel_finops.identity import tables as _identity_tables  # noqa: F401 - declares them in `metadata`
from otel_finops.insight import anomaly_tables as _anomaly_tables  # noqa: F401 - as below
from otel_finops.insight import bill_tables as _bill_tables  # noqa: F401 - as below
from otel_finops.insight import cost_center_tables as _cost_center_tables  # noqa: F401 - as below
from otel_finops.insight import definition_tables as _definition_tables  # noqa: F401 - declares them in `metadata`
from otel_finops.insight import forecast_tables as _forecast_tables  # noqa: F401 - as below
from otel_finops.insight import outcome_tables as _outcome_tables  # noqa: F401 - as above
from otel_finops.ledger import retention_tables as _retention_tables  # noqa: F401 - declares them in `metadata`
from otel_finops.ledger import tables as _ledger_tables  # noqa: F401 - declares them in `metadata`
from otel_finops.operations import tables as _operations_tables  # noqa: F401 - declares them in `metadata`
from otel_finops.store.engine import Store
from otel_finops.store.schema import metadata
from otel_finops.store.unit_of_work import Transaction
from otel_finops.store.upgrade import MIGRATIONS, Upgrade, check, head, upgrade
from otel_finops.store.upgrade import REVISIONS as KNOWN
from otel_finops.testing import FakeClock
from otel_finops.trees import tables as _tree_tables  # noqa: F401 - declares them in `metadata`

REVISIONS = [script.revision for script in reversed(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions()))]


@pytest.fixture
def empty(database_url: str) -> Any:
    store = Store.open(database_url, FakeClock())
    yield store
    store.close()


def fill(transaction: Transaction, table: str, wanted: dict[str, Any]) -> None:
    transaction.execute(f"INSERT INTO {table} ({', '.join(wanted)}) VALUES ({', '.join('?' * len(wanted))})", tuple(wanted.values()))


AMOUNTS = {
    "calls": 1, "failed_calls": 0, "unpriced_calls": 0, "tokens": 5, "tools": 0, "failed_tools": 0, "cost_usd": 0, "cost_pico": 7,
    "own_calls": 1, "own_usd": 0, "own_pico": 7,
}  # fmt: skip


ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "0001": {
        "subjects": {"ref": "6920", "realm": "default", "kind": "user", "clear": "ann"},
        "counters": {"name": "conflicts", "value": 3},
        "blocks": {
            "shard": 7, "seq": 0, "prev_hash": bytes(32), "hash": bytes(32), "entry_count": 0, "sum_pico": "0", "recorded_ns": 1,
            "row_digests": b"",
        },
    },
    "0002": {
        "quarantine": {
            "quarantine_no": 1, "realm": "default", "trace_id": b"t" * 16, "span_id": b"s" * 8, "digest": b"d" * 16,
            "reason": "TypeError at codec.encode:1", "held_since_ns": 1, "payload": None,
        },
        "ledger_identity": {"row_no": 1, "ledger_id": "00000000000000ab", "made_ns": 1},
    },
    "0004": {
        "audit_entries": {
            "entry_no": 1, "tenant": "acme", "seq": 1, "prev": bytes(32), "hash": b"h" * 32, "body": b"{}", "at_ns": 1, "who": "ann",
            "what": "prices.watch", "outcome": "done",
        },
        "audit_anchors": {"tenant": "globex", "seq": 3, "hash": b"h" * 32, "pruned_ns": 1},
        "idempotency_keys": {"holder": "h", "key": "k", "operation": "fx.import", "given": "g", "claimed_ns": 1, "answer": None},
        "sender_tokens": {
            "token_no": 1, "name": "shop", "prefix": "ofs_aaaaaaaa", "token_sha256": "0" * 64, "tenants": '["acme"]', "made_ns": 1,
            "made_by": "ann", "replaces_no": None, "expires_ns": None, "revoked_ns": None, "revoked_by": None, "last_used_ns": None,
        },
        "kill_switches": {
            "switch_no": 1, "action": "set", "scope": "provider", "name": "openai", "tenant": "", "who": "ann", "why": "a loop", "at_ns": 1,
            "of_all": True,
        },
        "runs": {
            "trace_no": 1, "span_id": b"s" * 8, "parent_run": None, "tenant": "acme", "kind": "agent", "name": "invoke_agent planner",
            "agent": "planner", "workflow": None, "service": None, "environment": None, "user_ref": None, "session_ref": "s1",
            "started_ns": 1, "duration_ns": 2, "error_type": None, "finish_reason": "stop", "children": 0, **AMOUNTS,
        },
        "run_shares": {"trace_no": 1, "span_id": b"s" * 8, "tenant": "globex", **AMOUNTS},
        "trace_sums": {
            "trace_no": 1, "tenant": "acme", "session_ref": "s1", "user_ref": "", "calls": 1, "failed_calls": 0, "unpriced_calls": 0,
            "tokens": 5, "cost_usd": 0, "cost_pico": 7, "started_ns": 1, "ended_ns": 2,
        },
        "pruned_months": {"month": "2024-06", "to_ns": 2, "begun_ns": 3, "begun_by": "ann"},
        "prunings": {
            "shard": 7, "block_seq": 1, "pruned_ns": 3, "who": "ann", "months": "{}", "entries": 1, "sum_pico": "9" * 25,
        },
        "pruned_blocks": {
            "shard": 7, "seq": 0, "by_seq": 1, "rows_digest": bytes(32), "left_count": 0, "left_digest": bytes(32),
        },
        "subscription_windows": {
            "window_no": 1, "ends_no": None, "rule": "{}", "ends_ns": None, "who": "ann", "why": "the seats", "recorded_ns": 1,
        },
    },
    "0005": {
        "budget_counters": {
            "count_no": 1, "level": 0, "start_ns": 5, "booked_usd": 1, "booked_pico": 2, "booked_tokens": 3, "booked_calls": 4,
            "booked_unpriced": 0, "reserved_usd": 0, "reserved_pico": 7, "reserved_tokens": 8, "reserved_calls": 9,
        },
        "budget_holds": {"reservation_id": "r1", "count_no": 1, "start_ns": 5, "pico": 7, "tokens": 8, "calls": 9},
        "budget_pending": {"count_no": 1, "start_ns": 5, "stripe": 3, "usd": -1, "pico": 2, "tokens": 3, "calls": 4},
        "budget_pending_traces": {"trace_no": 1, "version": 1, "payload": b"[]"},
        "budget_fills": {"count_no": 1, "heads": "{}", "at_tenant": "acme", "at_ns": 1},
        "budget_crossings": {
            "crossing_no": 1, "budget_no": 1, "count_no": 1, "start_ns": 5, "percent": 80, "crossed_ns": 1, "limit_amount": "10",
            "booked_amount": "8", "cleared_ns": None,
        },
        "policies": {
            "revision": 1, "policy_no": 1, "action": "create", "tenant": "", "name": "large calls", "definition": "{}", "who": "ann",
            "at_ns": 1, "of_all": True,
        },
        "policy_rates": {"policy_no": 1, "of": "acme", "free_ns": 5},
        "policy_calls": {
            "reservation_id": "d1", "tenant": "acme", "trace_id": "0" * 31 + "1", "session_ref": None, "made_ns": 5, "pico": 7, "tokens": 8,
            "is_open": True,
        },
        "policy_failures": {"policy_no": 1, "failures": 2, "revision": 1, "at_ns": 5, "reason": "division by zero"},
        "budgets": {
            "revision": 1, "budget_no": 1, "action": "create", "tenant": "", "name": "all", "definition": "{}", "counting": None,
            "who": "ann", "at_ns": 1, "of_all": True,
        },
        "approvals": {
            "approval_no": 1, "approval_id": "a1", "same": "0" * 64, "round": 0, "tenant": "acme", "rule_id": "3", "rule": "large calls",
            "provider": "openai", "model": "gpt-4o", "agent": None, "call": "{}", "estimate_pico": 7, "asks": 1, "asked_ns": 1,
            "last_asked_ns": 1, "expires_ns": 2, "decision_id": "d1", "status": "pending", "kind": None, "max_pico": None,
            "decided_by": None, "decided_ns": None, "why": None,
        },
        "approval_uses": {"approval_no": 1, "decision_id": "d1", "at_ns": 1},
        "guardrail_rulings": {
            "decision_id": "d1", "guardrail": "pii", "tenant": "acme", "at_ns": 1, "said": "flagged", "action": "allow", "observed": True,
            "estimate_pico": None, "reason": "an address",
        },
        "guardrail_verdicts": {
            "trace_no": 1, "span_id": b"s" * 8, "call_span_id": None, "tenant": "acme", "at_ns": 1, "guardrail": "pii", "verdict": "flag",
            "reason": "an address",
        },
        "decisions": {
            "decision_no": 1, "decision_id": "d1", "tenant": "acme", "at_ns": 1, "action": "block", "observed": False, "gate": "budget",
            "rule_id": "7", "provider": "openai", "model": "gpt-4o", "operation": None, "user_ref": "6920", "session_ref": None,
            "agent": None, "step": None, "purpose": None, "cost_center": None, "service": None, "environment": None, "trace_id": None,
            "estimate_pico": None, "tokens": 5, "key": None, "asked": "", "answer": "{}",
        },
        "reservations": {
            "reservation_id": "d2", "tenant": "acme", "state": "held", "estimate_pico": 7, "tokens": 5, "actual_pico": None,
            "actual_tokens": None, "made_ns": 1, "settled_ns": None, "expires_ns": 2, "ended_ns": None,
        },
        "credit_pools": {
            "pool_no": 1, "hard": True, "takes_calls": True, "balance_units": 9, "balance_pico": 10**12 - 7, "owed_units": 0,
            "owed_pico": 0, "source_units": -10, "source_pico": 0, "spend_units": 0, "spend_pico": 7, "expired_units": 0, "expired_pico": 0,
            "adjustment_units": 0, "adjustment_pico": 0, "held_units": 0, "held_pico": 3, "plain_used_units": 0, "plain_used_pico": 7,
            "next_expiry_ns": None, "low_units": 1, "low_pico": 0, "is_low": False, "alerts": 0,
        },
        "credit_definitions": {
            "definition_no": 1, "pool_no": 1, "body": "{}", "heads": "[-1]", "who": "ann", "why": "prepaid", "at_ns": 1,
        },
        "credit_transactions": {
            "transaction_no": 1, "pool_no": 1, "kind": "topup", "at_ns": 1, "who": "ann", "why": "prepaid", "calls": 0, "shard": None,
            "block_seq": None, "grant_no": None, "after_units": 10, "after_pico": 0,
        },
        "credit_postings": {"transaction_no": 1, "account": "balance", "amount_units": 10, "amount_pico": 0},
        "credit_grants": {
            "grant_no": 1, "pool_no": 1, "expires_ns": 2, "amount_units": 5, "amount_pico": 0, "used_units": 0, "used_pico": 7,
            "expired_units": 0, "expired_pico": 0, "is_live": True,
        },
        "credit_holds": {"reservation_id": "r1", "pool_no": 1, "day": "2026-11-21", "amount_units": 0, "amount_pico": 3},
        "credit_rates": {"currency": "EUR", "day": "2026-11-21", "per_usd": "10/11"},
        "credit_alerts": {
            "alert_no": 1, "pool_no": 1, "episode": 1, "low_units": 1, "low_pico": 0, "level_units": 0, "level_pico": 5, "at_ns": 1,
            "over_ns": None,
        },
    },
    "0006": {
        "budget_forecasts": {
            "budget_no": 1, "revision": 1, "made_ns": 5, "window_start_ns": 0, "window_end_ns": 9, "limit_amount": "7", "spent_amount": "1",
            "projected_amount": "8", "low_amount": "6", "high_amount": None, "chance": 0.25, "exceeds_ns": 8, "earliest_ns": 7,
            "latest_ns": None,
        },
        "bills": {
            "bill_no": 1, "ends_no": None, "tenant": "", "name": "openai", "aspect": "cost", "provider": "openai", "format": "csv",
            "currency": "USD", "scope": "{}", "from_ns": 0, "to_ns": 5, "line_count": 1, "amount": "7", "digest": "d" * 64,
            "origin": "november.csv", "who": "ann", "at_ns": 9, "payload": b"gz",
        },
        "capture_rates": {
            "tenant": "", "name": "openai", "provider": "openai", "from_ns": 0, "to_ns": 5, "billed_pico": "8", "booked_pico": "7",
            "rate": 0.875, "causes": '{"unpriced": "1"}', "at_ns": 9,
        },
        "outcomes_said": {
            "trace_no": 1, "span_id": b"s" * 8, "tenant": "acme", "at_ns": 1, "name": "task", "success": True, "agent": "planner",
            "workflow": None, "service": None, "environment": None, "provider": "openai", "model": "gpt-4o", "calls": 1, "failed_calls": 0,
            "unpriced_calls": 0, "tokens": 5, "cost_usd": 0, "cost_pico": 7,
        },
        "outcomes_given": {
            "outcome_no": 1, "tenant": "acme", "trace_id": b"t" * 16, "name": "task", "success": None, "at_ns": 1, "note": "a mistake",
            "who": "ann", "recorded_ns": 2,
        },
        "cost_center_definitions": {
            "revision": 1, "kind": "center", "no": 1, "action": "create", "tenant": "", "name": "platform", "definition": "{}",
            "who": "ann", "at_ns": 1, "of_all": True,
        },
        "channel_definitions": {
            "revision": 1, "kind": "channel", "no": 1, "action": "create", "tenant": "", "name": "ops", "definition": "{}", "who": "ann",
            "at_ns": 1, "of_all": True,
        },
        "channel_secrets": {"channel_no": 1, "sealed": "gAAAAA"},
        "deliveries": {
            "delivery_no": 1, "notice_id": "n1", "channel_no": 1, "tenant": "acme", "alert_key": "budget:1", "rule": "budgets",
            "severity": "warning", "state": "firing", "notice": "{}", "made_ns": 1, "status": "waiting", "attempts": 1, "next_ns": 5,
            "claimed_ns": 0, "done_ns": None, "said": "answered 503",
        },
        "delivery_attempts": {
            "delivery_no": 1, "attempt": 1, "at_ns": 1, "duration_ms": 20, "outcome": "again", "code": 503, "said": "answered 503",
        },
        "anomalies": {
            "anomaly_no": 1, "scope": "agent", "tenant": "acme", "name": "crawler", "step": "day", "start_ns": 1, "end_ns": 2,
            "is_running": False, "found_ns": 3, "seen_ns": 3, "value": "90", "expected": "10", "spread": "2", "score": 40.0, "points": 4,
            "calls": 9, "drivers": None, "cleared_ns": None,
        },
        "anomaly_notes": {"note_no": 1, "anomaly_no": 1, "verb": "ack", "why": "load test", "who": "ann", "at_ns": 1},
        "anomaly_mutes": {
            "mute_no": 1, "ends_no": None, "tenant": "acme", "scope": "", "name": "", "step": "hour", "until_ns": None, "why": "noisy",
            "who": "ann", "at_ns": 1,
        },
        "anomaly_scores": {"step": "day", "scope": "global", "tenant": "*", "name": "", "start_ns": 1, "score": 0.5},
        "insight_definitions": {
            "revision": 1, "kind": "routing", "definition_no": 1, "action": "create", "tenant": "acme", "name": "answers", "said": "{}",
            "who": "ann", "at_ns": 1, "of_all": False,
        },
        "quality_imports": {
            "import_no": 1, "tenant": "*", "source": "evals", "origin": "scores.json", "sha256": "0" * 64, "scores": 1, "at_ns": 1,
            "who": "ann",
        },
        "quality_scores": {
            "import_no": 1, "position": 0, "provider": None, "model": "gpt-4o", "task": None, "score": "0.87", "samples": 200,
        },
        "alert_rules": {
            "revision": 1, "rule_no": 1, "action": "create", "tenant": "", "name": "Budget thresholds", "definition": "{}",
            "who": "defaults", "at_ns": 1, "of_all": True,
        },
        "alert_checks": {"rule_no": 1, "checked_ns": 2, "found_ns": 1, "fault": "the store is away", "found": 1, "left_out": 0},
        "alerts": {
            "alert_no": 1, "rule_no": 1, "key": "acme\nbudget:1", "tenant": "acme", "phase": "firing", "found": "{}", "told": None,
            "first_ns": 1, "started_ns": 1, "gone_ns": None, "told_ns": None,
        },
        "alert_events": {
            "event_no": 1, "alert_key": "1-0a", "rule_no": 1, "rule": "Budget thresholds", "kind": "budget", "tenant": "acme",
            "deed": "firing", "severity": "warning", "title": "80 % spent", "text": "8 of 10 USD", "at_ns": 1, "started_ns": 1,
            "notice_id": "", "deliveries": 0, "held_back": "quiet hours",
        },
        "alert_mutes": {
            "mute_no": 1, "rule_no": 1, "alert_key": "", "tenant": "", "until_ns": 5, "who": "ann", "why": "known", "at_ns": 1,
        },
        "job_runs": {
            "run_no": 1, "job": "prune", "started_ns": 1, "took_ns": 5, "outcome": "done", "said": "nothing to prune", "who": "scheduler",
            "process": "serve on host (1)",
        },
    },
}  # fmt: skip
"""Rows as each revision knew them; whoever adds a revision adds what it brought."""


def test_there_is_one_line_of_revisions() -> None:
    assert len(ScriptDirectory(str(MIGRATIONS)).get_heads()) == 1
    assert head() == REVISIONS[-1]
    assert list(KNOWN) == REVISIONS  # the files' names say what Alembic reads in them
    assert set(ROWS) <= set(REVISIONS)


def test_looking_at_a_database_loads_no_alembic() -> None:
    code = "import sys, otel_finops.operations.local; print([name for name in sys.modules if name.startswith('alembic')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_empty_database_gets_all_tables(empty: Store) -> None:
    assert upgrade(empty) == Upgrade(None, head(), None)
    check(empty)
    assert upgrade(empty) == Upgrade(head(), head(), None)


def test_the_migrated_tables_are_those_of_the_program(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_revision_is_upgraded_with_rows_in_it(empty: Store, revision: str) -> None:
    upgrade(empty, to=revision)
    known: dict[str, dict[str, Any]] = {}
    for earlier in REVISIONS[: REVISIONS.index(revision) + 1]:
        known.update(ROWS.get(earlier, {}))
    with empty.write() as transaction:
        for table, row in known.items():
            fill(transaction, table, row)
    done = upgrade(empty)
    assert (done.before, done.after) == (revision, head())
    check(empty)
    with empty.read() as transaction:
        for table, row in known.items():
            [found] = transaction.execute(f"SELECT {', '.join(row)} FROM {table}")
            assert found == tuple(row.values())


def test_a_sqlite_file_is_copied_before_it_is_changed(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'ledger.db'}", FakeClock())
    assert upgrade(store, to="0001").copy is None
    with store.write() as transaction:
        fill(transaction, "counters", ROWS["0001"]["counters"])
    done = upgrade(store)
    assert done.copy == tmp_path / "ledger.db.0001.20261121T120000Z.copy"
    with sqlite3.connect(done.copy) as copy:
        assert copy.execute("SELECT value FROM counters").fetchall() == [(3,)]
    copy.close()
    store.close()


def test_two_that_upgrade_at_once_do_it_once(database_url: str) -> None:
    stores = [Store.open(database_url, FakeClock()) for _ in range(3)]
    done: list[Upgrade] = []
    threads = [threading.Thread(target=lambda store=store: done.append(upgrade(store))) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(one.before) for one in done) == sorted([head(), head(), "None"])
    for store in stores:
        check(store)
        store.close()


def test_a_start_does_not_change_postgresql_by_itself(empty: Store) -> None:
    if empty.engine_name == "sqlite":
        assert upgrade(empty, automatic=True).after == head()
    else:
        with pytest.raises(StartRefused, match="run `otel-finops db upgrade`"):
            upgrade(empty, automatic=True)
        upgrade(empty)
        assert upgrade(empty, automatic=True).before == head()


def test_a_newer_database_is_refused(store: Store) -> None:
    with store.write() as transaction:
        transaction.execute("UPDATE alembic_version SET version_num = 'from the future'")
    for attempt in (check, upgrade):
        with pytest.raises(StartRefused, match=r"newer than this program \(revision from the future\)"):
            attempt(store)


def test_another_programs_database_is_refused(empty: Store) -> None:
    with empty.write() as transaction:
        transaction.execute("CREATE TABLE customers (name TEXT)")
    for attempt in (check, upgrade):
        with pytest.raises(StartRefused, match="another program's tables"):
            attempt(empty)
    with empty.read() as transaction:
        assert transaction.execute("SELECT * FROM customers") == []


def test_an_empty_database_waits_for_its_tables(empty: Store) -> None:
    with pytest.raises(StartRefused, match="has no tables yet: run `otel-finops db upgrade`"):
        check(empty)
