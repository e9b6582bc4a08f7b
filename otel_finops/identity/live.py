"""The stored tokens that hold now, in memory: what is asked with every request costs no look into the database.

`fresh` asks whether tokens were made, rotated or revoked since, which is one look-up of one row; a follower calls it twice a second, so
that a revocation holds in every process within one. When a token was last used is noted in memory and written once a minute, by a follower
of its own: a write may have to wait for others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from threading import Lock
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, Unauthenticated, Unavailable
from otel_finops.base.times import NS_PER_DAY, format_ns
from otel_finops.identity import stored
from otel_finops.identity.stored import StoredToken
from otel_finops.identity.tokens import TokenKind, TokenTable
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_log: Final = logging.getLogger(__name__)

POLL_S: Final = 0.5
"""How long a process may go on with tokens that somebody has changed, besides what the look itself takes."""
NOTE_USES_EVERY_S: Final = 60.0
"""A token that is used all the time costs one write a minute and process."""
TELL_EXPIRED_NS: Final = 30 * NS_PER_DAY
"""So long after it expired the bearer of a token is told so; later it is one that nobody knows."""


class _Held(NamedTuple):
    revision: int
    tables: Mapping[TokenKind, TokenTable[StoredToken]]
    numbers: Mapping[TokenKind, frozenset[int]]


_NOTHING: Final = _Held(-1, {"api": TokenTable(), "sender": TokenTable()}, {"api": frozenset(), "sender": frozenset()})


class LiveTokens:
    """The stored tokens that hold. Safe to use from many threads.

    Args:
        store: the ledger's database.
        clock: our time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._held = _NOTHING
        self._lock = Lock()
        self._used: dict[tuple[TokenKind, int], int] = {}
        self._noted: dict[tuple[TokenKind, int], int] = {}
        self._untold = True

    def find(self, kind: TokenKind, digest: str) -> StoredToken | None:
        """The token of this digest, None when there is none; it counts as used.

        Raises:
            Unauthenticated: it expired, which only its bearer is told.
        """
        found = self._held.tables[kind].find(digest)
        if found is None:
            return None
        now_ns = self._clock.now_ns()
        if found.is_over(now_ns):
            raise Unauthenticated(f"This token expired at {format_ns(found.said.expires_ns or 0)}; ask an admin for another one.")
        self._used[kind, found.no] = now_ns
        return found

    def fresh(self) -> None:
        """Take up what was changed in the database.

        Raises:
            Busy, Unavailable: the store's.
        """
        with self._store.read() as transaction:
            self._take_up(transaction)

    def follow(self) -> None:
        """Take up a change that this thread made as soon as it is durable; where that fails, the next look does it."""
        self._store.afterwards(self._try)

    def note_uses(self) -> None:
        """Write when tokens were last used, those that were since the last time.

        Raises:
            Busy, Unavailable: the store's; the next time writes what this one could not.
        """
        used = {key: at_ns for key, at_ns in list(self._used.items()) if self._noted.get(key) != at_ns}
        if not used:
            return
        with self._store.write() as transaction:
            for kind in ("api", "sender"):
                stored.note_uses(transaction, kind, sorted((no, at_ns) for (of, no), at_ns in used.items() if of == kind))
        numbers = self._held.numbers
        for key in [key for key in list(self._used) if key[1] not in numbers[key[0]]]:
            self._used.pop(key, None)
        self._noted = {key: at_ns for key, at_ns in {**self._noted, **used}.items() if key in self._used}

    def keep_uses(self) -> None:
        """`note_uses`, and where that fails the next time does it; the first failure is told."""
        try:
            self.note_uses()
            self._untold = True
        except (Busy, Unavailable) as fault:
            if self._untold:
                _log.warning("when tokens were last used cannot be written now: %s", fault)
            self._untold = False

    def _try(self) -> None:
        try:
            self.fresh()
        except (Busy, Unavailable) as fault:
            _log.info("a change of tokens holds here with the next look: %s", fault)

    def _take_up(self, transaction: Transaction) -> None:
        found = stored.revision(transaction)
        if found <= self._held.revision:
            return
        with self._lock:
            if found > self._held.revision:
                self._held = self._read(transaction, found)

    def _read(self, transaction: Transaction, revision: int) -> _Held:
        expired_after_ns = self._clock.now_ns() - TELL_EXPIRED_NS
        kinds: tuple[TokenKind, ...] = ("api", "sender")
        rows = {kind: stored.standing(transaction, kind, expired_after_ns) for kind in kinds}
        return _Held(
            revision,
            {kind: TokenTable(found) for kind, found in rows.items()},
            {kind: frozenset(one.no for one in found) for kind, found in rows.items()},
        )
