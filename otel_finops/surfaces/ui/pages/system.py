"""The service itself: its settings, how its parts are, whether the ledger holds together, and what it keeps."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from starlette.responses import Response

from otel_finops.surfaces.ui.governing import number_of
from otel_finops.surfaces.ui.page import Page, action, page

_ESTIMATED: Final = ("provider", "model", "input_tokens", "text_chars", "max_output_tokens")


@page("/settings", title="Settings", group="System", needs=("settings.show",))
def settings(page: Page) -> Response:
    """Every setting with what it is and where that comes from; secrets say only that they are set."""
    rows = page.ask("settings.show")["settings"]
    sections = [(name, list(ones)) for name, ones in groupby(rows, key=lambda row: row["section"])]
    return page.render("system/settings.html", sections=sections)


@page("/diagnostics", title="Diagnostics", group="System", needs=("health",), slow=lambda query: "verify" in query)
def diagnostics(page: Page) -> Response:
    """How the parts are; the ledger is verified, and a call estimated, where the query asks for it."""
    verdict = page.ask("ledger.verify", carry=()) if "verify" in page.query and page.can("ledger.verify") else None
    asked = "model" in page.query and page.can("diagnostics.estimate")
    return page.render(
        "system/diagnostics.html",
        health=page.ask("health"),
        verdict=verdict,
        estimated=_ESTIMATED,
        estimate=page.try_ask("diagnostics.estimate", carry=_ESTIMATED) if asked else None,
        coverage=page.try_ask("coverage.report", carry=("tenant",)) if page.can("coverage.report") else None,
        quarantine=page.ask("quarantine.list", carry=()) if page.can("quarantine.list") else None,
        retention=page.ask("retention.status") if page.can("retention.status") else None,
        periods=page.ask("periods.list", carry=("tenant",), limit=12) if page.can("periods.list") else None,
    )


@action("/quarantine/{no}/retry", needs="quarantine.retry")
def retry(page: Page) -> Response:
    """Try once more to record a span."""
    done = page.submit("quarantine.retry", no=str(number_of(page, "span")))
    return page.to(page.url("/diagnostics"), "The span is on its way." if done.answer is not None else done.filled.fault)


@action("/quarantine/{no}/drop", needs="quarantine.drop")
def drop(page: Page) -> Response:
    """Give a span up."""
    done = page.submit("quarantine.drop", no=str(number_of(page, "span")))
    return page.to(page.url("/diagnostics"), "The span is dropped." if done.answer is not None else done.filled.fault)


@action("/periods/close", needs="periods.close")
def close(page: Page) -> Response:
    """Close a month: what comes late afterwards is booked as a correction."""
    done = page.submit("periods.close")
    return page.to(page.url("/diagnostics"), "The month is closed." if done.answer is not None else done.filled.fault)
