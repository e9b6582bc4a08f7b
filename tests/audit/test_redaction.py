"""What of a change goes on record: no secrets, and of long values the beginning and a digest."""

from __future__ import annotations

import hashlib
import json

import pytest

from otel_finops.audit.redaction import REDACTED, canonical, recorded, redacted


@pytest.mark.parametrize("name", ["token", "password", "client_secret", "Authorization", "x-api-key", "private_key"])
def test_fields_with_names_of_secrets_are_cut_out_however_they_are_spelt(name: str) -> None:
    assert redacted({"channel": [{name: "hunter2", "url": "https://example.com"}]}) == {
        "channel": [{name: REDACTED, "url": "https://example.com"}]
    }


def test_a_secret_that_is_an_object_goes_as_a_whole() -> None:
    assert redacted({"credentials": {"user": "ann", "word": "hunter2"}}) == {"credentials": REDACTED}


def test_counts_of_tokens_and_keys_of_prices_are_no_secrets() -> None:
    said = {"tokens": 1200, "input_tokens": 7, "token": None, "key": "openai/gpt-4o", "keys": ["a"], "public_key": "c4d3"}
    assert redacted(said) == said


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("made ofs_0123456789abcdefghij for the shop", f"made {REDACTED} for the shop"),
        ("header: Bearer abcdefgh12345", f"header: Bearer {REDACTED}"),
        ("postgresql://ann:hunter2@db/ledger", f"postgresql://{REDACTED}@db/ledger"),
        ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\nrest", f"{REDACTED}\nrest"),
        ("mail ann@example.com at 10:30", "mail ann@example.com at 10:30"),
    ],
)
def test_texts_lose_what_looks_like_a_secret_wherever_it_stands(text: str, left: str) -> None:
    assert redacted(["before", {"why": text}]) == ["before", {"why": left}]


def test_a_long_text_keeps_its_beginning_and_a_digest() -> None:
    text = "x" * 5_000
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert recorded({"content": text}) == {"content": f"{'x' * 200}… (5000 characters, SHA-256 {digest})"}


def test_no_half_of_a_secret_is_left_where_a_long_text_is_cut() -> None:
    """200 characters are shown: the token would begin at the 195th."""
    shown = recorded("x" * 194 + " ofs_0123456789abcdefghij" + " y" * 2_000)
    assert shown.startswith("x" * 194 + " (secr… (4219 characters")


def test_what_is_recorded_twice_stays_as_it_is() -> None:
    for value in ({"content": "x" * 5_000}, ["y" * 1_000] * 40, {"token": "hunter2", "n": 1}):
        once = recorded(value)
        assert recorded(once) == once


def test_a_large_value_is_replaced_by_its_size_and_a_digest_over_what_is_left_without_secrets() -> None:
    """40 texts of 1,000 characters are more than the 16 KiB that are kept."""
    value = {"token": "hunter2", "rows": ["y" * 1_000] * 40}
    shown = json.dumps({"rows": ["y" * 1_000] * 40, "token": "(secret)"}, separators=(",", ":")).encode()
    assert recorded(value) == {
        "cut": True, "bytes": len(shown), "sha256": hashlib.sha256(shown).hexdigest(), "begins": shown[:200].decode(),
    }  # fmt: skip


def test_what_nests_too_deep_is_cut_off() -> None:
    value: object = "deep"
    for _ in range(100):
        value = {"in": value}
    assert "deep" not in json.dumps(recorded(value))


def test_the_one_spelling_of_a_value() -> None:
    assert canonical({"b": [1, None, True], "a": "€\ud800"}) == '{"a":"€\\ud800","b":[1,null,true]}'.encode()
