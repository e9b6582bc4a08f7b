"""Budgets as they stand: lists, what is within what, how a window went, and what was changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.budget_fields import (
    BudgetNumber,
    BudgetWithStanding,
    Figure,
    Kind,
    ShownAmount,
    ShownBudget,
    State,
    amount_text,
    edges,
    notes_of,
    sees,
    shown_budgets,
    with_standing,
)
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Instant, Name, Paged, page_of, place_cursor
from otel_finops.operations.forecast import ForecastStep, shown_steps
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import At, Count

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.budgets import Budget, BudgetSet
    from otel_finops.governance.burndown import Burndown, Step
    from otel_finops.governance.thresholds import Crossing

_LIST: Final = "budgets.list"
_TREE: Final = "budgets.tree"
_HISTORY: Final = "budgets.history"
_CROSSINGS: Final = "budgets.crossings"


class BudgetShown(Output):
    """A budget, how it stands, and what is around it."""

    budget: BudgetWithStanding
    notes: list[str] = Field(description="What people should know of it, e.g. that its limit is above its parent's.")
    within: list[int] = Field(description="The budgets that contain it, the nearest first.")
    children: list[int] = Field(description="The budgets directly within it, the first hundred.")


class BudgetQuery(Paged):
    """Which budgets."""

    tenant: Name | None = Field(default=None, description="Only those for calls of this tenant alone.")
    search: Name | None = Field(default=None, description="Only those with this in their name, in any case.")
    kind: Kind | None = Field(default=None, description="Only limits of this kind.")
    state: State | None = Field(default=None, description="Only those that stand so now.")
    hard: bool | None = Field(default=None, description="Only hard, or only soft ones.")
    enabled: bool | None = Field(default=None, description="Only those that are asked, or only those that are not.")


class BudgetPage(Output):
    """Budgets by number, and how they stand."""

    budgets: list[BudgetWithStanding]
    next_cursor: str | None


@operation(
    "budgets.list",
    "budgets",
    takes=BudgetQuery,
    output=BudgetPage,
    permission="view",
    feature="budgets",
    summary="List budgets, and how they stand now.",
)
def listed(context: Context, principal: Principal, given: BudgetQuery) -> Json:
    """Those for calls of the principal's tenants alone, by number."""
    found = [one for one in context.budgets.all() if sees(principal, one) and _asked_for(one, given)]
    if given.state is not None:
        standing = context.budgets.statuses(found)
        found = [one for one in found if standing[one.no].state == given.state]
    page, more = page_of(found, given, _LIST, lambda one: (one.no,))
    return {"budgets": with_standing(context, page), "next_cursor": more}


@operation(
    "budgets.show",
    "budgets/{no}",
    takes=BudgetNumber,
    output=BudgetShown,
    permission="view",
    feature="budgets",
    summary="Show a budget and how it stands: booked, pending and reserved against the limit.",
)
def show(context: Context, principal: Principal, given: BudgetNumber) -> Json:
    """One budget."""
    budget = context.budgets.find(given.no, principal.tenants)
    held = context.budgets.all()
    [shown] = with_standing(context, [budget])
    return {
        "budget": shown,
        "notes": notes_of(principal, budget, held),
        "within": [one.no for one in held.above(budget) if sees(principal, one)],
        "children": [one.no for one in held.children(budget.no)[:_CHILDREN_SHOWN]],
    }


_CHILDREN_SHOWN: Final = 100


class TreeQuery(Paged):
    """Of which part."""

    no: int | None = Field(default=None, ge=1, le=2**53, description="Only this budget and what is within it.")


class TreeNode(BudgetWithStanding):
    """A budget in its place."""

    depth: Count = Field(description="0: within none that is shown.")
    children: Count = Field(description="How many are directly within it.")


class BudgetTree(Output):
    """Budgets, each followed by those within it."""

    nodes: list[TreeNode]
    next_cursor: str | None


@operation(
    "budgets.tree",
    "budgets/tree",
    takes=TreeQuery,
    output=BudgetTree,
    permission="view",
    feature="budgets",
    summary="Show budgets within budgets: each is followed by those that it contains.",
)
def tree(context: Context, principal: Principal, given: TreeQuery) -> Json:
    """What a parent spent contains what its children did, since its scope contains theirs."""
    held = context.budgets.all()
    if given.no is not None:
        context.budgets.find(given.no, principal.tenants)
    placed = list(_placed(held, principal, given.no))
    start = _after(placed, given)
    page = placed[start : start + given.limit]
    shown = with_standing(context, [one.budget for one in page])
    nodes = [{**node, "depth": one.depth, "children": one.children} for node, one in zip(shown, page, strict=True)]
    more = start + len(page) < len(placed)
    return {"nodes": nodes, "next_cursor": place_cursor(_TREE, [page[-1].budget.no]) if more else None}


class BurndownQuery(BudgetNumber):
    """Of which window."""

    at: Instant | None = Field(default=None, description="An instant of the window; the one that runs now when not given.")


class BurndownStep(Output):
    """A day of the window, of a rolling window of hours a piece of it."""

    from_: At = Field(alias="from")
    to: At
    spent: ShownAmount = Field(description="Booked in it.")
    in_all: ShownAmount | None = Field(description="Booked from the window's beginning to its end; null: it has not begun.")
    remaining: Figure | None = Field(description="The limit less that; negative where more was spent.")
    even: ShownAmount = Field(description="What would be booked by then if the limit were spent evenly.")


class ShownBurndown(Output):
    """The course of a budget's window."""

    budget: ShownBudget
    from_: At = Field(alias="from")
    to: At
    limit: ShownAmount = Field(description="What may be spent in the window, what it was given from the one before included.")
    steps: list[BurndownStep] = Field(description="From the first to the last, those to come too.")
    forecast: list[ForecastStep] | None = Field(
        description="What will be spent in all by the end of the steps to come, with what is pending and reserved now; null: the window "
        "is not the one that runs, or nobody can tell (forecast.budget says why)."
    )


@operation(
    "budgets.burndown",
    "budgets/{no}/burndown",
    takes=BurndownQuery,
    output=ShownBurndown,
    permission="view",
    feature="budgets",
    summary="Show how a window of a budget went, day by day and in all, against its limit.",
)
def burndown(context: Context, principal: Principal, given: BurndownQuery) -> Json:
    """Booked amounts: what is pending or reserved belongs to no day yet."""
    budget = context.budgets.find(given.no, principal.tenants)
    course = context.budgets.burndown(budget, None if given.at is None else parse_ns(given.at))
    [shown] = shown_budgets(context, [budget])
    steps = [_step(one, course.limit, budget.kind) for one in course.steps]
    return {
        "budget": shown,
        **edges(course.window),
        "limit": amount_text(course.limit, budget.kind),
        "steps": steps,
        "forecast": _band(context, budget, course),
    }


def _band(context: Context, budget: Budget, course: Burndown) -> list[dict[str, Any]] | None:
    if not context.features.forecast or not course.window.has(context.clock.now_ns()):
        return None
    [one] = context.forecasts.of_budgets([budget])
    return None if one.forecast is None else shown_steps(one.forecast.steps, budget.kind)


class CrossingQuery(Paged):
    """Of which budget."""

    no: int | None = Field(default=None, ge=1, le=2**53, description="Only those of this budget.")


class ShownCrossing(Output):
    """A threshold that a budget passed."""

    crossing: int = Field(description="In the order of recording.")
    no: int = Field(description="The budget.")
    name: str
    tenant: str | None
    percent: int = Field(description="The threshold, of the limit.")
    booked: ShownAmount = Field(description="When it was recorded.")
    limit: ShownAmount = Field(description="When it was recorded.")
    kind: Kind
    currency: str | None = Field(description="Null where no money is limited.")
    window_from: At | None = Field(description="When the window began; null for rolling ones.")
    at: At
    cleared_at: At | None = Field(description="Since when less than that is booked; null: it stands.")


class Crossings(Output):
    """Thresholds that were passed, newest first."""

    crossings: list[ShownCrossing]
    next_cursor: str | None


@operation(
    "budgets.crossings",
    "budgets/crossings",
    takes=CrossingQuery,
    output=Crossings,
    permission="view",
    feature="budgets",
    summary="List the thresholds that budgets passed, newest first.",
)
def crossings(context: Context, principal: Principal, given: CrossingQuery) -> Json:
    """Each is recorded once in a window, and once more after less than that was booked."""
    if given.no is not None:
        context.budgets.find(given.no, principal.tenants)
    place = given.place(_CROSSINGS)
    found = context.budgets.crossings(principal.tenants, given.no, place[0] if place else None, given.limit + 1)
    page = found[: given.limit]
    more = len(found) > given.limit
    return {
        "crossings": [_crossing(one, budget) for one, budget in page],
        "next_cursor": place_cursor(_CROSSINGS, [page[-1][0].no]) if more else None,
    }


class HistoryQuery(BudgetNumber, Paged):
    """Of which budget."""


class BudgetRevision(ShownBudget):
    """A budget as a change left it."""

    deleted: bool = Field(description="This change took it away as it was.")


class BudgetRevisions(Output):
    """Every change of a budget, newest first."""

    revisions: list[BudgetRevision]
    next_cursor: str | None


@operation(
    "budgets.history",
    "budgets/{no}/history",
    takes=HistoryQuery,
    output=BudgetRevisions,
    permission="view",
    feature="budgets",
    summary="List every change of a budget, newest first; of one that was deleted too.",
)
def history(context: Context, principal: Principal, given: HistoryQuery) -> Json:
    """What it said at each revision."""
    found = context.budgets.history(given.no, principal.tenants)
    page, more = page_of(found, given, _HISTORY, lambda one: (-one.left.revision,))
    shown = shown_budgets(context, [one.left for one in page])
    revisions = [{**budget, "deleted": one.deleted} for budget, one in zip(shown, page, strict=True)]
    return {"revisions": revisions, "next_cursor": more}


def _asked_for(budget: Budget, given: BudgetQuery) -> bool:
    return (
        (given.tenant is None or budget.tenant == given.tenant)
        and (given.search is None or given.search.lower() in budget.name.lower())
        and (given.kind is None or budget.kind == given.kind)
        and (given.hard is None or budget.hard == given.hard)
        and (given.enabled is None or budget.enabled == given.enabled)
    )


class _Placed(NamedTuple):
    """A budget in the tree."""

    budget: Budget
    depth: int
    children: int


def _placed(held: BudgetSet, principal: Principal, no: int | None) -> Iterable[_Placed]:
    """Budgets in the tree's order; one whose parent the principal does not see stands on top."""
    if no is not None:
        tops = [one for one in (held.get(no),) if one is not None]
    else:
        tops = [one for one in held if sees(principal, one) and not _is_below(held, principal, one)]
    waiting = [(one, 0) for one in reversed(tops)]
    while waiting:
        budget, depth = waiting.pop()
        children = [one for one in held.children(budget.no) if sees(principal, one)]
        yield _Placed(budget, depth, len(children))
        waiting += [(one, depth + 1) for one in reversed(children)]


def _is_below(held: BudgetSet, principal: Principal, budget: Budget) -> bool:
    parent = None if budget.parent is None else held.get(budget.parent)
    return parent is not None and sees(principal, parent)


def _after(placed: Sequence[_Placed], given: TreeQuery) -> int:
    place = given.place(_TREE)
    if not place:
        return 0
    for index, one in enumerate(placed):
        if one.budget.no == place[0]:
            return index + 1
    raise BadInput("cursor: the budget with which the last page ended is gone; leave it out to begin with the first page")


def _step(one: Step, limit: int, kind: Kind) -> dict[str, Any]:
    return {
        **edges(one.window),
        "spent": amount_text(one.spent, kind),
        "in_all": None if one.in_all is None else amount_text(one.in_all, kind),
        "remaining": None if one.in_all is None else amount_text(limit - one.in_all, kind),
        "even": amount_text(one.even, kind),
    }


def _crossing(one: Crossing, budget: Budget) -> dict[str, Any]:
    return {
        "crossing": one.no,
        "no": budget.no,
        "name": budget.name,
        "tenant": budget.tenant,
        "percent": one.percent,
        "booked": amount_text(one.booked, budget.kind),
        "limit": amount_text(one.limit, budget.kind),
        "kind": budget.kind,
        "currency": budget.currency if budget.kind == "money" else None,
        "window_from": None if budget.period.is_rolling else format_ns(one.start_ns),
        "at": format_ns(one.crossed_ns),
        "cleared_at": None if one.cleared_ns is None else format_ns(one.cleared_ns),
    }
