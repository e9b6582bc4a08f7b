"""Where hours, days, weeks and months begin, by hand: summer time, midnights that do not exist, a day that never was, half hours."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, format_ns, parse_ns
from otel_finops.base.zones import UNITS, Unit, back, instant_in, next_start, pieces, start_of, zone_of


def short(instant_ns: int) -> str:
    text = format_ns(instant_ns)
    assert text.endswith(":00.000000000Z")
    return text[:16]


@pytest.mark.parametrize(
    ("unit", "zone", "at", "start", "end"),
    [
        ("day", "UTC", "2026-11-21T12:34:56Z", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("day", "Europe/Rome", "2026-11-21T12:00Z", "2026-11-20T23:00", "2026-11-21T23:00"),
        ("day", "Europe/Rome", "2026-11-21T23:30Z", "2026-11-21T23:00", "2026-11-22T23:00"),  # there it is the 22nd already
        ("day", "Europe/Rome", "2026-10-25T12:00Z", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("day", "Europe/Rome", "2026-03-29T12:00Z", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("day", "Africa/Cairo", "2026-04-24T12:00Z", "2026-04-23T22:00", "2026-04-24T21:00"),  # begins at 01:00: no midnight
        ("day", "America/Santiago", "2026-09-06T12:00Z", "2026-09-06T04:00", "2026-09-07T03:00"),  # no midnight either
        ("day", "Pacific/Apia", "2011-12-30T09:00Z", "2011-12-29T10:00", "2011-12-30T10:00"),  # the 29th; the 30th never was
        ("day", "Asia/Kolkata", "2026-11-21T12:00Z", "2026-11-20T18:30", "2026-11-21T18:30"),
        ("week", "UTC", "2026-11-22T12:00Z", "2026-11-16T00:00", "2026-11-23T00:00"),  # a Sunday belongs to the Monday before
        ("week", "Europe/Rome", "2026-10-25T12:00Z", "2026-10-18T22:00", "2026-10-25T23:00"),
        ("month", "UTC", "2026-02-10T00:00Z", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("month", "America/New_York", "2026-11-10T00:00Z", "2026-11-01T04:00", "2026-12-01T05:00"),
        ("hour", "UTC", "2026-11-21T12:34:56.789Z", "2026-11-21T12:00", "2026-11-21T13:00"),
        ("hour", "Asia/Kolkata", "2026-11-21T12:34Z", "2026-11-21T12:30", "2026-11-21T13:30"),
        ("hour", "Europe/Rome", "2026-10-25T00:30Z", "2026-10-25T00:00", "2026-10-25T01:00"),  # 02:30 for the first time
        ("hour", "Europe/Rome", "2026-10-25T01:30Z", "2026-10-25T01:00", "2026-10-25T02:00"),  # and for the second
    ],
)
def test_where_a_unit_begins_and_ends(unit: Unit, zone: str, at: str, start: str, end: str) -> None:
    place, instant = zone_of(zone), parse_ns(at)
    assert (short(start_of(unit, instant, place)), short(next_start(unit, instant, place))) == (start, end)


@pytest.mark.parametrize(
    ("unit", "zone", "at", "count", "start"),
    [
        ("day", "UTC", "2026-11-21T12:00Z", 29, "2026-10-23T00:00"),
        ("day", "Europe/Rome", "2026-11-21T12:00Z", 29, "2026-10-22T22:00"),  # summer time then
        ("week", "UTC", "2026-11-21T12:00Z", 11, "2026-08-31T00:00"),
        ("month", "UTC", "2026-03-31T12:00Z", 1, "2026-02-01T00:00"),
        ("month", "UTC", "2026-01-31T12:00Z", 12, "2025-01-01T00:00"),
        ("hour", "UTC", "2026-11-21T12:34Z", 23, "2026-11-20T13:00"),
    ],
)
def test_so_many_units_back(unit: Unit, zone: str, at: str, count: int, start: str) -> None:
    assert short(back(unit, parse_ns(at), count, zone_of(zone))) == start


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2026-11-21", "UTC", "2026-11-21T00:00"),
        ("2026-11-21", "Europe/Rome", "2026-11-20T23:00"),
        ("2026-11-21T09:00", "Europe/Rome", "2026-11-21T08:00"),
        ("2026-11-21T09:00Z", "Europe/Rome", "2026-11-21T09:00"),
        ("2026-11-21T09:00+02:00", "Europe/Rome", "2026-11-21T07:00"),
        ("2026-10-25T02:30", "Europe/Rome", "2026-10-25T00:30"),  # shown twice: the first
        ("2026-04-24", "Africa/Cairo", "2026-04-23T22:00"),
    ],
)
def test_without_an_offset_a_time_is_the_zones(text: str, zone: str, instant: str) -> None:
    assert short(instant_in(text, zone_of(zone))) == instant


@pytest.mark.parametrize("name", ["Europe/Nowhere", "../../etc/passwd", "/etc/passwd", "", "Europe", "x" * 99, "a\0b", "UTC\n"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="there is no time zone"):
        zone_of(name)


def test_a_day_of_25_hours_has_25() -> None:
    rome = zone_of("Europe/Rome")
    found = list(pieces("hour", parse_ns("2026-10-24T22:00Z"), parse_ns("2026-10-25T23:00Z"), rome))
    assert len(found) == 25
    assert {end - start for start, end in found} == {NS_PER_HOUR}


def test_a_day_that_never_was_has_no_piece() -> None:
    apia = zone_of("Pacific/Apia")
    found = pieces("day", parse_ns("2011-12-28T10:00Z"), parse_ns("2012-01-01T10:00Z"), apia)
    assert [short(start) for start, _ in found] == ["2011-12-28T10:00", "2011-12-29T10:00", "2011-12-30T10:00", "2011-12-31T10:00"]


ZONES = ["UTC", "Europe/Rome", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Apia", "America/St_Johns"]


@given(
    st.sampled_from(UNITS),
    st.sampled_from(ZONES),
    st.integers(0, 2_500_000_000 * 10**9),
    st.integers(1, 40 * NS_PER_DAY),
)
def test_pieces_are_a_time_cut_up(unit: Unit, name: str, from_ns: int, length: int) -> None:
    zone = zone_of(name)
    found = list(pieces(unit, from_ns, from_ns + length, zone))
    assert found[0][0] == from_ns
    assert found[-1][1] == from_ns + length
    assert all(one[1] == other[0] for one, other in pairwise(found))
    assert all(start < end for start, end in found)
