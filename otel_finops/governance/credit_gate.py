"""What pools of credits say of calls before they are made, and what they hold for them.

Holding is one conditional update of the pool's row, which only passes while what is there less what is held is enough; so however many
calls ask at once, in however many processes, a hard pool never promises more than it has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from otel_finops.base.clock import Clock
from otel_finops.base.money import PICO_PER_USD, format_usd
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.credit_debits import taken_holds
from otel_finops.governance.credit_rates import CreditRates, converted
from otel_finops.governance.credits import Pool, PoolSet, day_of
from otel_finops.governance.followed import Followed
from otel_finops.governance.postings import Book, Cause, joined, locked_books, read_books, split
from otel_finops.governance.rulings import Action, Reason, Ruling
from otel_finops.store.unit_of_work import Transaction

_SUM: Final = "held_pico + ?"
_REST: Final = "balance_pico + owed_pico - held_pico - ?"
_HOLD: Final = (
    f"UPDATE credit_pools SET held_units = held_units + ? + CASE WHEN {_SUM} >= {PICO_PER_USD} THEN 1 ELSE 0 END, "
    f"held_pico = {_SUM} - CASE WHEN {_SUM} >= {PICO_PER_USD} THEN {PICO_PER_USD} ELSE 0 END "
    "WHERE pool_no = ? AND takes_calls AND (next_expiry_ns IS NULL OR next_expiry_ns > ?) "
    "AND (NOT hard OR balance_units + owed_units - held_units - ? >= "
    f"CASE WHEN {_REST} >= 0 THEN 0 WHEN {_REST} >= -{PICO_PER_USD} THEN 1 ELSE 2 END) RETURNING pool_no"
)
"""The pico parts lie below one unit each, so their rest is above -2 units: what it lacks must be there in whole units. A hard pool that
owes holds nothing, so its rest lies below 1."""
_LOCK: Final = "SELECT pool_no FROM credit_pools WHERE pool_no IN ({}) ORDER BY pool_no FOR UPDATE"
_NOTE: Final = "INSERT INTO credit_holds (reservation_id, pool_no, day, amount_units, amount_pico) VALUES (?, ?, ?, ?, ?)"
_HELD: Final = "SELECT pool_no, day, amount_units, amount_pico FROM credit_holds WHERE reservation_id = ?"
_TURN: Final = "UPDATE credit_holds SET amount_units = ?, amount_pico = ? WHERE reservation_id = ?"


class CreditGate:
    """A `rulings.Holder` over pools of credits. Safe to use from many threads and processes."""

    def __init__(self, pools: Followed[PoolSet], rates: CreditRates, clock: Clock, *, is_on: bool = True) -> None:
        """
        Args:
            is_on: False: nothing is said or held any more; what was held before is given back as ever.
        """
        self._pools = pools
        self._rates = rates
        self._clock = clock
        self._is_on = is_on

    def lock(self, transaction: Transaction, calls: Sequence[GovernedCall]) -> None:
        """See `decide.GroupHolder.lock`; the rates come before the pools, as where calls are booked."""
        if transaction.engine_name != "postgresql":
            return
        paying = [(pool, call) for call in calls if (pool := self._payer(call)) is not None]
        self._rates.kept(transaction, {(pool.currency, day_of(call.at_ns)) for pool, call in paying})
        for _ in transaction.select_in(_LOCK, sorted({pool.no for pool, _ in paying})):
            pass

    def check(self, transaction: Transaction, call: GovernedCall) -> Ruling | None:
        """See `Holder.check`; of a soft pool that has not enough only a reason."""
        pool = self._payer(call)
        if pool is None:
            return None
        amount = converted(call.pico or 0, self._rates.looked_up(transaction, pool.currency, day_of(call.at_ns)))
        book = read_books(transaction, [pool.no]).get(pool.no)
        if book is None or not book.open:
            return None
        now_ns = self._clock.now_ns()
        book.lapse(now_ns, Cause(now_ns))
        return None if _has_enough(book, call, amount) else _ruling(pool, book, call, amount)

    def hold(self, transaction: Transaction, call: GovernedCall, reservation_id: str) -> Ruling | None:
        """See `Holder.hold`; a soft pool holds whatever is asked for. What nobody knows the cost of needs that anything is left."""
        pool = self._payer(call)
        if pool is None:
            return None
        day = day_of(call.at_ns)
        rate = self._rates.kept(transaction, [(pool.currency, day)])[pool.currency, day]
        amount = converted(call.pico or 0, rate)
        if not self._is_held(transaction, pool, call, amount):
            book = self._short_book(transaction, pool, call, amount)
            if book is not None:
                return _ruling(pool, book, call, amount) if book.open else None  # closed a moment ago: it pays for nothing more
        transaction.execute(_NOTE, (reservation_id, pool.no, day, *split(amount)))
        return None

    def turn(self, transaction: Transaction, reservation_id: str, actual_pico: int, tokens: int | None) -> None:
        """See `Holder.turn`."""
        rows = transaction.execute(_HELD, (reservation_id,))
        if not rows:
            return
        [(no, day, units, pico)] = rows
        pool = self._pools.seen_by(transaction).get(int(no))
        assert pool is not None
        actual = converted(actual_pico, self._rates.looked_up(transaction, pool.currency, day))
        [book] = locked_books(transaction, [int(no)]).values()
        book.held += actual - joined(units, pico)
        book.save(self._clock.now_ns())
        transaction.execute(_TURN, (*split(actual), reservation_id))

    def release(self, transaction: Transaction, reservation_ids: Collection[str]) -> None:
        """See `Holder.release`."""
        freed = taken_holds(transaction, reservation_ids)
        for no, book in locked_books(transaction, freed).items():
            book.held -= freed[no]
            book.save(self._clock.now_ns())

    def _payer(self, call: GovernedCall) -> Pool | None:
        return self._pools.current().for_asked(call) if self._is_on else None

    def _is_held(self, transaction: Transaction, pool: Pool, call: GovernedCall, amount: int) -> bool:
        """Whether it is held by one update; not where grants must lapse before."""
        units, pico = split(amount)
        need_units, need_pico = split(_needed(call, amount))
        now_ns = self._clock.now_ns()
        params = (units, pico, pico, pico, pool.no, now_ns, need_units, need_pico, need_pico)
        return bool(transaction.execute(_HOLD, params))

    def _short_book(self, transaction: Transaction, pool: Pool, call: GovernedCall, amount: int) -> Book | None:
        """Hold under the row's lock, once what has expired is gone; where that is not possible either, the book that is too short."""
        now_ns = self._clock.now_ns()
        book = locked_books(transaction, [pool.no])[pool.no]
        lapsed = book.lapse(now_ns, Cause(now_ns))
        enough = book.open and (not book.hard or _has_enough(book, call, amount))
        if enough:
            book.held += amount
        if lapsed or enough:
            book.save(now_ns)
        return None if enough else book


def _needed(call: GovernedCall, amount: int) -> int:
    """What must be there: the estimate, or the least that there is where nobody knows the cost."""
    return max(amount, 1) if call.pico is None else amount


def _has_enough(book: Book, call: GovernedCall, amount: int) -> bool:
    return book.available >= _needed(call, amount)


def _ruling(pool: Pool, book: Book, call: GovernedCall, amount: int) -> Ruling:
    said = {"balance": book.balance, "owed": -book.accounts["owed"], "held": book.held, "available": book.available}
    figures = {name: format_usd(value) for name, value in said.items()}
    known = call.pico is not None
    costs = f"the call may cost {format_usd(amount)} {pool.currency}" if known else "nobody knows what the call costs"
    text = (
        f"The pool {pool.name} has {figures['available']} {pool.currency} left for further calls ({figures['balance']} less "
        f"{figures['held']} held{_owing(book)}), and {costs}."
    )
    if known:
        figures["estimate"] = format_usd(amount)
    action: Action = "block" if book.hard else "allow"
    return Ruling(action, (Reason("credits", action, pool.name, str(pool.no), text, {**figures, "currency": pool.currency}, pool.tenant),))


def _owing(book: Book) -> str:
    owed = -book.accounts["owed"]
    return f" and {format_usd(owed)} owed" if owed else ""
