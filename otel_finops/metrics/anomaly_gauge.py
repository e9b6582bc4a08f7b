"""Anomaly scores on `/metrics`: how far the last day and hour of every scope lie above what was expected of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, TypeAlias

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from otel_finops.base.errors import Busy, Unavailable
from otel_finops.base.limits import ANOMALY_SERIES_MAX
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.insight.anomaly_scan import Scope
from otel_finops.insight.anomaly_store import read_scores
from otel_finops.insight.series import Step
from otel_finops.metrics import catalog
from otel_finops.metrics.series_guard import safe_label
from otel_finops.store.engine import Store

_log: Final = logging.getLogger(__name__)

Scores: TypeAlias = Sequence[tuple[Step, Scope, float]]
ScoreSource = Callable[[], Scores]
_NAMED_BY: Final = {"agent": "agent", "cost_center": "cost_center"}
"""Scopes whose names are shown only with a label that has to be switched on."""


def score_source(store: Store) -> ScoreSource:
    """A source that reads what the last look at spend left, the highest scores first."""

    def read() -> Scores:
        with store.read() as transaction:
            return read_scores(transaction, ANOMALY_SERIES_MAX)

    return read


class AnomalyCollector(Collector):
    """The metric of anomaly scores; none while the store cannot answer, which `finops_ledger_readable` says.

    Args:
        labels: those of the settings. Scopes that they do not tell apart have one series, the highest score.
        series_max: at most so many series, those with the highest scores.
    """

    def __init__(self, source: ScoreSource, labels: Collection[str], series_max: int) -> None:
        self._source = source
        self._labels = frozenset(labels)
        self._series_max = series_max

    def collect(self) -> Iterator[Family]:
        """One reading."""
        try:
            scores = self._source()
        except (Busy, Unavailable) as fault:
            _log.warning("anomaly scores are left out of this scrape: %s", fault)
            return
        highest: dict[tuple[str, ...], float] = {}
        for step, scope, score in scores:
            key = self._key(step, scope)
            highest[key] = max(score, highest.get(key, score))
        metric = catalog.ANOMALY_SCORE
        family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for key, score in sorted(highest.items(), key=lambda item: (-item[1], item[0]))[: self._series_max]:
            family.add_metric([safe_label(value) for value in key], score)
        yield family

    def _key(self, step: Step, scope: Scope) -> tuple[str, ...]:
        tenant = scope.tenant if "tenant" in self._labels and scope.tenant != ANY_TENANT else ""
        needed = _NAMED_BY.get(scope.kind)
        return scope.kind, tenant, scope.name if needed is None or needed in self._labels else "", step
