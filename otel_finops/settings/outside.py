"""Places of the settings at which somebody outside is asked: a URL, or a function of an installed package."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from otel_finops.settings.addresses import Address

_CALLABLE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")


def checked_place(text: str, what: str, sent: str, headers: str) -> str:
    """The place itself: `https://HOST/PATH`, http on this machine alone, or PACKAGE.MODULE:FUNCTION.

    Args:
        what: stands there, e.g. `resolver`.
        sent: what it is sent, e.g. `credentials`.
        headers: the setting by which credentials for it are given.

    Raises:
        ValueError: no such place; the message says what one looks like and repeats nothing of it.
    """
    if "://" not in text:
        if text and not _CALLABLE.fullmatch(text):
            raise ValueError(f"not a {what}; write https://HOST/PATH, or PACKAGE.MODULE:FUNCTION")
        return text
    try:
        parts = urlsplit(text)
        local = Address(parts.hostname or "", parts.port or 0).is_loopback
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"a URL shows its credentials in logs; send them by {headers}")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ValueError(f"{sent} are sent there: write https://HOST/PATH; http will do on this machine alone")
    return text


def checked_headers(headers: dict[str, str]) -> dict[str, str]:
    """What both HTTP and gRPC can send; anything else would fail with every single request. Raises ValueError."""
    if any(not _HEADER_NAME.fullmatch(name) for name in headers):
        raise ValueError("a header's name has letters, digits, '-', '_' and '.' alone")
    if any(not value.isascii() or not value.isprintable() for value in headers.values()):
        raise ValueError("a header's value has printable ASCII characters alone, no line breaks")
    return headers
