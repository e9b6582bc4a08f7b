"""Exchange rates: the European Central Bank's files, crossing, days without a rate, rounding."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.errors import BadInput
from otel_finops.pricing.ecb import EuroRate, read_rates
from otel_finops.pricing.fx import DatedRates, MissingRate

TODAY = date(2026, 11, 22)
CSV = b"Date,USD,JPY,GBP,\n2026-11-20,1.10,165.5,0.88,\n2026-11-19,1.12,N/A,0.87,\n"
XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
<gesmes:subject>Reference rates</gesmes:subject><Cube>
<Cube time="2026-11-20"><Cube currency="USD" rate="1.10"/><Cube currency="JPY" rate="165.5"/><Cube currency="GBP" rate="0.88"/></Cube>
<Cube time="2026-11-19"><Cube currency="USD" rate="1.12"/><Cube currency="GBP" rate="0.87"/></Cube></Cube></gesmes:Envelope>"""
RATES = [
    EuroRate("2026-11-20", "USD", "1.10"), EuroRate("2026-11-20", "JPY", "165.5"), EuroRate("2026-11-20", "GBP", "0.88"),
    EuroRate("2026-11-19", "USD", "1.12"), EuroRate("2026-11-19", "GBP", "0.87"),
]  # fmt: skip


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("_", "."), data)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [CSV, XML, zipped(hist_csv=CSV), zipped(hist_xml=XML), b"\xef\xbb\xbf" + CSV])
def test_every_form_of_the_file_says_the_same(content: bytes) -> None:
    assert read_rates(content, TODAY) == RATES


def test_the_file_of_the_latest_day_writes_its_day_in_words() -> None:
    assert read_rates(b"Date, USD,\n20 November 2026, 1.10,\n", TODAY) == RATES[:1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: must begin with the column `Date`"),
        (b"Date,USD\n", "no rates in it"),
        (b"Date,USD\n2026-11-20,-1.1\n", "line 2: USD at '-1.1' is no rate above 0"),
        (b"Date,USD\n2026-11-20,0.0\n", "line 2: USD at '0.0' is no rate above 0"),
        (b"Date,USD\n2026-11-20,nan\n", "line 2: USD at 'nan' is no rate above 0"),
        (b"Date,USD\n2026-11-20,1e3\n", "line 2: USD at '1e3' is no rate above 0"),
        (b"Date,USD\n2026-11-20,1.1\n2026-11-20,1.2\n", "line 3: USD has two rates for 2026-11-20"),
        (b"Date,usd\n2026-11-20,1.1\n", "line 2: 'usd' is no ISO 4217 code"),
        (b"Date,USD\n2026-11-31,1.1\n", "line 2: '2026-11-31' is no day"),
        (b"Date,USD\n2026-11-23,1.1\n", "line 2: 2026-11-23 lies before the euro or in the future"),
        (b"Date,USD,GBP\n2026-11-20,1.1\n", "line 2: 2 columns where the first line has 3"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "XML with a document type"),
        (b"<Cube><Cube", "no XML"),
        (b"PK\x03\x04 cut", "the archive cannot be read: BadZipFile"),
        (zipped(a_csv=CSV, b_csv=CSV), "the archive holds 2 CSV or XML files"),
        (b"\xff\xfe\x00", "neither CSV, XML nor a zip archive"),
    ],
)
def test_a_file_with_a_fault_is_refused_whole(content: bytes, reason: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_rates(content, TODAY)
    assert reason in str(refused.value)


def rates(currency: str = "GBP") -> DatedRates:
    found: dict[str, dict[str, Fraction]] = {}
    for one in RATES:
        found.setdefault(one.currency, {})[one.day] = Fraction(one.rate)
    return DatedRates(currency, found.get(currency, {}), found["USD"])


def test_a_cross_rate_is_the_exact_quotient_of_one_day() -> None:
    """0.88 GBP and 1.10 USD for a euro: 0.8 GBP for a dollar; the day before 0.87 / 1.12."""
    assert rates().per_usd("2026-11-20") == Fraction(4, 5)
    assert rates().per_usd("2026-11-19") == Fraction(87, 112)
    assert rates("EUR").per_usd("2026-11-20") == Fraction(10, 11)
    assert DatedRates("USD", {}, {}).per_usd("1970-01-01") == 1


def test_a_weekend_takes_fridays_rate_and_after_a_week_there_is_none() -> None:
    assert rates().per_usd("2026-11-22") == rates().per_usd("2026-11-27") == Fraction(4, 5)
    for day in ("2026-11-28", "2026-11-18"):
        with pytest.raises(MissingRate, match=f"GBP for {day}.*fx import --from"):
            rates().per_usd(day)


def test_a_day_on_which_one_of_the_two_has_no_rate_is_a_day_without() -> None:
    """The yen has none on the 19th: the dollar's of that day alone is not crossed with the yen's of another one."""
    with pytest.raises(MissingRate):
        rates("JPY").per_usd("2026-11-19")


def test_amounts_are_rounded_half_even_once() -> None:
    """0.8 of 3 picodollars is 2.4, of 4 it is 3.2; half of one is 0.5, which is 0, of three 1.5, which is 2."""
    assert [rates().from_usd(pico, "2026-11-20") for pico in (3, 4, -3)] == [2, 3, -2]
    halves = DatedRates("XXX", {"2026-11-20": Fraction(1)}, {"2026-11-20": Fraction(2)})
    assert [halves.from_usd(pico, "2026-11-20") for pico in (1, 3, 5)] == [0, 2, 2]


@given(st.integers(-(10**24), 10**24), st.fractions(min_value="1/1000", max_value=1000), st.fractions(min_value="1/1000", max_value=1000))
def test_there_and_back_again_within_what_was_rounded(pico: int, there: Fraction, dollars: Fraction) -> None:
    """Half a unit there and half a dollar's unit back: at most half of the rate back, and a half."""
    found = DatedRates("XXX", {"2026-11-20": there}, {"2026-11-20": dollars})
    back = found.to_usd(found.from_usd(pico, "2026-11-20"), "2026-11-20")
    assert abs(back - pico) <= (dollars / there + 1) / 2
