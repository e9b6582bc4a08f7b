"""Charges as they come."""

from __future__ import annotations

from starlette.responses import Response

from otel_finops.surfaces.ui.live import recent
from otel_finops.surfaces.ui.page import Page, page


@page("/live", title="Live", group="Spend", needs=("usage.list",))
def live(page: Page) -> Response:
    """What came last, and what comes while the page is open."""
    return page.render("live/live.html", rows=recent(page))
