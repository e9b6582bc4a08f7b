"""A span as it leaves the decoder: plain values, only the attributes that somebody asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

AttributeValue: TypeAlias = "str | int | float | bool | tuple[AttributeValue, ...] | Mapping[str, AttributeValue] | None"
Attributes: TypeAlias = Mapping[str, AttributeValue]


class SpanLink(NamedTuple):
    """The other end of a span link."""

    trace_id: bytes
    span_id: bytes


class Span(NamedTuple):
    """One OTLP span.

    Attributes:
        trace_id: 16 bytes, not all zero.
        span_id: 8 bytes, not all zero.
        parent_span_id: 8 bytes; None for a root.
        name: the span's name; may hold personal data, so it is stored but never hashed or exported as a label.
        kind: OTLP's SpanKind (0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer).
        start_ns, end_ns: Unix nanoseconds, both within the signed 64-bit range, end not before start.
        is_error: the status code is ERROR.
        exception_type: the type of the span's first exception event (`otlp.exception_names`), None when there is none.
        attributes: the wanted span attributes.
        resource: the wanted resource attributes; one mapping shared by all spans of the resource.
        scope, scope_version: the instrumentation scope, "" where absent.
        trace_state: W3C trace state as sent, "" where absent.
        flags: OTLP's span flags.
        links: the span's links with valid ids.
        dropped_attributes: how many attributes the sender itself dropped.
    """

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes | None
    name: str
    kind: int
    start_ns: int
    end_ns: int
    is_error: bool
    exception_type: str | None
    attributes: Attributes
    resource: Attributes
    scope: str
    scope_version: str
    trace_state: str = ""
    flags: int = 0
    links: tuple[SpanLink, ...] = ()
    dropped_attributes: int = 0


class LogRecord(NamedTuple):
    """One OTLP log record of an event that somebody asked for.

    Attributes:
        event: the event's name: the attribute `event.name`, else the record's event name, else its body.
        time_ns: when it happened, else when it was observed; Unix nanoseconds.
        trace_id, span_id: what it was written in; None where absent or impossible.
        attributes, resource, scope, scope_version, dropped_attributes: as of `Span`.
    """

    event: str
    time_ns: int
    trace_id: bytes | None
    span_id: bytes | None
    attributes: Attributes
    resource: Attributes
    scope: str
    scope_version: str
    dropped_attributes: int = 0


class WantedKeys(NamedTuple):
    """Which attributes the decoder reads; everything else is dropped unread, so that it cannot leak.

    Attributes:
        exact: whole keys.
        prefixes: beginnings of keys, each ending in a dot.
    """

    exact: frozenset[str]
    prefixes: tuple[str, ...] = ()

    def joined(self, other: WantedKeys) -> WantedKeys:
        """What either wants."""
        return WantedKeys(self.exact | other.exact, tuple(sorted({*self.prefixes, *other.prefixes})))


NOTHING: Final = WantedKeys(frozenset())
"""No attribute at all."""


class Rejection(NamedTuple):
    """A span or log record that was refused, as a value: what was wrong with it, and how often that happened in the batch.

    Attributes:
        reason: one word of a closed list, e.g. `bad_trace_id`; a metric label.
        message: a sentence for the sender; no content of the span.
        spans: how many spans or log records.
    """

    reason: str
    message: str
    spans: int = 1
