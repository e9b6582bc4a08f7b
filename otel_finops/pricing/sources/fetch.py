"""Fetching a price list from a URL: only when somebody asked for it, bounded in size and time, and never by a weaker way than named."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urljoin, urlsplit

import urllib3

from otel_finops.base import limits
from otel_finops.base.errors import BadInput, TooLarge, Unavailable

_REDIRECTS_MAX: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PIECE: Final = 256 * 1024
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "otel-finops"}


def checked_url(url: str, *, pinned: bool) -> str:
    """The URL, when a list may be fetched from it: https, or http for a list whose digest is known.

    Raises:
        BadInput: it may not; the text says why.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise BadInput("from: not a URL") from None
    if parts.scheme not in ("https", "http") or not host:
        raise BadInput("from: write an https:// URL")
    if parts.username is not None or parts.password is not None:
        raise BadInput("from: a URL with credentials would end up in records; serve the list without, or fetch it yourself")
    if parts.scheme == "http" and not pinned:
        raise BadInput("from: http lets anybody on the way change prices; write https://, or give the list's sha256 as well")
    return url


def shown_url(url: str) -> str:
    """The URL as it may be shown and recorded: without query, which may hold a token."""
    parts = urlsplit(url)
    return parts._replace(query="", fragment="").geturl()


def fetch(url: str, *, pinned: bool, timeout_s: float) -> bytes:
    """The bytes behind a URL.

    Args:
        url: where.
        pinned: the caller knows the digest, so that plain http will do.
        timeout_s: for all of it, redirects included.

    Raises:
        BadInput: a URL that may not be fetched, a redirect to another scheme, or the server says that there is no such thing.
        TooLarge: more than `limits.PRICE_FILE_BYTES_MAX`.
        Unavailable: the server is away, too slow, or answers with an error of its own.
    """
    deadline = time.monotonic() + timeout_s
    with urllib3.PoolManager(num_pools=_REDIRECTS_MAX + 1, retries=False) as pool:
        for _ in range(_REDIRECTS_MAX + 1):
            checked_url(url, pinned=pinned)
            try:
                answer = _ask(pool, url, deadline)
            except (urllib3.exceptions.HTTPError, OSError) as fault:
                raise Unavailable(f"{shown_url(url)} cannot be fetched: {type(fault).__name__}", retry_after_s=60.0) from fault
            if isinstance(answer, bytes):
                return answer
            url = _next(url, answer)
    raise BadInput(f"{shown_url(url)}: more than {_REDIRECTS_MAX} redirects")


def _ask(pool: urllib3.PoolManager, url: str, deadline: float) -> bytes | str:
    """The body, or where a redirect leads."""
    timeout = urllib3.Timeout(total=max(0.001, deadline - time.monotonic()))
    response = pool.request("GET", url, headers=_HEADERS, timeout=timeout, preload_content=False, redirect=False)
    try:
        if response.status in _REDIRECTS:
            return response.headers.get("location", "")
        if response.status != 200:
            text = f"{shown_url(url)} answered {response.status}"
            raise BadInput(text) if 400 <= response.status < 500 else Unavailable(text, retry_after_s=60.0)
        return _body(response, url, deadline)
    finally:
        response.close()


def _body(response: urllib3.BaseHTTPResponse, url: str, deadline: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := response.read(_PIECE, decode_content=False):
        size += len(piece)
        if size > limits.PRICE_FILE_BYTES_MAX:
            raise TooLarge(f"{shown_url(url)}: larger than {limits.PRICE_FILE_BYTES_MAX} bytes")
        if time.monotonic() > deadline:
            raise Unavailable(f"{shown_url(url)} cannot be fetched: it takes too long", retry_after_s=60.0)
        pieces.append(piece)
    return b"".join(pieces)


def _next(url: str, location: str) -> str:
    following = urljoin(url, location)
    if not location or urlsplit(following).scheme != urlsplit(url).scheme:
        raise BadInput(f"{shown_url(url)} redirects to another scheme; nothing is fetched from there")
    return following
