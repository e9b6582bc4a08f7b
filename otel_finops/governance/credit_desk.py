"""The money of pools: putting it in, adjusting it, letting grants lapse, and reading how pools stand and what moved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import CREDIT_GRANTS_MAX
from otel_finops.base.money import PICO_PER_USD, format_usd
from otel_finops.governance.credit_store import Editor, PoolStore, changeable
from otel_finops.governance.credits import Pool, belongs
from otel_finops.governance.postings import ACCOUNTS, Account, Book, Cause, joined, locked_books, read_books
from otel_finops.store.unit_of_work import Row, Transaction

_MOVES: Final = (
    "SELECT transaction_no, kind, at_ns, who, why, calls, shard, block_seq, grant_no, after_units, after_pico FROM credit_transactions "
    "WHERE pool_no = ? AND transaction_no < ? ORDER BY transaction_no DESC LIMIT ?"
)
_LEGS: Final = "SELECT transaction_no, account, amount_units, amount_pico FROM credit_postings WHERE transaction_no IN ({})"
_GRANTS: Final = (
    "SELECT grant_no, expires_ns, amount_units, amount_pico, used_units, used_pico, expired_units, expired_pico FROM credit_grants "
    "WHERE pool_no = ? AND grant_no < ? ORDER BY grant_no DESC LIMIT ?"
)
_ALERTS: Final = (
    "SELECT alert_no, pool_no, low_units, low_pico, level_units, level_pico, at_ns, over_ns FROM credit_alerts WHERE alert_no < ? "
    "ORDER BY alert_no DESC"
)
_DUE: Final = "SELECT pool_no FROM credit_pools WHERE next_expiry_ns <= ? AND pool_no > ? ORDER BY pool_no LIMIT ?"
_DUE_AT_ONCE: Final = 100
"""Pools whose grants lapse in one transaction."""
_POSTED: Final = (
    "SELECT p.account, SUM(p.amount_units), SUM(p.amount_pico / 1000000), SUM(p.amount_pico % 1000000) FROM credit_postings p "
    "JOIN credit_transactions t ON t.transaction_no = p.transaction_no WHERE t.pool_no = ? GROUP BY p.account"
)
_HOLDS: Final = "SELECT SUM(amount_units), SUM(amount_pico / 1000000), SUM(amount_pico % 1000000) FROM credit_holds WHERE pool_no = ?"
_PART: Final = 10**6


class PoolState(NamedTuple):
    """How a pool stands, in millionths of a millionth of its currency.

    Attributes:
        balance: what it holds; of a hard pool never below 0.
        owed: what calls cost beyond the balance of a hard pool; the next money that comes in pays it first.
        held: for calls that are being made.
        available: what may still be promised to calls.
        funded, spent, expired, adjusted: over all time: put in, taken by calls, lapsed, and put in (or taken out) without a call.
        next_expiry_ns: of its grants; None: none expires.
        is_low: it has less than its `low`.
    """

    balance: int = 0
    owed: int = 0
    held: int = 0
    available: int = 0
    funded: int = 0
    spent: int = 0
    expired: int = 0
    adjusted: int = 0
    next_expiry_ns: int | None = None
    is_low: bool = False


class Movement(NamedTuple):
    """A transaction of a pool; `legs` by account, `after` is the balance then. The other fields are those of the stored row."""

    no: int
    kind: str
    at_ns: int
    who: str
    why: str
    calls: int
    shard: int | None
    block_seq: int | None
    grant_no: int | None
    after: int
    legs: Mapping[Account, int]


class GrantState(NamedTuple):
    """Money that expires."""

    no: int
    expires_ns: int
    amount: int
    used: int
    expired: int

    @property
    def left(self) -> int:
        """What is neither used nor expired."""
        return self.amount - self.used - self.expired


class LowBalance(NamedTuple):
    """A pool fell below its `low`; `over_ns` None: it still is."""

    no: int
    pool: Pool
    low: int
    level: int
    at_ns: int
    over_ns: int | None


class CreditDesk(PoolStore):
    """What people do with pools and their money. Safe to use from many threads and processes."""

    def states(self, pools: Iterable[Pool]) -> dict[int, PoolState]:
        """How these pools stand now, by number; grants that have expired are gone, also where nobody has posted that yet."""
        now_ns = self._clock.now_ns()
        with self._store.read() as transaction:
            books = read_books(transaction, [one.no for one in pools])
            for book in books.values():
                book.lapse(now_ns, Cause(now_ns))
            return {no: _state(book) for no, book in books.items()}

    def fund(self, no: int, amount: int, expires_ns: int | None, editor: Editor, *, dry_run: bool = False) -> tuple[PoolState, PoolState]:
        """Put money into a pool; returns how it stood and how it stands.

        Args:
            expires_ns: when what is left of it lapses; None: never.

        Raises:
            NotFound, Forbidden: as `PoolStore.update`.
            BadInput: the pool is closed, or there are too many grants.
        """

        def funded(pool: Pool, book: Book, cause: Cause) -> None:
            if not pool.is_open:
                raise BadInput(f"no: pool {pool.no} was closed by {pool.changed_by}; it pays for no further call")
            if expires_ns is not None and expires_ns <= cause.at_ns:
                raise BadInput("expires: lies in the past; leave it out for money that does not expire")
            if expires_ns is not None and len(book.grants()) >= CREDIT_GRANTS_MAX:
                raise BadInput(f"expires: {CREDIT_GRANTS_MAX} grants of this pool have money left; wait until one is used or has expired")
            book.fund(amount, expires_ns, cause)

        return self._moved(no, funded, editor, dry_run)

    def adjust(self, no: int, amount: int, editor: Editor, *, dry_run: bool = False) -> tuple[PoolState, PoolState]:
        """Put money in (or take it out, below 0) without a call; returns how the pool stood and how it stands.

        Raises:
            NotFound, Forbidden: as `PoolStore.update`.
            BadInput: more would be taken out of a hard pool than is there and not held for calls.
        """

        def adjusted(pool: Pool, book: Book, cause: Cause) -> None:
            if pool.hard and amount < 0 and -amount > max(0, book.available):
                left = format_usd(max(0, book.available))
                raise BadInput(
                    f"amount: only {left} {pool.currency} can be taken out of this hard pool: the rest is held for calls or owed"
                )
            book.adjust(amount, cause)

        return self._moved(no, adjusted, editor, dry_run)

    def expire(self, stopping: Callable[[], bool] = lambda: False) -> tuple[int, int]:
        """Post what has expired of grants; of how many pools, and how many of them had something to lapse."""
        looked = lapsed = 0
        after = 0
        while not stopping():
            with self._store.write() as transaction:
                numbers = [int(row[0]) for row in transaction.execute(_DUE, (self._clock.now_ns(), after, _DUE_AT_ONCE))]
                lapsed += self._lapse(transaction, numbers)
            looked += len(numbers)
            if len(numbers) < _DUE_AT_ONCE:
                break
            after = numbers[-1]
        return looked, lapsed

    def expire_due(self, stopping: Callable[[], bool] = lambda: False) -> str:
        """The same as a job, in words; nothing is written where nothing is due."""
        with self._store.read() as transaction:
            if not transaction.execute(_DUE, (self._clock.now_ns(), 0, 1)):
                return "no grant has expired"
        return f"grants of {self.expire(stopping)[1]} pools have expired"

    def movements(self, no: int, before_no: int, limit: int) -> list[Movement]:
        """A page of a pool's transactions, newest first, those before a number."""
        with self._store.read() as transaction:
            rows = transaction.execute(_MOVES, (no, before_no, limit))
            legs: dict[int, dict[Account, int]] = {}
            for number, account, units, pico in transaction.select_in(_LEGS, [row[0] for row in rows]):
                legs.setdefault(int(number), {})[account] = joined(units, pico)
        return [_movement(row, legs.get(int(row[0]), {})) for row in rows]

    def grants(self, no: int, before_no: int, limit: int) -> list[GrantState]:
        """A page of a pool's grants, newest first, those before a number."""
        with self._store.read() as transaction:
            rows = transaction.execute(_GRANTS, (no, before_no, limit))
        return [GrantState(int(row[0]), int(row[1]), joined(*row[2:4]), joined(*row[4:6]), joined(*row[6:8])) for row in rows]

    def alerts(self, tenants: Collection[str] | None, before_no: int, limit: int) -> list[LowBalance]:
        """A page of the times that pools of these tenants fell below their `low`, newest first, those before a number."""
        found: list[LowBalance] = []
        with self._store.read() as transaction:
            pools = self._followed.seen_by(transaction)
            for no, pool_no, *sums, at_ns, over_ns in transaction.iterate(_ALERTS, (before_no,)):
                pool = pools.get(int(pool_no))
                if pool is not None and belongs(pool, tenants):
                    found.append(LowBalance(int(no), pool, joined(*sums[:2]), joined(*sums[2:]), int(at_ns), over_ns))
                    if len(found) == limit:
                        break
        return found

    def faults(self, pools: Sequence[Pool]) -> list[str]:
        """What does not agree of these pools: their accounts with their postings, the sum of all accounts with 0, what is held with the
        holds, the money of grants with the balance. Nothing, where all is well."""
        found: list[str] = []
        with self._store.read() as transaction:
            for no, book in read_books(transaction, [one.no for one in pools]).items():
                found += [f"pool {no}: {fault}" for fault in _faults(transaction, book)]
        return found

    def _moved(self, no: int, move: Callable[[Pool, Book, Cause], None], editor: Editor, dry_run: bool) -> tuple[PoolState, PoolState]:
        """Move money under the lock of the pool's row; of a dry run nothing stays."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            pool = changeable(self._followed.seen_by(transaction), no, editor)
            book = locked_books(transaction, [no])[no]
            cause = Cause(self._clock.now_ns(), editor.who, editor.why)
            book.lapse(cause.at_ns, Cause(cause.at_ns))
            before = _state(book)
            move(pool._replace(hard=book.hard), book, cause)
            book.save(cause.at_ns)
            after = _state(book)
        return before, after

    def _lapse(self, transaction: Transaction, numbers: Sequence[int]) -> int:
        now_ns = self._clock.now_ns()
        lapsed = 0
        for book in locked_books(transaction, numbers).values():
            if book.lapse(now_ns, Cause(now_ns)):
                book.save(now_ns)
                lapsed += 1
        return lapsed


def _state(book: Book) -> PoolState:
    accounts = book.accounts
    is_low = book.low is not None and book.level < book.low
    return PoolState(
        book.balance,
        -accounts["owed"],
        book.held,
        book.available,
        -accounts["source"],
        accounts["spend"],
        accounts["expired"],
        -accounts["adjustment"],
        book.next_expiry_ns,
        is_low,
    )


def _movement(row: Row, legs: Mapping[Account, int]) -> Movement:
    no, kind, at_ns, who, why, calls, shard, block_seq, grant_no, *after = row
    return Movement(int(no), kind, int(at_ns), who, why, int(calls), shard, block_seq, grant_no, joined(*after), _in_order(legs))


def _in_order(legs: Mapping[Account, int]) -> dict[Account, int]:
    return {account: legs[account] for account in ACCOUNTS if account in legs}


def _faults(transaction: Transaction, book: Book) -> list[str]:
    posted: dict[Account, int] = {row[0]: _total(row[1:]) for row in transaction.execute(_POSTED, (book.no,))}
    found = [
        f"the account {account} holds {format_usd(book.accounts[account])}, its postings come to {format_usd(posted.get(account, 0))}"
        for account in ACCOUNTS
        if book.accounts[account] != posted.get(account, 0)
    ]
    if sum(posted.values()):
        found.append(f"its postings come to {format_usd(sum(posted.values()))} instead of 0")
    held = _total(transaction.execute(_HOLDS, (book.no,))[0])
    if held != book.held:
        found.append(f"{format_usd(book.held)} are held, the holds come to {format_usd(held)}")
    granted = sum(one.left for one in book.grants())
    if granted > max(0, book.balance):
        found.append(f"{format_usd(granted)} are left of grants, and the balance is {format_usd(book.balance)}")
    return found


def _total(sums: Row) -> int:
    """Of whole units and two parts of the rest; None for no rows."""
    units, large, small = (int(one or 0) for one in sums)
    return units * PICO_PER_USD + large * _PART + small
