"""The page at `/`: what was spent, on what, against the time before, and what wants to be looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.budget_meter import budget_meter
from otel_finops.surfaces.ui.charts import trend_chart
from otel_finops.surfaces.ui.page import Page, page

SPLITS: Final = ("model", "provider", "agent", "tenant", "service", "cost_center", "environment", "cost_method")
_LINES: Final = 8
_TOP: Final = 8
_FINDINGS: Final = 4
_FINDINGS_READ: Final = 100
_ALERTS: Final = 5
_BUDGETS: Final = 5
_BUDGETS_READ: Final = 200


@page("/", title="Overview", group="Spend", needs=("dashboard.kpis",))
def overview(page: Page) -> Response:
    """Figures, course, what costs most, budgets and findings; how to send the first span where there is nothing yet."""
    split = page.query.get("split", "model")
    kpis = page.ask("dashboard.kpis")
    window = kpis["window"]
    if not window["calls"] and not kpis["month"]["calls"] and not page.query.keys() - {"zone"}:
        return page.render("overview/first_span.html")
    trend = page.ask("dashboard.trend", by=_step(page), split=split, limit=_LINES)
    opens = [page.url("/traces", from_=piece["from"], to=piece["to"], range=None, sort="cost") for piece in trend["pieces"]]
    return page.render(
        "overview/overview.html",
        window=page.window(),
        kpis=kpis,
        trend=trend,
        chart=trend_chart(trend, page.zone, opens),
        split=split,
        splits=SPLITS,
        top=page.ask("dashboard.top", by=split, limit=_TOP),
        budgets=_budgets(page),
        meter=partial(budget_meter, page),
        findings=_findings(page),
        alerts=_part(page, "alerts.list", carry=("tenant",), phase="firing", limit=_ALERTS),
    )


def _budgets(page: Page) -> list[Json] | None:
    """The budgets that are used up most; None for whom there are none to see."""
    found = _part(page, "budgets.list", carry=("tenant",), limit=_BUDGETS_READ)
    if found is None:
        return None
    return sorted(found["budgets"], key=lambda one: Decimal(one["status"]["ratio"]), reverse=True)[:_BUDGETS]


def _findings(page: Page) -> list[tuple[Json, int]]:
    """Of every day with findings the one that explains the most dollars, and how many others there are; the dearest days first."""
    found = _part(page, "anomalies.list", carry=("tenant", "from", "to"), state="standing", limit=_FINDINGS_READ)
    by_day: defaultdict[str, list[Json]] = defaultdict(list)
    for one in found["anomalies"] if found else ():
        by_day[one["from"]].append(one)
    dearest = [(max(ones, key=_difference), len(ones) - 1) for ones in by_day.values()]
    return sorted(dearest, key=lambda pair: _difference(pair[0]), reverse=True)[:_FINDINGS]


def _difference(finding: Json) -> Decimal:
    return Decimal(finding["difference_usd"])


def _part(page: Page, name: str, **given: Any) -> Json | Mapping[str, Any] | None:
    """A part that somebody else's role or switches may leave away."""
    return page.try_ask(name, **given).value if page.can(name) else None


def _step(page: Page) -> str:
    """Hours where the window is short."""
    return "hour" if page.window().chosen == "24h" else page.query.get("step", "day")
