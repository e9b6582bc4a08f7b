"""Approvals: requests that wait for somebody, and the passes that they became."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from otel_finops.base.errors import NotFound
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.page import Page, action, page

_WAITING: Final = 100
_ROWS: Final = 50
STATES: Final = ("approved", "used", "rejected", "revoked", "expired")
_DEEDS: Final = {"approve": "approved", "reject": "rejected", "revoke": "revoked"}


@page("/approvals", title="Approvals", group="Govern", needs=("approvals.list",))
def approvals(page: Page) -> Response:
    """What waits, and below it what was decided."""
    waiting = page.ask("approvals.list", carry=("tenant",), status="pending", limit=_WAITING)
    if page.query.get("status") in STATES:
        found = page.ask("approvals.list", limit=_ROWS)
        decided, cursor = found["approvals"], found["next_cursor"]
    else:
        found = page.ask("approvals.list", limit=_ROWS, status=None)
        decided, cursor = [one for one in found["approvals"] if one["status"] != "pending"], found["next_cursor"]
    return page.render(
        "approvals/approvals.html",
        waiting=waiting["approvals"],
        more_wait=waiting["next_cursor"] is not None,
        decided=decided,
        next_cursor=cursor,
        states=STATES,
        form=empty_form(OPERATIONS.named("approvals.approve")),
    )


@page("/approvals/{approval_id}", title="Approval", needs=("approvals.show",))
def approval(page: Page) -> Response:
    """One request, what it asks for, and which decisions took its pass."""
    return _shown(page)


@action("/approvals/{approval_id}/{deed}", needs="approvals.approve")
def decide(page: Page) -> Response:
    """Approve, reject or revoke."""
    deed = page.path["deed"]
    if deed not in _DEEDS:
        raise NotFound("A request is approved or rejected, a pass is revoked; there is nothing else.")
    done = page.submit(f"approvals.{deed}", approval_id=page.path["approval_id"])
    if done.answer is None:
        return _shown(page, deed, done.filled)
    call = done.answer["approval"]["call"]
    return page.to(page.url("/approvals"), f"The call of {call['agent'] or call['service'] or call['tenant']} is {_DEEDS[deed]}.")


def _shown(page: Page, deed: str = "", filled: Filled | None = None) -> Response:
    forms = {one: empty_form(OPERATIONS.named(f"approvals.{one}")) for one in _DEEDS}
    return page.render(
        "approvals/approval.html",
        status=400 if filled else 200,
        one=page.ask("approvals.show", approval_id=page.path["approval_id"]),
        forms=forms | ({deed: filled} if filled else {}),
    )
