"""Months of the ledger: what belongs to them, and closing them."""

from __future__ import annotations

from pydantic import Field

from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NAMED, Paged, TenantScoped, page_of
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Usd

_WHY_CHARS_MAX = 500


class PeriodsQuery(TenantScoped, Paged):
    """Whose."""


class PeriodRow(Output):
    """A month, UTC."""

    month: str
    closed: bool
    closed_at: At | None
    closed_by: str | None
    why: str | None
    cost_usd: Usd = Field(description="All that belongs to the month, late rows included.")
    calls: int = Field(description="Fewer than none where late rows took back more calls than came.")
    late_usd: Usd = Field(description="Of that, rows of calls that started in a month that was closed when they came.")
    late_calls: int


class PeriodList(Output):
    """A page of months, newest first."""

    periods: list[PeriodRow]
    next_cursor: str | None


@operation(
    "periods.list",
    "periods",
    takes=PeriodsQuery,
    output=PeriodList,
    permission="view",
    feature="ledger",
    summary="List the months with what belongs to them, what of it is late, and when and by whom they were closed.",
)
def listed(context: Context, principal: Principal, given: PeriodsQuery) -> Json:
    """The months; sums are those of the principal's tenants."""
    page, more = page_of(context.corrections.periods(given.tenants(principal)), given, "periods.list", lambda one: (-_number(one.month),))
    return {
        "periods": [
            {
                "month": one.month,
                "closed": one.closed_ns is not None,
                "closed_at": None if one.closed_ns is None else format_ns(one.closed_ns),
                "closed_by": one.closed_by,
                "why": one.why,
                "cost_usd": format_usd(one.cost_pico),
                "calls": one.calls,
                "late_usd": format_usd(one.late_cost_pico),
                "late_calls": one.late_calls,
            }
            for one in page
        ],
        "next_cursor": more,
    }


def _number(month: str) -> int:
    """`2026-10` -> 202610."""
    return int(month.replace("-", ""))


class Closing(Input):
    """Which month, and why."""

    month: str = Field(json_schema_extra=NAMED, max_length=7, description="The month, e.g. 2026-10; open ones before it are closed too.")
    why: str = Field(default="closed by hand", min_length=1, max_length=_WHY_CHARS_MAX, description="Goes on record.")
    dry_run: bool = Field(default=False, description="Only say which months would be closed.")


class Closed(Output):
    """What was closed."""

    closed: list[str] = Field(description="Months, oldest first.")


@operation(
    "periods.close",
    "periods/close",
    takes=Closing,
    output=Closed,
    permission="admin",
    feature="ledger",
    changes=True,
    runs=True,
    agents=False,
    summary="Close a month for ever: what comes later is marked late and belongs to the open month.",
)
def close(context: Context, principal: Principal, given: Closing) -> Changed | Unchanged:
    """The months that were closed. They are those of the whole ledger, so only those who see all tenants may close them."""
    principal.must_see_all("periods.close closes the months of all tenants")
    closed = context.corrections.close(given.month, who=principal.who, why=given.why, dry_run=given.dry_run)
    if given.dry_run:
        return Unchanged({"closed": closed})
    return Changed({"closed": closed}, {"closed": []}, {"closed": closed, "why": given.why})
