from __future__ import annotations

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_finops.base.errors import Unavailable
from otel_finops.base.span import Rejection
from otel_finops.metrics import catalog
from otel_finops.metrics.exposition import MetricsPage
from otel_finops.metrics.self_metrics import SelfMetrics, SpanCounts
from otel_finops.otlp.counters import ReceiverCounters

BAD_TRACE_ID = Rejection("bad_trace_id", "a trace id has 16 bytes")


def scraped(metrics: SelfMetrics) -> dict[str, float]:
    families = parse_text(MetricsPage(metrics, process=False).render(None).body.decode())
    return {s.name + "".join(f"|{v}" for _, v in sorted(s.labels.items())): s.value for family in families for s in family.samples}


def test_every_received_span_has_one_fate() -> None:
    metrics = SelfMetrics()
    metrics.spans(10, journalled=6, duplicate=1, rejections=[BAD_TRACE_ID, BAD_TRACE_ID], ignored=1)
    metrics.spans(3, rejections=[BAD_TRACE_ID, Rejection("too_many_attributes", "at most 10000", 2)])
    assert metrics.span_counts() == SpanCounts(received=13, journalled=6, duplicate=1, rejected=5, ignored=1)
    values = scraped(metrics)
    assert values["finops_received_spans_total"] == 13
    assert values["finops_rejected_spans_total|bad_trace_id"] == 3
    assert values["finops_rejected_spans_total|too_many_attributes"] == 2


def test_log_records_have_an_identity_of_their_own() -> None:
    metrics = SelfMetrics()
    metrics.log_records(19, journalled=1, ignored=17, rejections=[Rejection("bad_time", "too early")])
    assert metrics.log_counts() == SpanCounts(received=19, journalled=1, duplicate=0, rejected=1, ignored=17)
    assert metrics.span_counts().received == 0
    values = scraped(metrics)
    assert values["finops_received_log_records_total"] == 19
    assert (values["finops_journalled_log_records_total"], values["finops_ignored_log_records_total"]) == (1, 17)
    assert values["finops_rejected_log_records_total|bad_time"] == 1
    with pytest.raises(ValueError, match="2 log records received"):
        metrics.log_records(2, journalled=1)


def test_fates_that_do_not_add_up_are_a_programmers_error() -> None:
    with pytest.raises(ValueError, match="3 spans received, but 1 journalled"):
        SelfMetrics().spans(3, journalled=1)


def test_the_identity_holds_at_every_moment_under_threads() -> None:
    metrics = SelfMetrics()

    def count() -> None:
        for _ in range(2_000):
            metrics.spans(4, journalled=1, duplicate=1, rejections=[BAD_TRACE_ID], ignored=1)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        values = scraped(metrics)
        fates = sum(
            v
            for k, v in values.items()
            if k.split("_spans")[0] in {"finops_journalled", "finops_duplicate", "finops_rejected", "finops_ignored"}
        )
        assert values["finops_received_spans_total"] == fates
    assert metrics.span_counts().received == 3 * 2_000 * 4


def test_requests_commits_and_settling() -> None:
    receivers = ReceiverCounters()
    receivers.refused("busy")
    receivers.ignored("logs")
    metrics = SelfMetrics(receivers.snapshot)
    metrics.settled(7)
    for seconds in (0.001, 0.03, 99.0):
        metrics.commit(seconds)
    values = scraped(metrics)
    assert values["finops_refused_requests_total|busy"] == 1
    assert values["finops_ignored_requests_total|logs"] == 1
    assert values["finops_settled_traces_total"] == 7
    assert values["finops_commit_seconds_bucket|0.001"] == 1
    assert values["finops_commit_seconds_bucket|0.05"] == 2
    assert values["finops_commit_seconds_bucket|10.0"] == 2
    assert values["finops_commit_seconds_bucket|+Inf"] == values["finops_commit_seconds_count"] == 3
    assert values["finops_commit_seconds_sum"] == pytest.approx(99.031)


def test_gauges_are_read_at_the_scrape_and_left_out_when_they_cannot_be() -> None:
    metrics = SelfMetrics()
    depth = [1]

    def away() -> float:
        raise Unavailable("the store is away")

    metrics.watch(catalog.QUEUE, lambda: depth[0])
    metrics.watch(catalog.TRACES_DUE, away)
    assert scraped(metrics)["finops_queue_batches"] == 1
    depth[0] = 5
    values = scraped(metrics)
    assert values["finops_queue_batches"] == 5
    assert "finops_traces_due" not in values
    with pytest.raises(ValueError, match="no gauge"):
        metrics.watch(catalog.COST, lambda: 0.0)
