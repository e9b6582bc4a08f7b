"""Adds attributes to the spans of a request by splicing its bytes: what is not added stays as it was sent, byte for byte.

Parsing and writing a request again would cost more than everything else that happens to it, and would lose what our copy of the
schema does not know. Only the lengths of the messages around a changed span are written anew (protobuf's encoding reference;
field numbers from opentelemetry-proto's trace and common messages).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.base.errors import Undecodable
from otel_finops.otlp.decode_protobuf import Malformed, varint

_PATH: Final = (0x0A, 0x12, 0x12)
"""Tags of `ResourceSpans`, in it `ScopeSpans`, in it `Span`."""
_ATTRIBUTE: Final = 0x4A
_KEY: Final = 0x0A
_FIXED_BYTES: Final = {1: 8, 5: 4}
_DOUBLE: Final = struct.Struct("<d")


class Edit(NamedTuple):
    """What changes in one span.

    Attributes:
        added: encoded attributes (`encode_attributes`), put behind the span's own.
        moved: keys of the span's attributes that give way, with the key under which the value stays; None lets it go.
    """

    added: bytes
    moved: Mapping[bytes, bytes | None] = {}


def encode_attributes(attributes: Mapping[str, str | float]) -> bytes:
    """Texts and doubles as the attribute fields of a `Span`."""
    return b"".join([_attribute(key.encode(), _any_value(value)) for key, value in attributes.items()])


def splice(body: bytes, edits: Sequence[Edit | None]) -> bytes:
    """The protobuf request with every span edited.

    Args:
        body: an inflated `ExportTraceServiceRequest` that was decoded before.
        edits: one for each span, in the order of the body; None takes the span out.

    Raises:
        Undecodable: the body is no such request, or holds another number of spans than there are edits.
    """
    splicer = _Splicer(body, edits)
    try:
        pieces, _ = splicer.message(0, len(body), 0)
    except (Malformed, IndexError, StopIteration):
        raise Undecodable("the body is no OTLP protobuf trace request: it is cut short or damaged") from None
    if splicer.left():
        raise Undecodable("the body holds fewer spans than were read from it")
    return b"".join(pieces)


class _Splicer:
    """One pass over one body, taking the edits one after another."""

    def __init__(self, body: bytes, edits: Sequence[Edit | None]) -> None:
        self._body = body
        self._view = memoryview(body)
        self._edits = iter(edits)

    def left(self) -> bool:
        """Edits remain."""
        return next(self._edits, self) is not self

    def message(self, at: int, end: int, level: int) -> tuple[list[bytes | memoryview], int]:
        """The pieces of a message with its spans edited, and their bytes together; what lies between two spans is one piece."""
        pieces: list[bytes | memoryview] = []
        size = 0
        kept_from = at
        wanted = _PATH[level]
        for tag, before, start, stop in _fields(self._body, at, end):
            if tag != wanted:
                continue
            inner = self._span(start, stop) if level == len(_PATH) - 1 else self.message(start, stop, level + 1)
            if before > kept_from:
                pieces.append(self._view[kept_from:before])
            size += before - kept_from
            kept_from = stop
            if inner is not None:
                head = bytes((tag,)) + written_varint(inner[1])
                pieces.append(head)
                pieces += inner[0]
                size += len(head) + inner[1]
        pieces.append(self._view[kept_from:end])
        return pieces, size + end - kept_from

    def _span(self, start: int, stop: int) -> tuple[list[bytes | memoryview], int] | None:
        edit = next(self._edits)
        if edit is None:
            return None
        if edit.moved and any(self._body.find(key, start, stop) >= 0 for key in edit.moved):
            moved = self._moved(start, stop, edit.moved)
            return [moved, edit.added], len(moved) + len(edit.added)
        return [self._view[start:stop], edit.added], stop - start + len(edit.added)

    def _moved(self, start: int, stop: int, moved: Mapping[bytes, bytes | None]) -> bytes:
        """The span with attributes under other keys, or without them."""
        kept: list[bytes | memoryview] = []
        for tag, before, first, last in _fields(self._body, start, stop):
            key, rest = self._key(first, last) if tag == _ATTRIBUTE else (None, b"")
            if key is None or key not in moved:
                kept.append(self._view[before:last])
            elif (renamed := moved[key]) is not None:
                kept.append(_attribute(renamed, rest))
        return b"".join(kept)

    def _key(self, start: int, stop: int) -> tuple[bytes | None, bytes]:
        """An attribute's key and its other fields; None without a key, and for what is damaged: it travels on as it came.

        The decoder does not look into attributes that nobody wants, so damage in them is no reason to refuse a span.
        """
        key: bytes | None = None
        rest: list[bytes] = []
        try:
            for tag, before, first, last in _fields(self._body, start, stop):
                if tag == _KEY:
                    key = self._body[first:last]
                else:
                    rest.append(self._body[before:last])
        except (Malformed, IndexError):
            return None, b""
        return key, b"".join(rest)


def _fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field as (tag, where it begins, where its content begins, where it ends)."""
    while at < end:
        before = at
        tag, at = varint(body, at)
        wire = tag & 7
        start = at
        if wire == 2:
            size, start = varint(body, at)
            at = start + size
        elif wire == 0:
            at = varint(body, at)[1]
        else:
            at += _FIXED_BYTES.get(wire, end + 1)
        if at > end:
            raise Malformed
        yield tag, before, start, at


def written_varint(value: int) -> bytes:
    """A number that is not negative, as protobuf's varint."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def field(tag: int, content: bytes) -> bytes:
    """A length-delimited field: its tag, its content's length, its content."""
    if tag < 128 and len(content) < 128:
        return bytes((tag, len(content))) + content
    return written_varint(tag) + written_varint(len(content)) + content


def _attribute(key: bytes, rest: bytes) -> bytes:
    return field(_ATTRIBUTE, field(_KEY, key) + rest)


def _any_value(value: str | float) -> bytes:
    """The field `value` of a `KeyValue`: an `AnyValue` with a text or a double."""
    return field(0x12, field(0x0A, value.encode()) if isinstance(value, str) else b"\x21" + _DOUBLE.pack(value))
