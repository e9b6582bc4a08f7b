"""What a price file must be before anybody looks at its rows; each fault with its place."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from otel_finops.base import limits
from otel_finops.base.errors import BadInput, TooLarge
from otel_finops.pricing.sources.reading import read_document

LIST = b'{\n  "acme/one": {"litellm_provider": "acme", "input_cost_per_token": 1e-06},\n  "acme/two": {"litellm_provider": "acme"}\n}\n'


def fault(data: bytes, sha256: str | None = None) -> str:
    with pytest.raises(BadInput) as raised:
        read_document(data, "prices.json", sha256)
    return str(raised.value)


def test_plain_and_gzipped_files_are_one_list() -> None:
    plain, packed = read_document(LIST, "a"), read_document(gzip.compress(LIST), "a")
    assert plain.value == packed.value
    assert plain.sha256 == packed.sha256 == hashlib.sha256(LIST).hexdigest()
    assert plain.place("acme/two") == "a, line 3"


def test_the_digest_may_be_that_of_the_delivered_or_of_the_inflated_bytes() -> None:
    packed = gzip.compress(LIST)
    for wanted in (LIST, packed):
        assert read_document(packed, "a", hashlib.sha256(wanted).hexdigest().upper()).value


def test_one_changed_byte_is_another_file() -> None:
    tampered = LIST.replace(b"1e-06", b"9e-06")
    told = fault(tampered, hashlib.sha256(LIST).hexdigest())
    assert told.startswith(f"prices.json: its sha256 is {hashlib.sha256(tampered).hexdigest()}, not {hashlib.sha256(LIST).hexdigest()}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{\n "a": 1,\n "b": 2,\n "a": 3\n}', "prices.json, line 4: 'a' stands twice in one object"),
        ('{\n "a": {"x": 1,\n "x": 2}, "x": 1}', "prices.json, line 3: 'x' stands twice in one object"),
        ('[{"a": [{\n"b": 1, "b": 1}]}]', "prices.json, line 2: 'b' stands twice in one object"),
        ('{\n "a": NaN}', "prices.json, line 2: NaN is no number"),
        ('{"a": "NaN",\n "b": -Infinity}', "prices.json, line 2: -Infinity is no number"),
        ('{\n "a": 1,,}', "prices.json, line 2: no JSON"),
        ("", "prices.json, line 1: no JSON"),
        ("[" * 100_000, "prices.json: nested too deeply"),
        (f'{{"a": {"9" * 5000}}}', "prices.json: a number has too many digits"),
    ],
)
def test_what_is_no_clean_json_is_refused_with_its_line(text: str, told: str) -> None:
    assert fault(text.encode()).startswith(told)


def test_bytes_that_are_no_text_are_refused() -> None:
    assert fault(b'{"a": "\xff"}') == "prices.json: byte 7 is no UTF-8"


def test_a_broken_gzip_stream_is_refused() -> None:
    packed = gzip.compress(LIST)
    assert fault(packed[:-9]) == "prices.json: the gzip stream is cut off"
    assert fault(packed[:10] + b"\0" * 40) == "prices.json: begins like gzip and cannot be inflated"


def test_a_gzip_bomb_and_a_large_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PRICE_FILE_BYTES_MAX", 100_000)
    bomb = gzip.compress(b"0" * 50_000_000)
    assert len(bomb) < 100_000
    for data in (bomb, b"0" * 100_001):
        with pytest.raises(TooLarge, match="larger than 100000 bytes"):
            read_document(data, "prices.json")


def test_a_file_of_countless_values_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JSON_CONTAINERS_MAX", 1000)
    with pytest.raises(TooLarge, match=r"prices\.json: too many objects"):
        read_document(b"[" + b"[]," * 1000 + b"[]]", "prices.json")
