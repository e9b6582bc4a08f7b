"""Passing requests on while the sender waits: who hears what when the next hop is away.

For `patience` seconds of failure the sender is told to repeat its request, so that nothing is skipped over a restart of the hop. A hop that
is away longer must not stop the ledger: then OK means that the spans are in the ledger, and what was not passed on is counted, until the
hop answers again. A hop's refusal for good is passed on as partial success and never tried again.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Unavailable
from otel_finops.base.span import Rejection
from otel_finops.otlp.next_hop import NextHop, Reply

_log: Final = logging.getLogger(__name__)

KNOWN_AWAY_S: Final = 5.0
"""After so long without an answer requests are no longer all tried: a hop that swallows them would hold every thread for the time-out."""
PROBE_S: Final = 2.0
"""From then on one request in so many seconds tries whether the hop is back."""
REFUSED: Final = "refused_by_next_hop"


class ForwardCounters:
    """Spans by what became of them at the next hop; they only grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._dropped = 0

    def add(self, fate: str, spans: int) -> None:
        """Count spans that were `passed`, `refused` or `skipped`."""
        with self._lock:
            self._counts[fate] += spans

    def drop(self, values: int) -> None:
        """Count attributes and other values that could not be carried over into what the hop gets."""
        with self._lock:
            self._dropped += values

    def snapshot(self) -> Mapping[str, int]:
        """A copy of the spans by fate."""
        with self._lock:
            return dict(self._counts)

    @property
    def dropped_values(self) -> int:
        """Values that did not travel on with their spans."""
        return self._dropped


class InlineForwarder:
    """Hands requests to the next hop within the sender's own request. Safe to use from many threads.

    Args:
        hop: the next hop.
        clock: for patience.
        timeout_s: how long one request may take.
        patience_s: how long senders are told to repeat while the hop is away.
        required: keep telling them for ever; for senders with a queue of their own.
    """

    def __init__(self, hop: NextHop, clock: Clock, *, timeout_s: float, patience_s: float, required: bool = False) -> None:
        self.counters = ForwardCounters()
        self._hop = hop
        self._clock = clock
        self._timeout_s = timeout_s
        self._patience_s = float("inf") if required else patience_s
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._probe_at = 0.0

    @property
    def fault(self) -> str | None:
        """Since when the hop is away; None while all is well. For health."""
        since = self._failing_since
        return None if since is None else f"the next hop has been away for {self._clock.monotonic() - since:.0f} s"

    def pass_on(self, body: bytes, spans: int) -> tuple[Rejection, ...]:
        """Hand over one enriched protobuf request whose spans are in the ledger.

        Returns:
            What the hop refused for good; none when all was taken, or skipped because the hop is away for long.

        Raises:
            Unavailable: the hop is away; the sender should repeat the request, which adds nothing to the ledger and is passed on again.
        """
        if not self._may_try():
            return self._not_passed(spans)
        reply = self._hop.send(body, self._timeout_s)
        if reply.fate == "away":
            return self._failed(reply, spans)
        self._answered()
        refused = spans if reply.fate == "refused" else min(reply.rejected, spans)
        self.counters.add("passed", spans - refused)
        if not refused:
            return ()
        self.counters.add("refused", refused)
        _log.warning("the next hop refused %d spans: %s; they are in the ledger", refused, reply.detail)
        return (Rejection(REFUSED, "the spans are in the ledger, but the next hop refused them for good", refused),)

    def close(self) -> None:
        """Close the connections."""
        self._hop.close()

    def _may_try(self) -> bool:
        """False while the hop is known to be away; then one request at a time probes it."""
        with self._lock:
            if self._failing_since is None:
                return True
            now = self._clock.monotonic()
            if now - self._failing_since < min(KNOWN_AWAY_S, self._patience_s):
                return True
            if now < self._probe_at:
                return False
            self._probe_at = now + PROBE_S
            return True

    def _failed(self, reply: Reply, spans: int) -> tuple[Rejection, ...]:
        with self._lock:
            now = self._clock.monotonic()
            first = self._failing_since is None
            if first:
                self._failing_since = now
            self._probe_at = now + PROBE_S
        if first:
            _log.warning("the next hop is away: %s", reply.detail)
        return self._not_passed(spans)

    def _not_passed(self, spans: int) -> tuple[Rejection, ...]:
        """Have the sender repeat the request, or, when the hop has been away for too long, count the spans."""
        since = self._failing_since
        if since is None or self._clock.monotonic() - since < self._patience_s:
            raise Unavailable("the spans are recorded, but could not be passed on now; send them again, nothing is counted twice")
        self.counters.add("skipped", spans)
        return ()

    def _answered(self) -> None:
        with self._lock:
            away, self._failing_since = self._failing_since, None
        if away is not None:
            _log.warning("the next hop answers again after %.0f s", self._clock.monotonic() - away)
