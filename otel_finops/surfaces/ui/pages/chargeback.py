"""What cost centres owe: their own calls, shared cost, flat fees and credits, to the last digit of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from otel_finops.base.times import format_ns
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.governing import number_of
from otel_finops.surfaces.ui.page import Page, action, page

_MONTH_CHARS: Final = len("2026-11")
_MONTHS_OFFERED: Final = 13
_CENTER_FIELDS: Final = ("code", "name", "owner", "department", "parent")
_RULE_FIELDS: Final = (
    "name", "method", "source", "amount", "every", "targets", "shares", "weight", "tag", "values", "from", "to", "place",
)  # fmt: skip


@page("/chargeback", title="Chargeback", group="Account", needs=("chargeback.report",))
def chargeback(page: Page) -> Response:
    """The report of one month; the current one where none is named."""
    month = page.query.get("period") or format_ns(page.context.clock.now_ns())[:_MONTH_CHARS]
    mode = page.query.get("mode", "chargeback")
    report = page.ask("chargeback.report", carry=("tenant", "revision"), period=month, mode=mode, from_=None, to=None)
    months = page.ask("periods.list", carry=("tenant",), limit=_MONTHS_OFFERED)["periods"] if page.can("periods.list") else ()
    return page.render(
        "account/chargeback.html",
        report=report,
        rows=in_tree_order(report["rows"]),
        month=month,
        mode=mode,
        months=sorted({month, *(one["month"] for one in months)}, reverse=True),
    )


def in_tree_order(rows: list[Json]) -> list[tuple[int, Json]]:
    """Each cost centre behind the one that it is a part of, with its depth; those that nobody contains by what they owe."""
    below: dict[tuple[str | None, str | None], list[Json]] = {}
    known = {(row["tenant"], row["cost_center"]) for row in rows}
    for row in rows:
        parent = (row["tenant"], row["parent"])
        below.setdefault(parent if row["parent"] and parent in known else (None, ""), []).append(row)
    ordered: list[tuple[int, Json]] = []
    waiting = [(0, row) for row in reversed(below.get((None, ""), []))]
    while waiting:
        depth, row = waiting.pop()
        ordered.append((depth, row))
        key = (row["tenant"], row["cost_center"])
        waiting += [(depth + 1, part) for part in reversed(below.pop(key, [])) if row["cost_center"]]
    return ordered


@page("/cost-centers", title="Cost centres", group="Account", needs=("cost_centers.list",))
def cost_centers(page: Page) -> Response:
    """Cost centres, and the rules by which shared cost is divided among them."""
    return _definitions(page)


@action("/cost-centers/create", needs="cost_centers.create")
def create_center(page: Page) -> Response:
    """A new cost centre."""
    done = page.submit("cost_centers.create")
    return _definitions(page, {"center": done.filled}) if done.answer is None else page.to(page.url("/cost-centers"), "It is stored.")


@action("/cost-centers/{no}/delete", needs="cost_centers.delete")
def delete_center(page: Page) -> Response:
    """Take a cost centre away; what was booked on it stays."""
    done = page.submit("cost_centers.delete", no=number_of(page, "cost centre"))
    return page.to(page.url("/cost-centers"), "It is taken away." if done.answer is not None else done.filled.fault)


@action("/allocations/create", needs="allocations.create")
def create_rule(page: Page) -> Response:
    """A new rule for shared cost."""
    done = page.submit("allocations.create")
    return _definitions(page, {"rule": done.filled}) if done.answer is None else page.to(page.url("/cost-centers"), "The rule holds.")


@action("/allocations/{no}/delete", needs="allocations.delete")
def delete_rule(page: Page) -> Response:
    """End a rule."""
    done = page.submit("allocations.delete", no=number_of(page, "rule"))
    return page.to(page.url("/cost-centers"), "The rule is taken away." if done.answer is not None else done.filled.fault)


def _definitions(page: Page, filled: Mapping[str, Filled] | None = None) -> Response:
    forms = {
        "center": empty_form(OPERATIONS.named("cost_centers.create")),
        "rule": empty_form(OPERATIONS.named("allocations.create")),
    } | dict(filled or {})
    return page.render(
        "account/cost_centers.html",
        status=400 if filled else 200,
        centers=page.ask("cost_centers.list", limit=500)["cost_centers"],
        rules=page.ask("allocations.list", limit=500)["rules"],
        forms=forms,
        center_fields=_CENTER_FIELDS,
        rule_fields=_RULE_FIELDS,
    )
