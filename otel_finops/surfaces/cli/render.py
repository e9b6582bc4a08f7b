"""Answers for people: what each operation's answer looks like. Every text may come from a sender, so none reaches the terminal unsafe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli import (
    render_alerting,
    render_budgets,
    render_coverage,
    render_dashboard,
    render_decisions,
    render_insight,
    render_prices,
    render_routing,
    render_runs,
    render_trees,
)
from otel_finops.surfaces.cli.tables import draw_rows, plain, screen
from otel_finops.surfaces.cli.texts import many


def show(name: str, answer: Mapping[str, Any]) -> None:
    """Print an operation's answer to standard output."""
    draw(screen(), name, answer)


def draw(console: Console, name: str, answer: Mapping[str, Any]) -> None:
    """The same on any console."""
    _SPECIAL.get(name, plain)(console, answer)


def _listed(field: str, columns: tuple[str, ...], console: Console, answer: Mapping[str, Any]) -> None:
    """A list of wide rows by its most telling columns."""
    rows = answer[field]
    if rows:
        draw_rows(console, rows, columns)
        console.print(Text("(--json has all of each)", "dim"))
    plain(console, {**answer, field: [] if not rows else None})


def _history(console: Console, answer: Mapping[str, Any]) -> None:
    """A call's entries in a table, each with why it is there, then the one that stands in full."""
    if answer["history"]:
        draw_rows(console, [{**one["entry"], **one} for one in answer["history"]], _BOOKED)
        console.print()
    plain(console, {**answer, "history": None})


def _settings(console: Console, answer: Mapping[str, Any]) -> None:
    """Settings; of a secret that is set there is a word, so that it does not look like one that is not."""
    rows = [{**one, "value": "(secret)"} if one["secret"] and one["is_set"] else one for one in answer["settings"]]
    _listed("settings", ("section", "name", "value", "source"), console, {**answer, "settings": rows})


def _retained(console: Console, answer: Mapping[str, Any]) -> None:
    """Classes of data with how long they are kept in words: nothing would look like nothing kept."""
    plain(console, {**answer, "classes": list(map(_kept, answer["classes"]))})


def _pruned(console: Console, answer: Mapping[str, Any]) -> None:
    _listed("classes", _PRUNED, console, {**answer, "classes": list(map(_kept, answer["classes"]))})


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with `kept` in place of its days."""
    days = row["keeps_days"]
    said = "for ever" if days is None else many(int(days), "day") if days == int(days) else f"{days * 24:.2g} h"
    return {("kept" if name == "keeps_days" else name): (said if name == "keeps_days" else value) for name, value in row.items()}


_ENTRY: Final = (
    "started_at", "kind", "role", "tenant", "provider", "request_model", "response_model", "agent", "step",
    "cost_usd", "cost_method", "trace_id",
)  # fmt: skip
_BOOKED: Final = ("recorded_at", "kind", "role", "cost_usd", "cost_method", "why", "changed", "corrected_by")
_PRUNED: Final = ("class", "kept", "rows", "traces", "spans", "oldest", "newest", "months", "held", "finished", "lost")
_TOKEN: Final = ("no", "name", "prefix", "role", "tenants", "state", "expires_at", "last_used_at")
_ALERT: Final = ("alert", "severity", "phase", "tenant", "title", "started_at", "muted_until")
_DEED: Final = ("at", "deed", "severity", "rule", "tenant", "title", "channels", "held_back")
_CHANNEL: Final = ("no", "name", "type", "tenant", "enabled", "host", "to", "routed")
_ROUTE: Final = ("no", "name", "tenant", "channels", "rules", "kinds", "min_severity", "labels", "resolved", "enabled")
_DELIVERY: Final = ("no", "made_at", "channel_name", "status", "attempts", "severity", "title", "said", "next_at")
_CENTER: Final = ("no", "code", "name", "parent", "tenant", "owner", "department")
_SHARING: Final = ("no", "name", "tenant", "source", "amount_usd", "every", "method", "targets", "shares", "tag", "enabled")
_BILL: Final = ("no", "name", "tenant", "aspect", "format", "from", "to", "currency", "amount", "origin")
_SCORE: Final = ("provider", "model", "task", "score", "low", "high", "samples", "source", "tenant")
_SPECIAL: Final[Mapping[str, Callable[[Console, Mapping[str, Any]], None]]] = {
    "alert_routes.list": partial(_listed, "routes", _ROUTE),
    "alert_rules.kinds": render_alerting.kinds,
    "alert_rules.list": render_alerting.rules,
    "alerts.history": partial(_listed, "events", _DEED),
    "alerts.list": partial(_listed, "alerts", _ALERT),
    "allocations.list": partial(_listed, "rules", _SHARING),
    "anomalies.course": render_insight.course,
    "anomalies.explain": render_insight.explained,
    "anomalies.list": render_insight.anomalies,
    "anomalies.show": render_insight.anomaly,
    "audit.list": partial(_listed, "entries", ("at", "tenant", "seq", "who", "what", "outcome", "origin")),
    "bills.list": partial(_listed, "bills", _BILL),
    "budgets.burndown": render_budgets.burndown,
    "budgets.crossings": partial(
        _listed, "crossings", ("at", "no", "name", "tenant", "percent", "booked", "limit", "currency", "window_from", "cleared_at")
    ),
    "budgets.list": render_budgets.listed,
    "budgets.tree": render_budgets.tree,
    "channels.list": partial(_listed, "channels", _CHANNEL),
    "chargeback.report": render_insight.chargeback,
    "cost_centers.list": partial(_listed, "cost_centers", _CENTER),
    "coverage.report": render_coverage.coverage,
    "dashboard.kpis": render_dashboard.kpis,
    "dashboard.top": render_dashboard.top,
    "dashboard.trend": render_dashboard.trend,
    "decisions.create": render_decisions.decided,
    "decisions.list": render_decisions.decisions,
    "deliveries.list": partial(_listed, "deliveries", _DELIVERY),
    "footprint.summary": render_insight.footprint,
    "footprint.trend": render_insight.footprint_trend,
    "forecast.budget": render_insight.forecast_budget,
    "forecast.budgets": render_insight.forecast_budgets,
    "forecast.spend": render_insight.forecast_spend,
    "jobs.list": render_alerting.jobs,
    "outcomes.report": render_insight.outcomes,
    "policies.list": partial(
        _listed, "policies", ("no", "priority", "name", "tenant", "action", "scope", "min_cost_usd", "condition", "enabled", "failures")
    ),
    "prices.history": render_prices.history,
    "prices.models": render_prices.models,
    "pricing.alias": render_prices.rule,
    "pricing.end": render_prices.rule,
    "pricing.explain": render_prices.explained,
    "pricing.override": render_prices.rule,
    "pricing.quote": render_prices.quote,
    "pricing.rules": render_prices.rules,
    "pricing.unpriced": render_prices.unpriced,
    "quality.scores": partial(_listed, "scores", _SCORE),
    "reconcile.rates": render_insight.rates,
    "reconcile.report": render_insight.reconciled,
    "reconcile.run": render_insight.rates,
    "retention.prune": _pruned,
    "retention.status": _retained,
    "routing.list": partial(_listed, "rules", ("no", "name", "tenant", "candidates", "bar", "task", "source", "filters", "unknown")),
    "routing.simulate": render_routing.simulated,
    "runs.list": partial(
        _listed, "runs", ("started_at", "name", "kind", "status", "cost_usd", "calls", "tokens", "failed_calls", "duration_ms", "run_id")
    ),
    "runs.show": render_runs.run,
    "senders.list": partial(_listed, "tokens", _TOKEN),
    "sessions.list": partial(_listed, "sessions", ("session", "users", "last_at", "cost_usd", "traces", "runs", "calls", "tokens")),
    "settings.show": _settings,
    "tokens.list": partial(_listed, "tokens", _TOKEN),
    "traces.show": render_trees.trace,
    "unit_costs.report": render_insight.unit_costs,
    "usage.list": partial(_listed, "entries", _ENTRY),
    "usage.show": _history,
    "waste.report": render_insight.wasted,
    "whatif.scenarios": partial(_listed, "scenarios", ("no", "name", "tenant", "question", "saved_at", "saved_by")),
    "whatif.simulate": render_routing.compared,
}
"""Operations whose answers are not drawn as any answer is (`tables.plain`)."""
