"""Telling errors in writing apart without repeating what they say: an error's text may hold what the spans hold."""

from __future__ import annotations

from hashlib import sha256
from traceback import clear_frames, walk_tb
from typing import TYPE_CHECKING, Final

from otel_finops.base.errors import Busy, Unavailable
from otel_finops.ledger.codec import HASH_BYTES, content_hash

if TYPE_CHECKING:
    from otel_finops.ledger.journal import JournalRow

_PLACES: Final = 5
_OURS: Final = "otel_finops."
_TRYING: Final = frozenset(f"{_OURS}ledger.{module}" for module in ("group_commit", "poison", "quarantine"))
"""Modules that stand between whoever tries and what fails: the same error must read the same, however it was tried."""


def fault_of(error: BaseException) -> str:
    """Type and place of an error, equal for equal errors and free of content: where it was raised, and how we came there."""
    frames = [(frame.f_globals.get("__name__", ""), frame.f_code.co_name, line) for frame, line in walk_tb(error.__traceback__)][::-1]
    told = [frame for i, frame in enumerate(frames) if frame[0] not in _TRYING and (i == 0 or frame[0].startswith(_OURS))]
    places = [f"{module.removeprefix(_OURS)}.{name}:{line}" for module, name, line in told[:_PLACES]]
    return f"{type(error).__name__} at {' < '.join(places) or 'an unknown place'}"


def forget_frames(error: BaseException | None) -> None:
    """Let go of what the frames of an answered error hold.

    Frames and errors of a failed write refer to each other, and their frames to the committer's: batches, futures and so the senders'
    requests, up to 64 MiB each, would stay until the cycle collector comes, which counts objects and not bytes.
    """
    while error is not None:
        clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def is_of_surroundings(error: BaseException) -> bool:
    """The store, the machine or the process is at fault, not what was to be written: the same may succeed later as it is."""
    return isinstance(error, (Busy, Unavailable, OSError, MemoryError)) or not isinstance(error, Exception)


def row_digest(row: JournalRow) -> bytes:
    """16 bytes that stand for a row's content, its hash if that can be made at all."""
    try:
        return content_hash(row.sighting)
    except Exception:  # noqa: BLE001 - whatever is wrong with the row, it must be told apart from others
        return sha256(repr(row.sighting).encode("utf-8", "backslashreplace")).digest()[:HASH_BYTES]
