"""Outcomes: saying how a trace came out, and what each success cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import OUTCOME_NOTE_CHARS_MAX, QUOTES_PER_REQUEST_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import PLACED, Instant, Name, Paged, TenantScoped, TraceId, Windowed, place_cursor
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.retention import pruned_until
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.outcome_reads import OutcomeQuery
    from otel_finops.insight.outcomes import Tally
    from otel_finops.insight.outcomes_given import Given, Saying

OutcomeName: TypeAlias = Literal["success", "failure", "none"]
_ORDER: Final = "outcomes.list"
_KINDS: Final = "The kind of outcome, e.g. ticket_resolved."
_TRACE: Final = "32 hex digits; the trace may still come."
_OUTCOME: Final = "success or failure; none takes back what was said before, so that the word of the trace's spans counts again."
_SUCCESS: Final[dict[str, bool | None]] = {"success": True, "failure": False, "none": None}


class Told(Input):
    """What is said beside how it came out."""

    name: Name = Field(default="task", min_length=1, description=_KINDS)
    tenant: Name | None = Field(
        default=None, min_length=1, description="Whose outcome it is; of the only tenant that it can be when not given."
    )
    at: Instant | None = Field(default=None, description="When it came out so; now when not given.")
    note: Annotated[str, Field(max_length=OUTCOME_NOTE_CHARS_MAX)] = Field(default="", description="Why, for people; kept as it is.")

    def of(self, trace_id: str, outcome: OutcomeName) -> Saying:
        """What is said of a trace."""
        from otel_finops.insight.outcomes_given import Saying  # noqa: PLC0415 - `--help` must not load the database rooms

        at_ns = None if self.at is None else parse_ns(self.at)
        return Saying(trace_id, self.name, _SUCCESS[outcome], self.tenant, at_ns, self.note)


class OneOutcome(Told):
    """How one trace came out."""

    trace_id: TraceId = Field(description=_TRACE)
    outcome: OutcomeName = Field(description=_OUTCOME)


def _several(given: Any) -> Any:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise ValueError("no JSON list of outcomes") from None
    if not isinstance(given, list) or not given:
        raise ValueError("write a list of outcomes, each an object as one alone would be")
    if len(given) > QUOTES_PER_REQUEST_MAX:
        raise ValueError(f"more than {QUOTES_PER_REQUEST_MAX} outcomes; send them in pieces")
    return given


class RecordInput(Told):
    """How one trace came out, or a list of traces."""

    trace_id: TraceId | None = Field(default=None, description=_TRACE, json_schema_extra=PLACED)
    outcome: OutcomeName | None = Field(default=None, description=_OUTCOME, json_schema_extra=PLACED)
    outcomes: Annotated[list[OneOutcome] | None, BeforeValidator(_several)] = Field(
        default=None, description=f"A list in place of one, at most {QUOTES_PER_REQUEST_MAX}; all of it is recorded, or nothing."
    )
    dry_run: bool = Field(default=False, description="Check everything and record nothing.")

    def sayings(self) -> list[Saying]:
        """All that is said.

        Raises:
            BadInput: one and a list, or neither.
        """
        if self.outcomes is not None:
            if self.trace_id is not None or self.outcome is not None:
                raise BadInput("outcomes: a list stands alone; put what is said of a trace into its object")
            return [one.of(one.trace_id, one.outcome) for one in self.outcomes]
        if self.trace_id is None or self.outcome is None:
            raise BadInput(f"{'outcome' if self.trace_id else 'trace_id'}: must be given, or a list of `outcomes`")
        return [self.of(self.trace_id, self.outcome)]


class Recorded(Output):
    """What became of it."""

    recorded: Count = Field(description="How much of it was new; the rest was said before. Of a dry run, how much would be.")


@operation(
    "outcomes.record",
    "outcomes",
    takes=RecordInput,
    output=Recorded,
    permission="ingest",
    feature="outcomes",
    changes=True,
    own_record=True,
    agents=False,
    summary="Say how traces came out, success or failure; it counts in place of what their spans say.",
)
def record(context: Context, principal: Principal, given: RecordInput) -> Json:
    """Saying the same twice changes nothing."""
    changed = context.outcomes.record(given.sayings(), principal.tenants, who=principal.who, dry_run=given.dry_run)
    return {"recorded": changed}


class OutcomesInput(TenantScoped, Paged):
    """Which of them."""

    trace_id: TraceId | None = Field(default=None, description="Only of this trace.")
    name: Name | None = Field(default=None, description=f"Only this kind. {_KINDS}")


class ShownOutcome(Output):
    """What somebody said of a trace."""

    no: int
    trace_id: str
    tenant: str
    name: str
    outcome: OutcomeName = Field(description="none: what was said before was taken back.")
    at: At
    note: str
    who: str
    recorded_at: At
    stands: bool = Field(description="It counts; false: somebody said otherwise since, or took it back.")


class OutcomePage(Output):
    """What was said, newest first."""

    outcomes: list[ShownOutcome]
    next_cursor: str | None


@operation(
    "outcomes.list",
    "outcomes",
    takes=OutcomesInput,
    output=OutcomePage,
    permission="view",
    feature="outcomes",
    summary="List what was said of how traces came out, newest first.",
)
def listed(context: Context, principal: Principal, given: OutcomesInput) -> Json:
    """Of the principal's tenants; what spans say is in `outcomes.report`."""
    place = given.place(_ORDER)
    found = context.outcomes.given(given.tenants(principal), given.trace_id, given.name, place[0] if place else None, given.limit + 1)
    page = found[: given.limit]
    more = place_cursor(_ORDER, [page[-1].no]) if len(found) > given.limit else None
    return {"outcomes": [_shown(one) for one in page], "next_cursor": more}


def _shown(one: Given) -> dict[str, Any]:
    return {
        "no": one.no,
        "trace_id": one.trace_id,
        "tenant": one.tenant,
        "name": one.name,
        "outcome": "none" if one.success is None else "success" if one.success else "failure",
        "at": format_ns(one.at_ns),
        "note": one.note,
        "who": one.who,
        "recorded_at": format_ns(one.recorded_ns),
        "stands": one.stands,
    }


# --- what it cost ----------------------------------------------------------------------------------------------------


class OutcomeWindow(Windowed, TenantScoped):
    """Which outcomes."""

    from_: Instant | None = Field(default=None, alias="from", description="Outcomes of this instant or later; a date is midnight UTC.")
    to: Instant | None = Field(default=None, description="Outcomes before this instant.")
    name: Name | None = Field(default=None, description=f"Only this kind. {_KINDS}")

    def query(self, principal: Principal) -> OutcomeQuery:
        """What is asked for.

        Raises:
            BadInput: the window ends before it begins.
        """
        from otel_finops.insight.outcome_reads import OutcomeQuery  # noqa: PLC0415 - `--help` must not load the database rooms

        window = self.window()
        query = OutcomeQuery(self.tenants(principal), name=self.name)
        return query._replace(
            from_ns=query.from_ns if window.from_ns is None else window.from_ns,
            to_ns=query.to_ns if window.to_ns is None else window.to_ns,
        )


class ReportInput(OutcomeWindow):
    """Which outcomes, and by what they are grouped."""

    group_by: str = Field(
        default="",
        max_length=200,
        description="Comma-separated, any of name, tenant, agent, workflow, service, environment, provider, model, day; nothing for one "
        "sum. An outcome to which calls of several models led has no provider and no model.",
    )


class OutcomeSums(Output):
    """Attempts and what they cost, whether they succeeded or not."""

    attempts: Count
    successes: Count
    failures: Count
    success_rate: float | None = Field(ge=0, le=1, description="Null: there were no attempts.")
    cost_usd: Usd = Field(description="Of all attempts, retries and failures included; with unpriced calls it is at least that.")
    failed_usd: Usd = Field(description="Of the failures among them.")
    calls: Count
    failed_calls: Count
    unpriced_calls: Count
    tokens: Count
    usd_per_attempt: Usd | None
    usd_per_success: Usd | None = Field(description="What all attempts cost, for each success; null without any.")


class OutcomeGroup(OutcomeSums):
    """One group."""

    key: dict[str, str | None]


class OutcomeReportShown(Output):
    """Groups, the dearest first."""

    groups: list[OutcomeGroup]
    total: OutcomeSums = Field(description="A trace with outcomes of several kinds is in it once for each: ask for one, or group by name.")
    without_cost: Count = Field(description="Outcomes of traces of which nothing is booked (yet); they are in no sum.")
    spend_usd: Usd = Field(description="What all calls of the same time and tenants cost, whether their traces have outcomes or not.")
    pruned_until: At | None = Field(
        description="What spans said of traces before this was pruned and is in no outcome, while spend_usd has their cost; null: none was."
    )


@operation(
    "outcomes.report",
    "outcomes/report",
    takes=ReportInput,
    output=OutcomeReportShown,
    permission="view",
    feature="outcomes",
    summary="Show how often work succeeds, and what each success costs with all failures and retries.",
)
def report(context: Context, principal: Principal, given: ReportInput) -> Json:
    """Outcomes of the principal's tenants."""
    group_by = tuple(dict.fromkeys(name.strip() for name in given.group_by.split(",") if name.strip()))
    query = given.query(principal)
    found = context.outcomes.report(query, group_by)
    return {
        "groups": [{"key": dict(zip(group_by, key, strict=True)), **outcome_sums(tally)} for key, tally in found.groups],
        "total": outcome_sums(found.total),
        "without_cost": found.without_cost,
        "spend_usd": format_usd(context.outcomes.spent(query)),
        "pruned_until": pruned_until(context, given.window()),
    }


def outcome_sums(tally: Tally) -> dict[str, Any]:
    """Sums as answers show them."""
    return {
        "attempts": tally.attempts,
        "successes": tally.successes,
        "failures": tally.attempts - tally.successes,
        "success_rate": tally.successes / tally.attempts if tally.attempts else None,
        "cost_usd": format_usd(tally.whole.pico),
        "failed_usd": format_usd(tally.failed.pico),
        "calls": tally.whole.calls,
        "failed_calls": tally.whole.failed_calls,
        "unpriced_calls": tally.whole.unpriced_calls,
        "tokens": tally.whole.tokens,
        "usd_per_attempt": None if tally.per_attempt is None else format_usd(tally.per_attempt),
        "usd_per_success": None if tally.per_success is None else format_usd(tally.per_success),
    }
