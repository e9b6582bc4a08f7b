"""Budgets as a gate: what they say of a call, and what they hold for it (`governance.rulings.Holder`).

Hard budgets halt a call that does not fit; soft ones only say so. Both hold what a call may take, so that what they show is true.
A hold is one conditional update of the row of the window, which compares what is booked and held there with what may be; what is not
in that row (what is pending, what was carried over) comes with the statement. Of rolling windows and of other currencies that row does
not tell what was booked: it is locked first, and what it lacks is read under the lock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal

from otel_finops.base.limits import BUDGET_MATCHES_KNOWN_MAX
from otel_finops.base.money import PICO_PER_USD, format_usd
from otel_finops.base.times import format_ns
from otel_finops.governance.budgets import Budget, BudgetSet, BudgetStatus
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.counts import ADD, COLUMNS, INSERT, WIDTH, WINDOW, CountKey, Matches, Sums, amount, row_of, write
from otel_finops.governance.followed import Followed
from otel_finops.governance.holds import Hold, keep, take_back, turn
from otel_finops.governance.rulings import Reason, Ruling
from otel_finops.governance.spending import Readings, is_foreign, window_start
from otel_finops.store.unit_of_work import Transaction

_ROOM: Final = {
    "money": (
        "budget_counters.booked_usd + budget_counters.reserved_usd + ? + (budget_counters.booked_pico + budget_counters.reserved_pico "
        f"+ ? + {PICO_PER_USD - 1}) / {PICO_PER_USD} <= 0"
    ),
    "tokens": "budget_counters.booked_tokens + budget_counters.reserved_tokens + ? <= 0",
    "calls": "budget_counters.booked_calls + budget_counters.reserved_calls + ? <= 0",
}
"""Whether the row has room, with what is to be held and what is not in the row less the limit: of money in two parts, the second of which
is never negative, so that rounding up the picos tells whether anything is left of them."""
_ROW: Final = f"{INSERT} ({', '.join('?' * len(COLUMNS))})"
_HOLD: Final = f"{_ROW} {ADD}"
_NO_AMOUNTS: Final = (0,) * WIDTH
_LOCK: Final = (
    "SELECT c.count_no FROM budget_counters AS c JOIN (VALUES",
    ") AS v ON c.count_no = v.column1 AND c.level = v.column2 AND c.start_ns = v.column3 ORDER BY c.count_no, c.level, c.start_ns "
    "FOR UPDATE OF c",
)


class BudgetGate:
    """See above.

    Args:
        budgets: as this process knows them; a change is followed within half a second.
    """

    def __init__(self, budgets: Followed[BudgetSet]) -> None:
        self._budgets = budgets
        self._matches = Matches(BudgetSet(0, {}))
        self._read: tuple[Transaction, GovernedCall, Readings] | None = None
        self._known_rows: frozenset[CountKey] = frozenset()

    def check(self, transaction: Transaction, call: GovernedCall) -> Ruling | None:
        """What hard budgets say of a call that does not fit, and soft ones that are spent; None where all of it fits."""
        said = sorted(self._said(transaction, call), key=lambda reason: reason.action != "block")
        return Ruling(said[0].action, tuple(said)) if said else None

    def states(self, transaction: Transaction, call: GovernedCall) -> Sequence[tuple[Budget, BudgetStatus]]:
        """The enabled budgets, hard and soft, that are for a call, and how they stand."""
        asked = self._asked(call)
        if not asked:
            return ()
        found = self._readings(transaction, asked, call)
        self._read = transaction, call, found
        return [(one, found.status(one)) for one in asked]

    def away(self, call: GovernedCall) -> Ruling | None:
        """What is said while the store cannot be asked: by the hard budgets that say something of such times, the strictest first.

        What the settings say is loosened by those alone that are made by who sees all tenants.
        """
        said = [
            one for one in self._known().of(call) if one.enabled and one.hard and (one.fail_open is False or (one.fail_open and one.of_all))
        ]
        if not said:
            return None
        decides = next((one for one in said if not one.fail_open), said[0])
        action: Literal["allow", "block"] = "allow" if decides.fail_open else "block"
        done = "passes" if decides.fail_open else "does not pass"
        text = f"how {decides.name} stands cannot be asked now, and by its definition a call {done} then"
        return Ruling(action, (Reason("budget", action, decides.name, str(decides.no), text, {}, decides.tenant),))

    def lock(self, transaction: Transaction, calls: Sequence[GovernedCall]) -> None:
        """Lock the rows from which anything may be held for these calls, in the one order of all who write them.

        A row that is not there yet is made in its turn: two who made some of them later, in the order of their calls, could wait for
        each other.
        """
        if transaction.engine_name != "postgresql":
            return
        keys = sorted({_key(one, call.at_ns) for call in calls for one in self._asked(call)})
        known = self._known_rows
        if known.issuperset(keys):
            transaction.write_values(_LOCK[0], keys, _LOCK[1])
        else:
            transaction.write_values(INSERT, [row_of(key, _NO_AMOUNTS) for key in keys], ADD)
            transaction.after_commit(lambda: self._remember(keys))

    def hold(self, transaction: Transaction, call: GovernedCall, reservation_id: str) -> Ruling | None:
        """Hold what a call may take of every budget that is for it, in the order of their counts; where a hard one has not enough, what
        that one says, and nothing is held."""
        asked = sorted(self._asked(call), key=_count_of)
        if not asked:
            return None
        readings = self._readings(transaction, asked, call)
        self._read = None
        held: list[Hold] = []
        for budget in asked:
            refusal = self._held(transaction, budget, call, readings)
            if refusal is not None:
                _give_back(transaction, held)
                return Ruling("block", (refusal,))
            held.append(Hold(budget.counting, readings.key(budget)[2], call.pico or 0, call.tokens, 1))
        keep(transaction, reservation_id, held)
        return None

    def turn(self, transaction: Transaction, reservation_id: str, actual_pico: int, tokens: int | None) -> None:
        """Make what is held the actual amount, be it more than was there."""
        self._read = None
        sums = Sums()
        turn(transaction, reservation_id, actual_pico, tokens, sums)
        write(transaction, sums)

    def release(self, transaction: Transaction, reservation_ids: Collection[str]) -> None:
        """Give back what is held."""
        self._read = None
        sums = Sums()
        take_back(transaction, reservation_ids, sums)
        write(transaction, sums)

    def _readings(self, transaction: Transaction, asked: Sequence[Budget], call: GovernedCall) -> Readings:
        """What is stored of these; what was read for this very call a moment ago, in this transaction, which has held nothing since."""
        read = self._read
        if read is not None and read[0] is transaction and read[1] is call and read[2].knows(asked):
            return read[2]
        return Readings(transaction, asked, call.at_ns)

    def _remember(self, keys: Sequence[CountKey]) -> None:
        known = self._known_rows if len(self._known_rows) < BUDGET_MATCHES_KNOWN_MAX else frozenset()
        self._known_rows = known.union(keys)

    def _known(self) -> BudgetSet:
        return self._budgets.current()

    def _asked(self, call: GovernedCall) -> list[Budget]:
        budgets = self._known()
        matches = self._matches
        if matches.budgets is not budgets:
            matches = self._matches = Matches(budgets)
        return [one for one in matches.of_call(call) if one.enabled]

    def _said(self, transaction: Transaction, call: GovernedCall) -> list[Reason]:
        states = self.states(transaction, call)
        return [
            _reason(budget, status, call) for budget, status in states if status.fault is not None or not _has_room(budget, status, call)
        ]

    def _held(self, transaction: Transaction, budget: Budget, call: GovernedCall, readings: Readings) -> Reason | None:
        """Hold from one budget; why not, where a hard one has not enough."""
        if budget.hard and not _row_tells(budget):
            _lock_row(transaction, readings.key(budget))
            readings = Readings(transaction, [budget], call.at_ns)
        status = readings.status(budget)
        row = row_of(readings.key(budget), (0, 0, 0, 0, call.pico or 0, call.tokens, 1))
        if not _may_halt(budget, status) or not _taken(budget, call):
            transaction.execute(_HOLD, row)
            return None
        if status.fault is None and _has_room(budget, status, call):
            lacking = _lacking(budget, status, call, readings)
            room = divmod(lacking, PICO_PER_USD) if budget.kind == "money" else (lacking,)
            if transaction.execute(f"{_HOLD} WHERE {_ROOM[budget.kind]} RETURNING 1", (*row, *room)):
                return None
            status = Readings(transaction, [budget], call.at_ns).status(budget)
        return _reason(budget, status, call)


def _row_tells(budget: Budget) -> bool:
    """Whether what is booked in the window is what its row says is booked."""
    return not (budget.period.is_rolling or is_foreign(budget))


def _may_halt(budget: Budget, status: BudgetStatus) -> bool:
    """Whether a call may be halted: where nobody knows how a hard budget stands, only one whose definition says so halts it."""
    return budget.hard and (status.fault is None or budget.fail_open is False)


def _taken(budget: Budget, call: GovernedCall) -> int:
    """How much a call takes, of money in USD: what nobody knows takes the least there is, so that it finds no room where none is left."""
    taken = budget.taken(call)
    return 1 if taken is None or (not taken and budget.kind == "tokens") else taken


def _has_room(budget: Budget, status: BudgetStatus, call: GovernedCall) -> bool:
    """Whether anything is left for a call; exactly how much is, the update finds out where the currency is another."""
    taken = _taken(budget, call)
    return not taken or (status.remaining > 0 if is_foreign(budget) else status.remaining >= taken)


def _lacking(budget: Budget, status: BudgetStatus, call: GovernedCall, readings: Readings) -> int:
    """What is to be held and what is spent beside the row, less what may be spent: the row's own amounts must not exceed its negative."""
    taken = _taken(budget, call)
    row = readings.row(budget)
    if not is_foreign(budget):
        beside = amount(budget.kind, readings.live_booked(budget)) - amount(budget.kind, row.booked)
        return taken + status.pending + beside - status.limit
    left = status.remaining / readings.rates[budget.currency].per_usd(readings.rate_day(budget, readings.now_ns))
    return taken - row.booked[0] - row.reserved[0] - left.numerator // left.denominator


def _reason(budget: Budget, status: BudgetStatus, call: GovernedCall) -> Reason:
    action: Literal["allow", "block"] = "block" if _may_halt(budget, status) else "allow"
    if status.fault is not None:
        done = "does not pass" if action == "block" else "passes"
        text = f"how {budget.name} stands is not known, and a call {done} then: {status.fault}"
        return Reason("budget", action, budget.name, str(budget.no), text, {}, budget.tenant)
    unit = budget.currency if budget.kind == "money" else budget.kind
    taken = budget.taken(call)
    amounts = {
        "limit": status.limit, "spent": status.spent, "booked": status.booked, "pending": status.pending, "reserved": status.reserved,
    }  # fmt: skip
    figures = {f"{name}_{unit.lower()}": _said(budget, value) for name, value in amounts.items()}
    if taken is not None:
        estimate = f"estimate_{'usd' if budget.kind == 'money' else unit}"
        figures[estimate] = format_usd(taken) if budget.kind == "money" else str(taken)
    takes = (
        "a call of unknown cost" if taken is None else f"this call may take {figures[estimate]} {'USD' if budget.kind == 'money' else unit}"
    )
    text = (
        f"{budget.name} allows {_said(budget, status.limit)} {unit} until {format_ns(status.window.end_ns)[:19]}Z; "
        f"spent: {_said(budget, status.spent)} "
        f"({_said(budget, status.pending)} of it pending, {_said(budget, status.reserved)} held); {takes}"
    )
    return Reason("budget", action, budget.name, str(budget.no), text, figures, budget.tenant)


def _said(budget: Budget, value: int) -> str:
    """An amount in the budget's unit."""
    return format_usd(value) if budget.kind == "money" else str(value)


def _key(budget: Budget, at_ns: int) -> CountKey:
    return budget.counting, WINDOW, window_start(budget.period, budget.period.window(at_ns))


def _count_of(budget: Budget) -> int:
    return budget.counting


def _lock_row(transaction: Transaction, key: CountKey) -> None:
    """Make the row if it is not there, so that the condition of the update decides, and lock it: nobody books or holds until this
    transaction ends."""
    transaction.execute(f"{_ROW} ON CONFLICT DO NOTHING", row_of(key, _NO_AMOUNTS))
    if transaction.engine_name == "postgresql":
        transaction.write_values(_LOCK[0], [key], _LOCK[1])


def _give_back(transaction: Transaction, held: Sequence[Hold]) -> None:
    sums = Sums()
    for one in held:
        sums.hold(one.count_no, one.start_ns, -one.pico, -one.tokens, -one.calls)
    write(transaction, sums)
