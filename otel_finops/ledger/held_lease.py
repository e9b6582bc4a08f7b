"""Waiting for a lease that somebody else holds, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy
from otel_finops.store.lease import Lease, Leases

WAIT_S: Final = 30.0
"""How long one who was asked by a person waits for a shard."""
TRY_EVERY_S: Final = 0.1


@contextmanager
def held_lease(leases: Leases, name: str, clock: Clock, sleep: Callable[[float], None], wait_s: float = WAIT_S) -> Iterator[Lease]:
    """Hold a lease for the length of a block.

    Raises:
        Busy: somebody else held it for longer than `wait_s`; `holder` says who.
    """
    give_up_at = clock.monotonic() + wait_s
    while (lease := leases.acquire(name)) is None:
        if clock.monotonic() >= give_up_at:
            holder = leases.holder_of(name)
            raise Busy(f"the ledger is busy: {holder or 'another process'} holds {name!r}", holder=holder)
        sleep(TRY_EVERY_S)
    try:
        yield lease
    finally:
        lease.release()
