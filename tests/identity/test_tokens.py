"""What tokens look like, and what is kept of them."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from otel_finops.audit.redaction import redacted
from otel_finops.base.errors import Unauthenticated
from otel_finops.identity.principals import unknown
from otel_finops.identity.tokens import (
    MARKS,
    TOKEN_CHARS_MAX,
    TOKEN_PATTERN,
    TokenKind,
    TokenTable,
    digest_of,
    digest_to_find,
    looks_like_ours,
    new_token,
    shown_prefix,
)
from otel_finops.settings.tree import SenderToken


@pytest.mark.parametrize(("kind", "mark"), [("api", "ofk_"), ("sender", "ofs_")])
def test_a_token_is_its_mark_and_256_random_bits(kind: TokenKind, mark: str) -> None:
    asked: list[int] = []

    def zeros(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    # 256 bits in base32, 5 a character: 51.2, so 52 characters, and "a" stands for 00000
    assert new_token(kind, zeros) == mark + "a" * 52
    assert asked == [32]
    made = {new_token(kind) for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(re.fullmatch(TOKEN_PATTERN, token) and looks_like_ours(token) for token in made)
    assert set(MARKS.values()) == {"ofk_", "ofs_"}


def test_the_first_twelve_characters_may_be_shown() -> None:
    assert shown_prefix("ofk_abcdefgh23456") == "ofk_abcdefgh"


def test_what_may_be_shown_is_not_what_records_cut_out_and_the_token_is() -> None:
    token = new_token("sender")
    assert redacted(f"seen: {token}, begins with {shown_prefix(token)}") == f"seen: (secret), begins with {shown_prefix(token)}"


def test_the_digest_is_sha256_and_what_is_too_long_has_none() -> None:
    assert digest_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert digest_to_find("x" * TOKEN_CHARS_MAX) == sha256(b"x" * TOKEN_CHARS_MAX).hexdigest()
    assert [digest_to_find(text) for text in (None, "", "x" * (TOKEN_CHARS_MAX + 1))] == [None, None, None]
    assert digest_to_find("\udcff") == sha256(b"\xff").hexdigest()


def test_things_are_found_by_the_digest_of_their_token() -> None:
    one = SenderToken(token_sha256=digest_of("one"), tenants=("acme",))
    table = TokenTable([one])
    assert table.find(digest_of("one")) is one
    assert table.find(digest_of("two")) is None


@pytest.mark.parametrize("kind", ["api", "sender"])
@pytest.mark.parametrize("token", ["ofk_" + "a" * 52, "ofs_" + "a" * 52, "something else", "", None])
def test_a_refusal_repeats_nothing_of_the_token(kind: TokenKind, token: str | None) -> None:
    refusal = unknown(token, kind)
    assert isinstance(refusal, Unauthenticated)
    assert "aaaa" not in str(refusal)
    assert "something" not in str(refusal)
    wrong_door = bool(token) and str(token).startswith({"api": "ofs_", "sender": "ofk_"}[kind])
    assert ("is not for" in str(refusal)) == wrong_door
