"""The emergency reserve: room on the database's disk that is kept for the day on which there is none.

SQLite needs room for everything but reading: on a full disk deletes and checkpoints fail as well as inserts, so that nobody
could make room from within. The reserve is a file of that room beside the database. When the disk is full it is given up, once,
for the checkpoint, for readers' shared memory and for whoever deletes rows; the service writes nothing until there is room for
the reserve and as much again, makes it anew, and goes on.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from otel_finops.base.limits import MIB, RESERVE_BYTES

LOOK_EVERY_S: Final = 1.0
"""How often it is looked whether there is room again."""

_log: Final = logging.getLogger(__name__)


class Reserve:
    """One reserve file. Safe to use from many threads, and by several processes of one database.

    Args:
        path: where it is.
        size: its bytes.
        monotonic: time that never goes back, seconds.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.size = size
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._held = False
        self._given_up = False
        self._look_at = float("inf")

    @property
    def held_bytes(self) -> int:
        """What is kept now: `size`, or 0."""
        return self.size if self._held else 0

    def prepare(self) -> None:
        """Make the reserve at the start; a disk without room for it is told of in the log, and works as one without a reserve."""
        with self._lock:
            self._look_at = self._monotonic() + LOOK_EVERY_S
            self._held = self._make()
        if not self._held:
            _log.warning("there is no room for an emergency reserve of %d MiB beside the database", self.size // MIB)

    def give_up(self) -> bool:
        """Free the room; False when it had been given up before, or was never there."""
        with self._lock:
            if not self._held:
                return False
            self.path.unlink(missing_ok=True)
            self._held, self._given_up = False, True
            self._look_at = float("-inf")
        _log.error(
            "the database's disk is full: the emergency reserve of %d MiB was given up; nothing is written until %d MiB are free",
            self.size // MIB,
            self._needed() // MIB,
        )
        return True

    def refuses(self) -> bool:
        """Whether writes must wait because the reserve is given up; looks for room now and then, and makes the reserve again."""
        with self._lock:
            if self._held or self._monotonic() < self._look_at:
                return self._given_up
            self._look_at = self._monotonic() + LOOK_EVERY_S
            if self.free_bytes() < self._needed() or not self._make():
                return self._given_up
            self._held, self._given_up = True, False
        _log.warning("there is room on the database's disk: the emergency reserve was made, and writing goes on")
        return False

    def free_bytes(self) -> int:
        """Room on the disk that this user may use."""
        try:
            found = os.statvfs(self.path.parent)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def _needed(self) -> int:
        """The reserve and as much again, so that what comes next does not fill the disk at once."""
        return 2 * self.size

    def _make(self) -> bool:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(descriptor, 0, self.size)
        except OSError:
            self.path.unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)
        return True
