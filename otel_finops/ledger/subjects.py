"""Users and sessions are stored as references; one table maps them to what senders call them.

Erasing a person deletes the mapping and nothing else: no money moves and no chain breaks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final, Literal, TypeAlias

from otel_finops.base.clock import Clock, SystemClock
from otel_finops.base.ids import IdSource, RandomIds
from otel_finops.base.limits import SUBJECTS_REMEMBERED_MAX
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.store.unit_of_work import Transaction

SubjectKind: TypeAlias = Literal["user", "session"]

_REF_BYTES: Final = 8
"""Randomness of a reference; in front of it stand the seconds since the epoch, so that new ones lie together in the index."""
_INSERT: Final = "INSERT INTO subjects (ref, realm, kind, clear) VALUES"
_RETURNING: Final = "ON CONFLICT (realm, kind, clear) DO NOTHING RETURNING clear, ref"
_FIND: Final = "SELECT clear, ref FROM subjects WHERE realm = ? AND kind = ? AND clear IN ({})"
_CLEAR: Final = "SELECT ref, clear FROM subjects WHERE ref IN ({})"


class Subjects:
    """The mapping of subjects, with a memo of recently used ones. Safe to use from many threads."""

    def __init__(self, ids: IdSource | None = None, clock: Clock | None = None, *, remembered_max: int = SUBJECTS_REMEMBERED_MAX) -> None:
        self._ids = ids or RandomIds()
        self._clock = clock or SystemClock()
        self._max = remembered_max
        self._memo: OrderedDict[tuple[str, str, str], str] = OrderedDict()
        self._guard = threading.Lock()

    def refs(self, transaction: Transaction, realm: str, kind: SubjectKind, clears: Iterable[str]) -> dict[str, str]:
        """The reference of every clear id, made where there is none yet. What is new is remembered once it is committed."""
        wanted = set(clears)
        found = self._remembered(realm, kind, wanted)
        missing = sorted(wanted - found.keys())
        if missing:
            fresh = self._stored(transaction, realm, kind, missing)
            transaction.after_commit(lambda: self._remember(realm, kind, fresh))
            found.update(fresh)
        return found

    def clear(self, transaction: Transaction, refs: Collection[str]) -> dict[str, str]:
        """The clear id of every reference; erased ones are left out."""
        return dict(transaction.select_in(_CLEAR, sorted(set(refs))))

    def _new_ref(self) -> str:
        return f"{self._clock.now_ns() // NS_PER_SECOND:08x}{self._ids.token(_REF_BYTES)}"

    def _remembered(self, realm: str, kind: str, wanted: set[str]) -> dict[str, str]:
        found = {}
        with self._guard:
            for clear in wanted:
                ref = self._memo.get((realm, kind, clear))
                if ref is not None:
                    self._memo.move_to_end((realm, kind, clear))
                    found[clear] = ref
        return found

    def _remember(self, realm: str, kind: str, fresh: dict[str, str]) -> None:
        with self._guard:
            for clear, ref in fresh.items():
                self._memo[realm, kind, clear] = ref
            while len(self._memo) > self._max:
                self._memo.popitem(last=False)

    def _stored(self, transaction: Transaction, realm: str, kind: str, clears: list[str]) -> dict[str, str]:
        """Find or insert, in order of the text, so that two writers cannot wait for each other.

        PostgreSQL's texts cannot hold NUL, so it is stored as the replacement character.
        """
        storable = {clear: clear.replace("\0", "\ufffd") for clear in clears}
        texts = sorted(set(storable.values()))
        known: dict[str, str] = dict(transaction.select_in(_FIND, texts, before=(realm, kind)))
        new = [text for text in texts if text not in known]
        known.update(transaction.write_values(_INSERT, [(self._new_ref(), realm, kind, text) for text in new], _RETURNING))
        raced = [text for text in new if text not in known]
        known.update(transaction.select_in(_FIND, raced, before=(realm, kind)))
        return {clear: known[text] for clear, text in storable.items()}


def refs_of(transaction: Transaction, kind: str, clears: Collection[str]) -> list[str]:
    """The references of clear ids in every realm; found by jumps through the index from realm to realm."""
    wanted, refs = sorted(set(clears)), list[str]()
    realm = transaction.execute("SELECT MIN(realm) FROM subjects")[0][0]
    while realm is not None:
        refs += [ref for _, ref in transaction.select_in(_FIND, wanted, before=(realm, kind))]
        realm = transaction.execute("SELECT MIN(realm) FROM subjects WHERE realm > ?", (realm,))[0][0]
    return refs
