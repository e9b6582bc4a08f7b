"""Money, counts, shares, lengths of time and instants as pages write them."""

from __future__ import annotations

import doctest
from decimal import Decimal

import pytest
from babel import localedata
from babel.numbers import format_currency, format_decimal, parse_decimal
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.surfaces.ui import formats
from otel_finops.surfaces.ui.formats import (
    Change,
    ago,
    change,
    count,
    day,
    duration,
    duration_ns,
    exact,
    locale_of,
    money,
    money_of_pico,
    part,
    percent,
    short_money,
    tokens,
    when,
)

UNKNOWN = "\u2013"
"""An en dash."""
NBSP = "\u00a0"
amounts = st.decimals(min_value=Decimal("-1e18"), max_value=Decimal("1e18"), places=12, allow_nan=False)
locales = st.sampled_from(["en", "de", "de_CH", "fr", "ja", "hi", "ar", "pt_BR", "sv", "zh_Hant_TW"])
currencies = st.sampled_from(["USD", "EUR", "JPY", "CHF", "BHD", "XAU"])


def test_the_examples_in_the_docstrings_hold():
    found = doctest.testmod(formats)

    assert found.attempted >= 14
    assert found.failed == 0


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("-0.00", "$0.00"),
        ("1", "$1.00"),
        ("12.3", "$12.30"),
        ("1234567.89", "$1,234,567.89"),
        ("-3.1", "-$3.10"),
        ("0.42", "$0.42"),
        ("0.4256", "$0.426"),
        ("0.0000375", "$0.0000375"),
        ("0.00003754", "$0.0000375"),
        ("-0.000000000001", "-$0.000000000001"),
        ("0.99951", "$1.00"),  # three digits of it are 1.00
        ("0.9994", "$0.999"),
        ("1.005", "$1.00"),  # a tie goes to the even digit
        ("1.015", "$1.02"),
        (Decimal("2.5"), "$2.50"),
        (7, "$7.00"),
        (None, UNKNOWN),
    ],
)
def test_an_amount_has_two_decimals_from_one_on_and_three_digits_below(amount, text):
    assert money(amount) == text


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "text"),
    [
        ("1234567.89", "EUR", "de", f"1.234.567,89{NBSP}€"),
        ("-1234567.89", "USD", "de", f"-1.234.567,89{NBSP}$"),
        ("1234.5", "JPY", "en", "¥1,234"),  # yen have no decimals, and the tie goes to the even digit
        ("0.0375", "JPY", "en", "¥0.0375"),
        ("1.5", "BHD", "en", f"BHD{NBSP}1.500"),  # dinars have three
        ("12", "CHF", "en", f"CHF{NBSP}12.00"),
        ("1234567.89", "INR", "hi", "₹12,34,567.89"),
        ("0.0000375", "EUR", "fr", f"0,0000375{NBSP}€"),
        ("2", "XYZ", "en", f"XYZ{NBSP}2.00"),  # nobody's currency is shown by its letters
    ],
)
def test_other_currencies_and_locales_are_written_by_their_rules(amount, currency, locale, text):
    assert money(amount, currency, locale) == text


def test_exact_amounts_keep_every_digit():
    assert exact("1234.500000000001") == "$1,234.500000000001"
    assert exact("0.0000375") == "$0.0000375"
    assert exact("3") == "$3.00"
    assert exact("-0.1", "EUR", "de") == f"-0,10{NBSP}€"
    assert exact("123456789012345678.123456789012345678901234567891") == "$123,456,789,012,345,678.123456789012345678901234567891"
    assert exact(None) == UNKNOWN


def test_amounts_in_pico_are_the_same_amounts():
    assert money_of_pico(37_500_000) == "$0.0000375"
    assert money_of_pico(1) == "$0.000000000001"
    assert money_of_pico(-12_300_000_000_000, "EUR", "de") == f"-12,30{NBSP}€"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1234567", "$1.23M"),
        ("-1234567", "-$1.23M"),
        ("12345", "$12.3K"),
        ("999499", "$999K"),
        ("999950", "$1M"),
        ("2500000000", "$2.5B"),
        ("999.4", "$999.40"),
        ("999.6", "$1K"),
        ("0.0035", "$0.0035"),
        ("0", "$0.00"),
        (None, UNKNOWN),
    ],
)
def test_axes_and_cards_have_short_amounts(amount, text):
    assert short_money(amount) == text


def test_short_amounts_use_the_words_of_the_locale():
    assert short_money("1234567", "EUR", "de") == f"1,23{NBSP}Mio.{NBSP}€"
    assert short_money("1234", "EUR", "de") == f"1.234,00{NBSP}€"  # German has no short word for thousands


def test_money_is_never_a_float():
    for write in (money, exact, short_money, count):
        with pytest.raises(TypeError, match="not floats"):
            write(0.1)
    with pytest.raises(ValueError, match="not a number"):
        money("NaN")


@pytest.mark.parametrize(
    ("number", "whole", "short"),
    [
        (0, "0", "0"),
        (950, "950", "950"),
        (999, "999", "999"),
        (1_000, "1,000", "1K"),
        (1_234, "1,234", "1.23K"),
        (12_345, "12,345", "12.3K"),
        (999_949, "999,949", "1M"),
        (3_400_000, "3,400,000", "3.4M"),
        (-1_500, "-1,500", "-1.5K"),
        (None, UNKNOWN, UNKNOWN),
    ],
)
def test_counts_are_grouped_and_tokens_are_short(number, whole, short):
    assert count(number) == whole
    assert tokens(number) == short


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0%"),
        ("0.4231", "42.3%"),
        (0.5, "50.0%"),
        (1, "100.0%"),
        ("0.0005", "<0.1%"),  # a tie: it would be 0.0
        ("0.0006", "0.1%"),
        (1e-9, "<0.1%"),
        (-1e-9, ">-0.1%"),
        (0.9999, ">99.9%"),
        ("1.5", "150.0%"),
        ("12.5", "1,250.0%"),
        (None, UNKNOWN),
    ],
)
def test_only_nothing_is_no_per_cent_and_only_the_whole_is_a_hundred(share, text):
    assert percent(share) == text


def test_a_part_of_nothing_is_not_known():
    assert part("1", "3") == "33.3%"
    assert part("1", "3", "de") == f"33,3{NBSP}%"
    assert part("0", "0") == UNKNOWN


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ("11", "10", Change("+10.0%", "up")),
        ("9", "10", Change("-10.0%", "down")),
        ("10", "10.0", Change("0.0%", "same")),
        ("20", "10", Change("+100%", "up")),
        ("133.45", "10", Change("+1,234%", "up")),
        ("100001", "100000", Change("<0.1%", "up")),
        ("99999", "100000", Change(">-0.1%", "down")),
        ("1", "10000", Change("<-99.9%", "down")),
        ("0", "10", Change("-100%", "down")),
        ("5", "0", Change("new", "up")),
        ("0", "0", Change("0.0%", "same")),
        ("-5", "-10", Change("+50.0%", "up")),
        (0.75, 0.5, Change("+50.0%", "up")),
        (None, "1", Change(UNKNOWN, "same")),
        ("1", None, Change(UNKNOWN, "same")),
    ],
)
def test_a_change_says_how_much_and_which_way(now, before, expected):
    assert change(now, before) == expected


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (0.000_85, "850 ns"),
        (0.0421, "42.1 µs"),
        (0.4, "400 µs"),
        (12, "12 ms"),
        (999.4, "999 ms"),
        (999.6, "1 s"),
        (1_234, "1.23 s"),
        (59_940, "59.9 s"),
        (59_960, "1 m 00 s"),
        (65_000, "1 m 05 s"),
        (3_599_600, "1 h 00 m"),
        (7_500_000, "2 h 05 m"),
        (90_000_000, "1 d 01 h"),
        (-5, "-5 ms"),
        (None, UNKNOWN),
    ],
)
def test_lengths_of_time_are_in_the_unit_that_fits(milliseconds, text):
    assert duration(milliseconds) == text


def test_lengths_in_nanoseconds_are_the_same_lengths():
    assert duration_ns(1_234_000_000) == "1.23 s"
    assert duration_ns(1_234_000_000, "de") == "1,23 s"


def test_an_instant_is_shown_by_the_clocks_of_the_zone():
    assert when("2026-11-22T17:30:05.123456789Z", locale="en_GB") == "22 Nov 2026, 17:30"
    assert when("2026-11-22T17:30:05.123456789Z", "Europe/Rome", "en_GB", seconds=True) == "22 Nov 2026, 18:30:05"
    assert when("2026-11-22T17:30:05Z", "Asia/Kolkata", "de") == "22.11.2026, 23:00"
    assert when("2026-11-22T17:30:05Z").split() == ["Nov", "22,", "2026,", "5:30", "PM"]
    assert when(1_795_368_605 * 10**9, locale="de") == "22.11.2026, 17:30"  # 20779 days of 86,400 s and 63,005 s after 1970
    assert when(None) == UNKNOWN


def test_a_day_is_that_of_the_zone():
    assert day("2026-11-22T23:30:00Z", "UTC", "en_GB") == "22 Nov 2026"
    assert day("2026-11-22T23:30:00Z", "Europe/Rome", "en_GB") == "23 Nov 2026"
    assert day(None) == UNKNOWN


def test_how_long_ago_an_instant_was():
    now = "2026-11-22T17:00:00Z"

    assert ago("2026-11-22T16:55:00Z", now) == "5 min. ago"
    assert ago("2026-11-19T17:00:00Z", now) == "3 days ago"
    assert ago("2026-11-22T19:00:00Z", now) == "in 2 hr."
    assert ago("2026-11-22T16:55:00Z", now, "de") == "vor 5 Min."
    assert ago(None, now) == UNKNOWN


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de_DE"),
        ("fr;q=0.5, de-CH, en;q=0.8", "de_CH"),
        ("en;q=0.3, it;q=0.7", "it"),
        ("zh-TW", "zh_Hant_TW"),
        ("en-XX", "en"),
        ("xx, pt-br;q=0.2", "pt_BR"),
        ("de;q=0", "en"),
        ("de;q=nonsense, it", "it"),
        ("*", "en"),
        ("", "en"),
        (None, "en"),
        ("../../etc/passwd", "en"),
        ("x" * 100_000, "en"),
    ],
)
def test_the_locale_is_the_one_that_the_reader_wants_most(header, locale):
    assert locale_of(header) == locale


@given(st.text(max_size=60))
def test_whatever_a_header_says_there_is_a_locale(header):
    assert money("1", locale=locale_of(header))


@given(amounts.filter(bool), currencies, locales)
def test_an_amount_that_is_not_nothing_never_shows_as_nothing(amount, currency, locale):
    for write in (money, exact, short_money):
        assert set("123456789") & set(write(amount, currency, locale))


@given(amounts, locales)
def test_the_exact_form_can_be_read_back(amount, locale):
    text = exact(amount, "EUR", locale)
    number = "".join(character for character in text if character not in "EUR€-\u2212\u200e\u200f").strip(f"{NBSP} ")

    assert parse_decimal(number, locale=locale) == amount.copy_abs()
    assert (amount < 0) == ("-" in text or "\u2212" in text)


@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_a_change_goes_the_way_the_numbers_go(now, before):
    text, direction = change(now, before)

    assert direction == ("up" if now > before else "down" if now < before else "same")
    assert text.lstrip("<>").startswith("-") <= (now < before)


def test_amounts_look_as_the_locale_data_has_them_in_many_locales():
    """Our own writing of a pattern against the library's, apart from the space after a currency's letters."""
    for locale in localedata.locale_identifiers()[::10]:
        for amount in (Decimal("1234567.89"), Decimal("-12.3")):
            library = format_currency(amount, "EUR", locale=locale)
            assert money(amount, "EUR", locale).replace(NBSP, "") == library.replace(NBSP, ""), locale
        assert count(-1234567, locale) == format_decimal(-1234567, locale=locale)
