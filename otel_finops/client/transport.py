"""Questions to the service over HTTP with the standard library: connections are kept, every question has one deadline, an outage one pause.

The deadline covers all of a question, name look-up and a server that drips its answer byte by byte included. A connection is opened on a
thread of its own, since nothing else bounds a name look-up; one that comes too late for its question serves the next one.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import queue
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from otel_finops.client.faults import ServiceAway
from otel_finops.client.settings import ClientSettings

_log: Final = logging.getLogger(__name__)

ANSWER_BYTES_MAX: Final = 1024 * 1024
"""Most that is read of an answer: a decision has some kilobytes, the tree of a long trace some hundred."""
IDLE_MAX: Final = 16
"""Connections kept open: as many as threads of one process usually ask at the same time; more are opened and closed again."""
IDLE_S_MAX: Final = 60.0
"""Older ones are not used again: what is between drops them after minutes, some without a word, which would cost a whole time-out each."""
OPENING_MAX: Final = 32
"""Connections being opened at the same time: a name look-up that hangs holds its thread, and threads must not pile up."""
PAUSE_MAX_S: Final = 30.0
"""Longest pause that a server may ask for by `Retry-After`: a decision is needed sooner than an export."""


_EVERYTHING: Final = ""
"""Stands for every part of the service: it cannot be reached at all."""


class _Unreachable(Exception):
    """There is no connection."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


class Answer(NamedTuple):
    """What the service said.

    Attributes:
        status: below 500; 2xx for what was asked, else the body is a problem (RFC 9457).
        body: the JSON object; empty for an answer that is none.
    """

    status: int
    body: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the service did as it was asked."""
        return 200 <= self.status < 300

    @property
    def detail(self) -> str:
        """What the service says is wrong, for people."""
        return str(self.body.get("detail") or self.body.get("title") or f"HTTP status {self.status}")[:500]


class Transport:
    """Talks to one service; made for many threads.

    Args:
        settings: where the service is, how long to wait, how long to leave it alone after a failure.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        parts = urlsplit(settings.url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname or "", parts.port
        self._base = parts.path.rstrip("/") + "/api/v1"
        self._headers = {"Accept": "application/json", "User-Agent": "otel-finops-client"}
        if settings.token:
            self._headers["Authorization"] = f"Bearer {settings.token}"
        self._forget()

    def _forget(self) -> None:
        """Begin anew: after a fork the parent's connections and locks are not ours. To close our ends of them ends nothing there."""
        inherited: Iterable[tuple[HTTPConnection, float]] = tuple(self._idle.queue) if hasattr(self, "_idle") else ()
        for connection, _ in inherited:
            connection.close()
        self._process = os.getpid()
        self._idle: queue.LifoQueue[tuple[HTTPConnection, float]] = queue.LifoQueue(IDLE_MAX)
        self._opening = threading.BoundedSemaphore(OPENING_MAX)
        self._away_until: dict[str, float] = {}

    def post(self, path: str, body: Mapping[str, Any], *, timeout_s: float | None = None) -> Answer:
        """Send a JSON object to `/api/v1` + path.

        Args:
            timeout_s: instead of the settings' time-out, seconds.

        Raises:
            ServiceAway: no answer in time, a 5xx or a 429, or a pause after such a failure.
        """
        return self._ask("POST", path, json.dumps(body, separators=(",", ":"), default=str).encode(), timeout_s)

    def get(self, path: str, *, timeout_s: float | None = None) -> Answer:
        """Read `/api/v1` + path (query included); as `post`."""
        return self._ask("GET", path, None, timeout_s)

    def close(self) -> None:
        """Close the connections that wait for the next question; a forked process leaves its parent's, whose lock may be taken for ever."""
        if os.getpid() != self._process:
            return
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait()[0].close()

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if hasattr(self, "_idle") and not ends():  # an ending interpreter has lost what closing needs
            self.close()

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float | None) -> Answer:
        if os.getpid() != self._process:
            self._forget()
        if not self._settings.on:
            raise ServiceAway("There is no service to ask: OTEL_FINOPS_URL is not set.")
        part, now = path.split("/", 2)[1].partition("?")[0], time.monotonic()
        until = max(self._away_until.get(part, 0.0), self._away_until.get(_EVERYTHING, 0.0))
        if now < until:
            raise ServiceAway("The service was away a moment ago and is not asked again yet.", retry_after_s=until - now)
        deadline = now + (self._settings.timeout_s if timeout_s is None else timeout_s)
        for away in (part, _EVERYTHING):
            if away in self._away_until:  # one finds out whether it is back, and nobody else waits for that
                self._away_until[away] = deadline
        try:
            answer, retry_after_s = self._exchange(method, self._base + path, body, deadline)
        except _Unreachable as fault:
            raise self._gone(_EVERYTHING, f"The service cannot be reached: {_told(fault.why)}.", None) from fault.why
        except (OSError, HTTPException, ValueError) as fault:
            raise self._gone(part, f"The service gave no answer: {_told(fault)}.", None) from fault
        if answer.status >= 500 or answer.status == 429:
            raise self._gone(part, f"The service answered with status {answer.status}: {answer.detail}", retry_after_s)
        self._back(part)
        return answer

    def _gone(self, part: str, message: str, retry_after_s: float | None) -> ServiceAway:
        """Leave a part of the service alone for a while; that it cannot sum up a long trace just now is no reason to stop a call."""
        pause_s = max(self._settings.pause_s, min(retry_after_s or 0.0, PAUSE_MAX_S))
        told = part in self._away_until
        self._away_until[part] = time.monotonic() + pause_s
        if not told:
            _log.warning("%s The client fails %s until it is back; asked again every %g s.", message, self._settings.fail, pause_s)
        return ServiceAway(message, retry_after_s=pause_s)

    def _back(self, part: str) -> None:
        gone = [one for one in (part, _EVERYTHING) if self._away_until.pop(one, None) is not None]
        if gone:
            _log.info("The service is back.")

    def _exchange(self, method: str, path: str, body: bytes | None, deadline: float) -> tuple[Answer, float | None]:
        """One question. The server may have closed a kept connection meanwhile: then once more on the next, at last on a new one."""
        while True:
            connection, kept = self._connection(deadline)
            try:
                return self._over(connection, method, path, body, deadline)
            except (ConnectionError, HTTPException):
                connection.close()
                if not kept:
                    raise
            except BaseException:
                connection.close()
                raise

    def _over(self, connection: HTTPConnection, method: str, path: str, body: bytes | None, deadline: float) -> tuple[Answer, float | None]:
        assert isinstance(connection.sock, _DeadlineSocket)
        connection.sock.deadline = deadline
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read(ANSWER_BYTES_MAX + 1)
        retry_after_s = _retry_after(response.headers.get("Retry-After"))
        if len(text) > ANSWER_BYTES_MAX or response.will_close:
            connection.close()
        else:
            self._keep(connection)
        return Answer(response.status, _object(text)), retry_after_s

    # --- connections ---------------------------------------------------------------------------------------------

    def _connection(self, deadline: float) -> tuple[HTTPConnection, bool]:
        """A connection, and whether it was used before."""
        with contextlib.suppress(queue.Empty):
            while True:
                connection, since = self._idle.get_nowait()
                if time.monotonic() - since < IDLE_S_MAX:
                    return connection, True
                connection.close()
        return self._open(deadline), False

    def _keep(self, connection: HTTPConnection) -> None:
        try:
            self._idle.put_nowait((connection, time.monotonic()))
        except queue.Full:
            connection.close()

    def _open(self, deadline: float) -> HTTPConnection:
        """A new connection, opened on a thread of its own; when it comes too late it is kept for the next question."""
        if not self._opening.acquire(blocking=False):
            raise _Unreachable(TimeoutError("too many connections are being opened"))
        opening = _Opening(self._new_connection(deadline), deadline, self._keep, self._opening.release)
        try:
            threading.Thread(target=opening.run, name="otel-finops-client-connect", daemon=True).start()
        except RuntimeError as fault:  # no new thread at the interpreter's end
            self._opening.release()
            raise _Unreachable(fault) from fault
        try:
            return opening.result()
        except OSError as fault:
            raise _Unreachable(fault) from fault

    def _new_connection(self, deadline: float) -> HTTPConnection:
        timeout_s = max(deadline - time.monotonic(), 0.001)
        if self._tls is not None:
            return HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls)
        return HTTPConnection(self._host, self._port, timeout=timeout_s)


class _Opening:
    """A connection that is being opened, between the thread that opens it and the one that waits for it."""

    def __init__(
        self, connection: HTTPConnection, deadline: float, late: Callable[[HTTPConnection], None], done: Callable[[], None]
    ) -> None:
        self._connection, self._deadline, self._late, self._done = connection, deadline, late, done
        self._lock, self._ready = threading.Lock(), threading.Event()
        self._given_up = False
        self._fault: OSError | None = None

    def run(self) -> None:
        """Open it: the thread's work."""
        try:
            self._connection.connect()
            self._connection.sock = _DeadlineSocket(self._connection.sock)
        except (OSError, ValueError) as fault:
            self._fault = fault if isinstance(fault, OSError) else OSError(str(fault))
        finally:
            self._done()
        with self._lock:
            self._ready.set()
            late = self._given_up and self._fault is None
        if late:
            self._late(self._connection)

    def result(self) -> HTTPConnection:
        """Wait until the deadline."""
        self._ready.wait(max(self._deadline - time.monotonic(), 0.0))
        with self._lock:
            if not self._ready.is_set():
                self._given_up = True
                raise TimeoutError("no connection in time")
        if self._fault is not None:
            raise self._fault
        return self._connection


class _DeadlineSocket:
    """A socket whose every operation ends at one deadline (monotonic seconds); what `http.client` uses of one, and no more."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._readers = 0
        self._closed = False
        self.deadline = 0.0

    def _wait_no_longer(self) -> None:
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no answer in time")
        self._sock.settimeout(left_s)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._wait_no_longer()
        self._sock.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        """Receive some of it."""
        self._wait_no_longer()
        return self._sock.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What an answer is read from; only `rb` is asked for."""
        assert mode == "rb"
        self._readers += 1
        return io.BufferedReader(_Reading(self))

    def close(self) -> None:
        """Close it as soon as nobody reads of it any more: of a last answer `http.client` reads the body after closing."""
        self._closed = True
        self._close_unread()

    def reader_closed(self) -> None:
        """One reader less."""
        self._readers -= 1
        self._close_unread()

    def _close_unread(self) -> None:
        if self._closed and self._readers <= 0:
            self._sock.close()


class _Reading(io.RawIOBase):
    """The readable side of a socket with a deadline; closing it leaves the socket open for the next answer."""

    def __init__(self, sock: _DeadlineSocket) -> None:
        self._socket = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._socket.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._socket.reader_closed()


def _object(text: bytes) -> Mapping[str, Any]:
    """The JSON object of an answer; empty when it is none, as a proxy's page of text."""
    try:
        value = json.loads(text[:ANSWER_BYTES_MAX]) if text else None
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _retry_after(text: str | None) -> float | None:
    """Seconds of a `Retry-After`; None for a date or nonsense."""
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else None


def _told(fault: BaseException) -> str:
    """What happened, without addresses of ours or what was sent."""
    if isinstance(fault, TimeoutError):
        return "time-out"
    return (getattr(fault, "strerror", None) or type(fault).__name__).lower()
