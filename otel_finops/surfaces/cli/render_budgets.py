"""How budgets look: lists and trees with how each stands, and the course of a window."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli.charts import bar, share
from otel_finops.surfaces.cli.render_dashboard import ink_of
from otel_finops.surfaces.cli.tables import draw_rows, plain
from otel_finops.surfaces.cli.texts import safe, second

_BAR_CELLS: Final = 12
_INDENT_MAX: Final = 20
"""Budgets within others are indented by their depth, so far at most."""
_COLUMNS: Final = ("no", "name", "scope", "limit", "unit", "per", "spent", "used", "share", "state", "hard", "enabled")
_STEPS: Final = ("from", "spent", "in_all", "used", "remaining", "even")
_ONE: Final = Decimal(1)


def listed(console: Console, answer: Mapping[str, Any]) -> None:
    """A page of budgets."""
    _drawn(console, answer, "budgets")


def tree(console: Console, answer: Mapping[str, Any]) -> None:
    """Budgets, those within others indented."""
    nodes = [{**one, "name": f"{'  ' * min(_INDENT_MAX, one['depth'])}{one['name']}"} for one in answer["nodes"]]
    _drawn(console, {**answer, "nodes": nodes}, "nodes")


def burndown(console: Console, answer: Mapping[str, Any]) -> None:
    """The course of a window, under what it is of."""
    budget, limit, ink = answer["budget"], Decimal(answer["limit"]), ink_of(console)
    console.print(Text.assemble((safe(budget["name"]), "bold"), f": {answer['limit']} {_unit(budget)} {_per(budget)}"))
    console.print(Text(f"{second(answer['from'])} to {second(answer['to'])}"))
    steps = [
        {**one, "used": "" if one["in_all"] is None else bar(Decimal(one["in_all"]), limit, ink, _BAR_CELLS)} for one in answer["steps"]
    ]
    draw_rows(console, steps, _STEPS)


def _drawn(console: Console, answer: Mapping[str, Any], field: str) -> None:
    if rows := [_row(console, one) for one in answer[field]]:
        draw_rows(console, rows, _COLUMNS)
        console.print(Text("(--json has all of each)", "dim"))
    plain(console, {**answer, field: [] if not rows else None})


def _row(console: Console, one: Mapping[str, Any]) -> dict[str, Any]:
    status = one["status"]
    ratio = Decimal(status["ratio"])
    return {
        **{name: one[name] for name in ("no", "name", "scope", "hard", "enabled")},
        "limit": status["limit"],
        "unit": _unit(one),
        "per": _per(one),
        "spent": status["spent"],
        "used": bar(ratio, _ONE, ink_of(console), _BAR_CELLS),
        "share": share(ratio, _ONE),
        "state": _state(status),
    }


def _state(status: Mapping[str, Any]) -> str:
    """The state, and why it may be another."""
    return str(status["state"]) + (", filling" if status["filling"] else "") + (", no rate" if status["fault"] else "")


def _unit(budget: Mapping[str, Any]) -> str:
    return safe(budget["currency"] or budget["kind"])


def _per(budget: Mapping[str, Any]) -> str:
    period = budget["period"]
    if period["length"] is None:
        return str(period["period"])
    return f"{period['length']} {str(period['period']).removeprefix('rolling_')}"
