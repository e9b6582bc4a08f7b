"""Retention over a store, by the settings: what `Retention` promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from otel_finops.base.clock import Clock
from otel_finops.base.limits import IDEMPOTENCY_KEY_HOURS, PRUNE_JOB_S
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_HOUR
from otel_finops.ledger.pruned import PrunedMonth, pruned_months, pruned_until_ns
from otel_finops.ledger.retention import LedgerPruner, Pruned
from otel_finops.ledger.retention_classes import SideClass, SidePruner
from otel_finops.operations.desks import CLASSES, ClassOfData, ClassPruned
from otel_finops.settings.tree import Retention
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases

Stop = Callable[[], bool]
SCHEDULE: Final = "schedule"
FURTHER: Final = ("runs", "run_shares", "trace_sums", "outcomes_said")
"""Tables of rooms above the ledger whose rows belong to traces."""


class RetentionDesk:
    """See `operations.context.Retention`. Safe to use from many threads."""

    def __init__(self, store: Store, leases: Leases, clock: Clock, settings: Retention) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._ledger = LedgerPruner(store, leases, clock, FURTHER)
        self._side = SidePruner(store, clock.now_ns)

    def months(self) -> Sequence[PrunedMonth]:
        """See `Retention.months`."""
        with self._store.read() as transaction:
            return pruned_months(transaction)

    def until_ns(self) -> int:
        """See `Retention.until_ns`."""
        with self._store.read() as transaction:
            return pruned_until_ns(transaction)

    def hours(self, name: ClassOfData) -> float:
        """See `Retention.hours`."""
        days = {
            "entries": self._settings.entries_days,
            "journal": self._settings.journal_days,
            "quarantine": self._settings.quarantine_days,
            "audit": self._settings.audit_days,
            "correction_runs": self._settings.correction_runs_days,
            "price_refreshes": self._settings.price_refreshes_days,
            "decisions": self._settings.decisions_days,
            "reservations": self._settings.decisions_days,
            "approvals": self._settings.decisions_days,
            "approval_uses": self._settings.decisions_days,
            "guardrail_rulings": self._settings.decisions_days,
            "outcomes": self._settings.outcomes_days,
            "deliveries": self._settings.deliveries_days,
            "delivery_attempts": self._settings.deliveries_days,
        }
        if name == "skeletons":
            return self._settings.skeletons_hours
        return IDEMPOTENCY_KEY_HOURS if name == "idempotency_keys" else days[name] * 24

    def prune(self, name: ClassOfData | None, days: int | None, *, who: str, dry_run: bool) -> Sequence[ClassPruned]:
        """See `Retention.prune`."""
        wanted = CLASSES if name is None and days is None else (name or "entries",)
        return list(self._pruned(wanted, days, who, lambda: False, dry_run=dry_run))

    def free_bytes(self) -> int | None:
        """See `Retention.free_bytes`."""
        if self._store.engine_name != "sqlite":
            return None
        with self._store.read() as transaction:
            return int(transaction.execute("PRAGMA freelist_count")[0][0]) * int(transaction.execute("PRAGMA page_size")[0][0])

    def prune_due(self, stop: Stop = lambda: False) -> str:
        """Prune what is older than the settings say, for a while; for the scheduler."""
        until = self._clock.monotonic() + PRUNE_JOB_S
        names = [name for name in CLASSES if name != "skeletons"]
        done = self._pruned(names, None, SCHEDULE, lambda: stop() or self._clock.monotonic() >= until, dry_run=False)
        return "; ".join(told for one in done if (told := _told(one))) or "nothing to prune"

    def _pruned(self, names: Sequence[ClassOfData], days: int | None, who: str, stop: Stop, *, dry_run: bool) -> Iterator[ClassPruned]:
        for name in names:
            hours = self.hours(name) if days is None else days * 24
            if hours and not stop():
                yield self._class(name, hours, who, stop, dry_run=dry_run)
            else:
                yield ClassPruned(name, hours)

    def _class(self, name: ClassOfData, hours: float, who: str, stop: Stop, *, dry_run: bool) -> ClassPruned:
        if name in ("entries", "journal"):
            days = round(hours / 24)
            rule = self._ledger.months_before(days) if name == "entries" else self._ledger.spans_before(days)
            taken = self._ledger.would_prune(rule) if dry_run else self._ledger.prune(rule, who, stop)
            return _of_ledger(name, hours, taken)
        before_ns = max(0, self._clock.now_ns() - round(hours * NS_PER_HOUR))
        side: SideClass = name  # type: ignore[assignment]  # all that is left
        gone = self._side.would_prune(side, before_ns) if dry_run else self._side.prune(side, before_ns, stop)
        return ClassPruned(name, hours, gone.rows, gone.oldest_ns, gone.newest_ns)


def _of_ledger(name: ClassOfData, hours: float, taken: Pruned) -> ClassPruned:
    rows = taken.entries if name == "entries" else taken.spans
    return ClassPruned(
        name, hours, rows, taken.oldest_ns, taken.newest_ns, taken.traces, taken.spans, taken.months, taken.held._asdict(), taken.finished
    )


def _told(one: ClassPruned) -> str:
    if not one.rows and not one.traces:
        return ""
    money = f" of {format_usd(sum(pico for _, pico in one.months.values()))} USD in {', '.join(sorted(one.months))}" if one.months else ""
    return f"{one.name}: {one.rows} rows{money}" + ("" if one.finished else ", not finished")
