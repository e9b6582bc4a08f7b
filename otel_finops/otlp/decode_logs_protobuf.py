"""OTLP protobuf bytes to log records of wanted events; bodies are read only where they are as short as an event's name.

Field numbers from opentelemetry-proto's logs messages; tags are `field number << 3 | wire type`, as in `decode_protobuf`.
"""

from __future__ import annotations

from typing import Final

from otel_finops.base import limits
from otel_finops.base.errors import Undecodable
from otel_finops.base.span import Attributes, AttributeValue, WantedKeys
from otel_finops.otlp.decode_protobuf import FrameReader, Malformed
from otel_finops.otlp.log_batch import DecodedLogs, LogBatchBuilder, RawRecord

_TIME, _OBSERVED, _DROPPED = 0x09, 0x59, 0x38
_BODY, _ATTRIBUTE, _TRACE_ID, _SPAN_ID, _EVENT_NAME = 0x2A, 0x32, 0x4A, 0x52, 0x62
_BODIES: Final = frozenset({_BODY})
_MASK_32: Final = 2**32 - 1
_FRAME_BYTES: Final = 8
"""Room for tags and sizes around the text of a body."""


def decode_logs_protobuf(body: bytes, wanted: WantedKeys, events: frozenset[str], now_ns: int) -> DecodedLogs:
    """Decode an `ExportLogsServiceRequest`; see `decode.decode_logs`."""
    batch = LogBatchBuilder(wanted, events, now_ns)
    try:
        _LogReader(body, batch).request()
    except (Malformed, IndexError):
        raise Undecodable("the body is no OTLP protobuf log request: it is cut short or damaged") from None
    return batch.build()


class _LogReader(FrameReader):
    """Reads the records of a log request."""

    batch: LogBatchBuilder

    def item(self, at: int, end: int, resource: Attributes, scope: str, scope_version: str) -> None:
        """Read one log record."""
        self.batch.add(self._record(at, end), resource, scope, scope_version)

    def _record(self, at: int, end: int) -> RawRecord:
        attributes, texts, numbers, bodies = self.parts(at, end, _ATTRIBUTE, _BODIES)
        if bodies:
            _, start, stop = bodies[-1]
            if stop - start <= self.batch.body_bytes_max + _FRAME_BYTES:
                texts[_BODY] = self.body[start:stop]
        return self._raw(attributes, texts, numbers)

    def _raw(self, attributes: dict[str, AttributeValue], texts: dict[int, bytes], numbers: dict[int, int]) -> RawRecord:
        text, number = texts.get, numbers.get
        said = text(_BODY, b"")
        body = self.value(said, 0, len(said)) if said else ""
        return RawRecord(
            attributes,
            self.batch.utf8(text(_EVENT_NAME, b""), limits.KEY_CHARS_MAX),
            body if isinstance(body, str) else "",
            number(_TIME, 0),
            number(_OBSERVED, 0),
            text(_TRACE_ID, b""),
            text(_SPAN_ID, b""),
            number(_DROPPED, 0) & _MASK_32,
        )
