"""The price book of now, in one place: the lists that were activated and the operator's rules as one engine.

Several processes may work on one ledger. Each asks the database now and then whether a list or a rule was added, which is two
look-ups by key, and goes on with the new book when one was; nobody has to be restarted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, StartRefused, Unavailable
from otel_finops.ledger import price_rules, price_store
from otel_finops.ledger.price_store import NamedList
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.engine import PriceEngine, try_every_row
from otel_finops.pricing.packaged import packaged_snapshot, snapshot_from_file
from otel_finops.pricing.snapshot import Snapshot
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_log: Final = logging.getLogger(__name__)

POLL_S: Final = 2.0
"""How long a process may go on with a book that somebody has added to (`store.follower`)."""


def base_of(path: str | None) -> Snapshot:
    """Where the book begins: the packaged list, or the one at `path`.

    Raises:
        StartRefused: the file cannot be read or is no price list.
    """
    if path is None:
        return packaged_snapshot()
    try:
        snapshot = snapshot_from_file(Path(path))
        try_every_row(PriceBook.of([snapshot]), path)
    except StartRefused as fault:
        raise StartRefused(f"prices.path: {fault}") from fault
    return snapshot


class _Revision(NamedTuple):
    """What the book was composed of: the last activation and the last rule."""

    activation: int
    rule: int

    def covers(self, other: _Revision) -> bool:
        """Whether nothing of the other one is missing: a transaction that began earlier must not bring an older book back."""
        return self.activation >= other.activation and self.rule >= other.rule


class _Held(NamedTuple):
    revision: _Revision
    book: PriceBook
    engine: PriceEngine


class CurrentPrices:
    """The engine over the book of now. Safe to use from many threads.

    Args:
        store: the ledger's database.
        clock: our time.
        base: the packaged list, or that of `prices.path`, read when it is first needed.
    """

    def __init__(self, store: Store, clock: Clock, base: Callable[[], Snapshot]) -> None:
        self._store = store
        self._clock = clock
        self._base = base
        self._first: Snapshot | None = None
        self._held: _Held | None = None
        self._lock = Lock()

    def __call__(self) -> PriceEngine:
        """The engine as it was last seen; asks the database the first time only, so that it may be called for every batch.

        Raises:
            Busy, Unavailable: the store's, the first time.
        """
        held = self._held
        return self.fresh() if held is None else held.engine

    def fresh(self) -> PriceEngine:
        """The engine over what the database holds now.

        Raises:
            Busy, Unavailable: the store's.
        """
        with self._store.read() as transaction:
            return self.seen_by(transaction)

    def follow(self) -> None:
        """Go on with what was just added as soon as it is durable; where that cannot be looked up the next look finds it."""
        self._store.afterwards(self._look)

    def _look(self) -> None:
        try:
            self.fresh()
        except (Busy, Unavailable) as fault:
            _log.info("the new price book cannot be looked up yet: %s", fault)

    def seen_by(self, transaction: Transaction) -> PriceEngine:
        """The engine over what this transaction sees, or over more when somebody has read more already."""
        found = _Revision(price_store.revision(transaction), price_rules.revision(transaction))
        held = self._held
        if held is not None and held.revision.covers(found):
            return held.engine
        if transaction.provisional:  # it may see what will never have been
            return self._composed(transaction, found, held).engine
        with self._lock:
            if self._held is None or not self._held.revision.covers(found):
                self._held = self._composed(transaction, found, self._held)
            return self._held.engine

    def base(self) -> NamedList:
        """The packaged list, or that of `prices.path`."""
        return price_store.named(self._base_list())

    def _base_list(self) -> Snapshot:
        if self._first is None:
            self._first = self._base()
        return self._first

    def _composed(self, transaction: Transaction, revision: _Revision, held: _Held | None) -> _Held:
        rules = price_rules.load(transaction)
        if held is not None and held.revision.activation == revision.activation:
            book = held.book.under(rules)
        else:
            book = PriceBook.of(self._lists(transaction), rules)
        if held is not None:
            _log.info("the price book is composed anew: activation %d, rule %d", *revision)
        return _Held(revision, book, PriceEngine(book))

    def _lists(self, transaction: Transaction) -> Sequence[Snapshot]:
        """All activated lists, the packaged or configured one among them even where nobody has written it down yet."""
        made, base = price_store.activations(transaction), self._base_list()
        lists = price_store.snapshots(transaction, made, {base.version: base})
        if price_store.is_wanting(made, price_store.named(base)):
            lists.append(base._replace(valid_from_ns=self._clock.now_ns() if made else None))
        return lists
