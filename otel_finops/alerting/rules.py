"""Alert rules as values: what is worth telling, how bad it is, and when people want to hear of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from otel_finops.alerting.notices import Severity
from otel_finops.alerting.parameters import KINDS, Kind, checked_parameters
from otel_finops.alerting.quiet import QuietHours
from otel_finops.base.errors import BadInput
from otel_finops.base.limits import ALERT_LABELS_MAX, ALERT_SECONDS_MAX, NAME_CHARS_MAX

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""From the least to the worst."""
REPEAT_S_MIN: Final = 300


class Rule(NamedTuple):
    """A rule as its last revision defines it.

    Attributes:
        no: its number, the same for ever.
        name: what people call it; no two standing ones of one tenant (or of all) have the same.
        kind: what it looks at.
        tenant: only what is about this tenant; None: about anybody, and about all together.
        severity: how bad it is, where what is found does not say itself.
        params: what the kind goes by (`alerting.parameters`), all of them.
        enabled: whether it is checked.
        for_s: how long something must hold before it is told.
        clear_s: how long it must be gone before it is over.
        repeat_s: after how long what still holds is told again; 0: never.
        resolved: whether people are told that it is over.
        quiet: when only what is critical is told; None: never.
        group_by: labels: what agrees in them is one alert; (): all that the rule finds of one tenant; None: each thing by itself.
        labels: further ones of its notices, to route by.
        revision: of this definition; larger than that of every earlier change of any rule.
        made_ns, made_by, changed_ns, changed_by: when it was first defined and last changed, and by whom.
        of_all: who made it sees all tenants; nobody who is bound to some changes it.
    """

    no: int
    name: str
    kind: Kind
    tenant: str | None = None
    severity: Severity = "warning"
    params: Mapping[str, Any] = {}
    enabled: bool = True
    for_s: int = 0
    clear_s: int = 0
    repeat_s: int = 0
    resolved: bool = True
    quiet: QuietHours | None = None
    group_by: tuple[str, ...] | None = None
    labels: Mapping[str, str] = {}
    revision: int = 0
    made_ns: int = 0
    made_by: str = ""
    changed_ns: int = 0
    changed_by: str = ""
    of_all: bool = True

    @property
    def said(self) -> tuple[Any, ...]:
        """All that people say of it."""
        return self[1:14]

    def sees(self, tenant: str) -> bool:
        """Whether what is about a tenant ("": about all together) is its to tell."""
        return self.tenant is None or self.tenant == tenant


class RuleSet:
    """All standing rules at one revision; never changed.

    Attributes:
        revision: the last change of any rule that is in it; 0: there never was one.
    """

    def __init__(self, revision: int, rules: Mapping[int, Rule]) -> None:
        self.revision: Final = revision
        self._by_no = dict(sorted(rules.items()))

    def __len__(self) -> int:
        return len(self._by_no)

    def __iter__(self) -> Iterator[Rule]:
        """By number."""
        return iter(self._by_no.values())

    def get(self, no: int) -> Rule | None:
        """The rule of a number; None when none stands."""
        return self._by_no.get(no)


def checked(rule: Rule) -> Rule:
    """The rule in its one form.

    Raises:
        BadInput: a field that can be none; the message begins with its name.
    """
    name = rule.name.strip()
    if not name or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise BadInput(f"name: 1 to {NAME_CHARS_MAX} printable characters")
    if rule.kind not in KINDS:
        raise BadInput(f"kind: one of {', '.join(KINDS)}")
    if rule.severity not in SEVERITIES:
        raise BadInput(f"severity: one of {', '.join(SEVERITIES)}")
    for field in ("for_s", "clear_s", "repeat_s"):
        if not 0 <= getattr(rule, field) <= ALERT_SECONDS_MAX:
            raise BadInput(f"{field.replace('_s', '_seconds')}: 0 to {ALERT_SECONDS_MAX} seconds")
    if 0 < rule.repeat_s < REPEAT_S_MIN:
        raise BadInput(f"repeat_seconds: 0 for never, or at least {REPEAT_S_MIN}")
    _check_labels(rule)
    return rule._replace(name=name, params=checked_parameters(rule.kind, rule.params))


def _check_labels(rule: Rule) -> None:
    names = (*rule.labels, *(rule.group_by or ()))
    if len(rule.labels) > ALERT_LABELS_MAX or len(rule.group_by or ()) > ALERT_LABELS_MAX:
        raise BadInput(f"labels: at most {ALERT_LABELS_MAX}, and as many to group by")
    if any(not (name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()) for name in names):
        raise BadInput("labels: names of labels are letters, digits and _, and begin with no digit")
    if any(len(said) > NAME_CHARS_MAX or not said.isprintable() for said in (*names, *rule.labels.values())):
        raise BadInput(f"labels: at most {NAME_CHARS_MAX} printable characters each")


def named(rules: Iterable[Rule], name: str, tenant: str | None) -> Rule | None:
    """The rule of this name and tenant; None when none is called so."""
    return next((one for one in rules if one.name == name and one.tenant == tenant), None)
