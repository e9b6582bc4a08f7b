"""Forecasts over a store: of budgets, of any group of calls, and how well they would have done."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.governance.budgets import Budget, Spending
from otel_finops.governance.periods import Period, Window
from otel_finops.governance.spending import StoredSpending
from otel_finops.insight.backtest import Backtest, backtest
from otel_finops.insight.courses import BandStep, course_of, history_of, past_of
from otel_finops.insight.forecast_store import Forecasted, StoredForecast, forecast_budgets, stored_forecasts
from otel_finops.insight.methods import Name
from otel_finops.insight.series import by_name, cut_from, read_series
from otel_finops.insight.trials import Method
from otel_finops.ledger.subjects import Subjects
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction


class SpendAsked(NamedTuple):
    """Which calls, by what, in which windows.

    Attributes:
        tenants: that may be seen; None for all.
        filters: allowed values by key of spend reports.
        by: at most two keys that make groups.
        period: whose window is forecast; none of rolling hours.
    """

    tenants: Tenants
    filters: Mapping[str, Collection[str]]
    by: tuple[str, ...]
    period: Period


class SpendForecast(NamedTuple):
    """What calls will come to, pico-USD.

    Attributes:
        key: values by the keys that make groups, None for not known; empty of all calls.
        spent: booked in the window.
        steps: to come; none where nothing is known to go by, and then nothing more is expected.
        heard: how much each way to forecast counted.
        steps_known: days of the past.
    """

    key: Mapping[str, str | None]
    spent: int
    steps: tuple[BandStep, ...]
    heard: Mapping[Name, float]
    steps_known: int

    @property
    def projected(self) -> int:
        """What the window comes to."""
        return self.steps[-1].expected if self.steps else self.spent

    @property
    def low(self) -> int | None:
        """The lower end of the interval of that; None: nobody can tell."""
        return self.steps[-1].low if self.steps else None

    @property
    def high(self) -> int | None:
        """The upper end."""
        return self.steps[-1].high if self.steps else None


class SpendOutlook(NamedTuple):
    """Groups of calls, those that cost most by now first.

    Attributes:
        window: that is forecast.
        total: of all calls, by its own course: groups' forecasts need not add up to it.
        groups: as many as were asked for.
        others: how many more there are.
        days: what was booked on each day of the window until now, by its start.
    """

    window: Window
    total: SpendForecast
    groups: tuple[SpendForecast, ...]
    others: int
    days: Mapping[int, int]


class Forecasts:
    """Answers from one database; every method reads one snapshot."""

    def __init__(self, store: Store, clock: Clock, subjects: Subjects, spending: Spending | None = None) -> None:
        self._store = store
        self._clock = clock
        self._subjects = subjects
        self._spending = spending or StoredSpending()

    def of_budgets(self, budgets: Sequence[Budget], method: Method = "auto") -> list[Forecasted]:
        """These budgets, how they stand and what they will come to."""
        with self._store.read() as transaction:
            return list(forecast_budgets(transaction, self._spending, budgets, self._clock.now_ns(), method))

    def kept(self, budgets: Sequence[Budget]) -> Mapping[int, StoredForecast]:
        """What is kept of these budgets' forecasts, as the job last made them, by number."""
        with self._store.read() as transaction:
            return stored_forecasts(transaction, budgets)

    def of_spend(self, asked: SpendAsked, method: Method, limit: int) -> SpendOutlook:
        """What calls will come to.

        Raises:
            BadInput: an unknown key, or too many groups.
        """
        now_ns = self._clock.now_ns()
        past = past_of(asked.period, now_ns)
        with self._store.read() as transaction:
            whole = self._days(transaction, asked._replace(by=()), past, now_ns)[()]
            groups = self._days(transaction, asked, past, now_ns) if asked.by else {}
        total = _forecast({}, asked.period, whole, now_ns, method)
        window = asked.period.window(now_ns)
        spent = {key: _within(days, window) for key, days in groups.items()}
        dearest = sorted(groups, key=lambda key: (-spent[key], -sum(groups[key].values()), key))
        shown = [
            _forecast(dict(zip(asked.by, (value or None for value in key), strict=True)), asked.period, groups[key], now_ns, method)
            for key in dearest[:limit]
        ]
        days = {start: amount for start, amount in whole.items() if window.has(start)}
        return SpendOutlook(window, total, tuple(shown), len(dearest) - len(shown), days)

    def backtest_spend(self, asked: SpendAsked, steps: int) -> Backtest:
        """How well the spend of so many days would have been forecast."""
        now_ns = self._clock.now_ns()
        past = past_of(asked.period, now_ns)
        with self._store.read() as transaction:
            days = self._days(transaction, asked._replace(by=()), past, now_ns)[()]
        return _backtest(asked.period, past, days, now_ns, steps)

    def backtest_budget(self, budget: Budget, steps: int) -> Backtest:
        """The same of what was counted for a budget; raises MissingRate where a day with spend has no rate."""
        now_ns = self._clock.now_ns()
        past = past_of(budget.period, now_ns)
        with self._store.read() as transaction:
            booked = self._spending.daily(transaction, budget, past)
        return _backtest(budget.period, past, booked, now_ns, steps)

    def _days(self, transaction: Transaction, asked: SpendAsked, past: Window, now_ns: int) -> dict[tuple[str, ...], dict[int, int]]:
        """What was booked on each day until now, by group and the day's start."""
        from_ns = cut_from(transaction, past.start_ns, asked.period.zone)
        found = read_series(transaction, restricted(asked.tenants), asked.by, from_ns, now_ns, "day", asked.period.zone, asked.filters)
        named = by_name(transaction, self._subjects, asked.by, found)
        return {key: dict(zip(found.starts_ns, named.costs(key), strict=True)) for key in named.groups}


def _within(days: Mapping[int, int], window: Window) -> int:
    return sum(amount for start, amount in days.items() if window.has(start))


def _forecast(key: Mapping[str, str | None], period: Period, days: Mapping[int, int], now_ns: int, method: Method) -> SpendForecast:
    course = course_of(period, days, now_ns, method)
    spent = _within(days, period.window(now_ns))
    if course is None:
        return SpendForecast(key, spent, (), {}, 0)
    return SpendForecast(key, spent, course.band(), course.found.heard, course.found.steps_known)


def _backtest(period: Period, past: Window, booked: Mapping[int, int], now_ns: int, steps: int) -> Backtest:
    over = [step for step in period.steps(past) if step.end_ns <= now_ns]
    history = history_of(period, over, [booked.get(step.start_ns, 0) for step in over], now_ns)
    return backtest(history, steps)
