"""How much may be in flight: bytes and spans over all listeners, counted before they are decoded."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import NamedTuple, Self

from otel_finops.base import limits
from otel_finops.base.errors import Busy


class InFlight(NamedTuple):
    """What is held now, and how often somebody was turned away."""

    held_bytes: int
    held_spans: int
    refused: int


class Admission:
    """One budget for the whole process.

    A request that does not fit is answered Busy, which senders repeat later; a single one always fits an empty budget
    as long as it is within the per-request limits.
    """

    def __init__(
        self, bytes_max: int = limits.IN_FLIGHT_BYTES_MAX, spans_max: int = limits.IN_FLIGHT_SPANS_MAX, retry_after_s: float = 1.0
    ) -> None:
        self._bytes_max = bytes_max
        self._spans_max = spans_max
        self._retry_after_s = retry_after_s
        self._lock = threading.Lock()
        self._bytes = 0
        self._spans = 0
        self._refused = 0

    def hold(self, size_bytes: int = 0, spans: int = 0) -> Ticket:
        """Take `size_bytes` and `spans` from the budget until the returned context manager exits.

        Raises:
            Busy: they do not fit now.
        """
        self._take(size_bytes, spans)
        return Ticket(self, size_bytes, spans)

    def in_flight(self) -> InFlight:
        """What is held at this moment."""
        with self._lock:
            return InFlight(self._bytes, self._spans, self._refused)

    def _take(self, size_bytes: int, spans: int) -> None:
        with self._lock:
            if self._bytes + size_bytes > self._bytes_max or self._spans + spans > self._spans_max:
                self._refused += 1
                raise Busy("too much is being received at this moment; send it again later", retry_after_s=self._retry_after_s)
            self._bytes += size_bytes
            self._spans += spans

    def _give_back(self, size_bytes: int, spans: int) -> None:
        with self._lock:
            self._bytes -= size_bytes
            self._spans -= spans


class Ticket:
    """A held part of the budget; given back when the `with` block ends."""

    def __init__(self, admission: Admission, size_bytes: int, spans: int) -> None:
        self._admission = admission
        self._bytes = size_bytes
        self._spans = spans

    def grow(self, size_bytes: int = 0, spans: int = 0) -> None:
        """Hold more, e.g. as a body arrives or is inflated; raises Busy (what is held so far stays held until the exit)."""
        self._admission._take(size_bytes, spans)
        self._bytes += size_bytes
        self._spans += spans

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._admission._give_back(self._bytes, self._spans)
        self._bytes = self._spans = 0
