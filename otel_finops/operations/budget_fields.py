"""Budgets in inputs and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from otel_finops.base.money import divide_half_even, format_usd
from otel_finops.base.times import format_ns
from otel_finops.governance.periods import PeriodKind
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.registry import Input, Output
from otel_finops.operations.scope_fields import ShownScope
from otel_finops.operations.shapes import At

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.budgets import Budget, BudgetSet, BudgetStatus
    from otel_finops.governance.periods import Period, Window

Kind: TypeAlias = Literal["money", "tokens", "calls"]
State: TypeAlias = Literal["ok", "warning", "exceeded"]
Fail: TypeAlias = Literal["open", "closed", "settings"]

_RATIO_PLACES: Final = 10**6
_AMOUNT_DIGITS: Final = r"^[0-9]{1,18}(\.[0-9]{1,12})?$"
FAILS: Final[Mapping[Fail, bool | None]] = {"open": True, "closed": False, "settings": None}


def _percents(given: Any) -> Any:
    """`50,80,100`, or a list of whole numbers."""
    if not isinstance(given, str):
        return given
    parts = [part.strip() for part in given.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) <= 4 for part in parts):
        raise ValueError("write whole percents, e.g. 50,80,100")
    return [int(part) for part in parts]


def _not_negative(given: Any) -> Any:
    if isinstance(given, str) and given.strip().startswith("-"):
        raise ValueError("a limit is not negative")
    return given


_PERCENTS: Final = {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "string"}], "example": [50, 80, 100]}
Percents: TypeAlias = Annotated[list[int], BeforeValidator(_percents), WithJsonSchema(_PERCENTS)]
Amount: TypeAlias = Annotated[str, BeforeValidator(_not_negative), Field(pattern=_AMOUNT_DIGITS)]
_DECIMAL: Final = Field(pattern=r"^-?\d+(\.\d{1,12})?$", json_schema_extra={"example": "12.5"})
Figure: TypeAlias = Annotated[str, _DECIMAL]
"""A plain decimal string; it may be negative."""
ShownAmount: TypeAlias = Annotated[Figure, Field(description="A plain decimal string, in the budget's currency, tokens or calls.")]


class BudgetNumber(Input):
    """Which budget."""

    no: int = Field(ge=1, le=2**53, description="The budget's number, as budgets.list shows it.")


class ShownPeriod(Output):
    """From when until when a window lasts."""

    period: PeriodKind
    zone: str
    start_day: int | None = Field(description="Null where the period has none.")
    start_month: int | None = Field(description="Null where the period has none.")
    length: int | None = Field(description="Days or hours of a rolling window.")


class BudgetStanding(Output):
    """How a budget stands now."""

    from_: At = Field(alias="from", description="When the window that runs began.")
    to: At = Field(description="When it ends; of a rolling one when the day or piece ends that runs.")
    limit: ShownAmount = Field(description="What may be spent in it, `carried` included.")
    carried: ShownAmount = Field(description="What the window before left.")
    booked: ShownAmount = Field(description="Settled calls.")
    pending: ShownAmount = Field(description="Calls that are journalled and not yet settled.")
    reserved: ShownAmount = Field(description="Held for calls that are being made.")
    spent: ShownAmount = Field(description="Booked, pending and reserved.")
    remaining: Figure = Field(description="What is left; negative where more was spent.")
    ratio: Figure = Field(description="Spent of the limit, a decimal string: 1 is all of it.")
    state: State
    filling: bool = Field(description="What was booked before it was made is still being counted.")
    fault: str | None = Field(description="What is missing to tell it, e.g. an exchange rate; null: nothing is.")


class ShownBudget(Output):
    """A budget as it is defined."""

    no: int
    name: str
    tenant: str | None = Field(description="Whose it is; null: it is for calls of several.")
    scope: ShownScope
    kind: Kind
    amount: ShownAmount
    currency: str | None = Field(description="Null where no money is limited.")
    period: ShownPeriod
    hard: bool
    warn_percent: int
    thresholds: list[int]
    carry_over: bool
    parent: int | None
    fail: Fail
    enabled: bool
    revision: int
    made_at: At
    made_by: str
    changed_at: At
    changed_by: str


class BudgetWithStanding(ShownBudget):
    """A budget, and how it stands."""

    status: BudgetStanding


def sees(principal: Principal, budget: Budget) -> bool:
    """Whether a budget is the principal's to see: for calls of his tenants alone."""
    return principal.tenants is None or budget.tenant in principal.tenants


def notes_of(principal: Principal, budget: Budget, held: BudgetSet) -> list[str]:
    """What people should know of a budget among all that stand; nothing of a parent that the principal does not see."""
    from otel_finops.governance.budgets import oddities  # noqa: PLC0415 - `--help` must not load the database rooms

    parent = None if budget.parent is None else held.get(budget.parent)
    return oddities(budget, held) if parent is not None and sees(principal, parent) else []


def shown_budgets(context: Context, budgets: Sequence[Budget]) -> list[dict[str, Any]]:
    """Budgets as answers show them, users and sessions as people call them."""
    scopes = context.budgets.clear([one.scope for one in budgets])
    return [described(one, scope) for one, scope in zip(budgets, scopes, strict=True)]


def with_standing(context: Context, budgets: Sequence[Budget]) -> list[dict[str, Any]]:
    """The same with how each stands now."""
    standing = context.budgets.statuses(budgets)
    described_ones = zip(shown_budgets(context, budgets), budgets, strict=True)
    return [{**shown, "status": shown_status(standing[one.no], one.kind)} for shown, one in described_ones]


def described(one: Budget, scope: Mapping[str, str]) -> dict[str, Any]:
    """A budget as answers show it; `scope` has clear ids."""
    return {
        "no": one.no,
        "name": one.name,
        "tenant": one.tenant,
        "scope": dict(scope),
        "kind": one.kind,
        "amount": amount_text(one.amount, one.kind),
        "currency": one.currency if one.kind == "money" else None,
        "period": {"period": one.period.kind, "zone": one.period.zone, **numbers_of(one.period)},
        "hard": one.hard,
        "warn_percent": one.warn_percent,
        "thresholds": list(one.thresholds),
        "carry_over": one.carry_over,
        "parent": one.parent,
        "fail": next(name for name, value in FAILS.items() if value is one.fail_open),
        "enabled": one.enabled,
        "revision": one.revision,
        "made_at": format_ns(one.made_ns),
        "made_by": one.made_by,
        "changed_at": format_ns(one.changed_ns),
        "changed_by": one.changed_by,
    }


def shown_status(status: BudgetStatus, kind: Kind) -> dict[str, Any]:
    """How a budget stands, as answers show it."""
    amounts = {name: amount_text(getattr(status, name), kind) for name in _AMOUNTS}
    ratio = divide_half_even(status.ratio.numerator * _RATIO_PLACES, status.ratio.denominator)
    return {
        **edges(status.window),
        **amounts,
        "ratio": format_usd(ratio * 10**6),
        "state": status.state,
        "filling": status.filling,
        "fault": status.fault,
    }


_AMOUNTS: Final = ("limit", "carried", "booked", "pending", "reserved", "spent", "remaining")


def edges(window: Window) -> dict[str, str]:
    """`from` and `to`."""
    return {"from": format_ns(window.start_ns), "to": format_ns(window.end_ns)}


def numbers_of(period: Period) -> dict[str, int | None]:
    """The numbers of a period, None for those that its kind has not."""
    yearly = period.kind in ("quarterly", "yearly")
    return {
        "start_day": period.start_day if yearly or period.kind in ("weekly", "monthly") else None,
        "start_month": period.start_month if yearly else None,
        "length": period.length if period.is_rolling else None,
    }


def amount_text(amount: int, kind: Kind) -> str:
    """An amount in the unit of its limit as a plain decimal string."""
    return format_usd(amount) if kind == "money" else str(amount)
