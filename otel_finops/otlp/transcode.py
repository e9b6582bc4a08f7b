"""OTLP/JSON to OTLP/protobuf, for requests that travel on: the next hop gets protobuf whatever the sender spoke."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterator
from math import isfinite
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_IDS: Final = ("traceId", "spanId", "parentSpanId")
_UNREADABLE: Final = (ParseError, ValueError, TypeError, RecursionError, SystemError)
"""What protobuf raises for values that it cannot hold; SystemError for a field name with a lone surrogate."""
_FRAME: Final = frozenset({"ExportTraceServiceRequest", "ResourceSpans", "ScopeSpans"})
"""Messages that are taken apart without a look at the whole: trying them would be trying every span once more."""
_DEPTH_MAX: Final = 80
"""Of the hundred levels that protobuf reads, some are above what is tried alone."""
_SINGLE: Final = frozenset({"resource", "scope", "status"})
"""Fields outside attributes that hold one message; all others hold lists."""
_WHOLE: Final = "KeyValue"
"""An attribute travels on or does not; the half of a list would say something else than the sender said."""


class Transcoded(NamedTuple):
    """A request in protobuf, its spans in their old order.

    Attributes:
        body: the request; spans that the decoder refused are empty.
        dropped: attributes and other values that protobuf cannot hold and that were left out.
    """

    body: bytes
    dropped: int = 0


def to_protobuf(request: dict[str, Any], rejected: Collection[int] = ()) -> Transcoded:
    """Carry a parsed OTLP/JSON request over; what protobuf cannot hold costs nothing around it.

    Args:
        request: as the JSON decoder took it; its spans are changed in place.
        rejected: places of spans that the decoder refused; they become empty.
    """
    for place, (spans, index) in enumerate(_places(request)):
        spans[index] = {} if place in rejected else _with_base64_ids(spans[index])
    try:
        return Transcoded(_written(request))
    except _UNREADABLE:
        sieve = _Sieve()
        return Transcoded(_written(sieve.fields(request, ExportTraceServiceRequest.DESCRIPTOR)), sieve.dropped)


class _Sieve:
    """Takes a message apart, down to its attributes, and leaves out what protobuf cannot hold.

    Attributes:
        dropped: how many values were left out.
    """

    def __init__(self) -> None:
        self.dropped = 0

    def fields(self, message: dict[str, Any], kind: Descriptor) -> dict[str, Any]:
        """The fields of a message that can be held; those that the schema does not know are left out."""
        kept: dict[str, Any] = {}
        for field in kind.fields:
            part = message.get(field.json_name)
            if part is None:
                continue
            found = self._parts(part, field, field.message_type) if field.message_type else self._scalar(part, field, kind)
            if found is not None:
                kept[field.json_name] = found
        return kept

    def _scalar(self, part: object, field: FieldDescriptor, kind: Descriptor) -> Any:
        return self._if_held({field.json_name: part}, kind).get(field.json_name)

    def _parts(self, part: object, field: FieldDescriptor, kind: Descriptor) -> Any:
        """The message or messages of a field; a span stays in its place, as an empty one if need be."""
        if field.name in _SINGLE:
            return self._part(part, kind)
        if not isinstance(part, list):
            self.dropped += 1
            return None
        return [found for one in part if (found := self._part(one, kind)) is not None]

    def _part(self, part: object, kind: Descriptor) -> dict[str, Any] | None:
        if not isinstance(part, dict):
            self.dropped += 1
            return None
        if kind.name in _FRAME:
            return self.fields(part, kind)
        if kind.name == _WHOLE:
            return self._if_held(part, kind) or None
        held = _held(part, kind)
        return self.fields(part, kind) if held is None else held

    def _if_held(self, message: dict[str, Any], kind: Descriptor) -> dict[str, Any]:
        """The message, mended if need be; empty and counted when it cannot be held."""
        held = _held(message, kind)
        if held is None:
            self.dropped += 1
        return held or {}


def _held(message: dict[str, Any], kind: Descriptor) -> dict[str, Any] | None:
    """The message as protobuf can hold it, as it is or mended; None when it cannot."""
    if _fits(message, kind):
        return message
    try:
        mended: dict[str, Any] = _mended(message)
    except _TooDeep:
        return None
    return mended if mended != message and _fits(mended, kind) else None


def _fits(message: dict[str, Any], kind: Descriptor) -> bool:
    try:
        ParseDict(message, GetMessageClass(kind)(), ignore_unknown_fields=True, max_recursion_depth=_DEPTH_MAX)
    except _UNREADABLE:
        return False
    return True


class _TooDeep(Exception):
    """Nested deeper than any message that protobuf reads."""


def _mended(part: Any, deeper: int = 2 * _DEPTH_MAX) -> Any:
    """The part with what protobuf writes in another way.

    Lone surrogates become U+FFFD: JavaScript cuts texts inside an emoji, and protobuf cannot hold the half. Numbers that are none become
    their names: Python writes a bare NaN.
    """
    if isinstance(part, str):
        return part.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(part, float) and not isfinite(part):
        return "NaN" if part != part else "Infinity" if part > 0 else "-Infinity"
    if isinstance(part, (list, dict)) and not deeper:
        raise _TooDeep
    if isinstance(part, list):
        return [_mended(one, deeper - 1) for one in part]
    if isinstance(part, dict):
        return {_mended(name): _mended(one, deeper - 1) for name, one in part.items()}
    return part


def _places(request: dict[str, Any]) -> Iterator[tuple[list[Any], int]]:
    """Every span as the list in which it stands and its index there, in the order in which the decoder counts them."""
    _forget_other_names(request)
    for resource_spans in request.get("resourceSpans") or ():
        _forget_other_names(resource_spans)
        for scope_spans in resource_spans.get("scopeSpans") or ():
            spans = scope_spans.get("spans") or []
            yield from ((spans, index) for index in range(len(spans)))


def _forget_other_names(message: dict[str, Any]) -> None:
    """Take out fields under protobuf's own names, unknown ones in OTLP/JSON: a `trace_id` of null would empty the `traceId` beside it."""
    for name in [name for name in message if "_" in name]:
        del message[name]


def _with_base64_ids(span: dict[str, Any]) -> dict[str, Any]:
    """Protobuf's JSON has bytes in base64, where OTLP has ids in hex."""
    carried = _rewritten(span)
    if isinstance(span.get("links"), list):
        carried["links"] = [_rewritten(link) for link in span["links"] if isinstance(link, dict)]
    return carried


def _rewritten(item: dict[str, Any]) -> dict[str, Any]:
    carried = dict(item)
    _forget_other_names(carried)
    for name in _IDS:
        if isinstance(item.get(name), str):
            try:
                carried[name] = b64encode(bytes.fromhex(item[name])).decode()
            except ValueError:
                del carried[name]
    return carried


def _written(request: dict[str, Any]) -> bytes:
    return ParseDict(request, ExportTraceServiceRequest(), ignore_unknown_fields=True).SerializeToString()
