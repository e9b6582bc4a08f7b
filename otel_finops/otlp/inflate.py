"""Inflating request bodies with a bound, so that a small body cannot become a large one unseen."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from otel_finops.base import limits
from otel_finops.base.errors import TooLarge, Undecodable

_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
CODINGS: Final = frozenset({"identity", *_WINDOW_BITS})
"""Content codings that are understood (RFC 9110; `deflate` is the zlib format)."""
_STEP_BYTES: Final = 1024 * 1024


def inflate(body: bytes, coding: str, grow: Callable[[int], None], size_max: int = limits.BODY_BYTES_MAX) -> bytes:
    """The inflated `body`; `grow` is told of every step's size before the next is made, and may refuse by raising.

    Raises:
        TooLarge: the inflated body is over `size_max` bytes; no more than one step beyond it was ever made.
        Undecodable: no such stream, cut short, or followed by something else.
    """
    if coding == "identity":
        return body
    pieces: list[bytes] = []
    size = 0
    try:
        while body:
            stream = zlib.decompressobj(_WINDOW_BITS[coding])
            while not stream.eof:
                piece = stream.decompress(body, _STEP_BYTES)
                body = stream.unconsumed_tail
                if not piece and not body and not stream.eof:
                    raise Undecodable(f"the body's {coding} stream ends too early")
                size += len(piece)
                if size > size_max:
                    raise TooLarge(f"the inflated body is over {size_max} bytes; send smaller batches")
                grow(len(piece))
                pieces.append(piece)
            body = stream.unused_data if coding == "gzip" else b""
    except zlib.error:
        raise Undecodable(f"the body is no {coding} stream, though Content-Encoding says so") from None
    return b"".join(pieces)
