"""Finding what belongs to a token without storing tokens and without telling by timing how near a guess was."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final, Generic, Protocol, TypeVar

TOKEN_CHARS_MAX: Final = 4096
"""Longer ones are nobody's token and are not hashed."""


class HasDigest(Protocol):
    """Something that a token stands for."""

    @property
    def token_sha256(self) -> str:
        """SHA-256 of the token's UTF-8 bytes as lower-case hex."""
        ...


Held = TypeVar("Held", bound=HasDigest)


class TokenTable(Generic[Held]):
    """Things by the digest of their token."""

    def __init__(self, held: Iterable[Held]) -> None:
        self._by_digest = {one.token_sha256: one for one in held}

    def find(self, token: str) -> Held | None:
        """What the token stands for; None when nothing does.

        The look-up is by digest, so its time says nothing about the token; the whole digest is compared in constant time.
        """
        if len(token) > TOKEN_CHARS_MAX:
            return None
        digest = digest_of(token)
        held = self._by_digest.get(digest)
        return held if held is not None and hmac.compare_digest(held.token_sha256, digest) else None


def digest_of(token: str) -> str:
    """What settings keep instead of a token: SHA-256 of its UTF-8 bytes as hex; undecodable header bytes count as themselves."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
