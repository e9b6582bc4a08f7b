"""The measurement of anomalies is drawn from a seed; what is claimed of it holds."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.anomalies import five_days, made, mean_and_deviation, measured, weekly


@pytest.fixture(scope="module")
def found() -> Any:
    return measured(1000, 2026)


def test_the_same_seed_draws_the_same_series() -> None:
    assert made(5, 3) == made(5, 3)
    assert made(5, 3) != made(5, 4)


def test_a_tenfold_fifth_day_is_found_and_a_weekly_pattern_is_not(found: Any) -> None:
    assert found["five days, tenfold, flagged"]["ours"] >= 990
    assert found["weekly pattern, flagged"]["ours"] <= 10


def test_no_five_days_can_hold_what_mean_and_deviation_would_flag() -> None:
    """One of n equal points lies at most (n - 1) / sqrt(n - 1) deviations above: of five 2, which is less than 2.5."""
    assert not any(map(mean_and_deviation, five_days(100, 1)))


@pytest.mark.parametrize("where", ["last day", "any day"])
def test_more_spikes_are_found_and_as_few_alarms_are_false(found: Any, where: str) -> None:
    ours, theirs = found[f"{where}, ours"], found[f"{where}, mean + 2.5 sigma"]
    assert ours["precision"] >= 0.98
    assert ours["recall"] >= theirs["recall"] + 0.25


def test_one_hour_in_a_hundred_is_a_false_alarm_at_most(found: Any) -> None:
    hours = found["hours without a spike"]
    assert hours["flagged"] <= hours["judged"] / 100


def test_weeks_have_their_weekends() -> None:
    assert {one.shape for one in weekly(50, 1)} == {"quiet weekends", "idle weekends"}
