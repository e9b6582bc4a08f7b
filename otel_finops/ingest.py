"""Taking in files: the same pipeline as the receivers', then settling at once, so that the result can be read when it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from otel_finops.base.errors import BadInput, Busy, Unavailable
from otel_finops.base.progress import tell
from otel_finops.base.protocols import Credential, ExportRequest, TraceIntake
from otel_finops.ledger.settle import Settler
from otel_finops.metrics.self_metrics import SpanCounts
from otel_finops.otlp.files import read_requests

_log: Final = logging.getLogger(__name__)

LEASE_WAIT_S: Final = 30.0
"""How long `ingest` waits for a ledger that another process settles."""


AGAIN: Final = "Run the command again later: nothing is counted twice"


class Ingested(NamedTuple):
    """What became of the spans, or log records, of some files."""

    files: int
    requests: int
    received: int
    journalled: int
    duplicate: int
    rejected: int
    settled_traces: int
    ignored: int = 0


def ingest_files(
    paths: Sequence[Path],
    intake: TraceIntake,
    counted: Callable[[], SpanCounts],
    settler: Settler,
) -> Ingested:
    """Take in files and settle everything that is journalled; doing it again changes nothing.

    Args:
        paths: read one after the other; what was taken in before a fault stays.
        intake: the pipeline of what the files hold.
        counted: what it has taken in so far, by what became of it.

    Raises:
        BadInput: a file cannot be read or decoded; the message names it and what in it is wrong.
        Busy, Unavailable: the database is in use or away, or another process settled it for longer than `LEASE_WAIT_S`; the message says
            what is stored.
    """
    requests, before = 0, counted()
    taken, all_ = 0, sum(path.stat().st_size for path in paths if path.exists())
    for path in paths:
        for number, request in enumerate(read_requests(path, Credential()), 1):
            requests += 1
            _take(path, number, request, intake)
            taken += len(request.body)
            tell("KiB taken in", taken // 1024, max(taken, all_) // 1024)
    tell("KiB taken in, settling", taken // 1024, None)
    settled = _settle(settler)
    received, journalled, duplicate, rejected, ignored = (now - then for now, then in zip(counted(), before, strict=True))
    return Ingested(len(paths), requests, received, journalled, duplicate, rejected, settled, ignored)


def _settle(settler: Settler) -> int:
    try:
        return settler.settle_all(LEASE_WAIT_S)
    except (Busy, Unavailable) as fault:
        said = f"all is stored, but not all of it is settled: {fault}. A service on this database settles the rest. {AGAIN}"
        raise _told(fault, said) from fault


def _told(fault: Busy | Unavailable, message: str) -> Busy | Unavailable:
    """The same fault in words for whoever takes in files."""
    if isinstance(fault, Unavailable):
        return Unavailable(message, retry_after_s=fault.retry_after_s)
    return Busy(message, retry_after_s=fault.retry_after_s)


def _take(path: Path, number: int, request: ExportRequest, intake: TraceIntake) -> None:
    try:
        outcome = intake(request)
    except (Busy, Unavailable) as fault:
        raise _told(fault, f"{path}: request {number}: {fault}; what came before it is stored. {AGAIN}") from fault
    except BadInput as fault:
        raise type(fault)(f"{path}: request {number}: {fault}") from fault
    for rejection in outcome.rejections:
        _log.warning("%s: request %d: %d refused (%s): %s", path, number, rejection.spans, rejection.reason, rejection.message)
