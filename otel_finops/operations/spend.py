"""Spend reports: sums of what the ledger has booked."""

from __future__ import annotations

from functools import partial

from pydantic import Field

from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import BASIS, BasisName, CallFilters, Name, TenantScoped, Windowed, given_filters
from otel_finops.operations.fx import CurrencyCode
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.shapes import Count, Usd
from otel_finops.pricing.fx import BASE, MissingRate, OtherCurrency


class FinerFilters(Input):
    """Selects by what only entries know; slower than what roll-ups know."""

    step: Name | None = Field(default=None, description="Only this step.")
    tool: Name | None = Field(default=None, description="Only this tool.")
    workflow: Name | None = Field(default=None, description="Only this workflow.")
    user: Name | None = Field(default=None, description="Only this user, by the id that the application sent.")
    session: Name | None = Field(default=None, description="Only this session.")
    purpose: Name | None = Field(default=None, description="Only this purpose.")


class PeriodFilter(Input):
    """Selects by the month to which rows belong."""

    period: str | None = Field(
        default=None,
        max_length=7,
        description="Only this month of the ledger, e.g. 2026-10: with late rows where they belong; in place of `from` and `to`.",
    )


class SpendQuery(Windowed, TenantScoped, CallFilters, FinerFilters, PeriodFilter):
    """What to sum."""

    group_by: str = Field(
        default="",
        max_length=200,
        description="Comma-separated, any of tenant, provider, model, operation, cost_method, unpriced_reason, agent, cost_center, "
        "service, environment, day, hour, or instead of these two period, months of the ledger; slower, as only entries know them: "
        "realm, step, tool, workflow, user, session, purpose, service_tier, region, price_key, error_type. Nothing for one sum.",
    )

    currency: CurrencyCode | None = Field(
        default=None,
        description="ISO code: amounts in this currency too, each day at its rate (`fx import`); `display.currency` when not given.",
    )

    basis: BasisName = BASIS

    def groups(self) -> tuple[str, ...]:
        """The groupings, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.group_by.split(",") if name.strip()))


class Group(Output):
    """One group."""

    key: dict[str, str | None]
    cost_usd: Usd
    calls: Count
    tokens: Count
    unpriced_calls: Count
    cost: Usd | None = Field(default=None, description="In the report's `currency`, where it has one.")


class Report(Output):
    """Groups, the most expensive first."""

    groups: list[Group]
    total_usd: Usd
    pending_usd: Usd = Field(description="Quotes of calls that are received and not settled yet; not in the total.")
    unpriced_tokens_share: float = Field(ge=0, le=1)
    currency: str | None = Field(default=None, description="Of `cost`, `total` and `pending`.")
    total: Usd | None = None
    pending: Usd | None = Field(default=None, description="At today's rate.")
    currency_missing: str | None = Field(default=None, description="Why there are no amounts in `display.currency`.")


@operation(
    "spend.report",
    "spend",
    takes=SpendQuery,
    output=Report,
    permission="view",
    feature="spend",
    summary="Sum up spend by provider, model, tenant, agent and the like.",
)
def report(context: Context, principal: Principal, given: SpendQuery) -> Json:
    """The report; without group_by one group with an empty key."""
    filters = given_filters(given, CallFilters, FinerFilters, PeriodFilter)
    ask = partial(context.reads.spend, given.tenants(principal), given.groups(), given.window(), filters, basis=given.basis)
    currency = given.currency or context.currency
    if currency == BASE:
        return ask().to_contract()
    try:
        return ask(OtherCurrency(currency, context.money.today)).to_contract()
    except MissingRate as fault:
        if given.currency is not None:
            raise
        return {**ask().to_contract(), "currency_missing": str(fault)}
