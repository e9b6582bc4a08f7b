"""Spend in another currency: every day at its own rate, parts that add up, missing rates."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rig import Rig, call

from otel_finops.ledger.fx_store import dated_rates, spans, store_rates
from otel_finops.pricing.ecb import EuroRate
from otel_finops.pricing.fx import MissingRate, OtherCurrency
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

DAY_S = 24 * 3600
EURO = OtherCurrency("EUR", "2026-11-22")
RATES = [EuroRate("2026-11-19", "USD", "1.25"), EuroRate("2026-11-20", "USD", "1.1"), EuroRate("2026-11-20", "GBP", "0.88")]


@pytest.fixture
def rig(store: Store) -> Rig:
    rig = Rig(store)
    imported(store, RATES)
    return rig


def imported(store: Store, rates: list[EuroRate]) -> tuple[int, int, int]:
    with store.write() as transaction:
        done = store_rates(transaction, rates, "hist.csv", b"...", "test", NOON)
    return done.new, done.changed, done.unchanged


def test_each_day_is_converted_at_its_own_rate(rig: Rig) -> None:
    """0.0035 USD on the 19th at 1.25 and on Saturday the 21st at Friday's 1.1: 0.0028 EUR and 0.00318181... EUR."""
    rig.settle(call(1, at_s=-2 * DAY_S), call(2, trace=2))
    report = rig.reader.spend(None, ("day",), other=EURO)
    assert [(group.key["day"], group.converted) for group in report.groups] == [
        ("2026-11-19", 2_800_000_000), ("2026-11-21", 3_181_818_182),
    ]  # fmt: skip
    assert (report.total_pico, report.converted) == (7_000_000_000, ("EUR", 5_981_818_182, 0))
    assert rig.reader.spend(None, (), other=EURO).groups[0].converted == 5_981_818_182
    assert rig.reader.spend(None, ("hour", "provider"), other=EURO).converted == report.converted


def test_the_report_in_dollars_is_the_same_beside_it(rig: Rig) -> None:
    rig.settle(call(1), call(2, trace=2, provider="azure", at_s=5))
    plain, converted = (rig.reader.spend(None, ("provider",), other=other) for other in (None, EURO))
    assert converted._replace(converted=None, groups=tuple(group._replace(converted=None) for group in converted.groups)) == plain


def test_what_is_pending_is_converted_at_todays_rate(rig: Rig) -> None:
    rig.send(call(1))
    assert rig.reader.spend(None, other=EURO).converted == ("EUR", 0, 3_181_818_182)


def test_a_cross_rate_is_taken_by_way_of_the_euro(rig: Rig) -> None:
    """0.88 / 1.1 is 0.8: 0.0035 USD are 0.0028 GBP."""
    rig.settle(call(1))
    assert rig.reader.spend(None, other=OtherCurrency("GBP", "2026-11-22")).converted == ("GBP", 2_800_000_000, 0)


@pytest.mark.parametrize(
    ("currency", "at_s", "reason"),
    [
        ("EUR", -9 * DAY_S, "no exchange rate of EUR for 2026-11-12"),
        ("GBP", -2 * DAY_S, "GBP for 2026-11-19"),
        ("ISK", 0, "no exchange rates of ISK"),
    ],
)
def test_a_missing_rate_is_an_error_and_never_one_to_one(rig: Rig, currency: str, at_s: int, reason: str) -> None:
    rig.settle(call(1, at_s=at_s))
    with pytest.raises(MissingRate, match=reason):
        rig.reader.spend(None, other=OtherCurrency(currency, "2026-11-22"))


def test_without_any_spend_no_rate_is_needed(store: Store) -> None:
    assert Rig(store).reader.spend(None, other=OtherCurrency("ISK", "2026-11-22")).converted == ("ISK", 0, 0)


def test_a_second_import_adds_what_is_new_and_the_newest_stands(store: Store) -> None:
    assert imported(store, RATES) == (3, 0, 0)
    assert imported(store, RATES) == (0, 0, 3)
    assert imported(store, [EuroRate("2026-11-20", "USD", "1.2"), EuroRate("2026-11-18", "USD", "1.3")]) == (1, 1, 0)
    assert imported(store, RATES[:2]) == (0, 1, 1)
    with store.read() as transaction:
        assert dated_rates(transaction, "EUR", ["2026-11-20"]).per_usd("2026-11-20").denominator == 11
        assert [tuple(span) for span in spans(transaction)] == [
            ("GBP", "2026-11-20", "2026-11-20", 1),
            ("USD", "2026-11-18", "2026-11-20", 3),
        ]


@pytest.mark.parametrize("table", ["fx_rates", "fx_imports"])
def test_the_database_refuses_to_change_what_was_imported(store: Store, table: str) -> None:
    imported(store, RATES)
    for sql in (f"DELETE FROM {table}", f"UPDATE {table} SET import_no = 9"):
        with pytest.raises(Exception, match="append-only"), store.write() as transaction:
            transaction.execute(sql)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tokens=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 10**6)), min_size=1, max_size=8))
def test_any_grouping_adds_up_to_its_total(rig: Rig, tokens: list[tuple[int, int]]) -> None:
    realm = repr(tokens)
    for number, (day, count) in enumerate(tokens):
        usage = {"input_uncached": count, "output": 7}
        rig.send(call(number + 1, trace=number + 1, at_s=-day * DAY_S - number, usage=usage, realm=realm[:60] + str(hash(realm))))
    rig.settle()
    for grouping in ((), ("day",), ("model", "realm")):
        report = rig.reader.spend(None, grouping, other=EURO)
        assert report.converted is not None
        assert sum(group.converted or 0 for group in report.groups) == report.converted.total
