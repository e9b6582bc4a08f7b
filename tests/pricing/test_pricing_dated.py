"""Prices with dates and hours: when the second source is followed, when the list wins, and models that no list has."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.base.times import parse_ns
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall, Quote
from otel_finops.pricing.snapshot import Snapshot

MILLION = 1_000_000
USD = 10**12


def snapshot(fields: dict[str, Any] | None, prices: list[Any], variants: list[Any] | None = None, **more: Any) -> Snapshot:
    """A list of 2026-11-21 (a Saturday) with one row of acme's, and a second source with one model of acme's."""
    series = {"prices": prices, **({"variants": variants} if variants else {})}
    rows = {} if fields is None else {"acme/one": {"litellm_provider": "acme", "mode": "chat", **fields}}
    dated = {"models": {"acme/one": series}, "names": {"acme/one-of-may": "acme/one"}}
    return Snapshot("litellm", "1", "v1", "2026-11-21", None, rows, dated=dated, **more)


def engine_of(*snapshots: Snapshot) -> PriceEngine:
    return PriceEngine(PriceBook.of(snapshots))


def quote(engine: PriceEngine, at: str, tier: str | None = None, model: str = "one", **usage: int) -> Quote:
    return engine.quote(PriceableCall("acme", (model,), usage or {"input_uncached": MILLION}, parse_ns(at), service_tier=tier))


def usd(quoted: Quote) -> float | None:
    return None if quoted.cost_pico is None else quoted.cost_pico / USD


ONE, TWO, THREE = ({"input_cost_per_token": usd / MILLION} for usd in (1, 2, 3))


def test_where_both_agree_today_the_series_holds_at_every_other_moment() -> None:
    """2 USD from June on, 3 from next year on: midnight UTC is the first moment of a day."""
    engine = engine_of(snapshot(TWO, [["", ONE], ["2026-06-01", TWO], ["2027-01-01", THREE]]))
    moments = ["2020-01-01", "2026-05-31T23:59:59.999999999Z", "2026-06-01", "2026-12-31T23:59:59.999999999Z", "2027-01-01", "2030-01-01"]
    assert [usd(quote(engine, at)) for at in moments] == [1, 1, 2, 2, 3, 3]
    assert list(engine.differences()) == []


def test_where_they_differ_today_the_list_holds_at_all_moments_and_the_difference_is_listed() -> None:
    engine = engine_of(snapshot(THREE, [["", ONE], ["2026-06-01", TWO]]))
    assert [usd(quote(engine, at)) for at in ("2020-01-01", "2026-11-21", "2030-01-01")] == [3, 3, 3]
    [difference] = engine.differences()
    assert difference == ("acme/one", "input_cost_per_token", 3 / MILLION, 2 / MILLION)


def test_each_price_is_compared_by_itself() -> None:
    """Input agrees and follows the series; output differs and stays."""
    engine = engine_of(
        snapshot(
            {**TWO, "output_cost_per_token": 9 / MILLION},
            [["", {**ONE, "output_cost_per_token": 5 / MILLION}], ["2026-06-01", {**TWO, "output_cost_per_token": 8 / MILLION}]],
        )
    )
    assert usd(quote(engine, "2026-01-01", input_uncached=MILLION, output=MILLION)) == 1 + 9
    assert [(one.field, one.list_usd, one.second_usd) for one in engine.differences()] == [
        ("output_cost_per_token", 9 / MILLION, 8 / MILLION)
    ]


def test_a_price_that_the_series_drops_falls_back_then_and_one_that_only_the_list_has_stays() -> None:
    """Before June the series has no price for cached input, so that the input rate stood in for it; audio is the list's alone."""
    cached = {"cache_read_input_token_cost": 0.5 / MILLION}
    audio = {"input_cost_per_audio_token": 7 / MILLION}
    engine = engine_of(snapshot({**TWO, **cached, **audio}, [["", ONE], ["2026-06-01", {**TWO, **cached}]]))
    before = quote(engine, "2026-01-01", cache_read=MILLION)
    assert (usd(before), before.partial) == (1, True)
    assert usd(quote(engine, "2026-07-01", cache_read=MILLION)) == 0.5
    assert usd(quote(engine, "2026-01-01", input_uncached=MILLION, audio_in=MILLION)) == 7


def test_a_tier_of_which_the_series_took_note_late_keeps_the_lists_price_before() -> None:
    batch = {"input_cost_per_token_batches": 1 / MILLION}
    engine = engine_of(snapshot({**TWO, **batch}, [["", ONE], ["2026-06-01", TWO]], [["2026-10-14", batch]]))
    assert usd(quote(engine, "2026-11-21", "batch")) == 1
    assert usd(quote(engine, "2026-07-01", "batch")) == 1


def test_the_same_model_under_another_whole_name_follows_the_series_too() -> None:
    row = {"litellm_provider": "acme", "mode": "chat", **TWO}
    listed = snapshot(TWO, [["", ONE], ["2026-06-01", TWO]])._replace(rows={"acme/one-of-may": row, "acme/one-of-june": row})
    engine = engine_of(listed)
    assert [usd(quote(engine, "2026-01-01", model=name)) for name in ("one-of-may", "one-of-june")] == [1, 2]


# --- hours of the day -------------------------------------------------------------------------------------------------

PEAK = [["", ONE], ["01:00-04:00", TWO], ["22:00-00:30", THREE]]


def test_a_model_that_only_the_second_source_has_follows_its_hours() -> None:
    """The end of a window is not in it; a window may run past midnight."""
    engine = engine_of(snapshot(None, PEAK))
    moments = ["00:29:59", "00:30", "00:59", "01:00", "03:59:59", "04:00", "21:59", "22:00", "23:59"]
    assert [usd(quote(engine, f"2026-11-21T{at}Z")) for at in moments] == [3, 1, 1, 2, 2, 1, 1, 3, 3]


def test_hours_that_the_list_does_not_have_are_a_difference() -> None:
    engine = engine_of(snapshot(ONE, PEAK))
    assert usd(quote(engine, "2026-11-21T02:00Z")) == 1
    assert [(one.list_usd, one.second_usd) for one in engine.differences()] == [(1 / MILLION, 3 / MILLION)]


OFF_PEAK = {**TWO, "off_peak_pricing": {"input_cost_per_token": 1 / MILLION, "hours_utc": ["04:00-01:00"]}}


def test_where_both_know_the_same_hours_the_series_says_how_they_were_before() -> None:
    series = [["", THREE], ["2026-06-01", ONE], ["01:00-04:00", TWO]]
    engine = engine_of(snapshot(OFF_PEAK, series))
    assert [usd(quote(engine, at)) for at in ("2026-11-21T02:00Z", "2026-11-21T12:00Z", "2026-01-01T12:00Z")] == [2, 1, 3]
    assert list(engine.differences()) == []


def test_weekdays_that_only_the_list_knows_are_a_difference_and_the_list_holds() -> None:
    """On the list's day, a Saturday, the list is cheap all day; the second source would ask the peak price in the morning."""
    weekends = {"windows": [{"hours_utc": ["00:00-00:00"], "weekdays": [6, 7]}], "input_cost_per_token": 1 / MILLION}
    engine = engine_of(snapshot({**TWO, "off_peak_pricing": weekends}, [["", ONE], ["01:00-04:00", TWO]]))
    moments = {"2026-11-21T02:00Z": 1, "2026-11-20T02:00Z": 2, "2026-11-20T12:00Z": 2}
    assert {at: usd(quote(engine, at)) for at in moments} == moments


# --- models that no list has, and retired ones -----------------------------------------------------------------------


def test_a_model_that_only_the_second_source_knows_is_priced_by_it_under_its_version() -> None:
    engine = engine_of(snapshot(None, [["", ONE], ["2026-06-01", TWO]]))
    found = quote(engine, "2026-07-01")
    assert (usd(found), found.price_key, found.price_match, found.price_version) == (2, "acme/one", "exact", "v1")
    assert quote(engine, "2026-07-01", model="one-of-may").unpriced_reason == "unknown_model"


def test_the_second_source_comes_before_a_retired_row_and_keeps_its_key() -> None:
    retired = {"Acme/One": {"litellm_provider": "acme", **THREE}, "acme/two": {"litellm_provider": "acme", **THREE}}
    engine = engine_of(snapshot(None, [["", ONE]], retired=retired))
    assert [(usd(found := quote(engine, "2026-01-01", model=model)), found.price_key) for model in ("one", "two")] == [
        (1, "Acme/One"),
        (3, "acme/two"),
    ]


def test_a_tier_of_such_a_model_leaves_what_it_does_not_name_at_the_standard_price() -> None:
    cached = {"cache_read_input_token_cost": 0.5 / MILLION}
    engine = engine_of(snapshot(None, [["", {**TWO, **cached}]], [["", {"input_cost_per_token_batches": 1 / MILLION}]]))
    assert usd(quote(engine, "2026-01-01", "batch", input_uncached=MILLION, cache_read=MILLION)) == 1.5


@pytest.mark.parametrize(
    ("provider", "model", "at", "in_usd", "out_usd"),
    [
        ("openai", "gpt-5.6-sol", "2026-08-20T23:59:59Z", 5, 30),
        ("openai", "gpt-5.6-sol", "2026-08-21T00:00:00Z", 4, 20),
        ("xai", "grok-4.20", "2026-04-29T23:59:59Z", 2, 6),
        ("xai", "grok-4.20", "2026-04-30T00:00:00Z", 1.25, 2.5),
        ("gemini", "gemini-3.8-flash", "2026-12-31T23:59:59Z", 0.75, 3.75),
        ("gemini", "gemini-3.8-flash", "2027-01-01T00:00:00Z", 1.5, 7.5),
    ],
)
def test_dates_of_the_packaged_book(engine: PriceEngine, provider: str, model: str, at: str, in_usd: float, out_usd: float) -> None:
    """As the vendors announced them; USD for a million tokens, in calls too short for the long-context prices."""
    usage = {"input_uncached": 100_000, "output": 100_000}
    quoted = engine.quote(PriceableCall(provider, (model,), usage, parse_ns(at)))
    assert quoted.cost_pico == (in_usd + out_usd) * USD / 10


def test_the_packaged_differences_are_listed_and_are_differences(engine: PriceEngine) -> None:
    """For instance the first list's price of mistral-large-4, which the second source has at about the half."""
    differences = list(engine.differences())
    assert all(one.list_usd != one.second_usd for one in differences)
    assert {one.field for one in differences if one.key == "mistral/mistral-large-4"} >= {"input_cost_per_token", "output_cost_per_token"}
