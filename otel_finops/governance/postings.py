"""Double entry for pools of credits: every movement takes from some accounts what it gives to others, under the lock of the pool's row.

How a pool stands is made of two parts: grants, which expire, and plain money, which does not. What is taken comes from the grant that
expires first, and from plain money when no grant is left. What is given back goes the other way: it pays what is owed, then fills plain
money up to what was used of it, then the grants, the last one first; so a pool stands as if what was given back had never been taken.
What calls cost beyond the balance of a hard pool is owed; the next money that comes in pays that first. A soft pool's balance falls
below 0 instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.money import PICO_PER_USD
from otel_finops.store.unit_of_work import Row, Transaction

Account: TypeAlias = Literal["balance", "owed", "source", "spend", "expired", "adjustment"]
ACCOUNTS: Final[tuple[Account, ...]] = ("balance", "owed", "source", "spend", "expired", "adjustment")
Kind: TypeAlias = Literal["topup", "grant", "debit", "refund", "adjustment", "expiry", "conversion"]

_USED_AT_ONCE: Final = 100
"""Grants that are read at a time when something is given back to them."""


def _pairs(names: Sequence[str]) -> str:
    return ", ".join(f"{name}_{part}" for name in names for part in ("units", "pico"))


_SUMS: Final = (*ACCOUNTS, "held", "plain_used", "low")
_NAMES: Final = (
    "hard", "takes_calls", "next_expiry_ns", "is_low", "alerts", *(f"{name}_{part}" for name in _SUMS for part in ("units", "pico")),
)  # fmt: skip
_LIST: Final = ", ".join(_NAMES)
_SELECT: Final = f"SELECT pool_no, {_LIST} FROM credit_pools WHERE pool_no IN ({{}}) ORDER BY pool_no"
_LOCKING: Final = f"{_SELECT} FOR UPDATE"
_INSERT: Final = f"INSERT INTO credit_pools ({_LIST}) VALUES ({', '.join('?' * len(_NAMES))}) RETURNING pool_no"
_UPDATE: Final = f"UPDATE credit_pools SET {', '.join(f'{name} = ?' for name in _NAMES)} WHERE pool_no = ?"
_MOVE: Final = (
    "INSERT INTO credit_transactions (pool_no, kind, at_ns, who, why, calls, shard, block_seq, grant_no, after_units, after_pico) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING transaction_no"
)
_POST: Final = "INSERT INTO credit_postings (transaction_no, account, amount_units, amount_pico) VALUES"
_GRANT: Final = f"grant_no, expires_ns, {_pairs(('amount', 'used', 'expired'))}"
_LIVE: Final = f"SELECT {_GRANT} FROM credit_grants WHERE pool_no = ? AND is_live ORDER BY expires_ns, grant_no"
_USED: Final = (
    f"SELECT {_GRANT} FROM credit_grants WHERE pool_no = ? AND (used_units > 0 OR used_pico > 0) AND (expires_ns, grant_no) < (?, ?) "
    f"ORDER BY expires_ns DESC, grant_no DESC LIMIT {_USED_AT_ONCE}"
)
_NEW_GRANT: Final = (
    f"INSERT INTO credit_grants (pool_no, expires_ns, {_pairs(('amount', 'used', 'expired'))}, is_live) "
    "VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?) RETURNING grant_no"
)
_SET_GRANT: Final = (
    "UPDATE credit_grants SET used_units = ?, used_pico = ?, expired_units = ?, expired_pico = ?, is_live = ? WHERE grant_no = ?"
)
_ALERT: Final = (
    "INSERT INTO credit_alerts (pool_no, episode, low_units, low_pico, level_units, level_pico, at_ns) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (pool_no, episode) DO NOTHING"
)
_ALERT_OVER: Final = "UPDATE credit_alerts SET over_ns = ? WHERE pool_no = ? AND episode = ?"
_FIRST: Final = 2**63 - 1


def split(amount: int) -> tuple[int, int]:
    """An amount as whole units and the millionths of a millionth above them."""
    return divmod(amount, PICO_PER_USD)


def joined(units: int, pico: int) -> int:
    """The other way round."""
    return units * PICO_PER_USD + pico


class Cause(NamedTuple):
    """Why money moves.

    Attributes:
        at_ns: when.
        who, why: for people; "" where calls were booked.
        calls: how many entries moved it.
        shard, block_seq: the block of those entries.
    """

    at_ns: int
    who: str = ""
    why: str = ""
    calls: int = 0
    shard: int | None = None
    block_seq: int | None = None


class Grant:
    """Money that expires; `left` is what is neither used nor expired."""

    __slots__ = ("amount", "expired", "expires_ns", "no", "used")

    def __init__(self, no: int, expires_ns: int, amount: int, used: int, expired: int) -> None:
        self.no, self.expires_ns, self.amount, self.used, self.expired = no, expires_ns, amount, used, expired

    @property
    def left(self) -> int:
        """What can still be taken."""
        return self.amount - self.used - self.expired


class Book:
    """One pool's accounts while its row is locked; nothing is written before `save`.

    Attributes:
        no: of the pool.
        hard, open: as its definition says.
        accounts: what each holds, in millionths of a millionth of the currency.
        held: for calls that are being made.
        low: below which level people are told; None: they are not.
    """

    def __init__(self, transaction: Transaction, row: Row) -> None:
        no, hard, takes_calls, next_expiry_ns, is_low, alerts, *sums = row
        self._transaction = transaction
        self.no = int(no)
        self.hard, self.open = bool(hard), bool(takes_calls)
        self.next_expiry_ns: int | None = next_expiry_ns
        self._is_low, self._alerts = bool(is_low), int(alerts)
        pairs = iter(sums)
        self.accounts: dict[Account, int] = {name: joined(next(pairs), next(pairs)) for name in ACCOUNTS}
        self.held = joined(next(pairs), next(pairs))
        self._plain_used = joined(next(pairs), next(pairs))
        low_units, low_pico = pairs
        self.low: int | None = None if low_units is None else joined(low_units, low_pico)
        self._grants: list[Grant] | None = None
        self._touched: dict[int, Grant] = {}
        self._moves: list[tuple[Kind, Cause, dict[Account, int], int | None, int]] = []

    @property
    def balance(self) -> int:
        """What the pool holds."""
        return self.accounts["balance"]

    @property
    def level(self) -> int:
        """The balance less what is owed."""
        return self.accounts["balance"] + self.accounts["owed"]

    @property
    def available(self) -> int:
        """What may be taken for further calls."""
        return self.level - self.held

    def fund(self, amount: int, expires_ns: int | None, cause: Cause) -> None:
        """Put money in, which pays what is owed first; with `expires_ns` the rest of it expires then."""
        owing = min(amount, self._owing())
        if expires_ns is None:
            self._move("topup", {"source": -amount, **self._coming(amount)}, cause)
            return
        self._plain_used -= owing
        grant_no = self._granted(amount, owing, expires_ns)
        self._move("grant", {"source": -amount, **self._coming(amount)}, cause, grant_no)

    def adjust(self, amount: int, cause: Cause) -> None:
        """Put money in, or (below 0) take some out, without a call."""
        if amount >= 0:
            self._move("adjustment", {"adjustment": -amount, **self._coming(amount)}, cause)
        else:
            self._use(-amount)
            self._move("adjustment", {"adjustment": -amount, **self._going(-amount)}, cause)

    def debit(self, amount: int, cause: Cause) -> None:
        """Take what calls cost; less than 0 gives it back."""
        if amount > 0:
            self._use(amount)
            self._move("debit", {"spend": amount, **self._going(amount)}, cause)
        elif amount < 0:
            self._unuse(-amount)
            self._move("refund", {"spend": amount, **self._coming(-amount)}, cause)

    def lapse(self, now_ns: int, cause: Cause) -> int:
        """Take away what is left of grants that have expired, but for what is held for calls; returns how much."""
        if self.next_expiry_ns is None or self.next_expiry_ns > now_ns:
            return 0
        total = 0
        for grant in self.grants():
            over = min(grant.left, max(0, self.available)) if grant.expires_ns <= now_ns else 0
            if over > 0:
                grant.expired += over
                total += over
                self._touched[grant.no] = grant
                self._move("expiry", {"balance": -over, "expired": over}, cause, grant.no)
        self.next_expiry_ns = self._first_expiry()
        return total

    def define(self, *, hard: bool, low: int | None, is_open: bool, cause: Cause) -> None:
        """Follow a changed definition: what a soft pool lacks is what a hard one owes."""
        if hard != self.hard:
            lacks = -min(0, self.balance) if hard else self.accounts["owed"]
            if lacks:
                self._move("conversion", {"balance": lacks, "owed": -lacks}, cause)
        self.hard, self.low, self.open = hard, low, is_open

    def grants(self) -> list[Grant]:
        """Those of which something is left, the first to expire first."""
        if self._grants is None:
            self._grants = [_grant(row) for row in self._transaction.execute(_LIVE, (self.no,))]
        return [one for one in self._grants if one.left > 0]

    def save(self, at_ns: int) -> None:
        """Write everything, and tell once when the level falls below `low`."""
        self._save_grants()
        for kind, cause, legs, grant_no, after in self._moves:
            params = (self.no, kind, cause.at_ns, cause.who, cause.why, cause.calls, cause.shard, cause.block_seq, grant_no, *split(after))
            [(no,)] = self._transaction.execute(_MOVE, params)
            self._transaction.write_values(_POST, [(no, account, *split(amount)) for account, amount in legs.items()])
        self._moves.clear()
        self._tell(at_ns)
        self._transaction.execute(_UPDATE, (*self._row(), self.no))

    def _row(self) -> tuple[object, ...]:
        low = (None, None) if self.low is None else split(self.low)
        sums = [part for amount in (*self.accounts.values(), self.held, self._plain_used) for part in split(amount)]
        return (self.hard, self.open, self.next_expiry_ns, self._is_low, self._alerts, *sums, *low)

    def _move(self, kind: Kind, legs: Mapping[Account, int], cause: Cause, grant_no: int | None = None) -> None:
        moved = {account: amount for account, amount in legs.items() if amount}
        assert not sum(moved.values()), (kind, legs)
        for account, amount in moved.items():
            self.accounts[account] += amount
        if moved:
            self._moves.append((kind, cause, moved, grant_no, self.balance))

    def _owing(self) -> int:
        """What calls cost beyond the balance."""
        return -self.accounts["owed"] if self.hard else max(0, -self.balance)

    def _coming(self, amount: int) -> dict[Account, int]:
        """Where money that comes in goes: to what a hard pool owes, then to the balance."""
        owed = min(amount, -self.accounts["owed"])
        return {"owed": owed, "balance": amount - owed}

    def _going(self, amount: int) -> dict[Account, int]:
        """Where money that goes out comes from: a hard pool owes what its balance has not."""
        paid = min(amount, self.balance) if self.hard else amount
        return {"balance": -paid, "owed": paid - amount}

    def _use(self, amount: int) -> None:
        """Take from the grants, the first to expire first, then from plain money."""
        if self.next_expiry_ns is not None:
            for grant in self.grants():
                taken = min(grant.left, amount)
                grant.used += taken
                amount -= taken
                self._touched[grant.no] = grant
                if not amount:
                    return
        self._plain_used += amount

    def _unuse(self, amount: int) -> None:
        """Give back to plain money what was used of it, then to the grants, the last to expire first, expired ones too."""
        plain = min(amount, self._plain_used)
        self._plain_used -= plain
        amount -= plain
        if not amount:
            return
        for grant in self._used_grants():
            given = min(grant.used, amount)
            grant.used -= given
            amount -= given
            self._touched[grant.no] = grant
            if not amount:
                return

    def _used_grants(self) -> Iterator[Grant]:
        known = {one.no: one for one in self.grants()} | self._touched
        place = (_FIRST, _FIRST)
        while rows := self._transaction.execute(_USED, (self.no, *place)):
            for row in rows:
                stored = _grant(row)
                yield known.get(stored.no, stored)
            place = (stored.expires_ns, stored.no)

    def _granted(self, amount: int, used: int, expires_ns: int) -> int:
        """Store a new grant; a grant needs its number before it can be spoken of."""
        params = (self.no, expires_ns, *split(amount), *split(used), used < amount)
        [(no,)] = self._transaction.execute(_NEW_GRANT, params)
        if self._grants is not None:
            self._grants.append(Grant(int(no), expires_ns, amount, used, 0))
            self._grants.sort(key=lambda one: (one.expires_ns, one.no))
        if used < amount:
            self.next_expiry_ns = min(expires_ns, _FIRST if self.next_expiry_ns is None else self.next_expiry_ns)
        return int(no)

    def _save_grants(self) -> None:
        if not self._touched:
            return
        rows = [(*split(one.used), *split(one.expired), one.left > 0, one.no) for one in self._touched.values()]
        self._transaction.executemany(_SET_GRANT, rows)
        self._touched.clear()
        self._grants = None  # those that were given back to are among them again
        self.next_expiry_ns = self._first_expiry()

    def _first_expiry(self) -> int | None:
        return min((one.expires_ns for one in self.grants()), default=None)

    def _tell(self, at_ns: int) -> None:
        """Record that the level fell below `low`, once until it has risen again."""
        is_low = self.low is not None and self.level < self.low
        if is_low == self._is_low:
            return
        self._is_low = is_low
        if is_low:
            assert self.low is not None
            self._alerts += 1
            self._transaction.execute(_ALERT, (self.no, self._alerts, *split(self.low), *split(self.level), at_ns))
        else:
            self._transaction.execute(_ALERT_OVER, (at_ns, self.no, self._alerts))


def new_book(transaction: Transaction, *, hard: bool, low: int | None) -> Book:
    """The book of a pool that is made now; it holds nothing."""
    empty = (hard, True, None, False, 0, *[0] * (2 * (len(ACCOUNTS) + 2)), *((None, None) if low is None else split(low)))
    [(no,)] = transaction.execute(_INSERT, empty)
    return Book(transaction, (no, *empty))


def locked_books(transaction: Transaction, numbers: Iterable[int]) -> dict[int, Book]:
    """The books of these pools, by number and locked in its order until the transaction ends; those that there are."""
    wanted = sorted(set(numbers))
    sql = _LOCKING if transaction.engine_name == "postgresql" else _SELECT
    return {int(row[0]): Book(transaction, row) for row in transaction.select_in(sql, wanted)} if wanted else {}


def read_books(transaction: Transaction, numbers: Iterable[int]) -> dict[int, Book]:
    """The same without a lock: to be looked at, never saved."""
    wanted = sorted(set(numbers))
    return {int(row[0]): Book(transaction, row) for row in transaction.select_in(_SELECT, wanted)} if wanted else {}


def _grant(row: Row) -> Grant:
    no, expires_ns, *sums = row
    amount, used, expired = (joined(*sums[at : at + 2]) for at in (0, 2, 4))
    return Grant(int(no), int(expires_ns), amount, used, expired)
