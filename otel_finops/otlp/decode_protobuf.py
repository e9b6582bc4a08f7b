"""OTLP protobuf bytes to spans, reading only what is wanted.

A general protobuf parser builds an object for every attribute of every span, message content included. This one walks
the wire format (protobuf's encoding reference; field numbers from opentelemetry-proto's trace, resource and common
messages) and skips what nobody asked for by its length: content is never copied, a body of millions of empty messages
takes no memory, and one unreadable span does not cost its neighbours.

Tags below are `field number << 3 | wire type`. A field of an unexpected wire type is an unknown field and skipped; where
a field is repeated that should not be, the last one counts. Groups are not part of OTLP and unreadable.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias

from otel_finops.base import limits
from otel_finops.base.errors import TooLarge, Undecodable
from otel_finops.base.span import Attributes, AttributeValue, Span, SpanLink, WantedKeys
from otel_finops.otlp.batch import KNOWN_VALUES, BatchBuilder, DecodedBatch, ItemBuilder, Room, SpanFault, short_name
from otel_finops.otlp.exception_names import exception_name

_LEN: Final = 2
_STATUS_ERROR: Final = 2
_SHORT_VALUE: Final = 96
"""Bytes of an attribute's value up to which it is looked up among those read before: operations, models, names, ids of sessions."""
_MASK_32: Final = 2**32 - 1
_DOUBLE: Final = struct.Struct("<d")

Parts: TypeAlias = tuple[dict[str, AttributeValue], dict[int, bytes], dict[int, int], list[tuple[int, int, int]]]
"""Attributes; fields by tag, first texts, messages and bytes, then numbers; and (tag, start, stop) of what was not copied."""
_EVENT: Final = 0x5A
_EVENTS_AND_LINKS: Final = frozenset({_EVENT, 0x6A})


class Malformed(Exception):
    """Bytes that are no protobuf message of the expected kind."""


def decode_protobuf(body: bytes, wanted: WantedKeys, now_ns: int) -> DecodedBatch:
    """Decode an `ExportTraceServiceRequest`; see `decode.decode`."""
    batch = BatchBuilder(wanted, now_ns)
    try:
        _SpanReader(body, batch).request()
    except (Malformed, IndexError):
        raise Undecodable("the body is no OTLP protobuf trace request: it is cut short or damaged") from None
    return batch.build()


class FrameReader:
    """One pass over one body: the frame that the requests of all signals share, and attributes.

    Both `ResourceSpans` and `ResourceLogs` have the resource in field 1 and scopes in field 2, and scopes their items in field 2.
    """

    def __init__(self, body: bytes, batch: ItemBuilder) -> None:
        self.body = body
        self.batch = batch
        self._keys = batch.keys
        self._values = KNOWN_VALUES
        self._utf8 = batch.utf8
        self._fields_left = limits.FIELDS_PER_REQUEST_MAX

    def request(self) -> None:
        """Read the whole body."""
        for tag, start, stop in self.fields(self.body, 0, len(self.body)):
            if tag == 0x0A:
                self._resource_items(start, stop)

    def item(self, at: int, end: int, resource: Attributes, scope: str, scope_version: str) -> None:
        """Read one span or log record into the batch; raises SpanFault, Malformed or IndexError when it is unreadable."""
        raise NotImplementedError

    def fields(self, buffer: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Each field as (tag, start, stop) of its content; for a varint (tag, value, -1)."""
        while at < end:
            self.spend(1)
            tag, at = varint(buffer, at)
            wire = tag & 7
            if tag == wire:  # field number 0 is nobody's
                raise Malformed
            if wire == _LEN:
                size, at = varint(buffer, at)
                stop = at + size
            elif wire == 0:
                value, at = varint(buffer, at)
                yield tag, value, -1
                continue
            elif wire in (1, 5):
                stop = at + (8 if wire == 1 else 4)
            else:
                raise Malformed
            if stop > end:
                raise Malformed
            yield tag, at, stop
            at = stop
        if at != end:
            raise Malformed

    def _resource_items(self, at: int, end: int) -> None:
        """Read a resource and its scopes; the resource may come after them, hence two passes."""
        resource: dict[str, AttributeValue] = {}
        scopes: list[tuple[int, int]] = []
        for tag, start, stop in self.fields(self.body, at, end):
            if tag == 0x0A:
                for inner, first, last in self.fields(self.body, start, stop):
                    if inner == 0x0A:
                        self._resource_attribute(first, last, resource)
            elif tag == 0x12:
                scopes.append((start, stop))
        for start, stop in scopes:
            self._scope_items(start, stop, resource)

    def _resource_attribute(self, at: int, end: int, resource: dict[str, AttributeValue]) -> None:
        try:
            self._attribute(self.body, at, end, resource)
        except SpanFault:
            self.batch.repair("value_dropped")

    def _scope_items(self, at: int, end: int, resource: Attributes) -> None:
        name = version = b""
        items: list[tuple[int, int]] = []
        for tag, start, stop in self.fields(self.body, at, end):
            if tag == 0x12:
                self.batch.announce(1)
                items.append((start, stop))
            elif tag == 0x0A:
                for inner, first, last in self.fields(self.body, start, stop):
                    if inner == 0x0A:
                        name = self.body[first:last]
                    elif inner == 0x12:
                        version = self.body[first:last]
        scope, scope_version = short_name(self.batch.utf8(name)), short_name(self.batch.utf8(version))
        for start, stop in items:
            try:
                self.item(start, stop, resource, scope, scope_version)
            except SpanFault as fault:
                self.batch.reject(fault.reason)
            except (Malformed, IndexError):
                self.batch.reject("bad_span")

    def attributes(self, at: int, end: int, field: int, attributes: dict[str, AttributeValue]) -> tuple[int, int]:
        """Read attributes, which stand under the tag `field`, from one to the last that follows without a break.

        Returns:
            Where that ends, and how many they were.
        """
        body, keys, values = self.body, self._keys, self._values
        for count in range(limits.ATTRIBUTES_PER_SPAN_MAX + 1):
            if at >= end or body[at] != field:
                self.spend(count)
                return at, count
            size, start = body[at + 1], at + 2
            if size >= 0x80:
                size, start = varint(body, at + 1)
            at = start + size
            # Nearly every emitter writes key, then value, and nothing else; both are short and were seen before.
            key_end = start + 2 + body[start + 1]
            if key_end < at and body[start] == 0x0A and body[start + 1] < 0x80 and body[key_end] == 0x12:
                key = keys[body[start + 2 : key_end]]
                if key is None:
                    continue
                raw = body[key_end + 2 : at]
                if len(raw) <= _SHORT_VALUE and len(raw) == body[key_end + 1]:
                    value = values.get(raw)
                    if value is None:
                        value = self.value(raw, 0, len(raw))
                        values.learn(raw, value)
                    if value is not None:
                        attributes[key] = value
                    continue
            self._attribute(body, start, at, attributes)
        raise SpanFault("too_many_attributes")

    def _attribute(self, buffer: bytes, at: int, end: int, attributes: dict[str, AttributeValue]) -> None:
        """Read one `KeyValue` into `attributes` if its key is wanted."""
        raw, value_at, value_end = self.key_value(buffer, at, end)
        name = self._keys[raw]
        if name is not None:
            self._store(name, self.value(buffer, value_at, value_end), attributes)

    def _store(self, key: str, value: AttributeValue, attributes: dict[str, AttributeValue]) -> None:
        if value is not None:
            attributes[key] = value

    def key_value(self, buffer: bytes, at: int, end: int) -> tuple[bytes, int, int]:
        """The key and the place of the value of a `KeyValue` in any order of fields."""
        key, value_at, value_end = b"", at, at
        for tag, start, stop in self.fields(buffer, at, end):
            if tag == 0x0A:
                key = buffer[start:stop]
            elif tag == 0x12:
                value_at, value_end = start, stop
        return key, value_at, value_end

    def value(self, buffer: bytes, at: int, end: int) -> AttributeValue:
        """Read one `AnyValue`; None when it is empty, bytes, or nothing that is known."""
        if at + 1 < end:
            tag, byte = buffer[at], buffer[at + 1]
            if tag == 0x0A:
                if byte < 0x80:
                    if at + 2 + byte == end:
                        return self._utf8(buffer[at + 2 : end])
                else:
                    size, start = varint(buffer, at + 1)
                    if start + size == end:
                        return self._utf8(buffer[start:end])
            elif tag == 0x18:
                number, start = varint(buffer, at + 1)
                if start == end:
                    return number if number < 2**63 else number - 2**64
        return self._any_value(buffer, at, end, 1, Room())

    def _any_value(self, buffer: bytes, at: int, end: int, depth: int, room: Room) -> AttributeValue:
        if depth > limits.VALUE_DEPTH_MAX:
            raise SpanFault("too_deep")
        value: AttributeValue = None
        for tag, start, stop in self.fields(buffer, at, end):
            if tag == 0x0A:
                value = self.batch.utf8(buffer[start:stop])
            elif tag == 0x10:
                value = bool(start)
            elif tag == 0x18:
                value = start if start < 2**63 else start - 2**64
            elif tag == 0x21:
                value = _DOUBLE.unpack(buffer[start:stop])[0]
            elif tag == 0x2A:
                value = self._array(buffer, start, stop, depth, room)
            elif tag == 0x32:
                value = self._map(buffer, start, stop, depth, room)
            elif tag == 0x3A:
                self.batch.repair("value_dropped")
                value = None
        return value

    def _array(self, buffer: bytes, at: int, end: int, depth: int, room: Room) -> tuple[AttributeValue, ...]:
        items: list[AttributeValue] = []
        for tag, start, stop in self.fields(buffer, at, end):
            if tag == 0x0A:
                if not room.take():
                    self.batch.repair("value_cut")
                    break
                items.append(self._any_value(buffer, start, stop, depth + 1, room))
        return tuple(items)

    def _map(self, buffer: bytes, at: int, end: int, depth: int, room: Room) -> dict[str, AttributeValue]:
        entries: dict[str, AttributeValue] = {}
        for tag, start, stop in self.fields(buffer, at, end):
            if tag == 0x0A:
                if not room.take():
                    self.batch.repair("value_cut")
                    break
                raw, value_at, value_end = self.key_value(buffer, start, stop)
                key = self.batch.utf8(raw, limits.KEY_CHARS_MAX)
                self._store(key, self._any_value(buffer, value_at, value_end, depth + 1, room), entries)
        return entries

    def parts(self, at: int, end: int, field: int, placed: frozenset[int]) -> Parts:
        """The attributes of a span or log record, which stand under the tag `field`, and what its other fields hold, by tag.

        The last value of a field counts. Of the tags `placed` nothing is copied; all their places in the body are told. `at` and `end`
        are known to lie within the body.

        Raises:
            SpanFault: more attributes or fields than a span may have.
            Malformed, IndexError: it is cut short or damaged.
        """
        body = self.body
        attributes: dict[str, AttributeValue] = {}
        attribute_count = 0
        texts: dict[int, bytes] = {}
        numbers: dict[int, int] = {}
        places: list[tuple[int, int, int]] = []
        for count in range(limits.FIELDS_PER_SPAN_MAX):
            if at >= end:
                self.spend(count)
                break
            tag = body[at]
            if tag == field:
                at, run = self.attributes(at, end, field, attributes)
                attribute_count += run
                continue
            at += 1
            if tag >= 0x80:
                tag, at = varint(body, at - 1)
                if tag == field:  # written longer than need be
                    at = self._attribute_there(at, end, attributes)
                    attribute_count += 1
                    continue
            wire = tag & 7
            if wire == _LEN:
                size, at = varint(body, at)
                stop = at + size
                if tag in placed:
                    places.append((tag, at, stop))
                else:
                    texts[tag] = body[at:stop]
                at = stop
            elif wire == 0:
                numbers[tag], at = varint(body, at)
            elif wire in (1, 5):
                stop = at + (8 if wire == 1 else 4)
                numbers[tag] = int.from_bytes(body[at:stop], "little")
                at = stop
            else:
                raise Malformed
        else:
            raise SpanFault("too_many_attributes")
        if at != end:
            raise Malformed
        if attribute_count > limits.ATTRIBUTES_PER_SPAN_MAX:
            raise SpanFault("too_many_attributes")
        return attributes, texts, numbers, places

    def _attribute_there(self, at: int, end: int, attributes: dict[str, AttributeValue]) -> int:
        """Read the attribute whose length stands at `at`; returns where it ends."""
        size, start = varint(self.body, at)
        if start + size > end:
            raise Malformed
        self._attribute(self.body, start, start + size, attributes)
        return start + size

    def spend(self, fields: int) -> None:
        """Count fields that were read; raises TooLarge beyond what one request may hold."""
        self._fields_left -= fields
        if self._fields_left < 0:
            raise TooLarge(f"more than {limits.FIELDS_PER_REQUEST_MAX} fields in one request; send smaller batches")


class _SpanReader(FrameReader):
    """Reads the spans of a trace request."""

    batch: BatchBuilder

    def item(self, at: int, end: int, resource: Attributes, scope: str, scope_version: str) -> None:
        """Read one span."""
        self.batch.add(self._span(at, end, resource, scope, scope_version))

    def _span(self, at: int, end: int, resource: Attributes, scope: str, scope_version: str) -> Span:
        """Read one span; `at` and `end` are known to lie within the body."""
        attributes, texts, numbers, places = self.parts(at, end, 0x4A, _EVENTS_AND_LINKS)
        events = [(start, stop) for tag, start, stop in places if tag == _EVENT] if places else None
        links = [self._link(start, stop) for tag, start, stop in places if tag != _EVENT] if places else None
        text, number, batch = texts.get, numbers.get, self.batch
        return Span._make((
            text(0x0A, b""),
            text(0x12, b""),
            text(0x22),
            short_name(batch.utf8(text(0x2A, b""))),
            number(0x30, 0),
            number(0x39, 0),
            number(0x41, 0),
            0x7A in texts and self._is_error(texts[0x7A]),
            self._exception_type(events) if events else None,
            attributes,
            resource,
            scope,
            scope_version,
            batch.utf8(texts[0x1A], limits.TRACE_STATE_CHARS_MAX) if 0x1A in texts else "",
            number(0x85, 0),
            batch.links(links) if links else (),
            number(0x50, 0) & _MASK_32,
        ))  # fmt: skip

    def _is_error(self, status: bytes) -> bool:
        code = 0
        for tag, value, _ in self.fields(status, 0, len(status)):
            if tag == 0x18:
                code = value
        return code == _STATUS_ERROR

    def _link(self, at: int, end: int) -> SpanLink:
        trace_id = span_id = b""
        for tag, start, stop in self.fields(self.body, at, end):
            if tag == 0x0A:
                trace_id = self.body[start:stop]
            elif tag == 0x12:
                span_id = self.body[start:stop]
        return SpanLink(trace_id, span_id)

    def _exception_type(self, events: list[tuple[int, int]]) -> str | None:
        """The type of the first event named `exception`; the other events, which may hold content, are skipped."""
        for at, end in events[: limits.EVENTS_PER_SPAN_MAX]:
            name = b""
            attributes: list[tuple[int, int]] = []
            for tag, start, stop in self.fields(self.body, at, end):
                if tag == 0x12:
                    name = self.body[start:stop]
                elif tag == 0x1A:
                    attributes.append((start, stop))
            if name == b"exception":
                message = self._named_text(attributes, b"exception.message")
                return exception_name(self._named_text(attributes, b"exception.type"), message)
        return None

    def _named_text(self, attributes: list[tuple[int, int]], wanted: bytes) -> str | None:
        found = None
        for at, end in attributes:
            key, value_at, value_end = self.key_value(self.body, at, end)
            if key == wanted:
                value = self.value(self.body, value_at, value_end)
                found = short_name(value) if isinstance(value, str) else None
        return found


def varint(buffer: bytes, at: int) -> tuple[int, int]:
    """The varint at `at`, cut to 64 bits, and where it ends; IndexError at the end of the buffer."""
    byte = buffer[at]
    if byte < 0x80:
        return byte, at + 1
    value = byte & 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = buffer[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1
    raise Malformed
