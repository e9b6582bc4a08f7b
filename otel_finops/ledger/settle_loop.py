"""The thread that settles what is due, round after round, off the senders' path."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from otel_finops.base.errors import FinopsError
from otel_finops.ledger.shards import SHARDS

_log: Final = logging.getLogger(__name__)

IDLE_S: Final = 0.2
"""Pause when nothing is due: the most that settling adds to `ledger.settle_after`."""
FAULT_S: Final = 2.0
"""Pause after a round that failed; nothing is lost meanwhile, since everything stays due."""


class SettleLoop:
    """Settles all shards until it is stopped.

    Args:
        settle_due: settles one round of a shard and returns how many traces (`Settler.settle_due`).
        settled: told how many traces each round settled.
    """

    def __init__(self, settle_due: Callable[[int], int], settled: Callable[[int], None]) -> None:
        self._settle_due = settle_due
        self._settled = settled
        self._stop = Event()
        self._thread = Thread(target=self._run, name="settle", daemon=True)
        self.fault: str | None = None
        """What made the last round fail; None while all is well. For health."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Begin no further round and wait for the running one; True when none runs any more. What is due stays due."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def run_once(self) -> int:
        """One round of every shard, whatever happens to the others; returns how many traces were settled."""
        faults: list[str] = []
        settled = sum(self._round(shard, faults) for shard in range(SHARDS))
        if settled:
            self._settled(settled)
        if faults and faults[0] != self.fault:
            _log.warning("settling waits: %s", faults[0])
        self.fault = faults[0] if faults else None
        return settled

    def _round(self, shard: int, faults: list[str]) -> int:
        try:
            return self._settle_due(shard)
        except FinopsError as fault:
            faults.append(str(fault))
        except Exception as fault:  # noqa: BLE001 - the journal goes on taking spans; the round is tried again, health tells of it
            _log.exception("a settling round of shard %d failed", shard)
            faults.append(type(fault).__name__)
        return 0

    def _run(self) -> None:
        while not self._stop.is_set():
            settled = self.run_once()
            if self.fault is not None:
                self._stop.wait(FAULT_S)
            elif not settled:
                self._stop.wait(IDLE_S)
