"""Budgets: making them, changing them and taking them away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.money import parse_usd
from otel_finops.governance.periods import PeriodKind
from otel_finops.identity.principals import Principal
from otel_finops.operations.budget_fields import (
    FAILS,
    Amount,
    BudgetNumber,
    Fail,
    Kind,
    Percents,
    ShownBudget,
    described,
    notes_of,
    numbers_of,
    shown_budgets,
)
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name
from otel_finops.operations.registry import Changed, Input, Output, Unchanged, operation
from otel_finops.operations.scope_fields import SCOPE_TEXT, ScopeValues, must_own, on_record

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.budget_store import Edit
    from otel_finops.governance.budgets import Budget, BudgetSet
    from otel_finops.governance.periods import Period

_AMOUNT_TEXT: Final = "The limit of a window, a plain decimal: in the currency, or whole tokens or calls."
_ZONE_TEXT: Final = "Time zone in which its days begin, an IANA name like Europe/Rome"
_START_DAY_TEXT: Final = (
    "On which day a window begins: weekly 1 (Monday) to 7; monthly, quarterly and yearly a day of the month, the last one where a month "
    "has fewer."
)
_START_MONTH_TEXT: Final = "Quarterly and yearly: a month, 1 to 12, in which a window begins."
_LENGTH_TEXT: Final = "Rolling: how many days or hours the window has."
_HARD_TEXT: Final = "Whether calls that do not fit are halted; a soft budget only tells."
_WARN_TEXT: Final = "From how many percent of the limit on the state is `warning`."
_THRESHOLDS_TEXT: Final = "At how many percent of the limit a crossing is recorded: a list, or text like 50,80,100."
_CARRY_TEXT: Final = "Whether what a window leaves of the limit may be spent in the next one, and only in that."
_FAIL_TEXT: Final = "Whether calls pass while the store cannot tell how the budget stands: open, closed, or as the settings say."
_ENABLED_TEXT: Final = "Whether it is asked. One that is not is counted on."
_PARENT_TEXT: Final = "The number of the budget that it is a part of; that one must contain all of its calls."
_DRY_TEXT: Final = "Check everything and say what would be done; nothing is stored."


class NewBudget(Input):
    """What the budget says."""

    name: Name = Field(min_length=1, description="What people call it; one budget of a tenant, or of all, is called so.")
    amount: Amount = Field(description=_AMOUNT_TEXT)
    kind: Kind = Field(default="money", description="What is limited: money, tokens or calls.")
    currency: Name = Field(default="USD", description="Of the amount, an ISO code; calls count at the rate of their day.")
    scope: ScopeValues = Field(default_factory=dict, description=SCOPE_TEXT)
    period: PeriodKind = Field(default="monthly", description="How long a window lasts: by the calendar, or rolling.")
    zone: Name | None = Field(default=None, description=f"{_ZONE_TEXT}; the one of the setting display.zone when not given.")
    start_day: int | None = Field(default=None, ge=1, le=31, description=_START_DAY_TEXT)
    start_month: int | None = Field(default=None, ge=1, le=12, description=_START_MONTH_TEXT)
    length: int | None = Field(default=None, ge=1, description=_LENGTH_TEXT)
    hard: bool = Field(default=False, description=_HARD_TEXT)
    warn_percent: int = Field(default=80, description=_WARN_TEXT)
    thresholds: Percents = Field(default=[50, 80, 100], description=_THRESHOLDS_TEXT)
    carry_over: bool = Field(default=False, description=_CARRY_TEXT)
    parent: int | None = Field(default=None, ge=1, le=2**53, description=_PARENT_TEXT)
    fail: Fail = Field(default="settings", description=_FAIL_TEXT)
    enabled: bool = Field(default=True, description=_ENABLED_TEXT)
    dry_run: bool = Field(default=False, description=_DRY_TEXT)


class BudgetEdit(BudgetNumber):
    """What is to be another; what is not given stays."""

    name: Name | None = Field(default=None, min_length=1, description="What people call it.")
    amount: Amount | None = Field(default=None, description=_AMOUNT_TEXT)
    kind: Kind | None = Field(default=None, description="What is limited: money, tokens or calls; then the amount must be given too.")
    currency: Name | None = Field(default=None, description="Of the amount, an ISO code.")
    scope: ScopeValues | None = Field(default=None, description=f"{SCOPE_TEXT} It takes the place of the whole former scope.")
    period: PeriodKind | None = Field(default=None, description="How long a window lasts: by the calendar, or rolling.")
    zone: Name | None = Field(default=None, description=f"{_ZONE_TEXT}.")
    start_day: int | None = Field(default=None, ge=1, le=31, description=_START_DAY_TEXT)
    start_month: int | None = Field(default=None, ge=1, le=12, description=_START_MONTH_TEXT)
    length: int | None = Field(default=None, ge=1, description=_LENGTH_TEXT)
    hard: bool | None = Field(default=None, description=_HARD_TEXT)
    warn_percent: int | None = Field(default=None, description=_WARN_TEXT)
    thresholds: Percents | None = Field(default=None, description=_THRESHOLDS_TEXT)
    carry_over: bool | None = Field(default=None, description=_CARRY_TEXT)
    parent: int | None = Field(default=None, ge=0, le=2**53, description=f"{_PARENT_TEXT} 0: of none any longer.")
    fail: Fail | None = Field(default=None, description=_FAIL_TEXT)
    enabled: bool | None = Field(default=None, description=_ENABLED_TEXT)
    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still: nobody's change is overwritten.")
    dry_run: bool = Field(default=False, description=_DRY_TEXT)


class BudgetDeletion(BudgetNumber):
    """Which budget."""

    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still.")
    dry_run: bool = Field(default=False, description=_DRY_TEXT)


class BudgetAnswer(Output):
    """The budget as it is now."""

    budget: ShownBudget
    notes: list[str] = Field(description="What people should know of it, e.g. that its limit is above its parent's.")
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


@operation(
    "budgets.create",
    "budgets",
    takes=NewBudget,
    output=BudgetAnswer,
    permission="manage",
    feature="budgets",
    changes=True,
    agents=False,
    summary="Make a budget: a limit in money, tokens or calls for some calls and a period.",
)
def create(context: Context, principal: Principal, given: NewBudget) -> Changed | Unchanged:
    """What was spent before it was made counts too, as soon as the ledger is read through."""
    budget, held = proposed(context, principal, given)
    shown = described(budget, _one_form(given.scope))
    answer = {"budget": shown, "notes": notes_of(principal, budget, held), "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, on_record(shown, budget.scope), budget.tenant)


def proposed(context: Context, principal: Principal, given: NewBudget) -> tuple[Budget, BudgetSet]:
    """The budget that is made, or in a dry run would be, and all that stand then; raises what making it raises."""
    from otel_finops.governance.periods import Period  # noqa: PLC0415 - `--help` must not load the database rooms

    must_own(principal, given.scope, "A budget")
    zone = context.zone if given.zone is None else given.zone
    period = Period.of(given.period, zone, start_day=given.start_day, start_month=given.start_month, length=given.length)
    said: dict[str, Any] = {
        "name": given.name, "kind": given.kind, "amount": _amount(given.amount, given.kind), "currency": given.currency, "period": period,
        "hard": given.hard, "warn_percent": given.warn_percent, "thresholds": tuple(given.thresholds), "carry_over": given.carry_over,
        "parent": given.parent, "fail_open": FAILS[given.fail], "enabled": given.enabled,
    }  # fmt: skip
    edit = _edit(lambda budget: budget._replace(**said), given.scope, None)
    return context.budgets.create(edit, principal.editor, dry_run=given.dry_run)


@operation(
    "budgets.update",
    "budgets/{no}",
    takes=BudgetEdit,
    output=BudgetAnswer,
    permission="manage",
    feature="budgets",
    changes=True,
    agents=False,
    summary="Change a budget; what is not given stays as it is.",
)
def update(context: Context, principal: Principal, given: BudgetEdit) -> Changed | Unchanged:
    """Another scope, kind, currency or period is counted anew from the ledger; another limit holds at once."""
    if given.scope is not None:
        must_own(principal, given.scope, "A budget")
    edit = _edit(lambda budget: _edited(budget, given), given.scope, given.revision)
    before, budget, held = context.budgets.update(given.no, edit, principal.editor, dry_run=given.dry_run)
    was, now = shown_budgets(context, [before, budget])
    if given.scope is not None:  # of a dry run the references are not stored
        now = described(budget, _one_form(given.scope))
    changed = budget != before and not given.dry_run
    answer = {"budget": now, "notes": notes_of(principal, budget, held), "changed": changed}
    if not changed:
        return Unchanged(answer)
    return Changed(answer, on_record(was, before.scope), on_record(now, budget.scope), budget.tenant)


@operation(
    "budgets.delete",
    "budgets/{no}/delete",
    takes=BudgetDeletion,
    output=BudgetAnswer,
    permission="manage",
    feature="budgets",
    changes=True,
    agents=False,
    summary="Take a budget away; its history stays.",
)
def delete(context: Context, principal: Principal, given: BudgetDeletion) -> Changed | Unchanged:
    """The budget as it was. One with others within it is refused."""
    before = context.budgets.delete(given.no, principal.editor, revision=given.revision, dry_run=given.dry_run)
    [shown] = shown_budgets(context, [before])
    answer = {"budget": shown, "notes": [], "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, on_record(shown, before.scope), None, before.tenant)


# --- what is said, as a budget ---------------------------------------------------------------------------------------


def _amount(text: str, kind: Kind) -> int:
    if kind == "money":
        return parse_usd(text)
    if not text.isdigit():
        raise BadInput(f"amount: a limit in {kind} is a whole number")
    return int(text)


def _edit(change: Callable[[Budget], Budget], scope: Mapping[str, str] | None, revision: int | None) -> Edit:
    from otel_finops.governance.budget_store import Edit  # noqa: PLC0415 - `--help` must not load the database rooms

    return Edit(change, scope, revision)


def _one_form(scope: Mapping[str, str]) -> Mapping[str, str]:
    from otel_finops.governance.scopes import Scope  # noqa: PLC0415

    return dict(Scope.of(scope).parts)


_PLAIN: Final = ("name", "kind", "currency", "hard", "warn_percent", "carry_over", "enabled")


def _edited(budget: Budget, given: BudgetEdit) -> Budget:
    said: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(given, name)) is not None}
    kind = said.get("kind", budget.kind)
    if given.amount is not None:
        said["amount"] = _amount(given.amount, kind)
    elif kind != budget.kind:
        raise BadInput(f"amount: say how many {kind} the limit is; it was in {budget.kind}")
    if kind != "money":
        said.setdefault("currency", "USD")
    if given.thresholds is not None:
        said["thresholds"] = tuple(given.thresholds)
    if given.parent is not None:
        said["parent"] = given.parent or None
    if given.fail is not None:
        said["fail_open"] = FAILS[given.fail]
    return budget._replace(**said, period=_period(budget.period, given))


def _period(period: Period, given: BudgetEdit) -> Period:
    """The period with what is given; another kind keeps the zone alone."""
    from otel_finops.governance.periods import Period  # noqa: PLC0415 - `--help` must not load the database rooms

    kind = given.period or period.kind
    said: dict[str, int | None] = dict.fromkeys(_PERIOD_FIELDS) if kind != period.kind else numbers_of(period)
    said.update({name: value for name in _PERIOD_FIELDS if (value := getattr(given, name)) is not None})
    return Period.of(kind, given.zone or period.zone, **said)


_PERIOD_FIELDS: Final = ("start_day", "start_month", "length")
