"""Energy and emissions, with their low and high ends."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from otel_finops.surfaces.ui.charts import seconds
from otel_finops.surfaces.ui.page import Page, page

KEYS: Final = ("model", "provider", "agent", "service", "tenant", "cost_center", "environment")


@page("/footprint", title="Footprint", group="Understand", needs=("footprint.summary",))
def footprint(page: Page) -> Response:
    """The sum, its course, and who emits most."""
    by = page.query.get("by", "model")
    trend = page.ask("footprint.trend", by=None, every="day")
    return page.render(
        "understand/footprint.html",
        window=page.window(),
        summary=page.ask("footprint.summary", by=by, limit=50),
        chart=_chart(trend, page.zone),
        by=by,
        keys=KEYS,
    )


def _chart(trend: Any, zone: str) -> dict[str, Any]:
    pieces = trend["pieces"]
    series = [
        {"name": "at most", "kind": "edge", "values": [piece["co2e_g"]["high"] for piece in pieces]},
        {"name": "at least", "values": [piece["co2e_g"]["low"] for piece in pieces]},
    ]
    return {"x": seconds([piece["from"] for piece in pieces]), "series": series, "bands": [[0, 1]], "unit": "grams", "zone": zone}
