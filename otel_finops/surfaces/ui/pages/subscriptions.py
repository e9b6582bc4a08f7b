"""Flat fees with what they covered, and the exchange rates by which amounts in other currencies are counted."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.page import Answer, Page, action, page

_ROWS: Final = 100
COVERS: Final = (
    "providers", "models", "tenants", "services", "environments", "cost_centers", "purposes", "agents", "users", "realms", "accounts",
)  # fmt: skip
"""What a flat fee can be bound to."""


@page("/subscriptions", title="Subscriptions", group="Prices", needs=("subscriptions.windows", "fx.rates"))
def subscriptions(page: Page) -> Response:
    """Flat fees, their periods, and exchange rates."""
    return _shown(page)


def _shown(page: Page, **forms: Filled) -> Response:
    may_see = page.can("subscriptions.windows")
    return page.render(
        "subscriptions/subscriptions.html",
        status=400 if forms else 200,
        fees=page.try_ask("subscriptions.windows", carry=(), limit=_ROWS) if may_see else None,
        periods=page.try_ask("subscriptions.list", limit=_ROWS) if may_see else None,
        rates=page.try_ask("fx.rates", carry=()) if page.can("fx.rates") else None,
        rate=_rate(page),
        covers=COVERS,
        form=forms.get("add") or empty_form(OPERATIONS.named("subscriptions.add")),
        ending=forms.get("end"),
        fx=forms.get("fx") or empty_form(OPERATIONS.named("fx.import")),
    )


def _rate(page: Page) -> Answer | None:
    """The rate that somebody looks up."""
    return page.try_ask("fx.rates") if page.query.get("currency") and page.can("fx.rates") else None


@action("/subscriptions", needs="subscriptions.add")
def add(page: Page) -> Response:
    """Set a flat fee."""
    done = page.submit("subscriptions.add")
    if done.answer is None:
        return _shown(page, add=done.filled)
    return page.to(page.url("/subscriptions"), f"{done.answer['subscription']['id']} covers calls that settle from now on.")


@action("/subscriptions/end", needs="subscriptions.end")
def end(page: Page) -> Response:
    """End a flat fee, or withdraw it."""
    done = page.submit("subscriptions.end")
    if done.answer is None:
        return _shown(page, end=done.filled)
    return page.to(page.url("/subscriptions"), _ended(done.answer["subscription"]))


def _ended(fee: Json) -> str:
    return f"{fee['id']} is {'withdrawn' if fee['withdrawn'] else 'ended'}; what it covered stays covered until it is repriced."


@action("/subscriptions/spread", needs="subscriptions.spread")
def spread(page: Page) -> Response:
    """Spread the fees of periods that are over on their calls."""
    done = page.submit("subscriptions.spread")
    if done.answer is None:
        return _shown(page, end=done.filled)
    return page.to(page.url("/subscriptions"), f"{done.answer['rows']} rows of {done.answer['periods']} periods have another share now.")


@action("/subscriptions/rates", needs="fx.import")
def import_rates(page: Page) -> Response:
    """Import exchange rates from a file."""
    name = page.posted.texts.get("from", "") if page.posted else ""
    done = page.submit("fx.import", from_=name or "uploaded")
    if done.answer is None:
        return _shown(page, fx=done.filled)
    said = done.answer
    days = f"{said['first_day']} to {said['last_day']}"
    return page.to(page.url("/subscriptions"), f"{said['new']} new rates of {said['currencies']} currencies, {days}.")
