"""Periods of budgets: their edges in 15 zones, worked out by hand from the zones' published changes, and what holds for all of them."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_HOUR, format_ns, parse_ns
from otel_finops.governance.periods import Period, PeriodKind, Window, day_window, days_of


def shown(window: Window) -> tuple[str, str]:
    """Its edges without what is zero in all of them."""
    return tuple(format_ns(edge).removesuffix(".000000000Z").removesuffix(":00") for edge in window)  # type: ignore[return-value]


DAYS = [
    # zone, an instant of the day, when the day begins and ends (UTC), how many hours it has
    ("UTC", "2026-02-28T23:59:59.999999999Z", "2026-02-28T00:00", "2026-03-01T00:00", 24),
    ("UTC", "2028-02-29T12:00Z", "2028-02-29T00:00", "2028-03-01T00:00", 24),  # a leap day
    ("Europe/Rome", "2026-03-29T12:00Z", "2026-03-28T23:00", "2026-03-29T22:00", 23),
    ("Europe/Rome", "2026-10-25T12:00Z", "2026-10-24T22:00", "2026-10-25T23:00", 25),
    ("America/New_York", "2026-03-08T05:00Z", "2026-03-08T05:00", "2026-03-09T04:00", 23),
    ("America/New_York", "2026-11-02T04:59:59Z", "2026-11-01T04:00", "2026-11-02T05:00", 25),
    ("America/Sao_Paulo", "2018-11-04T12:00Z", "2018-11-04T03:00", "2018-11-05T02:00", 23),  # its midnight did not exist
    ("America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-03T03:00", "2018-11-04T03:00", 24),
    ("America/Havana", "2026-03-08T05:00Z", "2026-03-08T05:00", "2026-03-09T04:00", 23),  # midnight does not exist
    ("America/Havana", "2026-11-01T05:30Z", "2026-11-01T04:00", "2026-11-02T05:00", 25),  # midnight comes twice, the first counts
    ("Asia/Beirut", "2026-03-28T22:00Z", "2026-03-28T22:00", "2026-03-29T21:00", 23),  # midnight does not exist
    ("Asia/Beirut", "2026-10-24T21:30Z", "2026-10-23T21:00", "2026-10-24T22:00", 25),  # at midnight it is 23:00 again
    ("Africa/Cairo", "2026-04-24T00:00Z", "2026-04-23T22:00", "2026-04-24T21:00", 23),
    ("Australia/Lord_Howe", "2026-04-05T00:00Z", "2026-04-04T13:00", "2026-04-05T13:30", 24.5),  # summer time is half an hour there
    ("Australia/Lord_Howe", "2026-10-04T00:00Z", "2026-10-03T13:30", "2026-10-04T13:00", 23.5),
    ("Asia/Kathmandu", "2026-11-22T00:00Z", "2026-11-21T18:15", "2026-11-22T18:15", 24),
    ("Pacific/Kiritimati", "2026-12-31T10:00Z", "2026-12-31T10:00", "2027-01-01T10:00", 24),
    ("Pacific/Pago_Pago", "2026-12-31T10:00Z", "2026-12-30T11:00", "2026-12-31T11:00", 24),
    ("Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T10:00", "2011-12-30T10:00", 24),
    ("Pacific/Apia", "2011-12-30T10:00Z", "2011-12-30T10:00", "2011-12-31T10:00", 24),  # the 31st: there was no 30th
    ("America/St_Johns", "2010-11-07T03:00Z", "2010-11-07T02:30", "2010-11-08T03:30", 25),  # a minute past midnight it was 23:01 again
]


@pytest.mark.parametrize(("zone", "at", "start", "end", "hours"), DAYS)
def test_days_by_hand(zone: str, at: str, start: str, end: str, hours: float) -> None:
    window = Period.of("daily", zone).window(parse_ns(at))
    assert shown(window) == (start, end)
    assert (window.end_ns - window.start_ns) / NS_PER_HOUR == hours
    assert day_window(parse_ns(at), zone) == window


WINDOWS: list[tuple[PeriodKind, str, dict[str, Any], str, str, str]] = [
    # kind, zone, what more it says, an instant, when the window of that instant begins and ends (UTC)
    ("weekly", "UTC", {}, "2027-01-02T00:00Z", "2026-12-28T00:00", "2027-01-04T00:00"),  # week 53 of 2026
    ("weekly", "UTC", {}, "2025-01-01T00:00Z", "2024-12-30T00:00", "2025-01-06T00:00"),  # week 1 of 2025
    ("weekly", "UTC", {}, "2028-02-29T00:00Z", "2028-02-28T00:00", "2028-03-06T00:00"),
    ("weekly", "UTC", {"start_day": 7}, "2026-11-22T00:00Z", "2026-11-22T00:00", "2026-11-29T00:00"),  # a Sunday
    ("weekly", "UTC", {"start_day": 7}, "2026-11-21T23:59:59Z", "2026-11-15T00:00", "2026-11-22T00:00"),
    ("weekly", "Europe/Rome", {}, "2026-10-25T22:30Z", "2026-10-18T22:00", "2026-10-25T23:00"),  # 169 hours
    ("weekly", "America/New_York", {"start_day": 7}, "2026-03-08T04:59:59Z", "2026-03-01T05:00", "2026-03-08T05:00"),
    ("weekly", "America/New_York", {"start_day": 7}, "2026-03-08T05:00Z", "2026-03-08T05:00", "2026-03-15T04:00"),
    ("weekly", "America/Havana", {"start_day": 7}, "2026-03-10T00:00Z", "2026-03-08T05:00", "2026-03-15T04:00"),
    ("weekly", "Asia/Beirut", {"start_day": 7}, "2026-03-28T21:59:59Z", "2026-03-21T22:00", "2026-03-28T22:00"),
    ("monthly", "UTC", {}, "2026-02-28T23:59:59Z", "2026-02-01T00:00", "2026-03-01T00:00"),
    ("monthly", "UTC", {}, "2028-02-29T23:59:59Z", "2028-02-01T00:00", "2028-03-01T00:00"),
    ("monthly", "UTC", {"start_day": 31}, "2027-02-27T23:59:59Z", "2027-01-31T00:00", "2027-02-28T00:00"),
    ("monthly", "UTC", {"start_day": 31}, "2027-02-28T00:00Z", "2027-02-28T00:00", "2027-03-31T00:00"),
    ("monthly", "UTC", {"start_day": 31}, "2028-02-28T23:59:59Z", "2028-01-31T00:00", "2028-02-29T00:00"),
    ("monthly", "UTC", {"start_day": 31}, "2026-04-30T00:00Z", "2026-04-30T00:00", "2026-05-31T00:00"),
    ("monthly", "Europe/Rome", {"start_day": 15}, "2026-03-20T00:00Z", "2026-03-14T23:00", "2026-04-14T22:00"),
    ("monthly", "America/New_York", {}, "2026-11-01T03:59:59Z", "2026-10-01T04:00", "2026-11-01T04:00"),
    ("monthly", "America/New_York", {}, "2026-11-01T04:00Z", "2026-11-01T04:00", "2026-12-01T05:00"),
    ("monthly", "America/Sao_Paulo", {"start_day": 4}, "2018-11-04T03:00Z", "2018-11-04T03:00", "2018-12-04T02:00"),
    ("monthly", "Pacific/Apia", {}, "2011-12-30T12:00Z", "2011-12-01T10:00", "2011-12-31T10:00"),  # a December of 30 days
    ("monthly", "Pacific/Apia", {"start_day": 30}, "2011-12-30T10:00Z", "2011-12-30T10:00", "2012-01-29T10:00"),  # a day that was not
    ("monthly", "Asia/Kathmandu", {}, "2026-10-31T18:15Z", "2026-10-31T18:15", "2026-11-30T18:15"),
    ("quarterly", "UTC", {}, "2026-11-22T00:00Z", "2026-10-01T00:00", "2027-01-01T00:00"),
    ("quarterly", "UTC", {"start_month": 2}, "2026-11-22T00:00Z", "2026-11-01T00:00", "2027-02-01T00:00"),
    ("quarterly", "UTC", {"start_month": 3}, "2026-11-22T00:00Z", "2026-09-01T00:00", "2026-12-01T00:00"),
    ("quarterly", "UTC", {"start_month": 2, "start_day": 15}, "2026-11-14T23:59:59Z", "2026-08-15T00:00", "2026-11-15T00:00"),
    ("quarterly", "UTC", {"start_month": 11, "start_day": 30}, "2027-02-27T00:00Z", "2026-11-30T00:00", "2027-02-28T00:00"),
    ("quarterly", "UTC", {"start_month": 11, "start_day": 30}, "2027-02-28T00:00Z", "2027-02-28T00:00", "2027-05-30T00:00"),
    ("quarterly", "Europe/Rome", {}, "2026-11-22T00:00Z", "2026-09-30T22:00", "2026-12-31T23:00"),
    ("quarterly", "Australia/Lord_Howe", {}, "2026-11-22T00:00Z", "2026-09-30T13:30", "2026-12-31T13:00"),
    ("yearly", "UTC", {}, "2028-02-29T00:00Z", "2028-01-01T00:00", "2029-01-01T00:00"),
    ("yearly", "UTC", {"start_month": 2, "start_day": 29}, "2027-03-01T00:00Z", "2027-02-28T00:00", "2028-02-29T00:00"),
    ("yearly", "UTC", {"start_month": 2, "start_day": 29}, "2028-02-28T23:59:59Z", "2027-02-28T00:00", "2028-02-29T00:00"),
    ("yearly", "Asia/Kolkata", {"start_month": 4}, "2026-03-31T18:29:59Z", "2025-03-31T18:30", "2026-03-31T18:30"),
    ("yearly", "Europe/London", {"start_month": 4, "start_day": 6}, "2026-04-05T22:59:59Z", "2025-04-05T23:00", "2026-04-05T23:00"),
    ("yearly", "Pacific/Kiritimati", {}, "2026-12-31T10:00Z", "2026-12-31T10:00", "2027-12-31T10:00"),
    ("yearly", "Pacific/Pago_Pago", {}, "2027-01-01T10:59:59Z", "2026-01-01T11:00", "2027-01-01T11:00"),
    ("rolling_days", "UTC", {"length": 1}, "2026-11-22T12:00Z", "2026-11-22T00:00", "2026-11-23T00:00"),
    ("rolling_days", "UTC", {"length": 30}, "2028-03-01T12:00Z", "2028-02-01T00:00", "2028-03-02T00:00"),
    ("rolling_days", "Europe/Rome", {"length": 7}, "2026-10-27T12:00Z", "2026-10-20T22:00", "2026-10-27T23:00"),
    ("rolling_days", "Pacific/Apia", {"length": 2}, "2011-12-30T10:00Z", "2011-12-30T10:00", "2011-12-31T10:00"),  # the 30th was not
    ("rolling_hours", "UTC", {"length": 1}, "2026-11-22T12:34:56Z", "2026-11-22T11:34", "2026-11-22T12:35"),
    ("rolling_hours", "UTC", {"length": 24}, "2026-11-22T12:34:56Z", "2026-11-21T12:24", "2026-11-22T12:48"),
    ("rolling_hours", "Europe/Rome", {"length": 24}, "2026-10-25T01:00Z", "2026-10-24T00:48", "2026-10-25T01:12"),  # hours, not days
]


@pytest.mark.parametrize(("kind", "zone", "more", "at", "start", "end"), WINDOWS)
def test_windows_by_hand(kind: PeriodKind, zone: str, more: dict[str, Any], at: str, start: str, end: str) -> None:
    period = Period.of(kind, zone, **more)
    window = period.window(parse_ns(at))
    assert shown(window) == (start, end)
    if not period.is_rolling:  # both edges, a nanosecond on either side
        assert period.window(window.start_ns) == period.window(window.end_ns - 1) == window
        assert period.window(window.end_ns).start_ns == window.end_ns
        assert period.before(window) == period.window(window.start_ns - 1)


def test_the_tables_cover_what_they_must() -> None:
    assert len({zone for zone, *_ in DAYS} | {zone for _, zone, *_ in WINDOWS}) >= 12
    assert {kind for kind, *_ in WINDOWS} | {"daily"} == set(get_args(PeriodKind))


REFUSED: list[tuple[PeriodKind, str, dict[str, Any], str]] = [
    ("daily", "Mars/Olympus", {}, "^zone: there is no time zone"),
    ("daily", "../etc/passwd", {}, "^zone: there is no time zone"),
    ("daily", "UTC", {"start_day": 2}, "^start_day: a period that is daily has none"),
    ("daily", "UTC", {"length": 2}, "^length: a period that is daily has none"),
    ("weekly", "UTC", {"start_day": 8}, "^start_day: 1 to 7, 1 is Monday"),
    ("weekly", "UTC", {"start_month": 2}, "^start_month: a period that is weekly has none"),
    ("monthly", "UTC", {"start_day": 0}, "^start_day: 1 to 31"),
    ("monthly", "UTC", {"start_month": 2}, "^start_month: a period that is monthly has none"),
    ("quarterly", "UTC", {"start_month": 13}, "^start_month: 1 to 12"),
    ("yearly", "UTC", {"start_month": 2, "start_day": 30}, "^start_day: 1 to 29"),
    ("rolling_days", "UTC", {}, "^length: say how many days the window has, 1 to 366"),
    ("rolling_days", "UTC", {"length": 367}, "^length: say how many days"),
    ("rolling_hours", "UTC", {"length": 0}, "^length: say how many hours"),
    ("rolling_hours", "UTC", {"length": 5, "start_day": 1}, "^start_day: a period that is rolling_hours has none"),
]


@pytest.mark.parametrize(("kind", "zone", "more", "said"), REFUSED)
def test_what_is_no_period_is_refused_with_its_field(kind: PeriodKind, zone: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Period.of(kind, zone, **more)


ZONES = sorted({zone for zone, *_ in DAYS})
INSTANTS = st.integers(min_value=parse_ns("1971-01-01"), max_value=parse_ns("2100-01-01"))
CALENDAR = st.one_of(
    st.builds(Period.of, st.just("daily"), st.sampled_from(ZONES)),
    st.builds(Period.of, st.just("weekly"), st.sampled_from(ZONES), start_day=st.integers(1, 7)),
    st.builds(Period.of, st.just("monthly"), st.sampled_from(ZONES), start_day=st.integers(1, 31)),
    st.builds(
        Period.of,
        st.sampled_from(["quarterly", "yearly"]),
        st.sampled_from(ZONES),
        start_month=st.integers(1, 12),
        start_day=st.integers(1, 29),
    ),
)


@given(CALENDAR, INSTANTS)
def test_windows_of_the_calendar_follow_each_other_without_gap_or_overlap(period: Period, at_ns: int) -> None:
    window = period.window(at_ns)
    assert window.has(at_ns)
    assert period.piece(at_ns) == window
    following = period.window(window.end_ns)
    assert following.start_ns == window.end_ns < following.end_ns
    assert period.before(following) == window
    days = list(days_of(window, period.zone))
    assert (days[0].start_ns, days[-1].end_ns) == window
    assert all(former.end_ns == latter.start_ns for former, latter in itertools.pairwise(days))


@given(st.integers(1, 366), st.sampled_from(ZONES), INSTANTS)
def test_rolling_days_end_with_the_day_that_runs(length: int, zone: str, at_ns: int) -> None:
    period = Period.of("rolling_days", zone, length=length)
    window = period.window(at_ns)
    assert period.piece(at_ns) == day_window(at_ns, zone)
    assert window.end_ns == day_window(at_ns, zone).end_ns
    assert length - 1 <= len(list(days_of(window, zone))) <= length  # one fewer where a day was left out altogether


@given(st.integers(1, 744), INSTANTS)
def test_rolling_hours_reach_back_so_many_hours_and_less_than_a_piece_more(length: int, at_ns: int) -> None:
    window = Period.of("rolling_hours", "UTC", length=length).window(at_ns)
    piece = length * NS_PER_HOUR // 60
    assert length * NS_PER_HOUR <= at_ns - window.start_ns < length * NS_PER_HOUR + piece
    assert at_ns < window.end_ns <= at_ns + piece
