"""What the service counts about itself, in one small object that the stages add to.

The four fates of spans, and of log records, are added in one step, so that at every scrape
received = journalled + duplicate + rejected + ignored, for both.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import Final, NamedTuple, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from otel_finops.base.errors import Unavailable
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.span import Rejection
from otel_finops.metrics import catalog

_log: Final = logging.getLogger(__name__)

COMMIT_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
GAUGES: Final = (
    catalog.QUEUE, catalog.IN_FLIGHT, catalog.SETTLE_LAG, catalog.TRACES_DUE, catalog.PARKED, catalog.PRICE_CHANGES, catalog.RESERVE,
    catalog.QUARANTINED, catalog.SPOOLED, catalog.SPOOLED_BYTES, catalog.DELIVERIES, catalog.DELIVERY_AGE,
)  # fmt: skip
"""Metrics that are read at the moment of the scrape, by functions given to `SelfMetrics.watch`."""


ReportSums: TypeAlias = tuple[Mapping[str, int], Mapping[tuple[str, str], int]]


class SpanCounts(NamedTuple):
    """The spans (or log records) of all answered requests so far, by what became of them."""

    received: int
    journalled: int
    duplicate: int
    rejected: int
    ignored: int


class _Fates:
    """What became of all items of one signal."""

    def __init__(self) -> None:
        self.journalled = self.duplicate = self.ignored = 0
        self.rejected: Counter[str] = Counter()

    def add(self, journalled: int, duplicate: int, rejected: Counter[str], ignored: int) -> None:
        self.journalled += journalled
        self.duplicate += duplicate
        self.ignored += ignored
        self.rejected.update(rejected)

    def counts(self) -> SpanCounts:
        rejected = self.rejected.total()
        received = self.journalled + self.duplicate + rejected + self.ignored
        return SpanCounts(received, self.journalled, self.duplicate, rejected, self.ignored)


_SPAN_METRICS: Final = (catalog.RECEIVED, catalog.JOURNALLED, catalog.DUPLICATE, catalog.REJECTED, catalog.IGNORED)
_LOG_METRICS: Final = (
    catalog.RECEIVED_LOGS, catalog.JOURNALLED_LOGS, catalog.DUPLICATE_LOGS, catalog.REJECTED_LOGS, catalog.IGNORED_LOGS,
)  # fmt: skip
"""In the order of `SpanCounts`."""


class SelfMetrics(Collector):
    """Counters, gauges and one histogram about this process; safe to be called from several threads.

    Args:
        receivers: what the listeners counted, by (name, label), as `otlp.counters.ReceiverCounters.snapshot` gives it; whole
            requests are counted there.
    """

    def __init__(self, receivers: Callable[[], Mapping[tuple[str, str], int]] | None = None) -> None:
        self._receivers = receivers or dict
        self._lock = Lock()
        self._settled = 0
        self._spans, self._logs = _Fates(), _Fates()
        self._commits = [0] * (len(COMMIT_BUCKETS_S) + 1)
        self._commit_seconds = 0.0
        self._bad_reports = 0
        self._forwarded: Callable[[], Mapping[str, int]] = dict
        self._reports: Callable[[], ReportSums] = _no_reports
        self._dropped: Callable[[], int] = int
        self._readings: dict[str, Callable[[], float | None]] = {}

    def spans(
        self, received: int, *, journalled: int = 0, duplicate: int = 0, rejections: Iterable[Rejection] = (), ignored: int = 0
    ) -> None:
        """Count the spans of one request once its answer is known; a request that fails as a whole counts as refused only.

        Raises:
            ValueError: the fates do not add up to `received`.
        """
        self._add(self._spans, "spans", received, journalled, duplicate, rejections, ignored)

    def log_records(
        self, received: int, *, journalled: int = 0, duplicate: int = 0, rejections: Iterable[Rejection] = (), ignored: int = 0
    ) -> None:
        """Count the log records of one request as `spans` counts spans.

        Raises:
            ValueError: the fates do not add up to `received`.
        """
        self._add(self._logs, "log records", received, journalled, duplicate, rejections, ignored)

    def _add(
        self, to: _Fates, items: str, received: int, journalled: int, duplicate: int, rejections: Iterable[Rejection], ignored: int
    ) -> None:
        rejected: Counter[str] = Counter()
        for rejection in rejections:
            rejected[rejection.reason] += rejection.spans
        fates = journalled + duplicate + rejected.total() + ignored
        if received != fates:
            raise ValueError(
                f"{received} {items} received, but {journalled} journalled, {duplicate} duplicate,"
                f" {rejected.total()} rejected, {ignored} ignored"
            )
        with self._lock:
            to.add(journalled, duplicate, rejected, ignored)

    def commit(self, seconds: float) -> None:
        """Count a group commit that took so long."""
        bucket = bisect_left(COMMIT_BUCKETS_S, seconds)
        with self._lock:
            self._commits[bucket] += 1
            self._commit_seconds += seconds

    def bad_reports(self, stated: int) -> None:
        """Count spans or log records whose stated cost is refused."""
        if stated:
            with self._lock:
                self._bad_reports += stated

    def settled(self, traces: int) -> None:
        """Count traces that were settled."""
        with self._lock:
            self._settled += traces

    def watch(self, metric: catalog.Metric, read: Callable[[], float | None]) -> None:
        """Read a gauge of `GAUGES` by this function at each scrape; None and an unavailable store leave it out of that scrape."""
        if metric not in GAUGES:
            raise ValueError(f"{metric.name} is no gauge of the service itself")
        self._readings[metric.name] = read

    def watch_forwarding(self, read: Callable[[], Mapping[str, int]], dropped: Callable[[], int] = int) -> None:
        """Read how many spans met which fate at the next hop, and how many of their values were dropped, at each scrape."""
        self._forwarded, self._dropped = read, dropped

    def watch_reports(self, read: Callable[[], ReportSums]) -> None:
        """Read what became of stated costs by this function at each scrape: charges by verdict, and pico-USD by verdict and sign."""
        self._reports = read

    def span_counts(self) -> SpanCounts:
        """The identity's five numbers, taken at one moment."""
        with self._lock:
            return self._spans.counts()

    def log_counts(self) -> SpanCounts:
        """The five numbers of log records, taken at one moment."""
        with self._lock:
            return self._logs.counts()

    def gauge(self, metric: catalog.Metric) -> float | None:
        """A gauge's value now; None when nobody reads it or the store is away."""
        read = self._readings.get(metric.name)
        try:
            return read() if read else None
        except Unavailable as fault:
            _log.warning("%s is left out: %s", metric.name, fault)
            return None

    def collect(self) -> Iterator[Family]:
        """All families; gauges that cannot be read are left out."""
        with self._lock:
            families = [
                *_fate_families(self._spans, _SPAN_METRICS),
                *_fate_families(self._logs, _LOG_METRICS),
                CounterMetricFamily(catalog.SETTLED.name, catalog.SETTLED.meaning, value=self._settled),
                CounterMetricFamily(catalog.BAD_REPORTS.name, catalog.BAD_REPORTS.meaning, value=self._bad_reports),
                self._commit_family(),
            ]
        yield from families
        yield from self._request_families()
        yield from self._report_families()
        for metric in GAUGES:
            value = self.gauge(metric)
            if value is not None:
                yield GaugeMetricFamily(metric.name, metric.meaning, value=value)

    def _request_families(self) -> Iterator[Family]:
        counts = self._receivers()
        for metric, name in ((catalog.IGNORED_REQUESTS, "requests_ignored"), (catalog.REFUSED, "requests_refused")):
            yield _labelled(metric, {label: count for (counted, label), count in counts.items() if counted == name})
        yield _labelled(catalog.FORWARDED, self._forwarded())
        dropped = catalog.FORWARD_DROPPED
        yield CounterMetricFamily(dropped.name, dropped.meaning, value=self._dropped())

    def _report_families(self) -> Iterator[Family]:
        counts, differences = self._reports()
        yield _labelled(catalog.REPORTS, counts)
        family = CounterMetricFamily(
            catalog.REPORT_DIFFERENCE.name, catalog.REPORT_DIFFERENCE.meaning, labels=catalog.REPORT_DIFFERENCE.labels
        )
        for labels, pico in sorted(differences.items()):
            family.add_metric(list(labels), pico / PICO_PER_USD)
        yield family

    def _commit_family(self) -> Family:
        buckets, running = [], 0
        for bound, count in zip((*map(str, COMMIT_BUCKETS_S), "+Inf"), self._commits, strict=True):
            running += count
            buckets.append((bound, running))
        return HistogramMetricFamily(catalog.COMMIT.name, catalog.COMMIT.meaning, buckets=buckets, sum_value=self._commit_seconds)


def _no_reports() -> ReportSums:
    return {}, {}


def _labelled(metric: catalog.Metric, counts: Mapping[str, int]) -> Family:
    family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for label, count in sorted(counts.items()):
        family.add_metric([label], count)
    return family


def _fate_families(fates: _Fates, metrics: tuple[catalog.Metric, ...]) -> Iterator[Family]:
    for metric, value in zip(metrics, fates.counts(), strict=True):
        if metric.labels:
            yield _labelled(metric, fates.rejected)
        else:
            yield CounterMetricFamily(metric.name, metric.meaning, value=value)
