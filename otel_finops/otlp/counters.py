"""What the listeners did, as plain numbers; the metrics room reads the snapshot."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from otel_finops.base.protocols import ExportOutcome


class ReceiverCounters:
    """Thread-safe counters that only grow. Label values come from closed lists of ours, never from senders."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def received(self, transport: str, size_bytes: int) -> None:
        """One request of traces or logs, of `size_bytes` (inflated), was read."""
        with self._lock:
            self._counts["requests", transport] += 1
            self._counts["bytes", transport] += size_bytes

    def answered(self, outcome: ExportOutcome, items: str = "spans") -> None:
        """One request was taken: its accepted items (`spans` or `log_records`), and the rejected ones by reason."""
        with self._lock:
            self._counts[f"{items}_accepted", ""] += outcome.accepted
            for rejection in outcome.rejections:
                self._counts[f"{items}_rejected", rejection.reason] += rejection.spans

    def refused(self, fault: str) -> None:
        """One whole request was refused; `fault` is a name of the status table."""
        with self._lock:
            self._counts["requests_refused", fault] += 1

    def ignored(self, signal: str) -> None:
        """One request of a signal that is not read was answered OK."""
        with self._lock:
            self._counts["requests_ignored", signal] += 1

    def snapshot(self) -> Mapping[tuple[str, str], int]:
        """A copy: (name, label value) -> count, the label empty where there is none."""
        with self._lock:
            return dict(self._counts)
