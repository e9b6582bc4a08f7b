"""Crossings of thresholds: that so many percent of a budget's limit were booked in a window is recorded once, whoever notices.

What is pending or held is not asked: an alert shall not be taken back because a call came out cheaper. A crossing is of the window that
runs when its entry is recorded; a clock that goes back finds the crossings of its window as they stand, and late calls of a window that
is over cross nothing. Where less was booked than that again, by a correction or because a rolling window moved on, the crossing is
cleared, and the next one is another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.money import PICO_PER_USD
from otel_finops.governance.budgets import Budget, BudgetSet, Spending
from otel_finops.governance.counts import ROLLING_START, WINDOW, amount
from otel_finops.governance.periods import Period
from otel_finops.governance.spending import is_foreign, window_start
from otel_finops.store.unit_of_work import Row, Transaction

_COLUMNS: Final = "budget_no, count_no, start_ns, percent, crossed_ns, limit_amount, booked_amount"
_CROSS: Final = f"INSERT INTO budget_crossings ({_COLUMNS}) VALUES"
_ONCE: Final = "ON CONFLICT (count_no, start_ns, percent) WHERE cleared_ns IS NULL DO NOTHING"
_STANDING: Final = "SELECT count_no, start_ns, percent FROM budget_crossings WHERE cleared_ns IS NULL AND count_no IN ({})"
_CLEAR: Final = (
    "UPDATE budget_crossings SET cleared_ns = ? WHERE count_no = ? AND start_ns = ? AND percent = ? AND cleared_ns IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM budget_fills WHERE budget_fills.count_no = budget_crossings.count_no)"
)
"""Nothing is cleared while a count lacks entries."""
_ROLLING: Final = "SELECT DISTINCT count_no FROM budget_crossings WHERE cleared_ns IS NULL AND start_ns = ?"
_LATEST: Final = f"SELECT crossing_no, {_COLUMNS}, cleared_ns FROM budget_crossings WHERE crossing_no > ? ORDER BY crossing_no LIMIT ?"
_OF_WINDOWS: Final = (
    "SELECT c.crossing_no, c.budget_no, c.count_no, c.start_ns, c.percent, c.crossed_ns, c.limit_amount, c.booked_amount, c.cleared_ns "
    "FROM budget_crossings AS c JOIN (VALUES"
)
_THAT_STAND: Final = ") AS v ON c.count_no = v.column1 AND c.start_ns = v.column2 WHERE c.cleared_ns IS NULL"
_NEWEST: Final = f"SELECT crossing_no, {_COLUMNS}, cleared_ns FROM budget_crossings WHERE crossing_no < ? ORDER BY crossing_no DESC"

_Stand: TypeAlias = tuple[int, int]
"""Limit and booked."""


class Crossing(NamedTuple):
    """A threshold that was passed.

    Attributes:
        no: larger than that of every crossing recorded before; whoever alerts goes on behind the last one that he has seen.
        start_ns: of the window, 0 of a rolling one.
        percent: of the limit.
        limit, booked: in the budget's unit, when it was recorded.
        cleared_ns: since when it is not passed any more; None: it is.
    """

    no: int
    budget_no: int
    count_no: int
    start_ns: int
    percent: int
    crossed_ns: int
    limit: int
    booked: int
    cleared_ns: int | None


class Thresholds:
    """Looks at what was counted (`governance.counters.Watch`).

    Args:
        spending: how budgets stand, for those of which the window's row alone does not tell.
    """

    def __init__(self, spending: Spending) -> None:
        self._spending = spending

    def look(self, transaction: Transaction, budgets: BudgetSet, rows: Sequence[Row], now_ns: int) -> None:
        """Record and clear crossings of the budgets whose windows' rows have changed."""
        changed = {(int(count), int(start)): row for level, count, start, *row in rows if level == WINDOW}
        counts = {count for count, _ in changed}
        windows = _Windows(now_ns)
        asked = [one for one in budgets if one.counting in counts and one.thresholds and (one.counting, windows.start(one)) in changed]
        plain = {one.no: (one.amount, _booked(one, changed[one.counting, windows.start(one)])) for one in asked if _is_plain(one)}
        self._settle(transaction, asked, plain, windows)

    def look_at(self, transaction: Transaction, budgets: Iterable[Budget], now_ns: int) -> None:
        """Record and clear the crossings of any budgets, e.g. of those whose windows move on by themselves."""
        self._settle(transaction, [one for one in budgets if one.thresholds], {}, _Windows(now_ns))

    def move_on(self, transaction: Transaction, budgets: BudgetSet, now_ns: int) -> None:
        """Clear what rolling windows have left behind."""
        counts = {int(count) for (count,) in transaction.execute(_ROLLING, (ROLLING_START,))}
        self.look_at(transaction, [one for one in budgets if one.counting in counts], now_ns)

    def _settle(self, transaction: Transaction, asked: Sequence[Budget], known: Mapping[int, _Stand], windows: _Windows) -> None:
        stands = {**known, **self._read(transaction, [one for one in asked if one.no not in known], windows.now_ns)}
        asked = [one for one in asked if one.no in stands]
        standing = _standing(transaction, [(one.counting, windows.start(one)) for one in asked])
        for one in asked:
            limit, booked = stands[one.no]
            held = standing.get(one.counting, set())
            reached = {percent for percent in one.thresholds if booked * 100 >= limit * percent}
            place = one.counting, windows.start(one)
            new = [(one.no, *place, percent, windows.now_ns, str(limit), str(booked)) for percent in sorted(reached - held)]
            transaction.write_values(_CROSS, new, _ONCE)
            transaction.executemany(_CLEAR, [(windows.now_ns, *place, percent) for percent in sorted(held - reached)])

    def _read(self, transaction: Transaction, budgets: Sequence[Budget], now_ns: int) -> dict[int, _Stand]:
        """Of budgets of which it is wholly known what was booked."""
        if not budgets:
            return {}
        found = self._spending.statuses(transaction, budgets, now_ns)
        return {no: (status.limit, status.booked) for no, status in found.items() if status.fault is None and not status.filling}


class _Windows:
    """Where the rows of the windows that run stand."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self._starts: dict[Period, int] = {}

    def start(self, budget: Budget) -> int:
        """Of a budget's."""
        found = self._starts.get(budget.period)
        if found is None:
            found = self._starts[budget.period] = window_start(budget.period, budget.period.window(self.now_ns))
        return found


def _is_plain(budget: Budget) -> bool:
    """Whether the window's row tells all of it."""
    return not (budget.period.is_rolling or budget.carry_over or is_foreign(budget))


def _booked(budget: Budget, row: Sequence[int]) -> int:
    usd, pico, tokens, calls = map(int, row)
    return amount(budget.kind, (usd * PICO_PER_USD + pico, tokens, calls))


def _standing(transaction: Transaction, places: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    """The thresholds that stand as crossed, by count."""
    starts = dict(places)
    found: dict[int, set[int]] = {}
    for count, start, percent in transaction.select_in(_STANDING, sorted(starts)):
        if starts[int(count)] == start:
            found.setdefault(int(count), set()).add(int(percent))
    return found


def crossings(transaction: Transaction, after_no: int, limit: int) -> list[Crossing]:
    """Crossings that were recorded behind one, in order; of those of other processes some may show only after later ones."""
    return [_crossing(row) for row in transaction.execute(_LATEST, (after_no, limit))]


def standing_now(transaction: Transaction, budgets: Iterable[Budget], now_ns: int) -> list[Crossing]:
    """Crossings of the windows that run which nothing has cleared."""
    windows = _Windows(now_ns)
    places = sorted({(one.counting, windows.start(one)) for one in budgets})
    return [_crossing(row) for row in transaction.write_values(_OF_WINDOWS, places, _THAT_STAND)]


def newest_crossings(transaction: Transaction, before_no: int | None) -> Iterator[Crossing]:
    """Crossings of budgets that count as they did then, newest first; `before_no`: only those recorded before one."""
    for row in transaction.iterate(_NEWEST, (2**63 - 1 if before_no is None else before_no,)):
        yield _crossing(row)


def _crossing(row: Row) -> Crossing:
    return Crossing._make((*map(int, row[:-1]), row[-1]))
