"""Identifiers that we draw ourselves, and checks of those that senders give."""

from __future__ import annotations

import secrets
from typing import Protocol


class IdSource(Protocol):
    """A source of identifiers nobody can guess; tests use one that counts."""

    def token(self, size_bytes: int) -> str:
        """`size_bytes` of randomness as lower-case hex."""
        ...


class RandomIds:
    """Identifiers from the operating system's randomness."""

    def token(self, size_bytes: int) -> str:
        """See `IdSource`."""
        return secrets.token_hex(size_bytes)


def is_trace_id(value: bytes) -> bool:
    """True for 16 bytes that are not all zero (W3C Trace Context)."""
    return len(value) == 16 and any(value)


def is_span_id(value: bytes) -> bool:
    """True for 8 bytes that are not all zero (W3C Trace Context)."""
    return len(value) == 8 and any(value)
