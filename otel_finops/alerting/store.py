"""Alerts as they are stored: those that stand, what became of them, what checks came to, and what people want to hear nothing of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from otel_finops.alerting.notices import Severity
from otel_finops.alerting.parameters import Kind
from otel_finops.alerting.rules import Rule
from otel_finops.alerting.states import Alert, Deed, Found
from otel_finops.base.errors import BadInput
from otel_finops.base.limits import ALERT_EVENTS_DAYS, ALERT_MUTES_MAX
from otel_finops.base.times import NS_PER_DAY
from otel_finops.store.unit_of_work import Row, Transaction

Tenants: TypeAlias = Collection[str] | None

_COLUMNS: Final = "alert_no, rule_no, key, phase, found, told, first_ns, started_ns, gone_ns, told_ns"
_ALL: Final = f"SELECT {_COLUMNS} FROM alerts ORDER BY alert_no"
_ADD: Final = (
    "INSERT INTO alerts (rule_no, key, tenant, phase, found, told, first_ns, started_ns, gone_ns, told_ns) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CHANGE: Final = (
    "UPDATE alerts SET phase = ?, found = ?, told = ?, first_ns = ?, started_ns = ?, gone_ns = ?, told_ns = ? WHERE alert_no = ?"
)
_TAKE: Final = "DELETE FROM alerts WHERE alert_no = ?"
_CHECKED: Final = (
    "INSERT INTO alert_checks (rule_no, checked_ns, found_ns, fault, found, left_out) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (rule_no) "
    "DO UPDATE SET checked_ns = excluded.checked_ns, found_ns = excluded.found_ns, fault = excluded.fault, found = excluded.found, "
    "left_out = excluded.left_out"
)
_CHECKS: Final = "SELECT rule_no, checked_ns, found_ns, fault, found, left_out FROM alert_checks"
_EVENT_COLUMNS: Final = (
    "alert_key, rule_no, rule, kind, tenant, deed, severity, title, text, at_ns, started_ns, notice_id, deliveries, held_back"
)
_EVENT: Final = f"INSERT INTO alert_events ({_EVENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_EVENTS: Final = f"SELECT event_no, {_EVENT_COLUMNS} FROM alert_events WHERE event_no < ?"
_EVENT_FILTERS: Final = {"rule_no": " AND rule_no = ?", "alert_key": " AND alert_key = ?"}
_FORGET: Final = "DELETE FROM alert_events WHERE at_ns < ?"
_MUTE: Final = (
    "INSERT INTO alert_mutes (rule_no, alert_key, tenant, until_ns, who, why, at_ns) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING mute_no"
)
_MUTES: Final = (
    "SELECT mute_no, rule_no, alert_key, tenant, until_ns, who, why, at_ns FROM alert_mutes WHERE until_ns > ? AND mute_no IN "
    "(SELECT MAX(mute_no) FROM alert_mutes GROUP BY rule_no, alert_key, tenant) ORDER BY mute_no"
)
_LAST_NO: Final = 2**63 - 1
_KEY_DIGITS: Final = 24


def alert_key(rule_no: int, key: str) -> str:
    """The name of an alert for people and machines: the same whenever the rule finds the same."""
    return f"{rule_no}-{sha256(key.encode()).hexdigest()[:_KEY_DIGITS]}"


class Check(NamedTuple):
    """What the last check of a rule came to.

    Attributes:
        checked_ns: when that was.
        found_ns: the last one that found out.
        fault: why the last one did not; "": it did.
        found: how many things it found.
        left_out: alerts that were too many.
    """

    rule_no: int
    checked_ns: int
    found_ns: int
    fault: str
    found: int
    left_out: int


class Event(NamedTuple):
    """What became of an alert.

    Attributes:
        no: larger than that of every event before; 0 before it is stored.
        deed: what happened.
        notice_id: of what people were told; "": nobody was.
        deliveries: channels that were to carry it.
        held_back: why nobody was told; "" otherwise.
    """

    no: int
    alert_key: str
    rule_no: int
    rule: str
    kind: Kind
    tenant: str
    deed: Deed
    severity: Severity
    title: str
    text: str
    at_ns: int
    started_ns: int
    notice_id: str = ""
    deliveries: int = 0
    held_back: str = ""


class Mute(NamedTuple):
    """What people want to hear nothing of.

    Attributes:
        alert_key: of one alert; "": all of the rule.
        tenant: only what is about this tenant; "": about anybody.
        until_ns: when it ends.
    """

    no: int
    rule_no: int
    alert_key: str
    tenant: str
    until_ns: int
    who: str
    why: str
    at_ns: int

    def covers(self, rule_no: int, key: str, tenant: str) -> bool:
        """Whether an alert is muted by it."""
        return self.rule_no == rule_no and self.alert_key in ("", key) and self.tenant in ("", tenant)


def standing(transaction: Transaction) -> list[Alert]:
    """The alerts that stand, in the order in which they began."""
    return [_alert(row) for row in transaction.execute(_ALL)]


def keep(transaction: Transaction, before: Alert | None, after: Alert | None) -> None:
    """Store what became of an alert."""
    if after is None:
        if before is not None and before.no:
            transaction.execute(_TAKE, (before.no,))
    elif not after.no:
        row = (after.rule_no, after.found.key, after.found.tenant, after.phase, _packed(after.found._asdict()), _levels(after.told))
        transaction.execute(_ADD, (*row, after.first_ns, after.started_ns, after.gone_ns, after.told_ns))
    elif after != before:
        said = (after.phase, _packed(after.found._asdict()), _levels(after.told))
        transaction.execute(_CHANGE, (*said, after.first_ns, after.started_ns, after.gone_ns, after.told_ns, after.no))


def record(transaction: Transaction, event: Event) -> None:
    """Put on record what became of an alert."""
    transaction.execute(_EVENT, event[1:])


def forget(transaction: Transaction, now_ns: int) -> None:
    """Drop what became of alerts long ago."""
    transaction.execute(_FORGET, (now_ns - ALERT_EVENTS_DAYS * NS_PER_DAY,))


def events(
    transaction: Transaction, tenants: Tenants, before_no: int | None, limit: int, rule_no: int | None, key: str | None
) -> list[Event]:
    """A page of what became of alerts about these tenants (None: about anybody), newest first."""
    given = {"rule_no": rule_no, "alert_key": key}
    wanted = "".join(text for name, text in _EVENT_FILTERS.items() if given[name] is not None)
    params = [given[name] for name in _EVENT_FILTERS if given[name] is not None]
    if tenants is not None:
        several = ", ".join("?" * len(tenants)) or "NULL"
        wanted, params = f"{wanted} AND tenant IN ({several})", [*params, *tenants]
    sql = f"{_EVENTS}{wanted} ORDER BY event_no DESC LIMIT ?"
    rows = transaction.execute(sql, (_LAST_NO if before_no is None else before_no, *params, limit))
    return [Event(int(row[0]), *row[1:]) for row in rows]


def checks(transaction: Transaction) -> dict[int, Check]:
    """What the last check of each rule came to, by the rule's number."""
    rows = transaction.execute(_CHECKS)
    return {int(no): Check(int(no), int(at), int(found_ns), fault, int(found), int(left)) for no, at, found_ns, fault, found, left in rows}


def keep_checks(transaction: Transaction, made: Sequence[Check]) -> None:
    """Store what checks came to."""
    transaction.executemany(_CHECKED, made)


def mutes(transaction: Transaction, now_ns: int) -> list[Mute]:
    """The mutes that hold."""
    return [Mute(int(no), int(rule_no), key, tenant, int(until), who, why, int(at)) for no, rule_no, key, tenant, until, who, why, at in
            transaction.execute(_MUTES, (now_ns,))]  # fmt: skip


def mute(transaction: Transaction, wanted: Mute) -> Mute:
    """Mute a rule or an alert until a moment; 0 takes a mute back.

    Raises:
        BadInput: too many mutes hold.
    """
    if wanted.until_ns and len(mutes(transaction, wanted.at_ns)) >= ALERT_MUTES_MAX:
        raise BadInput(f"there are {ALERT_MUTES_MAX} mutes already; take some back (alerts.unmute)")
    [(no,)] = transaction.execute(_MUTE, wanted[1:])
    return wanted._replace(no=int(no))


def alert_key_of(alert: Alert) -> str:
    """The name of an alert."""
    return alert_key(alert.rule_no, alert.found.key)


def event_of(rule: Rule, alert: Alert, deed: Deed, now_ns: int) -> Event:
    """What becomes of an alert, before anybody is told."""
    found = alert.found
    return Event(
        0, alert_key_of(alert), rule.no, rule.name, rule.kind, found.tenant, deed, found.severity, found.title, found.text, now_ns,
        alert.started_ns,
    )  # fmt: skip


def _packed(value: Any) -> str:
    return orjson.dumps(value).decode()


def _levels(told: Mapping[str, int] | None) -> str | None:
    return None if told is None else _packed(told)


def _alert(row: Row) -> Alert:
    no, rule_no, _, phase, found, told, first_ns, started_ns, gone_ns, told_ns = row
    levels = None if told is None else orjson.loads(told)
    return Alert(int(no), int(rule_no), phase, Found(**orjson.loads(found)), levels, int(first_ns), int(started_ns), gone_ns, told_ns)


def by_key(alerts: Iterable[Alert]) -> Iterator[tuple[tuple[int, str], Alert]]:
    """Alerts by the number of their rule and their key."""
    for one in alerts:
        yield (one.rule_no, one.found.key), one
