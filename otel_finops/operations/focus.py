"""FOCUS: what calls cost in the form of the FinOps Open Cost and Usage Specification, for tools that read cloud bills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field

from otel_finops.base.errors import BadInput
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import TenantScoped, Windowed
from otel_finops.operations.registry import Output, operation
from otel_finops.operations.streams import Column, Kind, Stream, Streamed

VersionName: TypeAlias = Literal["1.2", "1.3"]
StepName: TypeAlias = Literal["hour", "day"]


def _columns(kind: Kind, *names: str) -> list[Column]:
    return [Column(name, kind, (name,)) for name in names]


_NEWER: Final = ("ServiceProviderName", "HostProviderName")
"""Since 1.3, in the place of ProviderName and PublisherName, which it still allows."""
_ALL: Final[Sequence[Column]] = (
    *_columns("money", "BilledCost"),
    *_columns("text", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency"),
    *_columns("second", "BillingPeriodEnd", "BillingPeriodStart"),
    *_columns("text", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency"),
    *_columns("second", "ChargePeriodEnd", "ChargePeriodStart"),
    *_columns("text", "CommitmentDiscountStatus"),
    *_columns("money", "ConsumedQuantity"),
    *_columns("text", "ConsumedUnit"),
    *_columns("money", "ContractedCost", "ContractedUnitPrice", "EffectiveCost"),
    *_columns("text", "HostProviderName", "InvoiceId", "InvoiceIssuerName"),
    *_columns("money", "ListCost", "ListUnitPrice"),
    *_columns("text", "PricingCategory", "PricingCurrency"),
    *_columns("money", "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice"),
    *_columns("money", "PricingQuantity"),
    *_columns("text", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName", "ServiceCategory", "ServiceName"),
    *_columns("text", "ServiceProviderName", "ServiceSubcategory", "SkuId", "SkuMeter"),
    *_columns("json", "SkuPriceDetails"),
    *_columns("text", "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType"),
    *_columns("json", "Tags"),
    *_columns("text", "x_Agent"),
    *_columns("integer", "x_Calls"),
    *_columns("money", "x_Cost"),
    *_columns("text", "x_CostCenter", "x_CostMethod", "x_CoverageId", "x_Environment", "x_Model", "x_Operation", "x_PriceKey"),
    *_columns("text", "x_PriceVersion", "x_Provider", "x_Service", "x_ServiceTier", "x_TokenType", "x_UnpricedReason"),
)


def focus_columns(version: VersionName) -> list[Column]:
    """The columns of a version, in order."""
    return [column for column in _ALL if version != "1.2" or column.name not in _NEWER]


class FocusRow(Output):
    """A FOCUS row, by the specification's column names; own columns begin with `x_` (docs/insight.md)."""

    model_config = ConfigDict(extra="allow")


class FocusQuery(Windowed, TenantScoped, Streamed):
    """Which charges, how they are summed up and written."""

    period: str | None = Field(
        default=None,
        max_length=7,
        description="The rows that are billed in this month, e.g. 2026-10, with corrections of months that were closed before; in place of "
        "`from` and `to`.",
    )
    by: StepName = Field(default="day", description="Sum up by the hour or by the day (UTC).")
    version: VersionName = Field(default="1.2", description="Of the specification.")


@operation(
    "focus.export",
    "focus/export",
    takes=FocusQuery,
    output=FocusRow,
    permission="view",
    feature="focus",
    agents=False,
    streams=True,
    summary="Write what calls cost as FOCUS rows, one for each meter, to a file of any size.",
)
def export(context: Context, principal: Principal, given: FocusQuery) -> Stream:
    """Every money column adds up to what spend reports say of the same calls in that money."""
    tenants, window = given.tenants(principal), given.window()
    batches: Any
    if given.period is None:
        batches = context.focus.charges(tenants, window, given.by, given.version)
    elif window != (None, None):
        raise BadInput("period: takes the place of `from` and `to`; give one or the other")
    else:
        batches = context.focus.billed(tenants, given.period, given.by, given.version)
    return Stream(f"focus-{given.version}", focus_columns(given.version), batches)
