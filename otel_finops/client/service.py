"""The service as one process talks to it: settings, connections and questions that all parts of the client share."""

from __future__ import annotations

import atexit
import functools
import time
from typing import Final

from otel_finops.client.decisions import DecisionDesk
from otel_finops.client.faults import ServiceAway
from otel_finops.client.settings import ClientSettings
from otel_finops.client.settling import Settlements
from otel_finops.client.transport import Transport

_ASK_AGAIN_S: Final = 60.0
"""How long it is believed that metering is on, or off: it changes with a restart of the service."""
_METERING: Final = "metering"


class Service:
    """One service, and what it says of itself. Made for many threads; several may be used side by side.

    Args:
        settings: where it is, and what holds when it is away; None: the environment's (`ClientSettings.from_environment`).

    Raises:
        BadInput: an environment variable is wrong.
    """

    def __init__(self, settings: ClientSettings | None = None) -> None:
        self.settings = settings or ClientSettings.from_environment()
        self.transport = Transport(self.settings)
        self.desk = DecisionDesk(self.settings, self.transport)
        self.settlements = Settlements(self.desk)
        if self.settings.on:
            atexit.register(self.settlements.flush, self.settings.timeout_s)
        self._metering, self._asked_s = True, float("-inf")
        self._refusals: set[int] = set()

    def first_time(self, status: int) -> bool:
        """Whether costs were never refused with this status before: every call would repeat the same."""
        told = status in self._refusals
        self._refusals.add(status)
        return not told

    def meters(self) -> bool:
        """Whether it books what calls cost: False when there is no service, or its metering is off. A service that is away may.

        While one thread asks, others go by what was known before: no lock is held over a question, which a fork could leave locked.
        """
        if not self.settings.on:
            return False
        now_s = time.monotonic()
        if now_s - self._asked_s >= _ASK_AGAIN_S:
            self._asked_s = now_s
            self._metering = self._says_it_meters()
        return self._metering

    def _says_it_meters(self) -> bool:
        try:
            parts = self.transport.get("/health").body.get("parts")
        except ServiceAway:
            return True
        return not any(isinstance(part, dict) and part.get("name") == _METERING for part in (parts if isinstance(parts, list) else ()))


@functools.cache
def the_service() -> Service:
    """The one that the environment names, made when it is first needed; as `Service`."""
    return Service()
