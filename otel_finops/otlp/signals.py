"""The three OTLP signals: how they are addressed, and what an accepted request of each is answered.

Traces and logs are read. Metrics are answered OK, so that a stock set-up that sends all three to one endpoint does not fail or
repeat itself; they are counted, and the log says so once.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Final, Literal, NamedTuple, TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_finops.base.protocols import Encoding, ExportOutcome
from otel_finops.otlp.counters import ReceiverCounters

logger = logging.getLogger(__name__)

SignalName: TypeAlias = Literal["traces", "metrics", "logs"]


class Signal(NamedTuple):
    """How one signal is addressed over gRPC and HTTP."""

    name: SignalName
    grpc_service: str
    http_path: str


_PACKAGE: Final = "opentelemetry.proto.collector"
SIGNALS: Final = (
    Signal("traces", f"{_PACKAGE}.trace.v1.TraceService", "/v1/traces"),
    Signal("metrics", f"{_PACKAGE}.metrics.v1.MetricsService", "/v1/metrics"),
    Signal("logs", f"{_PACKAGE}.logs.v1.LogsService", "/v1/logs"),
)

_EMPTY: Final[dict[Encoding, bytes]] = {"protobuf": b"", "json": b"{}"}


class IgnoredSignals:
    """Answers the signals that are not read: counts each request, and says once per signal that nothing is done with it."""

    def __init__(self, counters: ReceiverCounters) -> None:
        self._counters = counters
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def answer(self, signal: SignalName, encoding: Encoding) -> bytes:
        """The body of an OK with nothing rejected."""
        self._counters.ignored(signal)
        with self._lock:
            first = signal not in self._said
            self._said.add(signal)
        if first:
            logger.warning("OTLP %s are received and ignored; send traces and logs only, or send %s elsewhere", signal, signal)
        return _EMPTY[encoding]


class _Items(NamedTuple):
    """What the items of a signal are called: to people, in OTLP/JSON's partial success."""

    named: str
    json_field: str


_ITEMS: Final[dict[SignalName, _Items]] = {"traces": _Items("spans", "rejectedSpans"), "logs": _Items("log records", "rejectedLogRecords")}


def export_answer(signal: SignalName, outcome: ExportOutcome, encoding: Encoding) -> bytes:
    """The body of an OK to traces or logs, with OTLP's partial success when items were refused."""
    if not outcome.rejections:
        return _EMPTY[encoding]
    items = _ITEMS[signal]
    message = "; ".join(f"{each.spans} {items.named} refused ({each.reason}): {each.message}" for each in outcome.rejections)
    if encoding == "json":
        # proto3's JSON mapping writes 64-bit integers as strings.
        return json.dumps({"partialSuccess": {items.json_field: str(outcome.rejected), "errorMessage": message}}).encode()
    if signal == "logs":
        logged = ExportLogsServiceResponse()
        logged.partial_success.rejected_log_records = outcome.rejected
        logged.partial_success.error_message = message
        return logged.SerializeToString()
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = outcome.rejected
    response.partial_success.error_message = message
    return response.SerializeToString()
