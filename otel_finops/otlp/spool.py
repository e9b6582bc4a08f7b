"""A bounded queue on disk in front of the next hop: what is in it survives a crash and leaves in the order in which it came.

It holds whole requests, message content included, so the file is its owner's alone. It is SQLite like the ledger, but a file of its own: a
damaged queue is put aside and costs what was in it, never the ledger.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from otel_finops.base.clock import Clock
from otel_finops.base.errors import StartRefused
from otel_finops.base.span import Rejection
from otel_finops.base.times import format_ns
from otel_finops.otlp.forward import ForwardCounters
from otel_finops.otlp.next_hop import NextHop

_log: Final = logging.getLogger(__name__)

Result = TypeVar("Result")

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""Pauses between two tries double up to this, so that a hop that comes back is not run over and not kept waiting."""
CLOSE_S: Final = 3.0
"""How long the end of the service waits for a hop to answer; it gets that request again after the next start."""
_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS requests (seq INTEGER PRIMARY KEY AUTOINCREMENT, spans INTEGER NOT NULL, body BLOB NOT NULL)"
_PRAGMAS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
)
"""Exclusive: two senders of one queue would send everything twice. Secure deletion: what has left leaves no content behind."""


class Waiting(NamedTuple):
    """A request in the queue."""

    seq: int
    spans: int
    body: bytes


class Spool:
    """The queue's file. Safe to use from many threads, by one process.

    Args:
        path: the file; made if it is not there, with mode 0600.
        bytes_max: most bytes of bodies that wait; beyond it `put` refuses.
        clock: names the file of a damaged queue.

    Attributes:
        requests, size: how many requests wait, and the bytes of their bodies.
        lost: told of the spans that waited in a queue which turned out to be damaged while it was in use.

    Raises:
        StartRefused: another process has the queue, or the file cannot be made.
    """

    def __init__(self, path: Path, bytes_max: int, clock: Clock) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0
        self.lost: Callable[[int], None] = lambda spans: None
        try:
            self._begin()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise StartRefused(
                    f"forward.spool_path: {path} cannot be used ({error}); another process may have it: give each its own"
                ) from error
            self._put_aside()
            self._begin()
        except OSError as error:
            raise StartRefused(f"forward.spool_path: {path} cannot be made: {error.strerror}") from error

    def put(self, body: bytes, spans: int) -> bool:
        """Keep a request durably; False when there is no room, in the queue or on the disk."""
        with self._lock:
            if self.size + len(body) > self._bytes_max:
                return False
            try:
                self._last = self._done(lambda: self._insert(body, spans))
            except (sqlite3.Error, OSError) as error:
                _log.warning("the queue of the next hop cannot be written: %s", error)
                return False
            self.requests += 1
            self.size += len(body)
            self._spans += spans
            return True

    def first(self) -> Waiting | None:
        """The request that has waited longest; None when none waits."""
        with self._lock:
            row = self._done(lambda: self._connection.execute("SELECT seq, spans, body FROM requests ORDER BY seq LIMIT 1").fetchone())
        return None if row is None else Waiting(*row)

    def remove(self, waiting: Waiting) -> None:
        """Forget a request that was dealt with."""
        with self._lock:
            if self._done(lambda: self._delete(waiting.seq)):
                self.requests -= 1
                self.size -= len(waiting.body)
                self._spans -= waiting.spans

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        with self._lock:
            self._connection.close()

    def _insert(self, body: bytes, spans: int) -> int:
        with self._transaction():
            return self._connection.execute("INSERT INTO requests (spans, body) VALUES (?, ?)", (spans, body)).lastrowid or 0

    def _delete(self, seq: int) -> int:
        with self._transaction():
            return self._connection.execute("DELETE FROM requests WHERE seq = ?", (seq,)).rowcount

    def _done(self, act: Callable[[], Result]) -> Result:
        """Do something with the file; when it turns out to be damaged it is put aside, and the same is done with a new one."""
        try:
            return act()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            with suppress(sqlite3.Error):
                self._connection.close()
            lost = self._spans
            self._put_aside()
            self._begin()
            self.lost(lost)
            return act()

    def _begin(self) -> None:
        """Open and read through the whole queue, so that damage shows now and not when its turn comes."""
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))  # a link could lead into anybody's file
        connection = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            connection.execute(_SCHEMA)
            [(verdict,)] = connection.execute("PRAGMA quick_check(1)")
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            [(requests, size, spans)] = connection.execute(
                "SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0), COALESCE(SUM(spans), 0) FROM requests"
            )
            if self._last:  # numbers go on, so that nobody takes a new request for one of the queue before
                connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('requests', ?)", (self._last,))
        except BaseException:
            connection.close()
            raise
        self._connection, self.requests, self.size, self._spans = connection, requests, size, spans

    def _put_aside(self) -> None:
        stamp = format_ns(self._clock.now_ns())[:19].replace("-", "").replace(":", "")
        aside = self._path.with_name(f"{self._path.name}.damaged.{stamp}Z")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            left_over = self._path.with_name(self._path.name + suffix)
            if left_over.exists():
                left_over.replace(aside.with_name(aside.name + suffix))
        _log.error("the queue of the next hop is damaged and was put aside as %s; a new one begins", aside)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is no sound database: its own kinds of error are of the disk, of locks and room, or of a queue closed meanwhile."""
    return type(error) is sqlite3.DatabaseError


class SpoolForwarder:
    """Takes requests into the spool and hands them to the next hop one after another, in a thread of its own.

    It is the only retry layer: what the hop cannot take now is tried again until it can, what it refuses for good is counted and let go.
    """

    def __init__(self, spool: Spool, hop: NextHop, clock: Clock, *, timeout_s: float) -> None:
        self.counters = ForwardCounters()
        self.spool = spool
        spool.lost = lambda spans: self.counters.add("skipped", spans)
        self._hop = hop
        self._clock = clock
        self._timeout_s = timeout_s
        self._wake = threading.Event()
        self._stopping = False
        self._failing_since: float | None = None
        self._dealt_with = 0
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)

    @property
    def fault(self) -> str | None:
        """Since when the hop is away and how much waits; None while all is well. For health."""
        since = self._failing_since
        if since is None:
            return None
        return f"the next hop has been away for {self._clock.monotonic() - since:.0f} s; {self.spool.requests} requests wait on disk"

    def start(self) -> None:
        """Begin to send, with what an earlier run left."""
        self._thread.start()

    def pass_on(self, body: bytes, spans: int) -> tuple[Rejection, ...]:
        """Keep one enriched protobuf request until the hop takes it; when there is no room it is counted and let go."""
        if self.spool.put(body, spans):
            self._wake.set()
        else:
            self.counters.add("skipped", spans)
        return ()

    def close(self) -> None:
        """Finish the request that is on its way, if it does not take long, and stop; what waits is sent after the next start."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        self._hop.close()
        self.spool.close()

    def send_first(self, patience_s: float = 0.0) -> bool | None:
        """Deal with the request that has waited longest: True when it has left, False when it must wait, None when none waits.

        It may take `patience_s` where that is longer than the time-out: one that is too large for the way to the hop in that time would
        keep all others waiting for ever, and nobody waits for an answer here.
        """
        waiting = self.spool.first()
        if waiting is None:
            return None
        if waiting.seq == self._dealt_with:  # its removal failed, of a full disk say: the hop has it
            self.spool.remove(waiting)
            return True
        reply = self._hop.send(waiting.body, max(self._timeout_s, patience_s))
        if reply.fate == "away":
            if self._failing_since is None:
                self._failing_since = self._clock.monotonic()
                _log.warning("the next hop is away: %s; requests wait on disk", reply.detail)
            return False
        self._failing_since = None
        refused = waiting.spans if reply.fate == "refused" else min(reply.rejected, waiting.spans)
        if refused:
            _log.warning("the next hop refused %d spans: %s; they are in the ledger", refused, reply.detail)
            self.counters.add("refused", refused)
        self.counters.add("passed", waiting.spans - refused)
        self._dealt_with = waiting.seq
        self.spool.remove(waiting)
        return True

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping:
            self._wake.clear()
            try:
                left = self.send_first(pause_s)
            except sqlite3.Error as error:
                if not self._stopping:
                    _log.warning("the queue of the next hop cannot be read or cleared: %s", error)
                left = False
            except Exception as error:  # noqa: BLE001 - the thread must outlive any request; the text of the error may hold what it holds
                _log.error("a request in the queue of the next hop could not be sent: %s", type(error).__name__)
                left = False
            if left:
                pause_s = FIRST_PAUSE_S
            elif left is None:
                self._wake.wait()
            else:
                self._pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _pause(self, seconds: float) -> None:
        """Wait, but not after `close` was called; new requests do not shorten it."""
        until = self._clock.monotonic() + seconds
        while not self._stopping and (left := until - self._clock.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()
