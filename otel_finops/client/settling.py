"""Telling the service that calls have ended, behind the application's back: nothing waits for it, and nothing piles up."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from otel_finops.client.decisions import DecisionDesk

_log: Final = logging.getLogger(__name__)

WAITING_MAX: Final = 1_000
"""Reservations that wait to be settled: a second of a busy application; what is dropped ends by itself at its expiry."""
_STEP_S: Final = 0.005


class Came(NamedTuple):
    """What a call came to.

    Attributes:
        usd: a decimal string; None where nobody knows; or what finds it out, which must not raise.
        tokens: prompt and output; None where nobody knows.
        made: False: it was not made after all, so that what is held for it is given back.
    """

    usd: str | Callable[[], str | None] | None = None
    tokens: int | None = None
    made: bool = True


class _Ended(NamedTuple):
    reservation_id: str
    came: Came


class Settlements:
    """Settles reservations one after the other on a thread that starts with the first of them."""

    def __init__(self, desk: DecisionDesk) -> None:
        self._desk = desk
        self._begin()

    def _begin(self) -> None:
        """Begin anew: after a fork the thread is the parent's, and so is what waits.

        A stream that is dropped settles while the garbage collector runs, which may be within any step here, on any thread: so all steps
        are such as may be entered again, and nobody waits for the lock.
        """
        self._process = os.getpid()
        self._waiting: deque[_Ended] = deque()
        self._added: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, reservation_id: str, came: Came) -> None:
        """A call has ended, and what it came to."""
        if os.getpid() != self._process:
            self._begin()
        if len(self._waiting) >= WAITING_MAX:
            _log.debug("Too many reservations wait to be settled; one was left to expire.")
            return
        self._waiting.append(_Ended(reservation_id, came))
        self._added.put(None)
        self._see_to_it()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was added is told, or for so long; whether it is."""
        deadline = time.monotonic() + timeout_s
        while self._waiting and self._process == os.getpid():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_STEP_S)
        return True

    def _see_to_it(self) -> None:
        if self._thread is not None or not self._lock.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._settle, args=(self._waiting, self._added), name="otel-finops-client-settle", daemon=True
                )
                thread.start()
                self._thread = thread
        except RuntimeError:  # the interpreter ends
            _log.debug("What reservations came to cannot be told any more.")
        finally:
            self._lock.release()

    def _settle(self, waiting: deque[_Ended], added: queue.SimpleQueue[None]) -> None:
        while True:
            added.get()
            try:
                self._tell(*waiting[0])
            except Exception:  # noqa: BLE001 - the thread has to live on for the others
                _log.warning("A reservation was left to expire.", exc_info=True)
            finally:
                waiting.popleft()

    def _tell(self, reservation_id: str, came: Came) -> None:
        if came.made:
            self._desk.settle(reservation_id, came.usd() if callable(came.usd) else came.usd, came.tokens)
        else:
            self._desk.release(reservation_id)
