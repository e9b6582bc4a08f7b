"""Correcting and closing, over a store: what `Corrections` promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from otel_finops.base.clock import Clock
from otel_finops.base.times import NS_PER_DAY
from otel_finops.ledger.allowances import Project, grant_allowances
from otel_finops.ledger.correction_runs import CorrectionRun, correction_runs, run_of_block
from otel_finops.ledger.corrections import Corrected, Corrector, Selection
from otel_finops.ledger.estimate import PATIENCE_DAYS, Habits, estimate
from otel_finops.ledger.period_bounds import closed_until_ns
from otel_finops.ledger.periods import SCHEDULE, Period, Periods, periods
from otel_finops.ledger.reprice import reprice
from otel_finops.ledger.tenants import Tenants
from otel_finops.settings.tree import Ledger
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases

BY_THE_CLOCK: Final = "by the clock (ledger.estimate)"
ALLOWANCES_BY_THE_CLOCK: Final = "by the clock (pricing.allowances)"


class CorrectionsDesk:
    """See `operations.context.Corrections`. Safe to use from many threads.

    Args:
        store: the ledger's database.
        leases: of this process.
        clock: our time.
        corrector: makes what corrects by the prices of now.
        settings: when months close, and what estimates are made of.
        projects: who shares free allowances.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        clock: Clock,
        corrector: Callable[[], Corrector],
        settings: Ledger,
        projects: Sequence[Project] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._corrector = corrector
        self._settings = settings
        self._projects = projects
        self._periods = Periods(store, leases, clock)

    def reprice(self, selection: Selection, *, who: str, why: str, dry_run: bool) -> Corrected:
        """See `Corrections.reprice`."""
        return reprice(self._corrector(), selection, who=who, why=why, dry_run=dry_run)

    def estimate(self, selection: Selection, *, who: str, why: str, dry_run: bool) -> Corrected:
        """See `Corrections.estimate`."""
        habits = Habits(self._settings.estimate_days, self._settings.estimate_samples)
        return estimate(self._corrector(), selection, habits, who=who, why=why, dry_run=dry_run)

    def allowances(self, selection: Selection, *, who: str, why: str, dry_run: bool) -> Corrected:
        """See `Corrections.allowances`."""
        return grant_allowances(self._corrector(), self._projects, selection, who=who, why=why, dry_run=dry_run)

    def runs(self, before_no: int | None, limit: int) -> Sequence[CorrectionRun]:
        """See `Corrections.runs`."""
        with self._store.read() as transaction:
            return correction_runs(transaction, before_no, limit)

    def run_of(self, shard: int, block_seq: int) -> CorrectionRun | None:
        """See `Corrections.run_of`."""
        with self._store.read() as transaction:
            return run_of_block(transaction, shard, block_seq)

    def periods(self, tenants: Tenants) -> Sequence[Period]:
        """See `Corrections.periods`."""
        with self._store.read() as transaction:
            return periods(transaction, tenants)

    def close(self, month: str, *, who: str, why: str, dry_run: bool) -> Sequence[str]:
        """See `Corrections.close`."""
        return self._periods.would_close(month) if dry_run else self._periods.close(month, who, why)

    def close_due(self) -> str:
        """Close the months that ended long enough ago; for the scheduler."""
        closed = self._periods.close_due(self._settings.close_after_days)
        return f"closed {', '.join(closed)}" if closed else "no month to close"

    def estimate_due(self) -> str:
        """Estimate what is without usage in the open months and had its time; for the scheduler."""
        with self._store.read() as transaction:
            from_ns = closed_until_ns(transaction)
        to_ns = self._clock.now_ns() - round(PATIENCE_DAYS * NS_PER_DAY)
        done = self.estimate(Selection(from_ns, to_ns), who=SCHEDULE, why=BY_THE_CLOCK, dry_run=False)
        return f"{done.total.changed} calls estimated"

    def allowances_due(self) -> str:
        """Book the free searches of the open months; for the scheduler."""
        with self._store.read() as transaction:
            from_ns = closed_until_ns(transaction)
        done = self.allowances(Selection(from_ns, self._clock.now_ns()), who=SCHEDULE, why=ALLOWANCES_BY_THE_CLOCK, dry_run=False)
        return f"free searches of {done.total.changed} calls changed"
