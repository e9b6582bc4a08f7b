"""The poison guard: a batch that fails again and again is taken apart, so that what can be recorded is, and its sender comes free.

Nothing is given up in masses: when more spans fail than bounds allow, the program is at fault and not the spans, and senders
are told to keep them.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from otel_finops.base.errors import FinopsError, Unavailable
from otel_finops.base.limits import POISON_BATCHES_REMEMBERED_MAX, POISON_FAILURES, POISON_SPANS_PER_BATCH_MAX
from otel_finops.ledger.faults import fault_of, forget_frames, is_of_surroundings, row_digest
from otel_finops.ledger.journal import JournalRow, Recorded
from otel_finops.ledger.quarantine import Failed, Quarantine

_log: Final = logging.getLogger(__name__)


class _Failures(NamedTuple):
    """How often in a row a batch failed with the same error."""

    fault: str
    times: int


class PoisonGuard:
    """Recognises batches that fail again and again, and takes them apart. Used by one thread.

    Args:
        quarantine: where spans go that cannot be recorded alone.
        spans_max: most spans of one batch that go there.
        remembered_max: most failed batches that are remembered, those that failed last.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        *,
        spans_max: int = POISON_SPANS_PER_BATCH_MAX,
        remembered_max: int = POISON_BATCHES_REMEMBERED_MAX,
    ) -> None:
        self._quarantine = quarantine
        self._spans_max = spans_max
        self._remembered_max = remembered_max
        self._failures: OrderedDict[bytes, _Failures] = OrderedDict()

    def save(self, rows: Sequence[JournalRow], error: BaseException, record: Callable[[Sequence[JournalRow]], Recorded]) -> Recorded | None:
        """Note that a batch failed; from the third equal failure on record what of it can be, and hold the rest in quarantine.

        Args:
            rows: the batch, of which nothing was stored.
            error: with what it failed; no fault of the store.
            record: journals rows in a transaction of their own.

        Returns:
            What became of the rows; None when it did not fail often enough yet.

        Raises:
            Unavailable: too many of them cannot be recorded, or the quarantine is full; what was recorded of the batch stays.
            Busy: the store's.
        """
        if is_of_surroundings(error):
            return None
        batch = _digest(rows)
        if self._count(batch, fault_of(error)) < POISON_FAILURES:
            return None
        try:
            recorded, failed = self._take_apart(rows, record)
            if failed:
                self._quarantine.keep(failed)
        except FinopsError:
            del self._failures[batch]  # taking it apart is work for all to wait for: it is done again after as many failures
            raise
        for one in failed:
            _log.error("span %s of trace %s is in quarantine: %s", one.row.sighting.span_id, one.row.sighting.trace_id, one.reason)
        return recorded._replace(quarantined=len(failed))

    def _count(self, batch: bytes, fault: str) -> int:
        before = self._failures.pop(batch, None)
        times = before.times + 1 if before is not None and before.fault == fault else 1
        self._failures[batch] = _Failures(fault, times)
        if len(self._failures) > self._remembered_max:
            self._failures.popitem(last=False)
        return times

    def _take_apart(self, rows: Sequence[JournalRow], record: Callable[[Sequence[JournalRow]], Recorded]) -> tuple[Recorded, list[Failed]]:
        """Record the rows in ever smaller pieces; returns what was recorded, and the rows that fail alone."""
        recorded, failed = Recorded(0, 0, 0), list[Failed]()
        pieces = [rows]
        while pieces:
            piece = pieces.pop()
            try:
                recorded = Recorded(*map(sum, zip(recorded, record(piece), strict=True)))
            except Exception as error:
                if is_of_surroundings(error):
                    raise
                if len(piece) > 1:
                    middle = len(piece) // 2
                    pieces += [piece[middle:], piece[:middle]]
                else:
                    failed.append(Failed(piece[0], fault_of(error)))
                forget_frames(error)
            if len(failed) > self._spans_max:
                raise Unavailable("too many of these spans could not be stored; the service's log says why", retry_after_s=5.0)
        return recorded, failed


def _digest(rows: Sequence[JournalRow]) -> bytes:
    """What a batch is recognised by when it comes again: its spans and their content, in any order."""
    spans = sorted((s.realm, s.trace_id, s.span_id, row_digest(row)) for row in rows for s in [row.sighting])
    whole = sha256()
    for realm, trace_id, span_id, digest in spans:
        whole.update(f"{realm}\0{trace_id}\0{span_id}\0".encode("utf-8", "backslashreplace") + digest)
    return whole.digest()
