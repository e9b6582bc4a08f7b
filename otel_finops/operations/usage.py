"""The ledger's rows, a page at a time, and the whole history of one span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from otel_finops.base.errors import NotFound
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, SpanId, TenantScoped, TraceId, Windowed, given_filters
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.retention import pruned_until
from otel_finops.operations.shapes import At, Count
from otel_finops.trees import notes

if TYPE_CHECKING:
    from otel_finops.ledger.correction_runs import CorrectionRun
    from otel_finops.ledger.history import Step


class RowFilters(Input):
    """Selects by what a row says."""

    trace_id: TraceId | None = Field(default=None, description="Only rows of this trace.")
    kind: Literal["charge", "reversal", "correction", "adjustment", "reattribution"] | None = Field(
        default=None, description="Only this kind."
    )
    role: Literal["call", "duplicate", "wrapper", "gateway_copy"] | None = Field(default=None, description="Only this role.")
    provider: Name | None = Field(default=None, description="Only this provider family.")
    operation: Name | None = Field(default=None, description="Only this operation.")
    model: Name | None = Field(default=None, description="Only this model: the response's, else the request's, as sent.")
    request_model: Name | None = Field(default=None, description="Only this model asked for.")
    response_model: Name | None = Field(default=None, description="Only this model that answered.")
    status: Literal["failed", "ok"] | None = Field(default=None, description="Only rows of calls that failed, or of those that did not.")
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
    service_tier: Name | None = Field(default=None, description="Only this service tier, e.g. flex.")
    region: Name | None = Field(default=None, description="Only this region.")
    tag: Name | None = Field(default=None, description="Only rows with this tag, as `KEY=VALUE`.")


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


class UsageShow(Input):
    """Which span."""

    trace_id: TraceId = Field(description="32 hex digits.")
    span_id: SpanId = Field(description="16 hex digits.")
    realm: Name | None = Field(default=None, description="Only in this realm, where several have such a span.")


class CorrectedBy(Output):
    """The run of corrections that wrote a row."""

    run: int
    verb: str
    who: str
    why: str
    at: At


class Change(Output):
    """What a row changed of what stood."""

    field: str
    before: Any
    after: Any


class HistoryRow(Output):
    """One row of the span, and why it was written."""

    entry: dict[str, Any]
    why: str
    changed: list[Change]
    corrected_by: CorrectedBy | None


class CountedHere(Output):
    """Another span that shows the same call."""

    span_id: str
    role: str
    rule: str | None


class UsageHistory(Output):
    """A span's rows in the order in which they were booked."""

    trace_id: str
    span_id: str
    realm: str
    other_realms: list[str] = Field(description="Further realms that have such a span; give one as `realm`.")
    standing: dict[str, Any] | None = Field(description="What stands now, as one charge; null when all was taken back.")
    counts: list[CountedHere] = Field(description="Spans of the same trace that are counted in this one.")
    notes: list[str]
    revisions: Count
    history: list[HistoryRow]


@operation(
    "usage.show",
    "usage/{trace_id}/{span_id}",
    takes=UsageShow,
    output=UsageHistory,
    permission="view",
    feature="usage",
    summary="Show one call with its whole history: what was charged, taken back and corrected, and why.",
)
def history(context: Context, principal: Principal, given: UsageShow) -> Json:
    """The span's rows, or NotFound when there are none for the principal's tenants."""
    from otel_finops.ledger.rows import to_contract  # noqa: PLC0415 - `--help` must not load the database rooms

    found = context.trees.history(given.trace_id, given.span_id, principal.tenants, given.realm)
    if found is None:
        raise NotFound(f"The ledger has no row of span {given.span_id} of trace {given.trace_id}.")
    last = found.steps[-1]
    realm = last.entry.realm
    return {
        "trace_id": given.trace_id,
        "span_id": given.span_id,
        "realm": realm,
        "other_realms": [one for one in found.realms if one != realm],
        "standing": None if last.after is None else to_contract(last.after),
        "counts": [{"span_id": one.span_id, "role": one.role, "rule": one.role_rule} for one in found.counted],
        "notes": list(notes.of(found.sighting, last.after, None)),
        "revisions": len(found.steps),
        "history": [_step(step) for step in found.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    from otel_finops.ledger.history import changed  # noqa: PLC0415 - as above
    from otel_finops.ledger.rows import to_contract  # noqa: PLC0415

    told = []
    if step.before is not None and step.after is not None:
        before, after = to_contract(step.before), to_contract(step.after)
        names = [_CONTRACT_NAMES.get(name, name) for name in changed(step)]
        told = [{"field": name, "before": before[name], "after": after[name]} for name in names]
    return {
        "entry": to_contract(step.entry),
        "why": _why(step),
        "changed": told,
        "corrected_by": None if step.run is None else _corrected_by(step.run),
    }


_CONTRACT_NAMES = {"cost_pico": "cost_usd"}


def _why(step: Step) -> str:
    """Why a row was written, in a sentence."""
    entry = step.entry
    if entry.kind == "charge":
        first = "First seen as" if entry.revision == 0 else "Booked anew as"
        return f"{first} {_ROLES.get(entry.role, entry.role)}{_rule(entry.role_rule)}{_price(step)}."
    if entry.kind == "reversal":
        return f"Takes back {entry.reverses}, because later spans told it otherwise."
    if entry.kind == "reattribution":
        return "Moves it to the attribution that later spans told; no money moves."
    if step.run is not None:
        return f"{step.run.asked.verb.capitalize()} by {step.run.asked.who}: {step.run.asked.why}."
    return "Adds what later spans told of it." if entry.kind == "correction" else "Adjusts its cost."


_ROLES = {
    "call": "a call",
    "duplicate": "another sighting of a call",
    "wrapper": "a sum of calls",
    "gateway_copy": "a gateway's copy of a call",
}


def _rule(rule: str | None) -> str:
    if rule is None or rule == notes.ONLY_SIGHTING:
        return ""
    return f" by rule {rule}" + (f" ({notes.RULES[rule]})" if rule in notes.RULES else "")


def _price(step: Step) -> str:
    entry = step.entry
    if entry.role != "call":
        return ""
    if entry.unpriced_reason is not None:
        return f", without a price: {notes.UNPRICED.get(entry.unpriced_reason, entry.unpriced_reason)}"
    by = "" if entry.price_key is None else f" by {entry.price_key} of price version {entry.price_version}"
    return f", {entry.cost_method}{by}"


def _corrected_by(run: CorrectionRun) -> dict[str, Any]:
    asked = run.asked
    return {"run": run.run_no, "verb": asked.verb, "who": asked.who, "why": asked.why, "at": format_ns(asked.started_ns)}
