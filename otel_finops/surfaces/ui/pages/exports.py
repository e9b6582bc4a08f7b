"""Files of everything, for spreadsheets, warehouses and FOCUS readers."""

from __future__ import annotations

from starlette.responses import Response

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.ui.page import Page, page


@page("/exports", title="Exports", group="Account", needs=("spend.export", "focus.export"))
def exports(page: Page) -> Response:
    """Every operation that streams, with the choices that matter."""
    offered = [one for one in OPERATIONS if one.streams and page.can(one.name)]
    return page.render("account/exports.html", window=page.window(), offered=offered)
