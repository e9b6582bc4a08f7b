"""What the period will have cost at its end, and which budgets will not hold."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Final

from starlette.responses import Response

from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.charts import seconds
from otel_finops.surfaces.ui.page import Page, page

PERIODS: Final = ("weekly", "monthly", "quarterly", "yearly")
GROUPS: Final = ("", "tenant", "model", "provider", "agent", "service", "cost_center")
METHODS: Final = ("auto", "best", "run_rate", "naive", "level", "weekday", "weekday_trend")
_GROUPS_SHOWN: Final = 20


@page("/forecast", title="Forecast", group="Understand", needs=("forecast.spend",))
def forecast(page: Page) -> Response:
    """The course so far, and the rest of the period with the band in which it will lie four times of five."""
    found = page.ask("forecast.spend", limit=_GROUPS_SHOWN, by=page.query.get("by") or None)
    return page.render(
        "understand/forecast.html",
        forecast=found,
        chart=course(found, page.zone),
        budgets=page.try_ask("forecast.budgets", carry=("tenant", "method"), limit=50) if page.can("forecast.budgets") else None,
        backtest=page.try_ask("forecast.backtest", carry=("tenant",)) if page.can("forecast.backtest") and "test" in page.query else None,
        periods=PERIODS,
        groups=GROUPS,
        methods=METHODS,
    )


def course(found: Json, zone: str) -> dict[str, Any]:
    """The sum so far as it grew, and as it will grow, with the band in which it will lie four times of five."""
    past, coming = found["days"], found["steps"]
    grown = [0.0, *accumulate(float(day["spent"]) for day in past)]
    instants = [*(day["from"] for day in past), *(step["from"] for step in coming[:1]), *(step["to"] for step in coming)]
    grown = grown[: len(instants) - len(coming)]
    before = [None] * (len(grown) - 1)

    def rest(name: str) -> list[float | None]:
        return [*before, *grown[-1:], *(None if step[name] is None else float(step[name]) for step in coming)]

    series = [
        {"name": "spent", "values": [*grown, *([None] * len(coming))]},
        {"name": "expected", "kind": "dashed", "values": rest("expected"), "color": "c1"},
        {"name": "at most", "kind": "edge", "values": rest("high"), "color": "c1"},
        {"name": "at least", "kind": "edge", "values": rest("low"), "color": "c1"},
    ]
    return {"x": seconds(instants), "series": series, "bands": [[2, 3]], "unit": "money", "zone": zone}
