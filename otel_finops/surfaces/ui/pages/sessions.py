"""Sessions: what conversations cost, turn by turn."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.charts import seconds
from otel_finops.surfaces.ui.page import Page, page

SORTS: Final = {"last": "Latest", "cost": "Cost", "calls": "Calls", "tokens": "Tokens"}
_ROWS: Final = 50
_TURNS: Final = 100


@page("/sessions", title="Sessions", group="Agents", needs=("sessions.list",))
def sessions(page: Page) -> Response:
    """Conversations, the latest first."""
    found = page.ask("sessions.list", limit=_ROWS)
    most = max((float(one["cost_usd"]) for one in found["sessions"]), default=0.0)
    sort = page.query.get("sort", "last")
    return page.render("sessions/sessions.html", window=page.window(), found=found, sorts=SORTS, sort=sort, most=most)


@page("/sessions/{session:path}", title="Session", needs=("sessions.show",))
def session(page: Page) -> Response:
    """One conversation with its turns; its name may have slashes."""
    shown = page.ask("sessions.show", carry=("session", "tenant", "cursor"), session=page.path["session"], limit=_TURNS)
    return page.render("sessions/session.html", session=shown, chart=_chart(page, shown))


def _chart(page: Page, shown: Json) -> dict[str, Any] | None:
    """What it had cost after each turn; None for a single one."""
    course = shown["course"]
    if len(course) < 2:
        return None
    series = [
        {"name": "in all", "values": [float(turn["so_far_usd"]) for turn in course]},
        {"name": "this turn", "values": [float(turn["cost_usd"]) for turn in course], "kind": "bars"},
    ]
    return {"x": seconds([turn["first_at"] for turn in course]), "series": series, "unit": "money", "zone": page.zone}
