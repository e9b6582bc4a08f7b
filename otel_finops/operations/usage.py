"""The ledger's rows, a page at a time."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, TenantScoped, TraceId, Windowed, given_filters
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.retention import pruned_until
from otel_finops.operations.shapes import At


class RowFilters(Input):
    """Selects by what a row says."""

    trace_id: TraceId | None = Field(default=None, description="Only rows of this trace.")
    kind: Literal["charge", "reversal", "correction", "adjustment", "reattribution"] | None = Field(
        default=None, description="Only this kind."
    )
    role: Literal["call", "duplicate", "wrapper", "gateway_copy"] | None = Field(default=None, description="Only this role.")
    provider: Name | None = Field(default=None, description="Only this provider family.")
    operation: Name | None = Field(default=None, description="Only this operation.")
    request_model: Name | None = Field(default=None, description="Only this model asked for.")
    response_model: Name | None = Field(default=None, description="Only this model that answered.")
    cost_method: Name | None = Field(default=None, description="Only this cost method.")
    unpriced_reason: Name | None = Field(default=None, description="Only rows that are unpriced for this reason.")
    agent: Name | None = Field(default=None, description="Only this agent.")
    step: Name | None = Field(default=None, description="Only this step.")
    tool: Name | None = Field(default=None, description="Only this tool.")
    workflow: Name | None = Field(default=None, description="Only this workflow.")
    user: Name | None = Field(default=None, description="Only this user, by the id that the application sent.")
    session: Name | None = Field(default=None, description="Only this session.")
    cost_center: Name | None = Field(default=None, description="Only this cost centre.")
    purpose: Name | None = Field(default=None, description="Only this purpose.")
    service: Name | None = Field(default=None, description="Only this service.")
    environment: Name | None = Field(default=None, description="Only this environment.")
    price_key: Name | None = Field(default=None, description="Only rows priced by this row of the price book.")


class UsageQuery(Windowed, TenantScoped, RowFilters, Paged):
    """Which rows."""


class UsagePage(Output):
    """Rows as `ledger export --format jsonl` writes them (docs/ledger.md), newest start first."""

    entries: list[dict[str, Any]]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")
    pruned_until: At | None = Field(
        description="Rows of calls that started before this were pruned but for some; spend reports still have their sums. "
        "Null where none was, or none that is asked for."
    )


@operation(
    "usage.list",
    "usage",
    takes=UsageQuery,
    output=UsagePage,
    permission="view",
    feature="usage",
    summary="List ledger rows: charges, reversals, corrections.",
)
def rows(context: Context, principal: Principal, given: UsageQuery) -> Json:
    """A page of rows; rows that are booked meanwhile never shift a page."""
    page = context.reads.usage(given.tenants(principal), given.window(), given_filters(given, RowFilters), given.cursor, given.limit)
    return {"entries": list(page.rows), "next_cursor": page.next_cursor, "pruned_until": pruned_until(context, given.window())}
