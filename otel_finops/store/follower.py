"""Following what other processes store: a thread that looks every now and then, so that nobody has to be restarted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from otel_finops.base.errors import Busy, Unavailable

_log: Final = logging.getLogger(__name__)


class Follower:
    """Looks at something stored, on a thread of its own, and goes on whatever comes of it; each trouble is told once.

    Args:
        what: for the log, e.g. `the price book`.
        look: takes up what is new; should cost little where nothing is.
        every_s: seconds between two looks.
    """

    def __init__(self, what: str, look: Callable[[], object], every_s: float) -> None:
        self._what = what
        self._look = look
        self._every_s = every_s
        self._stop = Event()
        self._thread: Thread | None = None
        self._trouble: str | None = None

    def start(self) -> None:
        """Follow from now on."""
        self._thread = Thread(target=self._loop, name=f"follow {self._what}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Follow no longer."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _loop(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._look()
                self._trouble = None
            except (Busy, Unavailable) as fault:
                self._tell(f"{self._what} cannot be looked up, what is known holds on: {fault}")
            except Exception:  # noqa: BLE001 - a fault of ours must not end the following; what is known goes on
                self._tell(f"{self._what} cannot be taken up, what is known holds on", with_stack=True)

    def _tell(self, trouble: str, *, with_stack: bool = False) -> None:
        if trouble != self._trouble:
            _log.log(logging.ERROR if with_stack else logging.WARNING, "%s", trouble, exc_info=with_stack)
        self._trouble = trouble
