"""Capture rates on `/metrics`: of each bill, what share of it the ledger had when that was last looked at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from otel_finops.base.errors import Busy, Unavailable
from otel_finops.insight.capture import CaptureRate, capture_rates
from otel_finops.metrics import catalog
from otel_finops.metrics.series_guard import safe_label
from otel_finops.store.engine import Store

_log: Final = logging.getLogger(__name__)

CaptureSource = Callable[[], Sequence[CaptureRate]]


def capture_source(store: Store) -> CaptureSource:
    """A source that reads what was kept of the last look at each bill."""

    def read() -> Sequence[CaptureRate]:
        with store.read() as transaction:
            return capture_rates(transaction, None)

    return read


class CaptureCollector(Collector):
    """The metric of capture rates; none while the store cannot answer, which `finops_ledger_readable` says."""

    def __init__(self, source: CaptureSource) -> None:
        self._source = source

    def collect(self) -> Iterator[Family]:
        """One reading; bills on which nothing was billed have no rate."""
        try:
            rates = self._source()
        except (Busy, Unavailable) as fault:
            _log.warning("capture rates are left out of this scrape: %s", fault)
            return
        metric = catalog.CAPTURE_RATE
        family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for one in rates:
            if one.rate is not None:
                family.add_metric([safe_label(one.name), safe_label(one.tenant), safe_label(one.provider)], one.rate)
        yield family
