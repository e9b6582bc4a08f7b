from __future__ import annotations

from pathlib import Path

from otel_finops.base.span import Rejection
from otel_finops.metrics import catalog
from otel_finops.metrics.budget_gauges import BudgetCollector, BudgetReading, BudgetReadings
from otel_finops.metrics.exposition import CounterRow, Counters, LedgerCollector
from otel_finops.metrics.self_metrics import GAUGES, SelfMetrics

FULL_ROW = CounterRow({"unpriced_reason": "no_usage"}, 1, 1, 2, 1, 1, {"output": 1}, {"output": 1})


def test_the_page_of_all_metrics_is_as_declared() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == catalog.render_docs(), "run: python -m otel_finops.metrics.catalog > docs/metrics.md"


def test_what_is_exported_is_what_is_declared() -> None:
    service = SelfMetrics(lambda: {("requests_refused", "busy"): 1, ("requests_ignored", "logs"): 1})
    for gauge in GAUGES:
        service.watch(gauge, lambda: 1.0)
    service.spans(1, rejections=[Rejection("bad_span_id", "a span id has 8 bytes")])
    ledger = LedgerCollector(lambda: Counters([FULL_ROW], 0, 0, 1.0))
    budgets = BudgetCollector(lambda: BudgetReadings([BudgetReading("all", "acme", 2, 1, 0.5, 3)], 0))
    for declared, collector in (
        (catalog.LEDGER_METRICS, ledger),
        (catalog.BUDGET_METRICS, budgets),
        (catalog.SELF_METRICS, service),
    ):
        exported = {family.name: family for family in collector.collect()}
        assert set(exported) == {metric.name for metric in declared}
        for metric in declared:
            assert exported[metric.name].type == metric.kind
            for sample in exported[metric.name].samples:
                assert set(sample.labels) - {"le"} == set(metric.labels), metric.name


def test_no_label_is_an_id_of_a_trace_a_person_or_a_session() -> None:
    labels = {label for metric in (*catalog.LEDGER_METRICS, *catalog.BUDGET_METRICS, *catalog.SELF_METRICS) for label in metric.labels}
    assert not {label for label in labels if any(word in label for word in ("trace", "span", "user", "session"))}
