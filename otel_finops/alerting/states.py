"""How an alert goes from check to check: it must hold for a while, is told once, again when it grows, and when it is over.

Pure: what stood before, what was found, and the time in; what stands now, and what is to be told, out. What people know is kept apart from
what is the case, so that what was held back by quiet hours or a mute is told as soon as it may be, if it still matters then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.alerting.findings import Finding
from otel_finops.alerting.notices import Notice, Severity, State
from otel_finops.alerting.rules import SEVERITIES, Rule
from otel_finops.base.limits import ALERT_LINES_MAX, ALERTS_OF_RULE_MAX
from otel_finops.base.times import NS_PER_SECOND, format_ns

Phase: TypeAlias = Literal["pending", "firing", "ending", "over"]
"""Found, and not long enough yet; found; gone, and not long enough yet; gone, which people are still to be told."""
Deed: TypeAlias = Literal["firing", "more", "repeated", "told", "over"]
"""It began; it grew; it was told again; what had been held back was told; it ended."""
_SECONDS_CHARS: Final = len("2026-11-21T12:00:00")


class Found(NamedTuple):
    """What a rule found at a check that makes one alert.

    Attributes:
        key: what its findings have in common, the same at every check.
        tenant: whom it is about; "": all together.
        members: levels of the findings by their keys.
        started_ns: since when the first of them holds; None: since it is first found.
    """

    key: str
    tenant: str
    members: Mapping[str, int]
    severity: Severity
    title: str
    text: str
    labels: Mapping[str, str]
    figures: Mapping[str, str]
    link: str
    started_ns: int | None
    lasting: bool


class Alert(NamedTuple):
    """An alert as it stands.

    Attributes:
        no: its number; 0 before it is stored.
        rule_no: of the rule.
        phase: where it is.
        found: what was found last.
        told: levels of the findings that people know of; None: they know nothing.
        first_ns: when it was first found, this time.
        started_ns: since when it holds, as far as anybody knows.
        gone_ns: since when it is found no more; None: it is.
        told_ns: when people were last told that it holds.
    """

    no: int
    rule_no: int
    phase: Phase
    found: Found
    told: Mapping[str, int] | None
    first_ns: int
    started_ns: int
    gone_ns: int | None = None
    told_ns: int | None = None


class Step(NamedTuple):
    """What a check makes of an alert.

    Attributes:
        after: as it stands now; None: it does no more.
        deed: what is to be recorded; None: nothing happened.
        telling: what people are to be told; None: nothing.
    """

    after: Alert | None
    deed: Deed | None = None
    telling: State | None = None


def step(rule: Rule, before: Alert | None, found: Found | None, now_ns: int, *, held_back: bool) -> Step:
    """What becomes of an alert.

    Args:
        before: as it stood; None: it did not.
        found: None: nothing of it is found.
        held_back: people are not to be told of it now.
    """
    before = before and _until_now(before, now_ns)
    if found is None:
        return Step(None) if before is None else _gone(rule, before, now_ns, held_back)
    if before is None:
        started_ns = now_ns if found.started_ns is None else min(found.started_ns, now_ns)
        before = Alert(0, rule.no, "pending", found, None, now_ns, started_ns)
    return _holds(rule, before, found, now_ns, held_back)


def _until_now(one: Alert, now_ns: int) -> Alert:
    """Nothing was yet to be: times of a clock that was set back since are this moment."""
    gone_ns, told_ns = (None if at_ns is None else min(at_ns, now_ns) for at_ns in (one.gone_ns, one.told_ns))
    return one._replace(
        first_ns=min(one.first_ns, now_ns), started_ns=min(one.started_ns, now_ns), gone_ns=gone_ns, told_ns=told_ns
    )  # fmt: skip


def _holds(rule: Rule, before: Alert, found: Found, now_ns: int, held_back: bool) -> Step:
    after = before._replace(found=found, gone_ns=None)
    if before.phase == "pending" and now_ns - before.first_ns < rule.for_s * NS_PER_SECOND:
        return Step(after)
    after = after._replace(phase="firing", told=_still_known(before.told, found.members))
    deed: Deed | None = None
    if before.phase in ("pending", "over"):
        deed = "firing"
    elif _grew(before.found.members, found.members):
        deed = "more"
    if held_back:
        return Step(after, deed)
    if after.told is None or _grew(after.told, found.members):
        return Step(after._replace(told=found.members, told_ns=now_ns), deed or "told", "firing")
    if rule.repeat_s and now_ns - (before.told_ns or 0) >= rule.repeat_s * NS_PER_SECOND:
        return Step(after._replace(told_ns=now_ns), deed or "repeated", "firing")
    return Step(after, deed)


def _gone(rule: Rule, before: Alert, now_ns: int, held_back: bool) -> Step:
    """Nothing is found any more: what was not told is forgotten, what was is over once it is gone for long enough."""
    gone_ns = now_ns if before.gone_ns is None else before.gone_ns
    if before.phase == "pending" or not before.found.lasting:
        return Step(None)
    if before.phase != "over" and now_ns - gone_ns < rule.clear_s * NS_PER_SECOND:
        return Step(before._replace(phase="ending", gone_ns=gone_ns))
    deed: Deed = "told" if before.phase == "over" else "over"
    if before.told is None or not rule.resolved:
        return Step(None, deed)
    if held_back:
        return Step(before._replace(phase="over", gone_ns=gone_ns), None if before.phase == "over" else "over")
    return Step(None, deed, "resolved")


def _grew(known: Mapping[str, int], members: Mapping[str, int]) -> bool:
    """Whether something is new, or has gone further."""
    return any(key not in known or level > known[key] for key, level in members.items())


def _still_known(told: Mapping[str, int] | None, members: Mapping[str, int]) -> Mapping[str, int] | None:
    """What people know of what still holds: what is gone, or fell back to a lower level, is news when it comes again."""
    return None if told is None else {key: min(level, members[key]) for key, level in told.items() if key in members}


# --- findings of a check, as alerts ------------------------------------------------------------------------------------


def joined(rule: Rule, findings: Iterable[Finding], standing: Collection[str]) -> tuple[list[Found], int]:
    """Findings that the rule tells together; and how many alerts were left out because there are too many.

    Args:
        standing: keys of its alerts that stand; they are kept, so that nothing is taken to be over that is not.
    """
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(_key(rule, finding), []).append(finding)
    found = [_joined(rule, key, members) for key, members in groups.items()]
    found.sort(key=lambda one: (one.key not in standing, -SEVERITIES.index(one.severity), -max(one.members.values()), one.key))
    return found[:ALERTS_OF_RULE_MAX], max(0, len(found) - ALERTS_OF_RULE_MAX)


def _key(rule: Rule, finding: Finding) -> str:
    """Never the same for two tenants: nobody is told of another's."""
    if rule.group_by is None:
        return f"{finding.tenant}\n{finding.key}"
    return "\n".join((finding.tenant, "", *(finding.labels.get(name, "") for name in rule.group_by)))


def _joined(rule: Rule, key: str, members: Sequence[Finding]) -> Found:
    worst = sorted(members, key=lambda one: (-SEVERITIES.index(_severity(rule, one)), -one.level, one.key))
    first = worst[0]
    starts = [one.since_ns for one in members if one.since_ns is not None]
    return Found(
        key=key,
        tenant=first.tenant,
        members={one.key: one.level for one in members},
        severity=_severity(rule, first),
        title=first.title if len(members) == 1 else f"{rule.name}: {len(members)}, first {first.title}",
        text=first.text if len(members) == 1 else _list_of(worst),
        labels={**rule.labels, **dict(set.intersection(*(set(one.labels.items()) for one in members)))},
        figures=first.figures if len(members) == 1 else {"alerts": str(len(members))},
        link=first.link,
        started_ns=min(starts, default=None),
        lasting=any(one.lasting for one in members),
    )


def _severity(rule: Rule, finding: Finding) -> Severity:
    return finding.severity or rule.severity


def _list_of(members: Sequence[Finding]) -> str:
    lines = ["- " + " ".join(f"{one.title}. {one.text}".split()) for one in members[:ALERT_LINES_MAX]]  # no name makes a line of its own
    if len(members) > ALERT_LINES_MAX:
        lines.append(f"- and {len(members) - ALERT_LINES_MAX} more")
    return "\n".join(lines)


def notice_of(rule: Rule, alert: Alert, telling: State, notice_id: str, alert_key: str, now_ns: int) -> Notice:
    """What channels carry."""
    found = alert.found
    over = telling == "resolved"
    held = f"It held from {_second(alert.started_ns)} to {_second(alert.gone_ns or now_ns)} UTC."
    return Notice(
        notice_id=notice_id,
        alert_key=alert_key,
        rule=rule.name,
        kind=rule.kind,
        severity=found.severity,
        state=telling,
        tenant=found.tenant,
        title=f"Over: {found.title}" if over else found.title,
        text=f"{held} Last: {found.text}" if over else found.text,
        labels=found.labels,
        figures=found.figures,
        link=found.link,
        started_ns=alert.started_ns,
        at_ns=now_ns,
    )


def _second(at_ns: int) -> str:
    return format_ns(at_ns)[:_SECONDS_CHARS].replace("T", " ")
