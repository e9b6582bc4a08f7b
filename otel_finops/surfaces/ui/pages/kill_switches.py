"""Kill switches: what is stopped now, stopping and letting go, and who did."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.page import Page, action, page

_STANDING: Final = 200
_SWITCHINGS: Final = 50


@page("/kill-switches", title="Kill switches", group="Govern", needs=("kill_switch.list",))
def kill_switches(page: Page) -> Response:
    """What is stopped, and every switching."""
    offered = {name: page.query.get(name) for name in ("scope", "name", "tenant")}
    return _shown(page, empty_form(OPERATIONS.named("kill_switch.set"), offered))


@action("/kill-switches", needs="kill_switch.set")
def stop(page: Page) -> Response:
    """Stop calls."""
    done = page.submit("kill_switch.set")
    if done.answer is None:
        return _shown(page, done.filled)
    return page.to(page.url("/kill-switches"), "It is stopped." if done.answer["changed"] else "It was stopped already.")


@action("/kill-switches/clear", needs="kill_switch.clear")
def let_go(page: Page) -> Response:
    """Let calls pass again."""
    done = page.submit("kill_switch.clear")
    if done.answer is None:
        faults = [done.filled.fault, *(f"{field.label}: {field.fault}" for field in done.filled.fields.values() if field.fault)]
        return _shown(page, empty_form(OPERATIONS.named("kill_switch.set")), " ".join(faults))
    return page.to(page.url("/kill-switches"), "Calls pass again." if done.answer["changed"] else "It was not stopped.")


def _shown(page: Page, form: Filled, fault: str = "") -> Response:
    """The page; `fault` is what keeps a switch from being cleared."""
    faulty = fault or form.fault
    history = page.ask("kill_switch.history", carry=("cursor",), limit=_SWITCHINGS)
    return page.render(
        "kill_switches/kill_switches.html",
        status=400 if faulty else 200,
        switches=page.ask("kill_switch.list", carry=(), limit=_STANDING)["switches"],
        history=history["switchings"],
        next_cursor=history["next_cursor"],
        form=form,
        fault=fault,
    )
