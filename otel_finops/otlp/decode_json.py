"""OTLP/JSON to spans, by the rules of the OTLP specification's JSON section.

Ids are hex in either case (not proto3's base64), enums are integers only, 64-bit integers are strings or numbers,
unknown fields are ignored, names are lowerCamelCase. `null` is an absent field.
"""

from __future__ import annotations

import json
import re
from math import nan
from typing import Any, ClassVar, Final, NamedTuple

import orjson

from otel_finops.base import limits
from otel_finops.base.errors import TooLarge, Undecodable
from otel_finops.base.span import Attributes, AttributeValue, Span, SpanLink, WantedKeys
from otel_finops.otlp.batch import BatchBuilder, DecodedBatch, ItemBuilder, KeyMemo, Room, SpanFault, short_name
from otel_finops.otlp.exception_names import exception_name

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_STATUS_ERROR: Final = 2
_MASK_32: Final = 2**32 - 1
_UPPER: Final = re.compile("([A-Z])")


def decode_json(body: bytes, wanted: WantedKeys, now_ns: int) -> DecodedBatch:
    """Decode an `ExportTraceServiceRequest` in JSON; see `decode.decode`."""
    batch = BatchBuilder(wanted, now_ns)
    _SpanReader(batch).request(body)
    return batch.build()


class JsonFrame(NamedTuple):
    """What the frame of one signal's requests is called in OTLP/JSON."""

    request: str
    resources: str
    scopes: str
    items: str

    def no_request(self, why: str) -> Undecodable:
        """The body as a whole is no request of this signal."""
        return Undecodable(f"the body is no OTLP/JSON {self.request} request: {why}")


TRACES: Final = JsonFrame("trace", "resourceSpans", "scopeSpans", "spans")


def parse_json(body: bytes, frame: JsonFrame) -> Any:
    """The parsed body. What the fast parser refuses gets a second look by the lenient one.

    That one takes what emitters really send: JavaScript's lone surrogates where a text was cut inside an emoji, and
    Python's bare NaN and Infinity. They are kept: a count that is no number makes its call's usage bad, not absent.
    """
    if body.count(b"{") + body.count(b"[") > limits.JSON_CONTAINERS_MAX or body.count(b'"') > limits.JSON_QUOTES_MAX:
        raise TooLarge("too many objects or texts in one JSON request; send smaller batches")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body.decode("utf-8", "replace"), parse_constant=float)
    except RecursionError:
        raise frame.no_request("it is nested too deeply") from None
    except ValueError:
        raise frame.no_request("it is no JSON") from None


class FrameReader:
    """One pass over one parsed request: the frame that the requests of all signals share, and attributes."""

    frame: ClassVar[JsonFrame]

    def __init__(self, batch: ItemBuilder) -> None:
        self.batch = batch
        self._keys: KeyMemo = batch.keys

    def request(self, body: bytes) -> None:
        """Read the whole body."""
        request, resources = parse_json(body, self.frame), self.frame.resources
        if not isinstance(request, dict):
            raise self.frame.no_request("it is no JSON object")
        if _UPPER.sub(r"_\1", resources).lower() in request and resources not in request:
            raise self.frame.no_request(f"field names must be lowerCamelCase ({resources}), as the OTLP specification says")
        for resource_items in self._objects(request, resources):
            self._resource_items(resource_items)

    def item(self, item: object, resource: Attributes, scope: str, scope_version: str) -> None:
        """Read one span or log record into the batch; raises SpanFault when it is unreadable."""
        raise NotImplementedError

    def _objects(self, parent: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """The objects of an array field of the request's frame; empty when absent."""
        items = parent.get(name)
        if items is None:
            return []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.frame.no_request(f"{name} is no array of objects")
        return items

    def _object(self, parent: dict[str, Any], name: str) -> dict[str, Any]:
        """An object field of the request's frame; empty when absent."""
        item = parent.get(name)
        if item is None:
            return {}
        if not isinstance(item, dict):
            raise self.frame.no_request(f"{name} is no object")
        return item

    def _resource_items(self, resource_items: dict[str, Any]) -> None:
        resource: dict[str, AttributeValue] = {}
        for item in self._objects(self._object(resource_items, "resource"), "attributes"):
            try:
                self._attribute(item, resource)
            except SpanFault:
                self.batch.repair("value_dropped")
        for scope_items in self._objects(resource_items, self.frame.scopes):
            self._scope_items(scope_items, resource)

    def _scope_items(self, scope_items: dict[str, Any], resource: Attributes) -> None:
        scope = self._object(scope_items, "scope")
        name, version = self._frame_text(scope, "name"), self._frame_text(scope, "version")
        items = scope_items.get(self.frame.items)
        if items is None:
            return
        if not isinstance(items, list):
            raise self.frame.no_request(f"{self.frame.items} is no array")
        self.batch.announce(len(items))
        for item in items:
            try:
                self.item(item, resource, name, version)
            except SpanFault as fault:
                self.batch.reject(fault.reason)

    def _frame_text(self, scope: dict[str, Any], name: str) -> str:
        text = scope.get(name)
        if text is None:
            return ""
        if not isinstance(text, str):
            raise self.frame.no_request(f"scope.{name} is no text")
        return short_name(self.batch.text(text))

    def attributes(self, items: list[Any]) -> dict[str, AttributeValue]:
        """The wanted attributes of a list of `KeyValue` objects."""
        if len(items) > limits.ATTRIBUTES_PER_SPAN_MAX:
            raise SpanFault("too_many_attributes")
        attributes: dict[str, AttributeValue] = {}
        for item in items:
            self._attribute(item, attributes)
        return attributes

    def _attribute(self, item: object, attributes: dict[str, AttributeValue]) -> None:
        if not isinstance(item, dict):
            raise SpanFault("bad_span")
        raw = item.get("key", "")
        if not isinstance(raw, str):
            raise SpanFault("bad_span")
        key = self._keys[raw.encode("utf-8", "replace")]
        if key is not None:
            value = self._value(item.get("value"), 1, Room())
            if value is not None:
                attributes[key] = value

    def _value(self, value: object, depth: int, room: Room) -> AttributeValue:
        """Read one `AnyValue` object; None when it is empty, bytes, or of a wrong type."""
        if depth > limits.VALUE_DEPTH_MAX:
            raise SpanFault("too_deep")
        if not isinstance(value, dict):
            return self._dropped(value is not None)
        found: object
        if (found := value.get("stringValue")) is not None:
            return self.batch.text(found) if isinstance(found, str) else self._dropped()
        if (found := value.get("intValue")) is not None:
            return self._int64(found)
        if (found := value.get("doubleValue")) is not None:
            return self._double(found)
        if (found := value.get("boolValue")) is not None:
            return found if isinstance(found, bool) else self._dropped()
        if (found := value.get("arrayValue")) is not None:
            return self._array(found, depth, room)
        if (found := value.get("kvlistValue")) is not None:
            return self._map(found, depth, room)
        return self._dropped("bytesValue" in value)

    def _dropped(self, counted: bool = True) -> AttributeValue:
        if counted:
            self.batch.repair("value_dropped")
        return None

    def _int64(self, value: object) -> AttributeValue:
        number = integer(value)
        return number if number is not None and -(2**63) <= number < 2**63 else self._no_number()

    def _double(self, value: object) -> AttributeValue:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            return self._no_number()
        try:
            return float(value)
        except (ValueError, OverflowError):
            return self._no_number()

    def _no_number(self) -> float:
        """NaN for what should be a number and is none: a count that cannot be read must not look like one that is absent."""
        self.batch.repair("value_dropped")
        return nan

    def _values(self, holder: object) -> list[Any]:
        values = holder.get("values") if isinstance(holder, dict) else None
        if values is None:
            return []
        if not isinstance(values, list):
            raise SpanFault("bad_span")
        return values

    def _array(self, holder: object, depth: int, room: Room) -> tuple[AttributeValue, ...]:
        items: list[AttributeValue] = []
        for value in self._values(holder):
            if not room.take():
                self.batch.repair("value_cut")
                break
            items.append(self._value(value, depth + 1, room))
        return tuple(items)

    def _map(self, holder: object, depth: int, room: Room) -> dict[str, AttributeValue]:
        entries: dict[str, AttributeValue] = {}
        for item in self._values(holder):
            if not room.take():
                self.batch.repair("value_cut")
                break
            if not isinstance(item, dict) or not isinstance(item.get("key", ""), str):
                raise SpanFault("bad_span")
            key = self.batch.text(item.get("key", ""), limits.KEY_CHARS_MAX)
            value = self._value(item.get("value"), depth + 1, room)
            if value is not None:
                entries[key] = value
        return entries


class _SpanReader(FrameReader):
    """Reads the spans of a trace request."""

    frame = TRACES
    batch: BatchBuilder

    def item(self, item: object, resource: Attributes, scope: str, scope_version: str) -> None:
        """Read one span."""
        self.batch.add(self._span(item, resource, scope, scope_version))

    def _span(self, span: object, resource: Attributes, scope: str, scope_version: str) -> Span:
        if not isinstance(span, dict):
            raise SpanFault("bad_span")
        events = list_field(span, "events")
        parent = span.get("parentSpanId")
        return Span(
            _hex(span.get("traceId"), "bad_trace_id"),
            _hex(span.get("spanId"), "bad_span_id"),
            _parent(parent),
            short_name(self.batch.text(text_field(span, "name"))),
            _enum(span.get("kind")),
            unsigned(span.get("startTimeUnixNano"), "bad_time"),
            unsigned(span.get("endTimeUnixNano"), "bad_time"),
            _is_error(span.get("status")),
            self._exception_type(events) if events else None,
            self.attributes(list_field(span, "attributes")),
            resource,
            scope,
            scope_version,
            self.batch.text(text_field(span, "traceState"), limits.TRACE_STATE_CHARS_MAX),
            unsigned(span.get("flags"), "bad_span") & _MASK_32,
            self._links(list_field(span, "links")),
            unsigned(span.get("droppedAttributesCount"), "bad_span") & _MASK_32,
        )

    def _links(self, items: list[Any]) -> tuple[SpanLink, ...]:
        if not items:
            return ()
        links = []
        for item in items:
            if not isinstance(item, dict):
                raise SpanFault("bad_span")
            links.append(SpanLink(hex_or_none(item.get("traceId")) or b"", hex_or_none(item.get("spanId")) or b""))
        return self.batch.links(links)

    def _exception_type(self, events: list[Any]) -> str | None:
        """The type of the first event named `exception`."""
        for event in events[: limits.EVENTS_PER_SPAN_MAX]:
            if not isinstance(event, dict):
                raise SpanFault("bad_span")
            if event.get("name") == "exception":
                attributes = list_field(event, "attributes")
                return exception_name(self._named_text(attributes, "exception.type"), self._named_text(attributes, "exception.message"))
        return None

    def _named_text(self, items: list[Any], wanted: str) -> str | None:
        found = None
        for item in items:
            if not isinstance(item, dict):
                raise SpanFault("bad_span")
            if item.get("key") == wanted:
                value = self._value(item.get("value"), 1, Room())
                found = short_name(value) if isinstance(value, str) else None
        return found


def list_field(span: dict[str, Any], name: str) -> list[Any]:
    """An array field of an item; empty when absent."""
    items = span.get(name)
    if items is None:
        return []
    if not isinstance(items, list):
        raise SpanFault("bad_span")
    return items


def text_field(span: dict[str, Any], name: str) -> str:
    """A text field of an item; "" when absent."""
    text = span.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise SpanFault("bad_span")
    return text


def hex_or_none(value: object) -> bytes | None:
    """The bytes of a hexadecimal text; None for everything else."""
    # bytes.fromhex skips blanks, so the length is compared as well.
    if not isinstance(value, str):
        return None
    try:
        raw = bytes.fromhex(value)
    except ValueError:
        return None
    return raw if 2 * len(raw) == len(value) else None


def _hex(value: object, reason: str) -> bytes:
    raw = hex_or_none(value)
    if raw is None:
        raise SpanFault(reason)
    return raw


def _parent(value: object) -> bytes | None:
    """The parent's id as bytes; what is no hex becomes one byte, which no parent's id is, so that it counts as mended."""
    if value is None:
        return None
    raw = hex_or_none(value)
    return raw if raw is not None else b"?"


def integer(value: object) -> int | None:
    """An integer given as a number (12, 12.0) or as a string of digits; None for everything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return int(value) if _INTEGER.fullmatch(value) else None
    return int(value) if isinstance(value, float) and value.is_integer() else None


def unsigned(value: object, reason: str) -> int:
    """An unsigned 64-bit integer, 0 when absent; raises SpanFault with `reason` for everything else."""
    if value is None:
        return 0
    number = integer(value)
    if number is None or not 0 <= number < 2**64:
        raise SpanFault(reason)
    return number


def _enum(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpanFault("bad_enum")
    return value


def _is_error(status: object) -> bool:
    if status is None:
        return False
    if not isinstance(status, dict):
        raise SpanFault("bad_span")
    return _enum(status.get("code")) == _STATUS_ERROR
