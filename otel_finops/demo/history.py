"""A month of a made-up company in an empty ledger: its traffic through the service's own intake, and what people did about it.

The clock is set to when things happen, so that budgets pass thresholds, anomalies are found and alerts fire at their own times; what is
made depends on the seed and on the end alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from otel_finops.base.progress import tell
from otel_finops.base.protocols import Credential, ExportRequest, TraceIntake
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_SECOND
from otel_finops.demo.company import work_between
from otel_finops.demo.made_spans import request_of
from otel_finops.demo.management import Management

DAYS: Final = 42
"""Six weeks: a whole month before the running one's part, and weeks enough for a weekday pattern."""
_SHIFT_NS: Final = 6 * NS_PER_HOUR
_LAST_WORK_NS: Final = 600 * NS_PER_SECOND
"""So long before the end the last work begins, so that no span ends in the future."""


class PlayedClock:
    """A clock that is set to when something happened."""

    def __init__(self, now_ns: int) -> None:
        self._began_ns = self._now_ns = now_ns

    def now_ns(self) -> int:
        """See `base.clock.Clock`."""
        return self._now_ns

    def monotonic(self) -> float:
        """See `base.clock.Clock`."""
        return (self._now_ns - self._began_ns) / NS_PER_SECOND

    def set(self, now_ns: int) -> None:
        """Go on to this instant; never back."""
        self._now_ns = max(self._now_ns, now_ns)


class Settles(Protocol):
    """What settles all that is journalled (`ledger.settle.Settler`)."""

    def settle_all(self, wait_s: float = ...) -> int:
        """See `ledger.settle.Settler.settle_all`."""
        ...


class Told(NamedTuple):
    """What was written."""

    days: int
    traces: int
    calls: int


class Span(NamedTuple):
    """From when until when the story goes, nanoseconds."""

    from_ns: int
    to_ns: int

    @classmethod
    def until(cls, end_ns: int, days: int = DAYS) -> Span:
        """So many days before the day of the end, and that day as far as it has come."""
        return cls(end_ns - end_ns % NS_PER_DAY - days * NS_PER_DAY, end_ns)

    @property
    def midnights(self) -> tuple[datetime, datetime]:
        """Of the first and of the last day."""
        return _midnight(self.from_ns), _midnight(self.to_ns)

    def shifts(self) -> Iterator[tuple[int, int]]:
        """Quarters of days, the last one as long as it is."""
        for begins_ns in range(self.from_ns, self.to_ns, _SHIFT_NS):
            yield begins_ns, min(begins_ns + _SHIFT_NS, self.to_ns)


def write_history(span: Span, clock: PlayedClock, intake: TraceIntake, settler: Settles, management: Management, *, seed: int = 1) -> Told:
    """Play the story: shift after shift its traffic is taken in and settled, and then people and jobs do their part."""
    first, last = span.midnights
    traces = calls = 0
    clock.set(span.from_ns)
    management.begin(first, last)
    for begins_ns, ends_ns in span.shifts():
        until_ns = ends_ns if ends_ns < span.to_ns else ends_ns - _LAST_WORK_NS
        runs = list(work_between(begins_ns, until_ns, first=first, last=last, seed=seed))
        clock.set(ends_ns)
        if runs:
            intake(ExportRequest(request_of(runs), "protobuf", Credential()))
            settler.settle_all()
        traces, calls = traces + len(runs), calls + sum(run.calls for run in runs)
        management.attend(_instant(ends_ns), is_last=ends_ns == span.to_ns)
        tell("days made up", (ends_ns - span.from_ns) // NS_PER_DAY, (span.to_ns - span.from_ns) // NS_PER_DAY)
    return Told((last - first).days, traces, calls)


def _instant(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / NS_PER_SECOND, UTC)


def _midnight(at_ns: int) -> datetime:
    return _instant(at_ns - at_ns % NS_PER_DAY)
