"""The benchmark of forecasts, in small: what it measures, and that forecasts still do better than what they are measured against."""

from __future__ import annotations

from benchmarks.forecasts import KINDS, measure, months


def test_months_are_cut_within_a_month_of_their_own() -> None:
    for month in months(16, 7):
        assert month.kind in KINDS
        day = 30 - len(month.rest)
        assert 3 <= day <= 26
        assert all((place - len(month.past) + day) % 30 == 0 for place in month.starts), "windows begin thirty days apart"


def test_forecasts_are_less_wrong_than_a_run_rate_and_hold_their_interval() -> None:
    """Of 200 months four in five are known to within nine in a hundred at three standard errors."""
    found = {method: kinds["all"] for method, kinds in measure(200, 5).items()}
    assert found["auto"]["months"] == 200
    assert found["auto"]["error"] < 0.95 * found["run_rate"]["error"] < 0.6 * found["naive"]["error"]
    assert 0.71 <= found["auto"]["covered"] <= 0.89
