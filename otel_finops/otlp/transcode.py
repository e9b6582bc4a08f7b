"""OTLP/JSON to OTLP/protobuf, for requests that travel on: the next hop gets protobuf whatever the sender spoke."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from google.protobuf.json_format import ParseDict, ParseError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_IDS: Final = ("traceId", "spanId", "parentSpanId")
_UNREADABLE: Final = (ParseError, ValueError, TypeError, RecursionError, SystemError)
"""What protobuf raises for values that it cannot hold; SystemError for a field name with a lone surrogate."""


class Transcoded(NamedTuple):
    """A request in protobuf, its spans in their old order.

    Attributes:
        body: the request; spans that could not be carried over are empty.
        lost: their places among all spans.
    """

    body: bytes
    lost: frozenset[int]


def to_protobuf(request: dict[str, Any], rejected: Collection[int] = ()) -> Transcoded:
    """Carry a parsed OTLP/JSON request over.

    Args:
        request: as the JSON decoder took it; its spans are changed in place.
        rejected: places of spans that the decoder refused; they become empty.
    """
    places = list(_places(request))
    lost = set(rejected)
    for place, (spans, index) in enumerate(places):
        spans[index] = {} if place in lost else _with_base64_ids(spans[index])
    try:
        return Transcoded(_written(request), frozenset(lost))
    except _UNREADABLE:
        return _second_try(request, lost)


def _second_try(request: dict[str, Any], lost: set[int]) -> Transcoded:
    """Carry over what can be: texts with what is no Unicode replaced, without the spans that protobuf cannot hold all the same."""
    try:
        request = _unicode(request)
    except RecursionError:
        return Transcoded(b"", frozenset(range(len(list(_places(request))))))
    places = list(_places(request))
    lost = lost | {place for place, (spans, index) in enumerate(places) if not _readable(spans[index])}
    for place in lost:
        spans, index = places[place]
        spans[index] = {}
    try:
        return Transcoded(_written(request), frozenset(lost))
    except _UNREADABLE:  # the fault lies in a resource or scope, which the decoder reads more leniently
        return Transcoded(b"", frozenset(range(len(places))))


def _unicode(part: Any) -> Any:
    """The part with lone surrogates replaced by U+FFFD: JavaScript cuts texts inside an emoji, and protobuf cannot hold the half."""
    if isinstance(part, str):
        return part.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(part, list):
        return [_unicode(one) for one in part]
    if isinstance(part, dict):
        return {_unicode(name): _unicode(one) for name, one in part.items()}
    return part


def _places(request: dict[str, Any]) -> Iterator[tuple[list[Any], int]]:
    """Every span as the list in which it stands and its index there, in the order in which the decoder counts them."""
    for resource_spans in request.get("resourceSpans") or ():
        for scope_spans in resource_spans.get("scopeSpans") or ():
            spans = scope_spans.get("spans") or []
            yield from ((spans, index) for index in range(len(spans)))


def _with_base64_ids(span: dict[str, Any]) -> dict[str, Any]:
    """Protobuf's JSON has bytes in base64, where OTLP has ids in hex."""
    carried = _rewritten(span)
    if isinstance(span.get("links"), list):
        carried["links"] = [_rewritten(link) for link in span["links"] if isinstance(link, dict)]
    return carried


def _rewritten(item: dict[str, Any]) -> dict[str, Any]:
    carried = dict(item)
    for name in _IDS:
        if isinstance(item.get(name), str):
            try:
                carried[name] = b64encode(bytes.fromhex(item[name])).decode()
            except ValueError:
                del carried[name]
    return carried


def _readable(span: dict[str, Any]) -> bool:
    try:
        ParseDict(span, Span(), ignore_unknown_fields=True)
    except _UNREADABLE:
        return False
    return True


def _written(request: dict[str, Any]) -> bytes:
    return ParseDict(request, ExportTraceServiceRequest(), ignore_unknown_fields=True).SerializeToString()
