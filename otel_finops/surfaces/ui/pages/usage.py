"""The ledger's rows, and all that was booked of one span."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from otel_finops.genai.usage import total_tokens
from otel_finops.surfaces.ui.calls import booked_facts
from otel_finops.surfaces.ui.page import Page, page

_ROWS: Final = 100
FILTERS: Final = ("model", "agent", "step", "user", "session", "kind", "role", "status")
MORE: Final = (
    "trace_id", "provider", "operation", "request_model", "response_model", "tool", "workflow", "service", "environment", "cost_center",
    "purpose", "cost_method", "unpriced_reason", "price_key", "service_tier", "region", "tag",
)  # fmt: skip
CHOICES: Final = {
    "kind": ("charge", "reversal", "correction", "adjustment", "reattribution"),
    "role": ("call", "duplicate", "wrapper", "gateway_copy"),
    "status": ("failed", "ok"),
}


@page("/usage", title="Usage", group="Agents", needs=("usage.list",))
def usage(page: Page) -> Response:
    """Rows as they were booked, newest start first; those of one trace whenever it was."""
    whenever = {"from_": None, "to": None} if "trace_id" in page.query and not {"from", "to", "range"} & page.query.keys() else {}
    found = page.ask("usage.list", limit=_ROWS, **whenever)
    return page.render(
        "usage/usage.html",
        window=page.window(),
        whenever=bool(whenever),
        found=found,
        total_tokens=total_tokens,
        filters=FILTERS,
        more=MORE,
        choices=CHOICES,
    )


@page("/usage/{trace_id}/{span_id}", title="Rows of a span", needs=("usage.show",))
def span(page: Page) -> Response:
    """What stands of a span, and every row that led there."""
    shown = page.ask("usage.show", carry=("trace_id", "span_id", "realm"))
    return page.render("usage/span.html", shown=shown, call=booked_facts(page, shown))
