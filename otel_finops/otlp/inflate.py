"""Inflating request bodies with a bound, so that a small body cannot become a large one unseen."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Final

from otel_finops.base import limits
from otel_finops.base.errors import TooLarge, Undecodable

_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
CODINGS: Final = frozenset({"identity", *_WINDOW_BITS})
"""Content codings that are understood (RFC 9110; `deflate` is the zlib format)."""
_STEP_BYTES: Final = 1024 * 1024
_FED_BYTES: Final = 32 * 1024


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
        for piece in _inflated(memoryview(body), coding):
            size += len(piece)
            if size > size_max:
                raise TooLarge(f"the inflated body is over {size_max} bytes; send smaller batches")
            grow(len(piece))
            pieces.append(piece)
    except zlib.error:
        raise Undecodable(f"the body is no {coding} stream, though Content-Encoding says so") from None
    return b"".join(pieces)


def _inflated(body: memoryview, coding: str) -> Iterator[bytes]:
    """The pieces of all members of a gzip stream, or of the one deflate stream, that a body holds."""
    at, members = 0, 0
    while at < len(body):
        members += 1
        if members > (limits.GZIP_MEMBERS_MAX if coding == "gzip" else 1):
            raise Undecodable(f"the body holds more than one {coding} stream, or too many")
        at = yield from _one_stream(body, at, coding)


def _one_stream(body: memoryview, at: int, coding: str) -> Generator[bytes, None, int]:
    """The pieces of the stream that begins at `at`; returns where it ends.

    It is fed little by little: zlib copies what it was given and did not use, for every piece and at every stream's end.
    """
    stream = zlib.decompressobj(_WINDOW_BITS[coding])
    waiting: bytes | memoryview = b""
    while not stream.eof:
        if not waiting:
            waiting = body[at : at + _FED_BYTES]
            at += len(waiting)
        at_the_end = not waiting
        piece = stream.decompress(waiting, _STEP_BYTES)
        if at_the_end and not piece and not stream.eof:
            raise Undecodable(f"the body's {coding} stream ends too early")
        waiting = stream.unconsumed_tail
        yield piece
    return at - len(stream.unused_data)
