"""Spans of two tenants for tests of the surfaces.

Every call is gpt-4o with 1,000 uncached prompt tokens (2.50 USD a million) and 100 output tokens (10 USD a million):
0.0025 + 0.001 = 0.0035 USD.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, NamedTuple

from otel_finops.genai.sighting import AGENT, CALL, OTHER, Sighting
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.testing import NOON

ACME_TRACE = "0af7651916cd43dd8448eb211c80319c"
"""Realm acme: a server span, below it the agent `planner` with two calls."""
SHARED_TRACE = "1bf7651916cd43dd8448eb211c80319c"
"""Realm default: a root, a call of globex and a call of acme."""
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e=cmd()"


WAITING, PASSING = "6026e626b1780d5bfeff6b22", "c48c217903cc86a41e7473dc"
"""Ids of a request for approval, and of a pass: they follow from what is asked for."""
DECIDED = "d" * 24
"""A decision on a call of acme, and what was held for it until its caller gave it back."""
POLICY_SET = Path(__file__).parents[1] / "data" / "policies" / "policies.yaml"
PRICE_LIST = Path(__file__).parents[1] / "data" / "prices" / "llm_prices.json"
RATES = PRICE_LIST.parents[1] / "fx" / "eurofxref.csv"
SCORES = PRICE_LIST.parents[1] / "quality" / "scores.csv"


class Harmless(NamedTuple):
    """An input with which an operation answers the same at every time and leaves the ledger as it is.

    Attributes:
        fields: for the API; those of the path stand there, the others in the query or, where something changes, in the body.
        words: the same on the command line.
    """

    fields: dict[str, Any]
    words: list[str]


BILL = PRICE_LIST.parents[1] / "bills" / "bill.csv"
_BILL = base64.b64encode(BILL.read_bytes()).decode()
_CONTENT = base64.b64encode(PRICE_LIST.read_bytes()).decode()
_PACKAGED = packaged_snapshot().version
_RATES = base64.b64encode(RATES.read_bytes()).decode()
_SCORES = base64.b64encode(SCORES.read_bytes()).decode()
HARMLESS: dict[str, Harmless] = {
    "alert_routes.create": Harmless(
        {"name": "tried", "channels": [1], "tenant": "acme", "min_severity": "critical", "dry_run": True},
        ["tried", "--channels", "1", "--tenant", "acme", "--min-severity", "critical", "--dry-run"],
    ),
    "alert_routes.delete": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "alert_routes.show": Harmless({"no": 1}, ["1"]),
    "alert_routes.update": Harmless({"no": 1, "kinds": ["budget"], "dry_run": True}, ["1", "--kinds", "budget", "--dry-run"]),
    "channels.create": Harmless(
        {"type": "slack", "name": "tried", "url": "https://hooks.example.com/x", "tenant": "acme", "dry_run": True},
        ["slack", "tried", "--url", "https://hooks.example.com/x", "--tenant", "acme", "--dry-run"],
    ),
    "channels.delete": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "channels.rotate_key": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "channels.show": Harmless({"no": 1}, ["1"]),
    "channels.test": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "channels.update": Harmless({"no": 1, "enabled": False, "dry_run": True}, ["1", "--enabled", "false", "--dry-run"]),
    "deliveries.retry": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "deliveries.run": Harmless({"dry_run": True}, ["--dry-run"]),
    "deliveries.show": Harmless({"no": 1}, ["1"]),
    "alert_rules.create": Harmless(
        {"name": "tried", "kind": "kill_switch", "tenant": "acme", "quiet": "22:00-07:00", "dry_run": True},
        ["tried", "kill_switch", "--tenant", "acme", "--quiet", "22:00-07:00", "--dry-run"],
    ),
    "alert_rules.delete": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "alert_rules.show": Harmless({"no": 1}, ["1"]),
    "alert_rules.update": Harmless({"no": 1, "severity": "critical", "dry_run": True}, ["1", "--severity", "critical", "--dry-run"]),
    "alerts.check": Harmless({"dry_run": True}, ["--dry-run"]),
    "alerts.mute": Harmless({"rule_no": 1, "why": "tried", "dry_run": True}, ["--rule-no", "1", "--why", "tried", "--dry-run"]),
    "alerts.unmute": Harmless({"rule_no": 1, "why": "tried", "dry_run": True}, ["--rule-no", "1", "--why", "tried", "--dry-run"]),
    "anomalies.ack": Harmless({"no": 1, "why": "tried", "dry_run": True}, ["1", "--why", "tried", "--dry-run"]),
    "anomalies.explain": Harmless({"from": "2026-11-20", "to": "2026-11-23"}, ["--from", "2026-11-20", "--to", "2026-11-23"]),
    "anomalies.mute": Harmless({"tenant": "acme", "step": "hour", "dry_run": True}, ["--tenant", "acme", "--step", "hour", "--dry-run"]),
    "anomalies.reopen": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "anomalies.run": Harmless({"dry_run": True}, ["--dry-run"]),
    "anomalies.show": Harmless({"no": 1}, ["1"]),
    "anomalies.unmute": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "approvals.approve": Harmless({"approval_id": WAITING, "why": "tried", "dry_run": True}, [WAITING, "--why", "tried", "--dry-run"]),
    "approvals.reject": Harmless({"approval_id": WAITING, "why": "tried", "dry_run": True}, [WAITING, "--why", "tried", "--dry-run"]),
    "approvals.revoke": Harmless({"approval_id": PASSING, "why": "tried", "dry_run": True}, [PASSING, "--why", "tried", "--dry-run"]),
    "approvals.show": Harmless({"approval_id": WAITING}, [WAITING]),
    "credits.adjust": Harmless(
        {"no": 1, "amount": "2.5", "why": "tried", "dry_run": True}, ["1", "--amount", "2.5", "--why", "tried", "--dry-run"]
    ),
    "credits.close": Harmless({"no": 1, "why": "tried", "dry_run": True}, ["1", "--why", "tried", "--dry-run"]),
    "credits.create": Harmless(
        {"name": "prepaid", "scope": {"tenant": "acme"}, "amount": "10", "why": "tried", "dry_run": True},
        ["prepaid", "--scope", "tenant=acme", "--amount", "10", "--why", "tried", "--dry-run"],
    ),
    "credits.grants": Harmless({"no": 1}, ["1"]),
    "credits.history": Harmless({"no": 1}, ["1"]),
    "credits.postings": Harmless({"no": 1}, ["1"]),
    "credits.show": Harmless({"no": 1}, ["1"]),
    "credits.topup": Harmless({"no": 1, "amount": "5", "why": "tried", "dry_run": True}, ["1", "5", "--why", "tried", "--dry-run"]),
    "credits.update": Harmless({"no": 1, "low": "2", "why": "tried", "dry_run": True}, ["1", "--low", "2", "--why", "tried", "--dry-run"]),
    "allocations.create": Harmless(
        {"name": "tried", "source": {"cost_center": ""}, "method": "even", "targets": ["search"], "tenant": "acme", "dry_run": True},
        ["tried", "--source", "cost_center=", "--method", "even", "--targets", "search", "--tenant", "acme", "--dry-run"],
    ),
    "allocations.delete": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "allocations.update": Harmless({"no": 1, "place": 7, "dry_run": True}, ["1", "--place", "7", "--dry-run"]),
    "cost_centers.create": Harmless({"code": "tried", "tenant": "acme", "dry_run": True}, ["tried", "--tenant", "acme", "--dry-run"]),
    "cost_centers.delete": Harmless({"no": 2, "dry_run": True}, ["2", "--dry-run"]),
    "cost_centers.update": Harmless({"no": 2, "owner": "ann", "dry_run": True}, ["2", "--owner", "ann", "--dry-run"]),
    "bills.import": Harmless(
        {"from": BILL.name, "content": _BILL, "provider": "openai", "tenant": "acme", "dry_run": True},
        ["--from", str(BILL), "--provider", "openai", "--tenant", "acme", "--dry-run"],
    ),
    "bills.pull": Harmless({"dry_run": True}, ["--dry-run"]),
    "bills.remove": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "budgets.burndown": Harmless({"no": 1}, ["1"]),
    "footprint.factors": Harmless({"provider": "openai", "model": "gpt-4o"}, ["openai", "gpt-4o"]),
    "forecast.backtest": Harmless({"no": 1, "steps": 1}, ["--no", "1", "--steps", "1"]),
    "forecast.budget": Harmless({"no": 1}, ["1"]),
    "budgets.create": Harmless(
        {"name": "tried", "amount": "5", "scope": {"tenant": "acme"}, "dry_run": True},
        ["tried", "5", "--scope", "tenant=acme", "--dry-run"],
    ),
    "budgets.delete": Harmless({"no": 2, "dry_run": True}, ["2", "--dry-run"]),
    "budgets.history": Harmless({"no": 1}, ["1"]),
    "budgets.show": Harmless({"no": 1}, ["1"]),
    "budgets.update": Harmless({"no": 2, "amount": "7", "dry_run": True}, ["2", "--amount", "7", "--dry-run"]),
    "decisions.create": Harmless(
        {"provider": "openai", "model": "gpt-4o", "input_tokens": 1000, "dry_run": True},
        ["openai", "gpt-4o", "--input-tokens", "1000", "--dry-run"],
    ),
    "decisions.show": Harmless({"decision_id": DECIDED}, [DECIDED]),
    "diagnostics.estimate": Harmless(
        {"model": "gpt-4o", "provider": "openai", "text_chars": 7}, ["--model", "gpt-4o", "--provider", "openai", "--text-chars", "7"]
    ),
    "fx.import": Harmless({"from": RATES.name, "content": _RATES}, ["--from", str(RATES)]),
    "fx.rates": Harmless({"currency": "GBP", "at": "2026-11-21"}, ["--currency", "GBP", "--at", "2026-11-21"]),
    "jobs.run": Harmless({"job": "prune", "dry_run": True}, ["prune", "--dry-run"]),
    "jobs.show": Harmless({"job": "prune"}, ["prune"]),
    "kill_switch.clear": Harmless(
        {"scope": "agent", "name": "nobody", "why": "tried", "dry_run": True}, ["agent", "nobody", "--why", "tried", "--dry-run"]
    ),
    "kill_switch.set": Harmless(
        {"scope": "agent", "name": "nobody", "why": "tried", "dry_run": True}, ["agent", "nobody", "--why", "tried", "--dry-run"]
    ),
    "ledger.allowances": Harmless({"dry_run": True}, ["--dry-run"]),
    "ledger.estimate": Harmless({"dry_run": True}, ["--dry-run"]),
    "ledger.reprice": Harmless({"dry_run": True}, ["--dry-run"]),
    "outcomes.record": Harmless(
        {"trace_id": ACME_TRACE, "outcome": "success", "tenant": "acme", "dry_run": True},
        [ACME_TRACE, "success", "--tenant", "acme", "--dry-run"],
    ),
    "periods.close": Harmless({"month": "2026-10", "dry_run": True}, ["--month", "2026-10", "--dry-run"]),
    "policies.create": Harmless(
        {"name": "tried", "action": "block", "scope": {"tenant": "acme"}, "condition": "trace.calls > 5", "dry_run": True},
        ["tried", "block", "--scope", "tenant=acme", "--condition", "trace.calls > 5", "--dry-run"],
    ),
    "policies.delete": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "policies.import": Harmless({"document": POLICY_SET.read_text(), "dry_run": True}, [str(POLICY_SET), "--dry-run"]),
    "policies.show": Harmless({"no": 1}, ["1"]),
    "policies.simulate": Harmless(
        {"provider": "openai", "model": "gpt-4o", "input_tokens": 1000, "tenant": "acme"},
        ["openai", "gpt-4o", "--input-tokens", "1000", "--tenant", "acme"],
    ),
    "policies.update": Harmless({"no": 1, "priority": 7, "dry_run": True}, ["1", "--priority", "7", "--dry-run"]),
    "policies.validate": Harmless(
        {"name": "tried", "action": "block", "scope": "tenant=acme", "condition": "trace.cals > 5"},
        ["tried", "block", "--scope", "tenant=acme", "--condition", "trace.cals > 5"],
    ),
    "prices.activate": Harmless({"version": _PACKAGED}, [_PACKAGED]),
    "prices.diff": Harmless({"content": _CONTENT}, ["--file", str(PRICE_LIST)]),
    "prices.refresh": Harmless({"from": PRICE_LIST.name, "content": _CONTENT, "dry_run": True}, ["--from", str(PRICE_LIST), "--dry-run"]),
    "prices.unwatch": Harmless({"no": 1}, ["1"]),
    "prices.watch": Harmless({"model": "gpt-4o", "provider": "openai"}, ["gpt-4o", "--provider", "openai"]),
    "prices.history": Harmless({"model": "gpt-4o"}, ["gpt-4o"]),
    "prices.show": Harmless({"model": "gpt-4o"}, ["gpt-4o"]),
    "pricing.alias": Harmless(
        {"name": "our-gpt", "key": "azure/gpt-4o", "why": "tried", "dry_run": True},
        ["our-gpt", "azure/gpt-4o", "--why", "tried", "--dry-run"],
    ),
    "pricing.end": Harmless(
        {"rule": 1, "why": "tried", "dry_run": True, "at": "2027-01-01"}, ["1", "--why", "tried", "--dry-run", "--at", "2027-01-01"]
    ),
    "pricing.explain": Harmless({"model": "our-deployment", "at": "2026-11-21"}, ["our-deployment", "--at", "2026-11-21"]),
    "pricing.override": Harmless(
        {"model": "our-model", "prices": {"input": "2.5"}, "why": "tried", "dry_run": True, "reprice": True},
        ["our-model", "input=2.5", "--why", "tried", "--dry-run", "--reprice"],
    ),
    "pricing.quote": Harmless({"model": "gpt-4o", "output_tokens": 7}, ["--model", "gpt-4o", "--output-tokens", "7"]),
    "quality.import": Harmless(
        {"from": SCORES.name, "content": _SCORES, "source": "tried", "dry_run": True},
        ["--from", str(SCORES), "--source", "tried", "--dry-run"],
    ),
    "quarantine.drop": Harmless({"no": "all"}, ["all"]),
    "quarantine.retry": Harmless({"no": "all"}, ["all"]),
    "reconcile.run": Harmless({"dry_run": True}, ["--dry-run"]),
    "reservations.release": Harmless({"reservation_id": DECIDED}, [DECIDED]),
    "reservations.settle": Harmless({"reservation_id": DECIDED, "actual_usd": "0.5"}, [DECIDED, "--actual-usd", "0.5"]),
    "reservations.show": Harmless({"reservation_id": DECIDED}, [DECIDED]),
    "retention.prune": Harmless({"dry_run": True}, ["--dry-run"]),
    "replay.run": Harmless({"from": "2026-11-20", "to": "2026-11-23"}, ["--from", "2026-11-20", "--to", "2026-11-23"]),
    "routing.create": Harmless(
        {"name": "tried", "candidates": ["openai/gpt-4o-mini", "openai/gpt-4o"], "bar": 0.8, "dry_run": True},
        ["tried", "openai/gpt-4o-mini,openai/gpt-4o", "--bar", "0.8", "--dry-run"],
    ),
    "routing.delete": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "routing.show": Harmless({"no": 1}, ["1"]),
    "routing.simulate": Harmless(
        {"no": 1, "from": "2026-11-20", "to": "2026-11-23"}, ["--no", "1", "--from", "2026-11-20", "--to", "2026-11-23"]
    ),
    "routing.update": Harmless({"no": 1, "bar": 0.7, "dry_run": True}, ["1", "--bar", "0.7", "--dry-run"]),
    "runs.show": Harmless({"run_id": f"{ACME_TRACE}-{2:016x}"}, [f"{ACME_TRACE}-{2:016x}"]),
    "senders.create": Harmless({"name": "shop", "tenants": ["acme"], "dry_run": True}, ["shop", "--tenants", "acme", "--dry-run"]),
    "senders.revoke": Harmless({"no": 2}, ["2"]),
    "senders.rotate": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "sessions.show": Harmless({"session": "session-1"}, ["session-1"]),
    "tokens.create": Harmless(
        {"name": "ann", "role": "viewer", "tenants": ["acme", "globex"], "dry_run": True},
        ["ann", "--role", "viewer", "--tenants", "acme,globex", "--dry-run"],
    ),
    "tokens.revoke": Harmless({"no": 2}, ["2"]),
    "tokens.rotate": Harmless({"no": 1, "dry_run": True, "days": 30}, ["1", "--dry-run", "--days", "30"]),
    "subscriptions.add": Harmless(
        {"id": "seats", "from": "2026-11-01", "providers": ["anthropic"], "why": "tried", "dry_run": True},
        ["seats", "--from", "2026-11-01", "--providers", "anthropic", "--why", "tried", "--dry-run"],
    ),
    "subscriptions.end": Harmless(
        {"id": "old-seats", "at": "2027-01-01", "why": "tried", "dry_run": True},
        ["old-seats", "--at", "2027-01-01", "--why", "tried", "--dry-run"],
    ),
    "traces.show": Harmless({"trace_id": ACME_TRACE}, [ACME_TRACE]),
    "whatif.delete": Harmless({"no": 1, "dry_run": True}, ["1", "--dry-run"]),
    "whatif.save": Harmless(
        {"name": "tried", "to_tier": "batch", "from": "2026-11-20", "to": "2026-11-23", "dry_run": True},
        ["--name", "tried", "--to-tier", "batch", "--from", "2026-11-20", "--to", "2026-11-23", "--dry-run"],
    ),
    "whatif.show": Harmless({"no": 1}, ["1"]),
    "whatif.simulate": Harmless({"scenario": 1, "cache_hit_rate": 0.5}, ["--scenario", "1", "--cache-hit-rate", "0.5"]),
    "usage.show": Harmless({"trace_id": ACME_TRACE, "span_id": f"{3:016x}"}, [ACME_TRACE, f"{3:016x}"]),
}
"""By operation; one that is not here is asked without any input."""
NO_INPUT = Harmless({}, [])


def asked(one: Any) -> tuple[str, str, dict[str, Any]]:
    """Method, path with a query, and keywords of the request that asks an operation for its harmless answer."""
    fields = dict(HARMLESS.get(one.name, NO_INPUT).fields)
    path = "/api/v1/" + one.path.format(**{name: fields.pop(name) for name in one.path_fields})
    return (one.method, path, {"json": fields}) if one.changes else (one.method, path, {"params": fields})


def sighting(trace_id: str, number: int, parent: int | None, *, kind: str = CALL, realm: str = "default", **more: Any) -> Sighting:
    start_ns = NOON + number * 1_000_000
    call: dict[str, Any] = {
        "provider": "openai", "request_model": "gpt-4o", "response_model": "gpt-4o", "price_models": ("gpt-4o",),
        "operation": "chat", "usage": {"input_uncached": 1000, "output": 100}, "usage_source": "reported",
    }  # fmt: skip
    return Sighting(
        realm=realm,
        trace_id=trace_id,
        span_id=f"{number:016x}",
        parent_span_id=None if parent is None else f"{parent:016x}",
        name=f"span {number}",
        start_ns=start_ns,
        end_ns=start_ns + 500_000,
        kind=kind,
        genai=kind != OTHER,
        instance="app",
        scope="test",
        **(call if kind == CALL else {}) | more,
    )


SIGHTINGS = [
    sighting(ACME_TRACE, 1, None, kind=OTHER, realm="acme", attribution={"tenant": "acme"}),
    sighting(ACME_TRACE, 2, 1, kind=AGENT, realm="acme", attribution={"agent": "planner", "tenant": "acme"}),
    sighting(ACME_TRACE, 3, 2, realm="acme", attribution={"tenant": "acme", "user": "user-7", "session": "session-1", "step": "plan"}),
    sighting(ACME_TRACE, 4, 2, realm="acme", attribution={"tenant": "acme", "step": "act"}, response_id="r4"),
    sighting(SHARED_TRACE, 5, None, kind=OTHER),
    sighting(SHARED_TRACE, 6, 5, attribution={"tenant": "globex", "step": HOSTILE}, response_id="r6"),
    sighting(SHARED_TRACE, 7, 5, attribution={"tenant": "acme"}, response_id="r7"),
]
