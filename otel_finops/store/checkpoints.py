"""Looking after the log of SQLite beside the commits instead of in them: syncing it, and copying it back into the file.

A commit that finds the log long copies it back itself, and everybody waits for it: some 20 ms. Here a thread does it twice a second, so
that pages written often are copied once, while others go on writing; what they wrote meanwhile, some milliseconds' worth, is copied
while they wait, so that the log can begin anew. Where the thread does not get to it, a commit does it after all. What was committed
without waiting for the disk the same thread syncs a moment later, before it becomes so much that syncing it takes long.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Final

from otel_finops.base.errors import Busy

SYNC_S: Final = 0.02
"""Within about this time every commit is on the disk. The less there is to sync the less do commits wait for it: at 500 decisions a
second, p99 fell from 19 ms without it to 8 ms at 0.1 s and 6 ms at 0.02 s."""
EVERY_S: Final = 0.5
"""From one checkpoint to the next."""
PAGES_MIN: Final = 2_048
"""In a shorter log nothing is lost by writing on."""


class Checkpoints:
    """Looks after the log of one file, by a thread that lives while something is written.

    Args:
        writer_turn: held while no other thread of this process may write.
        failed: told of errors.
    """

    def __init__(
        self,
        path: Path,
        writer_turn: Callable[[], AbstractContextManager[None]],
        failed: Callable[[sqlite3.Error | OSError], None],
    ) -> None:
        self._path = path
        self._writer_turn = writer_turn
        self._failed = failed
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_written = self._is_unsynced = False

    def written(self, *, durable: bool) -> None:
        """Something was committed; `durable`: it is on the disk."""
        self._is_unsynced = self._is_unsynced or not durable
        if self._is_written:
            return
        with self._guard:
            self._is_written = True
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Sync what is not, and end; nothing may be written any more."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        with closing(_Copier(self._path)) as copier:
            self._look_after(copier)

    def _look_after(self, copier: _Copier) -> None:
        due = time.monotonic() + EVERY_S
        while not self._stop.wait(SYNC_S):
            self._sync()
            if time.monotonic() < due:
                continue
            with self._guard:
                if not self._is_written:
                    self._thread = None
                    return
                self._is_written = False
            self._checkpoint(copier)
            due = time.monotonic() + EVERY_S
        self._sync()

    def _sync(self) -> None:
        if not self._is_unsynced:
            return
        self._is_unsynced = False
        try:
            log = os.open(f"{self._path}-wal", os.O_RDWR)
            try:
                os.fsync(log)
            finally:
                os.close(log)
        except OSError as error:
            self._failed(error)

    def _checkpoint(self, copier: _Copier) -> None:
        try:
            if copier.copied() >= PAGES_MIN:
                with self._writer_turn():
                    copier.copied()
        except Busy:
            pass  # others wait for their turn already: the next time comes soon
        except sqlite3.Error as error:
            copier.close()  # after an error no connection is used again
            self._failed(error)


class _Copier:
    """A connection of the thread's own, kept for as long as that lives: opening one reads the whole schema, some 2 ms."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def copied(self) -> int:
        """Copy back what can be without waiting for anybody; the length of the log in pages."""
        if self._connection is None:
            self._connection = sqlite3.connect(f"{self._path.as_uri()}?mode=rw", timeout=0, isolation_level=None, uri=True)
            self._connection.execute("PRAGMA synchronous = FULL")
        [(_, pages, _)] = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return int(pages)

    def close(self) -> None:
        """Open another one when it is needed again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
