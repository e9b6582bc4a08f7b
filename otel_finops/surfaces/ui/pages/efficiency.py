"""Waste with its dollars, and what one call, trace, session, user and outcome costs."""

from __future__ import annotations

from typing import Final

import orjson
from starlette.responses import Response

from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.page import Page, action, page

KEYS: Final = ("agent", "model", "provider", "tenant", "service", "environment", "cost_center", "operation")


@page("/waste", title="Waste", group="Understand", needs=("waste.report",), slow=lambda _: True)
def waste(page: Page) -> Response:
    """What was paid for nothing, dearest first, with the policy that would have stopped it."""
    report = page.ask("waste.report", **_week(page))
    findings = [(one, policy_fields(one["policy"]) if one["policy"] else {}) for one in report["findings"]]
    return page.render("understand/waste.html", window=page.window("7d"), report=report, findings=findings)


@action("/waste/policy", needs="policies.create")
def adopt(page: Page) -> Response:
    """Store the policy that a finding names, switched off, so that it can be looked at first."""
    done = page.submit("policies.create", enabled=False)
    if done.answer is None:
        return page.to(page.url("/waste"), f"The policy is not stored: {done.filled.fault}")
    return page.to(page.url("/policies"), "The policy is stored and switched off: look at it, then switch it on.")


@page("/unit-costs", title="Unit costs", group="Understand", needs=("unit_costs.report",), slow=lambda _: True)
def unit_costs(page: Page) -> Response:
    """Cost by unit and by outcome, and what the cache saved."""
    by = page.query.get("group_by", "agent")
    report = page.ask("unit_costs.report", group_by=by)
    outcomes = page.try_ask("outcomes.report", carry=("tenant", "from", "to", "name")) if page.can("outcomes.report") else None
    return page.render("understand/unit_costs.html", window=page.window(), report=report, outcomes=outcomes, by=by, keys=KEYS)


def policy_fields(policy: Json) -> dict[str, str]:
    """What stores the policy that a finding names: one of the ready ones, or fields of its own."""
    said = {"name": policy["name"], "limit": policy["limit"], "downgrade_to": policy["downgrade_to"]}
    said |= {"ready": policy["ready"]} if policy["ready"] else {"action": policy["action"]}
    said |= {"scope": orjson.dumps(policy["scope"]).decode()} if policy["scope"] else {}
    return {name: value for name, value in said.items() if value}


def _week(page: Page) -> dict[str, str | None]:
    """Waste is looked for in a week where the page names no time."""
    window = page.window("7d")
    return {"from_": window.from_, "to": window.to}
