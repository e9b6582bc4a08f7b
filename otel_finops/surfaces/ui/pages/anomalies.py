"""Spend that stands out, what drove it, and the traces behind it."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.ui.charts import seconds
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.governing import number_of
from otel_finops.surfaces.ui.page import Page, action, page

STATES: Final = ("standing", "open", "acked", "cleared", "all")
SCOPES: Final = ("global", "tenant", "model", "agent", "cost_center")
_COURSE: Final = 42
_NOTE: Final = ("why",)


@page("/anomalies", title="Anomalies", group="Understand", needs=("anomalies.list",))
def anomalies(page: Page) -> Response:
    """Findings, newest first, and what is muted."""
    found = page.ask("anomalies.list", limit=50)
    mutes = page.ask("anomalies.mutes", carry=())["mutes"] if page.can("anomalies.mutes") else ()
    return page.render("understand/anomalies.html", window=page.window(), found=found, mutes=mutes, states=STATES, scopes=SCOPES)


@page("/anomalies/{no}", title="Anomaly", needs=("anomalies.show",))
def anomaly(page: Page) -> Response:
    """One finding: its course, its drivers to the last digit, its dearest traces."""
    return _shown(page)


@action("/anomalies/{no}/ack", needs="anomalies.ack")
def ack(page: Page) -> Response:
    """Somebody looks after it."""
    return _noted(page, "anomalies.ack", "It is acknowledged.")


@action("/anomalies/{no}/reopen", needs="anomalies.reopen")
def reopen(page: Page) -> Response:
    """Nobody looks after it any more."""
    return _noted(page, "anomalies.reopen", "It is open again.")


@action("/anomalies/mutes/{no}/end", needs="anomalies.unmute")
def unmute(page: Page) -> Response:
    """Tell findings of this kind again."""
    done = page.submit("anomalies.unmute", no=number_of(page, "mute"))
    return page.to(page.url("/anomalies"), "The mute has ended." if done.answer is not None else done.filled.fault)


@action("/anomalies/{no}/mute", needs="anomalies.mute")
def mute(page: Page) -> Response:
    """Tell no more findings like this one."""
    one = page.ask("anomalies.show", carry=("no",))["anomaly"]
    done = page.submit("anomalies.mute", scope=one["scope"], name=one["name"], tenant=one["tenant"], step=one["step"])
    return _shown(page, done.filled) if done.answer is None else page.to(page.url("/anomalies"), "Findings like this one are muted.")


def _noted(page: Page, name: str, notice: str) -> Response:
    done = page.submit(name, no=number_of(page, "anomaly"))
    if done.answer is None:
        return _shown(page, done.filled)
    return page.to(page.url("/anomalies/{no}", no=page.path["no"]), notice)


def _shown(page: Page, filled: Filled | None = None) -> Response:
    shown = page.ask("anomalies.show", carry=("no",))
    one = shown["anomaly"]
    scoped = {one["scope"]: one["name"]} if one["scope"] in ("model", "agent", "cost_center") else {}
    course = page.try_ask("anomalies.course", carry=(), tenant=one["tenant"], step=one["step"], last=_COURSE, **scoped)
    return page.render(
        "understand/anomaly.html",
        status=400 if filled else 200,
        one=one,
        notes=shown["notes"],
        traces=shown["traces"],
        chart=_chart(course.value["pieces"], page.zone) if course.value else None,
        filters=scoped | ({"tenant": one["tenant"]} if one["tenant"] else {}),
        form=filled or empty_form(OPERATIONS.named("anomalies.ack")),
        note=_NOTE,
    )


def _chart(pieces: list[Any], zone: str) -> dict[str, Any]:
    """What was, what was usual, and what stands out."""

    def values(name: str) -> list[float | None]:
        return [None if piece[name] is None else float(piece[name]) for piece in pieces]

    out = [value if piece["stands_out"] else None for piece, value in zip(pieces, values("value_usd"), strict=True)]
    series = [
        {"name": "cost", "kind": "bars", "values": values("value_usd")},
        {"name": "usual", "kind": "dashed", "values": values("expected_usd"), "color": "muted"},
        {"name": "stands out", "kind": "bars", "values": out, "color": "danger"},
    ]
    return {"x": seconds([piece["from"] for piece in pieces]), "series": series, "unit": "money", "zone": zone}
