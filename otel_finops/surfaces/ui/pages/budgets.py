"""Budgets: how they stand, how their windows go, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from otel_finops.base.money import parse_usd
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.budget_meter import budget_meter
from otel_finops.surfaces.ui.charts import seconds
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.governing import changes_of, dressed, labelled, number_of, scope_text, sole_tenant, typed
from otel_finops.surfaces.ui.page import Page, action, page

_ROWS: Final = 50
_REVISIONS: Final = 20
_CROSSINGS: Final = 12
_PARENTS: Final = 200
"""Budgets that a new one can be put into by a choice; there are seldom as many."""
_LABELS: Final = {
    "scope": "For which calls",
    "hard": "Hard: calls that do not fit are halted",
    "carry_over": "What is left may be spent in the next window",
    "enabled": "It is asked",
    "warn_percent": "Warns from, percent",
    "thresholds": "Records at, percent",
    "fail": "While the store is away",
    "length": "Length, rolling",
    "zone": "Days begin in",
}
FILTERS: Final = ("search", "state", "kind", "hard", "enabled")
"""What a list can be narrowed by, besides its tenant; the tree is always whole."""


@page("/budgets", title="Budgets", group="Govern", needs=("budgets.list",))
def budgets(page: Page) -> Response:
    """All budgets with what they hold, each followed by those within it; or those that filters leave."""
    filtered = any(name in page.query for name in (*FILTERS, "tenant"))
    view = "list" if filtered else page.query.get("view", "tree")
    found = page.ask("budgets.list", limit=_ROWS) if view == "list" else page.ask("budgets.tree", limit=_ROWS)
    rows = found["budgets"] if view == "list" else found["nodes"]
    return page.render(
        "budgets/budgets.html",
        view=view,
        filtered=filtered,
        rows=rows,
        next_cursor=found["next_cursor"],
        meter=partial(budget_meter, page),
        outlook=_outlook(page),
    )


def _outlook(page: Page) -> list[Json]:
    """Budgets that will pass their limits if what is expected comes, and have not yet."""
    if not page.can("forecast.budgets"):
        return []
    found = page.try_ask("forecast.budgets", carry=("tenant",), will_exceed=True, limit=_ROWS).value
    return [one for one in found["budgets"] if one["forecast"] and parse_usd(one["spent"]) < parse_usd(one["limit"])] if found else []


# --- one budget ------------------------------------------------------------------------------------------------------


@page("/budgets/{no}", title="Budget", needs=("budgets.show",))
def budget(page: Page) -> Response:
    """How one budget stands, the course of its window, what it passed, and who changed what of it."""
    no = number_of(page, "budget")
    shown = page.ask("budgets.show", no=no)
    course = page.try_ask("budgets.burndown", no=no)
    history = page.ask("budgets.history", carry=("cursor",), no=no, limit=_REVISIONS)
    return page.render(
        "budgets/budget.html",
        **shown,
        meter=partial(budget_meter, page),
        course=course,
        chart=_burndown_chart(course.value, page.zone) if course.value else None,
        forecast=page.try_ask("forecast.budget", carry=(), no=no).value if page.can("forecast.budget") else None,
        crossings=page.ask("budgets.crossings", carry=(), no=no, limit=_CROSSINGS)["crossings"],
        changes=changes_of(history["revisions"], complete=history["next_cursor"] is None),
        next_cursor=history["next_cursor"],
        around=_names(page, [*shown["within"], *shown["children"]]),
    )


def _names(page: Page, numbers: list[int]) -> Mapping[int, str]:
    """The names of the budgets around one."""
    if not numbers:
        return {}
    return {one["no"]: one["name"] for one in page.ask("budgets.list", carry=(), limit=_PARENTS)["budgets"] if one["no"] in numbers}


def _burndown_chart(course: Json, zone: str) -> dict[str, Any]:
    """What is booked in all at the end of each step, what an even course would be, the limit, and what is expected with its range."""
    steps, kind = course["steps"], course["budget"]["kind"]
    actual = [0.0, *(None if step["in_all"] is None else float(step["in_all"]) for step in steps)]
    series: list[dict[str, Any]] = [
        {"name": "spent", "values": actual, "color": "c0"},
        {"name": "evenly", "values": [0.0, *(float(step["even"]) for step in steps)], "color": "muted", "kind": "dashed"},
        {"name": "limit", "values": [float(course["limit"])] * len(actual), "color": "danger"},
    ]
    ahead = _expected(course["forecast"] or [], [step["to"] for step in steps], actual)
    bands = [[len(series) + 2, len(series) + 1]] if len(ahead) > 1 else []
    unit = {"unit": "money", "currency": course["budget"]["currency"]} if kind == "money" else {"unit": "count"}
    ends = seconds([step["to"] for step in steps])
    return {"x": [*seconds([course["from"]]), *ends], "series": [*series, *ahead], "bands": bands, "zone": zone, **unit}


def _expected(forecast: list[Json], ends: list[str], actual: list[float | None]) -> list[dict[str, Any]]:
    """The course that is expected and the edges of its range, from what is known at last on."""
    by_end = {step["to"]: step for step in forecast}
    first = next((at for at, end in enumerate(ends, start=1) if end in by_end), None)
    if first is None:
        return []

    def line(name: str) -> list[float | None]:
        values = [None if end not in by_end or by_end[end][name] is None else float(by_end[end][name]) for end in ends]
        return [actual[at] if at == first - 1 else value for at, value in enumerate([None, *values])]

    found: list[dict[str, Any]] = [{"name": "expected", "values": line("expected"), "color": "c0", "kind": "dashed"}]
    if any(step["low"] is not None for step in forecast):
        found += [
            {"name": name, "values": line(of), "color": "c0", "kind": "edge"} for name, of in (("at least", "low"), ("at most", "high"))
        ]
    return found


# --- making, changing, taking away -----------------------------------------------------------------------------------


@page("/budgets/new", title="New budget", needs=("budgets.create",))
def new_budget(page: Page) -> Response:
    """The form of a new budget; one within another begins with its scope and period."""
    return _form(page, empty_form(OPERATIONS.named("budgets.create"), _offered(page)))


def _offered(page: Page) -> Mapping[str, Any]:
    tenant = sole_tenant(page)
    within = page.query.get("parent")
    above = page.try_ask("budgets.show", carry=(), no=int(within)).value if within and within.isascii() and within.isdigit() else None
    if above is not None:
        return {**_values(above["budget"]), "name": None, "amount": None, "parent": within}
    return {"scope": scope_text({"tenant": tenant}) if tenant else None}


@action("/budgets/new", needs="budgets.create")
def make_budget(page: Page) -> Response:
    """Make a budget."""
    done = page.submit("budgets.create")
    if done.answer is None:
        return _form(page, done.filled)
    made = done.answer["budget"]
    return page.to(page.url("/budgets/{no}", no=made["no"]), " ".join([f"The budget {made['name']} holds.", *done.answer["notes"]]))


@page("/budgets/{no}/edit", title="Change a budget", needs=("budgets.update",))
def edit_budget(page: Page) -> Response:
    """The form of a budget that stands."""
    now = page.ask("budgets.show", no=number_of(page, "budget"))["budget"]
    return _form(page, empty_form(OPERATIONS.named("budgets.create"), _values(now)), now)


@action("/budgets/{no}/edit", needs="budgets.update")
def change_budget(page: Page) -> Response:
    """Change a budget; an empty scope is every call."""
    no = number_of(page, "budget")
    done = page.submit("budgets.update", no=no, **({} if typed(page, "scope") else {"scope": {}}))
    if done.answer is None:
        now = page.ask("budgets.show", no=no)["budget"]
        return _form(page, dressed(done.filled, empty_form(OPERATIONS.named("budgets.create"))), now)
    said = "The budget is changed." if done.answer["changed"] else "It was so already."
    return page.to(page.url("/budgets/{no}", no=no), " ".join([said, *done.answer["notes"]]))


@action("/budgets/{no}/delete", needs="budgets.delete")
def delete_budget(page: Page) -> Response:
    """Take a budget away."""
    no = number_of(page, "budget")
    done = page.submit("budgets.delete", no=no)
    if done.answer is None:
        return page.to(page.url("/budgets/{no}", no=no), done.filled.fault)
    return page.to(page.url("/budgets"), f"The budget {done.answer['budget']['name']} is taken away; its history stays.")


def _values(budget: Json) -> Mapping[str, Any]:
    return {**budget, **budget["period"], "scope": scope_text(budget["scope"])}


def _form(page: Page, form: Filled, now: Json | None = None) -> Response:
    faulty = form.fault or any(field.fault for field in form.fields.values())
    others = page.ask("budgets.list", carry=(), limit=_PARENTS)["budgets"]
    revision = typed(page, "revision") or (now["revision"] if now else None)
    return page.render(
        "budgets/form.html",
        status=400 if faulty else 200,
        form=labelled(form, _LABELS),
        now=now,
        revision=revision,
        parents=[one for one in others if now is None or one["no"] != now["no"]],
    )
