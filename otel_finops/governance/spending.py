"""How budgets stand: what was booked, is pending and is held, read from a few rows of each, however large the ledger is.

Money of other currencies is converted at the rate of its day: what was booked by the days on which the calls began, what is pending or
held at the rate of the day that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.zones import date_in, zone_of
from otel_finops.governance.budgets import Budget, BudgetStatus
from otel_finops.governance.counts import (
    ROLLING_START,
    WINDOW,
    Booked,
    CountKey,
    CountRow,
    amount,
    piece_level,
    read_rows,
    step_level,
)
from otel_finops.governance.periods import Period, Window
from otel_finops.ledger.fx_store import dated_rates
from otel_finops.pricing.fx import BASE, DatedRates, MissingRate
from otel_finops.store.unit_of_work import Transaction

_NOTHING: Final = (0, 0, 0)
_NO_ROW: Final = CountRow()
_SUMS: Final = "SUM(c.booked_usd), SUM(c.booked_pico), SUM(c.booked_tokens), SUM(c.booked_calls)"
_LIVE: Final = f"SELECT c.count_no, {_SUMS} FROM budget_counters AS c JOIN (VALUES"
_DAYS: Final = (
    "SELECT c.count_no, c.start_ns, c.booked_usd, c.booked_pico, c.booked_tokens, c.booked_calls FROM budget_counters AS c JOIN (VALUES"
)
_BETWEEN: Final = (
    ") AS v ON c.count_no = v.column1 AND c.level = v.column2 AND c.start_ns >= v.column3 AND c.start_ns < v.column4"
)  # fmt: skip
_PENDING: Final = (
    "SELECT p.count_no, p.start_ns, SUM(p.usd), SUM(p.pico), SUM(p.tokens), SUM(p.calls) FROM budget_pending AS p JOIN (VALUES"
)
_OF_WINDOWS: Final = ") AS v ON p.count_no = v.column1 AND p.start_ns = v.column2 GROUP BY p.count_no, p.start_ns"
_FILLING: Final = "SELECT DISTINCT count_no FROM budget_fills WHERE count_no IN ({})"


class Readings:
    """What is stored of some budgets at an instant.

    Attributes:
        windows: the window that runs, by period.
        rows: of windows: those that run and those before them, of rolling ones what is held.
        live: booked in rolling windows, by count.
        pending: by count and start of the window's row.
        days: booked by the start of the day, or of the minutes that a window of hours is made of, of those whose currency is another: by
            count.
        filling: counts that lack entries.
    """

    def __init__(self, transaction: Transaction, budgets: Sequence[Budget], now_ns: int) -> None:
        self.now_ns = now_ns
        self._revisions = {one.revision for one in budgets}
        self.windows: dict[Period, Window] = {}
        for one in budgets:
            if one.period not in self.windows:
                self.windows[one.period] = one.period.window(now_ns)
        self._key_of = {one.no: self._found_key(one) for one in budgets}
        self._status_of: dict[int, BudgetStatus] = {}
        counts = sorted({one.counting for one in budgets})
        keys = [key for one in budgets for key in self._keys(one)]
        self.pending = _pending(transaction, keys)  # first: what is booked meanwhile shall rather count twice than not at all
        self.rows = read_rows(transaction, keys)
        self.live = self._live(transaction, [one for one in budgets if one.period.is_rolling])
        self.filling = {int(count) for (count,) in transaction.select_in(_FILLING, counts)}
        self.days = self._days(transaction, [one for one in budgets if is_foreign(one)])
        self.rates = self._rates(transaction, budgets)

    def knows(self, budgets: Sequence[Budget]) -> bool:
        """Whether it was these budgets, as they are defined now, that were read."""
        return {one.revision for one in budgets} == self._revisions

    def row(self, budget: Budget) -> CountRow:
        """The row that what is held for the budget stands in."""
        return self.rows.get(self.key(budget), _NO_ROW)

    def key(self, budget: Budget) -> CountKey:
        """Where that row is."""
        return self._key_of[budget.no]

    def _found_key(self, budget: Budget) -> CountKey:
        return budget.counting, WINDOW, window_start(budget.period, self.windows[budget.period])

    def status(self, budget: Budget) -> BudgetStatus:
        """How a budget stands."""
        status = self._status_of.get(budget.no)
        if status is None:
            status = self._status_of[budget.no] = self._reckoned(budget)
        return status

    def _reckoned(self, budget: Budget) -> BudgetStatus:
        window, fault = self.windows[budget.period], None
        try:
            booked = self._booked(budget, window)
            pending = self._converted(budget, self.pending.get((budget.counting, self.key(budget)[2]), _NOTHING))
            reserved = self._converted(budget, self.row(budget).reserved)
            carried = self._carried(budget, window)
        except MissingRate as missing:
            booked = pending = reserved = carried = 0
            fault = str(missing)
        filling = budget.counting in self.filling
        return BudgetStatus(
            window, budget.amount + carried, carried, booked, pending, reserved, filling, budget.warn_percent, fault
        )  # fmt: skip

    def live_booked(self, budget: Budget) -> Booked:
        """What was booked in the window that runs, in USD."""
        if budget.period.is_rolling:
            return self.live.get(budget.counting, _NOTHING)
        return self.row(budget).booked

    def rate_day(self, budget: Budget, at_ns: int) -> str:
        """The day of an instant whose rate holds for a budget."""
        return date_in(at_ns, zone_of(budget.period.zone)).isoformat()

    def _booked(self, budget: Budget, window: Window) -> int:
        if not is_foreign(budget):
            return amount(budget.kind, self.live_booked(budget))
        days: dict[str, int] = {}
        for start, booked in self.days.get(budget.counting, {}).items():
            if window.has(start) and booked[0]:
                day = self.rate_day(budget, start)
                days[day] = days.get(day, 0) + booked[0]
        rates = self.rates[budget.currency]
        return sum(rates.from_usd(pico, day) for day, pico in days.items())

    def _converted(self, budget: Budget, sums: Booked) -> int:
        if not is_foreign(budget) or not sums[0]:
            return 0 if is_foreign(budget) else amount(budget.kind, sums)
        return self.rates[budget.currency].from_usd(sums[0], self.rate_day(budget, self.now_ns))

    def _carried(self, budget: Budget, window: Window) -> int:
        before = budget.period.before(window) if budget.carry_over else None
        if before is None:
            return 0
        row = self.rows.get((budget.counting, WINDOW, before.start_ns), _NO_ROW)
        booked = self._booked(budget, before) if is_foreign(budget) else amount(budget.kind, row.booked)
        pending = self._converted(budget, self.pending.get((budget.counting, before.start_ns), _NOTHING))
        return budget.carried(before, booked + pending + self._converted(budget, row.reserved))

    def _keys(self, budget: Budget) -> Iterable[CountKey]:
        yield self.key(budget)
        before = budget.period.before(self.windows[budget.period]) if budget.carry_over else None
        if before is not None:
            yield budget.counting, WINDOW, before.start_ns

    def _live(self, transaction: Transaction, rolling: Sequence[Budget]) -> dict[int, Booked]:
        wanted = [(one.counting, piece_level(one.period), *self.windows[one.period]) for one in rolling]
        rows = transaction.write_values(_LIVE, sorted(wanted), f"{_BETWEEN} GROUP BY c.count_no")
        return {int(count): _sums(*sums) for count, *sums in rows}

    def _days(self, transaction: Transaction, foreign: Sequence[Budget]) -> dict[int, dict[int, Booked]]:
        wanted = []
        for one in foreign:
            window = self.windows[one.period]
            before = one.period.before(window) if one.carry_over else None
            wanted.append((one.counting, step_level(one.period), window.start_ns if before is None else before.start_ns, window.end_ns))
        return booked_days(transaction, wanted)

    def _rates(self, transaction: Transaction, budgets: Sequence[Budget]) -> dict[str, DatedRates]:
        asked: dict[str, set[str]] = {}
        for one in budgets:
            if is_foreign(one):
                starts = (*self.days.get(one.counting, ()), self.now_ns)
                asked.setdefault(one.currency, set()).update(self.rate_day(one, start) for start in starts)
        return {currency: _rates(transaction, currency, days) for currency, days in asked.items()}


class StoredSpending:
    """What was spent of budgets (`governance.budgets.Spending`)."""

    def statuses(self, transaction: Transaction, budgets: Sequence[Budget], now_ns: int) -> Mapping[int, BudgetStatus]:
        """How these budgets stand, by number."""
        readings = Readings(transaction, budgets, now_ns)
        return {one.no: readings.status(one) for one in budgets}

    def daily(self, transaction: Transaction, budget: Budget, window: Window) -> Mapping[int, int]:
        """What was booked in each step of the window, by the step's start; steps without anything are missing.

        Raises:
            MissingRate: there is no exchange rate for one of the days.
        """
        zone = zone_of(budget.period.zone)
        days = booked_days(transaction, [(budget.counting, step_level(budget.period), *window)]).get(budget.counting, {})
        if not is_foreign(budget):
            return {start: amount(budget.kind, booked) for start, booked in days.items()}
        names = {start: date_in(start, zone).isoformat() for start in days}
        rates = dated_rates(transaction, budget.currency, names.values())
        return {start: rates.from_usd(booked[0], names[start]) for start, booked in days.items()}


def is_foreign(budget: Budget) -> bool:
    """Whether it limits money of another currency than the ledger's."""
    return budget.kind == "money" and budget.currency != BASE


def window_start(period: Period, window: Window) -> int:
    """Where the row of a window stands."""
    return ROLLING_START if period.is_rolling else window.start_ns


def booked_days(transaction: Transaction, wanted: Sequence[tuple[int, int, int, int]]) -> dict[int, dict[int, Booked]]:
    """What was booked by day; for each count, of a level, from an instant to another."""
    found: dict[int, dict[int, Booked]] = {}
    for count, start, *sums in transaction.write_values(_DAYS, sorted(wanted), _BETWEEN):
        found.setdefault(int(count), {})[int(start)] = _sums(*sums)
    return found


def _pending(transaction: Transaction, keys: Iterable[CountKey]) -> dict[tuple[int, int], Booked]:
    windows = sorted({(count_no, start_ns) for count_no, _, start_ns in keys})
    return {(int(count), int(start)): _sums(*sums) for count, start, *sums in transaction.write_values(_PENDING, windows, _OF_WINDOWS)}


def _sums(usd: int, pico: int, tokens: int, calls: int) -> Booked:
    return int(usd) * PICO_PER_USD + int(pico), int(tokens), int(calls)


def _rates(transaction: Transaction, currency: str, days: Iterable[str]) -> DatedRates:
    """The rates of these days; of a currency without any, none, so that whoever asks for one hears what is missing."""
    try:
        return dated_rates(transaction, currency, days)
    except MissingRate:
        return DatedRates(currency, {}, {})
