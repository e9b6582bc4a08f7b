"""What the service does by itself goes on record like what people ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from otel_finops.audit.chain import append
from otel_finops.audit.trail import Change, Outcome, origin
from otel_finops.base.clock import Clock
from otel_finops.base.errors import FinopsError
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

log = logging.getLogger(__name__)

SCHEDULER: Final = "scheduler"
"""Who does what is done by the clock."""


def on_record(store: Store, clock: Clock, what: str, body: Callable[[], str], *, who: str = SCHEDULER) -> str:
    """Do a piece of the service's own work; returns what it says of itself.

    Its intent goes on record in the transaction of the first thing that it writes, so that nothing is changed without it, and its
    outcome afterwards. Work that finds nothing to do leaves nothing.

    Args:
        what: the operation that a person would ask for the same, e.g. `periods.close`.
        body: the work, on this thread alone; it returns one line for a person to read.
    """
    work = _Work(store, clock, what, who)
    try:
        with store.beside_first_write(work.begin):
            said = body()
    except BaseException as fault:
        work.end("failed", {"fault": str(fault) if isinstance(fault, FinopsError) else type(fault).__name__})
        raise
    work.end("done", {"said": said})
    return said


def note(store: Store, clock: Clock, what: str, before: Any, after: Any, *, who: str) -> None:
    """Put on record what was done outside of the database's transactions, such as an upgrade of its tables."""
    with store.write() as transaction:
        append(transaction, Change(who, what, before, after, clock.now_ns(), origin(who)))


class _Work:
    """A piece of work; `began` is the number of its intent once that is durable."""

    def __init__(self, store: Store, clock: Clock, what: str, who: str) -> None:
        self._store = store
        self._clock = clock
        self._what = what
        self._who = who
        self._began: int | None = None

    def begin(self, transaction: Transaction) -> None:
        """Record the intent in the transaction of the first write."""
        seq = append(transaction, self._change("begun", None, None))
        transaction.after_commit(lambda: self._has_begun(seq))

    def end(self, outcome: Outcome, after: Any) -> None:
        """Record the outcome, if there was an intent. What was done stands: where it cannot be recorded the log tells of it."""
        if self._began is None:
            return
        try:
            with self._store.write() as transaction:
                append(transaction, self._change(outcome, after, self._began))
        except FinopsError as fault:
            log.error("the outcome of %s, begun as %d, is not on record: %s", self._what, self._began, fault)

    def _has_begun(self, seq: int) -> None:
        self._began = seq

    def _change(self, outcome: Outcome, after: Any, began: int | None) -> Change:
        return Change(self._who, self._what, None, after, self._clock.now_ns(), origin(self._who), ANY_TENANT, outcome, began)
