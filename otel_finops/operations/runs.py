"""Runs: what one invocation of an agent or a workflow did and cost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from otel_finops.base.errors import NotFound
from otel_finops.base.limits import REPORTED_USD_MAX
from otel_finops.base.money import PICO_PER_USD, format_usd
from otel_finops.base.times import NS_PER_MS, format_ns
from otel_finops.genai.usage import total_tokens
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, RunId, TenantScoped, Windowed, given_filters, place_cursor
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.trees.queries import LinkedRun, RunQuery, RunSummary

if TYPE_CHECKING:
    from otel_finops.trees.runs import RunCall, RunLine, RunStep, RunTool

_STATUS = "`failed`: the run's own span says so; `ok` otherwise."


class RunFilters(Input):
    """Selects by what a run says of itself."""

    agent: Name | None = Field(default=None, description="Only this agent.")
    workflow: Name | None = Field(default=None, description="Only this workflow.")
    service: Name | None = Field(default=None, description="Only this service.")
    environment: Name | None = Field(default=None, description="Only this environment.")
    user: Name | None = Field(default=None, description="Only this user, by the id that the application sent.")
    session: Name | None = Field(default=None, description="Only this session, by the id that the application sent.")


class RunList(Windowed, TenantScoped, RunFilters, Paged):
    """Which runs."""

    status: Literal["failed", "ok"] | None = Field(default=None, description=f"Only these. {_STATUS}")
    min_cost_usd: Decimal | None = Field(
        default=None,
        ge=0,
        le=REPORTED_USD_MAX * 1000,
        max_digits=19,
        decimal_places=12,
        description="Only runs that cost this much or more.",
    )
    top: bool = Field(default=False, description="Only runs that lie in no other run.")
    sort: Literal["started", "cost", "duration", "calls"] = Field(
        default="started", description="Greatest first: started, cost, duration or calls."
    )


class RunRow(Output):
    """A run with its sums over its own calls and those of all runs below; `own_` is what lies in no run below it."""

    run_id: str = Field(description="`TRACE_ID-SPAN_ID`.")
    trace_id: str
    span_id: str
    parent_run_id: str | None = Field(description="The nearest run above; null: it lies in no other run.")
    realm: str
    tenant: str
    kind: Literal["agent", "workflow"]
    name: str
    agent: str | None
    workflow: str | None
    service: str | None
    environment: str | None
    user: str | None
    session: str | None
    status: Literal["failed", "ok"] = Field(description=_STATUS)
    error_type: str | None
    finish_reason: str | None = Field(description="Why the run's last answer ended, as the provider says; null where nobody says.")
    started_at: At
    duration_ms: float
    cost_usd: Usd
    own_cost_usd: Usd
    calls: Count
    own_calls: Count
    failed_calls: Count
    unpriced_calls: Count
    tokens: Count
    tools: Count = Field(description="Uses of tools.")
    failed_tools: Count
    runs: Count = Field(description="Runs right below it.")


class RunsPage(Output):
    """A page of runs."""

    runs: list[RunRow]
    next_cursor: str | None


@operation(
    "runs.list",
    "runs",
    takes=RunList,
    output=RunsPage,
    permission="view",
    feature="runs",
    summary="List runs of agents and workflows, the newest first.",
)
def listed(context: Context, principal: Principal, given: RunList) -> Json:
    """A page of runs; runs of traces that are not settled yet are not among them."""
    window = given.window()
    query = RunQuery(
        given.tenants(principal),
        window.from_ns,
        window.to_ns,
        given_filters(given, RunFilters),
        None if given.status is None else given.status == "failed",
        None if given.min_cost_usd is None else int(given.min_cost_usd * PICO_PER_USD),
        given.top,
        given.sort,
        given.place(f"runs {given.sort}"),
        given.limit,
    )
    page = context.trees.runs(query)
    return {"runs": [_row(one) for one in page.runs], "next_cursor": page.next and place_cursor(f"runs {given.sort}", page.next)}


def _row(one: RunSummary) -> dict[str, Any]:
    return {
        "run_id": run_id(one.trace_id, one.span_id),
        "trace_id": one.trace_id,
        "span_id": one.span_id,
        "parent_run_id": None if one.parent_run is None else run_id(one.trace_id, one.parent_run),
        "realm": one.realm,
        "tenant": one.tenant,
        "kind": one.kind,
        "name": one.name,
        "agent": one.agent,
        "workflow": one.workflow,
        "service": one.service,
        "environment": one.environment,
        "user": one.user,
        "session": one.session,
        **_figures(one),
        "runs": one.children,
    }


def _figures(one: RunSummary | RunLine) -> dict[str, Any]:
    """What a run did and cost, in lists and in what is shown of one run."""
    return {
        "status": _status(one.error_type),
        "error_type": one.error_type,
        "finish_reason": one.finish_reason,
        "started_at": format_ns(one.started_ns),
        "duration_ms": one.duration_ns / NS_PER_MS,
        "cost_usd": format_usd(one.cost_pico),
        "own_cost_usd": format_usd(one.own_pico),
        "calls": one.calls,
        "own_calls": one.own_calls,
        "failed_calls": one.failed_calls,
        "unpriced_calls": one.unpriced_calls,
        "tokens": one.tokens,
        "tools": one.tools,
        "failed_tools": one.failed_tools,
    }


def run_id(trace_id: str, span_id: str) -> str:
    """The id of a run: its trace's and its span's."""
    return f"{trace_id}-{span_id}"


def _status(error_type: str | None) -> str:
    return "ok" if error_type is None else "failed"


# --- one run ---------------------------------------------------------------------------------------------------------


class RunShow(Input):
    """Which run."""

    run_id: RunId = Field(description="`TRACE_ID-SPAN_ID`: 32 and 16 hex digits, as `runs list` prints it.")


class RunStepRow(Output):
    """The calls of one step of one agent; the steps of a run add up to its cost."""

    step: str | None
    agent: str | None
    usd: Usd
    calls: Count
    tokens: Count
    failed_calls: Count
    started_at: At


class RunToolRow(Output):
    """How a tool was used; a use that two libraries saw counts once."""

    tool: str
    uses: Count
    failures: Count
    duration_ms: float = Field(description="Of all uses together.")
    usd: Usd = Field(description="Of the model calls below its uses.")
    calls: Count
    errors: dict[str, Count] = Field(description="How often it failed, by error.")


class RunCallRow(Output):
    """A call of the run or of a run below."""

    span_id: str
    run_id: str = Field(description="The nearest run above it.")
    name: str | None
    tenant: str
    step: str | None
    tool: str | None
    operation: str | None
    provider: str | None
    request_model: str | None
    response_model: str | None
    usage: dict[str, int]
    tokens: Count
    cost_usd: Usd | None
    cost_method: str | None
    unpriced_reason: str | None
    finish_reasons: list[str]
    error_type: str | None
    started_at: At
    duration_ms: float | None


class RunFailureRow(Output):
    """Something below the run that failed."""

    span_id: str
    kind: Literal["call", "tool", "agent", "workflow"]
    name: str | None
    error_type: str
    started_at: At


class RunBelow(Output):
    """A run below, at any depth; depth 1 is right below."""

    run_id: str
    parent_run_id: str
    depth: Count
    kind: Literal["agent", "workflow"]
    name: str
    agent: str | None
    workflow: str | None
    status: Literal["failed", "ok"]
    error_type: str | None
    finish_reason: str | None
    started_at: At
    duration_ms: float
    cost_usd: Usd
    own_cost_usd: Usd
    calls: Count
    own_calls: Count
    failed_calls: Count
    unpriced_calls: Count
    tokens: Count
    tools: Count
    failed_tools: Count


class Linked(Output):
    """A run that a span link connects with this one, e.g. one to which it handed over; its cost is not part of this run's."""

    direction: Literal["to", "from"] = Field(description="`to`: this run's spans link there. `from`: it links to this run's spans.")
    run_id: str | None = Field(description="Null where the linked span lies in no run.")
    trace_id: str
    span_id: str
    kind: str | None
    name: str | None
    agent: str | None
    cost_usd: Usd
    calls: Count
    tokens: Count


class RunDetail(Output):
    """One run in full; sums are those of the trace's cost tree."""

    run_id: str
    trace_id: str
    span_id: str
    parent_run_id: str | None
    tenant: str | None = Field(description="Null until the trace is settled, like service, environment, user and session.")
    kind: Literal["agent", "workflow"]
    name: str
    agent: str | None
    workflow: str | None
    service: str | None
    environment: str | None
    user: str | None
    session: str | None
    status: Literal["failed", "ok"] = Field(description=_STATUS)
    error_type: str | None
    finish_reason: str | None
    started_at: At
    duration_ms: float
    pending: bool = Field(description="Spans of the trace wait for being settled.")
    cost_usd: Usd
    own_cost_usd: Usd
    calls: Count
    own_calls: Count
    failed_calls: Count
    unpriced_calls: Count
    tokens: Count
    tools_used: Count
    failed_tools: Count
    steps: list[RunStepRow]
    tools: list[RunToolRow]
    model_calls: list[RunCallRow]
    failures: list[RunFailureRow]
    runs: list[RunBelow] = Field(description="Runs below at every depth, depth first.")
    linked: list[Linked]
    omitted: dict[str, Count] = Field(description="Of lists that are too long: how many are left out. Sums cover them.")


@operation(
    "runs.show",
    "runs/{run_id}",
    takes=RunShow,
    output=RunDetail,
    permission="view",
    feature="runs",
    summary="Show one run: steps, tools, calls, failures, and the runs below it.",
)
def show(context: Context, principal: Principal, given: RunShow) -> Json:
    """The run, or NotFound when there is none for the principal's tenants."""
    trace_id, span_id = given.run_id.split("-")
    shown = context.trees.run(trace_id, span_id, principal.tenants)
    if shown is None:
        raise NotFound(f"There is no run {given.run_id}; `runs list` names them.")
    view, row = shown.view, shown.row
    line = _line(trace_id, view.line)
    del line["depth"]
    return {
        **line,
        "tools_used": line["tools"],
        "trace_id": trace_id,
        "span_id": span_id,
        "tenant": None if row is None else row.tenant,
        "service": None if row is None else row.service,
        "environment": None if row is None else row.environment,
        "user": None if row is None else row.user,
        "session": None if row is None else row.session,
        "pending": shown.pending,
        "steps": [_step(one) for one in view.steps],
        "tools": [_tool(one) for one in view.tools],
        "model_calls": [_call(trace_id, one) for one in view.calls],
        "failures": [
            {
                "span_id": one.span_id,
                "kind": one.kind,
                "name": one.name,
                "error_type": one.error_type,
                "started_at": format_ns(one.started_ns),
            }
            for one in view.failures
        ],
        "runs": [_line(trace_id, one) for one in view.runs],
        "linked": [_linked(one) for one in shown.linked],
        "omitted": dict(view.omitted),
    }


def _line(trace_id: str, one: RunLine) -> dict[str, Any]:
    return {
        "run_id": run_id(trace_id, one.span_id),
        "parent_run_id": None if one.parent_run is None else run_id(trace_id, one.parent_run),
        "depth": one.depth,
        "kind": one.kind,
        "name": one.name,
        "agent": one.agent,
        "workflow": one.workflow,
        **_figures(one),
    }


def _step(one: RunStep) -> dict[str, Any]:
    return {
        "step": one.step,
        "agent": one.agent,
        "usd": format_usd(one.pico),
        "calls": one.calls,
        "tokens": one.tokens,
        "failed_calls": one.failed_calls,
        "started_at": format_ns(one.started_ns),
    }


def _tool(one: RunTool) -> dict[str, Any]:
    return {
        "tool": one.tool,
        "uses": one.uses,
        "failures": one.failures,
        "duration_ms": one.duration_ns / NS_PER_MS,
        "usd": format_usd(one.pico),
        "calls": one.calls,
        "errors": dict(sorted(one.errors.items())),
    }


def _call(trace_id: str, one: RunCall) -> dict[str, Any]:
    entry = one.entry
    return {
        "span_id": entry.span_id,
        "run_id": run_id(trace_id, one.run),
        "name": one.name,
        "tenant": entry.tenant,
        "step": entry.step,
        "tool": entry.tool,
        "operation": entry.operation,
        "provider": entry.provider,
        "request_model": entry.request_model,
        "response_model": entry.response_model,
        "usage": entry.usage,
        "tokens": total_tokens(entry.usage),
        "cost_usd": None if entry.cost_pico is None else format_usd(entry.cost_pico),
        "cost_method": entry.cost_method,
        "unpriced_reason": entry.unpriced_reason,
        "finish_reasons": list(one.finish_reasons),
        "error_type": entry.error_type,
        "started_at": format_ns(entry.started_ns),
        "duration_ms": None if entry.duration_ns is None else entry.duration_ns / NS_PER_MS,
    }


def _linked(one: LinkedRun) -> dict[str, Any]:
    return {
        "direction": one.direction,
        "run_id": run_id(one.trace_id, one.span_id) if one.run else None,
        "trace_id": one.trace_id,
        "span_id": one.span_id,
        "kind": one.kind,
        "name": one.name,
        "agent": one.agent,
        "cost_usd": format_usd(one.cost_pico),
        "calls": one.calls,
        "tokens": one.tokens,
    }
