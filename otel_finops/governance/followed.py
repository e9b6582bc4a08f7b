"""What is stored by one process and held by all: definitions that decisions need at hand, with the revision that they are of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, Unavailable
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

_log: Final = logging.getLogger(__name__)

FOLLOW_S: Final = 0.5
"""How long a process may go on with what somebody has changed."""


class Revised(Protocol):
    """Something that is of a revision."""

    @property
    def revision(self) -> int:
        """Larger than that of everything before; 0 for nothing at all."""
        ...


Held = TypeVar("Held", bound=Revised)
Defined = TypeVar("Defined")
DELETE: Final = "delete"
"""The action of the revision that takes a definition away."""


class Revision(NamedTuple, Generic[Defined]):
    """A definition as one revision left it; `deleted`: that revision took it away as it was."""

    left: Defined
    deleted: bool


def revisions(rows: Iterable[Row], read: Callable[[Row, Defined | None], Defined]) -> list[Revision[Defined]]:
    """All revisions of one definition, newest first.

    Args:
        rows: oldest first; the third column is the action.
        read: the definition by a row, with what it was before; None: nothing.
    """
    made: Defined | None = None
    found: list[Revision[Defined]] = []
    for row in rows:
        made = read(row, made)
        found.append(Revision(made, row[2] == DELETE))
    return found[::-1]


class Followed(Generic[Held]):
    """Something stored, as it is known in this process. Safe to use from many threads.

    Args:
        what: for the log, e.g. `the budgets`.
        nothing: before anything was read, of revision 0.
        revision: of what is stored: one look-up by key.
        read: what is stored, from what is known of an earlier revision.
    """

    def __init__(
        self,
        what: str,
        store: Store,
        clock: Clock,
        nothing: Held,
        revision: Callable[[Transaction], int],
        read: Callable[[Transaction, Held], Held],
    ) -> None:
        self._what = what
        self._store = store
        self._clock = clock
        self._revision = revision
        self._read = read
        self._held = nothing
        self._known = False
        self._looked = float("-inf")
        self._away = False
        self._lock = Lock()

    def look_again(self) -> None:
        """Have the next one who asks look, however short ago that was done."""
        self._looked = float("-inf")

    def current(self) -> Held:
        """What holds, at most `FOLLOW_S` old while the store answers; while it is away the last known holds on.

        Raises:
            Busy, Unavailable: the store's, as long as it could not be read once.
        """
        if self._clock.monotonic() - self._looked >= FOLLOW_S and self._lock.acquire(blocking=not self._known):
            try:
                return self._look()
            finally:
                self._lock.release()
        return self._held

    def seen_by(self, transaction: Transaction) -> Held:
        """What a transaction sees, or what was committed after its snapshot; exact where nobody else can change it meanwhile.

        What a part of a whole sees is not remembered, since that may be rolled back. It must not be asked for after changes in a
        transaction of one's own.
        """
        held = self._held
        if self._revision(transaction) <= held.revision:
            return held
        seen = self._read(transaction, held)
        if not transaction.provisional and seen.revision > self._held.revision:
            self._held = seen
        return seen

    def _look(self) -> Held:
        try:
            with self._store.read() as transaction:
                seen = self.seen_by(transaction)
            if transaction.provisional:
                return seen
            self._known, self._away = True, False
        except (Busy, Unavailable) as fault:
            if not self._known:
                raise
            if not self._away:
                _log.warning("%s cannot be looked up, what is known holds on: %s", self._what, fault)
            self._away, seen = True, self._held
        self._looked = self._clock.monotonic()
        return seen
