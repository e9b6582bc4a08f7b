"""Group commit: one thread writes what many senders wait for, so that one fsync serves all of them.

There is no timer: what comes while a commit runs is the next group.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from copy import copy
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, Unavailable
from otel_finops.base.limits import GROUP_COMMIT_SPANS_MAX, QUEUE_BATCHES_MAX
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.ledger.faults import fault_of, forget_frames
from otel_finops.ledger.journal import JournalRow, Recorded, record_batches
from otel_finops.ledger.poison import PoisonGuard
from otel_finops.ledger.projection import PendingCalls
from otel_finops.ledger.recent import RecentTraces
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store

SETTLE_AFTER_S: Final = 5.0
FAILED_LATELY_S: Final = 5.0
"""How long a failed commit makes the service not ready."""

_log: Final = logging.getLogger(__name__)


class _Submission(NamedTuple):
    rows: Sequence[JournalRow]
    outcome: Future[Recorded]


class GroupCommitter:
    """Journals what any number of threads submit.

    Args:
        store: where the journal stands.
        clock: our time.
        settle_after_s: how long a trace without its root must be quiet before it is settled.
        subjects: the mapping of users and sessions, shared with whoever reads them.
        spans_max: most rows of one transaction.
        batches_max: most submissions that wait.
        committed: told how many seconds each commit took.
        guard: takes batches apart that fail again and again; without one they fail for ever.
        recent: keeps what was written for settling in this process.
        pending: told of what is journalled, where it is asked.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        settle_after_s: float = SETTLE_AFTER_S,
        subjects: Subjects | None = None,
        spans_max: int = GROUP_COMMIT_SPANS_MAX,
        batches_max: int = QUEUE_BATCHES_MAX,
        committed: Callable[[float], None] = lambda seconds: None,
        guard: PoisonGuard | None = None,
        recent: RecentTraces | None = None,
        pending: PendingCalls | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settle_after_ns = round(settle_after_s * NS_PER_SECOND)
        self._subjects = subjects or Subjects()
        self._spans_max = spans_max
        self._batches_max = batches_max
        self._committed = committed
        self._guard = guard
        self._recent = recent
        self._pending = pending
        self._failed_at = float("-inf")
        self._waiting: deque[_Submission] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._writer = threading.Thread(target=self._write_groups, name="group-commit", daemon=True)
        self._writer.start()

    @property
    def failed_lately(self) -> bool:
        """A commit failed on a fault of the store a moment ago; it passes by itself, since only new spans could show that all is well."""
        return self._clock.monotonic() - self._failed_at < FAILED_LATELY_S

    @property
    def waiting(self) -> int:
        """Submissions that wait for a transaction now."""
        return len(self._waiting)

    def submit(self, rows: Sequence[JournalRow]) -> Recorded:
        """Journal rows and return once they are durable.

        More rows than one transaction takes are journalled in several; if a later one fails, sending all again is harmless.

        Raises:
            Busy: too many submissions wait.
            Unavailable: the store is away, or the service stops; nothing that was confirmed is lost.
        """
        if not rows:
            return Recorded(0, 0, 0)
        pieces = [_Submission(rows[i : i + self._spans_max], Future()) for i in range(0, len(rows), self._spans_max)]
        self._enqueue(pieces)
        outcomes = deque(piece.outcome for piece in pieces)
        del pieces
        recorded = []
        while outcomes:
            # a future in this frame would be held by the traceback of its own exception, and with it the whole request
            recorded.append(outcomes.popleft().result())
        return Recorded(*(sum(counts) for counts in zip(*recorded, strict=True))) if len(recorded) > 1 else recorded[0]

    def close(self) -> None:
        """Write what waits, then stop; later submissions are refused. Safe to call twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._writer.join()

    def _enqueue(self, pieces: Sequence[_Submission]) -> None:
        with self._changed:
            if self._closed:
                raise Unavailable("the service is stopping; send it again later")
            if self._waiting and len(self._waiting) + len(pieces) > self._batches_max:
                raise Busy("too many batches wait to be stored; send it again later")
            self._waiting.extend(pieces)
            self._changed.notify()

    def _write_groups(self) -> None:
        while group := self._next_group():
            self._write_group(group)

    def _next_group(self) -> list[_Submission]:
        """All that waits, up to the rows of one transaction; blocks while nothing waits; empty once closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            group: list[_Submission] = []
            spans = 0
            while self._waiting and (not group or spans + len(self._waiting[0].rows) <= self._spans_max):
                group.append(self._waiting.popleft())
                spans += len(group[-1].rows)
            return group

    def _write_group(self, group: Sequence[_Submission]) -> None:
        """One transaction for the group; when it fails on a fault of its content, one for each, so that only the faulty fails.

        When the store itself is away, trying each alone would only make all of them wait.
        """
        try:
            recorded = self._record([submission.rows for submission in group])
        except (Busy, Unavailable) as fault:
            self._failed_at = self._clock.monotonic()
            for submission in group:
                submission.outcome.set_exception(copy(fault))
            forget_frames(fault)
        except BaseException as error:  # noqa: BLE001 - the thread must outlive any batch; the error is logged and answered
            if len(group) > 1:
                for submission in group:
                    self._write_group([submission])
            else:
                self._save(group[0], error)
            forget_frames(error)
        else:
            for submission, result in zip(group, recorded, strict=True):
                submission.outcome.set_result(result)

    def _save(self, submission: _Submission, error: BaseException) -> None:
        """Answer a batch that fails alone on a fault of its content: taken apart if it did so often enough, else to be sent again."""
        rows = submission.rows
        refusal = _refused(error, len(rows))
        try:
            saved = self._guard.save(rows, error, lambda piece: self._record([piece])[0]) if self._guard is not None else None
        except (Busy, Unavailable) as fault:
            submission.outcome.set_exception(copy(fault))
            forget_frames(fault)
        except BaseException as further:  # noqa: BLE001 - as above
            submission.outcome.set_exception(_refused(further, len(rows)))
            forget_frames(further)
        else:
            if saved is None:
                submission.outcome.set_exception(refusal)
            else:
                submission.outcome.set_result(saved)

    def _record(self, batches: Sequence[Sequence[JournalRow]]) -> list[Recorded]:
        began = self._clock.monotonic()
        with self._store.write() as transaction:
            recorded = record_batches(
                transaction,
                batches,
                now_ns=self._clock.now_ns(),
                settle_after_ns=self._settle_after_ns,
                subjects=self._subjects,
                recent=self._recent,
                pending=self._pending,
            )
        self._committed(self._clock.monotonic() - began)
        return recorded


def _refused(error: BaseException, rows: int) -> Unavailable:
    """Answer and log a batch that cannot be stored; the error's own text may hold what the spans hold, so it is left out."""
    _log.error("a batch of %d spans could not be journalled: %s", rows, fault_of(error))
    fault = Unavailable("these spans could not be stored; the service's log says why", retry_after_s=5.0)
    fault.__cause__ = error
    return fault
