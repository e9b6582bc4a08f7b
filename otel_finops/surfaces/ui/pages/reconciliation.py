"""The ledger against the bill: what is missing on either side, and why, to the cent."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.ui.charts import seconds
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.governing import number_of
from otel_finops.surfaces.ui.page import Page, action, page

_IMPORT_FIELDS: Final = ("content", "provider", "name", "format", "currency", "mapping", "tenant")


@page("/reconciliation", title="Reconciliation", group="Account", needs=("reconcile.report",))
def reconciliation(page: Page) -> Response:
    """The bill that the query names, or the only one, against the ledger."""
    return _shown(page)


@action("/reconciliation/import", needs="bills.import")
def import_bill(page: Page) -> Response:
    """Read a bill; what is imported under a name again replaces what it told before."""
    done = page.submit("bills.import")
    if done.answer is None:
        return _shown(page, done.filled)
    return page.to(page.url("/reconciliation", name=page.posted.texts.get("name") if page.posted else None), "The bill is imported.")


@action("/reconciliation/{no}/remove", needs="bills.remove")
def remove_bill(page: Page) -> Response:
    """Forget a bill."""
    done = page.submit("bills.remove", no=number_of(page, "bill"))
    return page.to(page.url("/reconciliation"), "The bill is removed." if done.answer is not None else done.filled.fault)


def _shown(page: Page, filled: Filled | None = None) -> Response:
    bills = page.ask("bills.list", carry=(), limit=100)["bills"]
    names = sorted({bill["name"] for bill in bills})
    chosen = page.query.get("name") or (names[0] if names else None)
    given = {} if "from" in page.query or "range" in page.query else {"from_": None, "to": None}
    report = page.try_ask("reconcile.report", carry=("tenant", "from", "to"), name=chosen, cells=200, **given) if bills else None
    return page.render(
        "account/reconciliation.html",
        status=400 if filled else 200,
        bills=bills,
        names=names,
        chosen=chosen,
        report=report,
        chart=_chart(report.value, page.zone) if report and report.value else None,
        form=filled or empty_form(OPERATIONS.named("bills.import")),
        fields=_IMPORT_FIELDS,
    )


def _chart(report: Any, zone: str) -> dict[str, Any]:
    """Billed beside booked, day by day."""
    days = report["days"]
    series = [{"name": name, "values": [float(day[f"{name}_usd"]) for day in days]} for name in ("billed", "booked")]
    return {"x": seconds([day["from"] for day in days]), "series": series, "unit": "money", "zone": zone}
