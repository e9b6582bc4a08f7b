"""Anomalies: what of spend is out of the ordinary, what drives it, and what people say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlencode

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import ANOMALY_WHY_CHARS_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import (
    NAMED,
    CallFilters,
    Instant,
    Name,
    Paged,
    TenantScoped,
    Windowed,
    given_filters,
    page_of,
    place_cursor,
)
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.anomaly_scan import Looked
    from otel_finops.insight.anomaly_store import Finding, Mute, Note, State
    from otel_finops.insight.anomaly_watch import Outcome
    from otel_finops.trees.queries import TraceSummary

ScopeName: TypeAlias = Literal["global", "tenant", "model", "agent", "cost_center"]
StepName: TypeAlias = Literal["day", "hour"]
StateName: TypeAlias = Literal["open", "acked", "cleared", "standing", "all"]
Why: TypeAlias = Annotated[str, Field(max_length=ANOMALY_WHY_CHARS_MAX)]
DriverName: TypeAlias = Literal[
    "new_tenant", "new_agent", "new_model", "volume", "model_mix", "price", "tokens_per_call", "cache_hits", "unknown"
]  # fmt: skip
_STATES: Final[Mapping[StateName, tuple[State, ...]]] = {
    "open": ("open",), "acked": ("acked",), "cleared": ("cleared",), "standing": ("open", "acked"), "all": ("open", "acked", "cleared"),
}  # fmt: skip
_LIST: Final = "anomalies.list"
_TRACES: Final = 10
_DRY: Final = "Only say what would be done."
_NUMBER: Final[Any] = Field(ge=1, le=2**53, description="Its number, as anomalies.list shows it.")


class DriverDetail(Output):
    """A part of a driver; names are null where they are not known, or where it is about several."""

    amount_usd: Usd
    tenant: str | None
    agent: str | None
    provider: str | None
    model: str | None
    unit: str | None = Field(description="Of a price, or what a call takes more of: output, prompt, web_searches, ...")
    before: str | None = Field(
        description="What is usual: calls; USD a unit (price), units a call (tokens_per_call), share of prompts (cache_hits)."
    )
    after: str | None = Field(description="What it is in the time in question.")
    text: str


class DriverSum(Output):
    """What of the difference is due to one kind of cause."""

    kind: DriverName
    amount_usd: Usd


class DriverShown(DriverSum):
    """The same with its largest parts."""

    details: list[DriverDetail] = Field(description="The largest parts, at most five.")


class NoteShown(Output):
    """What somebody said of it."""

    verb: Literal["ack", "reopen"]
    why: str
    who: str
    at: At


class AnomalyRow(Output):
    """A day or an hour of spend that stands out."""

    no: int
    scope: ScopeName
    tenant: str | None = Field(description="Null: all tenants together.")
    name: str | None = Field(description="Of the model, agent or cost centre.")
    step: StepName
    from_: At = Field(alias="from")
    to: At
    running: bool = Field(description="It was not over when it was last looked at: it can only become more.")
    state: Literal["open", "acked", "cleared"] = Field(description="cleared: late calls or corrections made it ordinary.")
    muted: bool = Field(description="A mute covers it: nobody is told of it.")
    value_usd: Usd
    expected_usd: Usd = Field(description="What would have been usual.")
    difference_usd: Usd
    spread_usd: Usd = Field(description="One robust standard deviation.")
    score: float = Field(description="By how many of them it lies above what was expected.")
    compared_with: Count = Field(description="How many other days or hours.")
    calls: Count
    drivers: list[DriverSum] | None = Field(description="They add up to the difference exactly. Null: not worked out yet.")
    text: str = Field(description="One or two sentences.")
    found_at: At
    seen_at: At = Field(description="When the figures were last worked out.")
    cleared_at: At | None
    note: NoteShown | None = Field(description="What was last said of it.")


class Anomaly(AnomalyRow):
    """The same with the parts of its drivers."""

    drivers: list[DriverShown] | None = Field(  # type: ignore[assignment]  # each is a DriverSum, and nobody adds to an answer's list
        description="They add up to the difference exactly. Null: not worked out yet."
    )


class AnomalyQuery(TenantScoped, Windowed, Paged):
    """Which anomalies."""

    scope: ScopeName | None = Field(default=None, description="Only of this kind.")
    name: Name | None = Field(default=None, description="Only of this model, agent or cost centre.")
    step: StepName | None = Field(default=None, description="Only days, or only hours.")
    state: StateName = Field(default="standing", description="standing: open and acked.")


class AnomalyPage(Output):
    """A page of them, newest first."""

    anomalies: list[AnomalyRow]
    next_cursor: str | None


@operation(
    _LIST,
    "anomalies",
    takes=AnomalyQuery,
    output=AnomalyPage,
    permission="view",
    feature="anomalies",
    summary="List days and hours of spend that stand out, newest first, with what drives them.",
)
def listed(context: Context, principal: Principal, given: AnomalyQuery) -> Json:
    """Who sees all tenants sees those of everything together, too."""
    from otel_finops.insight.anomaly_store import Wanted  # noqa: PLC0415 - `--help` must not load the database rooms

    window = given.window()
    wanted = Wanted(
        principal.tenants, given.scope, given.tenant, given.name, given.step, _STATES[given.state], *window, given.place(_LIST),
        given.limit + 1,
    )  # fmt: skip
    found, mutes = context.anomalies.page(wanted)
    page = found[: given.limit]
    more = place_cursor(_LIST, (page[-1].start_ns, page[-1].no)) if len(found) > given.limit else None
    return {"anomalies": [_row(context, one, mutes) for one in page], "next_cursor": more}


class AnomalyNumber(Input):
    """Which one."""

    no: int = _NUMBER


class AnomalyTrace(Output):
    """A trace; sums are of the calls that belong to the anomaly."""

    trace_id: str
    cost_usd: Usd
    calls: Count
    tokens: Count
    started_at: At


class AnomalyShown(Output):
    """An anomaly, what was said of it, and where to look on."""

    anomaly: Anomaly
    notes: list[NoteShown] = Field(description="Oldest first.")
    traces: list[AnomalyTrace] = Field(description="The dearest ones, at most ten.")
    traces_path: str = Field(description="All of them: a path below the API, for traces.search.")


@operation(
    "anomalies.show",
    "anomalies/{no}",
    takes=AnomalyNumber,
    output=AnomalyShown,
    permission="view",
    feature="anomalies",
    summary="Show an anomaly with its drivers and its dearest traces.",
)
def show(context: Context, principal: Principal, given: AnomalyNumber) -> Json:
    """One of them."""
    found, notes, mutes = context.anomalies.find(given.no, principal.tenants)
    return {
        "anomaly": _shown(context, found, mutes),
        "notes": [_note(one) for one in notes],
        "traces": [_trace(one) for one in context.anomalies.traces(found, _TRACES)],
        "traces_path": _traces_path(found),
    }


class Acknowledgement(AnomalyNumber):
    """What is said of it."""

    why: Why = Field(default="", description="For people; kept as it is.")
    dry_run: bool = Field(default=False, description=_DRY)


class AnomalyAnswer(Output):
    """The anomaly as it is now."""

    anomaly: Anomaly
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


@operation(
    "anomalies.ack",
    "anomalies/{no}/ack",
    takes=Acknowledgement,
    output=AnomalyAnswer,
    permission="manage",
    feature="anomalies",
    changes=True,
    summary="Acknowledge an anomaly: somebody knows of it, and nobody is told again.",
)
def ack(context: Context, principal: Principal, given: Acknowledgement) -> Changed | Unchanged:
    """Its figures go on following what comes late."""
    return _noted(context, principal, given, "ack")


@operation(
    "anomalies.reopen",
    "anomalies/{no}/reopen",
    takes=Acknowledgement,
    output=AnomalyAnswer,
    permission="manage",
    feature="anomalies",
    changes=True,
    summary="Take back that an anomaly was acknowledged.",
)
def reopen(context: Context, principal: Principal, given: Acknowledgement) -> Changed | Unchanged:
    """It is open again."""
    return _noted(context, principal, given, "reopen")


class NewMute(Input):
    """What is not to be told."""

    tenant: Name | None = Field(
        default=None, min_length=1, description="Whose anomalies; all that there are when not given, by those who see all tenants."
    )
    scope: ScopeName | None = Field(default=None, description="Only of this kind.")
    name: Name | None = Field(default=None, min_length=1, description="Only of this model, agent or cost centre.")
    step: StepName | None = Field(default=None, description="Only days, or only hours.")
    until: Instant | None = Field(default=None, description="Until then; for good when not given.")
    why: Why = Field(default="", description="For people; kept as it is.")
    dry_run: bool = Field(default=False, description=_DRY)


class MuteShown(Output):
    """A mute."""

    no: int | None = Field(description="Null: of a dry run.")
    tenant: str | None = Field(description="Null: of all tenants.")
    scope: str | None
    name: str | None
    step: str | None
    until: At | None
    why: str
    who: str
    since: At


@operation(
    "anomalies.mute",
    "anomalies/mutes",
    takes=NewMute,
    output=MuteShown,
    permission="manage",
    feature="anomalies",
    changes=True,
    summary="Mute anomalies of a tenant, model, agent or cost centre: they are found and listed, and nobody is told.",
)
def mute(context: Context, principal: Principal, given: NewMute) -> Changed | Unchanged:
    """It holds for what is found from now on and for what stands already."""
    from otel_finops.insight.anomaly_store import Mute  # noqa: PLC0415 - `--help` must not load the database rooms

    now_ns = context.clock.now_ns()
    until_ns = None if given.until is None else parse_ns(given.until)
    if until_ns is not None and until_ns <= now_ns:
        raise BadInput("until: lies in the past")
    tenant = _whose(principal, given.tenant)
    wanted = Mute(0, tenant, given.scope or "", given.name or "", given.step or "", until_ns, given.why, principal.who, now_ns)
    made = context.anomalies.mute(wanted, dry_run=given.dry_run)
    if given.dry_run:
        return Unchanged(_mute(made._replace(no=0)))
    return Changed(_mute(made), None, _mute(made), None if tenant == ANY_TENANT else tenant)


class Mutes(Output):
    """A page of those that hold, oldest first."""

    mutes: list[MuteShown]
    next_cursor: str | None


@operation(
    "anomalies.mutes",
    "anomalies/mutes",
    takes=Paged,
    output=Mutes,
    permission="view",
    feature="anomalies",
    summary="List the mutes of anomalies that hold.",
)
def mutes(context: Context, principal: Principal, given: Paged) -> Json:
    """Those of all tenants are everybody's to see."""
    page, more = page_of(context.anomalies.mutes(principal.tenants), given, "anomalies.mutes", lambda one: (one.no,))
    return {"mutes": [_mute(one) for one in page], "next_cursor": more}


class MuteNumber(Input):
    """Which mute."""

    no: int = Field(ge=1, le=2**53, description="The mute's number, as anomalies.mutes shows it.")
    dry_run: bool = Field(default=False, description=_DRY)


@operation(
    "anomalies.unmute",
    "anomalies/mutes/{no}/end",
    takes=MuteNumber,
    output=MuteShown,
    permission="manage",
    feature="anomalies",
    changes=True,
    summary="End a mute of anomalies.",
)
def unmute(context: Context, principal: Principal, given: MuteNumber) -> Changed | Unchanged:
    """The mute as it was."""
    ended = context.anomalies.unmute(given.no, principal.tenants, who=principal.who, dry_run=given.dry_run)
    answer = _mute(ended)
    return Unchanged(answer) if given.dry_run else Changed(answer, answer, None, None if ended.tenant == ANY_TENANT else ended.tenant)


class Look(Input):
    """How far back."""

    days: int | None = Field(
        default=None, ge=0, le=366, description="The last days, the running one included; anomalies.look_back when not given."
    )
    hours: int | None = Field(default=None, ge=0, le=744, description="The last hours, the running one included; six when not given.")
    dry_run: bool = Field(default=False, description="Only say how many stand out.")


class LookDone(Output):
    """What it came to."""

    judged: Count = Field(description="Series: tenants, models, agents, cost centres and everything together, days and hours apart.")
    standing: Count = Field(description="Days and hours that stand out.")
    new: Count
    renewed: Count = Field(description="Whose figures changed.")
    cleared: Count = Field(description="That stand out no more.")
    left: Count = Field(description="That are stored by the next look, since there were too many.")


@operation(
    "anomalies.run",
    "anomalies/run",
    takes=Look,
    output=LookDone,
    permission="manage",
    feature="anomalies",
    changes=True,
    runs=True,
    agents=False,
    summary="Look for anomalies now, as it is done by the clock.",
)
def run(context: Context, principal: Principal, given: Look) -> Changed | Unchanged:
    """What is found is stored once; looking twice changes nothing."""
    principal.must_see_all("anomalies.run looks at the spend of all tenants")
    done = _looked(context.anomalies.run(given.days, given.hours, dry_run=given.dry_run))
    return Unchanged(done) if given.dry_run else Changed(done, None, done)


class CourseQuery(TenantScoped, CallFilters):
    """Whose course."""

    step: StepName = Field(default="day", description="Days as the display's zone has them, or hours.")
    last: int = Field(default=30, ge=1, le=366, description="So many, the running one included.")


class CoursePiece(Output):
    """A day or an hour, judged."""

    from_: At = Field(alias="from")
    to: At
    running: bool
    value_usd: Usd
    calls: Count
    expected_usd: Usd | None = Field(description="Null, like the next ones: there is too little to compare it with.")
    spread_usd: Usd | None
    score: float | None
    stands_out: bool


class Course(Output):
    """In order of time."""

    pieces: list[CoursePiece]


@operation(
    "anomalies.course",
    "anomalies/course",
    takes=CourseQuery,
    output=Course,
    permission="view",
    feature="anomalies",
    summary="Show the days or hours of any group with what was expected of each, and whether it stands out.",
)
def course(context: Context, principal: Principal, given: CourseQuery) -> Json:
    """Judged as anomalies are, and nothing is stored."""
    from otel_finops.insight.anomaly_scan import Times  # noqa: PLC0415 - `--help` must not load the database rooms

    filters = {name: (value,) for name, value in given_filters(given, CallFilters).items()}
    times = Times(given.step, context.clock.now_ns(), given.last, context.zone)
    return {"pieces": [_piece(one) for one in context.anomalies.course(given.tenants(principal), filters, times)]}


class ExplainQuery(TenantScoped, CallFilters):
    """Which time, beside which other one."""

    from_: Instant = Field(
        alias="from", description="Calls that started at this instant or later; a date is midnight UTC.", json_schema_extra=NAMED
    )
    to: Instant = Field(description="Calls that started before this instant.", json_schema_extra=NAMED)
    against_from: Instant | None = Field(default=None, description="The other time; the same length of time before when not given.")
    against_to: Instant | None = Field(default=None, description="Its end; where the first time begins when not given.")

    def spans(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Both times; raises BadInput for one that does not end after it begins."""
        span = parse_ns(self.from_), parse_ns(self.to)
        end = span[0] if self.against_to is None else parse_ns(self.against_to)
        against = max(0, end - (span[1] - span[0])) if self.against_from is None else parse_ns(self.against_from), end
        for name, one in (("to", span), ("against_to", against)):
            if one[1] <= one[0]:
                raise BadInput(f"{name}: lies not after the beginning of that time")
        return span, against


class Explained(Output):
    """Why one time cost another amount than the other."""

    value_usd: Usd
    calls: Count
    against_usd: Usd
    against_calls: Count
    expected_usd: Usd = Field(description="What the other time cost, for as long a time as the first one.")
    difference_usd: Usd
    drivers: list[DriverShown] = Field(description="They add up to the difference exactly.")
    text: str


@operation(
    "anomalies.explain",
    "anomalies/explain",
    takes=ExplainQuery,
    output=Explained,
    permission="view",
    feature="anomalies",
    summary="Take apart why a time cost another amount than another one: volume, model mix, price, tokens per call, cache hits, newcomers.",
)
def explain(context: Context, principal: Principal, given: ExplainQuery) -> Json:
    """Of any group; two times of different length are compared by what they cost in the length of the first one."""
    from otel_finops.insight.anomaly_words import drivers_json, sentence  # noqa: PLC0415 - as above
    from otel_finops.ledger.spend import Question  # noqa: PLC0415 - as above

    filters = {name: (value,) for name, value in given_filters(given, CallFilters).items()}
    found = context.anomalies.compare(Question(given.tenants(principal), filters=filters), *given.spans())
    drivers = drivers_json(found.drivers)
    return {
        "value_usd": format_usd(found.value),
        "calls": found.calls,
        "against_usd": format_usd(found.against),
        "against_calls": found.against_calls,
        "expected_usd": format_usd(found.expected),
        "difference_usd": format_usd(found.value - found.expected),
        "drivers": drivers,
        "text": sentence(found.value, found.expected, drivers),
    }


def _noted(context: Context, principal: Principal, given: Acknowledgement, verb: Literal["ack", "reopen"]) -> Changed | Unchanged:
    from otel_finops.insight.anomaly_store import Note  # noqa: PLC0415 - `--help` must not load the database rooms

    said = Note(verb, given.why, principal.who, context.clock.now_ns())
    before, after = context.anomalies.note(given.no, principal.tenants, said, dry_run=given.dry_run)
    answer = {"anomaly": _shown(context, after, context.anomalies.mutes(None)), "changed": after != before and not given.dry_run}
    if not answer["changed"]:
        return Unchanged(answer)
    tenant = None if after.scope.tenant == ANY_TENANT else after.scope.tenant
    return Changed(answer, _state(before), _state(after), tenant)


def _state(one: Finding) -> dict[str, Any]:
    return {"no": one.no, "state": one.state, "why": one.note.why if one.note else ""}


def _whose(principal: Principal, named: str | None) -> str:
    """Whose anomalies are muted: those of the tenant that is named, else of the only one that the principal sees."""
    if named in (None, ANY_TENANT):
        if principal.tenants is None:
            return ANY_TENANT
        if len(principal.tenants) == 1:
            return principal.tenants[0]
        raise BadInput("tenant: must be given, one of those that the token is for")
    principal.must_see(str(named))
    return str(named)


def _shown(context: Context, one: Finding, mutes: Iterable[Mute]) -> dict[str, Any]:
    from otel_finops.insight.anomaly_words import said_of, sentence  # noqa: PLC0415 - `--help` must not load the database rooms

    now_ns = context.clock.now_ns()
    whose = said_of(one.scope.kind, one.scope.tenant, one.scope.name)
    when = f"{one.step} of {format_ns(one.start_ns)[: 13 if one.step == 'hour' else 10]}"
    return {
        "no": one.no,
        "scope": one.scope.kind,
        "tenant": None if one.scope.tenant == ANY_TENANT else one.scope.tenant,
        "name": one.scope.name or None,
        "step": one.step,
        "from": format_ns(one.start_ns),
        "to": format_ns(one.end_ns),
        "running": one.is_running,
        "state": one.state,
        "muted": any(mute.covers(one, now_ns) for mute in mutes),
        "value_usd": format_usd(one.value),
        "expected_usd": format_usd(one.expected),
        "difference_usd": format_usd(one.value - one.expected),
        "spread_usd": format_usd(one.spread),
        "score": round(one.score, 2),
        "compared_with": one.points,
        "calls": one.calls,
        "drivers": one.drivers,
        "text": f"{whose[0].upper()}{whose[1:]}, {when}: {sentence(one.value, one.expected, one.drivers)}",
        "found_at": format_ns(one.found_ns),
        "seen_at": format_ns(one.seen_ns),
        "cleared_at": None if one.cleared_ns is None else format_ns(one.cleared_ns),
        "note": None if one.note is None else _note(one.note),
    }


def _row(context: Context, one: Finding, mutes: Iterable[Mute]) -> dict[str, Any]:
    """Without the parts of its drivers."""
    sums = None if one.drivers is None else [{name: driver[name] for name in DriverSum.model_fields} for driver in one.drivers]
    return {**_shown(context, one, mutes), "drivers": sums}


def _note(note: Note) -> dict[str, Any]:
    return {"verb": note.verb, "why": note.why, "who": note.who, "at": format_ns(note.at_ns)}


def _trace(one: TraceSummary) -> dict[str, Any]:
    return {
        "trace_id": one.trace_id,
        "cost_usd": format_usd(one.cost_pico),
        "calls": one.calls,
        "tokens": one.tokens,
        "started_at": format_ns(one.started_ns),
    }


def _traces_path(one: Finding) -> str:
    named = {name: value for name, allowed in one.scope.filters.items() for value in allowed}
    return "traces?" + urlencode({**named, "from": format_ns(one.start_ns), "to": format_ns(one.end_ns)})


def _mute(one: Mute) -> dict[str, Any]:
    return {
        "no": one.no or None,
        "tenant": None if one.tenant == ANY_TENANT else one.tenant,
        "scope": one.scope or None,
        "name": one.name or None,
        "step": one.step or None,
        "until": None if one.until_ns is None else format_ns(one.until_ns),
        "why": one.why,
        "who": one.who,
        "since": format_ns(one.at_ns),
    }


def _looked(done: Outcome) -> dict[str, Any]:
    return dict(done._asdict())


def _piece(one: Looked) -> dict[str, Any]:
    judged = one.judged
    return {
        "from": format_ns(one.start_ns),
        "to": format_ns(one.end_ns),
        "running": one.is_running,
        "value_usd": format_usd(one.amounts.amount),
        "calls": one.amounts.calls,
        "expected_usd": None if judged is None else format_usd(round(judged.expected)),
        "spread_usd": None if judged is None else format_usd(round(judged.spread)),
        "score": None if judged is None else round(judged.score, 2),
        "stands_out": judged is not None and judged.stands_out,
    }
