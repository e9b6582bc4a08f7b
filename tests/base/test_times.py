"""Instants: nanoseconds in, RFC 3339 with nine digits out, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.times import format_ns, parse_ns


def test_nine_digits_always() -> None:
    assert format_ns(0) == "1970-01-01T00:00:00.000000000Z"
    assert format_ns(1_795_253_400_000_000_001) == "2026-11-21T09:30:00.000000001Z"


@pytest.mark.parametrize(
    ("text", "instant_ns"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01", 1_000_000_000),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2026-11-21T09:30:00.0000000019Z", 1_795_253_400_000_000_001),
    ],
)
def test_instants_are_read_to_the_nanosecond(text: str, instant_ns: int) -> None:
    assert parse_ns(text) == instant_ns


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-11-21T25:00:00Z", "1.5"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text of Python's own messages is not ours to fix
        parse_ns(text)


@given(st.integers(0, 2**62))
def test_writing_and_reading_change_nothing(instant_ns: int) -> None:
    assert parse_ns(format_ns(instant_ns)) == instant_ns
