"""Alert rules: making, changing and listing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.alerting.notices import Severity
from otel_finops.identity.principals import Principal
from otel_finops.operations.alert_fields import (
    CLEAR_TEXT,
    DAYS_TEXT,
    DRY_TEXT,
    ENABLED_TEXT,
    FOR_TEXT,
    GROUP_TEXT,
    KIND_TEXT,
    KIND_TEXTS,
    LABELS_TEXT,
    PARAMS_TEXT,
    QUIET_TEXT,
    REPEAT_TEXT,
    RESOLVED_TEXT,
    SEVERITY_TEXT,
    ZONE_TEXT,
    Days,
    KindName,
    Labels,
    Params,
    RuleNumber,
    RuleWithState,
    ShownRule,
    group_of,
    quiet_of,
    shown_rule,
    whose,
    with_state,
)
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, NoInput, Paged, page_of
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import Count

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.alerting.rules import Rule

_LIST: Final = "alert_rules.list"
_FOUND_SHOWN: Final = 20
_HISTORY_SHOWN: Final = 50
_TIMES: Final = {"for_seconds": "for_s", "clear_seconds": "clear_s", "repeat_seconds": "repeat_s"}
_PLAIN: Final = ("name", "severity", "enabled", "resolved", "labels")


class NewRule(Input):
    """What the rule says."""

    name: Name = Field(min_length=1, description="What people call it; one rule of a tenant, or of all, is called so.")
    kind: KindName = Field(description=KIND_TEXT)
    tenant: Name | None = Field(default=None, min_length=1, description="Only what is about this tenant; nothing: about anybody.")
    severity: Severity = Field(default="warning", description=SEVERITY_TEXT)
    params: Params = Field(default_factory=dict, description=PARAMS_TEXT)
    enabled: bool = Field(default=True, description=ENABLED_TEXT)
    for_seconds: int = Field(default=0, ge=0, description=FOR_TEXT)
    clear_seconds: int = Field(default=0, ge=0, description=CLEAR_TEXT)
    repeat_seconds: int = Field(default=0, ge=0, description=REPEAT_TEXT)
    resolved: bool = Field(default=True, description=RESOLVED_TEXT)
    quiet: Name = Field(default="none", description=QUIET_TEXT)
    quiet_zone: Name | None = Field(default=None, description=ZONE_TEXT)
    quiet_days: Days | None = Field(default=None, description=DAYS_TEXT)
    group_by: Name = Field(default="each", description=GROUP_TEXT)
    labels: Labels = Field(default_factory=dict, description=LABELS_TEXT)
    dry_run: bool = Field(default=False, description=DRY_TEXT)


class RuleEdit(RuleNumber):
    """What is to be another; what is not given stays."""

    name: Name | None = Field(default=None, min_length=1, description="What people call it.")
    severity: Severity | None = Field(default=None, description=SEVERITY_TEXT)
    params: Params | None = Field(default=None, description=f"{PARAMS_TEXT} Those that are not named stay.")
    enabled: bool | None = Field(default=None, description=ENABLED_TEXT)
    for_seconds: int | None = Field(default=None, ge=0, description=FOR_TEXT)
    clear_seconds: int | None = Field(default=None, ge=0, description=CLEAR_TEXT)
    repeat_seconds: int | None = Field(default=None, ge=0, description=REPEAT_TEXT)
    resolved: bool | None = Field(default=None, description=RESOLVED_TEXT)
    quiet: Name | None = Field(default=None, description=QUIET_TEXT)
    quiet_zone: Name | None = Field(default=None, description="Time zone of the quiet hours, an IANA name.")
    quiet_days: Days | None = Field(default=None, description=DAYS_TEXT)
    group_by: Name | None = Field(default=None, description=GROUP_TEXT)
    labels: Labels | None = Field(default=None, description=f"{LABELS_TEXT} They take the place of the former ones.")
    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still: nobody's change is overwritten.")
    dry_run: bool = Field(default=False, description=DRY_TEXT)


class RuleDeletion(RuleNumber):
    """Which rule."""

    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still.")
    dry_run: bool = Field(default=False, description="Only say what would be taken away.")


class FoundNow(Output):
    """What a rule finds at this moment."""

    title: str
    text: str
    severity: Severity


class RuleAnswer(Output):
    """The rule as it is now."""

    rule: ShownRule
    changed: bool = Field(description="False: it was so already, or this was a dry run.")
    found: Count = Field(description="How many things it finds at this moment; of a rule that is taken away 0.")
    first: list[FoundNow] = Field(description=f"The first {_FOUND_SHOWN} of them.")
    fault: str | None = Field(description="Why it cannot find out at this moment; null: it can.")


@operation(
    "alert_rules.create",
    "alert-rules",
    takes=NewRule,
    output=RuleAnswer,
    permission="manage",
    feature="alerts",
    changes=True,
    agents=False,
    summary="Make an alert rule, and say what it finds at this moment.",
)
def create(context: Context, principal: Principal, given: NewRule) -> Changed | Unchanged:
    """It is checked with the next check of all rules; a dry run shows what it would find."""
    rule = context.alerts.create(_new(context, principal, given), principal.editor, dry_run=given.dry_run)
    answer = _answer(context, rule, changed=not given.dry_run)
    return Unchanged(answer) if given.dry_run else Changed(answer, None, answer["rule"], rule.tenant)


@operation(
    "alert_rules.update",
    "alert-rules/{no}",
    takes=RuleEdit,
    output=RuleAnswer,
    permission="manage",
    feature="alerts",
    changes=True,
    agents=False,
    summary="Change an alert rule; what is not given stays as it is.",
)
def update(context: Context, principal: Principal, given: RuleEdit) -> Changed | Unchanged:
    """The rule as it is now; its former definitions stay in its history."""
    before, rule = context.alerts.update(
        given.no, lambda one: _edited(context, one, given), principal.editor, given.revision, dry_run=given.dry_run
    )
    changed = rule != before and not given.dry_run
    answer = _answer(context, rule, changed=changed)
    return Changed(answer, shown_rule(before), answer["rule"], rule.tenant) if changed else Unchanged(answer)


@operation(
    "alert_rules.delete",
    "alert-rules/{no}/delete",
    takes=RuleDeletion,
    output=RuleAnswer,
    permission="manage",
    feature="alerts",
    changes=True,
    agents=False,
    summary="Take an alert rule away; what it has told is over, and its history stays.",
)
def delete(context: Context, principal: Principal, given: RuleDeletion) -> Changed | Unchanged:
    """The rule as it was."""
    before = context.alerts.delete(given.no, principal.editor, given.revision, dry_run=given.dry_run)
    answer = {"rule": shown_rule(before), "changed": not given.dry_run, "found": 0, "first": [], "fault": None}
    return Unchanged(answer) if given.dry_run else Changed(answer, answer["rule"], None, before.tenant)


class RuleQuery(Paged):
    """Which rules."""

    tenant: Name | None = Field(default=None, description="Only those about this tenant alone.")
    kind: KindName | None = Field(default=None, description="Only this kind.")
    enabled: bool | None = Field(default=None, description="Only those that are checked, or only those that are not.")


class Rules(Output):
    """Rules by number, and how they fare."""

    rules: list[RuleWithState]
    next_cursor: str | None


@operation(
    _LIST,
    "alert-rules",
    takes=RuleQuery,
    output=Rules,
    permission="view",
    feature="alerts",
    summary="List alert rules, and what their last checks came to.",
)
def listed(context: Context, principal: Principal, given: RuleQuery) -> Json:
    """Those about the principal's tenants alone; whoever sees all tenants sees all."""
    rules = [one for one in context.alerts.rules() if principal.tenants is None or one.tenant in principal.tenants]
    asked = [one for one in rules if given.tenant in (None, one.tenant) and given.kind in (None, one.kind)]
    page, more = page_of((one for one in asked if given.enabled in (None, one.enabled)), given, _LIST, lambda one: (one.no,))
    return {"rules": with_state(context, page), "next_cursor": more}


class ShownParameter(Output):
    """What a rule of some kind goes by."""

    name: str
    means: str
    usual: str = Field(description="What holds where nothing is said; several values are parted by spaces.")


class ShownKind(Output):
    """A kind of rules."""

    kind: KindName
    looks_at: str
    params: list[ShownParameter]


class RuleKinds(Output):
    """All of them."""

    kinds: list[ShownKind]


@operation(
    "alert_rules.kinds",
    "alert-rules/kinds",
    takes=NoInput,
    output=RuleKinds,
    permission="view",
    feature="alerts",
    summary="List what alert rules can look at, and the parameters of each kind.",
)
def kinds(context: Context, principal: Principal, given: NoInput) -> Json:
    """The same for all."""
    from otel_finops.alerting.parameters import PARAMETERS  # noqa: PLC0415 - `--help` must not load the database rooms

    return {
        "kinds": [
            {
                "kind": kind,
                "looks_at": KIND_TEXTS[kind],
                "params": [{"name": name, "means": one.means, "usual": _usual(one.default)} for name, one in parameters.items()],
            }
            for kind, parameters in PARAMETERS.items()
        ]
    }


def _usual(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


class RuleRevision(ShownRule):
    """A definition that a rule had."""

    deleted: bool = Field(description="This revision took it away.")


class RuleShown(Output):
    """A rule, how it fares, and its definitions."""

    rule: RuleWithState | None = Field(description="Null: it was taken away.")
    history: list[RuleRevision] = Field(description="Its last fifty definitions, newest first.")


@operation(
    "alert_rules.show",
    "alert-rules/{no}",
    takes=RuleNumber,
    output=RuleShown,
    permission="view",
    feature="alerts",
    summary="Show an alert rule, what its last check came to, and the definitions that it had.",
)
def show(context: Context, principal: Principal, given: RuleNumber) -> Json:
    """Also of one that was taken away."""
    history = context.alerts.history(given.no, principal.tenants)
    standing = [one for one in context.alerts.rules() if one.no == given.no]
    return {
        "rule": with_state(context, standing)[0] if standing else None,
        "history": [{**shown_rule(one.left), "deleted": one.deleted} for one in history[:_HISTORY_SHOWN]],
    }


def _new(context: Context, principal: Principal, given: NewRule) -> Rule:
    from otel_finops.alerting.rules import Rule  # noqa: PLC0415 - `--help` must not load the database rooms

    times = {field: getattr(given, name) for name, field in _TIMES.items()}
    plain = {name: getattr(given, name) for name in _PLAIN}
    zone = context.zone if given.quiet_zone is None else given.quiet_zone
    return Rule(
        0, kind=given.kind, tenant=whose(principal, given.tenant), params=given.params, quiet=quiet_of(given.quiet, zone, given.quiet_days),
        group_by=group_of(given.group_by), **times, **plain,
    )  # fmt: skip


def _edited(context: Context, rule: Rule, given: RuleEdit) -> Rule:
    said: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(given, name)) is not None}
    said |= {field: value for name, field in _TIMES.items() if (value := getattr(given, name)) is not None}
    if given.params is not None:
        said["params"] = {**rule.params, **given.params}
    if given.group_by is not None:
        said["group_by"] = group_of(given.group_by)
    was = rule.quiet
    text = given.quiet or ("none" if was is None else was.text)
    zone = given.quiet_zone or (context.zone if was is None else was.zone)
    days = given.quiet_days if given.quiet_days is not None else None if was is None else was.days
    return rule._replace(**said, quiet=quiet_of(text, zone, days))


def _answer(context: Context, rule: Rule, *, changed: bool) -> dict[str, Any]:
    looked = context.alerts.look(rule)
    found = looked.findings or ()
    first = [{"title": one.title, "text": one.text, "severity": one.severity or rule.severity} for one in found[:_FOUND_SHOWN]]
    return {"rule": shown_rule(rule), "changed": changed, "found": len(found), "first": first, "fault": looked.fault or None}
