"""What searches for traces, runs and sessions ask and answer; values only, so that surfaces start without a database toolkit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

Tenants: TypeAlias = Collection[str] | None
"""Whose spans are read; None for everyone's."""

SORTS: Final = ("cost", "calls", "tokens", "started")
"""By what traces are ordered, greatest first."""


class TraceQuery(NamedTuple):
    """Which traces; sums cover the selected calls only.

    Attributes:
        tenants: whose; None for everyone's.
        from_ns, to_ns: start of the calls, from inclusive, to exclusive; None for open.
        filters: equality with `ledger.tables.DIMENSIONS`, or with the clear id of a `user` or `session`.
        failed: only calls that failed, or only those that did not; None for both.
        min_pico: only traces whose selected calls cost that much together; None for all.
        sort: one of `SORTS`.
        after: `TracePage.next` of the page before, None for the first page.
    """

    tenants: Tenants
    from_ns: int | None = None
    to_ns: int | None = None
    filters: Mapping[str, str] = {}
    sort: str = "cost"
    after: tuple[int, ...] | None = None
    limit: int = 100
    failed: bool | None = None
    min_pico: int | None = None


class TraceSummary(NamedTuple):
    """A trace with the sums over its selected calls; `started_ns` is the earliest of them."""

    trace_id: str
    realm: str
    started_ns: int
    cost_pico: int
    calls: int
    tokens: int
    unpriced_calls: int


class TraceLabel(NamedTuple):
    """What a trace is called, of all its calls that are to be seen.

    Attributes:
        name, service, error_type: of the first run that lies in no other; None: there is none.
        agents: of its runs, by their first start.
        duration_ns: from the start of the first call to the end of the last.
    """

    name: str | None
    service: str | None
    agents: Sequence[str]
    error_type: str | None
    failed_calls: int
    duration_ns: int


class TracePage(NamedTuple):
    """Some traces, and the place behind which the next page begins (None: there is none)."""

    traces: Sequence[TraceSummary]
    next: tuple[int, ...] | None


RUN_SORTS: Final = ("started", "cost", "duration", "calls")
RUN_FILTERS: Final = ("agent", "workflow", "service", "environment", "user", "session")
SESSION_SORTS: Final = ("last", "cost", "calls", "tokens")


class RunQuery(NamedTuple):
    """Which runs.

    Attributes:
        tenants: whose runs, and whose calls are summed; None for everyone's.
        from_ns, to_ns: start of the run, from inclusive, to exclusive; None for open.
        filters: equality with `RUN_FILTERS`; users and sessions by their clear ids.
        failed: only those that failed, or only those that did not; None for both.
        min_pico: cost at least.
        top: only those that lie in no other run.
        sort: one of `RUN_SORTS`, greatest first.
        after: `RunPage.next` of the page before.
    """

    tenants: Tenants
    from_ns: int | None = None
    to_ns: int | None = None
    filters: Mapping[str, str] = {}
    failed: bool | None = None
    min_pico: int | None = None
    top: bool = False
    sort: str = "started"
    after: tuple[int, ...] | None = None
    limit: int = 100


class RunSummary(NamedTuple):
    """A run with its sums over the calls of the tenants asked for; `own_` is what lies in no run below it.

    Attributes:
        parent_run: span id of the nearest run above; None: it lies in no other run.
        user, session: clear ids; references of erased ones.
        error_type: of the run's own span; None: it did not fail.
        finish_reason: why the last answer ended, None where nobody says.
        children: runs right below.
    """

    trace_id: str
    span_id: str
    realm: str
    parent_run: str | None
    tenant: str
    kind: str
    name: str
    agent: str | None
    workflow: str | None
    service: str | None
    environment: str | None
    user: str | None
    session: str | None
    started_ns: int
    duration_ns: int
    error_type: str | None
    finish_reason: str | None
    children: int
    calls: int
    failed_calls: int
    unpriced_calls: int
    tokens: int
    tools: int
    failed_tools: int
    cost_pico: int
    own_calls: int
    own_pico: int


class RunPage(NamedTuple):
    """Some runs, and the place behind which the next page begins (None: there is none)."""

    runs: Sequence[RunSummary]
    next: tuple[int, ...] | None


class LinkedRun(NamedTuple):
    """A run, or a span in no run, that a span link connects with a run.

    Attributes:
        direction: `to` what the run's spans link to, `from` what links to the run's spans.
        trace_id, span_id: of the other end's run, else of the linked span itself.
        run: that span is a run's.
        name, kind: of that span, None when it is not known.
        cost_pico, calls, tokens: over it and everything below it.
    """

    direction: str
    trace_id: str
    span_id: str
    run: bool
    name: str | None
    kind: str | None
    agent: str | None
    cost_pico: int
    calls: int
    tokens: int


class SessionQuery(NamedTuple):
    """Which sessions: those with calls in traces that began in [from_ns, to_ns); sums cover these traces.

    Attributes:
        tenants: whose; None for everyone's.
        user: clear id; None for any.
        sort: one of `SESSION_SORTS`, greatest first.
        after: `SessionPage.next` of the page before.
    """

    tenants: Tenants
    from_ns: int | None = None
    to_ns: int | None = None
    user: str | None = None
    sort: str = "last"
    after: tuple[int | str, ...] | None = None
    limit: int = 100


class SessionSummary(NamedTuple):
    """A session with the sums over its calls.

    Attributes:
        session: clear id; the reference where it was erased.
        tenants, users: of its calls, sorted; users in clear.
        runs: runs of agents and workflows in it.
        first_ns, last_ns: start of its first and end of its last call.
    """

    session: str
    realm: str | None
    tenants: Sequence[str]
    users: Sequence[str]
    traces: int
    runs: int
    calls: int
    failed_calls: int
    unpriced_calls: int
    tokens: int
    cost_pico: int
    first_ns: int
    last_ns: int


class SessionPage(NamedTuple):
    """Some sessions, and the place behind which the next page begins (None: there is none)."""

    sessions: Sequence[SessionSummary]
    next: tuple[int | str, ...] | None


class SessionTrace(NamedTuple):
    """What a trace added to a session; `so_far_pico` is the session's cost with it and all traces before it."""

    trace_id: str
    started_ns: int
    ended_ns: int
    calls: int
    failed_calls: int
    unpriced_calls: int
    tokens: int
    cost_pico: int
    so_far_pico: int


class SessionCourse(NamedTuple):
    """A session with a page of its traces, first to last."""

    summary: SessionSummary
    traces: Sequence[SessionTrace]
    next: tuple[int, ...] | None
