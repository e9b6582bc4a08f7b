"""Answers for people: what each operation's answer looks like. Every text may come from a sender, so none reaches the terminal unsafe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli import render_coverage, render_dashboard, render_prices, render_runs, render_trees
from otel_finops.surfaces.cli.tables import draw_rows, plain, screen


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


_ENTRY: Final = (
    "started_at", "kind", "role", "tenant", "provider", "request_model", "response_model", "agent", "step",
    "cost_usd", "cost_method", "trace_id",
)  # fmt: skip
_PRUNED: Final = ("class", "keeps_days", "rows", "traces", "spans", "oldest", "newest", "months", "held", "finished", "lost")
_TOKEN: Final = ("no", "name", "prefix", "role", "tenants", "state", "expires_at", "last_used_at")
_SPECIAL: Final[Mapping[str, Callable[[Console, Mapping[str, Any]], None]]] = {
    "audit.list": partial(_listed, "entries", ("at", "tenant", "seq", "who", "what", "outcome", "origin")),
    "coverage.report": render_coverage.coverage,
    "dashboard.kpis": render_dashboard.kpis,
    "dashboard.top": render_dashboard.top,
    "dashboard.trend": render_dashboard.trend,
    "pricing.alias": render_prices.rule,
    "pricing.end": render_prices.rule,
    "pricing.explain": render_prices.explained,
    "pricing.override": render_prices.rule,
    "pricing.quote": render_prices.quote,
    "pricing.rules": render_prices.rules,
    "pricing.unpriced": render_prices.unpriced,
    "retention.prune": partial(_listed, "classes", _PRUNED),
    "runs.list": partial(
        _listed, "runs", ("started_at", "name", "kind", "status", "cost_usd", "calls", "tokens", "failed_calls", "duration_ms", "run_id")
    ),
    "runs.show": render_runs.run,
    "senders.list": partial(_listed, "tokens", _TOKEN),
    "sessions.list": partial(_listed, "sessions", ("session", "users", "last_at", "cost_usd", "traces", "runs", "calls", "tokens")),
    "settings.show": partial(_listed, "settings", ("section", "name", "value", "source")),
    "tokens.list": partial(_listed, "tokens", _TOKEN),
    "traces.show": render_trees.trace,
    "usage.list": partial(_listed, "entries", _ENTRY),
}
"""Operations whose answers are not drawn as any answer is (`tables.plain`)."""
