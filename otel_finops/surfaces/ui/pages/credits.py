"""Prepaid credits: pools with what they hold, what moved their money, and putting more in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from otel_finops.base.errors import NotFound
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.governing import changes_of, dressed, number_of, scope_text, sole_tenant
from otel_finops.surfaces.ui.page import Page, action, page

_ROWS: Final = 50
_MOVEMENTS: Final = 50
_GRANTS: Final = 50
_ALERTS: Final = 20
_DEFINITIONS: Final = 20
DEEDS: Final = ("topup", "adjust", "close", "update")
"""What is done with a pool, by the last part of the operation's name."""
_SAID: Final = {
    "topup": "The money is in.",
    "adjust": "The balance is adjusted.",
    "close": "The pool is closed.",
    "update": "It is changed.",
}


@page("/credits", title="Credits", group="Govern", needs=("credits.list",))
def credits(page: Page) -> Response:  # noqa: A001 - as the page is called
    """Pools with their balances, and which fell low."""
    found = page.ask("credits.list", limit=_ROWS)
    alerts = page.try_ask("credits.alerts", carry=(), limit=_ALERTS)
    return page.render("credits/credits.html", **found, alerts=alerts.value["alerts"] if alerts.value else [])


@page("/credits/new", title="New pool of credits", needs=("credits.create",))
def new_pool(page: Page) -> Response:
    """The form of a new pool."""
    tenant = sole_tenant(page)
    return _form(page, empty_form(OPERATIONS.named("credits.create"), {"scope": scope_text({"tenant": tenant}) if tenant else None}))


@action("/credits/new", needs="credits.create")
def make_pool(page: Page) -> Response:
    """Make a pool."""
    done = page.submit("credits.create")
    if done.answer is None:
        return _form(page, done.filled)
    made = done.answer["pool"]
    return page.to(page.url("/credits/{no}", no=made["no"]), f"The pool {made['name']} pays from now on.")


def _form(page: Page, form: Filled) -> Response:
    return page.render("credits/form.html", status=400 if form.fault else 200, form=form)


@page("/credits/{no}", title="Pool of credits", needs=("credits.show",))
def pool(page: Page) -> Response:
    """One pool: balance, grants, what moved its money, and its definitions."""
    return _pool(page)


@action("/credits/{no}/{deed}", needs="credits.topup")
def change_pool(page: Page) -> Response:
    """Top up, adjust, close or change a pool."""
    deed = page.path["deed"]
    if deed not in DEEDS:
        raise NotFound("A pool is topped up, adjusted, changed or closed; there is nothing else.")
    no = number_of(page, "pool")
    done = page.submit(f"credits.{deed}", no=no)
    if done.answer is None:
        return _pool(page, deed, done.filled)
    return page.to(page.url("/credits/{no}", no=no), _SAID[deed])


def _pool(page: Page, deed: str = "", filled: Filled | None = None) -> Response:
    no = number_of(page, "pool")
    pool = page.ask("credits.show", no=no)["pool"]
    moved = page.ask("credits.postings", carry=("cursor",), no=no, limit=_MOVEMENTS)
    history = page.ask("credits.history", carry=(), no=no, limit=_DEFINITIONS)
    return page.render(
        "credits/pool.html",
        status=400 if filled else 200,
        pool=pool,
        movements=moved["movements"],
        next_cursor=moved["next_cursor"],
        grants=page.ask("credits.grants", carry=(), no=no, limit=_GRANTS)["grants"],
        changes=changes_of(history["definitions"], complete=history["next_cursor"] is None),
        forms=_forms(pool) | ({deed: dressed(filled, _forms(pool)[deed])} if filled else {}),
        deed=deed,
    )


def _forms(pool: Mapping[str, Any]) -> dict[str, Filled]:
    """The forms of a pool, the one that changes it with what it says now."""
    said = {name: pool[name] for name in ("name", "hard", "low")}
    return {one: empty_form(OPERATIONS.named(f"credits.{one}"), said if one == "update" else None) for one in DEEDS}
