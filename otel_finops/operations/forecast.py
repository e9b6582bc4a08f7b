"""Forecasts: what budgets and groups of calls will come to, and how well that would have been known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.base.zones import ZONE_CHARS_MAX
from otel_finops.identity.principals import Principal
from otel_finops.insight.methods import Name as WayName
from otel_finops.insight.trials import Method
from otel_finops.operations.budget_fields import BudgetNumber, Figure, Kind, ShownAmount, amount_text, sees
from otel_finops.operations.context import Context
from otel_finops.operations.fields import CallFilters, Name, Paged, TenantScoped, given_filters, page_of
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.operations.spend import FinerFilters

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.backtest import Backtest
    from otel_finops.insight.courses import BandStep
    from otel_finops.insight.forecast_store import Forecasted
    from otel_finops.insight.forecasts import SpendAsked, SpendForecast

PeriodName: TypeAlias = Literal["weekly", "monthly", "quarterly", "yearly"]
_LIST: Final = "forecast.budgets"
_METHOD: Final[Any] = Field(
    default="auto",
    description="auto weighs all ways by how well each would have done in the past of the same series, best takes the one that would have "
    "done best; or one of them by name: run_rate (spent so far by the days that are over), naive (the last day again), level, weekday, "
    "weekday_trend.",
)
_CHANCE: Final[Any] = Field(ge=0, le=1, description="How likely the limit is passed; null: there is too little past to tell.")


class Way(Output):
    """How much a way to forecast counted."""

    way: WayName
    weight: float = Field(ge=0, le=1, description="Together they are 1.")


class ForecastStep(Output):
    """A day to come, of a rolling window of hours a piece; the first one is what is left of the one that runs."""

    from_: At = Field(alias="from")
    to: At
    expected: Figure = Field(description="What will be spent in all by its end.")
    low: Figure | None = Field(description="Four times in five it will be more than that; null: there is too little past to tell.")
    high: Figure | None = Field(description="And less than that.")


class ForecastFigures(Output):
    """What a window will come to, in the budget's unit or in USD."""

    projected: Figure = Field(description="What is spent and what is expected until its end; of a rolling window the most it comes to.")
    low: Figure | None = Field(description="Between this and `high` it will be four times in five; null: there is too little past to tell.")
    high: Figure | None


class BudgetOutlook(ForecastFigures):
    """What a budget's window will come to."""

    from_: At = Field(alias="from", description="When the window begins; of a rolling one as it will be at the end of the forecast.")
    to: At
    will_exceed: bool = Field(description="Whether the limit is passed if what is expected comes.")
    chance: float | None = _CHANCE
    exceeds_at: At | None = Field(description="When the limit is passed, or was passed, if what is expected comes; null: it is not.")
    earliest: At | None = Field(description="The same if the upper end of the interval comes.")
    latest: At | None = Field(description="The same if the lower end comes; null: then it is not passed.")


class BudgetForecastRow(Output):
    """A budget and what its window will come to."""

    no: int
    name: str
    tenant: str | None
    kind: Kind
    currency: str | None = Field(description="Null where no money is limited.")
    limit: ShownAmount
    spent: ShownAmount = Field(description="Booked, pending and reserved.")
    forecast: BudgetOutlook | None = Field(description="Null: nobody can tell.")
    why_not: str | None = Field(description="Then why.")


class ForecastPage(Output):
    """Budgets by number."""

    budgets: list[BudgetForecastRow]
    next_cursor: str | None


class ForecastQuery(Paged):
    """Which budgets."""

    tenant: Name | None = Field(default=None, description="Only those for calls of this tenant alone.")
    will_exceed: bool | None = Field(
        default=None, description="Only those that will pass their limit, or that will not, by the forecasts that the clock last made."
    )
    method: Method = _METHOD


@operation(
    "forecast.budgets",
    "forecast/budgets",
    takes=ForecastQuery,
    output=ForecastPage,
    permission="view",
    feature="forecast",
    summary="Forecast what the windows of budgets will come to, and which will pass their limits.",
)
def budgets(context: Context, principal: Principal, given: ForecastQuery) -> Json:
    """Enabled ones for calls of the principal's tenants alone."""
    found = [one for one in context.budgets.all() if one.enabled and sees(principal, one) and given.tenant in (None, one.tenant)]
    if given.will_exceed is not None:
        kept = context.forecasts.kept(found)
        found = [one for one in found if one.no in kept and (kept[one.no].exceeds_ns is not None) == given.will_exceed]
    page, more = page_of(found, given, _LIST, lambda one: (one.no,))
    return {"budgets": [_row(one) for one in context.forecasts.of_budgets(page, given.method)], "next_cursor": more}


class BudgetForecastQuery(BudgetNumber):
    """Which budget."""

    method: Method = _METHOD


class MethodOutlook(ForecastFigures):
    """What one method alone says."""

    method: Method
    will_exceed: bool


class BudgetForecastShown(BudgetForecastRow):
    """A budget, what its window will come to, and how that is known."""

    method: Method
    ways: list[Way] = Field(description="What was listened to, that which counted most first.")
    steps_known: Count = Field(description="Steps of the past that it was learned from, days as a rule.")
    steps: list[ForecastStep] = Field(description="Those to come.")
    methods: list[MethodOutlook] = Field(description="What each method says.")


@operation(
    "forecast.budget",
    "forecast/budgets/{no}",
    takes=BudgetForecastQuery,
    output=BudgetForecastShown,
    permission="view",
    feature="forecast",
    summary="Forecast a budget's window day by day, with its range, when the limit is passed, and what each method says.",
)
def budget(context: Context, principal: Principal, given: BudgetForecastQuery) -> Json:
    """One budget, enabled or not."""
    from otel_finops.insight.trials import METHODS  # noqa: PLC0415 - beside the rooms that are loaded for an answer alone

    one = context.budgets.find(given.no, principal.tenants)
    answers = {method: context.forecasts.of_budgets([one], method)[0] for method in METHODS}
    asked = answers[given.method]
    found = asked.forecast
    return {
        **_row(asked),
        "method": given.method,
        "ways": [] if found is None else _ways(found.heard),
        "steps_known": 0 if found is None else found.steps_known,
        "steps": [] if found is None else shown_steps(found.steps, one.kind),
        "methods": [
            {
                "method": method,
                **_figures(said.forecast.projected, said.forecast.low, said.forecast.high, one.kind),
                "will_exceed": said.forecast.exceeds_ns is not None,
            }
            for method, said in answers.items()
            if said.forecast is not None
        ],
    }


class SpendForecastQuery(TenantScoped, CallFilters, FinerFilters):
    """Which calls, and in which windows."""

    by: str = Field(
        default="",
        max_length=200,
        description="Groups: at most two keys of spend reports that are no times, parted by a comma, e.g. model or tenant,agent.",
    )
    period: PeriodName = Field(default="monthly", description="Whose end is forecast: this week's, month's, quarter's or year's.")
    zone: str | None = Field(
        default=None,
        min_length=1,
        max_length=ZONE_CHARS_MAX,
        description="IANA time zone in which days begin, e.g. Europe/Rome; `display.zone` when not given.",
    )
    limit: int = Field(default=20, ge=1, le=100, description="How many groups, those that cost most so far: 1 to 100.")
    method: Method = _METHOD

    def asked(self, context: Context, principal: Principal, by: Sequence[str] = ()) -> SpendAsked:
        """What is asked of the forecasts; raises BadInput for a zone that there is not."""
        return _asked(context, principal, self, self.period, self.zone, by)


class SpendWindowForecast(ForecastFigures):
    """What some calls will come to, in USD."""

    spent: Usd = Field(description="Booked in the window so far.")
    ways: list[Way]
    days_known: Count = Field(description="Days of the past that it was learned from.")


class GroupForecast(SpendWindowForecast):
    """What a group of calls will come to."""

    key: dict[str, str | None]


class SpentDay(Output):
    """A day that has begun."""

    from_: At = Field(alias="from")
    spent: Usd


class SpendForecastShown(Output):
    """What calls will come to by the end of the window that runs, in USD."""

    from_: At = Field(alias="from")
    to: At
    zone: str
    period: PeriodName
    method: Method
    total: SpendWindowForecast
    groups: list[GroupForecast] = Field(description="Each by its own course: they need not add up to the total.")
    others: Count = Field(description="How many groups there are besides.")
    days: list[SpentDay] = Field(description="The days of the window so far.")
    steps: list[ForecastStep] = Field(description="Those to come, of all calls together.")


@operation(
    "forecast.spend",
    "forecast/spend",
    takes=SpendForecastQuery,
    output=SpendForecastShown,
    permission="view",
    feature="forecast",
    summary="Forecast what calls will cost by the end of the week, month, quarter or year, in all and by any group.",
)
def spend(context: Context, principal: Principal, given: SpendForecastQuery) -> Json:
    """Booked cost; what is pending or reserved comes with the days to come."""
    by = tuple(dict.fromkeys(name.strip() for name in given.by.split(",") if name.strip()))
    found = context.forecasts.of_spend(given.asked(context, principal, by), given.method, given.limit)
    return {
        "from": format_ns(found.window.start_ns),
        "to": format_ns(found.window.end_ns),
        "zone": given.zone or context.zone,
        "period": given.period,
        "method": given.method,
        "total": _spend_window(found.total),
        "groups": [{"key": dict(one.key), **_spend_window(one)} for one in found.groups],
        "others": found.others,
        "days": [{"from": format_ns(start), "spent": format_usd(amount)} for start, amount in found.days.items()],
        "steps": shown_steps(found.total.steps, "money"),
    }


class BacktestQuery(TenantScoped, CallFilters, FinerFilters):
    """Of what."""

    no: int | None = Field(default=None, ge=1, le=2**53, description="Of what was counted for this budget, in place of calls.")
    steps: int = Field(default=7, ge=1, le=90, description="Of how many days (of rolling hours: pieces) the sum is forecast, 1 to 90.")
    zone: str | None = Field(default=None, min_length=1, max_length=ZONE_CHARS_MAX, description="IANA time zone in which days begin.")


class ScoredMethod(Output):
    """How one method would have done."""

    method: Method
    error: float | None = Field(description="Mean amount by which its sums were wrong, of the mean sum that came; null: nothing came.")
    bias: float | None = Field(description="The same with signs: above 0 it said too much.")
    covered: float | None = Field(description="Share of sums that came to lie within its interval, which is to hold 0.8 of them.")


class Backtested(Output):
    """How the methods would have done, the least wrong first."""

    steps: int
    moments: Count = Field(description="At how many moments of the past they were asked; 0: it has fewer steps than `steps` and 5 more.")
    steps_known: Count = Field(description="How many whole steps the past has, from the first one with spend on; days as a rule.")
    methods: list[ScoredMethod]


@operation(
    "forecast.backtest",
    "forecast/backtest",
    takes=BacktestQuery,
    output=Backtested,
    permission="view",
    feature="forecast",
    summary="Measure how wrong each method of forecasting would have been in the past, and how often its interval held.",
)
def backtest(context: Context, principal: Principal, given: BacktestQuery) -> Json:
    """At each moment the methods know what was known then alone."""
    if given.no is None:
        asked = _asked(context, principal, given, "monthly", given.zone, ())
        return _scores(context.forecasts.backtest_spend(asked, given.steps))
    if given_filters(given, TenantScoped, CallFilters, FinerFilters) or given.zone is not None:
        raise BadInput("no: a budget says itself which calls it is for, and its zone; give it alone")
    return _scores(context.forecasts.backtest_budget(context.budgets.find(given.no, principal.tenants), given.steps))


def _asked(
    context: Context,
    principal: Principal,
    given: SpendForecastQuery | BacktestQuery,
    period: PeriodName,
    zone: str | None,
    by: Sequence[str],
) -> SpendAsked:
    from otel_finops.governance.periods import Period  # noqa: PLC0415 - `--help` must not load the database rooms
    from otel_finops.insight.forecasts import SpendAsked  # noqa: PLC0415 - as above

    filters = {name: (value,) for name, value in given_filters(given, CallFilters, FinerFilters).items()}
    return SpendAsked(given.tenants(principal), filters, tuple(by), Period.of(period, zone or context.zone))


def _scores(found: Backtest) -> Json:
    by_error = sorted(found.methods.items(), key=lambda one: (one[1].error is None, one[1].error or 0.0))
    methods = [{"method": name, **one._asdict()} for name, one in by_error]
    return {"steps": found.steps, "moments": found.moments, "steps_known": found.steps_known, "methods": methods}


def _row(one: Forecasted) -> dict[str, Any]:
    budget, found = one.budget, one.forecast
    return {
        "no": budget.no,
        "name": budget.name,
        "tenant": budget.tenant,
        "kind": budget.kind,
        "currency": budget.currency if budget.kind == "money" else None,
        "limit": amount_text(one.status.limit, budget.kind),
        "spent": amount_text(one.status.spent, budget.kind),
        "forecast": None
        if found is None
        else {
            "from": format_ns(found.window.start_ns),
            "to": format_ns(found.window.end_ns),
            **_figures(found.projected, found.low, found.high, budget.kind),
            "will_exceed": found.exceeds_ns is not None,
            "chance": None if found.chance is None else round(found.chance, 3),
            **{name: None if at is None else format_ns(at) for name, at in _instants(found.exceeds_ns, found.earliest_ns, found.latest_ns)},
        },
        "why_not": one.why_not,
    }


def _instants(exceeds_ns: int | None, earliest_ns: int | None, latest_ns: int | None) -> Sequence[tuple[str, int | None]]:
    return ("exceeds_at", exceeds_ns), ("earliest", earliest_ns), ("latest", latest_ns)


def _figures(projected: int, low: int | None, high: int | None, kind: Kind) -> dict[str, str | None]:
    amounts = {"projected": projected, "low": low, "high": high}
    return {name: None if amount is None else amount_text(amount, kind) for name, amount in amounts.items()}


def _spend_window(one: SpendForecast) -> dict[str, Any]:
    return {
        **_figures(one.projected, one.low, one.high, "money"),
        "spent": format_usd(one.spent),
        "ways": _ways(one.heard),
        "days_known": one.steps_known,
    }


def _ways(heard: Mapping[WayName, float]) -> list[dict[str, Any]]:
    return [{"way": name, "weight": round(weight, 4)} for name, weight in heard.items()]


def shown_steps(steps: Sequence[BandStep], kind: Kind) -> list[dict[str, Any]]:
    """Steps to come as answers show them."""
    return [
        {
            "from": format_ns(one.window.start_ns),
            "to": format_ns(one.window.end_ns),
            "expected": amount_text(one.expected, kind),
            "low": None if one.low is None else amount_text(one.low, kind),
            "high": None if one.high is None else amount_text(one.high, kind),
        }
        for one in steps
    ]
