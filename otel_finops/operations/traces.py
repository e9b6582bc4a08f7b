"""What traces cost: one as a tree, many by their cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from otel_finops.base.errors import NotFound
from otel_finops.base.limits import LABEL_AGENTS_MAX, REPORTED_USD_MAX, TREE_NODES_MAX
from otel_finops.base.money import PICO_PER_USD, format_usd
from otel_finops.base.times import NS_PER_MS, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import CallFilters, Name, Paged, SpanId, TenantScoped, TraceId, Windowed, given_filters, place_cursor
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.retention import pruned_hint
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.trees.chosen import Choice
from otel_finops.trees.cost_tree import collector_paused, to_json
from otel_finops.trees.queries import TraceLabel, TraceQuery, TraceSummary


class TraceShow(Input):
    """Which trace."""

    trace_id: TraceId = Field(description="32 hex digits.")
    sums_only: bool = Field(default=False, description="Leave all nodes out: what the trace and its steps cost is enough.")
    sort: Literal["tree", "cost", "duration"] = Field(
        default="tree",
        description="Which nodes come first where `limit` leaves some out: tree, the first ones; cost or duration, those that "
        "with all below them cost most or that last longest, each with everything above it. They stand depth first in any case.",
    )
    limit: int | None = Field(default=None, ge=1, le=TREE_NODES_MAX, description="So many nodes at most; sums cover all.")
    skip: int = Field(default=0, ge=0, le=TREE_NODES_MAX, description="Of sort tree: so many nodes come before the first.")
    below: SpanId | None = Field(default=None, description="Only the nodes that are this span and what lies below it.")
    span: SpanId | None = Field(
        default=None,
        description="Of sort cost or duration: this span is among the nodes, with as many of those above it as half of `limit`.",
    )


class TraceRest(Output):
    """Nodes that are left out."""

    nodes: Count
    usd: Usd


class TraceNode(Output):
    """One span. `calls`, `tokens` and `subtree_usd` cover the span and everything below it."""

    span_id: str
    parent_span_id: str | None
    name: str | None
    kind: Literal["agent", "workflow", "call", "tool", "other"]
    role: str | None
    own_usd: Usd | None
    subtree_usd: Usd
    calls: Count
    tokens: Count
    agent: str | None
    step: str | None
    tool: str | None
    started_at: At
    duration_ms: float | None
    notes: list[str]
    depth: Count = Field(description="0 for roots.")
    model: str | None = Field(description="That the span names.")
    error_type: str | None = Field(description="Of a span that failed.")
    gathered: TraceRest | None = Field(default=None, description="What below it is left out of the nodes; not there where nothing is.")


class TraceTotal(Output):
    """The calls of one agent, tool or model."""

    name: str | None = Field(description="Null: of calls without one.")
    usd: Usd
    calls: Count
    tokens: Count


class TraceStep(Output):
    """The calls of one step of one agent."""

    step: str | None
    agent: str | None
    usd: Usd
    calls: Count
    tokens: Count


class TraceTree(Output):
    """A trace with its costs; nodes depth first, siblings by start."""

    trace_id: str
    total_usd: Usd
    unpriced_calls: Count
    pending: bool
    spans: Count
    calls: Count
    tokens: Count
    failed_spans: Count = Field(description="Spans that say that they failed.")
    started_at: At
    duration_ms: float = Field(description="From the first beginning to the last end.")
    copies: dict[str, Count] = Field(description="By role, spans that repeat calls which are counted by themselves; they cost nothing.")
    dearest: str | None = Field(description="The span that itself costs most.")
    agents: list[TraceTotal] = Field(description="Dearest first; they add up to the total, as tools and models do.")
    tools: list[TraceTotal]
    models: list[TraceTotal]
    nodes: list[TraceNode]
    steps: list[TraceStep]
    omitted_nodes: Count = Field(default=0, description="Nodes that are left out, as of a very large trace; sums cover them.")
    gathered: TraceRest | None = Field(default=None, description="What is left out beside the topmost nodes; not there where nothing is.")


@operation(
    "traces.show",
    "traces/{trace_id}",
    takes=TraceShow,
    output=TraceTree,
    permission="view",
    feature="traces",
    summary="Show what every agent, step, tool and call of a trace cost.",
)
def show(context: Context, principal: Principal, given: TraceShow) -> Json:
    """The tree, or NotFound when nothing of the trace belongs to the principal's tenants."""
    choice = Choice(given.sort, given.limit, given.skip, given.below, given.span)
    with collector_paused():
        tree = context.reads.trace(given.trace_id, principal.tenants, choice)
        if tree is None:
            raise NotFound(f"There is no trace {given.trace_id}.{pruned_hint(context)}")
        return to_json(tree.without_nodes() if given.sums_only else tree)


class WhoseCalls(Input):
    """Selects by whose calls they are."""

    user: Name | None = Field(default=None, description="Only calls of this user, by the id that the application sent.")
    session: Name | None = Field(default=None, description="Only calls of this session, by the id that the application sent.")


class TraceSearch(Windowed, TenantScoped, CallFilters, WhoseCalls, Paged):
    """Which traces."""

    status: Literal["failed", "ok"] | None = Field(default=None, description="Only calls that failed, or that did not.")
    min_cost_usd: Decimal | None = Field(
        default=None,
        ge=0,
        le=REPORTED_USD_MAX * 1000,
        max_digits=19,
        decimal_places=12,
        description="Only traces whose selected calls cost this much or more.",
    )
    sort: Literal["cost", "calls", "tokens", "started"] = Field(
        default="cost", description="Greatest first: cost, calls, tokens or started."
    )


class TraceLine(Output):
    """A trace and the sums over those of its calls that were selected."""

    trace_id: str
    realm: str
    started_at: At
    cost_usd: Usd
    calls: Count
    tokens: Count
    unpriced_calls: Count
    name: str | None = Field(description="Of the run that holds the others; null: there is none, or it is not settled yet.")
    service: str | None = Field(description="Of that run.")
    error_type: str | None = Field(description="Of that run, where it failed.")
    agents: list[str] = Field(description=f"Of all its runs, {LABEL_AGENTS_MAX} at most.")
    failed_calls: Count = Field(description="Of all its calls, whichever are selected.")
    duration_ms: float | None = Field(description="From its first call to the end of its last, whichever are selected.")


class TraceList(Output):
    """A page of traces."""

    traces: list[TraceLine]
    next_cursor: str | None


@operation(
    "traces.search",
    "traces",
    takes=TraceSearch,
    output=TraceList,
    permission="view",
    feature="traces",
    summary="Find traces, the most expensive first.",
)
def search(context: Context, principal: Principal, given: TraceSearch) -> Json:
    """A page of traces; the cursor is a place in the order, so that what arrives meanwhile shifts no page."""
    window, filters = given.window(), given_filters(given, CallFilters, WhoseCalls)
    failed = None if given.status is None else given.status == "failed"
    least = None if given.min_cost_usd is None else int(given.min_cost_usd * PICO_PER_USD)
    tenants = given.tenants(principal)
    place = given.place(given.sort)
    query = TraceQuery(tenants, window.from_ns, window.to_ns, filters, given.sort, place, given.limit, failed, least)
    page = context.reads.traces(query)
    labels = context.reads.labels([one.trace_id for one in page.traces], tenants)
    return {
        "traces": [_line(one, labels.get((one.realm, one.trace_id))) for one in page.traces],
        "next_cursor": page.next and place_cursor(given.sort, page.next),
    }


def _line(one: TraceSummary, label: TraceLabel | None) -> dict[str, Any]:
    return {
        "trace_id": one.trace_id,
        "realm": one.realm,
        "started_at": format_ns(one.started_ns),
        "cost_usd": format_usd(one.cost_pico),
        "calls": one.calls,
        "tokens": one.tokens,
        "unpriced_calls": one.unpriced_calls,
        "name": label and label.name,
        "service": label and label.service,
        "error_type": label and label.error_type,
        "agents": list(label.agents) if label else [],
        "failed_calls": label.failed_calls if label else 0,
        "duration_ms": None if label is None else label.duration_ns / NS_PER_MS,
    }
