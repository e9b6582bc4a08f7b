"""Budgets on `/metrics`: limit, spent and utilization of each, at most so many series."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, Unavailable
from otel_finops.base.limits import BUDGET_SERIES_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import format_ns
from otel_finops.governance.budgets import Budget, BudgetSet, BudgetStatus, Spending
from otel_finops.governance.followed import Followed
from otel_finops.insight.forecast_store import stored_forecasts
from otel_finops.ledger.fx_store import dated_rates
from otel_finops.metrics import catalog
from otel_finops.metrics.series_guard import safe_label
from otel_finops.pricing.fx import DatedRates, MissingRate
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_log: Final = logging.getLogger(__name__)


class BudgetReading(NamedTuple):
    """How one budget stands.

    Attributes:
        name, tenant: its labels; tenant "" where it is for calls of several.
        limit_pico, spent_pico: pico-USD, of another currency at today's rate; None where no money is limited, or there is no rate.
        ratio: spent of the limit; None where it cannot be told.
        forecast_pico: what the window comes to; None where no money is limited, or nobody knows.
    """

    name: str
    tenant: str
    limit_pico: int | None
    spent_pico: int | None
    ratio: float | None
    forecast_pico: int | None = None


class BudgetReadings(NamedTuple):
    """Those that are shown, by number, and how many are not."""

    shown: Iterable[BudgetReading]
    left_out: int


BudgetSource = Callable[[], BudgetReadings]


def budget_source(
    store: Store,
    clock: Clock,
    budgets: Followed[BudgetSet],
    spending: Spending,
    *,
    series_max: int = BUDGET_SERIES_MAX,
    forecasts: bool = True,
) -> BudgetSource:
    """A source that reads how the first budgets stand that are asked; later ones have no series, so that none ever leaves.

    Args:
        forecasts: also show what windows come to, as it is kept.
    """

    def read() -> BudgetReadings:
        asked = [one for one in budgets.current() if one.enabled]
        shown, now_ns = asked[: min(series_max, BUDGET_SERIES_MAX)], clock.now_ns()
        today = format_ns(now_ns)[:10]
        with store.read() as transaction:
            standing = spending.statuses(transaction, shown, now_ns)
            rates = _rates(transaction, shown, today)
            kept = stored_forecasts(transaction, shown) if forecasts else {}
        ahead = {no: one.projected for no, one in kept.items() if one.window_end_ns > now_ns}
        return BudgetReadings([_reading(one, standing[one.no], ahead.get(one.no), rates, today) for one in shown], len(asked) - len(shown))

    return read


class BudgetCollector(Collector):
    """The metrics of budgets (`catalog.BUDGET_METRICS`); none while the store cannot answer, which `finops_ledger_readable` says."""

    def __init__(self, source: BudgetSource) -> None:
        self._source = source

    def collect(self) -> Iterator[Family]:
        """All families of one reading."""
        try:
            readings = self._source()
        except (Busy, Unavailable) as fault:
            _log.warning("metrics of budgets are left out of this scrape: %s", fault)
            return
        limit, spent, ratio, forecast = (
            GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for metric in (catalog.BUDGET_LIMIT, catalog.BUDGET_SPENT, catalog.BUDGET_RATIO, catalog.BUDGET_FORECAST)
        )
        for one in readings.shown:
            labels = [safe_label(one.name), safe_label(one.tenant)]
            if one.limit_pico is not None and one.spent_pico is not None:
                limit.add_metric(labels, one.limit_pico / PICO_PER_USD)
                spent.add_metric(labels, one.spent_pico / PICO_PER_USD)
            if one.ratio is not None:
                ratio.add_metric(labels, one.ratio)
            if one.forecast_pico is not None:
                forecast.add_metric(labels, one.forecast_pico / PICO_PER_USD)
        yield from (limit, spent, ratio, forecast)
        yield GaugeMetricFamily(catalog.BUDGETS_LEFT_OUT.name, catalog.BUDGETS_LEFT_OUT.meaning, value=readings.left_out)


def _rates(transaction: Transaction, budgets: Iterable[Budget], today: str) -> dict[str, DatedRates]:
    """Rates by the currencies that have one of today."""
    found = {}
    for currency in sorted({one.currency for one in budgets if one.kind == "money"}):
        try:
            found[currency] = dated_rates(transaction, currency, [today])
            found[currency].per_usd(today)
        except MissingRate as missing:
            found.pop(currency, None)
            _log.warning("budgets in %s are left out of this scrape's amounts in USD: %s", currency, missing)
    return found


def _reading(budget: Budget, status: BudgetStatus, ahead: int | None, rates: dict[str, DatedRates], today: str) -> BudgetReading:
    ratio = None if status.fault is not None else float(status.ratio)
    limit = spent = forecast = None
    if budget.kind == "money" and status.fault is None and budget.currency in rates:
        limit, spent = (rates[budget.currency].to_usd(amount, today) for amount in (status.limit, status.spent))
        forecast = None if ahead is None else rates[budget.currency].to_usd(ahead, today)
    return BudgetReading(budget.name, budget.tenant or "", limit, spent, ratio, forecast)
