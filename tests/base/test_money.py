"""Money: one rounding rule, plain decimals in and out, nothing lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.money import PICO_PER_USD, divide_half_even, format_usd, parse_usd


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [(5, 10, 0), (15, 10, 2), (25, 10, 2), (26, 10, 3), (-5, 10, 0), (-15, 10, -2), (-16, 10, -2), (7, 1, 7), (0, 3, 0)],
)
def test_ties_go_to_the_even_neighbour(numerator: int, denominator: int, rounded: int) -> None:
    assert divide_half_even(numerator, denominator) == rounded


@pytest.mark.parametrize(
    ("pico", "text"),
    [
        (0, "0"),
        (1, "0.000000000001"),
        (7_227_500_000, "0.0072275"),
        (-37_500_000, "-0.0000375"),
        (PICO_PER_USD, "1"),
        (12 * PICO_PER_USD + 50 * 10**10, "12.5"),
        (9_223_372 * PICO_PER_USD, "9223372"),
    ],
)
def test_amounts_are_written_plainly(pico: int, text: str) -> None:
    assert format_usd(pico) == text
    assert parse_usd(text) == pico


@pytest.mark.parametrize("text", ["", "1e-7", "NaN", "Infinity", " 1", "1 ", "+1", "1.", ".5", "1,5", "0x10", "٣", "1" * 30])
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="plain decimal"):
        parse_usd(text)


def test_digits_past_the_twelfth_are_rounded_half_even() -> None:
    assert parse_usd("0.0000000000005") == 0
    assert parse_usd("0.0000000000015") == 2
    assert parse_usd("0.00000000000051") == 1


@given(st.integers(-(2**63), 2**63))
def test_writing_and_reading_change_nothing(pico: int) -> None:
    assert parse_usd(format_usd(pico)) == pico
