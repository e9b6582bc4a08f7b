"""Months that close: what comes later is marked late and belongs to the open month, and a closed month never changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rig import CENT, SECOND, Rig, call
from sqlalchemy.exc import DBAPIError
from test_same_ledger import NUMBERS, SPANS, a_store, check_sums, folder  # noqa: F401 - the fixture

from otel_finops.base.errors import BadInput, Busy
from otel_finops.base.times import NS_PER_DAY, month_end_ns, month_start_ns, parse_ns
from otel_finops.ledger.correction_runs import Asked, begin, record_round
from otel_finops.ledger.periods import Period, Periods, periods
from otel_finops.ledger.shards import lease_name
from otel_finops.ledger.tables import DIMENSIONS, rollups
from otel_finops.store.engine import Store
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import NOON, FakeClock

DAY_S = 86_400
OCTOBER = -40 * DAY_S
"""2026-10-12, counted from noon of 2026-11-21, when all clocks of these tests start."""
COST = 35 * CENT // 100
"""A call of `ledger_rig.call`: 0.0035 USD."""


def closing(rig: Rig) -> Periods:
    return Periods(rig.store, rig.leases, rig.clock, sleep=rig.clock.advance)


def listed(rig: Rig) -> list[Period]:
    with rig.store.read() as transaction:
        return periods(transaction, None)


def report(rig: Rig, month: str) -> bytes:
    """The spend report of a month by everything that goes with it, as bytes."""
    dimensions = ["period", "provider", "model", "tenant", "agent", "cost_method"]
    found = rig.reader.spend(None, dimensions, filters={"period": (month,)}).to_contract()
    return json.dumps(found).encode()


def spent_in(rig: Rig, month: str) -> int:
    return rig.reader.spend(None, filters={"period": (month,)}).total_pico


def test_months_are_those_of_utc() -> None:
    assert month_start_ns(NOON) == parse_ns("2026-11-01")
    assert month_end_ns(NOON) == parse_ns("2026-12-01")
    assert month_end_ns(parse_ns("2026-12-31T23:59:59.999999999Z")) == parse_ns("2027-01-01")
    assert month_start_ns(parse_ns("2028-02-29T12:00:00Z")) == parse_ns("2028-02-01")


def test_a_late_span_goes_to_the_open_month(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1, at_s=OCTOBER), call(2, trace=2))
    assert closing(rig).close("2026-10", "ann", "invoice is in") == ["2026-10"]
    before = report(rig, "2026-10")
    [late] = rig.settle(call(3, trace=3, at_s=OCTOBER))
    assert late.late
    assert report(rig, "2026-10") == before
    assert (spent_in(rig, "2026-10"), spent_in(rig, "2026-11")) == (COST, 2 * COST)
    november, october = listed(rig)
    assert november == Period("2026-11", None, None, None, 2 * COST, 2, COST, 1)
    assert october == Period("2026-10", rig.clock.now_ns() - SECOND, "ann", "invoice is in", COST, 1, 0, 0)
    check_sums(rig)


def test_a_late_change_of_a_closed_row_is_booked_in_the_open_month(store: Store) -> None:
    """The first sighting had no usage, the second one knows it: what that changes by belongs to November."""
    rig = Rig(store)
    rig.settle(call(1, at_s=OCTOBER, usage={}))
    closing(rig).close("2026-10", "ann", "over")
    before = report(rig, "2026-10")
    later = call(1, at_s=OCTOBER, end_ns=NOON + (OCTOBER + 2) * SECOND)
    assert {entry.late for entry in rig.settle(later)} == {True}
    assert report(rig, "2026-10") == before
    assert (spent_in(rig, "2026-10"), spent_in(rig, "2026-11")) == (0, COST)
    assert rig.spent() == COST
    check_sums(rig)


def test_closing_a_month_closes_those_before_it(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1, at_s=OCTOBER - 31 * DAY_S), call(2, trace=2, at_s=OCTOBER))
    assert closing(rig).close("2026-10", "ann", "over") == ["2026-09", "2026-10"]
    rig.clock.advance(20 * DAY_S)
    assert closing(rig).close("2026-11", "ann", "over") == ["2026-11"]
    assert [(period.month, period.calls) for period in listed(rig)] == [("2026-11", 0), ("2026-10", 1), ("2026-09", 1)]


@pytest.mark.parametrize(
    ("month", "message"),
    [
        ("2026-11", "2026-11 is not over; a month can be closed from 2026-12-01 on"),
        ("2026-10", "2026-10 is closed already; a closed month is never opened again"),
        ("2026-13", "'2026-13' is no month; write the year and the month, e.g. 2026-11"),
    ],
)
def test_what_cannot_be_closed_is_refused(store: Store, month: str, message: str) -> None:
    rig = Rig(store)
    rig.settle(call(1, at_s=OCTOBER))
    closing(rig).close("2026-10", "ann", "over")
    with pytest.raises(BadInput) as refused:
        closing(rig).close(month, "ann", "again")
    assert str(refused.value) == message


def test_months_close_by_themselves_some_days_after_their_end(store: Store) -> None:
    rig = Rig(store)
    assert closing(rig).close_due(5) == []
    rig.settle(call(1, at_s=OCTOBER), call(2, trace=2))
    assert closing(rig).close_due(25) == []
    assert closing(rig).close_due(20.6) == []
    assert closing(rig).close_due(20.4) == ["2026-10"]
    assert closing(rig).close_due(5) == []
    assert [period.closed_by for period in listed(rig)] == [None, "schedule"]


def test_nobody_can_append_while_a_month_is_closed(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1, at_s=OCTOBER))
    held = rig.leases.acquire(lease_name(5), ttl_s=60)
    assert held is not None
    with pytest.raises(Busy, match="the ledger is busy: test holds 'shard:5'"):
        closing(rig).close("2026-10", "ann", "over")
    held.release()
    assert closing(rig).close("2026-10", "ann", "over") == ["2026-10"]


def test_an_entry_of_a_clock_that_is_behind_never_enters_a_closed_month(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1, at_s=OCTOBER))
    closing(rig).close("2026-10", "ann", "over")
    before = report(rig, "2026-10")
    rig.clock.advance(-30 * DAY_S)
    rig.settle(call(2, trace=2, at_s=OCTOBER))
    assert report(rig, "2026-10") == before
    assert spent_in(rig, "2026-11") == COST


def test_periods_do_not_go_with_other_times(store: Store) -> None:
    rig = Rig(store)
    with pytest.raises(BadInput, match=r"period: goes with tenant, .*, not with day"):
        rig.reader.spend(None, ["period", "day"])
    with pytest.raises(BadInput, match="period: takes the place of `from` and `to`"):
        rig.reader.spend(None, ["period"], from_ns=1)
    with pytest.raises(BadInput, match="'november' is no month"):
        rig.reader.spend(None, filters={"period": ("november",)})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(SPANS))), cut=st.integers(0, len(SPANS)), days=st.sampled_from((30, 60)))
def test_a_closed_month_never_changes_whatever_comes(folder: Any, order: list[int], cut: int, days: int) -> None:  # noqa: F811
    """Spans of October or September in any order, the months closed somewhere between; all sums still add up."""
    shift = days * NS_PER_DAY
    moved = [span._replace(start_ns=span.start_ns - shift, end_ns=span.end_ns - shift) for span in SPANS]
    rig = Rig(a_store(folder, next(NUMBERS)))
    for number in order[:cut]:
        rig.settle(moved[number])
    closing(rig).close("2026-10", "ann", "over")
    before = [report(rig, month) for month in ("2026-09", "2026-10")]
    for number in order[cut:]:
        rig.settle(moved[number])
    assert [report(rig, month) for month in ("2026-09", "2026-10")] == before
    assert sum(period.cost_pico for period in listed(rig)) == rig.spent()
    check_sums(rig)
    rig.store.close()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("periods", "why", "x"), ("correction_runs", "who", "x"), ("correction_rounds", "after_pico", "0")],
)
def test_what_is_on_record_stays(store: Store, table: str, column: str, value: str) -> None:
    rig = Rig(store)
    rig.settle(call(1, at_s=OCTOBER))
    closing(rig).close("2026-10", "ann", "over")
    with store.write() as transaction:
        run_no = begin(transaction, Asked("reprice", "ann", "why not", {}, "v1", NOON))
        record_round(transaction, run_no, (0, 0), 1, 0, 5)
    for sql in (f"UPDATE {table} SET {column} = '{value}'", f"DELETE FROM {table}"):
        with pytest.raises(DBAPIError, match="append-only"), store.engine.connect().execution_options(write=True) as connection:
            connection.exec_driver_sql(sql)


def test_an_older_ledger_gets_its_months_when_it_is_upgraded(database_url: str) -> None:
    """Two days of October with 0.7 and 0.6 USD come to 1.3 USD, which carries; one of November stays by itself."""
    store = Store.open(database_url, FakeClock())
    upgrade(store, to="0002")
    columns = ["level", "bucket_ns", "dim_no"]
    dims = ", ".join(DIMENSIONS)
    with store.write() as transaction:
        transaction.execute(f"INSERT INTO rollup_dims ({dims}) VALUES ({', '.join('?' * len(DIMENSIONS))})", ["acme"] * len(DIMENSIONS))
        plain = [column.name for column in rollups.columns if column.name not in columns and "exemplar" not in column.name]
        for day, pico in (("2026-10-01", 7 * 10**11), ("2026-10-31", 6 * 10**11), ("2026-11-01", 10**11)):
            for level in ("hour", "day"):
                values = [pico if name == "cost_pico" else int(name == "calls") for name in plain]
                transaction.execute(
                    f"INSERT INTO rollups ({', '.join((*columns, *plain))}) VALUES ({', '.join('?' * (3 + len(plain)))})",
                    (level, parse_ns(day), 1, *values),
                )
    upgrade(store)
    with store.read() as transaction:
        found = [(period.month, period.cost_pico, period.calls) for period in periods(transaction, ["acme"])]
    assert found == [("2026-11", 10**11, 1), ("2026-10", 13 * 10**11, 2)]
    store.close()
