"""Forecasts of budgets that are kept: a job makes them, metrics and alerts read them, so that neither waits for any."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.limits import FORECASTS_AT_ONCE, FORECASTS_MAX
from otel_finops.governance.budgets import Budget, BudgetSet, BudgetStatus, Spending
from otel_finops.governance.followed import Followed
from otel_finops.insight.budget_forecast import BudgetForecast, budget_forecast
from otel_finops.insight.courses import past_of
from otel_finops.insight.trials import Method
from otel_finops.pricing.fx import MissingRate
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

_COLUMNS: Final = (
    "budget_no", "revision", "made_ns", "window_start_ns", "window_end_ns", "limit_amount", "spent_amount", "projected_amount",
    "low_amount", "high_amount", "chance", "exceeds_ns", "earliest_ns", "latest_ns",
)  # fmt: skip
_WRITE: Final = f"INSERT INTO budget_forecasts ({', '.join(_COLUMNS)}) VALUES"
_ANEW: Final = "ON CONFLICT (budget_no) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
_READ: Final = f"SELECT {', '.join(_COLUMNS)} FROM budget_forecasts WHERE budget_no IN ({{}})"
_ALL: Final = "SELECT budget_no FROM budget_forecasts"
_DELETE: Final = "DELETE FROM budget_forecasts WHERE budget_no = ?"


class StoredForecast(NamedTuple):
    """A forecast as it is kept; see `BudgetForecast`. `projected` None: nothing was ever spent."""

    budget_no: int
    revision: int
    made_ns: int
    window_start_ns: int
    window_end_ns: int
    limit: int
    spent: int
    projected: int | None
    low: int | None
    high: int | None
    chance: float | None
    exceeds_ns: int | None
    earliest_ns: int | None
    latest_ns: int | None


class Forecasted(NamedTuple):
    """A budget, how it stands and what it will come to.

    Attributes:
        forecast: None where nobody can tell.
        why_not: then, for people.
    """

    budget: Budget
    status: BudgetStatus
    forecast: BudgetForecast | None
    why_not: str | None


NOTHING_SPENT: Final = "nothing was spent yet"
FILLING: Final = "what was booked before the budget was made is still being counted"


def forecast_budgets(
    transaction: Transaction, spending: Spending, budgets: Sequence[Budget], now_ns: int, method: Method = "auto"
) -> Iterator[Forecasted]:
    """Each of these budgets with its forecast."""
    standing = spending.statuses(transaction, budgets, now_ns)
    for budget in budgets:
        status = standing[budget.no]
        if status.filling or status.fault is not None:
            yield Forecasted(budget, status, None, FILLING if status.filling else status.fault)
            continue
        try:
            booked = spending.daily(transaction, budget, past_of(budget.period, now_ns))
        except MissingRate as missing:
            yield Forecasted(budget, status, None, str(missing))
            continue
        found = budget_forecast(budget, status, booked, now_ns, method)
        yield Forecasted(budget, status, found, NOTHING_SPENT if found is None else None)


def stored_forecasts(transaction: Transaction, budgets: Iterable[Budget]) -> dict[int, StoredForecast]:
    """The kept forecasts of budgets as they are defined now, by number."""
    revisions = {one.no: one.revision for one in budgets}
    found = (_read(row) for row in transaction.select_in(_READ, sorted(revisions)))
    return {one.budget_no: one for one in found if one.revision == revisions[one.budget_no]}


class ForecastKeeper:
    """Makes the forecasts that are kept, of the first budgets that are asked; see above."""

    def __init__(self, store: Store, clock: Clock, budgets: Followed[BudgetSet], spending: Spending) -> None:
        self._store = store
        self._clock = clock
        self._budgets = budgets
        self._spending = spending

    def run(self, is_stopped: Callable[[], bool] = lambda: False) -> int:
        """Make all anew, some in each transaction; returns how many that are."""
        asked = list(islice((one for one in self._budgets.current() if one.enabled), FORECASTS_MAX))
        self._forget({one.no for one in asked})
        made = 0
        for start in range(0, len(asked), FORECASTS_AT_ONCE):
            if is_stopped():
                break
            now_ns = self._clock.now_ns()
            some = asked[start : start + FORECASTS_AT_ONCE]
            with self._store.read() as transaction:
                rows = [_row(one, now_ns) for one in forecast_budgets(transaction, self._spending, some, now_ns)]
            with self._store.write() as transaction:
                transaction.write_values(_WRITE, rows, _ANEW)
            made += len(rows)
        return made

    def _forget(self, kept: Collection[int]) -> None:
        with self._store.read() as transaction:
            gone = [(no,) for (no,) in transaction.execute(_ALL) if int(no) not in kept]
        if gone:
            with self._store.write() as transaction:
                transaction.executemany(_DELETE, gone)


def _row(one: Forecasted, now_ns: int) -> Row:
    budget, status, found = one.budget, one.status, one.forecast
    if found is None:
        return (budget.no, budget.revision, now_ns, *status.window, str(status.limit), str(status.spent), *[None] * 7)
    amounts = (found.projected, found.low, found.high)
    return (
        budget.no,
        budget.revision,
        found.made_ns,
        *found.window,
        str(found.limit),
        str(found.spent),
        *(None if amount is None else str(amount) for amount in amounts),
        found.chance,
        found.exceeds_ns,
        found.earliest_ns,
        found.latest_ns,
    )


def _read(row: Row) -> StoredForecast:
    no, revision, made_ns, start_ns, end_ns, limit, spent, projected, low, high, chance, *when = row
    amounts = [None if amount is None else int(amount) for amount in (projected, low, high)]
    return StoredForecast._make((no, revision, made_ns, start_ns, end_ns, int(limit), int(spent), *amounts, chance, *when))
