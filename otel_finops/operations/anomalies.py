"""Anomalies: what of spend is out of the ordinary, what drives it, and what people say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import ANOMALY_WHY_CHARS_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.anomaly_fields import (
    Anomaly,
    AnomalyRow,
    AnomalyTrace,
    DriverShown,
    MuteShown,
    NoteShown,
    ScopeName,
    StepName,
    mute_json,
    note_json,
    row,
    shown,
    trace_json,
    traces_path,
)
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
    from otel_finops.insight.anomaly_store import Finding, State
    from otel_finops.insight.anomaly_watch import Outcome

StateName: TypeAlias = Literal["open", "acked", "cleared", "standing", "all"]
Why: TypeAlias = Annotated[str, Field(max_length=ANOMALY_WHY_CHARS_MAX)]
_STATES: Final[Mapping[StateName, tuple[State, ...]]] = {
    "open": ("open",), "acked": ("acked",), "cleared": ("cleared",), "standing": ("open", "acked"), "all": ("open", "acked", "cleared"),
}  # fmt: skip
_LIST: Final = "anomalies.list"
_TRACES: Final = 10
_DRY: Final = "Only say what would be done."
_NUMBER: Final[Any] = Field(ge=1, le=2**53, description="Its number, as anomalies.list shows it.")


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
    return {"anomalies": [row(context, one, mutes) for one in page], "next_cursor": more}


class AnomalyNumber(Input):
    """Which one."""

    no: int = _NUMBER


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
        "anomaly": shown(context, found, mutes),
        "notes": [note_json(one) for one in notes],
        "traces": [trace_json(one) for one in context.anomalies.traces(found, _TRACES)],
        "traces_path": traces_path(found),
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
        return Unchanged(mute_json(made._replace(no=0)))
    return Changed(mute_json(made), None, mute_json(made), None if tenant == ANY_TENANT else tenant)


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
    """Those of the principal's tenants; one of all tenants may name others' agents, and is shown to who sees all."""
    page, more = page_of(context.anomalies.mutes(principal.tenants), given, "anomalies.mutes", lambda one: (one.no,))
    return {"mutes": [mute_json(one) for one in page], "next_cursor": more}


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
    answer = mute_json(ended)
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
    answer = {"anomaly": shown(context, after, context.anomalies.mutes(None)), "changed": after != before and not given.dry_run}
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
