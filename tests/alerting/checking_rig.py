"""Alert rules over a store: a feed that finds what a test says, channels that would carry it, and what was put into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delivery_rig import channel_store, slack

from otel_finops.alerting.channel_rows import followed_routing
from otel_finops.alerting.evaluate import Checked, Checker
from otel_finops.alerting.findings import Feed, Finding
from otel_finops.alerting.parameters import Kind
from otel_finops.alerting.rule_store import RuleStore
from otel_finops.alerting.rules import Rule
from otel_finops.alerting.store import Event, Mute, checks, events, mute, standing
from otel_finops.base.errors import FinopsError
from otel_finops.base.ids import IdSource
from otel_finops.identity.principals import Editor
from otel_finops.store.engine import Store
from otel_finops.store.jobs import HeldLease, Job, JobRun, JobRunner, JobRuns
from otel_finops.store.lease import Leases
from otel_finops.testing import CountingIds, FakeClock

OWNER = Editor("olga")


class Stub:
    """A feed that finds what it is given, or raises it."""

    def __init__(self) -> None:
        self.found: Sequence[Finding] | Exception = ()
        self.asked: list[tuple[int, int]] = []

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        self.asked.append((now_ns, since_ns))
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class CheckingRig:
    """One process that checks; several may share a store.

    Attributes:
        feed: of rules of the kind that it was made for.
    """

    def __init__(
        self, store: Store, clock: FakeClock, feed: Feed | None = None, kind: Kind = "budget", ids: IdSource | None = None
    ) -> None:
        self.store = store
        self.clock = clock
        self.feed = Stub() if feed is None else feed
        self.rules = RuleStore(store, clock)
        self.checker = Checker(store, clock, ids or CountingIds(), {kind: self.feed}, followed_routing(store, clock).seen_by)
        self.leases = Leases(store, clock, f"process {id(self)}")
        self.runner = JobRunner(self.leases, JobRuns(store), clock, self.leases.holder)

    def rule(self, name: str = "budgets", kind: Kind = "budget", **said: Any) -> Rule:
        return self.rules.create(Rule(0, name, kind, **said), OWNER)

    def channel(self, name: str = "ops", tenant: str | None = None) -> None:
        slack(channel_store(self.store, self.clock), name, tenant)
        self.clock.advance(1)

    def check(self, seconds: float = 60) -> Checked:
        """Let time pass, and check."""
        self.clock.advance(seconds)
        return self.checker.check(None)

    def run(self) -> JobRun:
        """Check as the job does."""
        return self.runner.run(Job("check_alerts", 60, self.checker.run))

    def told(self, seconds: float = 60) -> list[tuple[str, str]]:
        """State and title of what a check tells."""
        return [(one.state, one.title) for one in self.check(seconds).notices]

    def deliveries(self) -> list[tuple[str, int, str]]:
        """Alert, channel and state of what is in the outbox."""
        with self.store.read() as transaction:
            rows = transaction.execute("SELECT alert_key, channel_no, state FROM deliveries ORDER BY delivery_no")
        return [(key, int(channel), state) for key, channel, state in rows]

    def events(self) -> list[Event]:
        """Oldest first."""
        with self.store.read() as transaction:
            return events(transaction, None, None, 100, None, None)[::-1]

    def standing(self) -> list[tuple[str, str]]:
        with self.store.read() as transaction:
            return [(one.phase, one.found.title) for one in standing(transaction)]

    def faults(self) -> list[str]:
        with self.store.read() as transaction:
            return [one.fault for one in checks(transaction).values()]

    def mute(self, rule: Rule, hours: float = 1, alert_key: str = "") -> None:
        until_ns = self.clock.now_ns() + int(hours * 3_600 * 10**9) if hours else 0
        with self.store.write() as transaction:
            mute(transaction, Mute(0, rule.no, alert_key, "", until_ns, "ann", "known", self.clock.now_ns()))


def finding(key: str = "b1", level: int = 80, tenant: str = "acme", **more: Any) -> Finding:
    return Finding(key, tenant, f"{key} at {level} %", f"{level} of 100", {"budget": key}, {"percent": str(level)}, level, **more)


def fault(text: str) -> FinopsError:
    return FinopsError(text)


class LostLease:
    """A lease that somebody else took."""

    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def confirm(self, transaction: Any) -> None:
        raise self._fault

    def renew(self) -> None:
        raise self._fault

    def release(self) -> None:
        pass


def lost(fault: Exception) -> HeldLease:
    return LostLease(fault)
