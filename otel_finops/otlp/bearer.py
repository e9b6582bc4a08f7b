"""The sender's token out of an `Authorization` value; one rule for both listeners."""

from __future__ import annotations


def bearer_token(authorization: str | bytes | None) -> str | None:
    """The token of `Bearer <token>` (RFC 6750, scheme in any case); None for nothing, another scheme or undecodable bytes."""
    if authorization is None:
        return None
    text = authorization.decode("latin-1") if isinstance(authorization, bytes) else authorization
    scheme, _, token = text.strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
