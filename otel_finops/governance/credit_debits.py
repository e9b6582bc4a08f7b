"""Credits in the transaction that books: what calls cost is taken from their pool, and what was held for them is given back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Final

from otel_finops.governance.credit_rates import CreditRates, converted
from otel_finops.governance.credit_store import hold_pools
from otel_finops.governance.credits import Moved, PoolSet
from otel_finops.governance.followed import Followed
from otel_finops.governance.postings import Book, Cause, joined, locked_books
from otel_finops.governance.reservations import named_by
from otel_finops.ledger.entry import Entry
from otel_finops.store.unit_of_work import Transaction

_TAKE_HOLDS: Final = "DELETE FROM credit_holds WHERE reservation_id IN ({}) RETURNING pool_no, amount_units, amount_pico"
_ENDED: Final = "SELECT reservation_id FROM reservations WHERE reservation_id IN ({}) AND ended_ns IS NOT NULL"


class CreditDebits:
    """The projection that keeps pools of credits. Every block moves a pool once, by all of its entries together.

    It stands behind what ends the reservations that the entries name, and gives back itself what pools hold for those: all rows of pools
    that a transaction touches are locked in one order.
    """

    def __init__(self, pools: Followed[PoolSet], rates: CreditRates) -> None:
        self._pools = pools
        self._rates = rates

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """Move what the entries take or give back; corrections and reattributions need their `before`."""
        hold_pools(transaction)
        pools = self._pools.seen_by(transaction)
        if not entries or not len(pools):
            return
        rates = self._rates.kept(transaction, pools.currency_days(entries))
        moved = pools.moved(entries, lambda currency, day, pico: _converted(rates, currency, day, pico))
        freed = taken_holds(transaction, _ended(transaction, entries))
        books = locked_books(transaction, {*moved, *freed})
        for no, book in books.items():
            _move(book, moved.get(no), freed.get(no, 0), entries[0])


def taken_holds(transaction: Transaction, reservation_ids: Collection[str]) -> dict[int, int]:
    """Give up the holds of these reservations; what is to be taken off `held` of each pool."""
    freed: dict[int, int] = {}
    for no, units, pico in transaction.select_in(_TAKE_HOLDS, sorted(reservation_ids)):
        freed[int(no)] = freed.get(int(no), 0) + joined(units, pico)
    return freed


def _ended(transaction: Transaction, entries: Sequence[Entry]) -> list[str]:
    """The reservations that newly booked calls name and that have ended."""
    named = {one for entry in entries if (one := named_by(entry))}
    return [row[0] for row in transaction.select_in(_ENDED, sorted(named))] if named else []


def _converted(rates: Mapping[tuple[str, str], Fraction], currency: str, day: str, pico: int) -> int:
    return pico if currency == "USD" else converted(pico, rates[currency, day])


def _move(book: Book, moved: Moved | None, freed: int, block: Entry) -> None:
    now_ns = block.recorded_ns
    book.lapse(now_ns, Cause(now_ns))
    book.held -= freed
    if moved is not None:
        book.debit(moved.amount, Cause(now_ns, calls=moved.calls, shard=block.shard, block_seq=block.block_seq))
    book.save(now_ns)
