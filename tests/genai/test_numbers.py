"""Counts and amounts as senders write them."""

from __future__ import annotations

import math

import pytest

from otel_finops.genai.numbers import BAD_AMOUNT, BAD_COUNT, read_amount, read_count


@pytest.mark.parametrize(
    ("sent", "count"), [(12, 12), (0, 0), (12.0, 12), ("12", 12), (" 12.0 ", 12), ('"12"', 12), (None, None), ("", None), ("None", None)]
)
def test_counts_are_read_leniently(sent: object, count: int | None) -> None:
    assert read_count(sent) == count


@pytest.mark.parametrize(
    "sent", [True, False, -1, 1.5, "1.5", "-3", math.nan, math.inf, -math.inf, 10**12, "1e3", "many", (1,), {}, 10.0**30]
)
def test_what_is_no_count_is_bad(sent: object) -> None:
    assert read_count(sent) == BAD_COUNT


def test_a_reported_cost_is_read_exactly() -> None:
    assert read_amount(0.0101025) == 10_102_500_000
    assert read_amount("0.00000000013") == 130
    assert read_amount(1e-07) == 100_000
    assert read_amount(10_000) == 10_000 * 10**12


@pytest.mark.parametrize("sent", [0, 0.0, "0", None, "", "None"])
def test_zero_and_silence_are_no_cost(sent: object) -> None:
    assert read_amount(sent) is None


@pytest.mark.parametrize("sent", [-1.0, "-0.5", math.nan, math.inf, "nan", True, "free", (1.0,), 1e30, 10_001])
def test_nonsense_is_a_bad_cost(sent: object) -> None:
    assert read_amount(sent) == BAD_AMOUNT
