"""Alert rules and alerts over a store: what `operations.insight_desks.Alerts` promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otel_finops.alerting.evaluate import Checked, Checker, Looked
from otel_finops.alerting.rule_store import Change, RuleStore, is_seen, missing
from otel_finops.alerting.rules import Rule, RuleSet
from otel_finops.alerting.states import Alert
from otel_finops.alerting.store import Check, Event, Mute, checks, events, mute, mutes, standing
from otel_finops.base.clock import Clock
from otel_finops.governance.followed import Revision
from otel_finops.identity.principals import Editor
from otel_finops.ledger.tenants import Tenants
from otel_finops.store.engine import Store


class AlertsDesk:
    """See `operations.insight_desks.Alerts`. Safe to use from many threads."""

    def __init__(self, store: Store, clock: Clock, checker: Checker) -> None:
        self._store = store
        self._clock = clock
        self._rules = RuleStore(store, clock)
        self.checker = checker

    def rules(self) -> RuleSet:
        """See `Alerts.rules`."""
        return self._rules.all()

    def find(self, no: int, tenants: Tenants) -> Rule:
        """See `Alerts.find`."""
        rule = self._rules.all().get(no)
        if rule is None or not is_seen(rule, tenants):
            raise missing(no)
        return rule

    def history(self, no: int, tenants: Tenants) -> Sequence[Revision[Rule]]:
        """See `Alerts.history`."""
        return self._rules.history(no, tenants)

    def create(self, rule: Rule, editor: Editor, *, dry_run: bool = False) -> Rule:
        """See `Alerts.create`."""
        return self._rules.create(rule, editor, dry_run=dry_run)

    def update(self, no: int, change: Change, editor: Editor, revision: int | None = None, *, dry_run: bool = False) -> tuple[Rule, Rule]:
        """See `Alerts.update`."""
        return self._rules.update(no, change, editor, revision, dry_run=dry_run)

    def delete(self, no: int, editor: Editor, revision: int | None = None, *, dry_run: bool = False) -> Rule:
        """See `Alerts.delete`."""
        return self._rules.delete(no, editor, revision, dry_run=dry_run)

    def look(self, rule: Rule) -> Looked:
        """See `Alerts.look`."""
        return self.checker.look(rule)

    def checks(self) -> Mapping[int, Check]:
        """See `Alerts.checks`."""
        with self._store.read() as transaction:
            return checks(transaction)

    def standing(self, tenants: Tenants) -> Sequence[Alert]:
        """See `Alerts.standing`."""
        with self._store.read() as transaction:
            return [one for one in standing(transaction) if tenants is None or one.found.tenant in tenants]

    def events(self, tenants: Tenants, before_no: int | None, limit: int, *, rule_no: int | None, key: str | None) -> Sequence[Event]:
        """See `Alerts.events`."""
        with self._store.read() as transaction:
            return events(transaction, tenants, before_no, limit, rule_no, key)

    def mutes(self) -> Sequence[Mute]:
        """See `Alerts.mutes`."""
        with self._store.read() as transaction:
            return mutes(transaction, self._clock.now_ns())

    def mute(self, wanted: Mute, *, dry_run: bool = False) -> Mute:
        """See `Alerts.mute`."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            return mute(transaction, wanted._replace(at_ns=self._clock.now_ns()))

    def try_check(self) -> Checked:
        """See `Alerts.try_check`."""
        return self.checker.check(None, dry_run=True)
