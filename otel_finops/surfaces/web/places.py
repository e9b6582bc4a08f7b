"""Bounds on what runs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from otel_finops.base.errors import Busy
from otel_finops.base.limits import HEAVY_AT_ONCE_MAX


class Places:
    """Places for operations that take long; counted on the event loop alone."""

    def __init__(self, most: int = HEAVY_AT_ONCE_MAX) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one; raises Busy when there is none."""
        if self._taken >= self._most:
            raise Busy(f"{self._most} long operations run already, as many as this process runs at a time; ask again.", retry_after_s=5)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
