"""What both decoders of log requests share: which records are wanted, which are refused, and how they are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

from otel_finops.base import limits
from otel_finops.base.ids import is_span_id, is_trace_id
from otel_finops.base.span import Attributes, AttributeValue, LogRecord, Rejection, WantedKeys
from otel_finops.otlp.batch import ItemBuilder

EVENT_NAME: Final = "event.name"
"""The attribute in which most senders name an event; newer ones use the record's own field, some the body."""

LOG_REASONS: Final[Mapping[str, str]] = {
    "bad_time": "the time must lie between 2020-01-01 and one year from now, in Unix nanoseconds",
    "bad_log_record": "the log record is no readable OTLP log record",
    "too_many_attributes": (
        f"a log record may have {limits.ATTRIBUTES_PER_SPAN_MAX} attributes and {limits.FIELDS_PER_SPAN_MAX} fields in all"
    ),
    "too_deep": f"attribute values may nest {limits.VALUE_DEPTH_MAX} levels",
}
"""Every reason for which a decoder refuses a log record, with the sentence for its sender."""


class DecodedLogs(NamedTuple):
    """One decoded log request.

    Attributes:
        records: the readable records of wanted events, in the order of the request.
        rejections: the refused ones, one value per reason.
        received: records in the request; `len(records)`, all rejections' counts and `ignored`.
        ignored: readable records of other events.
        repairs: as of `DecodedBatch`, and `bad_trace_id`.
    """

    records: list[LogRecord]
    rejections: tuple[Rejection, ...]
    received: int
    ignored: int
    repairs: Mapping[str, int] = {}


class RawRecord(NamedTuple):
    """A record's fields as they were read; absent ones are empty or 0."""

    attributes: dict[str, AttributeValue]
    event_name: str
    body: str
    time_ns: int
    observed_ns: int
    trace_id: bytes
    span_id: bytes
    dropped_attributes: int


class LogBatchBuilder(ItemBuilder):
    """Collects the wanted log records of one request.

    Args:
        wanted: the attributes to read.
        events: the names of wanted events.
        now_ns: our clock, which bounds how far ahead a record may be.
    """

    items: ClassVar[str] = "log records"

    def __init__(self, wanted: WantedKeys, events: frozenset[str], now_ns: int) -> None:
        super().__init__(WantedKeys(wanted.exact | {EVENT_NAME}, wanted.prefixes), now_ns)
        self.events = events
        self.body_bytes_max: Final = max(map(len, events), default=0)
        self.records: list[LogRecord] = []
        self.ignored = 0

    def reject(self, reason: str) -> None:
        """Count a refused record; `reason` is a key of `REASONS` or `LOG_REASONS`."""
        super().reject(reason if reason in LOG_REASONS else "bad_log_record")

    def add(self, raw: RawRecord, resource: Attributes, scope: str, scope_version: str) -> None:
        """Keep a record of a wanted event if its time is possible; ids that are none are taken as absent."""
        event = self._event(raw)
        if event is None:
            self.ignored += 1
            return
        time_ns = raw.time_ns or raw.observed_ns
        if not limits.EARLIEST_START_NS <= time_ns <= self.latest_ns:
            self.reject("bad_time")
            return
        trace_id = raw.trace_id if is_trace_id(raw.trace_id) else None
        if trace_id is None and raw.trace_id not in _NO_TRACE:
            self.repair("bad_trace_id")
        span_id = raw.span_id if is_span_id(raw.span_id) else None
        self.records.append(
            LogRecord(event, time_ns, trace_id, span_id, raw.attributes, resource, scope, scope_version, raw.dropped_attributes)
        )

    def _event(self, raw: RawRecord) -> str | None:
        for name in (raw.attributes.get(EVENT_NAME), raw.event_name, raw.body):
            if isinstance(name, str) and name in self.events:
                return name
        return None

    def build(self) -> DecodedLogs:
        """The finished batch."""
        return DecodedLogs(self.records, self.rejections(LOG_REASONS), self.received, self.ignored, self.mended())


_NO_TRACE: Final = (b"", bytes(16))
