"""The trail in the ledger's own database, so that a change and its record are one transaction."""

from __future__ import annotations

from contextlib import AbstractContextManager

from otel_finops.audit.chain import append
from otel_finops.audit.trail import Change
from otel_finops.store.engine import Store


class StoredTrail:
    """See `audit.trail.Trail`. Safe to use from many threads and processes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def together(self) -> AbstractContextManager[None]:
        """See `Trail.together`."""
        return self._store.together()

    def record(self, change: Change, /) -> int:
        """See `Trail.record`; outside of `together` a transaction of its own."""
        with self._store.write() as transaction:
            return append(transaction, change)
