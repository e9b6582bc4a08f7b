"""OTLP/JSON to log records of wanted events; of bodies only texts that name such an event are kept."""

from __future__ import annotations

from typing import Final

from otel_finops.base import limits
from otel_finops.base.span import Attributes, WantedKeys
from otel_finops.otlp.batch import SpanFault
from otel_finops.otlp.decode_json import FrameReader, JsonFrame, hex_or_none, list_field, text_field, unsigned
from otel_finops.otlp.log_batch import DecodedLogs, LogBatchBuilder, RawRecord

_LOGS: Final = JsonFrame("log", "resourceLogs", "scopeLogs", "logRecords")
_BAD: Final = "bad_log_record"
_NO_ID: Final = b"?"
"""Stands for an id that is no hexadecimal text: it has no id's length, so it counts as mended."""
_MASK_32: Final = 2**32 - 1


def decode_logs_json(body: bytes, wanted: WantedKeys, events: frozenset[str], now_ns: int) -> DecodedLogs:
    """Decode an `ExportLogsServiceRequest` in JSON; see `decode.decode_logs`."""
    batch = LogBatchBuilder(wanted, events, now_ns)
    _LogReader(batch).request(body)
    return batch.build()


class _LogReader(FrameReader):
    """Reads the records of a log request."""

    frame = _LOGS
    batch: LogBatchBuilder

    def item(self, item: object, resource: Attributes, scope: str, scope_version: str) -> None:
        """Read one log record."""
        self.batch.add(self._record(item), resource, scope, scope_version)

    def _record(self, record: object) -> RawRecord:
        if not isinstance(record, dict):
            raise SpanFault(_BAD)
        return RawRecord(
            self.attributes(list_field(record, "attributes")),
            self.batch.text(text_field(record, "eventName"), limits.KEY_CHARS_MAX),
            self._body(record.get("body")),
            unsigned(record.get("timeUnixNano"), "bad_time"),
            unsigned(record.get("observedTimeUnixNano"), "bad_time"),
            _id(record.get("traceId")),
            _id(record.get("spanId")),
            unsigned(record.get("droppedAttributesCount"), _BAD) & _MASK_32,
        )

    def _body(self, body: object) -> str:
        text = body.get("stringValue") if isinstance(body, dict) else None
        return text if isinstance(text, str) and text in self.batch.events else ""


def _id(value: object) -> bytes:
    if value is None or value == "":
        return b""
    raw = hex_or_none(value)
    return _NO_ID if raw is None else raw
