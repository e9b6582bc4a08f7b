"""Reservations: money, tokens and one call that are held from a decision until the call's entry is booked.

A reservation is held at the estimate; settling turns it into what the call came to, which stays held; booking an entry that names it ends
it in the same transaction, so that nothing counts twice and nothing is missing in between. What is never settled, or settled and never
booked, is given back when its time is over. Each row is in one of these states and only moves down this list: held, settled, and then
booked, expired or released.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.errors import Conflict, NotFound
from otel_finops.base.limits import RESERVATIONS_SWEPT_MAX
from otel_finops.base.money import format_usd
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.rulings import Holder, Ruling
from otel_finops.ledger.entry import REVERSAL, ROLE_CALL, Entry
from otel_finops.store.unit_of_work import Row, Transaction

State: TypeAlias = Literal["held", "settled", "booked", "expired", "released"]
Tenants: TypeAlias = Collection[str] | None
LASTS_MAX_NS: Final = 24 * 3600 * 10**9
"""No reservation is held for longer (`settings.enforcement`): one that seems to be was made before the clock went back."""

_COLUMNS: Final = (
    "reservation_id, tenant, state, estimate_pico, tokens, actual_pico, actual_tokens, made_ns, settled_ns, expires_ns, ended_ns"
)
_INSERT: Final = f"INSERT INTO reservations ({_COLUMNS}) VALUES"
_FIND: Final = f"SELECT {_COLUMNS} FROM reservations WHERE reservation_id = ?"
_PAGE: Final = f"SELECT {_COLUMNS} FROM reservations WHERE {{}} ORDER BY made_ns DESC, reservation_id DESC"
_SETTLE: Final = (
    "UPDATE reservations SET state = 'settled', actual_pico = ?, actual_tokens = ?, settled_ns = ?, expires_ns = ? "
    f"WHERE reservation_id = ? AND state = 'held' RETURNING {_COLUMNS}"
)
_END: Final = "UPDATE reservations SET state = ?, ended_ns = ? WHERE reservation_id = ? AND ended_ns IS NULL"
_END_ONE: Final = f"{_END} RETURNING reservation_id"
_DUE: Final = (
    f"SELECT reservation_id FROM reservations WHERE ended_ns IS NULL AND expires_ns <= ? ORDER BY expires_ns LIMIT {RESERVATIONS_SWEPT_MAX}"
)
_ASTRAY: Final = _DUE.replace("<=", ">")
_OPEN: Final = "SELECT reservation_id, tenant FROM reservations WHERE reservation_id IN ({}) AND ended_ns IS NULL ORDER BY reservation_id"
_LOCKING: Final = " FOR UPDATE"


class Reservation(NamedTuple):
    """What is, or was, held for a call.

    Attributes:
        id: that of its decision, and what the call's span says as `finops.reservation`.
        estimate_pico: what was held at first; None where nobody knew.
        tokens: prompt and most output.
        actual_pico, actual_tokens: what the caller says it came to; None: it is not settled, or he did not say.
        expires_ns: when it is given back; of an ended one when it would have been.
        ended_ns: None as long as it is held.
    """

    id: str
    tenant: str
    state: State
    estimate_pico: int | None
    tokens: int
    actual_pico: int | None = None
    actual_tokens: int | None = None
    made_ns: int = 0
    settled_ns: int | None = None
    expires_ns: int = 0
    ended_ns: int | None = None


class Reservations:
    """Holds, turns and gives back, in its caller's transaction. Keeps nothing in memory.

    Args:
        holders: in the order in which their rows are locked: budgets, then pools of credits.
        ttl_ns: how long an estimate is held.
        grace_ns: how long a settled amount is held.
    """

    def __init__(self, holders: Sequence[Holder], ttl_ns: int, grace_ns: int) -> None:
        self._holders = tuple(holders)
        self._ttl_ns = ttl_ns
        self._grace_ns = grace_ns

    def make(self, transaction: Transaction, call: GovernedCall, reservation_id: str, now_ns: int) -> Reservation | Ruling:
        """Hold what a call may take; where one of the holders has not enough, what that one says, and nothing is held."""
        for place, holder in enumerate(self._holders):
            refusal = holder.hold(transaction, call, reservation_id)
            if refusal is not None:
                for earlier in self._holders[:place]:
                    earlier.release(transaction, [reservation_id])
                return refusal
        made = Reservation(
            reservation_id, call.tenant, "held", call.pico, call.tokens, made_ns=now_ns, expires_ns=now_ns + self._ttl_ns
        )  # fmt: skip
        transaction.write_values(_INSERT, [made])
        return made

    def settle(
        self, transaction: Transaction, reservation_id: str, actual_pico: int | None, tokens: int | None, now_ns: int, tenants: Tenants
    ) -> Reservation:
        """Turn what is held into what the call came to (None: as estimated), which stays held for the grace.

        Saying the same twice changes nothing; of one that has ended nothing is held any more, and nothing changes either.

        Raises:
            NotFound: there is none that these tenants may see.
            Conflict: it is settled already, at another amount.
        """
        held = self.find(transaction, reservation_id, tenants)
        turned = transaction.execute(_SETTLE, (actual_pico, tokens, now_ns, now_ns + self._grace_ns, reservation_id))
        if not turned:
            return _settled_before(self.find(transaction, reservation_id, tenants), actual_pico, tokens)
        amount = actual_pico if actual_pico is not None else held.estimate_pico or 0
        for holder in self._holders:
            holder.turn(transaction, reservation_id, amount, tokens)
        return _reservation(turned[0])

    def release(self, transaction: Transaction, reservation_id: str, now_ns: int, tenants: Tenants) -> Reservation:
        """Give back what is held for a call that is not made; of one that has ended nothing changes.

        Raises:
            NotFound: there is none that these tenants may see.
        """
        self.find(transaction, reservation_id, tenants)
        self._end(transaction, [reservation_id], "released", now_ns)
        return self.find(transaction, reservation_id, tenants)

    def expire(self, transaction: Transaction, now_ns: int) -> int:
        """Give back what is held for too long, some of it where there is much; returns of how many calls."""
        locking = _skipping(transaction)
        rows = transaction.execute(f"{_DUE}{locking}", (now_ns,)) or transaction.execute(f"{_ASTRAY}{locking}", (now_ns + LASTS_MAX_NS,))
        return len(self._end(transaction, [row[0] for row in rows], "expired", now_ns)) if rows else 0

    def find(self, transaction: Transaction, reservation_id: str, tenants: Tenants) -> Reservation:
        """One of them; raises NotFound when there is none that these tenants may see."""
        rows = transaction.execute(_FIND, (reservation_id,))
        if not rows or (tenants is not None and rows[0][1] not in tenants):
            raise NotFound("There is no such reservation.")
        return _reservation(rows[0])

    def page(
        self, transaction: Transaction, tenants: Tenants, state: str | None, before: tuple[int, str] | None, limit: int
    ) -> list[Reservation]:
        """Reservations, newest first: those made before a moment, or at it with a lesser id."""
        where, params = ["TRUE"], list[Any]()
        if tenants is not None:
            where.append(f"tenant IN ({', '.join('?' * len(tenants)) or 'NULL'})")
            params += tenants
        if state is not None:
            where.append("state = ?")
            params.append(state)
        if before is not None:
            where.append("(made_ns, reservation_id) < (?, ?)")
            params += before
        rows = transaction.execute(f"{_PAGE.format(' AND '.join(where))} LIMIT {int(limit)}", params)
        return [_reservation(row) for row in rows]

    def _end(self, transaction: Transaction, reservation_ids: Collection[str], state: State, now_ns: int) -> list[str]:
        ended = [one for one in sorted(reservation_ids) if transaction.execute(_END_ONE, (state, now_ns, one))]
        if ended:
            for holder in self._holders:
                holder.release(transaction, ended)
        return ended


def named_by(entry: Entry) -> str | None:
    """The reservation that a call names as it is booked, or as its entry says later: the span with the name may be the last to come."""
    return entry.reservation_id if entry.kind != REVERSAL and entry.role == ROLE_CALL else None


def booked(transaction: Transaction, entries: Sequence[Entry]) -> list[str]:
    """End the reservations that booked calls name, in the transaction that books them or corrects what they say; their ids.

    Whoever keeps counts or pools by these entries gives back there and then what was held for them: all rows of one kind that a
    transaction touches are locked in one order. One tenant's entry ends no other's reservation.
    """
    named = {(one, entry.tenant): entry.recorded_ns for entry in entries if (one := named_by(entry)) is not None}
    if not named:
        return []
    locking = _LOCKING if transaction.engine_name == "postgresql" else ""
    ids = sorted({one for one, _ in named})
    open_ones = {(one, tenant) for one, tenant in transaction.select_in(f"{_OPEN}{locking}", ids)}
    ended = sorted((one, recorded_ns) for (one, tenant), recorded_ns in named.items() if (one, tenant) in open_ones)
    transaction.executemany(_END, [("booked", recorded_ns, one) for one, recorded_ns in ended])
    return [one for one, _ in ended]


def _reservation(row: Row) -> Reservation:
    return Reservation._make(row)


def _settled_before(now: Reservation, actual_pico: int | None, tokens: int | None) -> Reservation:
    if now.state == "settled" and (now.actual_pico, now.actual_tokens) != (actual_pico, tokens):
        at = "its estimate" if now.actual_pico is None else f"{format_usd(now.actual_pico)} USD"
        raise Conflict(f"This reservation is settled already, at {at}; a call is settled once.")
    return now


def _skipping(transaction: Transaction) -> str:
    """Rows that somebody else is ending just now are left to him."""
    return f"{_LOCKING} SKIP LOCKED" if transaction.engine_name == "postgresql" else ""
