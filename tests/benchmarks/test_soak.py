"""The soak's verdict: a straight line through memory, and every span accounted for."""

from __future__ import annotations

import pytest

from benchmarks.soak import Sample, faults, identity_holds, settled, slope_mb_per_10_min

GOOD = {
    "minutes": 60.0, "rss_slope_mb_per_10_min": 0.4, "descriptors": [30, 31], "threads": [20, 20], "identity_holds": True,
    "traces_not_settled": 0,
}  # fmt: skip


def test_the_slope_is_that_of_the_line_through_the_samples() -> None:
    """One MB a minute, with noise of the same size up and down: 10 MB in ten minutes."""
    samples = [Sample(60.0 * minute, 100 + minute + noise, 30, 20) for minute in range(20) for noise in (-0.5, 0.5)]
    assert slope_mb_per_10_min(samples) == pytest.approx(10.0)
    assert slope_mb_per_10_min(samples[:1]) == 0


def test_what_fills_at_the_beginning_does_not_count() -> None:
    samples = [Sample(float(second), min(200.0, 100.0 + 10 * second), 30, 20) for second in range(100)]
    assert slope_mb_per_10_min(settled(samples)) == 0


def test_every_span_is_one_of_four() -> None:
    said = {"received": 10, "journalled": 6, "duplicate": 2, "ignored": 1, "rejected": 1}
    counts = {f"finops_{fate}_spans_total": spans for fate, spans in said.items()}
    assert identity_holds(counts, 10)
    assert not identity_holds(counts, 11)
    assert not identity_holds({**counts, "finops_journalled_spans_total": 7}, 10)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"rss_slope_mb_per_10_min": 1.5}, ["memory grows"]),
        ({"rss_slope_mb_per_10_min": 1.5, "minutes": 3.0}, []),  # too short to say
        ({"descriptors": [30, 60]}, ["file descriptors grow"]),
        ({"threads": [20, 40]}, ["threads grow"]),
        ({"identity_holds": False}, ["spans are not accounted for"]),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], told: list[str]) -> None:
    assert faults({**GOOD, **change}) == told
