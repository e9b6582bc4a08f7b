"""Whether the ledger agrees with the bill: capture rates, and the gap by cause."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_DAY, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, NoInput, TenantScoped, Windowed
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.capture import CaptureRate
    from otel_finops.insight.reconcile import Verdict
    from otel_finops.insight.reconciliation import Cell, Reconciled
    from otel_finops.insight.twins import Teller

_CELLS: Final = 100
_CELLS_MAX: Final = 5_000


class CauseShown(Output):
    """A part of the gap."""

    cause: str
    meaning: str
    usd: Usd = Field(description="Negative where the ledger has more than the bill.")


class Sides(Output):
    """The two sides of something."""

    billed_usd: Usd
    booked_usd: Usd
    gap_usd: Usd = Field(description="Billed less booked; negative: the ledger has more than the bill.")
    capture_rate: float | None = Field(description="Booked of billed: 1 is all of it, more is too much; null: nothing was billed.")


class Compared(Sides):
    """The two sides of something, and the gap by cause."""

    causes: dict[str, Usd] = Field(description="USD by cause; they add up to the gap, to the last digit.")


class DayCompared(Compared):
    """A day, or a longer stretch where the bill has no days."""

    from_: At = Field(alias="from")
    to: At


class ModelCompared(Compared):
    """A model."""

    model: str | None = Field(description="As the bill names it, else as the ledger does; null: lines that name none.")


class CellCompared(DayCompared):
    """A model in a stretch of time."""

    model: str | None
    on_bill: bool = Field(description="False: the bill has no such model in that time.")
    requests: int | None = Field(description="Calls on the bill, where it tells.")
    calls: Count = Field(description="Standing calls that a provider bills.")
    unpriced_calls: Count = Field(description="Of those, with counts and without a price.")
    missing_usage_calls: Count = Field(description="Of those, without counts, estimated ones included.")
    cut_streams: Count = Field(description="Of those, cut off or timed out, without counts.")
    failed_calls: Count = Field(description="Calls answered with an error, which cost nothing; not among the calls.")
    covered_calls: Count = Field(description="Calls that a flat fee pays; left out.")


class Reconciliation(Sides):
    """A bill held against the ledger."""

    causes: list[CauseShown] = Field(description="They add up to the gap, to the last digit.")

    name: str
    tenant: str | None = Field(description="Whose calls it is for; null: all tenants'.")
    provider: str
    currencies: list[str] = Field(description="Of the bill; amounts are in USD at the rates of their days.")
    times: list[dict[str, At]] = Field(description="What was compared: whole days of which the bill tells everything.")
    ledger_exceeds_bill: bool = Field(description="The ledger has more than the bill: an error too.")
    other_usd: Usd = Field(description="Fees, taxes and credits on the bill, which no call explains; in no other figure.")
    open_lines: Count = Field(description="Lines of days that were not over when they were imported; in no other figure.")
    valued: bool = Field(description="The bill has counts alone, of which the amounts are made with the ledger's prices.")
    days: list[DayCompared]
    models: list[ModelCompared] = Field(description="Largest gap first.")
    cells: list[CellCompared] = Field(description="Models by day, largest gap first.")
    cells_left_out: Count = Field(description="Further ones, of smaller or no gaps.")


class ReconcileQuery(Windowed):
    """Which bill."""

    name: Name | None = Field(default=None, description="The bill's name; may be left out where there is but one.")
    tenant: Name | None = Field(default=None, description="Whose bill, where several tenants have one of that name.")
    cells: int = Field(default=_CELLS, ge=0, le=_CELLS_MAX, description="How many models by day are shown.")


@operation(
    "reconcile.report",
    "reconciliation",
    takes=ReconcileQuery,
    output=Reconciliation,
    permission="view",
    feature="reconciliation",
    summary="Hold a bill against the ledger: capture rate by day and model, and the gap by cause.",
)
def report(context: Context, principal: Principal, given: ReconcileQuery) -> Json:
    """From roll-ups, so that it takes no longer for a large ledger; bills with searches and the like read those calls."""
    window = given.window()
    tenant, name = _named(context, principal, given)
    return _shown(context.bills.reconcile(tenant, name, window.from_ns, window.to_ns), given.cells)


class TwinQuery(Windowed, TenantScoped):
    """Which calls; those of the last day when no time is given."""

    provider: Name | None = Field(default=None, description="Only of this provider family, e.g. openai.")
    model: Name | None = Field(default=None, description="Only of this model: the response's, else the request's, as sent.")


class TwinTeller(Output):
    """Who told of a call."""

    at: At
    realm: str = Field(description="The tenant of the sender's credential.")
    service: str | None
    trace_id: str


class TwinShown(Output):
    """Two calls that may be one."""

    model: str | None
    usd: Usd = Field(description="What the later one cost.")
    first: TwinTeller
    second: TwinTeller


class TwinsShown(Output):
    """Calls that may have been booked twice."""

    calls: Count = Field(description="The later ones of all pairs.")
    usd: Usd = Field(description="What these cost.")
    looked_at: Count = Field(description="Standing calls with counts in that time.")
    examples: list[TwinShown] = Field(description="The dearest pairs.")


@operation(
    "reconcile.twins",
    "reconciliation/twins",
    takes=TwinQuery,
    output=TwinsShown,
    permission="view",
    feature="reconciliation",
    summary="Find calls that may have been booked twice: equal counts at the same time, told by two services or senders.",
)
def twins(context: Context, principal: Principal, given: TwinQuery) -> Json:
    """Where the ledger has more than the bill, these are the first to look at; calls of one service that are equal are real."""
    window = given.window()
    to_ns = context.clock.now_ns() if window.to_ns is None else window.to_ns
    from_ns = max(0, to_ns - NS_PER_DAY) if window.from_ns is None else window.from_ns
    filters = {name: value for name in ("provider", "model") if (value := getattr(given, name)) is not None}
    found = context.bills.twins(given.tenants(principal), from_ns, to_ns, filters)
    return {
        "calls": found.calls,
        "usd": format_usd(found.cost_pico),
        "looked_at": found.looked_at,
        "examples": [
            {"model": one.model or None, "usd": format_usd(one.second.cost_pico), "first": _told(one.first), "second": _told(one.second)}
            for one in found.examples
        ],
    }


def _told(one: Teller) -> dict[str, Any]:
    return {"at": format_ns(one.started_ns), "realm": one.realm, "service": one.service or None, "trace_id": one.trace_id}


class Captured(Compared):
    """How a bill compared when that was last looked at."""

    name: str
    tenant: str | None
    provider: str
    from_: At = Field(alias="from")
    to: At
    at: At


class CaptureRates(Output):
    """All bills that one may see."""

    rates: list[Captured]


@operation(
    "reconcile.rates",
    "reconciliation/rates",
    takes=NoInput,
    output=CaptureRates,
    permission="view",
    feature="reconciliation",
    summary="Show how each bill compared with the ledger when that was last looked at.",
)
def rates(context: Context, principal: Principal, given: NoInput) -> Json:
    """What the metric finops_capture_rate and alerts are made of."""
    return {"rates": [_captured(one) for one in context.bills.rates(principal.tenants)]}


class Ran(Output):
    """What came of holding every bill against the ledger."""

    rates: list[Captured]
    faults: list[str] = Field(description="Bills that could not be compared, and why.")


class RunInput(Input):
    """Whether it is to be kept."""

    dry_run: bool = Field(default=False, description="Compare, and keep nothing.")


@operation(
    "reconcile.run",
    "reconciliation/run",
    takes=RunInput,
    output=Ran,
    permission="manage",
    feature="reconciliation",
    changes=True,
    runs=True,
    summary="Hold every bill against the ledger now, as the clock does, and keep the capture rates.",
)
def run(context: Context, principal: Principal, given: RunInput) -> Changed | Unchanged:
    """All bills; bills of tenants are nobody else's to see."""
    principal.must_see_all("reconcile.run compares the bills of all tenants")
    found, faults = context.bills.run(dry_run=given.dry_run)
    answer = {"rates": [_captured(one) for one in found], "faults": list(faults)}
    if given.dry_run:
        return Unchanged(answer)
    return Changed(answer, None, {"bills": len(found), "faults": list(faults)})


def _named(context: Context, principal: Principal, given: ReconcileQuery) -> tuple[str, str]:
    """Tenant and name of the bill that is asked for."""
    found = [
        (tenant, name)
        for tenant, name in context.bills.names(principal.tenants)
        if given.name in (None, name) and given.tenant in (None, tenant)
    ]
    if not found:
        named = "" if given.name is None else f" {given.name[:60]!r}"
        raise NotFound(f"There is no bill{named}; import one (bills.import).")
    if len(found) > 1 and given.name is not None and given.tenant is None:
        found = [one for one in found if not one[0]] or found
    if len(found) > 1:
        said = ", ".join(sorted({name if not tenant else f"{name} (tenant {tenant})" for tenant, name in found})[:20])
        raise BadInput(f"name, tenant: say which bill: {said}")
    return found[0]


def _shown(found: Reconciled, cells: int) -> Json:
    from otel_finops.insight.reconcile import MEANINGS  # noqa: PLC0415 - `--help` must not load the database rooms

    label, total = found.label, found.total
    ordered = sorted(found.cells, key=lambda cell: (-abs(cell.verdict.gap_pico), cell.from_ns, cell.model))
    models = _grouped(found.cells, lambda cell: cell.model)
    return {
        "name": label.name,
        "tenant": label.tenant or None,
        "provider": label.provider,
        "currencies": list(found.currencies),
        "times": [{"from": format_ns(start), "to": format_ns(end)} for start, end in found.times],
        "ledger_exceeds_bill": total.gap_pico < 0,
        "other_usd": format_usd(found.other_pico),
        "open_lines": found.open_lines,
        "valued": total.valued,
        **_sides(total),
        "causes": [{"cause": cause, "meaning": MEANINGS[cause], "usd": format_usd(pico)} for cause, pico in total.causes.items()],
        "days": [
            {"from": format_ns(span[0]), "to": format_ns(span[1]), **_compared(verdict)}
            for span, verdict in sorted(_grouped(found.cells, lambda cell: (cell.from_ns, cell.to_ns)).items())
        ],
        "models": [
            {"model": model or None, **_compared(verdict)}
            for model, verdict in sorted(models.items(), key=lambda one: (-abs(one[1].gap_pico), one[0]))
        ],
        "cells": [_cell(cell) for cell in ordered[:cells]],
        "cells_left_out": max(0, len(ordered) - cells),
    }


def _grouped(cells: Iterable[Cell], key: Callable[[Cell], Any]) -> Mapping[Any, Verdict]:
    from otel_finops.insight.reconcile import added  # noqa: PLC0415 - `--help` must not load the database rooms

    groups: dict[Any, list[Verdict]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell.verdict)
    return {name: added(verdicts) for name, verdicts in groups.items()}


def _cell(cell: Cell) -> dict[str, Any]:
    ledger = cell.ledger
    return {
        "from": format_ns(cell.from_ns),
        "to": format_ns(cell.to_ns),
        "model": cell.model or None,
        "on_bill": cell.bill is not None,
        "requests": None if cell.bill is None else cell.bill.requests,
        "calls": ledger.billable,
        "unpriced_calls": ledger.unpriced,
        "missing_usage_calls": ledger.missing + ledger.estimated,
        "cut_streams": ledger.cut,
        "failed_calls": ledger.failed,
        "covered_calls": cell.covered,
        **_compared(cell.verdict),
    }


def _compared(verdict: Verdict | CaptureRate) -> dict[str, Any]:
    return {**_sides(verdict), "causes": {cause: format_usd(pico) for cause, pico in verdict.causes.items()}}


def _sides(verdict: Verdict | CaptureRate) -> dict[str, Any]:
    from otel_finops.insight.reconciliation import capture_rate  # noqa: PLC0415 - `--help` must not load the database rooms

    return {
        "billed_usd": format_usd(verdict.billed_pico),
        "booked_usd": format_usd(verdict.booked_pico),
        "gap_usd": format_usd(verdict.billed_pico - verdict.booked_pico),
        "capture_rate": capture_rate(verdict),
    }


def _captured(one: CaptureRate) -> dict[str, Any]:
    return {
        "name": one.name,
        "tenant": one.tenant or None,
        "provider": one.provider,
        "from": format_ns(one.from_ns),
        "to": format_ns(one.to_ns),
        "at": format_ns(one.at_ns),
        **_compared(one),
    }
