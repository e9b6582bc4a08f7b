"""Public fakes for tests: a clock that is set by hand, identifiers that count."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from otel_finops.audit.trail import Change
from otel_finops.base.times import NS_PER_SECOND, parse_ns

NOON: Final = parse_ns("2026-11-21T12:00:00Z")


class FakeClock:
    """A clock that stands still until it is advanced; wall and monotonic time go together."""

    def __init__(self, now_ns: int = NOON) -> None:
        self._now_ns = now_ns
        self._monotonic_ns = 0

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._now_ns

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._monotonic_ns / NS_PER_SECOND

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        passed = round(seconds * NS_PER_SECOND)
        self._now_ns += passed
        self._monotonic_ns += passed


class CountingIds:
    """Identifiers 1, 2, 3, ... as hex."""

    def __init__(self) -> None:
        self._count = 0

    def token(self, size_bytes: int) -> str:
        """The next number, as `size_bytes` of lower-case hex."""
        self._count += 1
        return f"{self._count:0{2 * size_bytes}x}"


class RememberedTrail:
    """A trail of changes that only remembers them, in the order of their making.

    Attributes:
        changes: all that was put on record.
    """

    def __init__(self) -> None:
        self.changes: list[Change] = []

    @property
    def made(self) -> list[Change]:
        """The changes that were made; without the intents of runs, and without what came to nothing."""
        return [change for change in self.changes if change.outcome == "done"]

    def together(self) -> AbstractContextManager[None]:
        """No transaction: nothing is undone."""
        return nullcontext()

    def record(self, change: Change, /) -> int:
        """Remember it; returns how many there are."""
        self.changes.append(change)
        return len(self.changes)
