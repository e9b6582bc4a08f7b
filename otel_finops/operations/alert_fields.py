"""Alert rules and alerts in inputs and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from otel_finops.alerting.notices import Severity
from otel_finops.base.errors import BadInput
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, pairs_of
from otel_finops.operations.registry import Input, Output
from otel_finops.operations.scope_fields import owner_of
from otel_finops.operations.shapes import At, Count

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.alerting.quiet import QuietHours
    from otel_finops.alerting.rules import Rule
    from otel_finops.alerting.states import Alert
    from otel_finops.alerting.store import Check, Mute

KindName: TypeAlias = Literal[
    "budget", "forecast", "spend_rate", "anomaly", "unpriced", "price_change", "credit", "capture_rate", "kill_switch", "policy_failure"
]
PhaseName: TypeAlias = Literal["pending", "firing", "ending", "over"]
EACH: Final = "each"
ALL: Final = "all"


def _values(given: Any) -> Any:
    """`percent=5,hours=24`, a JSON object as text, or an object."""
    if isinstance(given, str):
        parted = "several values of one name are parted by spaces"
        given = pairs_of(given, unsaid=f"write NAME=VALUE,NAME=VALUE; {parted}", twice=f"names something twice; {parted}")
    if not isinstance(given, Mapping):
        raise ValueError("write NAME=VALUE,NAME=VALUE, or a JSON object")
    return dict(given)


def _days(given: Any) -> Any:
    """Numbers, or text like `1,2,3`."""
    if isinstance(given, str):
        parts = [part.strip() for part in given.split(",") if part.strip()]
        if not all(part.isascii() and part.isdigit() and len(part) == 1 for part in parts):
            raise ValueError("numbers from 1 (Monday) to 7, like 1,2,3,4,5")
        return [int(part) for part in parts]
    return given


_OBJECT: Final = {"anyOf": [{"type": "object"}, {"type": "string"}], "example": {"percent": 80}}
_TEXTS: Final = {
    "anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "string"}], "example": {"team": "ml"},
}  # fmt: skip
Params: TypeAlias = Annotated[dict[str, Any], BeforeValidator(_values), WithJsonSchema(_OBJECT)]
Labels: TypeAlias = Annotated[dict[str, str], BeforeValidator(_values), WithJsonSchema(_TEXTS)]
Days: TypeAlias = Annotated[
    list[int],
    Field(max_length=7),
    BeforeValidator(_days),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "string"}], "example": [1, 2, 3, 4, 5]}),
]

KIND_TEXTS: Final[Mapping[str, str]] = {
    "budget": "thresholds passed",
    "forecast": "a budget will be",
    "spend_rate": "spent too fast",
    "anomaly": "spend that is unlike what was expected",
    "unpriced": "tokens without a price",
    "price_change": "of watched models",
    "credit": "pools that run low",
    "capture_rate": "ledger against bill",
    "kill_switch": "switches that are set",
    "policy_failure": "policies that could not be evaluated",
}
KIND_TEXT: Final = f"What it looks at: {', '.join(f'{kind} ({text})' for kind, text in KIND_TEXTS.items())}."
SEVERITY_TEXT: Final = "How bad it is: info, warning or critical."
PARAMS_TEXT: Final = "What the kind goes by (docs/alerting.md): NAME=VALUE,NAME=VALUE or a JSON object; what is not given is as usual."
ENABLED_TEXT: Final = "Whether it is checked; what a rule that is switched off has told is over."
FOR_TEXT: Final = "Seconds for which something must hold before anybody is told."
CLEAR_TEXT: Final = "Seconds for which it must be gone before it is over."
REPEAT_TEXT: Final = "Seconds after which what still holds is told again; 0: never, else at least 300."
RESOLVED_TEXT: Final = "Whether people are told when it is over."
QUIET_TEXT: Final = "Quiet hours, like 22:00-07:00: only what is critical is told then, and what still holds at their end. `none`: none."
ZONE_TEXT: Final = "Time zone of the quiet hours, an IANA name; that of the setting display.zone when not given."
DAYS_TEXT: Final = "Days of the week on which quiet hours begin, 1 is Monday; a list, or text like 1,2,3,4,5."
GROUP_TEXT: Final = (
    "What is told together, always of one tenant alone: `each` thing by itself, `all` that the rule finds, or what agrees in labels "
    "(budget,model)."
)
LABELS_TEXT: Final = "Labels of its notices, to route by: NAME=VALUE,NAME=VALUE or a JSON object."
DRY_TEXT: Final = "Check everything and say what would be done; nothing is stored."


class RuleNumber(Input):
    """Which rule."""

    no: int = Field(ge=1, le=2**53, description="The rule's number, as alert_rules.list shows it.")


class RuleState(Output):
    """What the last check of a rule came to."""

    checked_at: At
    found_out_at: At | None = Field(description="The last check that found out; null: none did.")
    fault: str | None = Field(description="Why the last check did not; what stood before stands on. Null: it did.")
    found: Count = Field(description="How many things it found.")
    alerts: Count = Field(description="How many alerts of it stand.")
    left_out: Count = Field(description="Alerts that were too many; group them.")


class ShownRule(Output):
    """A rule as it is defined."""

    no: int
    name: str
    kind: KindName
    tenant: str | None = Field(description="Only what is about this tenant; null: about anybody.")
    severity: Severity
    params: dict[str, Any]
    enabled: bool
    for_seconds: int
    clear_seconds: int
    repeat_seconds: int
    resolved: bool
    quiet: str | None
    quiet_zone: str | None
    quiet_days: list[int] | None
    group_by: str
    labels: dict[str, str]
    revision: int
    made_at: At
    made_by: str
    changed_at: At
    changed_by: str


class RuleWithState(ShownRule):
    """A rule, and how it fares."""

    state: RuleState | None = Field(description="Null: it was not checked yet.")
    muted_until: At | None


class ShownAlert(Output):
    """An alert that stands."""

    alert: str = Field(description="Its name, the same whenever the rule finds the same.")
    rule_no: int
    rule: str
    kind: KindName
    tenant: str | None = Field(description="Whom it is about; null: all together.")
    phase: PhaseName = Field(
        description="pending: not for long enough yet; firing; ending: gone, not for long enough yet; over: people are still to be told."
    )
    severity: Severity
    title: str
    text: str
    labels: dict[str, str]
    figures: dict[str, str] = Field(description="Plain decimals by name; money in USD, or in the unit that is said.")
    things: Count = Field(description="How many things it is made of.")
    link: str | None = Field(description="The page that shows it.")
    started_at: At
    told_at: At | None = Field(description="When people were last told that it holds; null: they were not.")
    muted_until: At | None


def shown_rule(rule: Rule) -> dict[str, Any]:
    """A rule as answers show it."""
    quiet = rule.quiet
    return {
        "no": rule.no,
        "name": rule.name,
        "kind": rule.kind,
        "tenant": rule.tenant,
        "severity": rule.severity,
        "params": dict(rule.params),
        "enabled": rule.enabled,
        "for_seconds": rule.for_s,
        "clear_seconds": rule.clear_s,
        "repeat_seconds": rule.repeat_s,
        "resolved": rule.resolved,
        "quiet": None if quiet is None else quiet.text,
        "quiet_zone": None if quiet is None else quiet.zone,
        "quiet_days": None if quiet is None else list(quiet.days),
        "group_by": EACH if rule.group_by is None else ",".join(rule.group_by) or ALL,
        "labels": dict(rule.labels),
        "revision": rule.revision,
        "made_at": format_ns(rule.made_ns),
        "made_by": rule.made_by,
        "changed_at": format_ns(rule.changed_ns),
        "changed_by": rule.changed_by,
    }


def with_state(context: Context, rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rules and how they fare."""
    checks, mutes = context.alerts.checks(), context.alerts.mutes()
    counts: dict[int, int] = {}
    for alert in context.alerts.standing(None):
        counts[alert.rule_no] = counts.get(alert.rule_no, 0) + 1
    return [
        {
            **shown_rule(rule),
            "state": _state(checks.get(rule.no), counts.get(rule.no, 0)),
            "muted_until": _until(one for one in mutes if one.rule_no == rule.no and not one.alert_key and not one.tenant),
        }
        for rule in rules
    ]


def _state(check: Check | None, alerts: int) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "checked_at": format_ns(check.checked_ns),
        "found_out_at": format_ns(check.found_ns) if check.found_ns else None,
        "fault": check.fault or None,
        "found": check.found,
        "alerts": alerts,
        "left_out": check.left_out,
    }


def shown_alert(alert: Alert, rule: Rule, mutes: Sequence[Mute]) -> dict[str, Any]:
    """An alert as answers show it."""
    from otel_finops.alerting.store import alert_key_of  # noqa: PLC0415 - `--help` must not load the database rooms

    found, key = alert.found, alert_key_of(alert)
    return {
        "alert": key,
        "rule_no": alert.rule_no,
        "rule": rule.name,
        "kind": rule.kind,
        "tenant": found.tenant or None,
        "phase": alert.phase,
        "severity": found.severity,
        "title": found.title,
        "text": found.text,
        "labels": dict(found.labels),
        "figures": dict(found.figures),
        "things": len(found.members),
        "link": found.link or None,
        "started_at": format_ns(alert.started_ns),
        "told_at": None if alert.told_ns is None else format_ns(alert.told_ns),
        "muted_until": _until(one for one in mutes if one.covers(alert.rule_no, key, found.tenant)),
    }


def _until(mutes: Any) -> str | None:
    until_ns = max((one.until_ns for one in mutes), default=0)
    return format_ns(until_ns) if until_ns else None


def group_of(text: str) -> tuple[str, ...] | None:
    """What `group_by` says."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if names == (EACH,):
        return None
    if EACH in names or (ALL in names and len(names) > 1) or not names:
        raise BadInput("group_by: `each`, `all`, or names of labels, like budget,model")
    return () if names == (ALL,) else names


def quiet_of(text: str, zone: str, days: Sequence[int] | None) -> QuietHours | None:
    """What `quiet` says."""
    from otel_finops.alerting.quiet import EVERY_DAY, QuietHours  # noqa: PLC0415 - `--help` must not load the database rooms

    return None if text == "none" else QuietHours.of(text, zone, EVERY_DAY if days is None else tuple(days))


def whose(principal: Principal, named: Name | None) -> str | None:
    """Whose the rule is: the tenant that is named, else the only one that the principal sees; None: everybody's."""
    owner = owner_of(principal, named)
    return None if named is None and owner == ANY_TENANT else owner
