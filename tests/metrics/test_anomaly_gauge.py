"""Anomaly scores on /metrics: names only behind labels that are switched on, the highest scores, none while the store is away."""

from __future__ import annotations

import pytest

from otel_finops.base.errors import Unavailable
from otel_finops.insight.anomaly_scan import Scope
from otel_finops.metrics import catalog
from otel_finops.metrics.anomaly_gauge import AnomalyCollector, Scores

SCORES: Scores = [
    ("day", Scope("agent", "acme", "crawler"), 31.5),
    ("day", Scope("agent", "globex", "writer"), 4.0),
    ("day", Scope("global"), 3.5),
    ("hour", Scope("model", "acme", "gpt-4o"), 2.0),
    ("hour", Scope("model", "globex", "gpt-4o"), -1.0),
]


def shown(labels: tuple[str, ...], series_max: int = 100) -> dict[tuple[str, ...], float]:
    """Scores by the values of their labels."""
    [family] = AnomalyCollector(lambda: SCORES, labels, series_max).collect()
    assert (family.name, family.type) == ("finops_anomaly_score", "gauge")
    return {tuple(one.labels[name] for name in catalog.ANOMALY_SCORE.labels): one.value for one in family.samples}


def test_scopes_that_are_not_told_apart_have_the_highest_score() -> None:
    assert shown(()) == {
        ("agent", "", "", "day"): 31.5,
        ("global", "", "", "day"): 3.5,
        ("model", "", "gpt-4o", "hour"): 2.0,
    }


def test_labels_that_are_switched_on_tell_them_apart() -> None:
    assert shown(("tenant", "agent")) == {
        ("agent", "acme", "crawler", "day"): 31.5,
        ("agent", "globex", "writer", "day"): 4.0,
        ("global", "", "", "day"): 3.5,
        ("model", "acme", "gpt-4o", "hour"): 2.0,
        ("model", "globex", "gpt-4o", "hour"): -1.0,
    }


def test_of_too_many_the_highest_are_shown() -> None:
    assert list(shown(("tenant", "agent"), 2).values()) == [31.5, 4.0]


def test_there_are_none_while_the_store_is_away(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> Scores:
        raise Unavailable("the database does not answer")

    assert list(AnomalyCollector(away, (), 10).collect()) == []
    assert "anomaly scores are left out of this scrape: the database does not answer" in caplog.text
