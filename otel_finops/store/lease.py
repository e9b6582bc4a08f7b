"""Leases: who may append to a shard, or run a job, for now. A fencing token makes them safe when a holder sleeps too long.

Holding a lease is only a promise of not working in vain. What makes it safe is `Lease.confirm` inside the appending
transaction: it fails when anybody else has held the lease since, whatever the clocks say.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

LEASE_TTL_S: Final = 10.0
"""After this time without a sign of life a lease may be taken over."""

AHEAD_MAX_NS: Final = 3600 * NS_PER_SECOND
"""No lease lasts as long: one that seems to was given before the clock went back, and holds nothing."""

_LOOK: Final = "SELECT holder FROM leases WHERE name = ? AND expires_ns > ? AND expires_ns <= ?"
_TAKE: Final = (
    "INSERT INTO leases (name, holder, token, expires_ns) VALUES (?, ?, 1, ?) ON CONFLICT (name) DO UPDATE SET "
    "holder = excluded.holder, token = leases.token + 1, expires_ns = excluded.expires_ns "
    "WHERE leases.expires_ns <= ? OR leases.expires_ns > ? RETURNING token"
)
_RENEW: Final = "UPDATE leases SET expires_ns = ? WHERE name = ? AND token = ? AND expires_ns > 0 RETURNING token"
_RELEASE: Final = "UPDATE leases SET expires_ns = 0 WHERE name = ? AND token = ?"
_DATABASE_NOW: Final = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000000 AS BIGINT)"


class _Origin(NamedTuple):
    """What the database's clock said at one moment of our clock that never goes back."""

    database_ns: int
    monotonic_s: float


class Leases:
    """Gives leases to one holder.

    Args:
        store: where they stand.
        clock: its wall time counts on SQLite, where all processes share one machine. On PostgreSQL the server's time
            counts, read once and carried on by `monotonic`, so that hosts whose clocks differ agree.
        holder: who asks, shown to those who wait, e.g. `serve on host-7 (4711)`; unique per process.
    """

    def __init__(self, store: Store, clock: Clock, holder: str) -> None:
        self._store = store
        self._clock = clock
        self.holder: Final = holder
        self._origin: _Origin | None = None

    def acquire(self, name: str, ttl_s: float = LEASE_TTL_S) -> Lease | None:
        """Take a lease that nobody holds or whose holder has been silent for its time; None when somebody holds it.

        Raises:
            Busy, Unavailable: the store's.
        """
        if self._store.is_together:
            raise RuntimeError(f"the lease {name!r} is asked for inside of a transaction: a change that takes leases is a run")
        if self.holder_of(name) is not None:
            return None
        now_ns = self.now_ns()
        with self._writing() as transaction:
            taken = transaction.execute(_TAKE, (name, self.holder, now_ns + _ns(ttl_s), now_ns, now_ns + AHEAD_MAX_NS))
        return Lease(self, name, int(taken[0][0]), ttl_s) if taken else None

    def holder_of(self, name: str) -> str | None:
        """Who holds a lease now; None when nobody does."""
        now_ns = self.now_ns()
        with self._store.read() as transaction:
            return _holder(transaction, name, now_ns)

    def _writing(self) -> AbstractContextManager[Transaction]:
        """On SQLite a power failure ends all holders too, and what they wrote is never on the disk without the lease it was written under:
        the log is one. A server of PostgreSQL may fail alone."""
        return self._store.write(housekeeping=True, durable=self._store.engine_name != "sqlite")

    def now_ns(self) -> int:
        """The time by which leases are measured, the same for all who share the database."""
        if self._store.engine_name == "sqlite":
            return self._clock.now_ns()
        if self._origin is None:
            with self._store.read() as transaction:
                [(database_ns,)] = transaction.execute(_DATABASE_NOW)
            self._origin = _Origin(int(database_ns), self._clock.monotonic())
        return self._origin.database_ns + _ns(self._clock.monotonic() - self._origin.monotonic_s)

    def _renew(self, transaction: Transaction, lease: Lease) -> bool:
        return bool(transaction.execute(_RENEW, (self.now_ns() + _ns(lease.ttl_s), lease.name, lease.token)))

    def _renew_alone(self, lease: Lease) -> None:
        with self._writing() as transaction:
            lease.confirm(transaction)

    def _lost_to(self, transaction: Transaction, name: str) -> str | None:
        return _holder(transaction, name, self.now_ns())

    def _release(self, lease: Lease) -> None:
        with self._writing() as transaction:
            transaction.execute(_RELEASE, (lease.name, lease.token))


class Lease:
    """A lease that was held when it was given.

    Attributes:
        name: what it is for.
        token: larger than that of every earlier holder.
    """

    def __init__(self, leases: Leases, name: str, token: int, ttl_s: float) -> None:
        self._leases = leases
        self.name = name
        self.token = token
        self.ttl_s = ttl_s

    def confirm(self, transaction: Transaction) -> None:
        """Renew the lease inside the transaction that needs it; nobody can take it until that transaction ends.

        Raises:
            Busy: it was lost (or released); the transaction must be given up.
        """
        if not self._leases._renew(transaction, self):
            holder = self._leases._lost_to(transaction, self.name)
            raise Busy(f"the lease {self.name!r} was lost to {holder or 'another holder'}; nothing was written", holder=holder)

    def renew(self) -> None:
        """Renew the lease in a transaction of its own.

        Raises:
            Busy: it was lost (or released), or the store's.
            Unavailable: the store's.
        """
        self._leases._renew_alone(self)

    def release(self) -> None:
        """Give the lease back; harmless when it was lost.

        Raises:
            Busy, Unavailable: the store's; the lease then runs out by itself.
        """
        self._leases._release(self)


def _holder(transaction: Transaction, name: str, now_ns: int) -> str | None:
    rows = transaction.execute(_LOOK, (name, now_ns, now_ns + AHEAD_MAX_NS))
    return rows[0][0] if rows else None


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_SECOND)
