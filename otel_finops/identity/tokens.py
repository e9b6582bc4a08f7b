"""Making tokens, and finding what belongs to one without storing it and without telling by timing how near a guess was.

A token is a mark that says whose it is and what it is for, and 256 random bits in lower-case base32. Scanners for secrets find them by
`TOKEN_PATTERN`; people tell them apart by their first characters, which are kept and shown.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Final, Generic, Literal, Protocol, TypeAlias, TypeVar

TokenKind: TypeAlias = Literal["api", "sender"]
"""For the API, or for sending spans: neither does for the other."""

MARKS: Final[dict[TokenKind, str]] = {"api": "ofk_", "sender": "ofs_"}
RANDOM_BYTES: Final = 32
TOKEN_PATTERN: Final = r"of[ks]_[a-z2-7]{52}"  # noqa: S105 - none itself
"""What our tokens look like, all of them: for secret scanners, and for those who must not write one down."""
PREFIX_CHARS: Final = 12
"""The mark and 8 characters: 40 of the 256 bits may be seen, enough to tell tokens apart."""
TOKEN_CHARS_MAX: Final = 4096
"""Longer ones are nobody's token and are not hashed."""
_TOKEN: Final = re.compile(TOKEN_PATTERN)


def new_token(kind: TokenKind, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A token nobody can guess; it is shown once and kept nowhere."""
    return MARKS[kind] + base64.b32encode(random_bytes(RANDOM_BYTES)).decode().rstrip("=").lower()


def shown_prefix(token: str) -> str:
    """The part of a token that may be shown."""
    return token[:PREFIX_CHARS]


def looks_like_ours(token: str) -> bool:
    """Whether a text has the form of the tokens that are made here."""
    return _TOKEN.fullmatch(token) is not None


def digest_of(token: str) -> str:
    """What is kept instead of a token: SHA-256 of its UTF-8 bytes as hex; undecodable header bytes count as themselves."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def digest_to_find(token: str | None) -> str | None:
    """The digest of what somebody shows; None for what is nobody's token."""
    return digest_of(token) if token and len(token) <= TOKEN_CHARS_MAX else None


class HasDigest(Protocol):
    """Something that a token stands for."""

    @property
    def token_sha256(self) -> str:
        """SHA-256 of the token's UTF-8 bytes as lower-case hex."""
        ...


Held = TypeVar("Held", bound=HasDigest)


class TokenTable(Generic[Held]):
    """Things by the digest of their token."""

    def __init__(self, held: Iterable[Held] = ()) -> None:
        self._by_digest = {one.token_sha256: one for one in held}

    def find(self, digest: str) -> Held | None:
        """What the token of this digest (`digest_to_find`) stands for; None when nothing does.

        The look-up is by digest, so its time says nothing about the token; the whole digest is compared in constant time.
        """
        held = self._by_digest.get(digest)
        return held if held is not None and hmac.compare_digest(held.token_sha256, digest) else None
