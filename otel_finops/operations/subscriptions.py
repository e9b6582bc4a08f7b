"""Flat fees: what they covered, and spreading them."""

from __future__ import annotations

from pydantic import Field

from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NoInput
from otel_finops.operations.registry import Changed, Input, Json, Output, operation
from otel_finops.operations.shapes import At, Count, Usd


class CoveredPeriod(Output):
    """A period of a subscription."""

    id: str
    from_: At = Field(alias="from")
    to: At
    over: bool
    fee: str = Field(description="In the subscription's currency.")
    currency: str
    fee_usd: Usd | None = Field(description="At the rate of the period's first day; null while there is no such rate (`fx import`).")
    calls: Count
    calls_without_price: Count = Field(description="Covered calls without a shadow price; they bear no share unless all are such.")
    shadow_usd: Usd = Field(description="What the covered calls would have cost by the list.")
    spread_usd: Usd = Field(description="The sum of their effective costs: the fee once it is spread.")


class CoveredPeriods(Output):
    """All periods that have begun, by subscription in the order of the settings."""

    periods: list[CoveredPeriod]


@operation(
    "subscriptions.list",
    "subscriptions",
    takes=NoInput,
    output=CoveredPeriods,
    permission="view",
    feature="subscriptions",
    summary="List the periods of flat fees with what they covered and what of the fee is spread.",
)
def periods(context: Context, principal: Principal, given: NoInput) -> Json:
    """The periods; a fee may cover calls of several tenants, so only those who see all of them may ask."""
    _sees_all(principal, "subscriptions.list")
    return {
        "periods": [
            {
                "id": one.subscription.id,
                "from": format_ns(one.period.from_ns),
                "to": format_ns(one.period.to_ns),
                "over": one.over,
                "fee": f"{one.subscription.fee:f}",
                "currency": one.subscription.currency,
                "fee_usd": None if one.fee_pico is None else format_usd(one.fee_pico),
                "calls": one.calls,
                "calls_without_price": one.unknown,
                "shadow_usd": format_usd(one.shadow_pico),
                "spread_usd": format_usd(one.spread_pico),
            }
            for one in context.money.coverages()
        ]
    }


class SpreadOrder(Input):
    """Why fees are spread now."""

    why: str = Field(default="asked for", max_length=500, description="Stands on record with the corrections.")


class SpreadDone(Output):
    """What spreading did."""

    periods: Count = Field(description="Periods that are over.")
    rows: Count = Field(description="Rows whose share is another one now.")
    run_no: int | None = Field(description="Number of the run on record; null when no share changed.")


@operation(
    "subscriptions.spread",
    "subscriptions/spread",
    takes=SpreadOrder,
    output=SpreadDone,
    permission="manage",
    feature="subscriptions",
    changes=True,
    runs=True,
    agents=False,
    summary="Spread the fees of all periods that are over on the calls that they covered.",
)
def spread(context: Context, principal: Principal, given: SpreadOrder) -> Changed:
    """Book the shares that are not booked yet; it moves no cost."""
    _sees_all(principal, "subscriptions.spread")
    answer = context.money.spread(principal.who, given.why)._asdict()
    return Changed(answer, None, answer)


def _sees_all(principal: Principal, name: str) -> None:
    principal.must_see_all(f"{name} concerns calls of all tenants")
