"""Runs of agents and workflows: what each did and cost, and what agents, steps and outcomes cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from starlette.responses import Response

from otel_finops.base.errors import BadInput
from otel_finops.surfaces.ui.page import Page, page

SORTS: Final = {"started": "Newest", "cost": "Cost", "duration": "Duration", "calls": "Calls"}
VIEWS: Final = {"runs": "Runs", "agents": "By agent", "steps": "By step", "outcomes": "By outcome"}
_ROWS: Final = 50
_GROUPS: Final = {"agents": "agent", "steps": "agent,step"}
_GROUPS_SHOWN: Final = 200
_CALLS_SHOWN: Final = 50
"""Of a run, at once; the others are folded."""
OUTCOMES_BY: Final = ("name", "agent", "workflow", "service", "model")


@page("/runs", title="Runs", group="Agents", needs=("runs.list",))
def runs(page: Page) -> Response:
    """Runs one by one, or what is spent by agent, step or outcome."""
    view = page.query.get("view", "runs")
    if view not in VIEWS:
        raise BadInput(f"view: must be one of {', '.join(VIEWS)}")
    return page.render(f"runs/{view}.html", window=page.window(), view=view, views=_allowed(page), **_SHOWN[view](page))


def _allowed(page: Page) -> dict[str, str]:
    """The views that the role and the switches let him see."""
    needs = {"agents": "spend.report", "steps": "spend.report", "outcomes": "outcomes.report"}
    return {name: label for name, label in VIEWS.items() if name not in needs or page.can(needs[name])}


def _list(page: Page) -> dict[str, Any]:
    found = page.ask("runs.list", limit=_ROWS)
    return {"found": found, "sorts": SORTS, "sort": page.query.get("sort", "started"), "most": _most(found["runs"])}


def _agents(page: Page) -> dict[str, Any]:
    spend = _spend(page, "agents")
    outcomes = page.try_ask("outcomes.report", carry=("tenant",), group_by="agent").value if page.can("outcomes.report") else None
    by_agent = {group["key"]["agent"]: group for group in outcomes["groups"]} if outcomes else {}
    return {**spend, "outcomes": by_agent}


def _steps(page: Page) -> dict[str, Any]:
    return _spend(page, "steps")


def _spend(page: Page, view: str) -> dict[str, Any]:
    report = page.ask("spend.report", group_by=_GROUPS[view], period=None)
    groups = [group for group in report["groups"] if group["key"]["agent"] is not None or group["key"].get("step") is not None]
    groups.sort(key=lambda group: -Decimal(group["cost_usd"]))
    return {"report": report, "rows": groups[:_GROUPS_SHOWN], "count_all": len(groups), "most": _most(groups)}


def _outcomes(page: Page) -> dict[str, Any]:
    by = page.query.get("by", "name")
    if by not in OUTCOMES_BY:
        raise BadInput(f"by: must be one of {', '.join(OUTCOMES_BY)}")
    return {"report": page.ask("outcomes.report", carry=("tenant", "name"), group_by=by), "by": by, "ways": OUTCOMES_BY}


def _most(rows: list[Any]) -> float:
    """The greatest cost, which the bars are held against."""
    return max((float(row["cost_usd"]) for row in rows), default=0.0)


_SHOWN: Final = {"runs": _list, "agents": _agents, "steps": _steps, "outcomes": _outcomes}


@page("/runs/{run_id}", title="Run", needs=("runs.show",))
def run(page: Page) -> Response:
    """One run in full."""
    shown = page.ask("runs.show", carry=("run_id",))
    return page.render(
        "runs/run.html", run=shown, shown=_CALLS_SHOWN, most=max((float(step["usd"]) for step in shown["steps"]), default=0.0)
    )
