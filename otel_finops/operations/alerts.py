"""Alerts: what holds, what became of it, checking now, and hearing nothing of it for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.alerting.notices import Notice, Severity
from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.base.limits import ALERT_SECONDS_MAX
from otel_finops.base.times import NS_PER_HOUR, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.alert_fields import KindName, PhaseName, ShownAlert, shown_alert
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NAMED, Name, NoInput, Paged, TenantScoped, page_of, place_cursor
from otel_finops.operations.jobs import ShownRun, shown_run
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.alerting.states import Alert
    from otel_finops.alerting.store import Event, Mute
    from otel_finops.trees.queries import Tenants

_LIST: Final = "alerts.list"
_HISTORY: Final = "alerts.history"
CHECK_JOB: Final = "check_alerts"
_HOURS_MAX: Final = ALERT_SECONDS_MAX // 3_600


class AlertQuery(Paged, TenantScoped):
    """Which alerts."""

    rule_no: int | None = Field(default=None, ge=1, le=2**53, description="Only of this rule.")
    severity: Severity | None = Field(default=None, description="Only this severity.")
    phase: PhaseName | None = Field(default=None, description="Only those that are there.")


class Alerts(Output):
    """Alerts in the order in which they began."""

    alerts: list[ShownAlert]
    next_cursor: str | None


@operation(
    _LIST,
    "alerts",
    takes=AlertQuery,
    output=Alerts,
    permission="view",
    feature="alerts",
    summary="List the alerts that stand: what holds, since when, and when people were told.",
)
def listed(context: Context, principal: Principal, given: AlertQuery) -> Json:
    """Those about the principal's tenants, whoever made the rule."""
    rules = {one.no: one for one in context.alerts.rules()}
    found = [one for one in context.alerts.standing(given.tenants(principal)) if one.rule_no in rules and _asked_for(one, given)]
    page, more = page_of(found, given, _LIST, lambda one: (one.no,))
    mutes = context.alerts.mutes()
    return {"alerts": [shown_alert(one, rules[one.rule_no], mutes) for one in page], "next_cursor": more}


def _asked_for(alert: Alert, given: AlertQuery) -> bool:
    return (
        given.rule_no in (None, alert.rule_no)
        and given.severity in (None, alert.found.severity)
        and given.phase in (None, alert.phase)
    )  # fmt: skip


class HistoryQuery(Paged, TenantScoped):
    """Of what."""

    rule_no: int | None = Field(default=None, ge=1, le=2**53, description="Only of this rule.")
    alert: Name | None = Field(default=None, description="Only of this alert.")


class ShownEvent(Output):
    """What became of an alert."""

    no: int
    at: At
    alert: str
    rule_no: int
    rule: str = Field(description="What it was called then.")
    kind: KindName
    tenant: str | None
    deed: str = Field(
        description="firing: it began; more: it grew; repeated; told: people were told what had been held back; over: it ended."
    )
    severity: Severity
    title: str
    text: str
    started_at: At
    notice_id: str | None = Field(description="Of what people were told; null: nobody was.")
    channels: Count = Field(description="How many channels were to carry it.")
    held_back: str | None = Field(description="Why nobody was told: quiet hours or muted.")


class Events(Output):
    """What became of alerts, newest first."""

    events: list[ShownEvent]
    next_cursor: str | None


@operation(
    _HISTORY,
    "alerts/history",
    takes=HistoryQuery,
    output=Events,
    permission="view",
    feature="alerts",
    summary="List what became of alerts, newest first: when they began, grew, were told, and ended.",
)
def history(context: Context, principal: Principal, given: HistoryQuery) -> Json:
    """Those about the principal's tenants."""
    place = given.place(_HISTORY)
    whose: Tenants = given.tenants(principal)
    found = context.alerts.events(whose, place[0] if place else None, given.limit + 1, rule_no=given.rule_no, key=given.alert)
    page = found[: given.limit]
    return {
        "events": [_event(one) for one in page],
        "next_cursor": place_cursor(_HISTORY, [page[-1].no]) if len(found) > len(page) else None,
    }


class CheckInput(Input):
    """How."""

    dry_run: bool = Field(default=False, description="Only say what would be told; nothing is stored, and nobody is told.")


class Telling(Output):
    """What people are told."""

    state: str = Field(description="firing, or resolved: it is over.")
    rule: str
    severity: Severity
    tenant: str | None
    title: str
    text: str


class CheckDone(Output):
    """What the check came to."""

    run: ShownRun | None = Field(description="Null: this was a dry run.")
    would_tell: list[Telling] = Field(description="Of a dry run: what people would be told.")
    faults: list[str] = Field(description="Of a dry run: rules that cannot find out, and why.")


@operation(
    "alerts.check",
    "alerts/check",
    takes=CheckInput,
    output=CheckDone,
    permission="manage",
    feature="alerts",
    changes=True,
    runs=True,
    agents=False,
    summary="Check all alert rules now; the clock does it every minute.",
)
def check(context: Context, principal: Principal, given: CheckInput) -> Changed | Unchanged:
    """The same as the job check_alerts, under its lease."""
    principal.must_see_all("alerts.check checks the rules of all tenants")
    if not given.dry_run:
        run = shown_run(context.jobs.run(CHECK_JOB, who=principal.who))
        return Changed({"run": run, "would_tell": [], "faults": []}, None, {"said": run["said"], "outcome": run["outcome"]})
    done, names = context.alerts.try_check(), {one.no: one.name for one in context.alerts.rules()}
    tellings = [_telling(one) for one in done.notices]
    faults = [f"{names.get(one.rule_no, one.rule_no)}: {one.fault}" for one in done.checks if one.fault]
    return Unchanged({"run": None, "would_tell": tellings, "faults": faults})


def _telling(one: Notice) -> dict[str, Any]:
    said = {name: getattr(one, name) for name in ("state", "rule", "severity", "title", "text")}
    return {**said, "tenant": one.tenant or None}


class MuteInput(Input):
    """What, and for how long."""

    rule_no: int | None = Field(default=None, ge=1, le=2**53, description="All alerts of this rule.")
    alert: Name | None = Field(default=None, min_length=1, description="This alert alone, as alerts.list names it.")
    hours: int = Field(default=24, ge=1, le=_HOURS_MAX, description="For so many hours.")
    why: str = Field(min_length=1, max_length=500, description="It stands on record.", json_schema_extra=NAMED)
    dry_run: bool = Field(default=False, description="Only say what would be muted.")


class UnmuteInput(Input):
    """What."""

    rule_no: int | None = Field(default=None, ge=1, le=2**53, description="This rule.")
    alert: Name | None = Field(default=None, min_length=1, description="This alert.")
    why: str = Field(min_length=1, max_length=500, description="It stands on record.", json_schema_extra=NAMED)
    dry_run: bool = Field(default=False, description="Only say what would be heard of again.")


class ShownMute(Output):
    """What people want to hear nothing of."""

    rule_no: int
    alert: str | None = Field(description="Null: all alerts of the rule.")
    until: At | None = Field(description="Null: it was taken back.")
    who: str
    why: str
    at: At


class MuteDone(Output):
    """The mute as it is now."""

    mute: ShownMute
    changed: bool = Field(description="False: this was a dry run.")


@operation(
    "alerts.mute",
    "alerts/mutes",
    takes=MuteInput,
    output=MuteDone,
    permission="manage",
    feature="alerts",
    changes=True,
    agents=False,
    summary="Tell nobody of a rule, or of one alert, for a while; what still holds then is told at its end.",
)
def mute(context: Context, principal: Principal, given: MuteInput) -> Changed | Unchanged:
    """Alerts go on being checked and recorded. What was made for all tenants only who sees all of them mutes."""
    until_ns = context.clock.now_ns() + given.hours * NS_PER_HOUR
    return _muted(context, principal, given.rule_no, given.alert, until_ns, given.why, dry_run=given.dry_run)


@operation(
    "alerts.unmute",
    "alerts/mutes/end",
    takes=UnmuteInput,
    output=MuteDone,
    permission="manage",
    feature="alerts",
    changes=True,
    agents=False,
    summary="Tell of a muted rule or alert again.",
)
def unmute(context: Context, principal: Principal, given: UnmuteInput) -> Changed | Unchanged:
    """What holds is told with the next check."""
    return _muted(context, principal, given.rule_no, given.alert, 0, given.why, dry_run=given.dry_run)


class Mutes(Output):
    """Mutes that hold."""

    mutes: list[ShownMute]


@operation(
    "alerts.mutes",
    "alerts/mutes",
    takes=NoInput,
    output=Mutes,
    permission="view",
    feature="alerts",
    summary="List what is muted, until when and why.",
)
def mutes(context: Context, principal: Principal, given: NoInput) -> Json:
    """Of rules about the principal's tenants alone."""
    own = {one.no for one in context.alerts.rules() if principal.tenants is None or one.tenant in principal.tenants}
    return {"mutes": [_mute(one) for one in context.alerts.mutes() if one.rule_no in own]}


def _muted(
    context: Context, principal: Principal, rule_no: int | None, alert: str | None, until_ns: int, why: str, *, dry_run: bool
) -> Changed | Unchanged:
    from otel_finops.alerting.store import Mute  # noqa: PLC0415 - `--help` must not load the database rooms

    if (rule_no is None) == (alert is None):
        raise BadInput("rule_no, alert: name one of them")
    no = rule_no if rule_no is not None else _rule_of(context, principal, alert or "")
    rule = context.alerts.find(no, principal.tenants)
    done = context.alerts.mute(Mute(0, rule.no, alert or "", "", until_ns, principal.who, why, 0), dry_run=dry_run)
    answer = {"mute": _mute(done), "changed": not dry_run}
    return Unchanged(answer) if dry_run else Changed(answer, None, answer["mute"], rule.tenant)


def _rule_of(context: Context, principal: Principal, alert: str) -> int:
    """The rule of an alert about his tenants that is his to mute."""
    from otel_finops.alerting.store import alert_key_of  # noqa: PLC0415 - `--help` must not load the database rooms

    for one in context.alerts.standing(principal.tenants):
        if alert_key_of(one) == alert:
            if principal.tenants is not None and (rule := context.alerts.rules().get(one.rule_no)) and rule.tenant is None:
                raise Forbidden("The rule of this alert was made for all tenants; only who sees all of them mutes it.")
            return one.rule_no
    raise NotFound(f"There is no alert {alert[:40]!r}; alerts.list names those that stand.")


def _mute(one: Mute) -> dict[str, Any]:
    return {
        "rule_no": one.rule_no,
        "alert": one.alert_key or None,
        "until": format_ns(one.until_ns) if one.until_ns else None,
        "who": one.who,
        "why": one.why,
        "at": format_ns(one.at_ns),
    }


def _event(one: Event) -> dict[str, Any]:
    return {
        "no": one.no,
        "at": format_ns(one.at_ns),
        "alert": one.alert_key,
        "rule_no": one.rule_no,
        "rule": one.rule,
        "kind": one.kind,
        "tenant": one.tenant or None,
        "deed": one.deed,
        "severity": one.severity,
        "title": one.title,
        "text": one.text,
        "started_at": format_ns(one.started_ns),
        "notice_id": one.notice_id or None,
        "channels": one.deliveries,
        "held_back": one.held_back or None,
    }
