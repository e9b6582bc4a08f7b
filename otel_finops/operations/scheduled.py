"""The jobs: everything that the service does by the clock, each declared once, with what a person would ask for the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, NamedTuple

from otel_finops.alerting.evaluate import Checker
from otel_finops.audit.clockwork import on_record
from otel_finops.base.clock import Clock
from otel_finops.base.errors import StartRefused
from otel_finops.base.limits import FIGURES_TRACES_AT_ONCE
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR
from otel_finops.governance.budget_fill import BudgetFiller
from otel_finops.governance.budget_store import followed_budgets
from otel_finops.governance.credit_desk import CreditDesk
from otel_finops.governance.pending import PendingCalls
from otel_finops.governance.spending import StoredSpending
from otel_finops.governance.thresholds import Thresholds
from otel_finops.insight.anomaly_watch import AnomalyWatch
from otel_finops.insight.forecast_store import ForecastKeeper
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.fee_spread import FeeSpreader
from otel_finops.ledger.journal import prune_skeletons
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.subscription_windows import CurrentRules
from otel_finops.operations.bills_desk import BillsDesk
from otel_finops.operations.corrections_desk import CorrectionsDesk
from otel_finops.operations.price_lists import PriceLists
from otel_finops.operations.retention_desk import RetentionDesk
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store
from otel_finops.store.jobs import HeldLease, Job, JobBody
from otel_finops.store.lease import Leases
from otel_finops.trees.projected import TraceFigures, fill

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3_600.0
_LOOK_S: Final = 900.0
"""A quarter of an hour: hours and days of spend are judged while they run."""
_DAY_S: Final = 86_400.0
_FILL_BUDGETS_S: Final = 15.0
"""Whoever made a budget over a large ledger waits for it; where nothing is to be filled this costs a lease."""
_FORECAST_S: Final = 600.0
"""A forecast of a day's or a month's end moves little in ten minutes."""
_FORECAST_FIRST_S: Final = 30.0
_CHECK_FIRST_S: Final = 5.0
_EXPIRE_S: Final = 15.0
"""How soon what is held for too long is given back where nobody asks for decisions; whoever does gives it back at once."""
_RETAIN_FIRST_S: Final = 5_400.0
"""Behind the first look for months to close, since only closed ones are pruned."""
_RECONCILE_FIRST_S: Final = 1_200.0
_PRUNE_TRACES: Final = 5_000
_SPREAD_BACK_DAYS: Final = 45
"""How long after its end a period's fee is spread again when calls come late."""


class Parts(NamedTuple):
    """What jobs work on.

    Attributes:
        expire: gives back what decisions hold for too long.
        deliver: attempts the notices that are due.
        checker: checks the alert rules.
        is_stopping: whether no further round is to begin.
    """

    settings: Settings
    store: Store
    clock: Clock
    leases: Leases
    prices: CurrentPrices
    corrections: CorrectionsDesk
    retention: RetentionDesk
    credits: CreditDesk
    expire: Callable[[], str]
    deliver: Callable[[], object]
    checker: Checker
    is_stopping: Callable[[], bool]


class _Planned(NamedTuple):
    """A job, and whether the settings want it."""

    job: Job
    is_wanted: bool = True


def scheduled(parts: Parts) -> list[Job]:
    """The jobs that the settings want, at their intervals.

    Raises:
        StartRefused: the settings give an interval to a job that there is not.
    """
    planned = list(chain(_price_jobs(parts), _figure_jobs(parts), _ledger_jobs(parts), _governance_jobs(parts), _anomaly_jobs(parts)))
    intervals = parts.settings.jobs.intervals
    names = {one.job.name for one in planned}
    if unknown := sorted(set(intervals) - names):
        raise StartRefused(f"jobs.intervals: there is no job {unknown[0]!r}; jobs are {', '.join(sorted(names))}")
    wanted = (one.job for one in planned if one.is_wanted)
    return [job._replace(interval_s=intervals.get(job.name, job.interval_s)) for job in wanted]


def _price_jobs(parts: Parts) -> Iterator[_Planned]:
    settings = parts.settings
    lists = PriceLists(parts.store, parts.prices, settings.prices, anywhere=False)
    refresh = _work(parts, "prices.refresh", lists.refresh_by_the_clock)
    summary = "Look whether the price lists are to be refreshed, and capture what changed."
    yield _Planned(
        Job("refresh_prices", _MINUTE_S, refresh, 0.0, summary, "prices.refresh"),
        bool(settings.prices.refresh_from) and settings.features.prices,
    )


def _figure_jobs(parts: Parts) -> Iterator[_Planned]:
    def figures(lease: HeldLease) -> str:
        kept, left = TraceFigures(), 1
        while left and not parts.is_stopping():
            with parts.store.write() as transaction:
                left = fill(transaction, kept, FIGURES_TRACES_AT_ONCE)
        return f"{left} traces left at most" if left else "every settled trace has its figures"

    def skeletons(lease: HeldLease) -> str:
        before_ns = parts.clock.now_ns() - round(parts.settings.retention.skeletons_hours * NS_PER_HOUR)
        pruned, dropped = 0, 1
        while dropped and not parts.is_stopping():
            with parts.store.write() as transaction:
                dropped = prune_skeletons(transaction, before_ns, _PRUNE_TRACES)
            pruned += dropped
        return f"{pruned} spans of traces without GenAI spans pruned"

    summary = "Work out the runs and sums of traces that were settled before these were kept."
    yield _Planned(Job("fill_run_figures", 300.0, figures, 2.0, summary), parts.settings.features.figures)
    summary = "Drop spans of traces that never had a GenAI span."
    yield _Planned(Job("prune_skeletons", 300.0, skeletons, 300.0, summary, "retention.prune"))


def _ledger_jobs(parts: Parts) -> Iterator[_Planned]:
    settings, corrections = parts.settings, parts.corrections
    features = settings.features
    yield _Planned(_reconcile_job(parts), features.reconciliation)
    spread = _work(parts, "subscriptions.spread", lambda: _spread(parts))
    summary = "Spread flat fees over the calls that they covered."
    yield _Planned(Job("spread_fees", 6 * _HOUR_S, spread, 600.0, summary, "subscriptions.spread"), features.subscriptions)
    estimate = _work(parts, "ledger.estimate", corrections.estimate_due)
    summary = "Estimate calls that came without usage."
    yield _Planned(
        Job("estimate", _DAY_S, estimate, 1_800.0, summary, "ledger.estimate"), features.ledger and settings.ledger.estimate
    )  # fmt: skip
    grant = _work(parts, "ledger.allowances", corrections.allowances_due)
    summary = "Book free allowances of the open months."
    yield _Planned(
        Job("allowances", 6 * _HOUR_S, grant, 900.0, summary, "ledger.allowances"), features.ledger and bool(settings.pricing.allowances)
    )
    # closing: never at the start, since what senders kept while the service was away comes first, and is not late for that
    close = _work(parts, "periods.close", corrections.close_due)
    summary = "Close months that ended long enough ago."
    yield _Planned(
        Job("close_periods", _HOUR_S, close, _HOUR_S, summary, "periods.close"), features.ledger and settings.ledger.close_months
    )
    prune = _work(parts, "retention.prune", lambda: parts.retention.prune_due(parts.is_stopping))
    summary = "Take away data that is older than it is kept for."
    yield _Planned(Job("prune", _DAY_S, prune, _RETAIN_FIRST_S, summary, "retention.prune"), features.retention)


def _reconcile_job(parts: Parts) -> Job:
    desk = BillsDesk(parts.store, parts.clock, parts.prices.fresh, parts.settings.reconciliation, files=False)
    work = _work(parts, "reconcile.run", desk.by_the_clock)
    summary = "Fetch bills from the billing APIs that the settings name, and hold every bill against the ledger."
    return Job("reconcile", 6 * _HOUR_S, work, _RECONCILE_FIRST_S, summary, "reconcile.run")


def _spread(parts: Parts) -> str:
    """Spread flat fees; periods that were over long ago stand unless somebody asks for them."""
    rules = CurrentRules(parts.store, parts.settings.pricing)
    spreader = FeeSpreader(parts.store, parts.leases, (Rollups(),), parts.clock, lambda: rules().subscriptions)
    since_ns = parts.clock.now_ns() - _SPREAD_BACK_DAYS * NS_PER_DAY
    done = spreader.run(who="scheduler", why="the period is over", ended_after_ns=since_ns)
    return f"{done.rows} shares of flat fees booked"


def _governance_jobs(parts: Parts) -> Iterator[_Planned]:
    """What budgets need besides settling: to be filled in, to hear that a rolling window moved on, and to forget what pends no more; and
    what is given back or lapses by time."""
    budgets, thresholds = followed_budgets(parts.store, parts.clock), Thresholds(StoredSpending())
    filler = BudgetFiller(parts.store, parts.clock, budgets, thresholds)
    pending = PendingCalls(budgets)

    def fill_in(lease: HeldLease) -> str:
        steps = filler.run(parts.is_stopping)
        return f"{steps} steps of filling budgets in" if steps else "every budget knows the whole ledger"

    def sweep(lease: HeldLease) -> str:
        with parts.store.write() as transaction:
            left = pending.sweep(transaction)
            thresholds.move_on(transaction, budgets.seen_by(transaction), parts.clock.now_ns())
        return f"{left} settled traces were still taken for pending" if left else "what is pending is pending"

    def forecast(lease: HeldLease) -> str:
        return f"{ForecastKeeper(parts.store, parts.clock, budgets, StoredSpending()).run(parts.is_stopping)} budgets forecast"

    features = parts.settings.features
    summary = "Count for new budgets what was booked before they were made."
    yield _Planned(Job("fill_budgets", _FILL_BUDGETS_S, fill_in, _FILL_BUDGETS_S, summary), features.budgets)
    summary = "Forget calls that pend no more, and move rolling windows on."
    yield _Planned(Job("sweep_pending", _MINUTE_S, sweep, _MINUTE_S, summary), features.budgets)
    summary = "Forecast what the windows of budgets come to, for metrics and alerts."
    yield _Planned(Job("forecast_budgets", _FORECAST_S, forecast, _FORECAST_FIRST_S, summary), features.forecast)
    lapse = _work(parts, "credits.expire", lambda: parts.credits.expire_due(parts.is_stopping))
    summary = "Post what is left of expired grants as lapsed."
    yield _Planned(Job("expire_credits", _MINUTE_S, lapse, 0.0, summary, "credits.expire"), features.credits)
    summary = "Deliver notices that wait; a running service does so within a second too."
    yield _Planned(
        Job("deliver", _MINUTE_S, lambda lease: str(parts.deliver()), _MINUTE_S, summary, "deliveries.run"), features.channels
    )  # fmt: skip
    summary = "Check the alert rules, and tell what there is to tell."
    yield _Planned(Job("check_alerts", _MINUTE_S, parts.checker.run, _CHECK_FIRST_S, summary, "alerts.check", prompt=True), features.alerts)
    summary = "Give back what decisions held for too long."
    yield _Planned(Job("expire_reservations", _EXPIRE_S, lambda lease: parts.expire(), _EXPIRE_S, summary, prompt=True))


def _anomaly_jobs(parts: Parts) -> Iterator[_Planned]:
    settings = parts.settings
    watch = AnomalyWatch(parts.store, parts.leases, parts.clock, settings.anomalies, settings.display.zone)
    summary = "Look for days and hours of spend that stand out, and work out what drives them."

    def look(lease: HeldLease) -> str:
        return str(watch.run(is_stopping=parts.is_stopping))

    yield _Planned(Job("find_anomalies", _LOOK_S, look, _MINUTE_S, summary, "anomalies.run"), settings.features.anomalies)


def _work(parts: Parts, what: str, body: Callable[[], str]) -> JobBody:
    """A job's work, on record as what a person would ask for the same."""
    return lambda lease: on_record(parts.store, parts.clock, what, body)
