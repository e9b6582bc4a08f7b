"""Sessions: what conversations cost, as senders name them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, TenantScoped, Windowed, place_cursor, place_of
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.trees.queries import SessionQuery, SessionSummary

_COURSE = "session traces"


class SessionList(Windowed, TenantScoped, Paged):
    """Which sessions: those with traces in the window, by the trace's first call; sums cover these traces."""

    user: Name | None = Field(default=None, description="Only calls of this user, by the id that the application sent.")
    sort: Literal["last", "cost", "calls", "tokens"] = Field(
        default="last", description="Greatest first: last (end of the last call), cost, calls or tokens."
    )


class SessionRow(Output):
    """A session with the sums over its calls."""

    session: str = Field(description="As the application names it; a reference where that was erased.")
    realm: str | None = Field(description="Null where one name stands in several realms.")
    tenants: list[str]
    users: list[str] = Field(description="The first 20 at most.")
    traces: Count
    runs: Count
    calls: Count
    failed_calls: Count
    unpriced_calls: Count
    tokens: Count
    cost_usd: Usd
    first_at: At
    last_at: At


class SessionsPage(Output):
    """A page of sessions."""

    sessions: list[SessionRow]
    next_cursor: str | None


@operation(
    "sessions.list",
    "sessions",
    takes=SessionList,
    output=SessionsPage,
    permission="view",
    feature="sessions",
    summary="List sessions, the latest first.",
)
def listed(context: Context, principal: Principal, given: SessionList) -> Json:
    """A page of sessions."""
    window, order = given.window(), f"sessions {given.sort}"
    query = SessionQuery(
        given.tenants(principal), window.from_ns, window.to_ns, given.user, given.sort, place_of(given.cursor, order, refs=1), given.limit
    )
    page = context.trees.sessions(query)
    return {"sessions": [_row(one) for one in page.sessions], "next_cursor": page.next and place_cursor(order, page.next)}


def _row(one: SessionSummary) -> dict[str, Any]:
    return {
        "session": one.session,
        "realm": one.realm,
        "tenants": list(one.tenants),
        "users": list(one.users),
        "traces": one.traces,
        "runs": one.runs,
        "calls": one.calls,
        "failed_calls": one.failed_calls,
        "unpriced_calls": one.unpriced_calls,
        "tokens": one.tokens,
        "cost_usd": format_usd(one.cost_pico),
        "first_at": format_ns(one.first_ns),
        "last_at": format_ns(one.last_ns),
    }


# --- one session -----------------------------------------------------------------------------------------------------


class SessionShow(TenantScoped, Paged):
    """Which session, and which page of its traces."""

    session: Name = Field(min_length=1, description="The session, by the id that the application sent.")


class SessionTraceRow(Output):
    """What a trace added to the session."""

    trace_id: str
    name: str | None = Field(description="Of the run that holds the others; null: there is none.")
    first_at: At
    last_at: At
    calls: Count
    failed_calls: Count
    unpriced_calls: Count
    tokens: Count
    cost_usd: Usd
    so_far_usd: Usd = Field(description="The session's cost with this trace and all before it.")


class SessionDetail(SessionRow):
    """A session, and the course that its cost took from trace to trace."""

    course: list[SessionTraceRow] = Field(description="The first trace first.")
    next_cursor: str | None


@operation(
    "sessions.show",
    "sessions/show",
    takes=SessionShow,
    output=SessionDetail,
    permission="view",
    feature="sessions",
    summary="Show what a session cost, trace by trace.",
)
def show(context: Context, principal: Principal, given: SessionShow) -> Json:
    """The session, or NotFound when nothing of it belongs to the principal's tenants.

    Its name is a parameter and no part of the path: applications name sessions as they like, with slashes too.
    """
    after = given.place(_COURSE)
    if after is not None and len(after) != 2:
        raise BadInput("cursor: not a next_cursor of this operation; leave it out to begin with the first page")
    tenants = given.tenants(principal)
    found = context.trees.session(given.session, tenants, after, given.limit)
    if found is None:
        raise NotFound("There is no such session; `sessions list` names them.")
    labels = {trace_id: one for (_, trace_id), one in context.reads.labels([one.trace_id for one in found.traces], tenants).items()}
    course = [
        {
            "trace_id": one.trace_id,
            "name": labels[one.trace_id].name if one.trace_id in labels else None,
            "first_at": format_ns(one.started_ns),
            "last_at": format_ns(one.ended_ns),
            "calls": one.calls,
            "failed_calls": one.failed_calls,
            "unpriced_calls": one.unpriced_calls,
            "tokens": one.tokens,
            "cost_usd": format_usd(one.cost_pico),
            "so_far_usd": format_usd(one.so_far_pico),
        }
        for one in found.traces
    ]
    return {**_row(found.summary), "course": course, "next_cursor": found.next and place_cursor(_COURSE, found.next)}
