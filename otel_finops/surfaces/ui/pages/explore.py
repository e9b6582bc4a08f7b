"""Spend by any two dimensions: a chart, a table, and the same as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

from otel_finops.base.errors import BadInput
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.charts import stacked_chart
from otel_finops.surfaces.ui.page import Page, page

QUICK: Final = (
    "model", "provider", "agent", "tenant", "service", "environment", "cost_center", "operation", "cost_method", "unpriced_reason",
)  # fmt: skip
"""Dimensions that roll-ups know, answered at once whatever the ledger's size."""
SLOWER: Final = ("step", "tool", "workflow", "user", "session", "purpose", "region", "service_tier", "price_key")
"""Dimensions that only the ledger's rows know."""
TIMES: Final = ("day", "hour")
FILTERS: Final = (*QUICK, "step", "tool", "workflow", "user", "session", "purpose")
_ROWS_SHOWN_MAX: Final = 100
_LINES_MAX: Final = 10


@page(
    "/explore", title="Explore", group="Spend", needs=("spend.report",), slow=lambda query: not {*query.values(), *query}.isdisjoint(SLOWER)
)
def explore(page: Page) -> Response:
    """Group by one dimension and split by another; every value is a filter by one click."""
    by, split = page.query.get("by", "model"), page.query.get("split", "")
    for name, chosen in (("by", by), ("split", split)):
        if chosen not in (*QUICK, *SLOWER, *TIMES, ""):
            raise BadInput(f"{name}: must be one of {', '.join((*QUICK, *SLOWER, *TIMES))}")
    keys = [key for key in dict.fromkeys((by, split)) if key]
    report = page.ask("spend.report", group_by=",".join(keys), period=None)
    groups = sorted(report["groups"], key=lambda group: float(group["cost_usd"]), reverse=True)
    return page.render(
        "explore/explore.html",
        window=page.window(),
        report=report,
        rows=groups[:_ROWS_SHOWN_MAX],
        count_all=len(groups),
        most=float(groups[0]["cost_usd"]) if groups else 0.0,
        keys=keys,
        by=by,
        split=split,
        quick=QUICK,
        slower=SLOWER,
        times=TIMES,
        filters=FILTERS,
        file=page.url("/download/{operation}", operation="spend.export", format="csv", group_by=",".join(keys), **_filters(page)),
        chart=_chart(page, keys, groups),
    )


def _filters(page: Page) -> dict[str, str]:
    """The filters of the page, and its time as instants."""
    window = page.window()
    return {name: page.query[name] for name in FILTERS if name in page.query} | {
        "from_": window.from_ or "",
        "to": window.to or "",
        "range": "",
    }


def _chart(page: Page, keys: Sequence[str], groups: Sequence[Json]) -> Mapping[str, Any] | None:
    """The course in time where one of the two is a time; None otherwise."""
    times = [key for key in keys if key in TIMES]
    if len(times) != 1:
        return None
    others = [key for key in keys if key not in TIMES]
    rows = [(group["key"][times[0]], group["key"][others[0]] if others else "cost", group["cost_usd"]) for group in groups]
    return stacked_chart(rows, page.zone, _LINES_MAX)
