"""The check of alert rules: what they find, what becomes of alerts, and what is put into the outbox, all of it in one transaction.

Looking takes its time and is done before; what is written confirms the lease of the check first, so that of several processes one tells.
A rule that cannot find out changes nothing: not to know is not to be well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.alerting import outbox
from otel_finops.alerting.defaults import DEFAULTS, SHIPPED_BY
from otel_finops.alerting.findings import Feed, Finding
from otel_finops.alerting.notices import Notice, State
from otel_finops.alerting.parameters import Kind
from otel_finops.alerting.routes import Routing
from otel_finops.alerting.rule_store import followed_rules, last_of, ship
from otel_finops.alerting.rules import Rule
from otel_finops.alerting.states import Alert, Found, Step, joined, notice_of, step
from otel_finops.alerting.store import (
    Check,
    Event,
    Mute,
    alert_key_of,
    by_key,
    checks,
    event_of,
    forget,
    keep,
    keep_checks,
    mutes,
    record,
    standing,
)
from otel_finops.audit.chain import append
from otel_finops.audit.trail import Change, origin
from otel_finops.base.clock import Clock
from otel_finops.base.errors import FinopsError
from otel_finops.base.ids import IdSource
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.store.engine import Store
from otel_finops.store.jobs import HeldLease
from otel_finops.store.unit_of_work import Transaction

_log: Final = logging.getLogger(__name__)

_ID_BYTES: Final = 16
QUIET: Final = "quiet hours"
MUTED: Final = "muted"


class Looked(NamedTuple):
    """What a rule found out.

    Attributes:
        findings: None: it could not.
        fault: why not.
    """

    rule: Rule
    findings: Sequence[Finding] | None
    fault: str = ""


class Checked(NamedTuple):
    """What a check came to.

    Attributes:
        checks: of each rule that is enabled.
        events: what became of alerts.
        notices: what people are told.
        standing: the alerts that hold now.
    """

    checks: Sequence[Check]
    events: Sequence[Event]
    notices: Sequence[Notice]
    standing: Sequence[Alert]


class Checker:
    """Checks the alert rules of one ledger.

    Args:
        feeds: who knows of what, by the kind of rule.
        routing: the channels and routes that a transaction sees; None where channels are switched off.
        ids: names of notices.
    """

    def __init__(
        self, store: Store, clock: Clock, ids: IdSource, feeds: Mapping[Kind, Feed], routing: Callable[[Transaction], Routing] | None
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._feeds = feeds
        self._routing = routing
        self._rules = followed_rules(store, clock)

    def run(self, lease: HeldLease) -> str:
        """Check all rules, under the lease of the check; one line of what came of it, for people."""
        self._ship(lease)
        done = self.check(lease)
        faults = sum(1 for one in done.checks if one.fault)
        said = f"{len(done.checks)} rules, {len(done.standing)} alerts, {len(done.notices)} told"
        return f"{said}, {faults} rules could not be checked" if faults else said

    def check(self, lease: HeldLease | None, *, dry_run: bool = False) -> Checked:
        """Check all rules.

        Args:
            lease: None: nobody else checks, or it is a dry run.
            dry_run: only say what would be told; nothing stays.

        Raises:
            Busy: the lease was lost, nothing was written and nobody is told; or the store's.
            Unavailable: the store's.
        """
        now_ns = self._clock.now_ns()
        with self._store.read() as transaction:
            rules, former = self._rules.seen_by(transaction), checks(transaction)
        looked = [self._look(rule, now_ns, former.get(rule.no)) for rule in rules if rule.enabled]
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            if lease is not None:
                lease.confirm(transaction)  # before anything is read here: nobody else tells from now on
            return _Writing(self, transaction, now_ns).check({rule.no: rule for rule in rules}, looked, former)

    def look(self, rule: Rule) -> Looked:
        """What one rule, which need not be stored, finds at this moment."""
        return self._look(rule, self._clock.now_ns(), None)

    def _look(self, rule: Rule, now_ns: int, former: Check | None) -> Looked:
        feed = self._feeds.get(rule.kind)
        if feed is None:
            return Looked(rule, None, f"nothing is known of what rules of kind {rule.kind} are about: that feature is switched off")
        try:
            found = feed(rule, now_ns, now_ns if former is None or not former.found_ns else min(former.found_ns, now_ns))
        except FinopsError as fault:
            return Looked(rule, None, str(fault))
        except Exception as fault:  # noqa: BLE001 - a fault of one kind of rule must not keep people from hearing of all others
            _log.exception("alert rule %d cannot be checked", rule.no)
            return Looked(rule, None, type(fault).__name__)
        return Looked(rule, [one for one in found if rule.sees(one.tenant)])

    def _ship(self, lease: HeldLease) -> None:
        """Store the rules that come with the product where there never was one."""
        with self._store.read() as transaction:
            if self._rules.seen_by(transaction).revision:
                return
        now_ns = self._clock.now_ns()
        with self._store.write() as transaction:
            lease.confirm(transaction)
            for rule in ship(transaction, DEFAULTS, SHIPPED_BY, now_ns):
                after = {"no": rule.no, "name": rule.name, "kind": rule.kind}
                append(
                    transaction, Change(SHIPPED_BY, "alert_rules.create", None, after, now_ns, origin(SHIPPED_BY), ANY_TENANT, "done", None)
                )

    def notice_id(self) -> str:
        """A name that no notice had."""
        return self._ids.token(_ID_BYTES)

    def put(self, transaction: Transaction, notice: Notice) -> int:
        """Have a notice delivered; by how many channels."""
        return 0 if self._routing is None else len(outbox.put(transaction, notice, self._routing(transaction)))


class _Writing:
    """A check's transaction."""

    def __init__(self, checker: Checker, transaction: Transaction, now_ns: int) -> None:
        self._checker = checker
        self._transaction = transaction
        self._now_ns = now_ns
        self._mutes: Sequence[Mute] = mutes(transaction, now_ns)
        self._events: list[Event] = []
        self._notices: list[Notice] = []
        self._standing: list[Alert] = []

    def check(self, rules: Mapping[int, Rule], looked: Sequence[Looked], former: Mapping[int, Check]) -> Checked:
        held: dict[int, dict[str, Alert]] = {}
        for (rule_no, key), alert in by_key(standing(self._transaction)):
            held.setdefault(rule_no, {})[key] = alert
        made = [self._rule(one, held.pop(one.rule.no, {}), former.get(one.rule.no)) for one in looked]
        for rule_no, alerts in held.items():  # of rules that were taken away or switched off
            rule = rules.get(rule_no) or last_of(self._transaction, rule_no)
            for alert in alerts.values():
                self._step(rule._replace(clear_s=0), alert, None)
        keep_checks(self._transaction, made)
        forget(self._transaction, self._now_ns)
        return Checked(made, self._events, self._notices, self._standing)

    def _rule(self, looked: Looked, held: Mapping[str, Alert], former: Check | None) -> Check:
        rule, found_ns = looked.rule, 0 if former is None else former.found_ns
        if looked.findings is None:
            self._standing += held.values()
            return Check(rule.no, self._now_ns, found_ns, looked.fault, len(held), 0)
        found, left_out = joined(rule, looked.findings, held)
        for key, one in _paired(held, found):
            self._step(rule, held.get(key), one)
        return Check(rule.no, self._now_ns, self._now_ns, "", len(looked.findings), left_out)

    def _step(self, rule: Rule, before: Alert | None, found: Found | None) -> None:
        held_back = self._held_back(rule, before, found)
        done = step(rule, before, found, self._now_ns, held_back=bool(held_back))
        alert = done.after or before
        if alert is not None and done.deed is not None:
            self._tell(rule, alert, done, held_back)
        keep(self._transaction, before, done.after)
        if done.after is not None:
            self._standing.append(done.after)

    def _held_back(self, rule: Rule, before: Alert | None, found: Found | None) -> str:
        """Why people are not to be told now; "": they are."""
        one = found or (before.found if before is not None else None)
        if one is None:
            return ""
        key = alert_key_of(Alert(0, rule.no, "pending", one, None, 0, 0))
        if any(mute.covers(rule.no, key, one.tenant) for mute in self._mutes):
            return MUTED
        is_quiet = rule.quiet is not None and one.severity != "critical" and rule.quiet.holds(self._now_ns)
        return QUIET if is_quiet else ""

    def _tell(self, rule: Rule, alert: Alert, done: Step, held_back: str) -> None:
        assert done.deed is not None
        event = event_of(rule, alert, done.deed, self._now_ns)
        if done.telling is not None:
            event = self._told(rule, alert, done.telling, event)
        event = event._replace(held_back="" if done.telling is not None else held_back)
        record(self._transaction, event)
        self._events.append(event)

    def _told(self, rule: Rule, alert: Alert, telling: State, event: Event) -> Event:
        notice = notice_of(rule, alert, telling, self._checker.notice_id(), event.alert_key, self._now_ns)
        self._notices.append(notice)
        return event._replace(notice_id=notice.notice_id, deliveries=self._checker.put(self._transaction, notice))


def _paired(held: Mapping[str, Alert], found: Iterable[Found]) -> list[tuple[str, Found | None]]:
    """Every alert that stands or was found."""
    now: dict[str, Found | None] = {one.key: one for one in found}
    return [*now.items(), *((key, None) for key in held if key not in now)]
