"""Series of spend: every piece is there, cut where the zone's days begin, and sums equal those of spend reports."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import SECOND, Rig, call

from otel_finops.base.errors import BadInput
from otel_finops.base.times import parse_ns
from otel_finops.governance.periods import Period
from otel_finops.insight.forecasts import Forecasts, SpendAsked
from otel_finops.insight.series import Series, by_name, cut_from, read_series
from otel_finops.ledger.periods import Periods
from otel_finops.ledger.retention import LedgerPruner
from otel_finops.ledger.spend_entries import Amounts
from otel_finops.store.engine import Store

CALL = Amounts(3_500_000_000, calls=1, tokens=1100, prompt=1000)
"""gpt-4o, 1,000 tokens in at 2.50 USD a million and 100 out at 10 USD: 0.0025 + 0.0010 = 0.0035 USD."""
ZERO = Amounts(0)
ANN, BOB = {"tenant": "acme", "agent": "planner", "user": "ann"}, {"tenant": "globex", "agent": "writer", "user": "bob"}


@pytest.fixture
def rig(store: Store) -> Rig:
    rig = Rig(store)
    rig.settle(
        at(1, "2026-10-23T23:30:00Z", ANN),  # 24 October, 01:30 in Rome
        at(2, "2026-10-25T00:30:00Z", ANN),  # 25 October, 02:30, the day of 25 hours
        at(3, "2026-10-25T22:30:00Z", ANN),  # 25 October, 23:30, past the hour that came twice
        at(4, "2026-10-25T23:00:00Z", BOB),  # 26 October, 00:00
    )
    return rig


def at(number: int, moment: str, attribution: dict[str, str]) -> Any:
    start = parse_ns(moment)
    return call(number, trace=number, start_ns=start, end_ns=start + SECOND, attribution=attribution)


def series(rig: Rig, first: str, last: str, *by: str, **more: Any) -> Series:
    with rig.store.read() as transaction:
        tenants, step = more.pop("tenants", None), more.pop("step", "day")
        return read_series(transaction, tenants, by, parse_ns(first), parse_ns(last), step, **more)


def test_days_in_which_nothing_was_are_there_as_zeros(rig: Rig) -> None:
    found = series(rig, "2026-10-23", "2026-10-27")
    assert found.starts_ns == tuple(parse_ns(f"2026-10-{day}") for day in (23, 24, 25, 26))
    assert found.groups == {(): (CALL, ZERO, Amounts(10_500_000_000, calls=3, tokens=3300, prompt=3000), ZERO)}
    assert found.costs() == (3_500_000_000, 0, 10_500_000_000, 0)


def test_days_begin_where_the_zone_has_them(rig: Rig) -> None:
    """Rome is two hours ahead until the 25th, 03:00, then one."""
    found = series(rig, "2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z", "tenant", zone="Europe/Rome")
    assert found.starts_ns == tuple(parse_ns(f"2026-10-{moment}:00:00Z") for moment in ("23T22", "24T22", "25T23"))
    twice = Amounts(7_000_000_000, calls=2, tokens=2200, prompt=2000)
    assert found.groups == {("acme",): (CALL, twice, ZERO), ("globex",): (ZERO, ZERO, CALL)}


def test_days_that_begin_within_pruned_hours_are_left_out(store: Store) -> None:
    """September is pruned. In Rome its days are whole hours, whose sums are kept; in Kolkata, 5:30 ahead, they are not: days can be told
    apart from 2 October on, which begins on the 1st at 18:30 UTC, and the forecast of a month there goes by those.
    """
    rig = Rig(store)
    rig.settle(at(1, "2026-09-20T18:10:00Z", ANN), at(2, "2026-10-10T12:00:00Z", ANN), at(3, "2026-11-20T12:00:00Z", ANN))
    Periods(store, rig.leases, rig.clock, rig.clock.advance).close("2026-10", "ann", "done")
    pruner = LedgerPruner(store, rig.leases, rig.clock, sleep=rig.clock.advance)
    assert list(pruner.prune(pruner.months_before(30), "test").months) == ["2026-09"]
    with store.read() as transaction:
        first = {zone: cut_from(transaction, parse_ns("2026-09-01"), zone) for zone in ("Europe/Rome", "Asia/Kolkata")}
        assert first == {"Europe/Rome": parse_ns("2026-09-01"), "Asia/Kolkata": parse_ns("2026-10-01T18:30:00Z")}
        assert cut_from(transaction, parse_ns("2026-11-01"), "Asia/Kolkata") == parse_ns("2026-11-01")
    forecasts = Forecasts(store, rig.clock, rig.subjects)
    for zone in first:
        outlook = forecasts.of_spend(SpendAsked(None, {}, (), Period.of("monthly", zone)), "auto", 1)
        assert (outlook.total.spent, sum(outlook.days.values())) == (3_500_000_000, 3_500_000_000)
    with pytest.raises(BadInput, match="kept by the hour: give whole hours"):
        series(rig, "2026-09-01", "2026-10-02", zone="Asia/Kolkata")


def test_hours_and_two_keys(rig: Rig) -> None:
    found = series(rig, "2026-10-25T22:00:00Z", "2026-10-26T01:00:00Z", "tenant", "agent", step="hour")
    assert found.starts_ns == tuple(parse_ns(f"2026-10-{moment}:00:00Z") for moment in ("25T22", "25T23", "26T00"))
    assert found.groups == {("acme", "planner"): (CALL, ZERO, ZERO), ("globex", "writer"): (ZERO, CALL, ZERO)}


def test_the_first_and_the_last_piece_may_be_cut(rig: Rig) -> None:
    """From 00:31 on: the call of 00:30 is out; up to 22:31: that of 22:30 is in."""
    found = series(rig, "2026-10-25T00:31:00Z", "2026-10-25T22:31:00Z")
    assert found == Series((parse_ns("2026-10-25T00:31:00Z"),), {(): (CALL,)})


def test_only_the_tenants_that_may_be_seen(rig: Rig) -> None:
    assert series(rig, "2026-10-26", "2026-10-27", tenants=("acme",)).costs() == (0,)
    assert list(series(rig, "2026-10-20", "2026-10-27", "tenant", tenants=("globex",)).groups) == [("globex",)]


def test_people_are_asked_for_by_name_and_come_as_references(rig: Rig) -> None:
    found = series(rig, "2026-10-23", "2026-10-26", "user", filters={"user": ("bob",)})
    assert list(found.groups.values()) == [(ZERO, ZERO, CALL)]
    assert found.groups.keys() != {("bob",)}


def test_one_person_of_two_realms_is_one_group(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1, attribution=ANN), call(2, trace=2, realm="acme", attribution=ANN), call(3, trace=3, attribution=BOB))
    with store.read() as transaction:
        found = read_series(transaction, None, ("user", "model"), parse_ns("2026-11-21"), parse_ns("2026-11-22"), "day")
        named = by_name(transaction, rig.subjects, ("user", "model"), found)
    assert len(found.groups) == 3
    twice = Amounts(7_000_000_000, calls=2, tokens=2200, prompt=2000)
    assert named.groups == {("ann", "gpt-4o"): (twice,), ("bob", "gpt-4o"): (CALL,)}


def test_tokens_from_a_cache_are_kept_apart(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1, usage={"input_uncached": 600, "cache_read": 400, "output": 100}))
    (day,) = series(rig, "2026-11-21", "2026-11-22").groups[()]
    assert (day.tokens, day.prompt, day.cache_read) == (1100, 1000, 400)


def test_an_empty_ledger_has_a_series_of_zeros_and_no_groups(store: Store) -> None:
    rig = Rig(store)
    assert series(rig, "2026-11-01", "2026-11-03").groups == {(): (ZERO, ZERO)}
    assert series(rig, "2026-11-01", "2026-11-03", "model") == Series((parse_ns("2026-11-01"), parse_ns("2026-11-02")), {})
    assert series(rig, "2026-11-01", "2026-11-01") == Series((), {(): ()})


@pytest.mark.parametrize(
    ("last", "by", "more", "fault"),
    [
        ("2026-11-02", ("model", "agent", "tenant"), {}, "at most 2 keys"),
        ("2026-11-02", ("colour",), {}, "'colour'"),
        ("2026-10-31", (), {}, "before"),
        ("2026-11-02", (), {"zone": "Mars/Base"}, "Mars/Base"),
        ("2030-11-02", (), {"step": "hour"}, "more than 20000 hours"),
    ],
)
def test_what_cannot_be_asked_for(store: Store, last: str, by: tuple[str, ...], more: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadInput, match=fault):
        series(Rig(store), "2026-11-01", last, *by, **more)
