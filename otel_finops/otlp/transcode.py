"""OTLP/JSON to OTLP/protobuf, for requests that travel on: the next hop gets protobuf whatever the sender spoke.

Field numbers and types are those of opentelemetry-proto's trace, resource and common messages. What protobuf cannot hold is left out, as
little of it as can be: a field, or an attribute with all that is in it, never the span or the request around it.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Mapping
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from otel_finops.otlp.decode_json import hex_or_none, integer
from otel_finops.otlp.enrich import field, written_varint

_DEPTH_MAX: Final = 90
"""Messages within each other in an attribute's value: protobuf reads a hundred levels, and some are above."""
_DOUBLE: Final = Struct("<d")
_EMPTY_SPAN: Final = b"\x12\x00"


class Transcoded(NamedTuple):
    """A request in protobuf, its spans in their old order.

    Attributes:
        body: the request; spans that the decoder refused are empty.
        dropped: attributes and other values that protobuf cannot hold and that were left out.
    """

    body: bytes
    dropped: int = 0


def to_protobuf(request: Mapping[str, Any], rejected: Collection[int] = ()) -> Transcoded:
    """Carry a parsed OTLP/JSON request over.

    Args:
        request: as the JSON decoder took it.
        rejected: places among all spans of those that the decoder refused; they become empty.
    """
    writer = _Writer(rejected)
    return Transcoded(writer.message(_REQUEST, request), writer.dropped)


class _NotHeld(Exception):
    """A value that protobuf cannot hold."""


class _Writer:
    """Writes one request.

    Attributes:
        dropped: how many values were left out.
    """

    def __init__(self, rejected: Collection[int]) -> None:
        self.dropped = 0
        self._rejected = rejected
        self._place = 0

    def message(self, fields: _Fields, said: object) -> bytes:
        """The content of a message; fields that the schema does not know are left out, `null` is an absent field."""
        if not isinstance(said, Mapping):
            raise _NotHeld
        pieces = []
        for name, value in said.items():
            write = fields.get(name)
            if write is not None and value is not None:
                try:
                    pieces.append(write(self, value))
                except _NotHeld:
                    self.dropped += 1
        return b"".join(pieces)

    def each(self, tag: int, write: Callable[[Any], bytes], items: object) -> bytes:
        """A repeated field; items that cannot be held are left out."""
        if not isinstance(items, list):
            raise _NotHeld
        pieces = []
        for item in items:
            try:
                pieces.append(field(tag, write(item)))
            except _NotHeld:
                self.dropped += 1
        return b"".join(pieces)

    def spans(self, items: object) -> bytes:
        """The spans of a scope; each keeps its place."""
        if not isinstance(items, list):
            raise _NotHeld
        pieces = []
        for item in items:
            pieces.append(_EMPTY_SPAN if self._place in self._rejected else field(0x12, self.message(_SPAN, item)))
            self._place += 1
        return b"".join(pieces)


_Write: TypeAlias = Callable[[_Writer, Any], bytes]
_Fields: TypeAlias = Mapping[str, _Write]

# --- values --------------------------------------------------------------------------------------------------------


def _utf8(text: object) -> bytes:
    """A text's bytes. Lone surrogates become U+FFFD: JavaScript cuts texts inside an emoji, and protobuf cannot hold the half."""
    if not isinstance(text, str):
        raise _NotHeld
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _whole(number: object, least: int, most: int) -> int:
    found = integer(number)
    if found is None or not least <= found <= most:
        raise _NotHeld
    return found


def _double(number: object) -> bytes:
    """Also `NaN` and `Infinity`, as texts or as Python writes them."""
    if isinstance(number, bool) or not isinstance(number, (int, float, str)):
        raise _NotHeld
    try:
        return _DOUBLE.pack(float(number))
    except (ValueError, OverflowError):
        raise _NotHeld from None


def _base64(text: object) -> bytes:
    try:
        plain = _utf8(text).translate(_URL_SAFE)
        return urlsafe_b64decode(plain + b"=" * (-len(plain) % 4))
    except ValueError:
        raise _NotHeld from None


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def _attribute(said: object, depth: int = 0) -> bytes:
    """The content of a `KeyValue`. It travels on as a whole or not at all: half a list would say something else than its sender."""
    if not isinstance(said, Mapping):
        raise _NotHeld
    key, value = said.get("key"), said.get("value")
    written = field(0x0A, _utf8(key)) if key else b""
    if key is not None and not isinstance(key, str):
        raise _NotHeld
    return written if value is None else written + field(0x12, _any_value(value, depth + 1))


def _any_value(said: object, depth: int) -> bytes:
    """The content of an `AnyValue`, of which one kind of value may be given."""
    if not isinstance(said, Mapping) or depth > _DEPTH_MAX:
        raise _NotHeld
    given = [(name, value) for name, value in said.items() if value is not None and name in _VALUES]
    if len(given) > 1:
        raise _NotHeld
    return _VALUES[given[0][0]](given[0][1], depth) if given else b""


def _bool(value: object, depth: int) -> bytes:
    if not isinstance(value, bool):
        raise _NotHeld
    return b"\x10\x01" if value else b"\x10\x00"


def _list(write: Callable[[object, int], bytes], holder: object, depth: int) -> bytes:
    """The content of an `ArrayValue` or `KeyValueList`."""
    values = holder.get("values") if isinstance(holder, Mapping) else None
    if values is None and isinstance(holder, Mapping):
        return b""
    if not isinstance(values, list):
        raise _NotHeld
    return b"".join([field(0x0A, write(value, depth)) for value in values])


_VALUES: Final[Mapping[str, Callable[[Any, int], bytes]]] = {
    "stringValue": lambda value, depth: field(0x0A, _utf8(value)),
    "boolValue": _bool,
    "intValue": lambda value, depth: b"\x18" + written_varint(_whole(value, -(2**63), 2**63 - 1) % 2**64),
    "doubleValue": lambda value, depth: b"\x21" + _double(value),
    "arrayValue": lambda value, depth: field(0x2A, _list(_any_value, value, depth + 2)),
    "kvlistValue": lambda value, depth: field(0x32, _list(_attribute, value, depth + 2)),
    "bytesValue": lambda value, depth: field(0x3A, _base64(value)),
}

# --- messages: a field's default is not written --------------------------------------------------------------------


def _text(number: int) -> _Write:
    return lambda writer, value: field(number << 3 | 2, _utf8(value)) if value != "" else b""


def _id(number: int) -> _Write:
    def write(writer: _Writer, value: object) -> bytes:
        raw = hex_or_none(value)
        if raw is None:
            raise _NotHeld
        return field(number << 3 | 2, raw) if raw else b""

    return write


def _number(number: int, least: int, most: int) -> _Write:
    """A varint; a negative one, of an enum, in 64 bits."""
    tag = written_varint(number << 3)
    return lambda writer, value: tag + written_varint(found % 2**64) if (found := _whole(value, least, most)) else b""


def _fixed(number: int, size: int) -> _Write:
    tag = written_varint(number << 3 | (1 if size == 8 else 5))
    return lambda writer, value: tag + found.to_bytes(size, "little") if (found := _whole(value, 0, 256**size - 1)) else b""


def _one(number: int, fields: _Fields) -> _Write:
    return lambda writer, value: field(number << 3 | 2, writer.message(fields, value))


def _many(number: int, fields: _Fields) -> _Write:
    return lambda writer, value: writer.each(number << 3 | 2, lambda one: writer.message(fields, one), value)


def _all(number: int, write: Callable[[Any], bytes]) -> _Write:
    return lambda writer, value: writer.each(number << 3 | 2, write, value)


def _count(number: int) -> _Write:
    return _number(number, 0, 2**32 - 1)


def _enum(number: int) -> _Write:
    return _number(number, -(2**31), 2**31 - 1)


_EVENT: Final[_Fields] = {
    "timeUnixNano": _fixed(1, 8), "name": _text(2), "attributes": _all(3, _attribute), "droppedAttributesCount": _count(4),
}  # fmt: skip
_LINK: Final[_Fields] = {
    "traceId": _id(1), "spanId": _id(2), "traceState": _text(3), "attributes": _all(4, _attribute), "droppedAttributesCount": _count(5),
    "flags": _fixed(6, 4),
}  # fmt: skip
_SPAN: Final[_Fields] = {
    "traceId": _id(1), "spanId": _id(2), "traceState": _text(3), "parentSpanId": _id(4), "name": _text(5), "kind": _enum(6),
    "startTimeUnixNano": _fixed(7, 8), "endTimeUnixNano": _fixed(8, 8), "attributes": _all(9, _attribute),
    "droppedAttributesCount": _count(10), "events": _many(11, _EVENT), "droppedEventsCount": _count(12), "links": _many(13, _LINK),
    "droppedLinksCount": _count(14), "status": _one(15, {"message": _text(2), "code": _enum(3)}), "flags": _fixed(16, 4),
}  # fmt: skip
_SCOPE: Final[_Fields] = {
    "name": _text(1), "version": _text(2), "attributes": _all(3, _attribute), "droppedAttributesCount": _count(4),
}  # fmt: skip
_ENTITY: Final[_Fields] = {"schemaUrl": _text(1), "type": _text(2), "idKeys": _all(3, _utf8), "descriptionKeys": _all(4, _utf8)}
_RESOURCE: Final[_Fields] = {"attributes": _all(1, _attribute), "droppedAttributesCount": _count(2), "entityRefs": _many(3, _ENTITY)}
_SCOPE_SPANS: Final[_Fields] = {"scope": _one(1, _SCOPE), "spans": lambda writer, value: writer.spans(value), "schemaUrl": _text(3)}
_RESOURCE_SPANS: Final[_Fields] = {"resource": _one(1, _RESOURCE), "scopeSpans": _many(2, _SCOPE_SPANS), "schemaUrl": _text(3)}
_REQUEST: Final[_Fields] = {"resourceSpans": _many(1, _RESOURCE_SPANS)}
