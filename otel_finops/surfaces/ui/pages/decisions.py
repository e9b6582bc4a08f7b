"""Decisions on calls before they were made: what was stopped, by whom and why, and what guardrails said."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from otel_finops.surfaces.ui.page import Page, page

_ROWS: Final = 50
ACTIONS: Final = ("allow", "block", "require_approval", "downgrade", "throttle", "queue")
GATES: Final = ("kill_switch", "guardrail", "credits", "budget", "policy", "store")
CHIPS: Final = (
    "rule_id", "provider", "model", "operation", "agent", "step", "user", "session", "purpose", "cost_center", "service", "environment",
    "trace_id",
)  # fmt: skip
"""Filters that other pages lead here with."""


@page("/decisions", title="Decisions", group="Govern", needs=("decisions.list",))
def decisions(page: Page) -> Response:
    """What was kept from being spent, the decisions behind it, and what guardrails flagged."""
    found = page.ask("decisions.list", limit=_ROWS)
    return page.render(
        "decisions/decisions.html",
        window=page.window(),
        rows=found["decisions"],
        next_cursor=found["next_cursor"],
        blocked=page.ask("decisions.blocked"),
        guardrails=page.try_ask("guardrails.report") if page.can("guardrails.report") else None,
        enforcement=page.context.settings.enforcement.mode,
        actions=ACTIONS,
        gates=GATES,
        chips=CHIPS,
        filtered=any(name in page.query for name in ("action", "gate", "observed", "halted", *CHIPS)),
    )


@page("/decisions/{decision_id}", title="Decision", needs=("decisions.show",))
def decision(page: Page) -> Response:
    """One decision: what was asked, what everybody said to it, and what the caller was told."""
    return page.render("decisions/decision.html", one=page.ask("decisions.show", decision_id=page.path["decision_id"]))
